/* SPDX-License-Identifier: Apache-2.0
 *
 * A target that watches its watcher: threads wait in epoll_wait, nanosleep, futex, semtimedop, msgrcv and accept, while children are
 * born and die (SIGCHLD is ignored by default, which a ptrace tracer would turn into EINTR). Every return value is
 * checked, every catchable signal counted. Prints {"calls": N, "disturbed": N, "signals": N}; exit 1 when anything was disturbed.
 */
#include "common.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static _Atomic uint64_t calls, disturbed, signals_seen;
static _Atomic bool stop;
static int queue_id, sem_id, listener;
static struct sockaddr_un address;
static socklen_t address_len;

static void on_signal(int sig)
{
	(void)sig;
	atomic_fetch_add(&signals_seen, 1);
}

static void expect(bool good, const char *what)
{
	atomic_fetch_add(&calls, 1);
	if (good)
		return;
	atomic_fetch_add(&disturbed, 1);
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
}

static void *epoll_thread(void *arg)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev;
	while (!atomic_load(&stop))
		expect(epoll_wait(fd, &ev, 1, 1) == 0, "epoll_wait");
	close(fd);
	return arg;
}

static void *sleep_thread(void *arg)
{
	const struct timespec ms = {.tv_nsec = 1000000};
	while (!atomic_load(&stop))
		expect(nanosleep(&ms, NULL) == 0, "nanosleep");
	return arg;
}

static void *futex_thread(void *arg)
{
	uint32_t word = 0;
	const struct timespec ms = {.tv_nsec = 1000000};
	while (!atomic_load(&stop))
		expect(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &ms, NULL, 0) == -1 && errno == ETIMEDOUT, "futex");
	return arg;
}

static void *sem_thread(void *arg)
{
	const struct timespec ms = {.tv_nsec = 1000000};
	while (!atomic_load(&stop)) {
		struct sembuf op = {.sem_op = -1};
		expect(semtimedop(sem_id, &op, 1, &ms) == -1 && errno == EAGAIN, "semtimedop");
	}
	return arg;
}

struct message {
	long type;
	char text[4];
};

static void *queue_thread(void *arg)
{
	struct message m;
	do
		expect(msgrcv(queue_id, &m, sizeof m.text, 0, 0) == sizeof m.text, "msgrcv");
	while (m.text[0] != 'e');
	return arg;
}

static void *accept_thread(void *arg)
{
	char c = 0;
	while (c != 'e') {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		expect(fd >= 0, "accept");
		if (fd < 0)
			continue;
		expect(read(fd, &c, 1) == 1, "read");
		close(fd);
	}
	return arg;
}

static void send_to_both(char c)
{
	struct message m = {.type = 1, .text = {c}};
	msgsnd(queue_id, &m, sizeof m.text, 0);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&address, address_len) == 0 && write(fd, &c, 1) != 1)
		die("write");
	close(fd);
}

static void listen_somewhere(void)
{
	address.sun_family = AF_UNIX;
	int n = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "quiet_target.%d", getpid());
	address_len = offsetof(struct sockaddr_un, sun_path) + 1 + n;
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&address, address_len) || listen(listener, 64))
		die("listen");
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 2};
	options_parse(&o, argc, argv, "seconds help", "checks that nothing disturbs its waits");
	for (int s = 1; s < SIGRTMAX; s++)
		if (s != SIGCHLD && s != SIGKILL && s != SIGSTOP && s != SIGSEGV && s != SIGBUS && s != SIGFPE && s != SIGILL)
			signal(s, on_signal);
	queue_id = msgget(IPC_PRIVATE, 0600);
	sem_id = semget(IPC_PRIVATE, 1, 0600);
	if (queue_id < 0 || sem_id < 0)
		die("SysV objects");
	listen_somewhere();
	void *(*const all[])(void *) = {epoll_thread, sleep_thread, futex_thread, sem_thread, queue_thread, accept_thread};
	enum { N = sizeof all / sizeof *all };
	pthread_t threads[N];
	for (int i = 0; i < N; i++)
		if (pthread_create(&threads[i], NULL, all[i], NULL))
			die("pthread_create");
	uint64_t end = now_ns() + (uint64_t)(o.seconds * 1e9);
	const struct timespec ms = {.tv_nsec = 1000000};
	for (unsigned i = 0; now_ns() < end; i++) {
		send_to_both('m');
		expect(nanosleep(&ms, NULL) == 0, "nanosleep of the main thread");
		if (i % 16)
			continue;
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		int status;
		expect(waitpid(pid, &status, 0) == pid && status == 0, "waitpid");
	}
	atomic_store(&stop, true);
	send_to_both('e');
	for (int i = 0; i < N; i++)
		pthread_join(threads[i], NULL);
	msgctl(queue_id, IPC_RMID, NULL);
	semctl(sem_id, 0, IPC_RMID);
	printf("{\"program\":\"quiet_target\",\"calls\":%llu,\"disturbed\":%llu,\"signals\":%llu}\n", (unsigned long long)calls,
	       (unsigned long long)disturbed, (unsigned long long)signals_seen);
	return disturbed || signals_seen;
}
