/* SPDX-License-Identifier: Apache-2.0
 *
 * Lock-step over TCP on the loopback: the child connects to the parent's ephemeral port; both sides set TCP_NODELAY.
 */
#include "talk.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static void no_delay(int fd)
{
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void setup(struct link *l, const struct options *o)
{
	(void)o;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	l->setup[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->setup[0] < 0 || bind(l->setup[0], (struct sockaddr *)&a, sizeof a) || listen(l->setup[0], 1))
		die("listen on 127.0.0.1");
}

static void parent(struct link *l)
{
	l->rd = l->wr = accept(l->setup[0], NULL, NULL);
	if (l->rd < 0)
		die("accept");
	close(l->setup[0]);
	no_delay(l->rd);
}

static void child(struct link *l)
{
	struct sockaddr_in a;
	socklen_t n = sizeof a;
	if (getsockname(l->setup[0], (struct sockaddr *)&a, &n))
		die("getsockname");
	close(l->setup[0]);
	l->rd = l->wr = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->rd < 0 || connect(l->rd, (struct sockaddr *)&a, sizeof a))
		die("connect");
	no_delay(l->rd);
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
	static const struct transport t = {"lockstep_tcp",
					   "one message, one ack over TCP on the loopback",
					   "tcp",
					   "tcp_read",
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
