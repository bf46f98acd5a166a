/* SPDX-License-Identifier: Apache-2.0
 *
 * Clocks, pacing, calibrated work and whole-buffer I/O of the examples.
 */
#include "common.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double iterations_per_us = 500;

uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void die(const char *what)
{
	fprintf(stderr, "example: %s: %s\n", what, strerror(errno));
	_exit(1);
}

void pin_cpu(int cpu)
{
	if (cpu < 0)
		return;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set))
		die("sched_setaffinity");
}

void *shared_new(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		die("mmap");
	memset(p, 0, bytes);
	return p;
}

bool reap(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void ignore_sigpipe(void)
{
	signal(SIGPIPE, SIG_IGN);
}

void die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void pacer_start(struct pacer *p, const struct options *o)
{
	memset(p, 0, sizeof *p);
	p->start_ns = now_ns();
	p->rounds = o->rounds;
	p->deadline_ns = p->start_ns + (uint64_t)(o->seconds * 1e9);
	p->period_ns = o->pace > 0 ? (uint64_t)(1e9 / o->pace) : 0;
	p->next_ns = p->start_ns;
	p->every = p->period_ns || o->work_us > 20 || o->batch > 16;
}

bool pacer_next(struct pacer *p, uint64_t r)
{
	if (p->rounds) {
		if (r >= p->rounds)
			return false;
	} else if ((p->every || r % 64 == 0) && now_ns() >= p->deadline_ns) {
		return false;
	}
	if (p->period_ns) {
		p->next_ns += p->period_ns;
		struct timespec ts = {(time_t)(p->next_ns / 1000000000u), (long)(p->next_ns % 1000000000u)};
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
			;
	}
	return true;
}

NOINLINE uint64_t work_iterations(uint64_t n)
{
	uint64_t x = n | 1;
	for (uint64_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	return x;
}

static volatile uint64_t sink;

void work_calibrate(void)
{
	double best = 0;
	for (int i = 0; i < 8; i++) {
		uint64_t t = now_ns();
		sink += work_iterations(200000);
		t = now_ns() - t;
		if (t && 200000e3 / (double)t > best)
			best = 200000e3 / (double)t;
	}
	if (best > 0)
		iterations_per_us = best;
}

uint64_t work_us(double us)
{
	return us > 0 ? work_iterations((uint64_t)(us * iterations_per_us)) : 0;
}

void fill_message(unsigned char *buf, size_t n, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
	for (size_t i = 0; i < n; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		buf[i] = (unsigned char)(x >> 56);
	}
}

uint64_t checksum(const unsigned char *buf, size_t n)
{
	uint64_t h = 14695981039346656037u;
	for (size_t i = 0; i < n; i++)
		h = (h ^ buf[i]) * 1099511628211u;
	return h;
}

bool read_all(int fd, void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = read(fd, (char *)buf + done, n - done);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		done += (size_t)r;
	}
	return true;
}

bool write_all(int fd, const void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = write(fd, (const char *)buf + done, n - done);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		done += (size_t)r;
	}
	return true;
}
