/* SPDX-License-Identifier: Apache-2.0
 *
 * A bursty producer and a consumer that is fast enough on average, with a pipe of 4 KiB between them: through a burst the producer is
 * held to the consumer's pace, and while the producer computes its next burst the consumer starves. Fixed: a pipe of 1 MiB.
 */
#include "common.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define MESSAGE 1024
#define BURST 256

NOINLINE static bool emit(int fd, const unsigned char *buf)
{
	ssize_t r = AT("emit", write(fd, buf, MESSAGE));
	return r == MESSAGE;
}

NOINLINE static bool take(int fd, unsigned char *buf)
{
	ssize_t r = AT("take", read(fd, buf, MESSAGE));
	return r == MESSAGE;
}

NOINLINE static void prepare_burst(double us)
{
	KEEP(work_us(us));
}

static int consume(int fd, double us)
{
	unsigned char buf[MESSAGE];
	while (take(fd, buf))
		work_us(us);
	return 0;
}

static void tell(const struct options *o, uint64_t messages, uint64_t ns, int capacity, pid_t child)
{
	struct truth *t = truth_new("starved_buffer", o->fixed ? "fixed" : "broken", o->fixed ? "none" : "backpressure");
	if (o->fixed) { /* both compute nearly all the time, at nearly equal speed */
		truth_tolerate(t, "hot_line");
		truth_tolerate(t, "slow_consumer");
		truth_tolerate(t, "slow_producer");
	}
	truth_process(t, "producer", getpid());
	truth_process(t, "consumer", child);
	truth_str(t, "channel", "pipe");
	truth_throughput(t, messages, ns);
	truth_int(t, "capacity_bytes", (uint64_t)capacity);
	truth_int(t, "burst_bytes", BURST * MESSAGE);
	truth_int(t, "message_bytes", MESSAGE);
	truth_wait(t, "producer", "consumer", "pipe_write", "pipe", "emit", "take", 0, 0);
	truth_wait(t, "consumer", "producer", "pipe_read", "pipe", "take", "emit", MESSAGE, 0);
	truth_print(t);
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3, .cpu = -1, .work_us = 20};
	options_parse(&o, argc, argv, "seconds rounds work-us fixed help", "a queue too small for its bursts");
	ignore_sigpipe();
	work_calibrate();
	int fd[2];
	if (pipe(fd))
		die("pipe");
	int capacity = fcntl(fd[1], F_SETPIPE_SZ, o.fixed ? 1 << 20 : 4096);
	if (capacity < 0)
		die("F_SETPIPE_SZ");
	pid_t child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		die_with_parent();
		close(fd[1]);
		_exit(consume(fd[0], o.work_us));
	}
	close(fd[0]);
	static unsigned char buf[MESSAGE];
	struct pacer p;
	uint64_t bursts = 0;
	pacer_start(&p, &o);
	p.every = true;
	for (; pacer_next(&p, bursts); bursts++) {
		prepare_burst(o.work_us * BURST);
		for (int i = 0; i < BURST; i++)
			if (!emit(fd[1], buf))
				die("write");
	}
	close(fd[1]);
	bool ok = reap(child);
	tell(&o, bursts * BURST, now_ns() - p.start_ns, capacity, child);
	return ok ? 0 : 1;
}
