/* SPDX-License-Identifier: Apache-2.0
 *
 * A healthy pipeline of three stages with some 20 thousand waits a second: the first stage computes 80 us per item and two fast
 * stages wait for each item. Its speed is the first stage's, so what a profiler adds to the wake-ups shows in the time for
 * --rounds items. --pace N sends N items a second by timer instead.
 */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define ITEM 128
#define STAGES 3

NOINLINE static bool take_item(int fd, unsigned char *item)
{
	ssize_t r = AT("take_item", read(fd, item, ITEM));
	return r == ITEM;
}

NOINLINE static bool hand_item(int fd, const unsigned char *item)
{
	ssize_t r = AT("hand_item", write(fd, item, ITEM));
	return r == ITEM;
}

static int later_stage(int rd, int wr, uint64_t *count)
{
	unsigned char item[ITEM];
	while (take_item(rd, item)) {
		item[0] = (unsigned char)checksum(item, sizeof item);
		++*count;
		if (wr >= 0 && !hand_item(wr, item))
			return 1;
	}
	return 0;
}

static double cpu_seconds(int who, uint64_t *switches)
{
	struct rusage u;
	getrusage(who, &u);
	*switches += (uint64_t)u.ru_nvcsw;
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void tell(const struct options *o, uint64_t items, uint64_t ns, uint64_t arrived, const pid_t *pids)
{
	uint64_t switches = 0;
	double cpu = cpu_seconds(RUSAGE_SELF, &switches) + cpu_seconds(RUSAGE_CHILDREN, &switches);
	struct truth *t = truth_new("pipeline_paced", "control", "none");
	truth_tolerate(t, o->pace > 0 ? "self_paced" : "slow_producer"); /* the first stage is the slow one, by design */
	truth_tolerate(t, "hot_line");
	static const char *const role[STAGES] = {"source", "middle", "sink"};
	for (int i = 0; i < STAGES; i++)
		truth_process(t, role[i], pids[i]);
	truth_throughput(t, items, ns);
	truth_int(t, "arrived", arrived);
	truth_num(t, "cpu_seconds", cpu);
	truth_num(t, "switches_per_s", (double)switches * 1e9 / (double)ns);
	truth_int(t, "message_bytes", ITEM);
	truth_wait(t, "middle", "source", "pipe_read", "pipe", "take_item", "hand_item", ITEM, items);
	truth_wait(t, "sink", "middle", "pipe_read", "pipe", "take_item", "hand_item", ITEM, items);
	truth_print(t);
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3, .cpu = -1, .work_us = 80};
	options_parse(&o, argc, argv, "seconds rounds pin pace work-us help", "a pipeline with about 20 thousand waits a second");
	ignore_sigpipe();
	if (o.pace <= 0)
		work_calibrate();
	pin_cpu(o.cpu);
	int fd[STAGES - 1][2];
	for (int i = 0; i < STAGES - 1; i++)
		if (pipe(fd[i]))
			die("pipe");
	uint64_t *arrived = shared_new(STAGES * sizeof *arrived);
	pid_t pids[STAGES] = {getpid()};
	for (int i = 1; i < STAGES; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("fork");
		if (pids[i] == 0) {
			die_with_parent();
			for (int j = 0; j < STAGES - 1; j++) {
				close(j == i - 1 ? fd[j][1] : fd[j][0]);
				if (j != i - 1 && j != i)
					close(fd[j][1]);
			}
			_exit(later_stage(fd[i - 1][0], i < STAGES - 1 ? fd[i][1] : -1, &arrived[i]));
		}
	}
	for (int j = 0; j < STAGES - 1; j++) {
		close(fd[j][0]);
		if (j)
			close(fd[j][1]);
	}
	unsigned char item[ITEM];
	struct pacer p;
	uint64_t r = 0;
	for (pacer_start(&p, &o); pacer_next(&p, r); r++) {
		fill_message(item, sizeof item, r);
		if (o.pace <= 0)
			work_us(o.work_us);
		if (!hand_item(fd[0][1], item))
			die("write");
	}
	close(fd[0][1]);
	bool ok = reap(pids[1]);
	ok = reap(pids[2]) && ok;
	tell(&o, r, now_ns() - p.start_ns, arrived[2], pids);
	return ok ? 0 : 1;
}
