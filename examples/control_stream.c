/* SPDX-License-Identifier: Apache-2.0
 *
 * Healthy: a producer streams messages to a consumer and never waits for an answer. Both compute about the same per message and
 * hand over 8 KiB at a time through a buffer of many such chunks, so neither waits much. --kind pipe|unix|tcp.
 */
#include "common.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK 8192

/* ends[0] reads, ends[1] writes */
static void connect_ends(const char *kind, int ends[2])
{
	if (!strcmp(kind, "pipe")) {
		if (pipe(ends))
			die("pipe");
	} else if (!strcmp(kind, "unix")) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
			die("socketpair");
	} else if (!strcmp(kind, "tcp")) {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t n = sizeof a;
		int l = socket(AF_INET, SOCK_STREAM, 0);
		if (l < 0 || bind(l, (struct sockaddr *)&a, n) || listen(l, 1) || getsockname(l, (struct sockaddr *)&a, &n))
			die("listen");
		ends[1] = socket(AF_INET, SOCK_STREAM, 0);
		if (ends[1] < 0 || connect(ends[1], (struct sockaddr *)&a, n))
			die("connect");
		ends[0] = accept(l, NULL, NULL);
		close(l);
	} else {
		fprintf(stderr, "control_stream: --kind pipe, unix or tcp\n");
		exit(2);
	}
}

NOINLINE static bool take_chunk(int fd, unsigned char *buf)
{
	size_t done = 0;
	while (done < CHUNK) {
		ssize_t r = AT("take", read(fd, buf + done, CHUNK - done));
		if (r <= 0)
			return false;
		done += (size_t)r;
	}
	return true;
}

NOINLINE static bool give_chunk(int fd, const unsigned char *buf)
{
	size_t done = 0;
	while (done < CHUNK) {
		ssize_t r = AT("give", write(fd, buf + done, CHUNK - done));
		if (r <= 0)
			return false;
		done += (size_t)r;
	}
	return true;
}

static int consume(int fd, double us)
{
	static unsigned char buf[CHUNK];
	uint64_t sum = 0;
	while (take_chunk(fd, buf)) {
		sum += checksum(buf, sizeof buf);
		work_us(us);
	}
	return sum == 1; /* keeps the sum alive; practically 0 */
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3, .cpu = -1, .kind = "pipe", .work_us = 60};
	options_parse(&o, argc, argv, "seconds rounds kind pin pace work-us help", "a healthy stream without acknowledgements");
	ignore_sigpipe();
	work_calibrate();
	pin_cpu(o.cpu);
	int ends[2];
	connect_ends(o.kind, ends);
	pid_t child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		die_with_parent();
		close(ends[1]);
		_exit(consume(ends[0], o.work_us));
	}
	close(ends[0]);
	static unsigned char buf[CHUNK];
	struct pacer p;
	uint64_t r = 0;
	for (pacer_start(&p, &o); pacer_next(&p, r); r++) {
		fill_message(buf, sizeof buf, r);
		work_us(o.work_us);
		if (!give_chunk(ends[1], buf))
			die("write");
	}
	close(ends[1]);
	bool ok = reap(child);
	uint64_t ns = now_ns() - p.start_ns;
	struct truth *t = truth_new("control_stream", "control", "none");
	truth_tolerate(t, "hot_line");
	truth_process(t, "producer", getpid());
	truth_process(t, "consumer", child);
	truth_str(t, "channel", o.kind);
	truth_throughput(t, r, ns);
	truth_int(t, "bytes", r * CHUNK);
	truth_print(t);
	return ok ? 0 : 1;
}
