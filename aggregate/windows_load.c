/* SPDX-License-Identifier: Apache-2.0
 *
 * See windows_load.h. Sums that depend on all processes at once (how many ran) are kept as running integrals; a process's
 * own sums take the difference when its state changes, so a boundary costs the same however many processes there are.
 * The charge of a running slice is GAPP's (ICPE'20): time / threads that ran.
 */
#include "aggregate/windows_load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LOADS 16384
#define MAX_FLOWS 8192

struct load_now {
	int running, queued, awaiting; /* its threads; others' threads that wait for it */
	uint64_t since;
	double charge_since;  /* the integral of 1 / (threads running) at `since` */
	uint64_t alone_since; /* the integral of [one process runs] */
	struct load_row sum;
	double charged;
};

struct load_sweep {
	struct windows_load *l;
	const struct wgraph *g;
	uint64_t now, alone;
	double charge;
	unsigned running_threads, running_procs;
};

void windows_load_init(struct windows_load *l)
{
	memset(l, 0, sizeof(*l));
	row_table_init(&l->loads, sizeof(struct load_row), sizeof(int32_t), MAX_LOADS);
	row_table_init(&l->flows, sizeof(struct flow_state), sizeof(uint32_t), MAX_FLOWS);
}

void windows_load_fini(struct windows_load *l)
{
	row_table_fini(&l->loads);
	row_table_fini(&l->flows);
	free(l->now);
}

void load_row_merge(void *into, const void *from)
{
	struct load_row *x = into;
	const struct load_row *y = from;
	x->run_ns += y->run_ns;
	x->alone_ns += y->alone_ns;
	x->charged_ns += y->charged_ns;
	x->waiters_ns += y->waiters_ns;
	x->awaited_ns += y->awaited_ns;
	x->excess_ns += y->excess_ns;
	x->awaited_run_ns += y->awaited_run_ns;
	if (y->waiters_max > x->waiters_max)
		x->waiters_max = y->waiters_max;
	if (y->clients > x->clients)
		x->clients = y->clients;
	if (y->answering > x->answering)
		x->answering = y->answering;
}

static void pass_time(struct load_sweep *s, uint64_t t)
{
	uint64_t dt = t - s->now;
	s->now = t;
	if (!dt)
		return;
	s->l->parallel_ns[s->running_threads < PARALLEL_MAX ? s->running_threads : PARALLEL_MAX] += dt;
	if (s->running_threads)
		s->charge += (double)dt / s->running_threads;
	if (s->running_procs == 1)
		s->alone += dt;
}

/* Books the time since the process's last change of state. */
static void settle(struct load_sweep *s, struct load_now *p)
{
	uint64_t dt = s->now - p->since;
	if (p->running > 0) {
		p->sum.run_ns += dt;
		p->charged += (s->charge - p->charge_since) * p->running;
		p->sum.alone_ns += s->alone - p->alone_since;
	}
	if (p->awaiting > 0) {
		p->sum.waiters_ns += dt * (uint64_t)p->awaiting;
		p->sum.awaited_ns += dt;
		p->sum.excess_ns += dt * (uint64_t)(p->awaiting - 1);
		p->sum.awaited_run_ns += p->running > 0 || p->queued > 0 ? dt : 0;
	}
	p->since = s->now;
	p->charge_since = s->charge;
	p->alone_since = s->alone;
}

static void change_running(struct load_sweep *s, uint32_t proc, int by)
{
	struct load_now *p = &s->l->now[proc];
	settle(s, p);
	if (!s->g->procs[proc].in_tree)
		return;
	int before = p->running;
	p->running += by;
	s->running_threads += (unsigned)by;
	s->running_procs += (unsigned)((p->running > 0) - (before > 0));
}

/* Short preemptions, told as a sum: not running, though the sweep saw it run. Not exact for alone and charged time. */
static void take_back_folded(struct load_sweep *s, uint32_t proc, uint64_t ns)
{
	struct load_row *r = &s->l->now[proc].sum;
	r->run_ns -= ns < r->run_ns ? ns : r->run_ns;
}

static void change_awaiting(struct load_sweep *s, uint32_t proc, int by)
{
	struct load_now *p = &s->l->now[proc];
	settle(s, p);
	p->awaiting += by;
	if (by > 0 && p->awaiting > (int)p->sum.waiters_max)
		p->sum.waiters_max = (uint32_t)p->awaiting;
}

static int flow_side(enum wait_class cls) /* 0: on full, 1: on empty, -1: neither */
{
	switch (cls) {
	case WC_PIPE_WRITE:
	case WC_UNIX_WRITE:
	case WC_TCP_WRITE:
		return 0;
	case WC_PIPE_READ:
	case WC_UNIX_READ:
	case WC_TCP_READ:
		return 1;
	default:
		return -1;
	}
}

/* The waker takes its turn at the same futex or lock: mutual exclusion, not a queue of jobs. */
bool windows_is_lock(const struct wgraph *g, size_t wait)
{
	const struct window_wait *w = &g->w->waits[wait];
	if (w->cls == WC_LOCK || w->cls == WC_GIL)
		return true;
	if ((w->cls != WC_FUTEX && w->cls != WC_IPC_QUEUE) || g->end[wait] != END_TASK || !w->channel)
		return false;
	const struct window_thread *t = &g->w->threads[g->waker[wait]];
	uint32_t last = wgraph_wait_at(g, g->waker[wait], w->t_wake);
	size_t next = last == WG_NONE ? t->first : (size_t)last + 1;
	return (last != WG_NONE && g->w->waits[last].channel == w->channel) ||
	       (next < t->first + t->n && g->w->waits[next].channel == w->channel);
}

