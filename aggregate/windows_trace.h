/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded excerpt of raw waits for what-if (ALGORITHMS F). In: windows; out: trace rows of a few of them, spread evenly over the
 * run by reservoir sampling, each cut to the same number of waits.
 */
#ifndef LOCKSTEP_WINDOWS_TRACE_H
#define LOCKSTEP_WINDOWS_TRACE_H

#include "aggregate/profile.h"
#include "aggregate/windows_graph.h"

#define TRACE_WINDOWS 4
#define TRACE_WAITS 2048

struct windows_trace {
	struct trace_row *rows[TRACE_WINDOWS];
	size_t n[TRACE_WINDOWS];
	uint64_t seen, rng;
};

void windows_trace_init(struct windows_trace *t);
void windows_trace_fini(struct windows_trace *t);
int windows_trace_add(struct windows_trace *t, const struct wgraph *g); /* 0 or -ENOMEM */
/* All rows in one array; NULL: out of memory. */
struct trace_row *windows_trace_rows(const struct windows_trace *t, size_t *n);

#endif
