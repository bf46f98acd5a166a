/* SPDX-License-Identifier: Apache-2.0
 *
 * See windows_trace.h. The waits kept of a window are those that lie wholly before some moment, so that the excerpt is a
 * complete record of a stretch of time, not a sample of it.
 */
#include "aggregate/windows_trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void windows_trace_init(struct windows_trace *t)
{
	memset(t, 0, sizeof(*t));
	t->rng = 88172645463325252u;
}

void windows_trace_fini(struct windows_trace *t)
{
	for (size_t i = 0; i < TRACE_WINDOWS; i++)
		free(t->rows[i]);
}

/* Which place the window takes: algorithm R, with a fixed seed, so that equal streams give equal profiles. */
static size_t choose(struct windows_trace *t)
{
	if (t->seen++ < TRACE_WINDOWS)
		return t->seen - 1;
	t->rng ^= t->rng << 13;
	t->rng ^= t->rng >> 7;
	t->rng ^= t->rng << 17;
	return (size_t)(t->rng % t->seen);
}

static struct trace_row copy_wait(const struct wgraph *g, uint32_t i, uint32_t window)
{
	const struct window_wait *w = &g->w->waits[i];
	const struct window_thread *t = &g->w->threads[w->thread];
	static const enum blame_kind kinds[] = {
		[END_TASK] = BLAME_RUN,	      [END_TIMER] = BLAME_TIMER,     [END_DISK] = BLAME_DISK,	     [END_REMOTE] = BLAME_REMOTE,
		[END_OUTSIDE] = BLAME_OUTSIDE, [END_UNKNOWN] = BLAME_UNKNOWN, [END_NOBODY] = BLAME_RUN_QUEUE,
	};
	struct trace_row r = {.window = window,
			      .pid = t->pid,
			      .tid = t->tid,
			      .cls = w->cls,
			      .end = kinds[g->end[i]],
			      .channel = w->channel,
			      .stack_ix = w->stack,
			      .bytes = w->bytes,
			      .out_ns = w->t_out - g->w->start_ns,
			      .wake_ns = w->t_wake - g->w->start_ns,
			      .run_ns = w->t_run - g->w->start_ns,
			      .folded_ns = w->folded_ns,
			      .handoffs = w->handoff_count};
	if (g->waker[i] != WG_NONE)
		r.waker_tid = g->w->threads[g->waker[i]].tid;
	if (w->handoff != WINDOW_NONE)
		r.handoff_tid = g->w->threads[w->handoff].tid;
	return r;
}

int windows_trace_add(struct windows_trace *t, const struct wgraph *g)
{
	size_t at = choose(t);
	if (at >= TRACE_WINDOWS || !g->w->n)
		return 0;
	if (!t->rows[at] && !(t->rows[at] = malloc(TRACE_WAITS * sizeof(**t->rows))))
		return -ENOMEM;
	t->n[at] = 0;
	for (size_t i = 0; i < g->n_marks && t->n[at] < TRACE_WAITS; i++)
		if (wg_mark_kind(g->marks[i]) == MARK_RUN)
			t->rows[at][t->n[at]++] = copy_wait(g, wg_mark_index(g->marks[i]), (uint32_t)at);
	return 0;
}

struct trace_row *windows_trace_rows(const struct windows_trace *t, size_t *n)
{
	struct trace_row *all = calloc(TRACE_WINDOWS * TRACE_WAITS, sizeof(*all));
	*n = 0;
	for (size_t i = 0; i < TRACE_WINDOWS && all; i++) {
		if (t->n[i])
			memcpy(all + *n, t->rows[i], t->n[i] * sizeof(*all));
		*n += t->n[i];
	}
	return all;
}
