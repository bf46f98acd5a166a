/* SPDX-License-Identifier: Apache-2.0
 *
 * Random traces: whatever processes do and however the backend stumbles, sums hold to the nanosecond, nothing is counted twice, memory
 * stays bounded and equal traces give equal profiles. */
#include "aggregate/agg.h"
#include "tests/unit/profile_checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define START 1000000000ull

struct random {
	uint64_t state;
};

static uint64_t draw(struct random *r, uint64_t n)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return r->state % n;
}

/* What a trace is made of. */
struct plan {
	uint64_t seed;
	unsigned events, processes, channels;
	bool disorder; /* wakes before switch-out, overlaps, waits told late or twice */
	bool losses;
	bool churn; /* forks, exits, reused pids */
	bool ticks; /* the user backend's events instead of exact waits */
	uint32_t max_rows;
};

struct trace_thread {
	int32_t tid, pid;
	uint64_t now; /* last t_run */
	uint64_t started;
	bool alive;
};

struct generator {
	struct random r;
	const struct plan *plan;
	struct aggregator *a;
	struct trace_thread t[256];
	unsigned n;
	int32_t next_pid;
	uint64_t observed; /* truth: lifetimes summed, of threads that ended */
	uint64_t latest;
};

static void hand(struct generator *g, const struct event *ev)
{
	aggregator_event(g->a, ev);
}

static void tell_names(struct generator *g)
{
	for (uint32_t i = 1; i <= 40; i++) {
		char fn[32];
		snprintf(fn, sizeof fn, "function_%u", i % 30); /* ten frames twice, under two ids */
		struct source_frame f = {.function = fn, .module = "/bin/x", .line = i % 30};
		struct event ev = {.kind = EV_FRAME, .frame = {.id = i, .n = 1, .frames = &f}};
		hand(g, &ev);
	}
	for (uint32_t i = 1; i <= 100; i++) {
		uint32_t frames[3] = {i % 40 + 1, i % 7 + 1, 1};
		struct event ev = {.kind = EV_STACK, .stack = {.id = i, .n = 1 + i % 3, .frames = frames}};
		hand(g, &ev);
	}
	for (uint32_t i = 1; i <= g->plan->channels; i++) {
		struct event ev = {.kind = EV_CHANNEL, .channel = {.id = i, .kind = 1 + i % (CH_COUNT - 1), .name = "channel"}};
		hand(g, &ev);
	}
}

static void start_thread(struct generator *g, int32_t pid, int32_t tid, uint64_t at)
{
	struct event ev = {.kind = EV_THREAD, .time_ns = at, .thread = {.pid = pid, .tid = tid, .comm = "worker"}};
	unsigned slot = 0;
	while (slot < g->n && g->t[slot].alive)
		slot++;
	if (slot == sizeof g->t / sizeof *g->t)
		return;
	if (slot == g->n)
		g->n++;
	g->t[slot] = (struct trace_thread){.tid = tid, .pid = pid, .now = at, .started = at, .alive = true};
	hand(g, &ev);
}

static void start_process(struct generator *g, int32_t ppid, uint64_t at)
{
	int32_t pid = g->next_pid += 10;
	if (g->plan->churn && g->next_pid > 3000)
		g->next_pid = 100; /* pids come round */
	for (unsigned i = 0; i < g->n; i++)
		if (g->t[i].alive && g->t[i].pid == pid)
			return;
	char comm[16];
	snprintf(comm, sizeof comm, "job%llu", (unsigned long long)draw(&g->r, 4));
	struct event ev = {
		.kind = EV_PROCESS,
		.time_ns = at,
		.process = {.pid = pid, .ppid = ppid, .in_tree = true, .reason = PROC_FORK, .comm = comm, .exe = "/bin/job"}};
	hand(g, &ev);
	start_thread(g, pid, pid, at);
	if (draw(&g->r, 3) == 0)
		start_thread(g, pid, pid + 1, at + draw(&g->r, 1000));
	for (int i = 0; i < 2 && g->plan->channels; i++) {
		struct event end = {.kind = EV_CHANNEL_END,
				    .time_ns = at,
				    .channel_end = {.channel = 1 + (uint32_t)draw(&g->r, g->plan->channels),
						    .pid = pid,
						    .fd = 3 + i,
						    .role = 1 + draw(&g->r, 3)}};
		hand(g, &end);
	}
}

