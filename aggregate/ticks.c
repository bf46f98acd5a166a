/* SPDX-License-Identifier: Apache-2.0
 *
 * The sampled path (user backend). In: EV_TICK, the state in which a thread was seen, which stands for dt; and EV_COUNTS, exact
 * totals of on-CPU and run-queue time since the last EV_COUNTS. Out: the same ledger and rows as the exact path, rows
 * marked estimated.
 *
 * How: ticks are kept per thread until the next EV_COUNTS (or the thread's end). Then the exact off-CPU time of the period,
 * which is what the exact on-CPU and run-queue times leave of it, is split over the blocked states in proportion to their
 * ticks (ratio estimator), and so the ledger still sums to the lifetime to the nanosecond. Without EV_COUNTS the ticks' own
 * proportions are scaled to the period. The timeline shows the ticks as they came.
 */
#include "aggregate/agg.h"

#include <stdlib.h>
#include <string.h>

#define MAX_STATES 96
#define RESERVED (WC_COUNT + 3) /* states without channel and stack: there is always room for those */

struct state { /* one distinct sampled state since the last commit */
	enum tick_state state;
	uint8_t cls;
	uint32_t channel, stack, peer; /* channel and peer: ids of the stream, thread index */
	uint64_t ns, ticks, waits;
};

struct ticks {
	uint64_t upto_ns; /* ticks cover the time up to here (the account's cursor is where they began) */
	uint32_t n;
	struct state states[MAX_STATES];
	/* of the last period that had exact counters: its length, and what was blocked then */
	struct ev_counts last;
	uint64_t last_ns;
	struct state *prior;
	uint32_t n_prior;
};

static struct ticks *ticks_of(struct thread *h)
{
	if (!h->ticks) {
		h->ticks = calloc(1, sizeof *h->ticks);
		if (h->ticks)
			h->ticks->upto_ns = h->account.cursor_ns;
	}
	return h->ticks;
}

static struct state *find(struct ticks *k, const struct state *s)
{
	for (uint32_t i = 0; i < k->n; i++) {
		struct state *have = &k->states[i];
		if (have->state == s->state && have->cls == s->cls && have->channel == s->channel && have->stack == s->stack &&
		    have->peer == s->peer)
			return have;
	}
	return NULL;
}

/* The entry of a state; when there are too many, that of its class alone. */
static struct state *entry(struct ticks *k, struct state s)
{
	struct state *have = find(k, &s);
	if (!have && k->n >= MAX_STATES - RESERVED) {
		s.channel = s.stack = s.peer = 0;
		have = find(k, &s);
	}
	if (!have) {
		have = &k->states[k->n++];
		*have = s;
	}
	return have;
}

static void put_tick_on_timeline(struct aggregator *a, uint32_t proc, const struct ev_tick *e, uint64_t from, uint64_t to)
{
	static const enum timeline_what what[] = {TIMELINE_BLOCKED, TIMELINE_ON_CPU, TIMELINE_RUN_QUEUE, TIMELINE_BLOCKED};
	timeline_add(&a->timeline, &a->tree, proc, what[e->state & 3], e->cls, from, to);
	struct account_step none = {from, from, from, from, 0, 0};
	if (e->state == TICK_BLOCKED && !e->same)
		timeline_add_step(&a->timeline, &a->tree, proc, e->cls, &none, 1);
}

/* A blocked tick is a wait of its own in the window: at every sampled instant it is known who waits on what and who runs, which is
 * all that the cascade, the loads and the overlaps need. How often waits ended is not in there: build.c takes that from counters.
 * The peer is the lock's holder, or the only process at the channel's other end (its first thread). */
