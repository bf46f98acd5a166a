/* SPDX-License-Identifier: Apache-2.0
 *
 * Healthy: workers (processes, --n) compute in parallel. Each takes a ticket from a shared counter, works for --work-us,
 * and adds its result under a process-shared mutex that is free nearly always (--kind futex), or sends it to the parent as one
 * small message (--kind pipe | unix), which nobody waits for.
 */
#include "common.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_WORKERS 64

struct shared {
	pthread_mutex_t lock;
	_Atomic uint64_t ticket;
	uint64_t done, sum;
};

static void report_result(struct shared *s, int fd, uint64_t result)
{
	if (fd >= 0) {
		if (write(fd, &result, sizeof result) != (ssize_t)sizeof result)
			_exit(1);
		return;
	}
	pthread_mutex_lock(&s->lock);
	s->sum += result;
	s->done++;
	pthread_mutex_unlock(&s->lock);
}

static int work(struct shared *s, const struct options *o, int fd)
{
	struct pacer p;
	pacer_start(&p, o);
	p.every = true;
	for (;;) {
		uint64_t r = atomic_fetch_add(&s->ticket, 1);
		if (!pacer_next(&p, r))
			return 0;
		report_result(s, fd, work_us(o->work_us));
	}
}

static void collect(struct shared *s, int fd)
{
	uint64_t v;
	while (read_all(fd, &v, sizeof v)) {
		s->sum += v;
		s->done++;
	}
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3, .cpu = -1, .kind = "futex", .work_us = 2000, .n = 2};
	options_parse(&o, argc, argv, "seconds rounds kind n work-us help", "healthy workers in parallel");
	bool by_message = strcmp(o.kind, "futex") != 0;
	if (o.n > MAX_WORKERS || (by_message && strcmp(o.kind, "pipe") && strcmp(o.kind, "unix"))) {
		fprintf(stderr, "control_workers: --n up to %d, --kind futex, pipe or unix\n", MAX_WORKERS);
		return 2;
	}
	ignore_sigpipe();
	work_calibrate();
	int ends[2] = {-1, -1};
	if (by_message && (!strcmp(o.kind, "pipe") ? pipe(ends) : socketpair(AF_UNIX, SOCK_STREAM, 0, ends)))
		die("pipe");
	struct shared *s = shared_new(sizeof *s);
	pthread_mutexattr_t attr;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&s->lock, &attr);
	pid_t pids[MAX_WORKERS];
	uint64_t start = now_ns();
	for (uint64_t i = 0; i < o.n; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("fork");
		if (pids[i] == 0) {
			die_with_parent();
			if (ends[0] >= 0)
				close(ends[0]);
			_exit(work(s, &o, ends[1]));
		}
	}
	if (by_message) {
		close(ends[1]);
		collect(s, ends[0]);
	}
	bool ok = true;
	for (uint64_t i = 0; i < o.n; i++)
		ok = reap(pids[i]) && ok;
	uint64_t ns = now_ns() - start;
	struct truth *t = truth_new("control_workers", "control", "none");
	truth_tolerate(t, "hot_line"); /* it is one: two CPUs' worth of work_iterations */
	truth_tolerate(t, "run_queue");
	truth_process(t, "parent", getpid());
	char name[24];
	for (uint64_t i = 0; i < o.n; i++) {
		snprintf(name, sizeof name, "worker%u", (unsigned)i);
		truth_process(t, name, pids[i]);
	}
	truth_str(t, "channel", o.kind);
	truth_throughput(t, s->done, ns);
	truth_print(t);
	return ok ? 0 : 1;
}
