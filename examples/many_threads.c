/* SPDX-License-Identifier: Apache-2.0
 *
 * --n processes of --threads threads each, all parked on a futex that nobody wakes: an idle tree, and a large one to attach to.
 * Prints "ready PID" when all are parked, and ends on SIGTERM, at the end of --seconds, or when stdin ends. With --pace N it forks N
 * more children a second meanwhile (each parks too), for attaching into a moving tree; the truth says how many there were.
 */
#include "common.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct shared {
	_Atomic uint32_t go, parked;
};
static struct shared *shared;

NOINLINE static void park(void)
{
	atomic_fetch_add(&shared->parked, 1);
	while (!atomic_load(&shared->go)) {
		long r = AT("park", syscall(SYS_futex, &shared->go, FUTEX_WAIT, 0, NULL, NULL, 0));
		if (r < 0 && errno != EINTR && errno != EAGAIN)
			_exit(1);
	}
}

static void *thread_main(void *arg)
{
	(void)arg;
	park();
	return NULL;
}

static int process_main(uint64_t n_threads)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	pthread_t *threads = calloc(n_threads, sizeof *threads);
	for (uint64_t i = 1; i < n_threads; i++)
		if (pthread_create(&threads[i], &attr, thread_main, NULL))
			return 1;
	park();
	for (uint64_t i = 1; i < n_threads; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

static bool spawn(uint64_t n_threads)
{
	pid_t pid = fork();
	if (pid == 0) {
		die_with_parent();
		_exit(process_main(n_threads));
	}
	return pid > 0;
}

static void wait_parked(uint64_t n)
{
	while (atomic_load(&shared->parked) < n)
		usleep(2000);
}

static volatile sig_atomic_t terminated;
static void on_term(int sig)
{
	(void)sig;
	terminated = 1;
}

/* True while the program is to go on; waits up to MS. */
static bool pause_ms(int ms)
{
	struct pollfd in = {.fd = 0, .events = POLLIN};
	char buf[64];
	if (poll(&in, 1, ms) > 0 && read(0, buf, sizeof buf) <= 0)
		return false;
	return !terminated;
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 60, .n = 1000, .threads = 4};
	options_parse(&o, argc, argv, "seconds n threads pace help", "a large idle tree: processes of parked threads");
	shared = shared_new(sizeof *shared);
	struct sigaction term = {.sa_handler = on_term};
	sigaction(SIGTERM, &term, NULL);
	uint64_t started = 0;
	for (; started < o.n && spawn(o.threads); started++)
		;
	if (started < o.n)
		fprintf(stderr, "many_threads: only %llu processes: fork failed\n", (unsigned long long)started);
	wait_parked(started * o.threads);
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	uint64_t end = now_ns() + (uint64_t)(o.seconds * 1e9), late = 0;
	int step = o.pace > 0 ? (int)(1000 / o.pace) : 200;
	while (now_ns() < end && pause_ms(step))
		if (o.pace > 0 && spawn(o.threads))
			late++;
	wait_parked((started + late) * o.threads);
	atomic_store(&shared->go, 1);
	syscall(SYS_futex, &shared->go, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	bool ok = true;
	for (uint64_t i = 0; i < started + late; i++)
		ok = reap(-1) && ok;
	struct truth *t = truth_new("many_threads", "control", "none");
	truth_process(t, "parent", getpid());
	truth_int(t, "processes_started", started);
	truth_int(t, "processes_late", late);
	truth_int(t, "threads_per_process", o.threads);
	truth_print(t);
	return ok ? 0 : 1;
}
