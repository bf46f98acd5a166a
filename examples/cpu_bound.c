/* SPDX-License-Identifier: Apache-2.0
 *
 * Computes and never waits: --threads threads with a fixed amount of work each (--rounds slices of --work-us), or for --seconds.
 * For measuring what a profiler costs a program that gives it nothing to see but samples.
 */
#include "common.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static struct options o = {.seconds = 3, .cpu = -1, .work_us = 1000, .threads = 1};
static uint64_t slices[10000];

/* By time the slices are measured work; by rounds they are a fixed number of iterations, so that time measures speed. */
static void *compute(void *arg)
{
	uint64_t *count = arg;
	struct pacer p;
	pacer_start(&p, &o);
	p.every = true;
	while (pacer_next(&p, *count)) {
		if (o.rounds)
			work_iterations((uint64_t)(o.work_us * 500));
		else
			work_us(o.work_us);
		++*count;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	options_parse(&o, argc, argv, "seconds rounds pin work-us threads help", "a CPU-bound program");
	work_calibrate();
	pin_cpu(o.cpu);
	uint64_t start = now_ns(), total = 0;
	pthread_t *threads = calloc(o.threads, sizeof *threads);
	if (!threads)
		die("calloc");
	for (uint64_t i = 1; i < o.threads; i++)
		if (pthread_create(&threads[i], NULL, compute, &slices[i]))
			die("pthread_create");
	compute(&slices[0]);
	for (uint64_t i = 1; i < o.threads; i++)
		pthread_join(threads[i], NULL);
	uint64_t ns = now_ns() - start;
	for (uint64_t i = 0; i < o.threads; i++)
		total += slices[i];
	free(threads);
	struct truth *t = truth_new("cpu_bound", "control", "hot_line");
	truth_tolerate(t, "none"); /* it is all one loop; a tool may find that worth saying or not */
	truth_tolerate(t, "serial_process");
	truth_process(t, "worker", getpid());
	truth_throughput(t, total, ns);
	truth_int(t, "threads", o.threads);
	truth_print(t);
	return 0;
}
