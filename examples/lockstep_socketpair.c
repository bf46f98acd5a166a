/* SPDX-License-Identifier: Apache-2.0
 *
 * Lock-step over a Unix socketpair made before fork, so that SO_PEERCRED of both ends names the parent.
 */
#include "talk.h"

#include <sys/socket.h>
#include <unistd.h>

static void setup(struct link *l, const struct options *o)
{
	int bytes = 1 << 20; /* two batches fit */
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, l->setup))
		die("socketpair");
	if (o->batch > 1)
		setsockopt(l->setup[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

static void parent(struct link *l)
{
	close(l->setup[1]);
	l->rd = l->wr = l->setup[0];
}

static void child(struct link *l)
{
	close(l->setup[0]);
	l->rd = l->wr = l->setup[1];
}

NOINLINE static bool send_message(struct link *l, const unsigned char *buf, size_t n)
{
	while (n > 0) {
		ssize_t r = AT("send", send(l->wr, buf, n, MSG_NOSIGNAL));
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
	ssize_t r = AT("wait_ack", recv(l->rd, &ack, 1, 0));
	return r == 1;
}

NOINLINE static bool wait_for_message(struct link *l, unsigned char *buf, size_t n)
{
	while (n > 0) {
		ssize_t r = AT("wait_message", recv(l->rd, buf, n, 0));
		if (r <= 0)
			return false;
		buf += r;
		n -= (size_t)r;
	}
	return true;
}

NOINLINE static bool send_ack(struct link *l)
{
	ssize_t r = AT("send_ack", send(l->wr, "k", 1, MSG_NOSIGNAL));
	return r == 1;
}

static void finish(struct link *l)
{
	shutdown(l->wr, SHUT_WR);
}

int main(int argc, char **argv)
{
	static const struct transport t = {"lockstep_socketpair",
					   "one message, one ack over a socketpair",
					   "unix",
					   "unix_read",
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