static void end_process(struct generator *g, unsigned i)
{
	int32_t pid = g->t[i].pid;
	uint64_t at = 0;
	for (unsigned k = 0; k < g->n; k++)
		if (g->t[k].alive && g->t[k].pid == pid && g->t[k].now > at)
			at = g->t[k].now;
	at += draw(&g->r, 5000);
	for (unsigned k = 0; k < g->n; k++) {
		if (!g->t[k].alive || g->t[k].pid != pid)
			continue;
		struct event ev = {.kind = EV_THREAD_EXIT, .time_ns = at, .thread_exit = {.pid = pid, .tid = g->t[k].tid}};
		g->t[k].alive = false;
		g->observed += at - g->t[k].started;
		if (draw(&g->r, 8)) /* now and then only the process's end is told */
			hand(g, &ev);
	}
	struct event ev = {.kind = EV_PROCESS_EXIT, .time_ns = at, .process_exit = {.pid = pid, .status = 0}};
	hand(g, &ev);
	if (at > g->latest)
		g->latest = at;
}

static void fill_wait(struct generator *g, struct ev_wait *w)
{
	struct random *r = &g->r;
	const struct trace_thread *waker = &g->t[draw(r, g->n)];
	w->waker_ctx = (uint8_t)draw(r, 4);
	w->waker_tid = draw(r, 30) ? waker->tid : (int32_t)(900000 + draw(r, 20)); /* somebody never introduced */
	w->channel = g->plan->channels ? (uint32_t)draw(r, g->plan->channels + 1) : 0;
	w->site = (uint32_t)w->tid * 8 + (uint32_t)draw(r, 4);
	w->stack = draw(r, 10) ? 0 : 1 + (uint32_t)draw(r, 110); /* ten of them are never introduced */
	w->waker_site = (uint32_t)w->waker_tid * 8 + 4 + (uint32_t)draw(r, 2);
	w->waker_stack = draw(r, 10) ? 0 : 1 + (uint32_t)draw(r, 100);
	w->bytes = draw(r, 2) ? (uint32_t)draw(r, 5000) : 0;
	w->rd_calls = (uint32_t)draw(r, 3);
	w->wr_bytes = (uint32_t)draw(r, 100);
	if (draw(r, 3) == 0) {
		w->folded_count = 1 + (uint32_t)draw(r, 5);
		w->folded_ns = draw(r, 300);
	}
	if (draw(r, 5) == 0) {
		w->handoff_count = 1;
		w->handoff_tid = waker->tid;
	}
}

static void one_wait(struct generator *g, struct trace_thread *t)
{
	struct random *r = &g->r;
	uint64_t out = t->now + 300 + draw(r, 20000), wake = out + draw(r, draw(r, 50) ? 30000 : 30000000),
		 run = wake + draw(r, 3000);
	struct event ev = {.kind = EV_WAIT, .time_ns = out, .wait = {.tid = t->tid, .t_wake = wake, .t_run = run}};
	ev.wait.cls = (uint8_t)draw(r, WC_COUNT);
	if (ev.wait.cls == WC_NONE)
		ev.wait.t_wake = out;
	fill_wait(g, &ev.wait);
	if (g->plan->disorder && draw(r, 4) == 0) {
		ev.wait.t_wake -= draw(r, 60000);
		ev.time_ns -= draw(r, 25000);
		if (draw(r, 2))
			ev.wait.t_run -= draw(r, 60000);
	}
	if (g->plan->losses && draw(r, 20) == 0) {
		ev.wait.lost = 1;
		ev.wait.lost_count = 3;
	}
	hand(g, &ev);
	if (g->plan->disorder && draw(r, 20) == 0)
		hand(g, &ev);
	if (ev.wait.t_run > t->now)
		t->now = ev.wait.t_run;
	if (t->now > g->latest)
		g->latest = t->now;
}

