/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows as the aggregator hands them out: whole, sorted, clipped, with a known state at every moment up to the tail. */
#include "aggregate/agg.h"
#include "sampler/replay/format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Copies of all windows that were handed out. */
struct caught {
	struct window w[64];
	size_t n;
	int32_t fold_from[64], fold_into[64];
	size_t n_folds;
};

static void catch_window(void *ctx, const struct window *w)
{
	struct caught *c = ctx;
	assert_true(c->n < 64);
	struct window *copy = &c->w[c->n++];
	struct window_wait *waits = calloc(w->n + 1, sizeof *waits);
	struct window_thread *threads = calloc(w->n_threads + 1, sizeof *threads);
	if (w->n)
		memcpy(waits, w->waits, w->n * sizeof *waits);
	memcpy(threads, w->threads, w->n_threads * sizeof *threads);
	*copy = (struct window){w->start_ns, w->end_ns, waits, w->n, threads, w->n_threads};
}

static void catch_fold(void *ctx, int32_t from, int32_t into)
{
	struct caught *c = ctx;
	if (c->n_folds < 64) {
		c->fold_from[c->n_folds] = from;
		c->fold_into[c->n_folds] = into;
	}
	c->n_folds++;
}

static int finish(void *ctx, struct profile *p)
{
	(void)ctx;
	(void)p;
	return 0;
}

static void release(struct caught *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free((void *)c->w[i].waits);
		free((void *)c->w[i].threads);
	}
}

/* What holds for every window. */
static void check_window(const struct window *w)
{
	assert_true(w->start_ns < w->end_ns);
	size_t at = 0;
	for (size_t i = 0; i < w->n_threads; i++) {
		const struct window_thread *t = &w->threads[i];
		assert_true(i == 0 || w->threads[i - 1].tid <= t->tid);
		assert_true(w->start_ns <= t->from_ns && t->from_ns <= t->to_ns && t->to_ns <= w->end_ns);
		assert_int_equal(t->first, at);
		at += t->n;
		uint64_t cursor = t->from_ns;
		for (size_t k = t->first; k < t->first + t->n; k++) {
			const struct window_wait *x = &w->waits[k];
			assert_int_equal(x->thread, i);
			assert_true(cursor <= x->t_out && x->t_out <= x->t_wake && x->t_wake <= x->t_run &&
				    x->t_run <= w->end_ns);
			assert_true(x->waker == WINDOW_NONE || x->waker < w->n_threads);
			cursor = x->t_run;
		}
	}
	assert_int_equal(at, w->n);
}

static void feed(struct aggregator *a, const char *text)
{
	struct replay_scratch s = {0};
	char *copy = strdup(text), *rest = copy, *line;
	while ((line = strsep(&rest, "\n"))) {
		struct event ev;
		int rc = replay_parse(line, &ev, &s, NULL);
		assert_true(rc >= 0);
		if (rc)
			aggregator_event(a, &ev);
	}
	free(copy);
	replay_scratch_fini(&s);
}

__attribute__((format(printf, 2, 3))) static void feedf(struct aggregator *a, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	feed(a, line);
}

static struct aggregator *aggregator_with(struct caught *c, uint32_t events, uint32_t ms, uint32_t duty)
{
	const struct window_hooks hooks = {c, catch_window, catch_fold, finish};
	struct aggregator_options opt = {
		.start_ns = 1000, .window_events = events, .window_ms = ms, .window_duty_percent = duty, .windows = &hooks};
	*c = (struct caught){0};
	return aggregator_new(&opt, NULL);
}

static const struct window_thread *thread(const struct window *w, int32_t tid)
{
	const struct window_thread *t = window_thread_find(w, tid);
	assert_non_null(t);
	return t;
}

#define TWO                                                                                                                      \
	"process 1000 pid=10 comm=a\nthread 1000 pid=10 tid=10\nprocess 1000 pid=20 comm=b\nthread 1000 pid=20 tid=20\n"         \
	"process 1000 pid=99 comm=outside in_tree=0\nthread 1000 pid=99 tid=99\n"

static void test_a_window_holds_each_wait_once_by_thread_and_time(void **state)
{
	(void)state;
	struct caught c;
	struct aggregator *a = aggregator_with(&c, 0, 0, 100);
	feed(a, TWO "wait 2000 tid=20 class=pipe_read wake=3000 run=3100 ctx=task waker=10 channel=1 bytes=7 site=5\n"
		    "wait 2500 tid=10 class=futex wake=4000 ctx=task waker=99\nwait 3500 tid=20 class=sleep wake=5000 "
		    "ctx=hardirq waker=10\n"
		    "sample 5500 tid=20 period=1\nend 6000");
	assert_int_equal(c.n, 1);
	const struct window *w = &c.w[0];
	check_window(w);
	assert_int_equal(w->start_ns, 1000);
	assert_int_equal(w->end_ns, 6000);
	assert_int_equal(w->n, 3);
	assert_int_equal(w->n_threads, 3);
	const struct window_thread *t = thread(w, 20);
	assert_int_equal(t->n, 2);
	assert_int_equal(t->samples, 1);
	const struct window_wait *x = &w->waits[t->first];
	assert_int_equal(x->t_run, 3100);
	assert_int_equal(w->threads[x->waker].tid, 10);
	assert_int_equal(x->waker_pid, 10);
	assert_int_equal(x->bytes, 7);
	assert_int_equal(w->waits[t->first + 1].waker, WINDOW_NONE); /* a timer interrupted it: no peer */
	assert_int_equal(w->waits[t->first + 1].waker_pid, 0);
	assert_false(thread(w, 99)->in_tree);
	assert_int_equal(w->waits[thread(w, 10)->first].waker_pid, 99);
	assert_null(window_thread_find(w, 11));
	aggregator_free(a);
	release(&c);
}

