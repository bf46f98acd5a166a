/* SPDX-License-Identifier: Apache-2.0
 *
 * What the child of lockstep sees and what lockstep sees of it. No backend, no privileges.
 */
#include "cli/launch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void start(struct launch *l, const char *script)
{
	char *argv[] = {(char *)"/bin/sh", (char *)"-c", (char *)script, NULL};
	struct err err = {""};
	assert_int_equal(launch_start(l, argv, &err), 0);
	assert_true(l->pid > 0);
}

/* Waits through the pidfd, as the session does. */
static void wait_end(struct launch *l)
{
	struct err err = {""};
	assert_int_equal(launch_release(l, &err), 0);
	while (!launch_exec_ready(l) || !launch_ended(l, -1)) {
		struct pollfd p[2] = {{.fd = l->pidfd, .events = POLLIN}, {.fd = l->exec_fd, .events = POLLIN}};
		poll(p, 2, 100);
	}
	launch_abandon(l);
}

static int status_of(const char *script)
{
	struct launch l;
	start(&l, script);
	wait_end(&l);
	return launch_exit_status(&l);
}

static void test_exit_codes_and_signals_pass(void **state)
{
	(void)state;
	assert_int_equal(status_of("exit 0"), 0);
	assert_int_equal(status_of("exit 1"), 1);
	assert_int_equal(status_of("exit 125"), 125);
	assert_int_equal(status_of("exit 255"), 255);
	assert_int_equal(status_of("kill -TERM $$"), 128 + SIGTERM);
	assert_int_equal(status_of("kill -KILL $$"), 128 + SIGKILL);
	assert_int_equal(status_of("ulimit -c 0; kill -SEGV $$"), 128 + SIGSEGV);
}

static void test_a_command_that_cannot_be_executed_is_told_apart(void **state)
{
	(void)state;
	static const struct {
		const char *name, *sentence;
		int status;
	} bad[] = {
		{"no-such-command-anywhere", "not found in PATH", 127},
		{"/no/such/file", "No such file", 127},
		{"/etc/passwd", "Permission denied", 126},
		{"/", "Permission denied", 126},
		{"/etc/passwd/x", "Not a directory", 126},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct launch l;
		struct err err = {""};
		char *argv[] = {(char *)bad[i].name, NULL};
		assert_int_equal(launch_start(&l, argv, &err), 0);
		wait_end(&l);
		assert_int_equal(launch_exit_status(&l), bad[i].status);
		launch_exec_sentence(&l, bad[i].name, &err);
		assert_non_null(strstr(err.msg, bad[i].name));
		if (!strstr(err.msg, bad[i].sentence))
			fail_msg("%s", err.msg);
	}
}

static bool exists(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0;
}

static void test_an_abandoned_command_never_ran(void **state)
{
	(void)state;
	char path[] = "/tmp/test_cli_launch.XXXXXX", script[128];
	close(mkstemp(path));
	unlink(path);
	snprintf(script, sizeof script, "echo ran > %s", path);
	struct launch l;
	start(&l, script);
	launch_abandon(&l);
	assert_false(exists(path));
	assert_int_equal(kill(l.pid, 0), -1);
	assert_int_equal(errno, ESRCH);
}

static void test_a_command_does_not_run_when_its_starter_dies_before_the_release(void **state)
{
	(void)state;
	char path[] = "/tmp/test_cli_launch.XXXXXX", script[128];
	int tell[2];
	pid_t grandchild = 0;

	close(mkstemp(path));
	unlink(path);
	snprintf(script, sizeof script, "echo ran > %s", path);
	assert_int_equal(pipe2(tell, O_CLOEXEC), 0);
	pid_t starter = fork();
	if (starter == 0) {
		struct launch l;
		start(&l, script);
		ssize_t n = write(tell[1], &l.pid, sizeof l.pid);
		(void)n;
		raise(SIGKILL);
	}
	close(tell[1]);
	assert_int_equal(read(tell[0], &grandchild, sizeof grandchild), sizeof grandchild);
	waitpid(starter, NULL, 0);
	/* Its copy of the pipe's write end is the last one: end of file tells that it has ended. */
	assert_int_equal(read(tell[0], &grandchild, 1), 0);
	close(tell[0]);
	assert_false(exists(path));
}

static void test_a_child_killed_before_the_release_is_an_error_and_no_death_of_ours(void **state)
{
	(void)state;
	struct launch l;
	struct err err = {""};
	siginfo_t info;
	start(&l, "exit 0");
	kill(l.pid, SIGKILL);
	waitid(P_PID, (id_t)l.pid, &info, WEXITED | WNOWAIT);
	assert_int_equal(launch_release(&l, &err), -EPIPE);
	assert_true(launch_ended(&l, -1));
	assert_int_equal(launch_exit_status(&l), 128 + SIGKILL);
	launch_abandon(&l);
}

