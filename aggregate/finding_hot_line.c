/* SPDX-License-Identifier: Apache-2.0
 *
 * Hot line: on-CPU time concentrated in one source line of one process that the run waits for. In: CPU samples, critical path. Lines
 * that are system calls are left out: their price is told by the waits.
 */
#include "aggregate/finding_rules.h"

#include <math.h>

/* A line with less of a process's samples is no concentration. */
#define LINE_LOW 0.15
#define LINE_HIGH 0.4

static void tell(struct finding_context *c, const struct process_info *p, double line, double part, uint32_t stack, uint32_t frame)
{
	struct finding *f = finding_new(c, FIND_HOT_LINE);
	if (!f)
		return;
	finding_weigh(c, f, false, p->samples);
	f->share_of_wall = part;
	finding_add_pid(c, f, p->row->pid);
	finding_add_evidence(c, f, "the hot line", p->row->pid, stack);
	/* what another data structure wins: nearly all of it; until the next busiest process sets the pace */
	double next = finding_next_busiest(c, p->row->pid);
	finding_predict(c, f, 1 / fmax(1 - 0.9 * part, next), 1 / fmax(1 - 0.99 * part, next));
	char name[FINDING_NAME], site[FINDING_SITE];
	finding_site(c, stack, site);
	finding_say(c, &f->title, "%s spends %.0f %% of its CPU time in one line of %s", finding_name(c, p->row->pid, name), 100 * line,
		    c->p->frames[frame].function ? c->p->frames[frame].function : "a function");
	finding_say(c, &f->where, "%s", *site ? site : "unknown code");
	finding_say(c, &f->advice, "Make that line cheap (another data structure, less often, out of the loop): if it cost next to nothing, %.1f to %.1f times as fast",
		    f->speedup_low, f->speedup_high);
}

static void run(struct finding_context *c)
{
	for (size_t i = 0; i < c->p->n_processes && c->window_ns > 0; i++) {
		const struct process_info *p = &c->processes[i];
		uint32_t stack, frame;
		double path = finding_path(c, p, BLAME_RUN);
		if (!p->row->in_tree || path < 0.1)
			continue;
		double line = finding_hot_line(c, p->row->pid, &stack, &frame);
		double part = path * line * finding_ramp(line, LINE_LOW, LINE_HIGH);
		if (part > FINDING_MIN_GAIN)
			tell(c, p, line, part, stack, frame);
	}
}

const struct finding_rule finding_hot_line_rule = {FIND_HOT_LINE, run};