static void test_waits_across_a_border_are_clipped_into_both_windows(void **state)
{
	(void)state;
	struct caught c;
	struct aggregator *a = aggregator_with(&c, 0, 1, 100); /* windows of a millisecond */
	feed(a, TWO);
	for (int i = 0; i < 100; i++)
		feedf(a, "wait %d tid=10 class=poll wake=%d run=%d", 2000 + i * 30000, 22000 + i * 30000, 23000 + i * 30000);
	feedf(a, "wait 500000 tid=20 class=futex wake=3001000 run=3002000 ctx=task waker=10");
	feed(a, "end 3002000");
	assert_true(c.n >= 3);
	uint64_t blocked = 0, at = 1000;
	for (size_t i = 0; i < c.n; i++) {
		const struct window *w = &c.w[i];
		check_window(w);
		assert_int_equal(w->start_ns, at); /* without a gap */
		at = w->end_ns;
		for (size_t k = 0; k < w->n; k++) {
			const struct window_wait *x = &w->waits[k];
			assert_int_equal(!!(x->flags & WINDOW_CLIPPED_START), x->t_out == w->start_ns && i > 0);
			blocked += x->cls == WC_POLL ? x->t_wake - x->t_out : 0;
		}
	}
	assert_int_equal(blocked, 100 * 20000);
	/* the long wait was told when the first two windows were gone: there its thread's tail is unknown */
	assert_int_equal(thread(&c.w[0], 20)->tail, WINDOW_TAIL_UNKNOWN);
	const struct window *last = &c.w[c.n - 1];
	const struct window_wait *x = &last->waits[thread(last, 20)->first];
	assert_int_equal(x->flags & WINDOW_CLIPPED_START, WINDOW_CLIPPED_START);
	assert_int_equal(x->t_out, last->start_ns);
	aggregator_free(a);
	release(&c);
}

static void test_what_follows_shortly_tells_the_tail(void **state)
{
	(void)state;
	struct caught c;
	struct aggregator *a = aggregator_with(&c, 0, 1, 100);
	/* the first event at or after 1001000 closes the window; what is told in the lag of 125 us still counts */
	feed(a, TWO "wait 2000 tid=10 class=sleep wake=900000\nwait 500000 tid=20 class=sleep wake=1001000\n"
		    "wait 990000 tid=10 class=futex wake=1050000\nwait 1060000 tid=20 class=sleep wake=1070000\n"
		    "wait 1100000 tid=10 class=sleep wake=1200000\nend 1200000");
	const struct window *w = &c.w[0];
	check_window(w);
	assert_int_equal(w->end_ns, 1001000);
	const struct window_thread *t = thread(w, 10);
	assert_int_equal(t->n, 2);
	const struct window_wait *x = &w->waits[t->first + 1];
	assert_int_equal(x->cls, WC_FUTEX);
	assert_int_equal(x->t_wake, 1001000);
	assert_int_equal(x->flags & WINDOW_CLIPPED_END, WINDOW_CLIPPED_END);
	assert_int_equal(thread(w, 20)->tail, WINDOW_TAIL_RAN);
	aggregator_free(a);
	release(&c);
}

static void test_a_full_window_ends_early_and_the_next_begins_there(void **state)
{
	(void)state;
	struct caught c;
	struct aggregator *a = aggregator_with(&c, 100, 0, 100);
	feed(a, TWO);
	for (int i = 0; i < 1000; i++)
		feedf(a, "wait %d tid=%d class=poll wake=%d", 2000 + i * 100, 10 + 10 * (i & 1), 2150 + i * 100);
	feed(a, "end 200000");
	assert_true(c.n >= 8 && c.n <= 12);
	size_t waits = 0;
	for (size_t i = 0; i < c.n; i++) {
		check_window(&c.w[i]);
		assert_true(i == 0 || c.w[i].start_ns == c.w[i - 1].end_ns);
		for (size_t k = 0; k < c.w[i].n; k++)
			waits += !(c.w[i].waits[k].flags & WINDOW_CLIPPED_START);
	}
	assert_int_equal(waits, 1000);
	struct profile *p;
	assert_int_equal(aggregator_profile(a, &p, NULL), 0);
	assert_int_equal(p->meta.window_ns, 199000);
	profile_free(p);
	aggregator_free(a);
	release(&c);
}

