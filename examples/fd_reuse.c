/* SPDX-License-Identifier: Apache-2.0
 *
 * One descriptor number, ever another object: the reader waits on a pipe, is woken, closes it, and gets a socketpair's end under the
 * same number for its next wait, and so on. Whoever looks a descriptor up after the wait finds the wrong object.
 */
#include "common.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOT 40

static int go[2]; /* the reader tells the writer which kind comes next */

NOINLINE static bool read_pipe(void)
{
	char b[8];
	ssize_t r = AT("read_pipe", read(SLOT, b, sizeof b));
	return r == 4;
}

NOINLINE static bool read_socket(void)
{
	char b[8];
	ssize_t r = AT("read_socket", read(SLOT, b, sizeof b));
	return r == 4;
}

/* Writers' ends live in the child, made before fork, by turns: each pair is used once. */
static int writer(int (*ends)[2], uint64_t n)
{
	char b;
	for (uint64_t i = 0; i < n; i++) {
		if (read(go[0], &b, 1) != 1)
			return 1;
		struct timespec ts = {0, 2000000}; /* long enough that the reader blocks */
		nanosleep(&ts, NULL);
		if (write(ends[i][1], "feed", 4) != 4)
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = {.rounds = 200};
	options_parse(&o, argc, argv, "rounds help", "one descriptor number for ever other pipes and sockets");
	if (o.rounds > 400) {
		fprintf(stderr, "fd_reuse: --rounds up to 400\n");
		return 2;
	}
	int ends[400][2], reserved = open("/dev/null", O_RDONLY);
	if (pipe(go) || dup2(reserved, SLOT) != SLOT) /* keeps the slot out of the pairs' hands */
		die("pipe");
	for (uint64_t i = 0; i < o.rounds; i++)
		if (i % 2 ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]) : pipe(ends[i]))
			die("pipe");
	pid_t child = fork();
	if (child == 0) {
		die_with_parent();
		_exit(writer(ends, o.rounds));
	}
	uint64_t pipes = 0, sockets = 0, start = now_ns();
	for (uint64_t i = 0; i < o.rounds; i++) {
		if (dup2(ends[i][0], SLOT) != SLOT || write(go[1], "g", 1) != 1)
			die("dup2");
		bool ok = i % 2 ? read_socket() : read_pipe();
		if (!ok)
			die("read");
		*(i % 2 ? &sockets : &pipes) += 1;
	}
	uint64_t ns = now_ns() - start;
	bool ok = reap(child);
	struct truth *t = truth_new("fd_reuse", "control", "none");
	truth_tolerate(t, "self_paced");
	truth_tolerate(t, "lockstep");
	truth_process(t, "reader", getpid());
	truth_process(t, "writer", child);
	truth_throughput(t, o.rounds, ns);
	truth_wait(t, "reader", "writer", "pipe_read", "pipe", "read_pipe", NULL, 4, pipes);
	truth_wait(t, "reader", "writer", "unix_read", "unix", "read_socket", NULL, 4, sockets);
	truth_print(t);
	return ok ? 0 : 1;
}
