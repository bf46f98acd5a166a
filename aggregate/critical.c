/* SPDX-License-Identifier: Apache-2.0
 *
 * See critical.h. The walk keeps a stack of (thread, lower bound): a blocked segment [a, b] goes to the waker until a, then
 * the walk returns to the waiter. Time only falls and every step consumes some or descends one level (bounded), so it ends.
 */
#include "aggregate/critical.h"

#include <stddef.h>
#include <string.h>

#define DEPTH 64
#define MAX_ROWS 8192

struct level {
	uint32_t thread;
	uint64_t floor; /* absolute ns */
};

struct path {
	struct critical *c;
	const struct wgraph *g;
	struct level stack[DEPTH];
	unsigned depth;
	uint64_t t; /* what lies after it is told */
};

void critical_init(struct critical *c)
{
	memset(c, 0, sizeof(*c));
	row_table_init(&c->rows, sizeof(struct critical_row), offsetof(struct critical_row, count), MAX_ROWS);
	row_table_init(&c->hops, sizeof(struct path_hop_row), offsetof(struct path_hop_row, count), MAX_ROWS);
}

void critical_fini(struct critical *c)
{
	row_table_fini(&c->rows);
	row_table_fini(&c->hops);
}

void critical_row_merge(void *into, const void *from)
{
	((struct critical_row *)into)->count += ((const struct critical_row *)from)->count;
	((struct critical_row *)into)->ns += ((const struct critical_row *)from)->ns;
}

void path_hop_row_merge(void *into, const void *from)
{
	((struct path_hop_row *)into)->count += ((const struct path_hop_row *)from)->count;
	((struct path_hop_row *)into)->latency_ns += ((const struct path_hop_row *)from)->latency_ns;
}

/* Tells [from, t) and moves t. */
static void emit(struct path *p, uint64_t from, int32_t pid, enum blame_kind kind, const struct window_wait *w)
{
	if (from >= p->t)
		return;
	struct critical_row key;
	memset(&key, 0, sizeof(key));
	key.pid = pid;
	key.kind = kind;
	if (w && kind != BLAME_RUN_QUEUE) {
		key.cls = w->cls;
		key.channel = w->channel;
		key.stack_ix = w->stack;
	}
	struct critical_row *row = row_table_get(&p->c->rows, &key);
	if (!row) {
		memset(&key, 0, sizeof(key));
		key.kind = BLAME_UNKNOWN;
		row = row_table_get(&p->c->rows, &key);
	}
	if (row) {
		row->count++;
		row->ns += p->t - from;
	}
	p->c->total_ns += p->t - from;
	p->t = from;
}

static void note_hop(struct path *p, uint32_t wait)
{
	const struct wgraph *g = p->g;
	const struct window_wait *w = &g->w->waits[wait];
	struct path_hop_row key;
	memset(&key, 0, sizeof(key));
	key.pid = g->w->threads[w->thread].pid;
	key.waker_pid = g->w->threads[g->waker[wait]].pid;
	key.channel = w->channel;
	struct path_hop_row *row = row_table_get(&p->c->hops, &key);
	if (row) {
		row->count++;
		row->latency_ns += w->t_run - w->t_wake;
	}
}

static enum blame_kind kind_of(const struct wgraph *g, uint32_t wait)
{
	switch (g->end[wait]) {
	case END_TIMER:
		return BLAME_TIMER;
	case END_DISK:
		return BLAME_DISK;
	case END_REMOTE:
		return BLAME_REMOTE;
	case END_OUTSIDE:
		return BLAME_OUTSIDE;
	default:
		return BLAME_UNKNOWN;
	}
}

/* The blocked part of a wait, down to max(t_out, floor): the waker's, where it is a thread that is not on the stack already. */
static void pass_blocked(struct path *p, uint32_t wait, uint64_t low)
{
	const struct wgraph *g = p->g;
	const struct window_wait *w = &g->w->waits[wait];
	int32_t pid = g->w->threads[w->thread].pid;
	if (g->end[wait] == END_TASK && p->depth + 1 < DEPTH) {
		bool seen = false;
		for (unsigned i = 0; i <= p->depth; i++)
			seen |= p->stack[i].thread == g->waker[wait];
		if (!seen) {
			note_hop(p, wait);
			p->stack[++p->depth] = (struct level){g->waker[wait], low};
			return;
		}
	}
	emit(p, low, pid, kind_of(g, wait), w);
}

