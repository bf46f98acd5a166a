/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <pthread.h>

static void test_durations_are_seconds_with_an_optional_unit(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{"10", 10000000000u},
		{"0.5", 500000000u},
		{"2s", 2000000000u},
		{"5m", 300000000000u},
		{"1h", 3600000000000u},
		{"1e1", 10000000000u},
		{"31622400", 31622400000000000u},
		{".25", 250000000u},
	};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		uint64_t ns = 0;
		struct err err = {""};
		assert_int_equal(parse_duration(good[i].text, &ns, &err), 0);
		assert_int_equal(ns, good[i].ns);
	}
}

static void test_bad_durations_get_a_sentence(void **state)
{
	(void)state;
	static const char *const bad[] = {"",	  "-1",	  "0",	  "-0", "abc",	    "1x",    "1 s", " 1",   "1ss", "nan", "inf",
					  "-inf", "1e99", "0x10", "1d", "31622401", "9999h", "1,5", "10\n", "s",   "."};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		uint64_t ns = 42;
		struct err err = {""};
		assert_int_equal(parse_duration(bad[i], &ns, &err), -EINVAL);
		assert_int_equal(ns, 42);
		assert_true(strlen(err.msg) > 10);
	}
}

static void test_frequencies_are_whole_and_bounded(void **state)
{
	(void)state;
	uint32_t hz = 7;
	struct err err;
	assert_int_equal(parse_frequency("0", &hz, &err), 0);
	assert_int_equal(hz, 0);
	assert_int_equal(parse_frequency("10000", &hz, &err), 0);
	assert_int_equal(hz, 10000);
	static const char *const bad[] = {"", "-1", "+1", "10001", "1.5", "99hz", " 99", "99999999999999999999", "0x10"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		hz = 7;
		assert_int_equal(parse_frequency(bad[i], &hz, &err), -EINVAL);
		assert_int_equal(hz, 7);
		assert_non_null(strstr(err.msg, "frequency"));
	}
}

static void test_counts_are_whole_and_bounded(void **state)
{
	(void)state;
	uint32_t n = 0;
	struct err err;
	assert_int_equal(parse_count("100000", &n, &err), 0);
	assert_int_equal(n, 100000);
	assert_int_equal(parse_count("0", &n, &err), -EINVAL);
	assert_int_equal(parse_count("100001", &n, &err), -EINVAL);
	assert_int_equal(parse_count("-5", &n, &err), -EINVAL);
}

static void test_pid_lists_keep_order_and_drop_repetitions(void **state)
{
	(void)state;
	int32_t *pids = NULL;
	size_t n = 0;
	struct err err;
	assert_int_equal(parse_pids("7,5,7,2147483647", &pids, &n, &err), 0);
	assert_int_equal(parse_pids("5,9", &pids, &n, &err), 0);
	assert_int_equal(n, 4);
	const int32_t expected[] = {7, 5, 2147483647, 9};
	assert_memory_equal(pids, expected, sizeof expected);
	free(pids);
}

static void test_bad_pid_lists_get_a_sentence(void **state)
{
	(void)state;
	static const char *const bad[] = {"",
					  ",",
					  "1,",
					  ",1",
					  "1,,2",
					  "0",
					  "-1",
					  "1,-2",
					  "x",
					  "1 2",
					  "2147483648",
					  "1;2",
					  "99999999999999999999999999999999999999999999"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int32_t *pids = NULL;
		size_t n = 0;
		struct err err = {""};
		assert_int_equal(parse_pids(bad[i], &pids, &n, &err), -EINVAL);
		assert_true(strlen(err.msg) > 10);
		free(pids);
	}
}

static void test_own_pid_is_refused(void **state)
{
	(void)state;
	struct err err = {""};
	assert_int_equal(check_target_pid(getpid(), &err), -EINVAL);
	assert_non_null(strstr(err.msg, "lockstep itself"));
}

static void test_init_above_us_is_refused(void **state)
{
	(void)state;
	struct err err = {""};
	if (getpid() == 1)
		skip();
	assert_int_equal(check_target_pid(1, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "whole machine"));
}

static void test_parent_is_accepted(void **state)
{
	(void)state;
	struct err err = {""};
	if (getppid() <= 1)
		skip();
	assert_int_equal(check_target_pid(getppid(), &err), 0);
}

static void test_a_zombie_is_refused_while_it_lasts_and_after(void **state)
{
	(void)state;
	struct err err = {""};
	siginfo_t info;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(check_target_pid(pid, &err), -ESRCH);
	assert_non_null(strstr(err.msg, "zombie"));
	waitpid(pid, NULL, 0);
	assert_int_equal(check_target_pid(pid, &err), -ESRCH);
	assert_non_null(strstr(err.msg, "no such process"));
}

static pthread_barrier_t barrier;
static void *tell_tid(void *arg)
{
	*(int32_t *)arg = (int32_t)syscall(SYS_gettid);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void test_a_thread_id_is_refused_and_its_process_named(void **state)
{
	(void)state;
	struct err err = {""};
	int32_t tid = 0;
	char name[32];
	pthread_t thread;
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, tell_tid, &tid);
	pthread_barrier_wait(&barrier);
	assert_int_equal(check_target_pid(tid, &err), -EINVAL);
	snprintf(name, sizeof name, "give %d", getpid());
	assert_non_null(strstr(err.msg, name));
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
}

static void test_a_kernel_thread_is_refused(void **state)
{
	(void)state;
	struct err err = {""};
	char comm[32] = "";
	FILE *f = fopen("/proc/2/comm", "r");
	if (!f || !fgets(comm, sizeof comm, f) || strcmp(comm, "kthreadd\n") != 0) {
		if (f)
			fclose(f);
		skip(); /* in a PID namespace of its own there are none */
	}
	fclose(f);
	assert_int_equal(check_target_pid(2, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "kernel thread"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations_are_seconds_with_an_optional_unit),
		cmocka_unit_test(test_bad_durations_get_a_sentence),
		cmocka_unit_test(test_frequencies_are_whole_and_bounded),
		cmocka_unit_test(test_counts_are_whole_and_bounded),
		cmocka_unit_test(test_pid_lists_keep_order_and_drop_repetitions),
		cmocka_unit_test(test_bad_pid_lists_get_a_sentence),
		cmocka_unit_test(test_own_pid_is_refused),
		cmocka_unit_test(test_init_above_us_is_refused),
		cmocka_unit_test(test_parent_is_accepted),
		cmocka_unit_test(test_a_zombie_is_refused_while_it_lasts_and_after),
		cmocka_unit_test(test_a_thread_id_is_refused_and_its_process_named),
		cmocka_unit_test(test_a_kernel_thread_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
