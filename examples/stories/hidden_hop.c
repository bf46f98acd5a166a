/* SPDX-License-Identifier: Apache-2.0
 *
 * The main thread hands each job to a pool thread and waits on its future; the pool thread asks a child process over a pipe and waits
 * for the answer. Two hand-offs between threads hide the lock-step between the two processes. Fixed: jobs in batches of 200,
 * with two batches under way.
 */
#include "common.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define JOB 200
#define BATCH 200
#define POOL 4
#define QUEUE 4

/* A future: filled in by the pool thread. */
struct job {
	unsigned char data[JOB * BATCH];
	size_t bytes;
	bool queued, done;
};

static struct job jobs[QUEUE];
static unsigned head, tail;
static bool closing;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, child_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_there = PTHREAD_COND_INITIALIZER, result_there = PTHREAD_COND_INITIALIZER;
static int to[2], from[2];

NOINLINE static bool wait_for_answer(void)
{
	char b;
	ssize_t r = AT("wait_answer", read(from[0], &b, 1));
	return r == 1;
}

NOINLINE static bool ask_child(const struct job *j)
{
	for (size_t done = 0; done < j->bytes;) {
		ssize_t r = AT("ask", write(to[1], j->data + done, j->bytes - done));
		if (r <= 0)
			return false;
		done += (size_t)r;
	}
	return wait_for_answer();
}

NOINLINE static void wait_for_future(struct job *j)
{
	pthread_mutex_lock(&lock);
	while (!j->done)
		AT("wait_future", pthread_cond_wait(&result_there, &lock));
	j->done = false;
	pthread_mutex_unlock(&lock);
}

static struct job *submit(size_t bytes, uint64_t seed)
{
	pthread_mutex_lock(&lock);
	struct job *j = &jobs[head++ % QUEUE];
	pthread_mutex_unlock(&lock);
	fill_message(j->data, bytes, seed);
	pthread_mutex_lock(&lock);
	j->bytes = bytes;
	j->queued = true;
	pthread_cond_signal(&work_there);
	pthread_mutex_unlock(&lock);
	return j;
}

static void *pool_main(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	for (;;) {
		while (!closing && !jobs[tail % QUEUE].queued)
			pthread_cond_wait(&work_there, &lock);
		if (closing)
			break;
		struct job *j = &jobs[tail++ % QUEUE];
		j->queued = false;
		pthread_mutex_unlock(&lock);
		pthread_mutex_lock(&child_lock);
		if (!ask_child(j))
			die("child");
		pthread_mutex_unlock(&child_lock);
		pthread_mutex_lock(&lock);
		j->done = true;
		pthread_cond_broadcast(&result_there);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

NOINLINE static bool wait_for_question(unsigned char *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = AT("wait_question", read(to[0], buf + done, n - done));
		if (r <= 0)
			return false;
		done += (size_t)r;
	}
	return true;
}

NOINLINE static bool answer(void)
{
	ssize_t r = AT("answer", write(from[1], "k", 1));
	return r == 1;
}

static int child_main(size_t bytes, double us)
{
	static unsigned char buf[JOB * BATCH];
	volatile uint64_t sum = 0;
	while (wait_for_question(buf, bytes)) {
		for (size_t i = 0; i < bytes / JOB; i++) {
			sum += checksum(buf + i * JOB, JOB);
			work_us(us);
		}
		if (!answer())
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3, .work_us = 20};
	options_parse(&o, argc, argv, "seconds rounds work-us fixed help", "lock-step behind a thread pool");
	ignore_sigpipe();
	work_calibrate();
	size_t per = o.fixed ? BATCH : 1;
	if (pipe(to) || pipe(from))
		die("pipe");
	if (o.fixed) /* two batches fit */
		(void)!fcntl(to[1], F_SETPIPE_SZ, 1 << 20);
	pid_t child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		die_with_parent();
		close(to[1]);
		close(from[0]);
		_exit(child_main(per * JOB, o.work_us));
	}
	close(to[0]);
	close(from[1]);
	pthread_t pool[POOL];
	for (int i = 0; i < POOL; i++)
		if (pthread_create(&pool[i], NULL, pool_main, NULL))
			die("pthread_create");
	struct pacer p;
	struct job *under_way = NULL;
	uint64_t r = 0;
	pacer_start(&p, &o);
	p.every = true;
	for (; pacer_next(&p, r); r++) {
		struct job *j = submit(per * JOB, r);
		struct job *wait = o.fixed ? under_way : j;
		if (wait)
			wait_for_future(wait);
		under_way = j;
	}
	if (o.fixed && under_way)
		wait_for_future(under_way);
	uint64_t ns = now_ns() - p.start_ns;
	pthread_mutex_lock(&lock);
	closing = true;
	pthread_cond_broadcast(&work_there);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < POOL; i++)
		pthread_join(pool[i], NULL);
	close(to[1]);
	bool ok = reap(child);
	struct truth *t = truth_new("hidden_hop", o.fixed ? "fixed" : "broken", o.fixed ? "none" : "lockstep");
	if (o.fixed) {
		truth_tolerate(t, "hot_line");
		truth_tolerate(t, "slow_consumer");
		truth_tolerate(t, "slow_producer");
	}
	truth_process(t, "parent", getpid());
	truth_process(t, "child", child);
	truth_str(t, "channel", "pipe");
	truth_throughput(t, r * per, ns);
	truth_int(t, "round_trips", r);
	truth_num(t, "rate_per_s", (double)r * 1e9 / (double)ns);
	truth_int(t, "message_bytes", per * JOB);
	truth_wait(t, "parent", "child", "pipe_read", "pipe", "wait_answer", "answer", 1, r);
	truth_wait(t, "child", "parent", "pipe_read", "pipe", "wait_question", "ask", per * JOB, r);
	truth_print(t);
	return ok ? 0 : 1;
}
