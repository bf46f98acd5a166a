/* SPDX-License-Identifier: Apache-2.0
 *
 * Eleven clients pass a token round that lets one at a time ask the server. One of them sleeps 2 ms before it asks, while it holds
 * the token; the other ten wait for it, and the server idles. Fixed: nobody sleeps.
 */
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS 11

static int token[CLIENTS][2], calls[2]; /* a pipe into each client; a socketpair to the server */

NOINLINE static bool wait_for_token(int me, char *t)
{
	ssize_t r = AT("wait_token", read(token[me][0], t, 1));
	return r == 1;
}

NOINLINE static bool pass_token(int to, char t)
{
	ssize_t r = AT("pass_token", write(token[to % CLIENTS][1], &t, 1));
	return r == 1;
}

NOINLINE static bool ask_server(void)
{
	char b[64] = "question";
	if (send(calls[0], b, sizeof b, MSG_NOSIGNAL) != (ssize_t)sizeof b)
		return false;
	ssize_t r = AT("ask", recv(calls[0], b, sizeof b, 0));
	return r > 0;
}

NOINLINE static void throttle(void)
{
	struct timespec ts = {0, 2000000};
	int r = AT("throttle", nanosleep(&ts, NULL));
	if (r && errno != EINTR)
		die("nanosleep");
}

static int serve(double us)
{
	char b[64];
	while (recv(calls[1], b, sizeof b, 0) > 0) {
		work_us(us);
		if (send(calls[1], b, sizeof b, MSG_NOSIGNAL) < 0)
			return 0;
	}
	return 0;
}

/* Until the token says the end ('e'), which each passes on; the first to see the deadline turns the token into that. */
static int client(int me, bool brake, uint64_t *count, const uint64_t *deadline)
{
	char t;
	while (wait_for_token(me, &t) && t == 't') {
		if (brake)
			throttle();
		if (!ask_server())
			return 1;
		++*count;
		if (now_ns() >= *deadline)
			break;
		if (!pass_token(me + 1, 't'))
			return 1;
	}
	return pass_token(me + 1, 'e') ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3, .work_us = 20};
	options_parse(&o, argc, argv, "seconds work-us fixed help", "a client that sleeps while others wait for its token");
	ignore_sigpipe();
	work_calibrate();
	for (int i = 0; i < CLIENTS; i++)
		if (pipe(token[i]))
			die("pipe");
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, calls))
		die("socketpair");
	uint64_t *counts = shared_new((CLIENTS + 1) * sizeof *counts), *deadline = counts + CLIENTS;
	*deadline = UINT64_MAX;
	pid_t pids[CLIENTS + 1];
	for (int i = 0; i <= CLIENTS; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("fork");
		if (pids[i] == 0) {
			die_with_parent();
			_exit(i == 0 ? serve(o.work_us) : client(i - 1, i == 1 && !o.fixed, &counts[i - 1], deadline));
		}
	}
	uint64_t start = now_ns(), total = 0;
	*deadline = start + (uint64_t)(o.seconds * 1e9);
	if (!pass_token(0, 't'))
		die("write");
	bool ok = true;
	for (int i = 1; i <= CLIENTS; i++)
		ok = reap(pids[i]) && ok;
	uint64_t ns = now_ns() - start;
	shutdown(calls[0], SHUT_RDWR); /* a datagram reader sees the end by shutdown */
	shutdown(calls[1], SHUT_RDWR);
	ok = reap(pids[0]) && ok;
	struct truth *t = truth_new("own_brake", o.fixed ? "fixed" : "broken", o.fixed ? "none" : "self_paced");
	if (o.fixed) { /* the token still lets one at a time */
		truth_tolerate(t, "lock_convoy");
		truth_tolerate(t, "lockstep");
		truth_tolerate(t, "chatty_hub");
		truth_tolerate(t, "single_server");
		truth_tolerate(t, "n_plus_one");
	}
	truth_process(t, "parent", getpid());
	truth_process(t, "server", pids[0]);
	char name[24];
	for (int i = 0; i < CLIENTS; i++) {
		total += counts[i];
		snprintf(name, sizeof name, i || o.fixed ? "client%d" : "brake", i);
		truth_process(t, name, pids[i + 1]);
	}
	truth_throughput(t, total, ns);
	if (!o.fixed)
		truth_wait(t, "brake", "", "sleep", "timer", "throttle", NULL, 0, counts[0]);
	truth_print(t);
	return ok ? 0 : 1;
}
