/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregate/timeline.h"

#include <stdlib.h>
#include <string.h>

static void vote(struct timeline_cell *c, enum wait_class cls, uint64_t ns)
{
	if (c->vote_class == cls) {
		c->vote_ns += ns;
	} else if (ns > c->vote_ns) {
		c->vote_ns = ns - c->vote_ns;
		c->vote_class = (uint8_t)cls;
	} else {
		c->vote_ns -= ns;
	}
}

static void cell_merge(struct timeline_cell *into, const struct timeline_cell *from)
{
	into->on_cpu_ns += from->on_cpu_ns;
	into->run_queue_ns += from->run_queue_ns;
	into->blocked_ns += from->blocked_ns;
	into->waits += from->waits;
	vote(into, from->vote_class, from->vote_ns);
}

/* Two cells become one, in every process. Cells never grow in number, so this needs no memory. */
static void double_step(struct timeline *l, struct tree *t)
{
	l->step_ns *= 2;
	l->n_cells = 0;
	l->low_ns = l->high_ns = 0;
	for (size_t i = 1; i < t->n_procs; i++) {
		struct proc *p = &t->procs[i];
		if (!p->n_cells)
			continue;
		uint32_t first = p->first_cell / 2, n = 0;
		for (uint32_t k = 0; k < p->n_cells; k++) {
			uint32_t to = (p->first_cell + k) / 2 - first;
			if (to == n) {
				p->cells[to] = p->cells[k];
				n++;
			} else {
				cell_merge(&p->cells[to], &p->cells[k]);
			}
		}
		p->first_cell = first;
		p->n_cells = n;
		l->n_cells += n;
	}
}

/* Makes the process's cells cover index; NULL when out of memory. */
static struct timeline_cell *cell_at(struct timeline *l, struct proc *p, uint32_t index)
{
	if (p->n_cells && index >= p->first_cell && index < p->first_cell + p->n_cells)
		return &p->cells[index - p->first_cell];
	uint32_t first = p->n_cells && p->first_cell < index ? p->first_cell : index;
	uint32_t end = p->n_cells && p->first_cell + p->n_cells > index ? p->first_cell + p->n_cells : index + 1;
	struct timeline_cell *cells = realloc(p->cells, (end - first) * sizeof *cells);
	if (!cells) {
		l->failed = true;
		return NULL;
	}
	uint32_t shift = p->n_cells ? p->first_cell - first : 0;
	memmove(cells + shift, cells, p->n_cells * sizeof *cells);
	memset(cells, 0, shift * sizeof *cells);
	memset(cells + shift + p->n_cells, 0, (end - first - shift - p->n_cells) * sizeof *cells);
	l->n_cells += end - first - p->n_cells;
	p->cells = cells;
	p->first_cell = first;
	p->n_cells = end - first;
	return &cells[index - first];
}

/* The step of a moment; steps double until it is one of the first TIMELINE_STEPS. */
static uint32_t step_of(struct timeline *l, struct tree *t, uint64_t time_ns)
{
	if (time_ns >= l->low_ns && time_ns < l->high_ns)
		return l->low_step;
	uint64_t since = time_ns > l->start_ns ? time_ns - l->start_ns : 0;
	while (since / l->step_ns >= TIMELINE_STEPS || (l->n_cells > TIMELINE_CELLS && since / l->step_ns > 8))
		double_step(l, t);
	l->low_step = (uint32_t)(since / l->step_ns);
	l->low_ns = l->start_ns + l->low_step * l->step_ns;
	l->high_ns = l->low_ns + l->step_ns;
	return l->low_step;
}

void timeline_add(struct timeline *l, struct tree *t, uint32_t proc, enum timeline_what what, enum wait_class cls, uint64_t from,
		  uint64_t to)
{
	if (from < l->start_ns)
		from = l->start_ns;
	if (from >= to)
		return;
	step_of(l, t, to - 1);
	struct proc *p = &t->procs[proc];
	for (uint32_t i = step_of(l, t, from); from < to; i++) {
		uint64_t end = l->start_ns + (uint64_t)(i + 1) * l->step_ns, ns = (end < to ? end : to) - from;
		struct timeline_cell *c = cell_at(l, p, i);
		if (!c)
			return;
		if (what == TIMELINE_ON_CPU) {
			c->on_cpu_ns += ns;
		} else if (what == TIMELINE_RUN_QUEUE) {
			c->run_queue_ns += ns;
		} else {
			c->blocked_ns += ns;
			vote(c, cls, ns);
		}
		from += ns;
	}
}

void timeline_add_step(struct timeline *l, struct tree *t, uint32_t proc, enum wait_class cls, const struct account_step *s,
		       uint32_t waits)
{
	uint64_t ran_from = s->from + s->gap_lost_ns, ran_to = s->out - s->gap_run_queue_ns;
	if (s->from >= l->low_ns && s->run < l->high_ns) { /* most are short: one cell takes it all */
		struct timeline_cell *c = cell_at(l, &t->procs[proc], l->low_step);
		if (!c)
			return;
		c->on_cpu_ns += ran_to - ran_from;
		c->run_queue_ns += s->gap_run_queue_ns + (s->run - s->wake);
		c->blocked_ns += s->wake - s->out;
		vote(c, cls, s->wake - s->out);
		c->waits += waits;
		return;
	}
	timeline_add(l, t, proc, TIMELINE_ON_CPU, WC_NONE, ran_from, ran_to);
	timeline_add(l, t, proc, TIMELINE_RUN_QUEUE, WC_NONE, ran_to, s->out);
	timeline_add(l, t, proc, TIMELINE_BLOCKED, cls, s->out, s->wake);
	timeline_add(l, t, proc, TIMELINE_RUN_QUEUE, WC_NONE, s->wake, s->run);
	struct timeline_cell *c = waits ? cell_at(l, &t->procs[proc], step_of(l, t, s->out)) : NULL;
	if (c)
		c->waits += waits;
}

void timeline_fold(struct timeline *l, struct tree *t, uint32_t from, uint32_t into)
{
	struct proc *f = &t->procs[from];
	for (uint32_t k = 0; k < f->n_cells; k++) {
		struct timeline_cell *c = cell_at(l, &t->procs[into], f->first_cell + k);
		if (c)
			cell_merge(c, &f->cells[k]);
	}
	l->n_cells -= f->n_cells;
	free(f->cells);
	f->cells = NULL;
	f->n_cells = 0;
}