/* Before the thread's birth somebody forked it: whoever ran then. */
static void pass_unborn(struct path *p)
{
	const struct level *l = &p->stack[p->depth];
	uint32_t other = p->depth + 1 < DEPTH ? wgraph_runner_at(p->g, p->t, l->thread) : WG_NONE;
	for (unsigned i = 0; i <= p->depth; i++)
		if (p->stack[i].thread == other)
			other = WG_NONE;
	if (other == WG_NONE) {
		emit(p, l->floor, p->g->w->threads[l->thread].pid, BLAME_UNKNOWN, NULL);
		return;
	}
	struct level next = {other, l->floor};
	p->stack[++p->depth] = next;
}

/* One step at p->t within the top of the stack. */
static void step(struct path *p)
{
	const struct wgraph *g = p->g;
	struct level *l = &p->stack[p->depth];
	const struct window_thread *t = &g->w->threads[l->thread];
	if (!t->in_tree) {
		emit(p, l->floor, t->pid, BLAME_OUTSIDE, NULL);
		return;
	}
	uint32_t at = p->t ? wgraph_wait_at(g, l->thread, p->t - 1) : WG_NONE;
	const struct window_wait *w = at == WG_NONE ? NULL : &g->w->waits[at];
	uint64_t ran_from = w ? w->t_run : t->from_ns;
	if (p->t > ran_from) {
		uint64_t known = g->run_end[l->thread] < p->t && (!w || at + 1 == t->first + t->n) ? g->run_end[l->thread] : p->t;
		if (known < p->t) /* nothing is told of it after `known` */
			emit(p, known > l->floor ? known : l->floor, t->pid, BLAME_UNKNOWN, NULL);
		uint64_t low = ran_from > l->floor ? ran_from : l->floor;
		size_t next = at == WG_NONE ? t->first : (size_t)at + 1;
		emit(p, low + wgraph_folded_part(g, l->thread, next, p->t - low), t->pid, BLAME_RUN, NULL);
		emit(p, low, t->pid, BLAME_RUN_QUEUE, NULL);
	} else if (!w) {
		pass_unborn(p);
	} else if (p->t > w->t_wake) {
		emit(p, w->t_wake > l->floor ? w->t_wake : l->floor, t->pid, BLAME_RUN_QUEUE, w);
	} else {
		pass_blocked(p, at, w->t_out > l->floor ? w->t_out : l->floor);
	}
}

/* When a thread was last seen to run: a wait that goes on after the window's end began there. */
static uint64_t last_ran(const struct wgraph *g, uint32_t thread, uint64_t *since)
{
	const struct window_thread *t = &g->w->threads[thread];
	const struct window_wait *w = t->n ? &g->w->waits[t->first + t->n - 1] : NULL;
	if (w && w->flags & (WINDOW_IN_PROGRESS | WINDOW_CLIPPED_END)) {
		*since = 0;
		return w->t_out;
	}
	*since = w ? w->t_run : t->from_ns;
	return g->run_end[thread];
}

/* Where the path ends: the thread that ran last, of those the one that began last. WG_NONE: nobody was there. */
static uint32_t last_runner(const struct wgraph *g)
{
	uint32_t best = WG_NONE;
	uint64_t best_end = 0, best_start = 0, start;
	for (uint32_t i = 0; i < g->w->n_threads; i++) {
		if (!g->w->threads[i].in_tree)
			continue;
		uint64_t end = last_ran(g, i, &start);
		if (best == WG_NONE || end > best_end || (end == best_end && start > best_start)) {
			best = i;
			best_end = end;
			best_start = start;
		}
	}
	return best;
}

void critical_add(struct critical *c, const struct wgraph *g)
{
	struct path p = {.c = c, .g = g, .t = g->w->end_ns};
	uint32_t last = last_runner(g);
	if (last == WG_NONE) {
		emit(&p, g->w->start_ns, 0, BLAME_UNKNOWN, NULL);
		return;
	}
	p.stack[0] = (struct level){last, g->w->start_ns};
	while (p.t > g->w->start_ns) {
		if (p.t <= p.stack[p.depth].floor) {
			p.depth--; /* level 0's floor is the window's start: never popped here */
			continue;
		}
		c->steps++;
		step(&p);
	}
}
