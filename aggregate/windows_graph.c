/* SPDX-License-Identifier: Apache-2.0
 *
 * See windows_graph.h. The global order comes from an LSD radix sort over packed boundaries (linear: this runs on the
 * consumer's time); who ended a wait is read off the waker and its context, and where an interrupt did the waking, off the
 * class of the wait.
 */
#include "aggregate/windows_graph.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RADIX_BITS 11

void wgraph_init(struct wgraph *g)
{
	memset(g, 0, sizeof(*g));
}

void wgraph_fini(struct wgraph *g)
{
	free(g->end);
	free(g->waker);
	free(g->proc);
	free(g->run_end);
	free(g->procs);
	free(g->proc_threads);
	free(g->marks);
	free(g->marks2);
	free(g->rank);
	free(g->thread_rank);
	memset(g, 0, sizeof(*g));
}

static int grow(void *array, size_t n, size_t size)
{
	void **slot = array;
	void *p = realloc(*slot, n * size);
	if (!p)
		return -ENOMEM;
	*slot = p;
	return 0;
}

static int reserve(struct wgraph *g, const struct window *w)
{
	size_t marks = 3 * w->n + 2 * w->n_threads;
	if (w->n > g->cap_waits) {
		if (grow(&g->end, w->n, sizeof(*g->end)) || grow(&g->waker, w->n, sizeof(*g->waker)) ||
		    grow(&g->rank, 3 * w->n, sizeof(*g->rank)))
			return -ENOMEM;
		g->cap_waits = w->n;
	}
	if (w->n_threads > g->cap_threads) {
		if (grow(&g->thread_rank, 2 * w->n_threads, sizeof(*g->thread_rank)) ||
		    grow(&g->proc, w->n_threads, sizeof(*g->proc)) || grow(&g->run_end, w->n_threads, sizeof(*g->run_end)) ||
		    grow(&g->procs, w->n_threads, sizeof(*g->procs)) ||
		    grow(&g->proc_threads, w->n_threads, sizeof(*g->proc_threads)))
			return -ENOMEM;
		g->cap_threads = w->n_threads;
	}
	if (marks > g->cap_marks) {
		if (grow(&g->marks, marks, sizeof(*g->marks)) || grow(&g->marks2, marks, sizeof(*g->marks2)))
			return -ENOMEM;
		g->cap_marks = marks;
	}
	return 0;
}

/* Processes by first appearance; few threads per window, so sorting thread indexes by pid is cheap enough. */
static int cmp_pid(const void *a, const void *b, void *ctx)
{
	const struct window_thread *t = ctx;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	if (t[x].pid != t[y].pid)
		return t[x].pid < t[y].pid ? -1 : 1;
	return x < y ? -1 : x > y;
}

static void group_processes(struct wgraph *g)
{
	const struct window *w = g->w;
	for (uint32_t i = 0; i < w->n_threads; i++)
		g->proc_threads[i] = i;
	qsort_r(g->proc_threads, w->n_threads, sizeof(*g->proc_threads), cmp_pid, (void *)w->threads);
	g->n_procs = 0;
	for (uint32_t i = 0; i < w->n_threads; i++) {
		const struct window_thread *t = &w->threads[g->proc_threads[i]];
		if (!g->n_procs || g->procs[g->n_procs - 1].pid != t->pid)
			g->procs[g->n_procs++] = (struct wg_proc){.pid = t->pid, .first_thread = i};
		struct wg_proc *p = &g->procs[g->n_procs - 1];
		p->n_threads++;
		p->in_tree |= t->in_tree;
		g->proc[g->proc_threads[i]] = (uint32_t)g->n_procs - 1;
	}
}

/* A thread of which nothing is told after its last wait ran on only when samples say so: a thread that just waits for
 * long is far more common than one that runs on without a single switch or sample. */
static void settle_tails(struct wgraph *g)
{
	for (size_t i = 0; i < g->w->n_threads; i++) {
		const struct window_thread *t = &g->w->threads[i];
		bool ran = t->tail == WINDOW_TAIL_RAN || t->tail_samples > 0;
		uint64_t last = t->n ? g->w->waits[t->first + t->n - 1].t_run : t->from_ns;
		g->run_end[i] = ran && t->in_tree && t->to_ns > last ? t->to_ns : last;
	}
}

