/* SPDX-License-Identifier: Apache-2.0
 *
 * Twenty workers, of which two (or fewer on a small machine: half as many as CPUs) were given all the jobs by a bad partition
 * function; the others wait for jobs that never come. Fixed: the jobs are spread over all.
 */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_WORKERS 64
#define CHUNK 8

struct job {
	uint64_t first, count;
};

NOINLINE static bool next_jobs(int fd, struct job *j)
{
	ssize_t r = AT("next_jobs", read(fd, j, sizeof *j));
	return r == (ssize_t)sizeof *j;
}

NOINLINE static void do_job(double us)
{
	KEEP(AT("do_job", work_us(us)));
}

static int worker(int fd, double us, uint64_t *done)
{
	struct job j;
	while (next_jobs(fd, &j))
		for (uint64_t i = 0; i < j.count; i++) {
			do_job(us);
			++*done;
		}
	return 0;
}

int main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct options o = {.rounds = 3000, .n = 20, .work_us = 1000, .threads = cpus >= 4 ? 2 : 1};
	options_parse(&o, argc, argv, "rounds n threads work-us fixed help",
		      "twenty workers, two of them work (--threads: how many work)");
	if (o.n > MAX_WORKERS || o.threads > o.n) {
		fprintf(stderr, "two_of_twenty: --n up to %d, --threads up to --n\n", MAX_WORKERS);
		return 2;
	}
	work_calibrate();
	uint64_t *done = shared_new(MAX_WORKERS * sizeof *done), start = now_ns(), busy = o.fixed ? o.n : o.threads;
	int fd[MAX_WORKERS][2];
	pid_t pids[MAX_WORKERS];
	for (uint64_t i = 0; i < o.n; i++) {
		if (pipe(fd[i]))
			die("pipe");
		pids[i] = fork();
		if (pids[i] < 0)
			die("fork");
		if (pids[i] == 0) {
			die_with_parent();
			for (uint64_t j = 0; j <= i; j++)
				close(fd[j][1]);
			_exit(worker(fd[i][0], o.work_us, &done[i]));
		}
		close(fd[i][0]);
	}
	for (uint64_t first = 0, k = 0; first < o.rounds; first += CHUNK, k++) {
		struct job j = {first, o.rounds - first < CHUNK ? o.rounds - first : CHUNK};
		if (!write_all(fd[k % busy][1], &j, sizeof j))
			die("write");
	}
	/* The busy ones end first; the idle ones keep waiting for jobs as long as there is work. */
	bool ok = true;
	for (uint64_t i = 0; i < busy; i++)
		close(fd[i][1]);
	for (uint64_t i = 0; i < busy; i++)
		ok = reap(pids[i]) && ok;
	uint64_t ns = now_ns() - start, total = 0;
	for (uint64_t i = busy; i < o.n; i++)
		close(fd[i][1]);
	for (uint64_t i = busy; i < o.n; i++)
		ok = reap(pids[i]) && ok;
	struct truth *t = truth_new("two_of_twenty", o.fixed ? "fixed" : "broken", o.fixed ? "none" : "serial_process");
	if (o.fixed) {
		truth_tolerate(t, "run_queue");
		truth_tolerate(t, "hot_line");
	}
	truth_process(t, "parent", getpid());
	char name[24];
	for (uint64_t i = 0; i < o.n; i++) {
		snprintf(name, sizeof name, "%s%u", i < busy ? "busy" : "idle", (unsigned)i);
		truth_process(t, name, pids[i]);
		total += done[i];
	}
	truth_throughput(t, total, ns);
	truth_int(t, "workers", o.n);
	truth_int(t, "busy", busy);
	truth_wait(t, "idle", "", "pipe_read", "pipe", "next_jobs", "do_job", 0, 0);
	truth_print(t);
	return ok && total == o.rounds ? 0 : 1;
}
