/* SPDX-License-Identifier: Apache-2.0
 *
 * Cascade (ALGORITHMS A): whose fault is a wait? In: one window's graph. Out: blame rows, summed over windows, whose total is
 * the blocked time analysed, to the nanosecond.
 */
#ifndef LOCKSTEP_CASCADE_H
#define LOCKSTEP_CASCADE_H

#include "aggregate/profile.h"
#include "aggregate/windows_graph.h"
#include "aggregate/windows_table.h"

#define CASCADE_DEPTH 16

/* How much of a thread's waiting of one class on one channel counts as idle (windows.c marks it in the profile). */
struct idle_row {
	int32_t pid, tid;
	uint32_t channel, cls; /* key ends here */
	uint64_t blocked_ns, idle_ns;
};

struct cascade {
	struct row_table blames; /* of struct blame_row by all but count and ns; stack_ix: the event stream's stack id */
	struct row_table idles;	 /* of struct idle_row */
	uint64_t blocked_ns;	 /* analysed in all: equals the sum of the rows */
	uint64_t cut_ns;	 /* of it: blamed where the chain was cut by depth or budget, not where it ended */
	/* scratch of one window */
	uint64_t *awaited; /* per wait: time during which somebody else's wait led here */
	size_t cap_waits;
};

void cascade_init(struct cascade *c);
void cascade_fini(struct cascade *c);
/* Adds one window. Returns 0 or -ENOMEM (that window is then not counted). */
int cascade_add(struct cascade *c, const struct wgraph *g);
void blame_row_merge(void *into, const void *from);
void idle_row_merge(void *into, const void *from);

#endif