uint32_t wgraph_wait_at(const struct wgraph *g, uint32_t thread, uint64_t t)
{
	const struct window_thread *th = &g->w->threads[thread];
	if (!th->n)
		return WG_NONE;
	const struct window_wait *base = &g->w->waits[th->first];
	size_t lo = 0, hi = th->n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (base[mid].t_out <= t)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? (uint32_t)(th->first + lo - 1) : WG_NONE;
}

uint64_t wgraph_folded_part(const struct wgraph *g, uint32_t thread, size_t next, uint64_t ns)
{
	const struct window_thread *t = &g->w->threads[thread];
	if (next < t->first || next >= t->first + t->n || !g->w->waits[next].folded_ns)
		return 0;
	const struct window_wait *w = &g->w->waits[next];
	uint64_t from = next > t->first ? w[-1].t_run : t->from_ns, all = w->t_out > from ? w->t_out - from : 0;
	if (!all)
		return 0;
	double part = (double)w->folded_ns / (double)all;
	return part >= 1 ? ns : (uint64_t)(part * (double)ns);
}

static bool runs_at(const struct wgraph *g, uint32_t thread, uint64_t t)
{
	uint32_t i = wgraph_wait_at(g, thread, t);
	return i == WG_NONE ? g->w->threads[thread].from_ns <= t : g->w->waits[i].t_run <= t;
}

/* Looks back over the boundaries before t; a runner whose start lies far back is missed, which callers must bear. */
#define LOOK_BACK 64
uint32_t wgraph_runner_at(const struct wgraph *g, uint64_t t, uint32_t not_this)
{
	uint64_t rel = t > g->w->start_ns ? t - g->w->start_ns : 0;
	t = t > g->w->start_ns ? t - 1 : t; /* it may have gone to sleep at t itself */
	size_t lo = 0, hi = g->n_marks;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (wg_mark_time(g->marks[mid]) <= rel)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (size_t i = lo; i > 0 && lo - i < LOOK_BACK; i--) {
		uint64_t m = g->marks[i - 1];
		uint32_t ix = wg_mark_index(m);
		uint32_t thread = wg_mark_kind(m) == MARK_THREAD ? ix / 2 : g->w->waits[ix].thread;
		if (thread != not_this && g->w->threads[thread].in_tree && runs_at(g, thread, t) && g->run_end[thread] >= t)
			return thread;
	}
	return WG_NONE;
}

/* Which thread of a process ended a wait, when only the process is known: one that ran at that moment, the one that
 * began last (it is likeliest to have sent something), else the first. */
#define MAX_CANDIDATES 64
static uint32_t thread_of_process(const struct wgraph *g, int32_t pid, uint64_t t)
{
	size_t lo = 0, hi = g->n_procs;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (g->procs[mid].pid < pid)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == g->n_procs || g->procs[lo].pid != pid)
		return WG_NONE;
	const struct wg_proc *p = &g->procs[lo];
	uint32_t best = g->proc_threads[p->first_thread];
	uint64_t best_start = 0;
	for (uint32_t i = 0; i < p->n_threads && i < MAX_CANDIDATES && p->n_threads > 1; i++) {
		uint32_t th = g->proc_threads[p->first_thread + i];
		if (!runs_at(g, th, t))
			continue;
		uint32_t last = wgraph_wait_at(g, th, t);
		uint64_t start = last == WG_NONE ? 1 : g->w->waits[last].t_run;
		if (start >= best_start) {
			best_start = start;
			best = th;
		}
	}
	return best;
}

static enum wg_end end_by_interrupt(const struct window_wait *w)
{
	switch (w->cls) {
	case WC_FILE_IO:
	case WC_PAGE_FAULT:
		return END_DISK;
	case WC_TCP_READ:
	case WC_TCP_WRITE:
	case WC_TCP_CONNECT:
	case WC_ACCEPT:
		return END_REMOTE;
	case WC_POLL: /* with a channel: data came over it from another host; without: the timeout */
		return w->channel && w->waker_ctx == WAKER_SOFTIRQ ? END_REMOTE : END_TIMER;
	default:
		return END_TIMER;
	}
}

