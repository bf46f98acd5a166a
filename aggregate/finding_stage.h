/* SPDX-License-Identifier: Apache-2.0
 *
 * One slow stage of a pipeline: shared by slow_consumer (those before it wait on full) and slow_producer (those behind it wait on
 * empty). In: flow rows and load rows; out: the stage, its channel, and what a second one of it, or a faster one, would win.
 */
#ifndef LOCKSTEP_FINDING_STAGE_H
#define LOCKSTEP_FINDING_STAGE_H

#include "aggregate/finding_rules.h"

struct stage {
	const struct process_info *p;
	double busy;		 /* share of the windows in which it ran or was runnable */
	double full, empty;	 /* the longest waiting: for room before it, for data behind it */
	double own_empty, own_full; /* its own waiting on its own channels */
	uint32_t full_channel, empty_channel;
	int32_t full_pid, empty_pid; /* who waits there */
	double gain_low, gain_high; /* speed-up */
};

/* Measures the process as a stage. False when it is none (nobody waits for it over a one-way channel). */
bool finding_stage(const struct finding_context *c, const struct process_info *p, struct stage *s);
/* Tells it: kind, what the others do ("wait until it takes more", ...), their channel and the waiting pid. */
void finding_stage_tell(struct finding_context *c, enum finding_kind kind, const struct stage *s);

#endif
