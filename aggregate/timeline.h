/* SPDX-License-Identifier: Apache-2.0
 *
 * What each process did when: equal steps, at most TIMELINE_STEPS of them; when they are used up (or all processes together use
 * more than TIMELINE_CELLS) the steps double. In: slices of accounted time; out: interval rows.
 */
#ifndef LOCKSTEP_TIMELINE_H
#define LOCKSTEP_TIMELINE_H

#include "aggregate/tree.h"

#define TIMELINE_STEPS 600
#define TIMELINE_CELLS 100000
#define TIMELINE_FIRST_STEP_NS 1000000ull

struct timeline {
	uint64_t start_ns, step_ns;
	size_t n_cells;
	uint64_t low_ns, high_ns; /* the step of the last slice, so that most slices need no division */
	uint32_t low_step;
	bool failed; /* out of memory: some slices are missing */
};

enum timeline_what { TIMELINE_ON_CPU, TIMELINE_RUN_QUEUE, TIMELINE_BLOCKED };

/* Adds [from, to) to the process; cls is used for blocked time. */
void timeline_add(struct timeline *l, struct tree *t, uint32_t proc, enum timeline_what what, enum wait_class cls, uint64_t from, uint64_t to);
/* Adds one accounted step of a thread of the process: lost time is put first in the gap (and is on no timeline), folded preemptions
 * last. waits: how many waits to count at its start. */
void timeline_add_step(struct timeline *l, struct tree *t, uint32_t proc, enum wait_class cls, const struct account_step *s, uint32_t waits);
/* Moves all cells of `from` to `into`. */
void timeline_fold(struct timeline *l, struct tree *t, uint32_t from, uint32_t into);

#endif
