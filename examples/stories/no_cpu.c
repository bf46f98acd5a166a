/* SPDX-License-Identifier: Apache-2.0
 *
 * Sixteen processes that compute, all on one CPU: they are runnable and do not run. The healthy control (--fixed) is one process on
 * that CPU.
 */
#include "common.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX 64

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3, .cpu = 0, .n = 16, .work_us = 1000};
	options_parse(&o, argc, argv, "seconds n pin work-us fixed help", "more runnable processes than CPUs");
	if (o.n > MAX) {
		fprintf(stderr, "no_cpu: --n up to %d\n", MAX);
		return 2;
	}
	uint64_t n = o.fixed ? 1 : o.n, total = 0;
	work_calibrate();
	pin_cpu(o.cpu);
	uint64_t *counts = shared_new(MAX * sizeof *counts);
	pid_t pids[MAX];
	struct pacer p;
	pacer_start(&p, &o);
	p.every = true;
	for (uint64_t i = 0; i < n; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("fork");
		if (pids[i] == 0) {
			die_with_parent();
			for (; pacer_next(&p, counts[i]); counts[i]++)
				work_us(o.work_us);
			_exit(0);
		}
	}
	bool ok = true;
	for (uint64_t i = 0; i < n; i++)
		ok = reap(pids[i]) && ok;
	uint64_t ns = now_ns() - p.start_ns;
	struct rusage kids;
	getrusage(RUSAGE_CHILDREN, &kids);
	double cpu = (double)kids.ru_utime.tv_sec + (double)kids.ru_utime.tv_usec / 1e6;
	struct truth *t = truth_new("no_cpu", o.fixed ? "control" : "broken", o.fixed ? "hot_line" : "run_queue");
	if (o.fixed) {
		truth_tolerate(t, "none");
		truth_tolerate(t, "serial_process");
	}
	truth_process(t, "parent", getpid());
	char name[24];
	for (uint64_t i = 0; i < n; i++) {
		total += counts[i];
		snprintf(name, sizeof name, "worker%u", (unsigned)i);
		truth_process(t, name, pids[i]);
	}
	truth_throughput(t, total, ns);
	truth_num(t, "cpu_seconds", cpu);
	truth_num(t, "run_queue_seconds", (double)n * (double)ns / 1e9 - cpu);
	truth_print(t);
	return ok ? 0 : 1;
}
