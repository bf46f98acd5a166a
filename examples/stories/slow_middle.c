/* SPDX-License-Identifier: Apache-2.0
 *
 * Five stages over pipes; the third needs ten times as long per item as the others, which all wait for it: the first two on full
 * pipes, the last two on empty ones. Fixed: two processes share the third stage.
 */
#include "common.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define ITEM 256
#define STAGES 5
#define SLOW 2

NOINLINE static bool take(int fd, unsigned char *item)
{
	ssize_t r = AT("take", read(fd, item, ITEM));
	return r == ITEM;
}

NOINLINE static bool hand_on(int fd, const unsigned char *item)
{
	ssize_t r = AT("hand_on", write(fd, item, ITEM));
	return r == ITEM;
}

NOINLINE static void slow_transform(double us)
{
	KEEP(AT("slow_transform", work_us(us)));
}

NOINLINE static void quick_transform(double us)
{
	KEEP(work_us(us / 10));
}

static int stage(int number, int rd, int wr, double us)
{
	unsigned char item[ITEM];
	while (take(rd, item)) {
		if (number == SLOW)
			slow_transform(us);
		else
			quick_transform(us);
		if (wr >= 0 && !hand_on(wr, item))
			return 1;
	}
	return 0;
}

static int pipes[STAGES - 1][2]; /* pipe i leads from stage i to stage i + 1 */

static pid_t start_stage(int number, double us)
{
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid)
		return pid;
	die_with_parent();
	for (int j = 0; j < STAGES - 1; j++) {
		if (j != number - 1)
			close(pipes[j][0]);
		if (j != number)
			close(pipes[j][1]);
	}
	_exit(stage(number, pipes[number - 1][0], number < STAGES - 1 ? pipes[number][1] : -1, us));
}

static void tell(const struct options *o, uint64_t items, uint64_t ns, const pid_t *pids, pid_t second)
{
	struct truth *t = truth_new("slow_middle", o->fixed ? "fixed" : "broken", o->fixed ? "none" : "slow_consumer");
	if (o->fixed) { /* two of it are still the slowest stage, or the CPUs are */
		truth_tolerate(t, "slow_consumer");
		truth_tolerate(t, "hot_line");
		truth_tolerate(t, "run_queue");
	}
	static const char *const role[STAGES] = {"source", "parse", "transform", "format", "sink"};
	for (int i = 0; i < STAGES; i++)
		truth_process(t, role[i], pids[i]);
	if (second)
		truth_process(t, "transform2", second);
	truth_str(t, "channel", "pipe");
	truth_throughput(t, items, ns);
	truth_wait(t, "parse", "transform", "pipe_write", "pipe", "hand_on", "take", 0, 0);
	truth_wait(t, "format", "transform", "pipe_read", "pipe", "take", "hand_on", ITEM, 0);
	truth_wait(t, "transform", "", "none", "none", "slow_transform", NULL, 0, 0);
	truth_print(t);
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3, .cpu = -1, .work_us = 200};
	options_parse(&o, argc, argv, "seconds rounds work-us fixed help", "one slow stage in a pipeline of five");
	ignore_sigpipe();
	work_calibrate();
	for (int i = 0; i < STAGES - 1; i++)
		if (pipe(pipes[i]) || fcntl(pipes[i][1], F_SETPIPE_SZ, 16384) < 0)
			die("pipe");
	pid_t pids[STAGES] = {getpid()}, second = 0;
	for (int i = 1; i < STAGES; i++)
		pids[i] = start_stage(i, o.work_us);
	if (o.fixed)
		second = start_stage(SLOW, o.work_us);
	for (int i = 0; i < STAGES - 1; i++) {
		close(pipes[i][0]);
		if (i)
			close(pipes[i][1]);
	}
	unsigned char item[ITEM] = {0};
	struct pacer p;
	uint64_t r = 0;
	pacer_start(&p, &o);
	p.every = true;
	for (; pacer_next(&p, r); r++) {
		quick_transform(o.work_us);
		if (!hand_on(pipes[0][1], item))
			die("write");
	}
	close(pipes[0][1]);
	bool ok = true;
	for (int i = 1; i < STAGES; i++)
		ok = reap(pids[i]) && ok;
	if (second)
		ok = reap(second) && ok;
	tell(&o, r, now_ns() - p.start_ns, pids, second);
	return ok ? 0 : 1;
}
