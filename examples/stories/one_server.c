/* SPDX-License-Identifier: Apache-2.0
 *
 * Eight clients connect, ask and disconnect; one worker accepts, and needs 15 ms for each request, which it spends waiting: by itself
 * (--kind sleep) or for the answer of a backend process (--kind backend). The others queue in the listener's accept queue.
 * Fixed: eight workers.
 */
#include "common.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS 8
#define SERVICE_NS 15000000

static int listener;
static int backend_calls[CLIENTS][2];
static bool has_backend;

static void pass_time(void)
{
	struct timespec ts = {0, SERVICE_NS};
	nanosleep(&ts, NULL);
}

NOINLINE static void handle_request(int number)
{
	char b = 'q';
	if (!has_backend) {
		struct timespec ts = {0, SERVICE_NS};
		int r = AT("service", nanosleep(&ts, NULL));
		(void)r;
		return;
	}
	if (write(backend_calls[number][0], &b, 1) != 1)
		_exit(1);
	ssize_t r = AT("service_backend", read(backend_calls[number][0], &b, 1));
	if (r != 1)
		_exit(1);
}

NOINLINE static int accept_client(void)
{
	int fd = AT("accept", accept(listener, NULL, NULL));
	return fd;
}

NOINLINE static bool wait_for_reply(int fd)
{
	char b;
	ssize_t r = AT("wait_reply", read(fd, &b, 1));
	return r == 1;
}

static int serve(int number)
{
	char b;
	for (;;) {
		int fd = accept_client();
		if (fd < 0)
			return 1;
		if (read(fd, &b, 1) == 1) {
			handle_request(number);
			if (write(fd, &b, 1) != 1)
				return 1;
		}
		close(fd);
	}
}

static int ask(const struct sockaddr_in *a, const uint64_t *deadline, uint64_t *count)
{
	while (now_ns() < *deadline) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		if (fd < 0 || connect(fd, (const struct sockaddr *)a, sizeof *a) || write(fd, "q", 1) != 1 || !wait_for_reply(fd))
			return 1;
		close(fd);
		++*count;
	}
	return 0;
}

/* One thread per worker, so that the backend is never what is scarce. */
static void *backend_thread(void *arg)
{
	int fd = *(int *)arg;
	char b;
	while (read(fd, &b, 1) == 1) {
		pass_time();
		if (write(fd, &b, 1) != 1)
			break;
	}
	return NULL;
}

static int backend(void)
{
	pthread_t t;
	for (int i = 0; i < CLIENTS; i++)
		if (pthread_create(&t, NULL, backend_thread, &backend_calls[i][1]))
			return 1;
	pause();
	return 0;
}

static pid_t start(int (*fn)(int), int number)
{
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		die_with_parent();
		_exit(fn(number));
	}
	return pid;
}

static int run_backend(int number)
{
	(void)number;
	return backend();
}

static void end(pid_t pid)
{
	kill(pid, SIGTERM);
	reap(pid);
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3, .kind = "sleep"};
	options_parse(&o, argc, argv, "seconds kind fixed help", "eight clients of one server that mostly waits");
	ignore_sigpipe();
	has_backend = !strcmp(o.kind, "backend");
	if (!has_backend && strcmp(o.kind, "sleep")) {
		fprintf(stderr, "one_server: --kind sleep or backend\n");
		return 2;
	}
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&a, n) || listen(listener, 64) ||
	    getsockname(listener, (struct sockaddr *)&a, &n))
		die("listen");
	uint64_t *counts = shared_new((CLIENTS + 1) * sizeof *counts), *deadline = counts + CLIENTS;
	int workers = o.fixed ? CLIENTS : 1;
	pid_t backend_pid = 0, worker[CLIENTS], client[CLIENTS];
	if (has_backend) {
		for (int i = 0; i < CLIENTS; i++)
			if (socketpair(AF_UNIX, SOCK_STREAM, 0, backend_calls[i]))
				die("socketpair");
		backend_pid = start(run_backend, 0);
	}
	for (int i = 0; i < workers; i++)
		worker[i] = start(serve, i);
	uint64_t begin = now_ns(), total = 0;
	*deadline = begin + (uint64_t)(o.seconds * 1e9);
	for (int i = 0; i < CLIENTS; i++) {
		client[i] = fork();
		if (client[i] < 0)
			die("fork");
		if (client[i] == 0) {
			die_with_parent();
			_exit(ask(&a, deadline, &counts[i]));
		}
	}
	bool ok = true;
	for (int i = 0; i < CLIENTS; i++) {
		ok = reap(client[i]) && ok;
		total += counts[i];
	}
	uint64_t ns = now_ns() - begin;
	for (int i = 0; i < workers; i++)
		end(worker[i]);
	if (backend_pid)
		end(backend_pid);
	struct truth *t = truth_new("one_server", o.fixed ? "fixed" : "broken", o.fixed ? "none" : "single_server");
	if (o.fixed) { /* 15 ms are what a request takes */
		truth_tolerate(t, "self_paced");
		truth_tolerate(t, "lockstep");
	}
	truth_process(t, "parent", getpid());
	char name[24];
	for (int i = 0; i < workers; i++) {
		snprintf(name, sizeof name, i || o.fixed ? "server%d" : "server", i);
		truth_process(t, name, worker[i]);
	}
	for (int i = 0; i < CLIENTS; i++) {
		snprintf(name, sizeof name, "client%d", i);
		truth_process(t, name, client[i]);
	}
	if (backend_pid)
		truth_process(t, "backend", backend_pid);
	truth_str(t, "channel", "tcp");
	truth_throughput(t, total, ns);
	truth_num(t, "mean_queue", CLIENTS - workers);
	truth_wait(t, "client", "server", "tcp_read", "tcp", "wait_reply", NULL, 1, total);
	truth_wait(t, "server", has_backend ? "backend" : "", has_backend ? "unix_read" : "sleep", has_backend ? "unix" : "timer",
		   has_backend ? "service_backend" : "service", NULL, 0, total);
	truth_print(t);
	return ok ? 0 : 1;
}
