/* SPDX-License-Identifier: Apache-2.0
 *
 * Lock-step over two pipes: the parent writes a 200-byte message, the child reads it and answers one byte. --batch 1000 is
 * the fixed variant. --pin 0 puts both on one CPU, the dearest case for a profiler.
 */
#include "talk.h"

#include <fcntl.h>
#include <unistd.h>

static void setup(struct link *l, const struct options *o)
{
	if (pipe(l->setup) || pipe(l->setup + 2))
		die("pipe");
	if (2 * o->size * o->batch > 65536) /* two batches fit */
		(void)!fcntl(l->setup[1], F_SETPIPE_SZ, 1 << 20);
}

static void parent(struct link *l)
{
	close(l->setup[0]);
	close(l->setup[3]);
	l->wr = l->setup[1];
	l->rd = l->setup[2];
}

static void child(struct link *l)
{
	close(l->setup[1]);
	close(l->setup[2]);
	l->rd = l->setup[0];
	l->wr = l->setup[3];
}

NOINLINE static bool send_message(struct link *l, const unsigned char *buf, size_t n)
{
	while (n > 0) {
		ssize_t r = AT("send", write(l->wr, buf, n));
		if (r <= 0)
			return false;
		buf += r;
		n -= (size_t)r;
	}
	return true;
}

NOINLINE static bool wait_for_ack(struct link *l)
{
	char ack;
	ssize_t r = AT("wait_ack", read(l->rd, &ack, 1));
	return r == 1;
}

NOINLINE static bool wait_for_message(struct link *l, unsigned char *buf, size_t n)
{
	while (n > 0) {
		ssize_t r = AT("wait_message", read(l->rd, buf, n));
		if (r <= 0)
			return false;
		buf += r;
		n -= (size_t)r;
	}
	return true;
}

NOINLINE static bool send_ack(struct link *l)
{
	ssize_t r = AT("send_ack", write(l->wr, "k", 1));
	return r == 1;
}

static void finish(struct link *l)
{
	close(l->wr);
}

int main(int argc, char **argv)
{
	static const struct transport t = {"lockstep_pipe",
					   "one message, one ack over pipes",
					   "pipe",
					   "pipe_read",
					   true,
					   setup,
					   parent,
					   child,
					   send_message,
					   wait_for_ack,
					   wait_for_message,
					   send_ack,
					   finish};
	return talk_main(&t, argc, argv);
}