static void put_tick_into_window(struct aggregator *a, uint32_t thread, uint32_t peer, const struct ev_tick *e, uint64_t from_ns,
				 uint64_t until_ns)
{
	if (e->state == TICK_RUNNING || until_ns <= from_ns)
		return;
	uint32_t ch = e->channel ? channels_of_id(&a->channels, e->channel) : 0;
	if (!peer && ch) {
		uint32_t other = channel_other_end(&a->channels.list[ch], &a->tree, tree_proc(&a->tree, a->tree.threads[thread].proc), e->cls);
		peer = other ? tree_thread_of_tid(&a->tree, a->tree.procs[other].pid, until_ns) : 0;
	}
	const struct account_step step = {
	    .from = from_ns, .out = from_ns, .wake = e->state == TICK_BLOCKED ? until_ns : from_ns, .run = until_ns};
	const struct ev_wait w = {.tid = e->tid,
				  .cls = e->state == TICK_BLOCKED ? e->cls : WC_NONE,
				  .preempted = e->state != TICK_BLOCKED,
				  .waker_ctx = peer ? WAKER_TASK : WAKER_NONE,
				  .channel = e->channel,
				  .stack = e->state == TICK_BLOCKED ? e->stack : 0};
	window_buffer_wait(&a->window, &a->tree, thread, &step, &w, peer, 0);
}

void ticks_event(struct aggregator *a, const struct event *ev)
{
	struct ev_tick e = ev->tick;
	if (e.state < TICK_RUNNING || e.state > TICK_BLOCKED)
		e.state = TICK_BLOCKED;
	if (e.state != TICK_BLOCKED)
		e.cls = WC_NONE;
	else if (e.cls == WC_NONE || e.cls >= WC_COUNT)
		e.cls = WC_OTHER;
	uint64_t began = ev->time_ns - a->start_ns > e.dt_ns ? ev->time_ns - e.dt_ns : a->start_ns;
	uint32_t ix = agg_observed_thread(a, e.tid, began);
	uint32_t peer = ix && e.peer_tid > 0 ? tree_thread_of_tid(&a->tree, e.peer_tid, ev->time_ns) : 0;
	struct thread *h = &a->tree.threads[ix];
	struct ticks *k = ix && !h->ended ? ticks_of(h) : NULL;
	if (!k) {
		a->rejected += !ix || !h->ended;
		return;
	}
	uint64_t gap = ev->time_ns > k->upto_ns ? ev->time_ns - k->upto_ns : 0, mine = gap < e.dt_ns ? gap : e.dt_ns;
	struct state *s =
		entry(k, (struct state){.state = e.state, .cls = e.cls, .channel = e.channel, .stack = e.stack, .peer = peer});
	s->ns += mine;
	s->ticks++;
	s->waits += e.state == TICK_BLOCKED && !e.same;
	k->upto_ns += gap;
	h->samples = 0;
	put_tick_on_timeline(a, tree_proc(&a->tree, h->proc), &e, ev->time_ns - mine, ev->time_ns);
	put_tick_into_window(a, ix, peer, &e, ev->time_ns - mine, ev->time_ns);
}

static void commit_cpu(struct aggregator *a, uint32_t thread, const struct state *s, uint64_t ns)
{
	struct thread *h = &a->tree.threads[thread];
	h->account.ledger.on_cpu_ns += ns;
	if (!s->stack)
		return; /* the stacks come by EV_SAMPLE, or are not known */
	struct cpu_key key = {.thread = thread, .stack = s->stack};
	struct cpu_count *c = cpu_rows_find(&a->cpu, &key);
	if (!c) {
		a->rejected++;
		return;
	}
	c->samples += s->ticks;
	c->est_ns += ns;
}

static void commit_blocked(struct aggregator *a, uint32_t thread, const struct state *s, uint64_t ns, uint64_t waits)
{
	struct thread *h = &a->tree.threads[thread];
	h->account.ledger.blocked_ns[s->cls] += ns;
	struct row_key key = {
		.thread = thread,
		.site = s->stack,
		.cls = s->cls,
		.channel = channels_of_id(&a->channels, s->channel),
		.waker = s->peer ? a->tree.threads[s->peer].proc : 0,
		.flags = ROW_SITE_IS_STACK | ROW_WAKER_SITE_IS_STACK | ROW_ESTIMATED,
	};
	uint32_t ix = rows_find(&a->rows, &key);
	if (!ix) {
		a->rejected++;
		return;
	}
	a->rows.rows[ix].count += waits;
	a->rows.rows[ix].blocked_ns += ns;
}

