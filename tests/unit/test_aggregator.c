/* SPDX-License-Identifier: Apache-2.0
 *
 * From events to a profile: small streams in the replay format, and what must come out of them. */
#include "aggregate/agg.h"
#include "sampler/replay/format.h"
#include "tests/unit/profile_checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- feeding ---- */

static const struct window_hooks no_windows;

static struct aggregator *new_aggregator(uint64_t start_ns)
{
	struct aggregator_options opt = {.start_ns = start_ns, .windows = &no_windows};
	struct aggregator *a = aggregator_new(&opt, NULL);
	assert_non_null(a);
	return a;
}

static void feed(struct aggregator *a, const char *text)
{
	struct replay_scratch s = {0};
	struct err err = {""};
	char *copy = strdup(text), *rest = copy, *line;
	while ((line = strsep(&rest, "\n"))) {
		struct event ev;
		int rc = replay_parse(line, &ev, &s, &err);
		if (rc < 0)
			fail_msg("bad test stream: %s", err.msg);
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

static struct profile *profile_now(struct aggregator *a)
{
	struct profile *p = NULL;
	assert_int_equal(aggregator_profile(a, &p, NULL), 0);
	assert_true(check_profile(p));
	return p;
}

/* The profile of a whole stream that starts at 1000. */
static struct profile *profile_of(const char *text)
{
	struct aggregator *a = new_aggregator(1000);
	feed(a, text);
	struct profile *p = profile_now(a);
	aggregator_free(a);
	return p;
}

static const struct edge_row *edge(const struct profile *p, int32_t waiter, enum wait_class cls)
{
	for (size_t i = 0; i < p->n_edges; i++)
		if (p->edges[i].waiter_pid == waiter && p->edges[i].cls == cls)
			return &p->edges[i];
	fail_msg("no edge of %d for %s", waiter, wait_class_name(cls));
	return NULL;
}

static const struct thread_row *thread(const struct profile *p, int32_t tid)
{
	for (size_t i = 0; i < p->n_threads; i++)
		if (p->threads[i].tid == tid)
			return &p->threads[i];
	fail_msg("no thread %d", tid);
	return NULL;
}

static const char *leaf(const struct profile *p, uint32_t stack_ix)
{
	return p->stacks[stack_ix].n ? p->frames[p->stacks[stack_ix].frame_ix[0]].function : "";
}

#define TWO_PROCESSES                                                                                                            \
	"process 1000 pid=10 comm=reader exe=/r\nthread 1000 pid=10 tid=10\n"                                                    \
	"process 1000 pid=20 comm=writer exe=/w\nthread 1000 pid=20 tid=20\n"
#define A_PIPE                                                                                                                   \
	"channel 1000 id=1 kind=pipe name=pipe:[7]\nchannel_end 1000 channel=1 pid=10 fd=3 role=reader\n"                        \
	"channel_end 1000 channel=1 pid=20 fd=4 role=writer\n"

/* ---- the ledger and its rows ---- */

static void test_a_wait_is_a_ledger_a_wait_row_and_an_edge(void **state)
{
	(void)state;
	struct profile *p = profile_of(TWO_PROCESSES A_PIPE "wait 2000 tid=10 class=pipe_read wake=5000 run=5100 ctx=task "
							    "waker=20 channel=1 bytes=200 rd_calls=1 rd_bytes=200\n"
							    "wait 6000 tid=10 class=pipe_read wake=8000 run=8100 ctx=task "
							    "waker=20 channel=1 bytes=200 folded=2 folded_ns=50\n"
							    "end 10000");
	const struct thread_row *t = thread(p, 10);
	assert_int_equal(t->ledger.blocked_ns[WC_PIPE_READ], 5000);
	assert_int_equal(t->ledger.run_queue_ns, 250);
	assert_int_equal(t->ledger.on_cpu_ns, 9000 - 5250);
	assert_int_equal(t->ledger.waits, 2);
	assert_int_equal(t->ledger.preemptions, 2);
	assert_int_equal(t->ended_ns, 0);
	const struct edge_row *e = edge(p, 10, WC_PIPE_READ);
	assert_int_equal(e->waker_pid, 20);
	assert_int_equal(e->confidence, CONF_HIGH);
	assert_int_equal(e->count, 2);
	assert_int_equal(e->blocked_ns, 5000);
	assert_int_equal(e->run_queue_ns, 200);
	assert_true(size_hist_quantile(&e->bytes, 0.5) == 200);
	assert_int_equal(hist_total(&e->hist), 2);
	assert_int_equal(profile_process(p, 10)->rd_bytes, 200);
	assert_int_equal(p->meta.start_ns, 1000);
	assert_int_equal(p->meta.end_ns, 10000);
	assert_true(check_exact_profile(p));
	profile_free(p);
}

static void test_a_wait_in_progress_is_counted_and_marked(void **state)
{
	(void)state;
	struct profile *p = profile_of(TWO_PROCESSES "wait 2000 tid=10 class=accept wake=9000 in_progress\nend 9000");
	assert_int_equal(p->waits[0].in_progress, 1);
	assert_int_equal(p->waits[0].blocked_ns, 7000);
	assert_int_equal(p->waits[0].idle_ns, 0);
	profile_free(p);
}

static void test_waiting_from_before_the_start_to_after_the_end_is_idle(void **state)
{
	(void)state;
	struct profile *p = profile_of(TWO_PROCESSES "wait 1000 tid=10 class=accept wake=9000 at_start in_progress\nend 9000");
	assert_int_equal(p->waits[0].idle_ns, 8000);
	assert_int_equal(p->waits[0].blocked_ns, 0);
	assert_int_equal(thread(p, 10)->ledger.idle_ns, 8000);
	assert_int_equal(thread(p, 10)->ledger.on_cpu_ns, 0);
	profile_free(p);
}

static void test_lost_waits_are_lost_time(void **state)
{
	(void)state;
	struct profile *p = profile_of(
		TWO_PROCESSES "wait 2000 tid=10 class=other wake=2500 run=2600 lost lost_count=9\nlost 2600 events=9 stacks=2\n"
			      "wait 5000 tid=10 class=sleep wake=6000\nend 9000");
	assert_int_equal(thread(p, 10)->ledger.lost_ns, 600);
	assert_int_equal(thread(p, 10)->ledger.waits, 10);
	assert_int_equal(p->meta.lost_ns, 600);
	assert_int_equal(p->meta.lost_events, 9);
	assert_int_equal(p->meta.lost_stacks, 2);
	profile_free(p);
}

static void test_marking_idle_keeps_every_sum(void **state)
{
	(void)state;
	struct profile *p = profile_of(TWO_PROCESSES "wait 2000 tid=10 class=poll wake=8000\nend 9000");
	assert_int_equal(profile_mark_idle(p, 0, 4000), 4000);
	assert_int_equal(p->waits[0].idle_ns, 4000);
	assert_int_equal(p->processes[0].ledger.blocked_ns[WC_POLL], 2000);
	assert_int_equal(profile_mark_idle(p, 0, 99999), 2000);
	assert_int_equal(profile_mark_idle(p, 77, 1), 0);
	assert_true(check_profile(p));
	profile_free(p);
}

/* ---- order of events ---- */

static void test_a_thread_met_before_its_introduction_keeps_its_time(void **state)
{
	(void)state;
	struct profile *p = profile_of("wait 3000 tid=11 class=sleep wake=4000\nprocess 1500 pid=10 comm=late\nthread 2000 "
				       "pid=10 tid=11 comm=w\nend 5000");
	assert_int_equal(p->n_processes, 1);
	assert_string_equal(p->processes[0].comm, "late");
	assert_int_equal(p->n_threads, 1);
	assert_int_equal(thread(p, 11)->pid, 10);
	assert_int_equal(thread(p, 11)->started_ns, 2000);
	assert_int_equal(thread(p, 11)->observed_ns, 3000);
	assert_int_equal(p->processes[0].n_threads, 1);
	assert_true(check_exact_profile(p));
	profile_free(p);
}

static void test_a_thread_never_introduced_is_told_by_its_tid(void **state)
{
	(void)state;
	struct profile *p = profile_of("wait 3000 tid=77 class=sleep wake=4000\nend 5000");
	assert_int_equal(p->n_processes, 1);
	assert_int_equal(p->processes[0].pid, 77);
	assert_int_equal(p->processes[0].observed_ns, 2000);
	profile_free(p);
}

static void test_a_wait_told_after_the_exit_adds_no_time(void **state)
{
	(void)state;
	struct profile *p = profile_of(
		TWO_PROCESSES "thread_exit 5000 pid=10 tid=10\nwait 3000 tid=10 class=sleep wake=4000 run=8000\nend 9000");
	assert_int_equal(thread(p, 10)->observed_ns, 4000);
	assert_int_equal(thread(p, 10)->ended_ns, 5000);
	profile_free(p);
}

static void test_a_reused_tid_is_another_thread(void **state)
{
	(void)state;
	struct profile *p =
		profile_of(TWO_PROCESSES "thread_exit 2000 pid=10 tid=10\nprocess_exit 2000 pid=10 status=256\n"
					 "process 5000 pid=10 ppid=20 reason=fork comm=second\nthread 5000 pid=10 tid=10\n"
					 "wait 6000 tid=10 class=sleep wake=7000\nend 9000");
	assert_int_equal(p->n_processes, 3);
	assert_int_equal(profile_process(p, 10)->started_ns, 5000);
	assert_string_equal(profile_process(p, 10)->comm, "second");
	assert_int_equal(profile_process(p, 10)->ppid, 20);
	assert_int_equal(profile_process(p, 10)->ledger.blocked_ns[WC_SLEEP], 1000);
	size_t old = 0;
	while (old < p->n_processes && strcmp(p->processes[old].comm, "reader") != 0)
		old++;
	assert_true(p->processes[old].pid > 4194304); /* no pid that a process can have */
	assert_int_equal(p->processes[old].exit_status, 256);
	assert_int_equal(p->processes[old].observed_ns, 1000);
	profile_free(p);
}

static void test_times_before_the_start_are_moved_to_it(void **state)
{
	(void)state;
	struct profile *p =
		profile_of("process 5 pid=10\nthread 5 pid=10 tid=10\nwait 200 tid=10 class=sleep wake=3000 at_start\nend 4000");
	assert_int_equal(thread(p, 10)->observed_ns, 3000);
	assert_int_equal(thread(p, 10)->ledger.blocked_ns[WC_SLEEP], 2000);
	assert_true(check_exact_profile(p));
	profile_free(p);
}

static void test_fork_to_exec_is_spawn_time(void **state)
{
	(void)state;
	struct profile *p = profile_of("process 1000 pid=10 comm=sh reason=fork\nthread 1000 pid=10 tid=10\nprocess 1700 pid=10 "
				       "comm=ls reason=exec exe=/bin/ls\n"
				       "process 2500 pid=10 comm=ls reason=exec\nend 3000");
	assert_int_equal(p->processes[0].spawn_ns, 700);
	assert_string_equal(p->processes[0].comm, "ls");
	assert_string_equal(thread(p, 10)->comm, "ls");
	assert_string_equal(p->processes[0].exe, "/bin/ls");
	profile_free(p);
}

/* ---- who is the waker ---- */

static void check_waker(const char *text, enum wait_class cls, int32_t waker, enum confidence confidence)
{
	struct profile *p = profile_of(text);
	const struct edge_row *e = edge(p, 10, cls);
	if (e->waker_pid != waker || (waker && e->confidence != confidence))
		fail_msg("waker %d with confidence %d, not %d with %d", e->waker_pid, e->confidence, waker, confidence);
	profile_free(p);
}

static void test_a_task_that_holds_no_end_is_only_likely(void **state)
{
	(void)state;
	check_waker(TWO_PROCESSES "channel 1000 id=1 kind=pipe\nchannel_end 1000 channel=1 pid=10 role=reader\n"
				  "wait 2000 tid=10 class=pipe_read wake=3000 ctx=task waker=20 channel=1\nend 9000",
		    WC_PIPE_READ, 20, CONF_MEDIUM);
	check_waker(TWO_PROCESSES "wait 2000 tid=10 class=pipe_read wake=3000 ctx=task waker=20\nend 9000", WC_PIPE_READ, 20,
		    CONF_MEDIUM);
}

static void test_what_has_no_ends_is_sure_by_its_waker(void **state)
{
	(void)state;
	check_waker(TWO_PROCESSES
		    "channel 1000 id=1 kind=futex\nwait 2000 tid=10 class=futex wake=3000 ctx=task waker=20 channel=1\nend 9000",
		    WC_FUTEX, 20, CONF_HIGH);
	check_waker(TWO_PROCESSES "wait 2000 tid=10 class=child wake=3000 ctx=task waker=20\nend 9000", WC_CHILD, 20, CONF_HIGH);
	check_waker(TWO_PROCESSES "channel 1000 id=1 kind=child\nchannel_end 1000 channel=1 pid=10\n"
				  "wait 2000 tid=10 class=child wake=3000 ctx=task waker=20 channel=1\nend 9000",
		    WC_CHILD, 20, CONF_HIGH);
}

static void test_an_interrupt_is_no_peer(void **state)
{
	(void)state;
	check_waker(TWO_PROCESSES "wait 2000 tid=10 class=sleep wake=3000 ctx=hardirq waker=20\nend 9000", WC_SLEEP, 0, CONF_LOW);
	check_waker(TWO_PROCESSES "wait 2000 tid=10 class=sleep wake=3000 ctx=softirq waker=20\nend 9000", WC_SLEEP, 0, CONF_LOW);
}

#define THIRD "process 1000 pid=30 comm=third\nthread 1000 pid=30 tid=30\n"
#define A_SOCKET "channel 1000 id=2 kind=tcp\nchannel_end 1000 channel=2 pid=10 fd=5\nchannel_end 1000 channel=2 pid=20 fd=6\n"

static void test_a_softirq_below_the_peer_is_the_peer_and_else_the_other_end_is(void **state)
{
	(void)state;
	check_waker(TWO_PROCESSES THIRD A_SOCKET
		    "wait 2000 tid=10 class=tcp_read wake=3000 ctx=softirq waker=20 channel=2\nend 9000",
		    WC_TCP_READ, 20, CONF_HIGH);
	check_waker(TWO_PROCESSES THIRD A_SOCKET
		    "wait 2000 tid=10 class=tcp_read wake=3000 ctx=softirq waker=30 channel=2\nend 9000",
		    WC_TCP_READ, 20, CONF_MEDIUM);
	/* itself below the softirq: it holds one end, the peer the other */
	check_waker(TWO_PROCESSES A_SOCKET "wait 2000 tid=10 class=tcp_read wake=3000 ctx=softirq waker=10 channel=2\nend 9000",
		    WC_TCP_READ, 20, CONF_MEDIUM);
}

static void test_a_remote_end_is_nobody(void **state)
{
	(void)state;
	check_waker(TWO_PROCESSES "channel 1000 id=2 kind=tcp remote\nchannel_end 1000 channel=2 pid=10 fd=5\n"
				  "wait 2000 tid=10 class=tcp_read wake=3000 ctx=softirq waker=20 channel=2\nend 9000",
		    WC_TCP_READ, 0, CONF_LOW);
}

static void test_the_only_other_end_is_taken_and_two_are_not(void **state)
{
	(void)state;
	check_waker(TWO_PROCESSES A_PIPE "wait 2000 tid=10 class=pipe_read wake=3000 in_progress channel=1\nend 3000",
		    WC_PIPE_READ, 20, CONF_MEDIUM);
	check_waker(TWO_PROCESSES THIRD A_PIPE "channel_end 1000 channel=1 pid=30 fd=9 role=writer\n"
					       "wait 2000 tid=10 class=pipe_read wake=3000 in_progress channel=1\nend 3000",
		    WC_PIPE_READ, 0, CONF_LOW);
	/* another reader is no other end of a reader */
	check_waker(TWO_PROCESSES THIRD A_PIPE "channel_end 1000 channel=1 pid=30 fd=9 role=reader\n"
					       "wait 2000 tid=10 class=pipe_read wake=3000 in_progress channel=1\nend 3000",
		    WC_PIPE_READ, 20, CONF_MEDIUM);
}

static void test_threads_of_one_process_have_edges_too(void **state)
{
	(void)state;
	check_waker(TWO_PROCESSES "thread 1000 pid=10 tid=11\nwait 2000 tid=10 class=futex wake=3000 ctx=task waker=11\nend 9000",
		    WC_FUTEX, 10, CONF_HIGH);
}

static void test_a_waker_from_outside_is_named_and_has_no_ledger(void **state)
{
	(void)state;
	struct profile *p = profile_of(TWO_PROCESSES "process 1500 pid=99 comm=client in_tree=0\nthread 1500 pid=99 tid=98\n"
						     "wait 2000 tid=10 class=futex wake=3000 ctx=task waker=98\nend 9000");
	assert_int_equal(edge(p, 10, WC_FUTEX)->waker_pid, 99);
	assert_false(profile_process(p, 99)->in_tree);
	assert_int_equal(profile_process(p, 99)->observed_ns, 0);
	assert_int_equal(p->n_threads, 2);
	profile_free(p);
}

static void test_a_waker_known_later_is_the_same_edge(void **state)
{
	(void)state;
	struct profile *p = profile_of(TWO_PROCESSES "wait 2000 tid=10 class=futex wake=3000 ctx=task waker=55\n"
						     "process 3500 pid=50 comm=new\nthread 3500 pid=50 tid=55\n"
						     "wait 4000 tid=10 class=futex wake=5000 ctx=task waker=55\nend 9000");
	assert_int_equal(p->n_edges, 1);
	assert_int_equal(p->edges[0].waker_pid, 50);
	assert_int_equal(p->edges[0].count, 2);
	profile_free(p);
}

/* ---- stacks ---- */

#define FRAMES                                                                                                                   \
	"frame 1 id=1 fn=read_a file=a.c line=1\nframe 1 id=2 fn=read_b file=b.c line=2\nframe 1 id=3 fn=main file=m.c line=3\n" \
	"frame 1 id=4 fn=send_a\nframe 1 id=5 fn=send_b\nstack 1 id=11 frames=1,3\nstack 1 id=12 frames=2,3\n"                   \
	"stack 1 id=21 frames=4\nstack 1 id=22 frames=5\n"

static uint64_t blocked_at(const struct profile *p, const char *function, uint64_t *count)
{
	uint64_t ns = 0;
	*count = 0;
	for (size_t i = 0; i < p->n_waits; i++)
		if (strcmp(leaf(p, p->waits[i].stack_ix), function) == 0) {
			ns += p->waits[i].blocked_ns;
			*count += p->waits[i].count;
		}
	return ns;
}

static void test_a_sites_exact_time_is_split_by_its_samples_durations(void **state)
{
	(void)state;
	struct aggregator *a = new_aggregator(1000);
	feed(a, TWO_PROCESSES FRAMES);
	/* 300 waits of 1000 ns at read_a, 100 of 5000 ns at read_b, all of one site; every tenth is sampled */
	uint64_t now = 2000, na, nb;
	for (int i = 0; i < 400; i++) {
		bool b = i % 4 == 3;
		uint64_t ns = b ? 5000 : 1000;
		feedf(a, "wait %llu tid=10 class=pipe_read wake=%llu ctx=task waker=20 site=7 stack=%d", (unsigned long long)now,
		      (unsigned long long)(now + ns), i % 10 < 4 ? (b ? 12 : 11) : 0);
		now += ns + 100;
	}
	feedf(a, "end %llu", (unsigned long long)now);
	struct profile *p = profile_now(a);
	uint64_t at_a = blocked_at(p, "read_a", &na), at_b = blocked_at(p, "read_b", &nb);
	assert_int_equal(at_a + at_b, 800000);
	assert_int_equal(na + nb, 400);
	assert_true(at_a > 285000 && at_a < 315000);
	assert_true(na > 285 && na < 315);
	profile_free(p);
	aggregator_free(a);
}

static void test_a_site_never_sampled_has_the_empty_stack(void **state)
{
	(void)state;
	struct profile *p = profile_of(TWO_PROCESSES FRAMES "wait 2000 tid=10 class=sleep wake=3000 site=7 stack=11\n"
							    "wait 4000 tid=10 class=sleep wake=5000 site=8\nend 9000");
	uint64_t n;
	assert_int_equal(blocked_at(p, "read_a", &n), 1000);
	assert_int_equal(blocked_at(p, "", &n), 1000);
	assert_int_equal(p->stacks[0].n, 0);
	profile_free(p);
}

static void test_a_pair_of_stacks_sampled_together_stays_together(void **state)
{
	(void)state;
	struct aggregator *a = new_aggregator(1000);
	feed(a, TWO_PROCESSES FRAMES);
	uint64_t now = 2000;
	for (int i = 0; i < 100; i++, now += 1100) /* read_a is woken by send_a, read_b by send_b */
		feedf(a,
		      "wait %llu tid=10 class=pipe_read wake=%llu ctx=task waker=20 site=7 waker_site=9 stack=%d waker_stack=%d",
		      (unsigned long long)now, (unsigned long long)now + 1000, i % 5 ? 0 : (i & 1 ? 12 : 11),
		      i % 5 ? 0 : (i & 1 ? 22 : 21));
	feedf(a, "end %llu", (unsigned long long)now);
	struct profile *p = profile_now(a);
	assert_int_equal(p->n_edges, 2);
	for (size_t i = 0; i < p->n_edges; i++) {
		const char *waits = leaf(p, p->edges[i].waiter_stack_ix), *wakes = leaf(p, p->edges[i].waker_stack_ix);
		assert_int_equal(p->edges[i].count, 50);
		assert_int_equal(waits[strlen(waits) - 1], wakes[strlen(wakes) - 1]);
	}
	profile_free(p);
	aggregator_free(a);
}

static void test_inlined_frames_are_expanded_and_unknown_ones_named(void **state)
{
	(void)state;
	struct profile *p = profile_of(TWO_PROCESSES "stack 1 id=5 frames=1,99\nwait 2000 tid=10 class=sleep wake=3000 stack=5\n"
						     "frame 1 id=1 fn=inner file=i.h line=1 fn=outer file=o.c line=2\nend 9000");
	const struct stack_row *s = &p->stacks[p->waits[0].stack_ix];
	assert_int_equal(s->n, 3);
	assert_string_equal(p->frames[s->frame_ix[0]].function, "inner");
	assert_string_equal(p->frames[s->frame_ix[1]].function, "outer");
	assert_string_equal(p->frames[s->frame_ix[2]].function, "[unknown]");
	profile_free(p);
}

static void test_equal_stacks_under_different_ids_are_one(void **state)
{
	(void)state;
	struct profile *p = profile_of(
		TWO_PROCESSES FRAMES
		"frame 1 id=91 fn=read_a file=a.c line=1\nstack 1 id=99 frames=91,3\n"
		"wait 2000 tid=10 class=sleep wake=3000 stack=11\nwait 4000 tid=10 class=sleep wake=5000 stack=99\nend 9000");
	assert_int_equal(p->n_waits, 1);
	assert_int_equal(p->waits[0].count, 2);
	profile_free(p);
}

static void test_on_cpu_samples_are_counted_by_stack(void **state)
{
	(void)state;
	struct profile *p = profile_of(TWO_PROCESSES FRAMES
				       "sample 2000 tid=10 stack=11 period=1000\nsample 3000 tid=10 stack=11 period=1000\n"
				       "sample 4000 tid=10 stack=12 period=1000\nend 9000");
	assert_int_equal(p->n_cpu, 2);
	assert_string_equal(leaf(p, p->cpu[0].stack_ix), "read_a");
	assert_int_equal(p->cpu[0].samples, 2);
	assert_int_equal(p->cpu[0].est_ns, 2000);
	profile_free(p);
}

/* ---- siblings ---- */

/* A shell that runs n children one after the other: each waits for a pipe, ends, and is waited for. */
static struct profile *profile_of_children(unsigned n, uint64_t life, struct aggregator **keep)
{
	struct aggregator *a = new_aggregator(1000);
	feed(a, "process 1000 pid=1 comm=sh exe=/bin/sh\nthread 1000 pid=1 tid=1\n" FRAMES);
	uint64_t t = 2000;
	for (unsigned i = 0; i < n; i++, t += life + 100) {
		int pid = 100 + (int)i;
		unsigned long long at = t, end = t + life;
		feedf(a, "process %llu pid=%d ppid=1 reason=fork comm=sh exe=/bin/sh\nthread %llu pid=%d tid=%d", at, pid, at,
		      pid, pid);
		feedf(a, "process %llu pid=%d ppid=1 reason=exec comm=true exe=/bin/true\nchannel %llu id=%d kind=pipe\n",
		      at + 10, pid, at, pid);
		feedf(a, "channel_end %llu channel=%d pid=%d role=reader\nchannel_end %llu channel=%d pid=1 role=writer", at, pid,
		      pid, at, pid);
		feedf(a, "wait %llu tid=%d class=pipe_read wake=%llu ctx=task waker=1 channel=%d site=%d waker_site=5 stack=11",
		      at + 20, pid, at + life / 2, pid, 1000 + pid);
		feedf(a, "thread_exit %llu pid=%d tid=%d\nprocess_exit %llu pid=%d status=0", end, pid, pid, end, pid);
		feedf(a, "wait %llu tid=1 class=child wake=%llu ctx=task waker=%d site=6 waker_site=%d", at, end, pid,
		      900000 + pid);
	}
	feedf(a, "end %llu", (unsigned long long)t);
	struct profile *p = profile_now(a);
	if (keep)
		*keep = a;
	else
		aggregator_free(a);
	return p;
}

static void test_thousands_of_short_lived_children_are_one_row(void **state)
{
	(void)state;
	struct aggregator *a;
	struct profile *p = profile_of_children(5000, 1000, &a);
	assert_int_equal(p->n_processes, 2);
	const struct process_row *q = &p->processes[1];
	assert_string_equal(q->comm, "true");
	assert_int_equal(q->n_siblings, 5000);
	assert_int_equal(q->n_threads, 5000);
	assert_int_equal(q->peak_threads, 1);
	assert_int_equal(q->exit_status, 0);
	assert_int_equal(q->observed_ns, 5000 * 1000);
	assert_int_equal(q->ledger.blocked_ns[WC_PIPE_READ], 5000 * 480);
	assert_int_equal(q->spawn_ns, 5000 * 10);
	assert_int_equal(p->n_threads, 2);
	assert_int_equal(thread(p, q->pid)->n_siblings, 5000);
	assert_int_equal(p->n_channels, 1); /* five thousand pipes, each between the shell and a child */
	const struct edge_row *down = edge(p, q->pid, WC_PIPE_READ), *up = edge(p, 1, WC_CHILD);
	assert_int_equal(down->count, 5000);
	assert_int_equal(down->waker_pid, 1);
	assert_int_equal(down->confidence, CONF_HIGH);
	assert_string_equal(leaf(p, down->waiter_stack_ix), "read_a");
	assert_int_equal(up->count, 5000);
	assert_int_equal(up->waker_pid, q->pid);
	assert_int_equal(p->n_edges, 2);
	assert_true(check_exact_profile(p));
	/* and the memory was that of a few */
	assert_true(a->compactions >= 4);
	assert_true(a->tree.n_procs < 3 * AGG_COMPACT_PROCS);
	assert_true(a->tree.n_threads < 3 * AGG_COMPACT_PROCS);
	assert_true(a->channels.n < 3 * AGG_COMPACT_PROCS);
	assert_true(a->sites.capacity < 6 * AGG_COMPACT_PROCS);
	profile_free(p);
	aggregator_free(a);
}

static void test_a_few_children_are_told_one_by_one(void **state)
{
	(void)state;
	struct profile *p = profile_of_children(8, 1000, NULL);
	assert_int_equal(p->n_processes, 9);
	profile_free(p);
	p = profile_of_children(50, 1000, NULL);
	assert_int_equal(p->n_processes, 2);
	profile_free(p);
}

static void test_workers_that_lived_long_are_told_one_by_one(void **state)
{
	(void)state;
	struct aggregator *a = new_aggregator(1000);
	feed(a, "process 1000 pid=1 comm=master\nthread 1000 pid=1 tid=1\n");
	for (int i = 0; i < 30; i++)
		feedf(a, "process 1100 pid=%d ppid=1 reason=fork comm=worker\nthread 1100 pid=%d tid=%d", 100 + i, 100 + i,
		      100 + i);
	for (int i = 0; i < 30; i++)
		feedf(a, "thread_exit 90000 pid=%d tid=%d\nprocess_exit 90000 pid=%d", 100 + i, 100 + i, 100 + i);
	feed(a, "end 91000");
	struct profile *p = profile_now(a);
	assert_int_equal(p->n_processes, 31);
	profile_free(p);
	aggregator_free(a);
}

static void test_grandchildren_of_folded_parents_fold_too(void **state)
{
	(void)state;
	struct aggregator *a = new_aggregator(1000);
	feed(a, "process 1000 pid=1 comm=make\nthread 1000 pid=1 tid=1\n");
	uint64_t t = 2000;
	for (int i = 0; i < 20; i++, t += 100) {
		int sh = 100 + 2 * i, cc = sh + 1;
		feedf(a, "process %llu pid=%d ppid=1 reason=fork comm=sh\nthread %llu pid=%d tid=%d", (unsigned long long)t, sh,
		      (unsigned long long)t, sh, sh);
		feedf(a, "process %llu pid=%d ppid=%d reason=fork comm=cc1\nthread %llu pid=%d tid=%d", (unsigned long long)t, cc,
		      sh, (unsigned long long)t, cc, cc);
		feedf(a, "process_exit %llu pid=%d\nprocess_exit %llu pid=%d", (unsigned long long)t + 50, cc,
		      (unsigned long long)t + 60, sh);
	}
	feedf(a, "end %llu", (unsigned long long)t);
	struct profile *p = profile_now(a);
	assert_int_equal(p->n_processes, 3);
	for (size_t i = 1; i < 3; i++)
		assert_int_equal(p->processes[i].n_siblings, 20);
	assert_int_equal(p->processes[2].ppid, p->processes[1].pid);
	profile_free(p);
	aggregator_free(a);
}

static void test_many_short_threads_of_one_process_are_one_row(void **state)
{
	(void)state;
	struct aggregator *a = new_aggregator(1000);
	feed(a, "process 1000 pid=1 comm=server\nthread 1000 pid=1 tid=1\n");
	uint64_t t = 2000;
	for (int i = 0; i < 20000; i++, t += 100)
		feedf(a,
		      "thread %llu pid=1 tid=%d comm=request\nwait %llu tid=%d class=futex wake=%llu site=%d\nthread_exit %llu "
		      "pid=1 tid=%d",
		      (unsigned long long)t, 100 + i, (unsigned long long)t + 10, 100 + i, (unsigned long long)t + 40, 100 + i,
		      (unsigned long long)t + 50, 100 + i);
	feedf(a, "end %llu", (unsigned long long)t);
	struct profile *p = profile_now(a);
	assert_int_equal(p->n_threads, 2);
	assert_int_equal(p->threads[1].n_siblings, 20000);
	assert_int_equal(p->threads[1].observed_ns, 20000 * 50);
	assert_int_equal(p->threads[1].ledger.blocked_ns[WC_FUTEX], 20000 * 30);
	assert_int_equal(p->processes[0].n_threads, 20001);
	assert_true(a->tree.n_threads < 3 * AGG_COMPACT_THREADS);
	profile_free(p);
	aggregator_free(a);
}

/* ---- sampled states ---- */

static void test_ticks_are_scaled_to_exact_counts(void **state)
{
	(void)state;
	struct profile *p = profile_of(TWO_PROCESSES FRAMES A_PIPE
				       "tick 1100 tid=10 state=running dt=100 stack=11\n"
				       "tick 1200 tid=10 state=blocked class=pipe_read dt=100 channel=1 stack=12 peer=20\n"
				       "tick 1300 tid=10 state=blocked class=pipe_read dt=100 channel=1 stack=12 peer=20 same\n"
				       "tick 1400 tid=10 state=blocked class=futex dt=100\n"
				       "counts 2000 tid=10 on_cpu=280 run_queue=20 voluntary=31 involuntary=4\nend 2000");
	const struct thread_row *t = thread(p, 10);
	assert_int_equal(t->ledger.on_cpu_ns, 280);
	assert_int_equal(t->ledger.run_queue_ns, 20);
	assert_int_equal(t->ledger.blocked_ns[WC_PIPE_READ], 467); /* two thirds of 700 */
	assert_int_equal(t->ledger.blocked_ns[WC_FUTEX], 233);
	assert_int_equal(t->ledger.waits, 31);
	assert_int_equal(t->ledger.preemptions, 4);
	const struct edge_row *e = edge(p, 10, WC_PIPE_READ);
	assert_true(e->estimated);
	assert_int_equal(e->waker_pid, 20);
	assert_int_equal(e->confidence, CONF_MEDIUM);
	assert_int_equal(e->count, 16); /* of 31 switches; one new wait was seen of each class */
	assert_int_equal(hist_total(&e->hist), 0);
	assert_int_equal(p->cpu[0].est_ns, 280);
	assert_string_equal(leaf(p, p->cpu[0].stack_ix), "read_a");
	profile_free(p);
}

static void test_ticks_without_counts_keep_their_proportions(void **state)
{
	(void)state;
	struct profile *p = profile_of(
		TWO_PROCESSES "tick 1100 tid=10 state=running dt=100\ntick 1200 tid=10 state=blocked class=poll dt=100\n"
			      "tick 1300 tid=10 state=blocked class=poll dt=100 same\nthread_exit 1600 pid=10 tid=10\nend 2000");
	assert_int_equal(thread(p, 10)->ledger.on_cpu_ns, 200);
	assert_int_equal(thread(p, 10)->ledger.blocked_ns[WC_POLL], 400);
	profile_free(p);
}

static void test_exact_waits_and_counts_do_not_add_up(void **state)
{
	(void)state;
	struct profile *p =
		profile_of(TWO_PROCESSES "wait 2000 tid=10 class=sleep wake=3000\n"
					 "counts 4000 tid=10 on_cpu=2000 voluntary=1 rd_calls=3 rd_bytes=30\nend 4000");
	assert_int_equal(thread(p, 10)->ledger.on_cpu_ns, 2000);
	assert_int_equal(thread(p, 10)->ledger.waits, 1);
	assert_int_equal(p->processes[0].rd_bytes, 30);
	profile_free(p);
}

/* ---- timeline, running profiles ---- */

static void test_the_timeline_halves_its_resolution_and_keeps_its_sums(void **state)
{
	(void)state;
	struct aggregator *a = new_aggregator(1000);
	feed(a, TWO_PROCESSES);
	uint64_t now = 2000;
	for (int i = 0; i < 3000; i++, now += 10000000)
		feedf(a, "wait %llu tid=10 class=%s wake=%llu", (unsigned long long)now, i % 3 ? "poll" : "futex",
		      (unsigned long long)now + 4000000);
	feedf(a, "end %llu", (unsigned long long)now);
	struct profile *p = profile_now(a);
	assert_true(check_exact_profile(p));
	assert_int_equal(p->timeline_step_ns, 64000000); /* 30 s in at most 600 steps */
	uint64_t waits = 0;
	for (size_t i = 0; i < p->n_intervals; i++) {
		waits += p->intervals[i].waits;
		if (p->intervals[i].pid == 10 && p->intervals[i].blocked_ns > 20000000)
			assert_int_equal(p->intervals[i].top_class, WC_POLL);
	}
	assert_int_equal(waits, 3000);
	profile_free(p);
	aggregator_free(a);
}

static void test_a_running_profile_takes_a_silent_gap_as_a_wait(void **state)
{
	(void)state;
	struct aggregator *a = new_aggregator(1000);
	feed(a, TWO_PROCESSES "sample 1500 tid=20 period=10\nwait 2000 tid=10 class=sleep wake=3000\n");
	for (int i = 0; i < 100; i++)
		feedf(a, "sample %d tid=20 period=1000000", 1000000 * (i + 1));
	struct profile *p = profile_now(a);
	/* tid 20 was sampled on the CPU all the time, tid 10 never after its wait */
	assert_int_equal(thread(p, 20)->ledger.on_cpu_ns, 99999000);
	assert_int_equal(thread(p, 10)->ledger.blocked_ns[WC_OTHER], 100000000 - 3000);
	assert_int_equal(thread(p, 10)->observed_ns, 99999000);
	profile_free(p);
	feed(a, "wait 4000 tid=10 class=accept wake=100000000\nend 100000000");
	p = profile_now(a);
	assert_int_equal(thread(p, 10)->ledger.blocked_ns[WC_OTHER], 0);
	assert_int_equal(thread(p, 10)->ledger.blocked_ns[WC_ACCEPT], 100000000 - 4000);
	assert_true(check_exact_profile(p));
	profile_free(p);
	aggregator_free(a);
}

static void test_no_event_at_all_is_an_empty_profile(void **state)
{
	(void)state;
	struct profile *p = profile_of("");
	assert_int_equal(p->n_processes + p->n_threads + p->n_waits + p->n_edges, 0);
	assert_int_equal(p->n_stacks, 1);
	profile_free(p);
	p = profile_of("end 5000");
	assert_int_equal(p->meta.end_ns, 5000);
	profile_free(p);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_wait_is_a_ledger_a_wait_row_and_an_edge),
		T(test_a_wait_in_progress_is_counted_and_marked),
		T(test_waiting_from_before_the_start_to_after_the_end_is_idle),
		T(test_lost_waits_are_lost_time),
		T(test_marking_idle_keeps_every_sum),
		T(test_a_thread_met_before_its_introduction_keeps_its_time),
		T(test_a_thread_never_introduced_is_told_by_its_tid),
		T(test_a_wait_told_after_the_exit_adds_no_time),
		T(test_a_reused_tid_is_another_thread),
		T(test_times_before_the_start_are_moved_to_it),
		T(test_fork_to_exec_is_spawn_time),
		T(test_a_task_that_holds_no_end_is_only_likely),
		T(test_what_has_no_ends_is_sure_by_its_waker),
		T(test_an_interrupt_is_no_peer),
		T(test_a_softirq_below_the_peer_is_the_peer_and_else_the_other_end_is),
		T(test_a_remote_end_is_nobody),
		T(test_the_only_other_end_is_taken_and_two_are_not),
		T(test_threads_of_one_process_have_edges_too),
		T(test_a_waker_from_outside_is_named_and_has_no_ledger),
		T(test_a_waker_known_later_is_the_same_edge),
		T(test_a_sites_exact_time_is_split_by_its_samples_durations),
		T(test_a_site_never_sampled_has_the_empty_stack),
		T(test_a_pair_of_stacks_sampled_together_stays_together),
		T(test_inlined_frames_are_expanded_and_unknown_ones_named),
		T(test_equal_stacks_under_different_ids_are_one),
		T(test_on_cpu_samples_are_counted_by_stack),
		T(test_thousands_of_short_lived_children_are_one_row),
		T(test_a_few_children_are_told_one_by_one),
		T(test_workers_that_lived_long_are_told_one_by_one),
		T(test_grandchildren_of_folded_parents_fold_too),
		T(test_many_short_threads_of_one_process_are_one_row),
		T(test_ticks_are_scaled_to_exact_counts),
		T(test_ticks_without_counts_keep_their_proportions),
		T(test_exact_waits_and_counts_do_not_add_up),
		T(test_the_timeline_halves_its_resolution_and_keeps_its_sums),
		T(test_a_running_profile_takes_a_silent_gap_as_a_wait),
		T(test_no_event_at_all_is_an_empty_profile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
