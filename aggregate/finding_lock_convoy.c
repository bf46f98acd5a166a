/* SPDX-License-Identifier: Apache-2.0
 *
 * Lock convoy: many wait for one lock. In: flow rows (waits ended by somebody who takes turns at the same lock), wait rows (who and
 * from where), CPU samples (what the holder does). The price is the parallelism that is lost while they wait.
 */
#include "aggregate/finding_rules.h"

#include <math.h>
#include <stdio.h>

#define MIN_WAITERS 3

struct convoy {
	uint32_t channel;
	double waiting; /* mean number of threads that wait for it */
	uint64_t count;
	int32_t pids[FINDING_MAX_PIDS];
	unsigned n_pids, n_threads;
	const struct wait_row *top;
	bool gil;
};

static bool is_lock_class(enum wait_class cls)
{
	return cls == WC_FUTEX || cls == WC_LOCK || cls == WC_GIL || cls == WC_IPC_QUEUE;
}

static void add_waiters(const struct finding_context *c, struct convoy *v)
{
	for (size_t i = 0; i < c->p->n_waits; i++) {
		const struct wait_row *w = &c->p->waits[i];
		if (w->channel != v->channel || !is_lock_class(w->cls))
			continue;
		v->gil |= w->cls == WC_GIL;
		bool seen = false;
		for (size_t j = 0; j < i && !seen; j++)
			seen = c->p->waits[j].channel == v->channel && c->p->waits[j].tid == w->tid && is_lock_class(c->p->waits[j].cls);
		v->n_threads += !seen;
		seen = false;
		for (unsigned j = 0; j < v->n_pids; j++)
			seen |= v->pids[j] == w->pid;
		if (!seen && v->n_pids < FINDING_MAX_PIDS)
			v->pids[v->n_pids++] = w->pid;
		if (!v->top || w->blocked_ns + w->idle_ns > v->top->blocked_ns + v->top->idle_ns)
			v->top = w;
	}
}

/* What a holder does with it: the heaviest stack of whoever wakes the others, else of the waiters themselves (they take turns). */
static uint32_t holder_stack(const struct finding_context *c, const struct convoy *v, int32_t *pid)
{
	const struct edge_row *best = NULL;
	for (size_t i = 0; i < c->p->n_edges; i++)
		if (c->p->edges[i].channel == v->channel && c->p->edges[i].waker_pid && (!best || c->p->edges[i].count > best->count))
			best = &c->p->edges[i];
	*pid = best ? best->waker_pid : v->top->pid;
	uint32_t hot = finding_hot_stack(c, *pid);
	return hot ? hot : best ? best->waker_stack_ix : 0;
}

static void tell(struct finding_context *c, const struct convoy *v, double gain)
{
	struct finding *f = finding_new(c, FIND_LOCK_CONVOY);
	if (!f)
		return;
	finding_weigh(c, f, v->top->estimated, v->count);
	f->share_of_wall = fmin(1, v->waiting);
	for (unsigned i = 0; i < v->n_pids; i++)
		finding_add_pid(c, f, v->pids[i]);
	finding_add_channel(c, f, v->channel);
	int32_t holder;
	uint32_t hot = holder_stack(c, v, &holder);
	finding_add_evidence(c, f, "waits for the lock here", v->top->pid, v->top->stack_ix);
	finding_add_evidence(c, f, "the holder works here", holder, hot);
	finding_predict(c, f, 1 + (gain - 1) * 0.8, 1 + (gain - 1) * 1.05);
	const struct channel_row *ch = profile_channel(c->p, v->channel);
	char list[FINDING_SITE], a[FINDING_SITE], b[FINDING_SITE], n[32];
	finding_say(c, &f->title, "%u threads of %s queue for one %s (%s): %.1f wait at a time, %s waits a second", v->n_threads,
		    finding_list(c, v->pids, v->n_pids, list), v->gil ? "interpreter lock" : "lock", ch && ch->name ? ch->name : "unknown",
		    v->waiting, finding_count((double)v->count * 1e9 / c->window_ns, n));
	finding_say(c, &f->where, "they wait in %s; the holder works in %s",
		    *finding_site(c, v->top->stack_ix, a) ? a : "unknown code", *finding_site(c, hot, b) ? b : "unknown code");
	finding_say(c, &f->advice, "%s: %.1f to %.1f times as fast on %u CPUs",
		    v->gil ? "Use processes instead of threads, or do the work outside the interpreter"
			   : "Split the lock (a lock per shard), or do less while holding it",
		    f->speedup_low, f->speedup_high, c->p->meta.cpus);
}

static void run(struct finding_context *c)
{
	double cpus = c->p->meta.cpus ? c->p->meta.cpus : 1;
	for (size_t i = 0; i < c->p->n_flows && c->window_ns > 0; i++) {
		const struct flow_row *r = &c->p->flows[i];
		struct convoy v = {.channel = r->channel, .count = r->lock_count};
		v.waiting = (double)r->lock_ns / c->window_ns;
		if (v.waiting < 0.05)
			continue;
		add_waiters(c, &v);
		if (v.n_threads < MIN_WAITERS || !v.top)
			continue;
		/* while somebody waits, as many as there are CPUs could run instead of those that do */
		double held = fmin(1, v.waiting), parallel = fmax(1, finding_parallelism(c));
		double room = fmin(cpus, v.n_threads);
		double left = 1 - held + held * fmin(1, parallel / room);
		double gain = 1 / (1 - finding_ramp(v.waiting, 0.2, 1) * (1 - left));
		if (gain > 1 + FINDING_MIN_GAIN / 2)
			tell(c, &v, gain);
	}
}

const struct finding_rule finding_lock_convoy = {FIND_LOCK_CONVOY, run};
