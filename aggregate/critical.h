/* SPDX-License-Identifier: Apache-2.0
 *
 * Critical path (ALGORITHMS C, after Giraldeau & Dagenais, with waits clipped as Perfetto does): what would have made this
 * run shorter. In: one window's graph; out: critical rows and hops, summed over windows. Per window the rows sum to its length.
 */
#ifndef LOCKSTEP_CRITICAL_H
#define LOCKSTEP_CRITICAL_H

#include "aggregate/profile.h"
#include "aggregate/windows_graph.h"
#include "aggregate/windows_table.h"

struct critical {
	struct row_table rows; /* of struct critical_row by all but count and ns; stack_ix: the event stream's stack id */
	struct row_table hops; /* of struct path_hop_row */
	uint64_t total_ns, steps;
};

void critical_init(struct critical *c);
void critical_fini(struct critical *c);
void critical_add(struct critical *c, const struct wgraph *g);
void critical_row_merge(void *into, const void *from);
void path_hop_row_merge(void *into, const void *from);

#endif
