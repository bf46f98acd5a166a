/* SPDX-License-Identifier: Apache-2.0
 *
 * Sixteen workers that do nearly all their work under one lock: --kind futex: threads and a mutex; --kind fcntl: processes and a byte
 * of a file. Fixed: sixteen locks, one per shard of the data.
 */
#include "common.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_WORKERS 64

static struct options o = {.seconds = 3, .work_us = 100, .n = 16, .kind = "futex"};
static pthread_mutex_t locks[MAX_WORKERS];
static uint64_t *done;
static int lock_fd = -1;

NOINLINE static void update_under_lock(double us)
{
	KEEP(AT("update", work_us(us)));
}

NOINLINE static void lock_mutex(uint64_t shard)
{
	KEEP(AT("lock_mutex", pthread_mutex_lock(&locks[shard])));
}

NOINLINE static bool lock_file(uint64_t shard)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)shard, .l_len = 1};
	int r = AT("lock_file", fcntl(lock_fd, F_SETLKW, &l));
	return r == 0;
}

static void unlock_file(uint64_t shard)
{
	struct flock l = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = (off_t)shard, .l_len = 1};
	fcntl(lock_fd, F_SETLK, &l);
}

static void *work(void *arg)
{
	uint64_t me = (uint64_t)(uintptr_t)arg, shard = o.fixed ? me : 0;
	bool file = lock_fd >= 0;
	struct pacer p;
	pacer_start(&p, &o);
	p.every = true;
	while (pacer_next(&p, done[me])) {
		if (file && !lock_file(shard))
			die("fcntl");
		if (!file)
			lock_mutex(shard);
		update_under_lock(o.work_us);
		done[me]++;
		if (file)
			unlock_file(shard);
		else
			pthread_mutex_unlock(&locks[shard]);
		work_us(o.work_us / 10);
	}
	return NULL;
}

static bool run_threads(void)
{
	pthread_t threads[MAX_WORKERS];
	for (uint64_t i = 0; i < o.n; i++)
		pthread_mutex_init(&locks[i], NULL);
	for (uint64_t i = 0; i < o.n; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i))
			die("pthread_create");
	for (uint64_t i = 0; i < o.n; i++)
		pthread_join(threads[i], NULL);
	return true;
}

static bool run_processes(pid_t *pids)
{
	lock_fd = memfd_create("convoy.lock", MFD_CLOEXEC);
	if (lock_fd < 0)
		die("memfd_create");
	for (uint64_t i = 0; i < o.n; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("fork");
		if (pids[i] == 0) {
			die_with_parent();
			work((void *)(uintptr_t)i);
			_exit(0);
		}
	}
	bool ok = true;
	for (uint64_t i = 0; i < o.n; i++)
		ok = reap(pids[i]) && ok;
	return ok;
}

int main(int argc, char **argv)
{
	options_parse(&o, argc, argv, "seconds kind n work-us fixed help", "many workers, one lock");
	bool file = !strcmp(o.kind, "fcntl");
	if (o.n > MAX_WORKERS || (!file && strcmp(o.kind, "futex"))) {
		fprintf(stderr, "convoy: --n up to %d, --kind futex or fcntl\n", MAX_WORKERS);
		return 2;
	}
	work_calibrate();
	done = shared_new(MAX_WORKERS * sizeof *done);
	pid_t pids[MAX_WORKERS] = {0};
	uint64_t start = now_ns(), total = 0;
	bool ok = file ? run_processes(pids) : run_threads();
	uint64_t ns = now_ns() - start;
	struct truth *t = truth_new("convoy", o.fixed ? "fixed" : "broken", o.fixed ? "none" : "lock_convoy");
	if (o.fixed) { /* sixteen that compute on fewer CPUs */
		truth_tolerate(t, "run_queue");
		truth_tolerate(t, "hot_line");
	}
	truth_process(t, "main", getpid());
	char name[24];
	for (uint64_t i = 0; i < o.n; i++) {
		total += done[i];
		snprintf(name, sizeof name, "worker%u", (unsigned)i);
		if (file)
			truth_process(t, name, pids[i]);
	}
	truth_str(t, "channel", file ? "file" : "futex");
	truth_throughput(t, total, ns);
	truth_int(t, "workers", o.n);
	truth_wait(t, file ? "worker" : "main", file ? "worker" : "main", file ? "lock" : "futex", file ? "file" : "futex",
		   file ? "lock_file" : "lock_mutex", "update", 0, 0);
	truth_print(t);
	return ok ? 0 : 1;
}