static void burn(void *ctx, const struct window *w)
{
	volatile uint64_t sum = 0;
	for (int i = 0; i < 300000000; i++)
		sum += (uint64_t)i;
	catch_window(ctx, w);
}

static void test_a_dear_analysis_is_made_less_often(void **state)
{
	(void)state;
	struct caught c = {0};
	const struct window_hooks hooks = {&c, burn, catch_fold, finish};
	struct aggregator_options opt = {.start_ns = 1000, .window_ms = 10, .windows = &hooks};
	struct aggregator *a = aggregator_new(&opt, NULL);
	feed(a, TWO);
	for (int i = 0; i < 2000; i++) /* two seconds: 200 windows, were each analysed */
		feedf(a, "wait %d tid=10 class=poll wake=%d", 2000 + i * 1000000, 902000 + i * 1000000);
	assert_int_equal(c.n, 1); /* that one took more than 1 % of two seconds and the free start */
	assert_true(a->window.covered_ns < 20000000);
	aggregator_free(a);
	release(&c);
}

static void test_the_only_other_end_stands_for_an_unknown_waker(void **state)
{
	(void)state;
	struct caught c;
	struct aggregator *a = aggregator_with(&c, 0, 0, 100);
	feed(a, TWO "channel 1000 id=3 kind=tcp\nchannel_end 1000 channel=3 pid=10 fd=4\nchannel_end 1000 channel=3 pid=20 fd=5\n"
		    "wait 2000 tid=10 class=tcp_read wake=3000 ctx=softirq waker=99 channel=3\n"
		    "wait 4000 tid=10 class=tcp_read wake=5000 ctx=softirq waker=20 channel=3\nend 6000");
	const struct window_wait *x = c.w[0].waits;
	assert_int_equal(x[0].waker, WINDOW_NONE);
	assert_int_equal(x[0].waker_pid, 20);
	assert_int_equal(x[0].flags & WINDOW_WAKER_BY_CHANNEL, WINDOW_WAKER_BY_CHANNEL);
	assert_int_equal(c.w[0].threads[x[1].waker].tid, 20);
	assert_int_equal(x[1].flags & WINDOW_WAKER_BY_CHANNEL, 0);
	aggregator_free(a);
	release(&c);
}

static void test_lost_waits_fill_the_gap_that_they_were_accounted_in(void **state)
{
	(void)state;
	struct caught c;
	struct aggregator *a = aggregator_with(&c, 0, 0, 100);
	feed(a, TWO "wait 2000 tid=10 class=other wake=2500 run=2600 lost lost_count=4\nwait 4000 tid=10 class=sleep "
		    "wake=5000\nend 6000");
	const struct window_thread *t = thread(&c.w[0], 10);
	check_window(&c.w[0]);
	assert_int_equal(t->n, 2);
	assert_int_equal(c.w[0].waits[t->first].flags & WINDOW_LOST, WINDOW_LOST);
	assert_int_equal(c.w[0].waits[t->first].t_run - c.w[0].waits[t->first].t_out, 600);
	aggregator_free(a);
	release(&c);
}

static void test_stacks_of_a_site_are_those_sampled_before(void **state)
{
	(void)state;
	struct caught c;
	struct aggregator *a = aggregator_with(&c, 0, 0, 100);
	feed(a, TWO
	     "wait 2000 tid=10 class=sleep wake=3000 site=7 stack=70\nwait 4000 tid=10 class=sleep wake=5000 site=7\nend 6000");
	assert_int_equal(c.w[0].waits[1].stack, 70);
	aggregator_free(a);
	release(&c);
}

static void test_folds_are_told_before_the_pid_is_told_anew(void **state)
{
	(void)state;
	struct caught c;
	struct aggregator *a = aggregator_with(&c, 0, 0, 100);
	feed(a, TWO);
	for (int i = 0; i < 20; i++)
		feedf(a, "process %d pid=%d ppid=10 reason=fork comm=true\nthread %d pid=%d tid=%d\nprocess_exit %d pid=%d",
		      2000 + i * 100, 200 + i, 2000 + i * 100, 200 + i, 200 + i, 2050 + i * 100, 200 + i);
	feed(a, "end 90000");
	struct profile *p;
	assert_int_equal(aggregator_profile(a, &p, NULL), 0);
	assert_int_equal(c.n_folds, 19);
	for (size_t i = 0; i < 19; i++)
		assert_int_equal(c.fold_into[i], 200);
	assert_non_null(profile_process(p, 200));
	profile_free(p);
	aggregator_free(a);
	release(&c);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_window_holds_each_wait_once_by_thread_and_time),
		T(test_waits_across_a_border_are_clipped_into_both_windows),
		T(test_what_follows_shortly_tells_the_tail),
		T(test_a_full_window_ends_early_and_the_next_begins_there),
		T(test_a_dear_analysis_is_made_less_often),
		T(test_the_only_other_end_stands_for_an_unknown_waker),
		T(test_lost_waits_fill_the_gap_that_they_were_accounted_in),
		T(test_stacks_of_a_site_are_those_sampled_before),
		T(test_folds_are_told_before_the_pid_is_told_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