/* "|0|1|2|...|": what is open here and not close-on-exec. */
static void inheritable_fds(char *list, size_t size)
{
	size_t n = (size_t)snprintf(list, size, "|");
	for (int fd = 0; fd < 1024; fd++) {
		int flags = fcntl(fd, F_GETFD);
		if (flags >= 0 && !(flags & FD_CLOEXEC))
			n += (size_t)snprintf(list + n, size - n, "%d|", fd);
	}
}

static void test_the_child_sees_what_lockstep_was_started_with(void **state)
{
	(void)state;
	/* Files: exactly those open now that are not close-on-exec. Signals: what is ignored stays ignored, nothing is blocked. */
	int inherited = dup(0), own = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char list[512], script[1200];

	inheritable_fds(list, sizeof list);
	signal(SIGUSR1, SIG_IGN);
	snprintf(script, sizeof script,
		 "[ -e /proc/self/fd/%d ] || exit 1; [ ! -e /proc/self/fd/%d ] || exit 2;"
		 "for f in /proc/$$/fd/*; do n=${f##*/}; case '%s' in *\"|$n|\"*) ;; *) [ -e $f ] && exit 3;; esac; done;"
		 "grep -q 'SigBlk:[[:space:]]*0000000000000000' /proc/self/status || exit 4;"
		 "grep -q 'SigIgn:[[:space:]]*0000000000000200' /proc/self/status || exit 5; exit 0",
		 inherited, own, list);
	assert_int_equal(status_of(script), 0);
	signal(SIGUSR1, SIG_DFL);
	close(inherited);
	close(own);
}

static void test_the_child_stays_in_our_process_group_and_session(void **state)
{
	(void)state;
	struct launch l;
	start(&l, "exit 0");
	assert_int_equal(getpgid(l.pid), getpgid(0));
	assert_int_equal(getsid(l.pid), getsid(0));
	wait_end(&l);
}

static void test_a_status_reaped_by_somebody_else_is_taken_from_the_observation(void **state)
{
	(void)state;
	struct launch l;
	struct err err = {""};
	int status = 0;
	start(&l, "exit 7");
	assert_int_equal(launch_release(&l, &err), 0);
	assert_int_equal(waitpid(l.pid, &status, 0), l.pid);
	assert_true(launch_ended(&l, status));
	assert_int_equal(launch_exit_status(&l), 7);
	launch_abandon(&l);
}

static void test_stops_of_a_traced_child_are_left_to_the_tracer(void **state)
{
	(void)state;
	struct launch l;
	struct err err = {""};
	siginfo_t info = {0};
	int status = 0;

	start(&l, "exit 3");
	if (ptrace(PTRACE_SEIZE, l.pid, NULL, (void *)(long)PTRACE_O_TRACEEXEC)) {
		launch_abandon(&l);
		skip();
	}
	assert_int_equal(launch_release(&l, &err), 0);
	assert_int_equal(waitid(P_PID, (id_t)l.pid, &info, WEXITED | WSTOPPED | WNOWAIT), 0); /* the exec stop is there */
	assert_false(launch_ended(&l, -1));
	assert_int_equal(waitpid(l.pid, &status, 0), l.pid);
	assert_int_equal(status >> 8, SIGTRAP | PTRACE_EVENT_EXEC << 8);
	assert_int_equal(ptrace(PTRACE_DETACH, l.pid, NULL, NULL), 0);
	while (!launch_exec_ready(&l) || !launch_ended(&l, -1)) {
		struct pollfd p = {.fd = l.pidfd, .events = POLLIN};
		poll(&p, 1, 100);
	}
	assert_int_equal(launch_exit_status(&l), 3);
	launch_abandon(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_codes_and_signals_pass),
		cmocka_unit_test(test_a_command_that_cannot_be_executed_is_told_apart),
		cmocka_unit_test(test_an_abandoned_command_never_ran),
		cmocka_unit_test(test_a_command_does_not_run_when_its_starter_dies_before_the_release),
		cmocka_unit_test(test_a_child_killed_before_the_release_is_an_error_and_no_death_of_ours),
		cmocka_unit_test(test_the_child_sees_what_lockstep_was_started_with),
		cmocka_unit_test(test_the_child_stays_in_our_process_group_and_session),
		cmocka_unit_test(test_a_status_reaped_by_somebody_else_is_taken_from_the_observation),
		cmocka_unit_test(test_stops_of_a_traced_child_are_left_to_the_tracer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
