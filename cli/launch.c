/* SPDX-License-Identifier: Apache-2.0
 *
 * fork, wait at a gate, exec. Two pipes: the gate (a byte: go; end of file: lockstep is gone or gave up, do not run) and the outcome
 * (close-on-exec: end of file means the exec succeeded, an int is its errno).
 */
#include "cli/launch.h"

#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static ssize_t read_retry(int fd, void *buf, size_t n)
{
	ssize_t got;
	do
		got = read(fd, buf, n);
	while (got < 0 && errno == EINTR);
	return got;
}

/* The child's side. Nothing here may allocate, print or flush: it shares the parent's buffers. */
static void child_wait_and_exec(int gate, int outcome, char *const argv[])
{
	char go;

	if (read_retry(gate, &go, 1) != 1)
		_exit(EXIT_LOCKSTEP);
	execvp(argv[0], argv);
	int why = errno;
	ssize_t written = write(outcome, &why, sizeof why);
	(void)written; /* the parent is gone: nobody to tell */
	_exit(why == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN);
}

int launch_start(struct launch *l, char *const argv[], struct err *err)
{
	int gate[2], outcome[2];

	memset(l, 0, sizeof *l);
	l->pidfd = l->gate_fd = l->exec_fd = -1;
	if (pipe2(gate, O_CLOEXEC))
		return err_set(err, -errno, "start %s: pipe: %s", argv[0], strerror(errno));
	if (pipe2(outcome, O_CLOEXEC)) {
		int code = -errno;
		close(gate[0]);
		close(gate[1]);
		return err_set(err, code, "start %s: pipe: %s", argv[0], strerror(-code));
	}
	pid_t pid = fork();
	int code = -errno;
	if (pid == 0) {
		close(gate[1]); /* else our own copy would keep the gate's end of file from coming */
		child_wait_and_exec(gate[0], outcome[1], argv);
	}
	close(gate[0]);
	close(outcome[1]);
	if (pid < 0) {
		close(gate[1]);
		close(outcome[0]);
		return err_set(err, code, "start %s: fork: %s", argv[0], strerror(-code));
	}
	l->pid = pid;
	l->gate_fd = gate[1];
	l->exec_fd = outcome[0];
	l->pidfd = (int)syscall(SYS_pidfd_open, pid, 0); /* 5.3; close-on-exec by itself */
	return 0;
}

int launch_release(struct launch *l, struct err *err)
{
	/* A reader that is gone must be an error here, not a SIGPIPE. */
	struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
	sigaction(SIGPIPE, &ignore, &old);
	ssize_t n = write(l->gate_fd, "", 1);
	int code = n == 1 ? 0 : -errno;
	sigaction(SIGPIPE, &old, NULL);
	close_fd(&l->gate_fd);
	return code ? err_set(err, code, "start the command: its process was killed before it could start") : 0;
}

bool launch_exec_ready(struct launch *l)
{
	struct pollfd p = {.fd = l->exec_fd, .events = POLLIN};

	if (l->exec_fd < 0)
		return true;
	if (poll(&p, 1, 0) <= 0)
		return false;
	int why = 0;
	if (read_retry(l->exec_fd, &why, sizeof why) == sizeof why)
		l->exec_errno = why;
	close_fd(&l->exec_fd);
	return true;
}

bool launch_ended(struct launch *l, int observed_status)
{
	siginfo_t info = {0};

	if (l->reaped)
		return true;
	/* Only look (WNOWAIT): of a child that this process traces, the call also tells ptrace stops, which are the tracer's. */
	if (waitid(P_PID, (id_t)l->pid, &info, WEXITED | WNOHANG | WNOWAIT)) {
		if (errno != ECHILD)
			return false;
		l->wait_status = observed_status >= 0 ? observed_status : 0;
		l->reaped = true;
		return true;
	}
	if (info.si_pid != l->pid)
		return false;
	if (info.si_code != CLD_EXITED && info.si_code != CLD_KILLED && info.si_code != CLD_DUMPED)
		return false;
	if (waitpid(l->pid, &l->wait_status, WNOHANG) != l->pid)
		return false;
	l->reaped = true;
	return true;
}

int launch_exit_status(const struct launch *l)
{
	if (l->exec_errno)
		return l->exec_errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN;
	return WIFSIGNALED(l->wait_status) ? 128 + WTERMSIG(l->wait_status) : WEXITSTATUS(l->wait_status);
}

void launch_exec_sentence(const struct launch *l, const char *command, struct err *err)
{
	if (l->exec_errno == ENOENT && !strchr(command, '/'))
		err_set(err, -ENOENT, "run %s: not found in PATH", command);
	else
		err_set(err, -l->exec_errno, "run %s: %s", command, strerror(l->exec_errno));
}

void launch_abandon(struct launch *l)
{
	bool waiting = l->gate_fd >= 0;

	close_fd(&l->gate_fd);
	close_fd(&l->exec_fd);
	if (waiting && !l->reaped)
		while (waitpid(l->pid, &l->wait_status, 0) < 0 && errno == EINTR)
			;
	l->reaped |= waiting;
	close_fd(&l->pidfd);
}