/* How many waits each blocked state stands for: the voluntary switches of the period, when they are known, in proportion to the
 * ticks that found a new wait; by time when every tick found the same one. Length-biased where classes differ in their
 * durations: an estimate, like all that is sampled. */
static void wait_counts(const struct ticks *k, const struct ev_counts *exact, uint64_t *out)
{
	uint64_t weights[MAX_STATES], sum = 0;
	for (uint32_t i = 0; i < k->n; i++) {
		out[i] = weights[i] = k->states[i].state == TICK_BLOCKED ? k->states[i].waits : 0;
		sum += weights[i];
	}
	if (!exact || exact->switches_voluntary <= sum)
		return;
	for (uint32_t i = 0; !sum && i < k->n; i++)
		weights[i] = k->states[i].state == TICK_BLOCKED ? k->states[i].ns : 0;
	apportion(exact->switches_voluntary, weights, out, k->n);
}

/* A new period, which remembers the last one. */
static void begin_period(struct ticks *k, const struct ev_counts *exact, uint64_t total, uint64_t upto_ns)
{
	uint32_t blocked = 0;
	for (uint32_t i = 0; i < k->n; i++)
		blocked += k->states[i].state == TICK_BLOCKED;
	if (blocked) {
		struct state *prior = realloc(k->prior, blocked * sizeof *prior);
		k->prior = prior ? prior : k->prior;
		k->n_prior = 0;
		for (uint32_t i = 0; prior && i < k->n; i++)
			if (k->states[i].state == TICK_BLOCKED)
				prior[k->n_prior++] = k->states[i];
	}
	if (exact && total) {
		k->last = *exact;
		k->last_ns = total;
	}
	k->n = 0;
	k->upto_ns = upto_ns;
}

/* A thread that was blocked in a period without being seen so was most likely blocked as in the period before. */
static void borrow_prior(struct ticks *k)
{
	for (uint32_t i = 0; i < k->n_prior && k->n < MAX_STATES; i++) {
		k->states[k->n] = k->prior[i];
		k->states[k->n++].waits = 0; /* none was seen now: how many there were is for the counters to say */
	}
}

/* The counters of a thread that went before they could be read again: at the last period's rates. */
static bool extrapolate(const struct ticks *k, uint64_t total, struct ev_counts *out)
{
	if (!k || !k->last_ns)
		return false;
	double f = (double)total / (double)k->last_ns;
	*out = (struct ev_counts){.on_cpu_ns = (uint64_t)(f * (double)k->last.on_cpu_ns),
				  .run_queue_ns = (uint64_t)(f * (double)k->last.run_queue_ns),
				  .switches_voluntary = (uint64_t)(f * (double)k->last.switches_voluntary),
				  .switches_involuntary = (uint64_t)(f * (double)k->last.switches_involuntary)};
	return true;
}