static void one_tick(struct generator *g, struct trace_thread *t)
{
	struct random *r = &g->r;
	uint32_t dt = 1000000 + (uint32_t)draw(r, 100000);
	t->now += dt + (draw(r, 10) ? 0 : draw(r, 5000000)); /* some ticks are missed */
	struct event ev = {.kind = EV_TICK,
			   .time_ns = t->now,
			   .tick = {.tid = t->tid,
				    .state = 1 + draw(r, 3),
				    .cls = (uint8_t)draw(r, WC_COUNT),
				    .same = draw(r, 2),
				    .dt_ns = dt,
				    .channel = (uint32_t)draw(r, g->plan->channels + 1),
				    .stack = (uint32_t)draw(r, 101),
				    .peer_tid = draw(r, 2) ? g->t[draw(r, g->n)].tid : 0}};
	hand(g, &ev);
	if (draw(r, 10) == 0) {
		struct event c = {.kind = EV_COUNTS, .time_ns = t->now, .counts = {.tid = t->tid}};
		c.counts.on_cpu_ns = draw(r, 12000000);
		c.counts.run_queue_ns = draw(r, 1000000);
		c.counts.switches_voluntary = draw(r, 100);
		hand(g, &c);
	}
	if (t->now > g->latest)
		g->latest = t->now;
}

static void generate(struct generator *g)
{
	const struct plan *plan = g->plan;
	tell_names(g);
	for (unsigned i = 0; i < plan->processes; i++)
		start_process(g, 1, START);
	for (unsigned i = 0; i < plan->events; i++) {
		unsigned k = (unsigned)draw(&g->r, g->n);
		if (!g->t[k].alive)
			continue;
		uint64_t now = g->t[k].now;
		if (plan->churn && draw(&g->r, 30) == 0)
			end_process(g, k);
		else if (plan->churn && draw(&g->r, 20) == 0)
			start_process(g, g->t[k].pid, now);
		else if (plan->ticks)
			one_tick(g, &g->t[k]);
		else
			one_wait(g, &g->t[k]);
		if (draw(&g->r, 50) == 0) {
			struct event ev = {.kind = EV_SAMPLE,
					   .time_ns = now,
					   .sample = {.tid = g->t[k].tid, .stack = 5, .period_ns = 10000000}};
			if (g->t[k].alive)
				hand(g, &ev);
		}
	}
	struct event end = {.kind = EV_END, .time_ns = g->latest + 1000};
	hand(g, &end);
	for (unsigned i = 0; i < g->n; i++)
		if (g->t[i].alive)
			g->observed += end.time_ns - g->t[i].started;
}

static struct profile *profile_of(const struct plan *plan, uint64_t *observed)
{
	struct generator g = {
		.r = {plan->seed * 2654435761u + 88172645463325252ull}, .plan = plan, .next_pid = 100, .latest = START};
	struct aggregator_options opt = {
		.start_ns = START, .max_rows = plan->max_rows, .window_events = 500, .window_duty_percent = 100};
	struct profile *p = NULL;
	g.a = aggregator_new(&opt, NULL);
	assert_non_null(g.a);
	generate(&g);
	assert_int_equal(aggregator_profile(g.a, &p, NULL), 0);
	if (observed)
		*observed = g.observed;
	aggregator_free(g.a);
	return p;
}

static uint64_t total_observed(const struct profile *p)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < p->n_processes; i++)
		sum += p->processes[i].observed_ns;
	return sum;
}

static void test_orderly_traces_conserve_every_nanosecond(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 16; seed++) {
		struct plan plan = {.seed = seed, .events = 3000, .processes = 1 + seed % 10, .channels = 12};
		uint64_t observed;
		struct profile *p = profile_of(&plan, &observed);
		assert_true(check_exact_profile(p));
		assert_int_equal(total_observed(p), observed);
		profile_free(p);
	}
}

