/* SPDX-License-Identifier: Apache-2.0
 *
 * Slow consumer: those before it wait on full while it works. The stage and its hot stack are told, not its victims. In and out:
 * finding_stage.h.
 */
#include "aggregate/finding_stage.h"

/* It also starves: then the buffer is what is wrong (backpressure). */
static bool is_one_sided(const struct stage *s)
{
	return s->own_empty < 0.3 * s->full;
}

static void run(struct finding_context *c)
{
	for (size_t i = 0; i < c->p->n_processes; i++) {
		struct stage s;
		if (finding_stage(c, &c->processes[i], &s) && s.full >= s.empty * 0.2 && s.full > 0.02 && is_one_sided(&s))
			finding_stage_tell(c, FIND_SLOW_CONSUMER, &s);
	}
}

const struct finding_rule finding_slow_consumer = {FIND_SLOW_CONSUMER, run};