static void settle_ends(struct wgraph *g)
{
	for (size_t i = 0; i < g->w->n; i++) {
		const struct window_wait *w = &g->w->waits[i];
		uint32_t by = w->waker;
		g->waker[i] = WG_NONE;
		if (w->cls == WC_NONE) {
			g->end[i] = END_NOBODY;
			continue;
		}
		if (w->cls == WC_SLEEP && (by == WINDOW_NONE || !g->w->threads[by].in_tree || w->waker_ctx != WAKER_TASK)) {
			g->end[i] = END_TIMER;
			continue;
		}
		if (by == WINDOW_NONE && w->waker_pid)
			by = thread_of_process(g, w->waker_pid, w->t_wake);
		if (by != WINDOW_NONE && by != w->thread) {
			bool disk = w->cls == WC_FILE_IO || w->cls == WC_PAGE_FAULT; /* by the journal's or a kworker's thread */
			g->waker[i] = by;
			g->end[i] = g->w->threads[by].in_tree ? END_TASK : disk ? END_DISK : END_OUTSIDE;
		} else if (w->waker_ctx == WAKER_HARDIRQ || w->waker_ctx == WAKER_SOFTIRQ) {
			g->end[i] = end_by_interrupt(w);
		} else if (w->waker_ctx == WAKER_TASK) {
			g->end[i] = w->cls == WC_FILE_IO || w->cls == WC_PAGE_FAULT ? END_DISK : END_OUTSIDE;
		} else {
			g->end[i] = END_UNKNOWN;
		}
	}
}

static void radix_sort(uint64_t **keys, uint64_t **scratch, size_t n, unsigned from_bit, unsigned to_bit)
{
	for (unsigned shift = from_bit; shift < to_bit; shift += RADIX_BITS) {
		uint32_t count[1u << RADIX_BITS] = {0};
		for (size_t i = 0; i < n; i++)
			count[((*keys)[i] >> shift) & ((1u << RADIX_BITS) - 1)]++;
		for (uint32_t sum = 0, b = 0; b < 1u << RADIX_BITS; b++) {
			uint32_t c = count[b];
			count[b] = sum;
			sum += c;
		}
		for (size_t i = 0; i < n; i++)
			(*scratch)[count[((*keys)[i] >> shift) & ((1u << RADIX_BITS) - 1)]++] = (*keys)[i];
		uint64_t *t = *keys;
		*keys = *scratch;
		*scratch = t;
	}
}

static uint64_t pack(const struct wgraph *g, uint64_t t, size_t index, enum wg_mark kind)
{
	uint64_t rel = t > g->w->start_ns ? t - g->w->start_ns : 0;
	return rel << (WG_INDEX_BITS + 2) | (uint64_t)index << 2 | kind;
}

static void sort_marks(struct wgraph *g)
{
	const struct window *w = g->w;
	size_t n = 0;
	for (size_t i = 0; i < w->n_threads; i++) {
		const struct window_thread *t = &w->threads[i];
		g->marks[n++] = pack(g, t->from_ns, 2 * i, MARK_THREAD);
		for (size_t j = t->first; j < t->first + t->n; j++) {
			g->marks[n++] = pack(g, w->waits[j].t_out, j, MARK_OUT);
			g->marks[n++] = pack(g, w->waits[j].t_wake, j, MARK_WAKE);
			g->marks[n++] = pack(g, w->waits[j].t_run, j, MARK_RUN);
		}
		g->marks[n++] = pack(g, g->run_end[i], 2 * i + 1, MARK_THREAD);
	}
	g->n_marks = n;
	unsigned bits = WG_INDEX_BITS + 2;
	for (uint64_t span = w->end_ns > w->start_ns ? w->end_ns - w->start_ns : 1; span; span >>= 1)
		bits++;
	radix_sort(&g->marks, &g->marks2, n, WG_INDEX_BITS + 2, bits < 64 ? bits : 64);
	for (size_t i = 0; i < n; i++) {
		size_t ix = wg_mark_index(g->marks[i]);
		if (wg_mark_kind(g->marks[i]) == MARK_THREAD)
			g->thread_rank[ix] = (uint32_t)i;
		else
			g->rank[3 * ix + wg_mark_kind(g->marks[i])] = (uint32_t)i;
	}
}

int wgraph_build(struct wgraph *g, const struct window *w)
{
	g->w = w;
	g->n_procs = g->n_marks = 0;
	if (w->n > WG_MAX_WAITS || w->n_threads > WG_MAX_WAITS / 2 || w->end_ns - w->start_ns >= 1ull << (62 - WG_INDEX_BITS))
		return -E2BIG;
	if (reserve(g, w))
		return -ENOMEM;
	group_processes(g);
	settle_tails(g);
	settle_ends(g);
	sort_marks(g);
	return 0;
}