static void test_forks_exits_and_reused_pids_conserve_every_nanosecond(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 16; seed++) {
		struct plan plan = {.seed = seed, .events = 8000, .processes = 4, .channels = 12, .churn = true};
		uint64_t observed;
		struct profile *p = profile_of(&plan, &observed);
		assert_true(check_exact_profile(p));
		assert_int_equal(total_observed(p), observed);
		profile_free(p);
	}
}

static void test_disorder_and_losses_never_break_a_sum(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct plan plan = {.seed = seed,
				    .events = 5000,
				    .processes = 6,
				    .channels = 8,
				    .disorder = true,
				    .losses = seed % 2,
				    .churn = seed % 3};
		struct profile *p = profile_of(&plan, NULL);
		assert_true(plan.losses ? check_profile(p) : check_exact_profile(p));
		assert_true((p->meta.lost_ns > 0) == plan.losses);
		profile_free(p);
	}
}

static void test_few_rows_lose_detail_but_no_time(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct plan plan = {
			.seed = seed, .events = 12000, .processes = 12, .channels = 40, .churn = seed % 2, .max_rows = 256};
		struct plan wide = plan;
		wide.max_rows = 1000000;
		uint64_t observed;
		struct profile *p = profile_of(&plan, &observed), *q = profile_of(&wide, NULL);
		assert_true(check_exact_profile(p));
		size_t least = p->n_processes * WC_COUNT; /* one row per process and class */
		size_t bound = least > 256 ? least : 256;
		assert_true(p->n_edges <= bound);
		assert_true(p->n_waits <= bound + 2 * p->n_threads);
		assert_true(q->n_edges > p->n_edges);
		assert_int_equal(total_observed(p), observed);
		assert_int_equal(total_observed(q), observed);
		uint64_t a = 0, b = 0;
		for (size_t i = 0; i < p->n_edges; i++)
			a += p->edges[i].blocked_ns;
		for (size_t i = 0; i < q->n_edges; i++)
			b += q->edges[i].blocked_ns;
		assert_int_equal(a, b);
		profile_free(p);
		profile_free(q);
	}
}

static void test_sampled_traces_conserve_every_nanosecond(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 16; seed++) {
		struct plan plan = {
			.seed = seed, .events = 4000, .processes = 5, .channels = 6, .ticks = true, .churn = seed % 2};
		uint64_t observed;
		struct profile *p = profile_of(&plan, &observed);
		assert_true(check_profile(p));
		/* a thread is observed from the first tick's dt before it on at the latest: never more than the truth */
		assert_int_equal(total_observed(p), observed);
		for (size_t i = 0; i < p->n_waits; i++)
			assert_true(p->waits[i].estimated || p->waits[i].cls == WC_NONE);
		profile_free(p);
	}
}

