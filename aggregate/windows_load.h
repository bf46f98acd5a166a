/* SPDX-License-Identifier: Apache-2.0
 *
 * What each process carried and how each channel flowed. In: one window's graph; out: load, parallel and flow rows, summed
 * over windows, each in one pass over the window's boundaries.
 */
#ifndef LOCKSTEP_WINDOWS_LOAD_H
#define LOCKSTEP_WINDOWS_LOAD_H

#include "aggregate/profile.h"
#include "aggregate/windows_graph.h"
#include "aggregate/windows_table.h"

#define PARALLEL_MAX 64

struct windows_load {
	struct row_table loads; /* of struct load_row by pid */
	struct row_table flows; /* of struct flow_state by channel */
	uint64_t parallel_ns[PARALLEL_MAX + 1];
	struct load_now *now; /* scratch: per process */
	size_t cap_procs;
};

/* A flow row under construction: who waited most needs counting per process. The first few of each side are told apart. */
#define FLOW_SIDES 4
struct flow_state {
	uint32_t channel; /* key */
	uint32_t n_pids[2];
	int32_t pid[2][FLOW_SIDES]; /* 0: writers, 1: readers */
	uint64_t pid_ns[2][FLOW_SIDES];
	struct flow_row row;
	/* within the window at hand */
	uint64_t first_ns, last_ns;
	uint8_t last_side;
};

void windows_load_init(struct windows_load *l);
void windows_load_fini(struct windows_load *l);
int windows_load_add(struct windows_load *l, const struct wgraph *g); /* 0 or -ENOMEM */
bool windows_is_lock(const struct wgraph *g, size_t wait); /* mutual exclusion, as opposed to waiting for a job */
void load_row_merge(void *into, const void *from);

#endif
