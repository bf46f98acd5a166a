/* SPDX-License-Identifier: Apache-2.0
 *
 * ns of CPU per event that aggregation costs, warm:
 *   ping-pong   two threads that wake each other, as the kernel backend tells it (half of the switches folded into the next)
 *   storm       a parent that forks children of a millisecond, one after the other, each with a pipe of its own
 *   random      1,000 threads of 100 processes that wake each other at random: the cache-hostile end
 * each with and without window analysis. Prints one line per case. Usage: aggregate [MILLIONS OF EVENTS, default 4 [CASE]]
 */
#include "aggregate/agg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define START 1000000000ull

static double cpu_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint64_t draw(uint64_t *state, uint64_t n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % n;
}

static void introduce(struct aggregator *a, int32_t pid, int32_t tid)
{
	struct event p = {.kind = EV_PROCESS,
			  .time_ns = START,
			  .process = {.pid = pid, .ppid = 1, .in_tree = true, .comm = "bench", .exe = "/b"}};
	struct event t = {.kind = EV_THREAD, .time_ns = START, .thread = {.pid = pid, .tid = tid, .comm = "bench"}};
	if (pid == tid)
		aggregator_event(a, &p);
	aggregator_event(a, &t);
}

/* Two threads, a message and its answer: 450 thousand waits a second. */
static uint64_t ping_pong(struct aggregator *a, uint64_t n, uint64_t now)
{
	struct event ev = {.kind = EV_WAIT};
	for (uint64_t i = 0; i < n; i++) {
		int32_t me = 100 + (int32_t)(i & 1), other = 101 - (int32_t)(i & 1);
		ev.time_ns = now - 2200;
		ev.wait = (struct ev_wait){
			.tid = me,
			.cls = WC_PIPE_READ,
			.waker_ctx = WAKER_TASK,
			.t_wake = now - 300,
			.t_run = now,
			.waker_tid = other,
			.channel = 1 + (i & 1),
			.site = (uint32_t)me,
			.waker_site = (uint32_t)other + 100,
			.stack = i % 1000 == 0 ? 1 : 0,
			.bytes = 200,
			.rd_calls = 1,
			.rd_bytes = 200,
			.wr_calls = 1,
			.wr_bytes = 200,
			.folded_count = 1,
			.folded_ns = 100,
			.handoff_count = 1,
			.handoff_tid = other,
		};
		aggregator_event(a, &ev);
		now += 2222;
	}
	return now;
}

static uint64_t random_waits(struct aggregator *a, uint64_t n, uint64_t now)
{
	static uint64_t seed = 88172645463325252ull, last[1000];
	struct event ev = {.kind = EV_WAIT};
	for (uint64_t i = 0; i < n; i++) {
		uint32_t me = (uint32_t)draw(&seed, 1000), other = (uint32_t)draw(&seed, 1000);
		if (last[me] < now - 2000000)
			last[me] = now - 2000000;
		ev.time_ns = last[me] + 100;
		ev.wait = (struct ev_wait){
			.tid = 1000 + (int32_t)me,
			.cls = (uint8_t)(WC_PIPE_READ + draw(&seed, 6)),
			.waker_ctx = WAKER_TASK,
			.t_wake = now - 300,
			.t_run = now,
			.waker_tid = 1000 + (int32_t)other,
			.channel = 1 + (uint32_t)draw(&seed, 500),
			.site = me * 4 + (uint32_t)draw(&seed, 4) + 1,
			.waker_site = other * 4 + (uint32_t)draw(&seed, 4) + 10000,
			.bytes = 64 << draw(&seed, 4),
		};
		last[me] = now;
		aggregator_event(a, &ev);
		now += 2222;
	}
	return now;
}