/* Everything that a reader can see, as text. */
static void describe(const struct profile *p, FILE *out)
{
	for (size_t i = 0; i < p->n_processes; i++)
		fprintf(out, "P %d %d %s %u %llu\n", p->processes[i].pid, p->processes[i].ppid, p->processes[i].comm,
			p->processes[i].n_siblings, (unsigned long long)p->processes[i].observed_ns);
	for (size_t i = 0; i < p->n_threads; i++)
		fprintf(out, "T %d %d %llu\n", p->threads[i].pid, p->threads[i].tid,
			(unsigned long long)p->threads[i].ledger.on_cpu_ns);
	for (size_t i = 0; i < p->n_waits; i++)
		fprintf(out, "W %d %d %d %u %u %llu %llu %.3f\n", p->waits[i].pid, p->waits[i].tid, p->waits[i].cls,
			p->waits[i].channel, p->waits[i].stack_ix, (unsigned long long)p->waits[i].count,
			(unsigned long long)p->waits[i].blocked_ns, hist_quantile(&p->waits[i].hist, 0.5));
	for (size_t i = 0; i < p->n_edges; i++)
		fprintf(out, "E %d %d %u %u %u %d %llu %.3f\n", p->edges[i].waiter_pid, p->edges[i].waker_pid,
			p->edges[i].channel, p->edges[i].waiter_stack_ix, p->edges[i].waker_stack_ix, p->edges[i].confidence,
			(unsigned long long)p->edges[i].blocked_ns, size_hist_quantile(&p->edges[i].bytes, 0.5));
	for (size_t i = 0; i < p->n_pairs; i++)
		fprintf(out, "R %d %d %llu\n", p->pairs[i].pid_a, p->pairs[i].pid_b, (unsigned long long)p->pairs[i].turns);
	for (size_t i = 0; i < p->n_stacks; i++)
		fprintf(out, "S %u\n", p->stacks[i].n);
	for (size_t i = 0; i < p->n_blames; i++)
		fprintf(out, "B %d %d %u %llu\n", p->blames[i].waiter_pid, p->blames[i].pid, p->blames[i].stack_ix,
			(unsigned long long)p->blames[i].ns);
}

static void test_equal_traces_give_equal_profiles(void **state)
{
	(void)state;
	struct plan plan = {.seed = 7, .events = 20000, .processes = 8, .channels = 20, .churn = true, .max_rows = 400};
	char *text[2] = {NULL};
	for (int i = 0; i < 2; i++) {
		size_t n;
		FILE *out = open_memstream(&text[i], &n);
		struct profile *p = profile_of(&plan, NULL);
		describe(p, out);
		fclose(out);
		assert_true(n > 1000);
		profile_free(p);
	}
	assert_string_equal(text[0], text[1]);
	free(text[0]);
	free(text[1]);
}

static void test_a_profile_in_between_changes_no_sum(void **state)
{
	(void)state;
	struct plan plan = {.seed = 3, .events = 4000, .processes = 5, .channels = 9, .churn = true};
	struct generator g = {.r = {88172645463325252ull}, .plan = &plan, .next_pid = 100, .latest = START};
	struct aggregator_options opt = {.start_ns = START, .window_duty_percent = 100};
	g.a = aggregator_new(&opt, NULL);
	tell_names(&g);
	for (unsigned i = 0; i < plan.processes; i++)
		start_process(&g, 1, START);
	for (unsigned i = 0; i < plan.events; i++) {
		unsigned k = (unsigned)draw(&g.r, g.n);
		if (!g.t[k].alive)
			continue;
		if (draw(&g.r, 40) == 0)
			end_process(&g, k);
		else if (draw(&g.r, 25) == 0)
			start_process(&g, 1, g.t[k].now);
		else
			one_wait(&g, &g.t[k]);
		if (i % 800 == 0) {
			struct profile *p;
			assert_int_equal(aggregator_profile(g.a, &p, NULL), 0);
			assert_true(check_profile(p));
			profile_free(p);
		}
	}
	struct event end = {.kind = EV_END, .time_ns = g.latest + 10};
	hand(&g, &end);
	for (unsigned i = 0; i < g.n; i++)
		if (g.t[i].alive)
			g.observed += end.time_ns - g.t[i].started;
	struct profile *p;
	assert_int_equal(aggregator_profile(g.a, &p, NULL), 0);
	assert_true(check_exact_profile(p));
	assert_int_equal(total_observed(p), g.observed);
	profile_free(p);
	aggregator_free(g.a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_orderly_traces_conserve_every_nanosecond),
		cmocka_unit_test(test_forks_exits_and_reused_pids_conserve_every_nanosecond),
		cmocka_unit_test(test_disorder_and_losses_never_break_a_sum),
		cmocka_unit_test(test_few_rows_lose_detail_but_no_time),
		cmocka_unit_test(test_sampled_traces_conserve_every_nanosecond),
		cmocka_unit_test(test_equal_traces_give_equal_profiles),
		cmocka_unit_test(test_a_profile_in_between_changes_no_sum),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
