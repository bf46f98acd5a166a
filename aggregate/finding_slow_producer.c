/* SPDX-License-Identifier: Apache-2.0
 *
 * Slow producer: those behind it wait on empty while it works, and nobody waits for room before it. In and out: finding_stage.h.
 */
#include "aggregate/finding_stage.h"

static void run(struct finding_context *c)
{
	for (size_t i = 0; i < c->p->n_processes; i++) {
		struct stage s;
		if (finding_stage(c, &c->processes[i], &s) && s.full < s.empty * 0.2 && s.empty > 0.02 && s.own_full < 0.3 * s.empty)
			finding_stage_tell(c, FIND_SLOW_PRODUCER, &s);
	}
}

const struct finding_rule finding_slow_producer = {FIND_SLOW_PRODUCER, run};