/* Splits the period [cursor, until) over the sampled states. exact: totals of the period, or NULL. */
static void commit(struct aggregator *a, uint32_t thread, uint64_t until_ns, const struct ev_counts *exact)
{
	struct thread *h = &a->tree.threads[thread];
	struct ticks none = {0}, *k = h->ticks ? h->ticks : &none;
	uint64_t total = until_ns > h->account.cursor_ns ? until_ns - h->account.cursor_ns : 0, parts[MAX_STATES],
		 weights[MAX_STATES], waits[MAX_STATES];
	uint64_t by_state[TICK_BLOCKED + 1] = {0}, seen[TICK_BLOCKED + 1] = {0};
	struct ev_counts guess;
	if (!exact && extrapolate(h->ticks, total, &guess)) {
		exact = &guess;
		h->account.ledger.waits += guess.switches_voluntary;
		h->account.ledger.preemptions += guess.switches_involuntary;
	}
	for (uint32_t i = 0; i < k->n; i++)
		seen[k->states[i].state] += k->states[i].ns;
	if (!seen[TICK_BLOCKED]) {
		borrow_prior(k);
		for (uint32_t i = 0; i < k->n; i++)
			seen[TICK_BLOCKED] += k->states[i].state == TICK_BLOCKED ? k->states[i].ns : 0;
	}
	if (exact) {
		by_state[TICK_RUNNING] = exact->on_cpu_ns < total ? exact->on_cpu_ns : total;
		by_state[TICK_RUNNABLE] = exact->run_queue_ns < total - by_state[TICK_RUNNING] ? exact->run_queue_ns
											       : total - by_state[TICK_RUNNING];
		by_state[TICK_BLOCKED] = total - by_state[TICK_RUNNING] - by_state[TICK_RUNNABLE];
	} else {
		apportion(total, seen + 1, by_state + 1, TICK_BLOCKED);
	}
	wait_counts(k, exact, waits);
	for (int state = TICK_RUNNING; state <= TICK_BLOCKED; state++) {
		for (uint32_t i = 0; i < k->n; i++)
			weights[i] = k->states[i].state == (enum tick_state)state ? k->states[i].ns : 0;
		/* Never seen in this state, though it was: time without a stack. */
		const struct state unseen = {.cls = WC_OTHER, .waits = exact ? exact->switches_voluntary : 1};
		if (!seen[state]) {
			if (state == TICK_RUNNING)
				commit_cpu(a, thread, &unseen, by_state[state]);
			else if (state == TICK_BLOCKED && by_state[state])
				commit_blocked(a, thread, &unseen, by_state[state], unseen.waits);
		} else {
			apportion(by_state[state], weights, parts, k->n);
		}
		for (uint32_t i = 0; seen[state] && i < k->n; i++) {
			if (k->states[i].state != (enum tick_state)state)
				continue;
			if (state == TICK_RUNNING)
				commit_cpu(a, thread, &k->states[i], parts[i]);
			else if (state == TICK_BLOCKED)
				commit_blocked(a, thread, &k->states[i], parts[i], waits[i]);
		}
	}
	h = &a->tree.threads[thread];
	h->account.ledger.run_queue_ns += by_state[TICK_RUNNABLE];
	for (uint32_t i = 0; !exact && i < k->n; i++)
		h->account.ledger.waits += k->states[i].waits;
	h->account.cursor_ns += total;
	if (h->ticks)
		begin_period(h->ticks, exact, total, h->account.cursor_ns);
}

void ticks_counts(struct aggregator *a, const struct event *ev)
{
	const struct ev_counts *e = &ev->counts;
	uint32_t ix = agg_observed_thread(a, e->tid, ev->time_ns);
	if (!ix) {
		a->rejected++;
		return;
	}
	struct thread *h = &a->tree.threads[ix];
	struct proc *p = &a->tree.procs[tree_proc(&a->tree, h->proc)];
	p->rd_calls += e->rd_calls;
	p->rd_bytes += e->rd_bytes;
	p->wr_calls += e->wr_calls;
	p->wr_bytes += e->wr_bytes;
	if (h->exact || h->ended)
		return;
	h->account.ledger.waits += e->switches_voluntary;
	h->account.ledger.preemptions += e->switches_involuntary;
	commit(a, ix, ev->time_ns, e);
}

void ticks_close(struct aggregator *a, uint32_t thread, uint64_t time_ns)
{
	if (a->tree.threads[thread].ticks)
		commit(a, thread, time_ns, NULL);
}

void ticks_free(struct ticks *k)
{
	if (k)
		free(k->prior);
	free(k);
}

void ticks_resolve(struct aggregator *a, uint32_t thread)
{
	struct ticks *k = a->tree.threads[thread].ticks;
	for (uint32_t i = 0; k && i < k->n; i++) {
		uint32_t peer = k->states[i].peer ? tree_thread(&a->tree, k->states[i].peer) : 0;
		k->states[i].peer = a->tree.threads[peer].dropped ? 0 : peer;
	}
	for (uint32_t i = 0; k && i < k->n_prior; i++)
		k->prior[i].peer = 0; /* a guess needs no peer that may be gone */
}