static void flow_side_add(struct flow_state *f, int side, int32_t pid, uint64_t ns)
{
	for (uint32_t i = 0; i < f->n_pids[side]; i++)
		if (f->pid[side][i] == pid) {
			f->pid_ns[side][i] += ns;
			return;
		}
	if (f->n_pids[side] < FLOW_SIDES) {
		f->pid[side][f->n_pids[side]] = pid;
		f->pid_ns[side][f->n_pids[side]++] = ns;
	}
}

static void note_lock(struct windows_load *l, const struct wgraph *g, uint32_t wait)
{
	const struct window_wait *w = &g->w->waits[wait];
	struct flow_state *f = windows_is_lock(g, wait) ? row_table_get(&l->flows, &w->channel) : NULL;
	if (f) {
		f->row.lock_count++;
		f->row.lock_ns += w->t_wake - w->t_out;
		flow_side_add(f, 0, g->w->threads[w->thread].pid, w->t_wake - w->t_out);
	}
}

static void note_flow(struct windows_load *l, const struct wgraph *g, uint32_t wait)
{
	const struct window_wait *w = &g->w->waits[wait];
	int side = flow_side(w->cls);
	if (side < 0 || !w->channel || g->end[wait] != END_TASK)
		return;
	struct flow_state *f = row_table_get(&l->flows, &w->channel);
	if (!f)
		return;
	uint64_t ns = w->t_wake - w->t_out;
	flow_side_add(f, side, g->w->threads[w->thread].pid, ns);
	flow_side_add(f, !side, g->w->threads[g->waker[wait]].pid, 0);
	f->row.full_count += side == 0;
	f->row.full_ns += side == 0 ? ns : 0;
	f->row.full_bytes += side == 0 ? w->wr_bytes : 0;
	f->row.empty_count += side == 1;
	f->row.empty_ns += side == 1 ? ns : 0;
	f->row.turns++;
	if (f->last_ns >= g->w->start_ns && f->first_ns >= g->w->start_ns) {
		f->row.switches += f->last_side != side;
		f->row.active_ns += w->t_wake - f->last_ns;
	} else {
		f->first_ns = w->t_wake;
	}
	f->last_ns = w->t_wake;
	f->last_side = (uint8_t)side;
}

static void pass_mark(struct load_sweep *s, uint64_t mark)
{
	const struct wgraph *g = s->g;
	uint32_t i = wg_mark_index(mark);
	pass_time(s, wg_mark_time(mark));
	if (wg_mark_kind(mark) == MARK_THREAD) {
		change_running(s, g->proc[i / 2], i & 1 ? -1 : 1);
		return;
	}
	uint32_t mine = wgraph_waiter_proc(g, i), by = wgraph_waker_proc(g, i);
	bool awaits = g->end[i] == END_TASK && by != mine;
	switch (wg_mark_kind(mark)) {
	case MARK_OUT:
		change_running(s, mine, -1);
		take_back_folded(s, mine, g->w->waits[i].folded_ns);
		if (awaits)
			change_awaiting(s, by, 1);
		break;
	case MARK_WAKE:
		if (awaits)
			change_awaiting(s, by, -1);
		settle(s, &s->l->now[mine]);
		s->l->now[mine].queued++;
		note_flow(s->l, g, i);
		note_lock(s->l, g, i);
		break;
	default:
		settle(s, &s->l->now[mine]);
		s->l->now[mine].queued--;
		change_running(s, mine, 1);
	}
}

/* Threads that ended waits of other processes: how many a process serves with. */
static int count_answering(struct windows_load *l, const struct wgraph *g)
{
	uint8_t *seen = calloc(g->w->n_threads + 1, 1);
	if (!seen)
		return -ENOMEM;
	for (size_t i = 0; i < g->w->n; i++) {
		uint32_t by = g->end[i] == END_TASK ? g->waker[i] : WG_NONE;
		if (by == WG_NONE || seen[by] || g->proc[by] == wgraph_waiter_proc(g, i))
			continue;
		seen[by] = 1;
		l->now[g->proc[by]].sum.answering++;
	}
	free(seen);
	return 0;
}

static void keep(struct windows_load *l, const struct wgraph *g)
{
	for (size_t i = 0; i < g->n_procs; i++) {
		struct load_now *p = &l->now[i];
		p->sum.pid = g->procs[i].pid;
		p->sum.charged_ns = (uint64_t)(p->charged + 0.5);
		if (!g->procs[i].in_tree || (!p->sum.run_ns && !p->sum.waiters_ns))
			continue;
		struct load_row *row = row_table_get(&l->loads, &p->sum.pid);
		if (row)
			load_row_merge(row, &p->sum);
	}
}

int windows_load_add(struct windows_load *l, const struct wgraph *g)
{
	if (g->n_procs > l->cap_procs) {
		free(l->now);
		l->now = malloc(g->n_procs * sizeof(*l->now));
		l->cap_procs = l->now ? g->n_procs : 0;
	}
	if (g->n_procs && !l->now)
		return -ENOMEM;
	if (g->n_procs)
		memset(l->now, 0, g->n_procs * sizeof(*l->now));
	struct load_sweep s = {.l = l, .g = g};
	if (count_answering(l, g))
		return -ENOMEM;
	for (size_t i = 0; i < g->n_marks; i++)
		pass_mark(&s, g->marks[i]);
	uint64_t end = g->w->end_ns - g->w->start_ns;
	pass_time(&s, end > s.now ? end : s.now);
	for (size_t i = 0; i < g->n_procs; i++)
		settle(&s, &l->now[i]);
	keep(l, g);
	return 0;
}
