/* SPDX-License-Identifier: Apache-2.0
 *
 * One analysis window as a graph. In: struct window (waits grouped by thread). Out: dense process indexes, who *ended*
 * each wait settled once, and all boundaries in one time order. Alternation, cascade, critical path and parallelism read
 * this and the window, nothing else.
 */
#ifndef LOCKSTEP_WINDOWS_GRAPH_H
#define LOCKSTEP_WINDOWS_GRAPH_H

#include "aggregate/window.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WG_NONE UINT32_MAX

/* What ended a wait. Only END_TASK has a peer inside the tree; the others end every chain of waits. END_NOBODY: a preemption
 * or a yield (class WC_NONE), there was nothing to end. */
enum wg_end { END_TASK = 0, END_TIMER, END_DISK, END_REMOTE, END_OUTSIDE, END_UNKNOWN, END_NOBODY };

/* A boundary in time order, packed for sorting: time since the window's start << 24 | index << 2 | kind. */
enum wg_mark { MARK_OUT = 0, MARK_WAKE, MARK_RUN, MARK_THREAD };
#define WG_INDEX_BITS 22
#define WG_MAX_WAITS ((1u << WG_INDEX_BITS) / 2)
static inline uint64_t wg_mark_time(uint64_t m)
{
	return m >> (WG_INDEX_BITS + 2);
}
static inline uint32_t wg_mark_index(uint64_t m) /* wait index; for MARK_THREAD: thread index * 2 + (1 when it ends) */
{
	return (uint32_t)(m >> 2) & ((1u << WG_INDEX_BITS) - 1);
}
static inline enum wg_mark wg_mark_kind(uint64_t m)
{
	return (enum wg_mark)(m & 3);
}

struct wg_proc {
	int32_t pid;
	bool in_tree;
	uint32_t first_thread, n_threads; /* into proc_threads */
};

struct wgraph {
	const struct window *w;
	uint8_t *end;	  /* per wait: enum wg_end */
	uint32_t *waker;  /* per wait: thread index of who ended it (END_TASK, maybe END_OUTSIDE), or WG_NONE */
	uint32_t *proc;	  /* per thread: index into procs */
	uint64_t *run_end; /* per thread: until when it is known to run after its last wait */
	struct wg_proc *procs;
	size_t n_procs;
	uint32_t *proc_threads; /* thread indexes, grouped by process */
	uint64_t *marks;	/* sorted */
	size_t n_marks;
	uint32_t *rank;	       /* per wait * 3 + kind: position in marks */
	uint32_t *thread_rank; /* per thread * 2 + (1: its end): the same */
	/* scratch, kept from window to window */
	uint64_t *marks2;
	size_t cap_waits, cap_threads, cap_marks;
};

void wgraph_init(struct wgraph *g);
void wgraph_fini(struct wgraph *g);
/* Rebuilds g from one window, which must outlive its use. Returns 0, or -ENOMEM / -E2BIG (more than WG_MAX_WAITS): g is then empty. */
int wgraph_build(struct wgraph *g, const struct window *w);

/* The last wait of the thread with t_out <= t, or WG_NONE: the thread runs at t when t is at or after that wait's t_run. O(log n). */
uint32_t wgraph_wait_at(const struct wgraph *g, uint32_t thread, uint64_t t);
/* A thread of the tree that ran at time t, other than `not_this`: one that began lately. WG_NONE: none nearby. For stretches before
 * a thread's birth: somebody forked it. */
uint32_t wgraph_runner_at(const struct wgraph *g, uint64_t t, uint32_t not_this);
/* Of a stretch of running of the thread that ends before wait `next` (its index, which need not exist): the part in which it was
 * in truth preempted for short times, which are told as one sum. */
uint64_t wgraph_folded_part(const struct wgraph *g, uint32_t thread, size_t next, uint64_t ns);
static inline uint32_t wgraph_waiter_proc(const struct wgraph *g, size_t wait)
{
	return g->proc[g->w->waits[wait].thread];
}
/* Process index of who ended the wait, or WG_NONE. */
static inline uint32_t wgraph_waker_proc(const struct wgraph *g, size_t wait)
{
	return g->waker[wait] == WG_NONE ? WG_NONE : g->proc[g->waker[wait]];
}

#endif