/* Eight events a child. */
static uint64_t storm(struct aggregator *a, uint64_t n, uint64_t now)
{
	static int32_t last;
	for (uint64_t i = 0; i < n / 8; i++, now += 1000000) {
		int32_t pid = 1000 + last++ % 4000000;
		struct event ev = {.kind = EV_PROCESS, .time_ns = now};
		ev.process = (struct ev_process){
			.pid = pid, .ppid = 100, .in_tree = true, .reason = PROC_FORK, .comm = "sh", .exe = "/bin/sh"};
		aggregator_event(a, &ev);
		ev = (struct event){.kind = EV_THREAD, .time_ns = now, .thread = {.pid = pid, .tid = pid, .comm = "sh"}};
		aggregator_event(a, &ev);
		ev = (struct event){.kind = EV_CHANNEL, .channel = {.id = (uint32_t)pid, .kind = CH_PIPE, .name = "pipe"}};
		aggregator_event(a, &ev);
		ev = (struct event){.kind = EV_CHANNEL_END, .time_ns = now, .channel_end = {(uint32_t)pid, pid, 1, END_WRITER}};
		aggregator_event(a, &ev);
		ev = (struct event){.kind = EV_WAIT, .time_ns = now + 1000};
		ev.wait = (struct ev_wait){
			.tid = pid, .cls = WC_PIPE_WRITE, .t_wake = now + 5000, .t_run = now + 6000, .channel = (uint32_t)pid};
		ev.wait.site = (uint32_t)pid;
		aggregator_event(a, &ev);
		ev = (struct event){.kind = EV_THREAD_EXIT, .time_ns = now + 900000, .thread_exit = {pid, pid}};
		aggregator_event(a, &ev);
		ev = (struct event){.kind = EV_PROCESS_EXIT, .time_ns = now + 900000, .process_exit = {pid, 0}};
		aggregator_event(a, &ev);
		ev = (struct event){.kind = EV_WAIT, .time_ns = now + 1000};
		ev.wait = (struct ev_wait){.tid = 100, .cls = WC_CHILD, .waker_ctx = WAKER_TASK, .waker_tid = pid};
		ev.wait.t_wake = ev.wait.t_run = now + 900000;
		aggregator_event(a, &ev);
	}
	return now;
}

struct bench {
	const char *name;
	uint64_t (*feed)(struct aggregator *a, uint64_t n, uint64_t now);
	int processes, threads; /* threads of each */
	int32_t first;
};

static int ignore(void *ctx, struct profile *p)
{
	(void)ctx;
	(void)p;
	return 0;
}

static void run(const struct bench *b, uint64_t n, bool windows)
{
	static const struct window_hooks none = {.finish = ignore};
	struct aggregator_options opt = {.start_ns = START, .windows = windows ? NULL : &none};
	struct aggregator *a = aggregator_new(&opt, NULL);
	if (!a)
		return;
	for (int p = 0; p < b->processes; p++)
		for (int t = 0; t < b->threads; t++)
			introduce(a, b->first + p * b->threads, b->first + p * b->threads + t);
	uint64_t now = b->feed(a, n / 8, START + 10000000); /* warm */
	double before = cpu_s();
	b->feed(a, n, now);
	double spent = cpu_s() - before;
	printf("%-10s %-16s %6.1f ns/event  %zu rows, %llu compactions\n", b->name, windows ? "with windows" : "without windows",
	       spent / (double)n * 1e9, a->rows.n_rows - 1, (unsigned long long)a->compactions);
	aggregator_free(a);
}

int main(int argc, char **argv)
{
	static const struct bench benches[] = {
		{"ping-pong", ping_pong, 2, 1, 100},
		{"storm", storm, 1, 1, 100},
		{"random", random_waits, 100, 10, 1000},
	};
	uint64_t n = (argc > 1 ? strtoull(argv[1], NULL, 10) : 4) * 1000000;
	for (size_t i = 0; i < sizeof benches / sizeof *benches; i++) {
		if (argc > 2 && strcmp(argv[2], benches[i].name) != 0)
			continue;
		run(&benches[i], n, false);
		run(&benches[i], n, true);
	}
	return 0;
}
