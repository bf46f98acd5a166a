/* SPDX-License-Identifier: Apache-2.0
 *
 * Alternation (ALGORITHMS D): do two processes take turns? In: one window's graph. Out: pair rows, summed over windows.
 *
 * A *turn* is a wait of one process ended by the other, or a hand-off (on a shared CPU the waker is preempted by the thread
 * that it has just woken: it gives the CPU away without ever waiting). Only threads that take part in the pair's turns count
 * as the pair's running: a process's other threads say nothing about this conversation.
 */
#ifndef LOCKSTEP_ALTERNATION_H
#define LOCKSTEP_ALTERNATION_H

#include "aggregate/profile.h"
#include "aggregate/windows_graph.h"
#include "aggregate/windows_table.h"

/* Pairs analysed per window, those with the most turns; turns of the others are counted in `dropped`. */
#define ALTERNATION_PAIRS 48

struct alternation {
	struct row_table pairs; /* of struct pair_row, by pid_a and pid_b */
	uint64_t dropped;
	/* scratch of one window */
	struct row_table seen; /* pairs of this window */
	uint32_t *turns;       /* waits that are turns, grouped by pair, by wake time */
	uint32_t *stamp;       /* per thread: the pair that it was last marked for */
	uint64_t *bits;	       /* per mark: belongs to the pair at hand */
	size_t cap_turns, cap_threads, cap_bits;
};

void alternation_init(struct alternation *a);
void alternation_fini(struct alternation *a);
/* Adds one window. Returns 0 or -ENOMEM (that window is then not or partly counted). */
int alternation_add(struct alternation *a, const struct wgraph *g);
void pair_row_merge(void *into, const void *from); /* sums of equal pairs */
void pair_row_swap(struct pair_row *p);		    /* a becomes b */

#endif
