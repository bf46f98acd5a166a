/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine against libunwind, instruction by instruction: targets are stepped through their work, and at each step both
 * unwind the same registers and the same memory. Prologues, epilogues, the PLT, lazy binding, signal handlers, exceptions
 * and the vdso all pass by.
 */
#include "tests/unit/test_unwind_oracle.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- stepping ---- */

#define FRAMES 128

struct stepper {
	pid_t pid;
	struct object_cache *cache;
	struct address_space *as;
	struct oracle oracle;
	uint8_t stack[256 * 1024];
	size_t compared, deepest, different, gave_up;
	size_t ends[4];
	uint64_t outermost; /* pc of the first walk's last frame */
};

static void describe(struct stepper *s, const char *who, const uint64_t *pcs, size_t n)
{
	print_error("  %s:", who);
	for (size_t i = 0; i < n; i++) {
		struct code_location at;
		address_space_locate(s->as, UNWIND_NOW, pcs[i], i > 0, &at);
		const char *slash = strrchr(at.module, '/');
		print_error(" %s+%lx", slash ? slash + 1 : at.module, at.vaddr);
	}
	print_error("\n");
}

static void snapshot(struct stepper *s, uint64_t sp)
{
	size_t len = 0;
	while (len < sizeof s->stack) {
		size_t n = len == 0 ? 4096 - sp % 4096 : sizeof s->stack - len < 65536 ? sizeof s->stack - len : 65536;
		struct iovec to = {s->stack + len, n}, from = {(void *)(uintptr_t)(sp + len), n};
		ssize_t got = process_vm_readv(s->pid, &to, 1, &from, 1, 0);
		if (got > 0)
			len += (size_t)got;
		if (got != (ssize_t)n)
			break;
	}
	s->oracle.mem = (struct unwind_memory){s->stack, sp, len, s->pid};
}

/* Mid-way through the jump to an exception's handler (_Unwind_Resume rewrites its own return address) no rules hold: a walk
 * comes to an address outside all code. What libunwind guesses beyond it, by the frame pointer, is noise. */
static size_t in_code(struct stepper *s, const uint64_t *pcs, size_t n)
{
	struct code_location at;
	size_t i = 1;
	while (i < n && address_space_locate(s->as, UNWIND_NOW, pcs[i], true, &at))
		i++;
	return n ? i : 0;
}

/* libunwind ends early where the engine goes on to the true outermost frame: it fails a whole step when one saved register
 * cannot be read (gcc's rules for rbp are wrong for the last two instructions of functions that realign their stack), it
 * knows no registers after a frame-pointer step (.init, .fini and crt code have no CFI), and remotely it cannot pass a
 * signal trampoline without CFI. */
static bool gave_up(const struct stepper *s, const uint64_t *own, size_t n, const uint64_t *theirs, size_t k)
{
	return n > k && own[n - 1] == s->outermost && memcmp(own, theirs, k * sizeof *own) == 0;
}

static void compare_once(struct stepper *s)
{
	uint64_t own[FRAMES], theirs[FRAMES];
	enum unwind_end end;
	struct code_location at;
	assert_true(oracle_get_regs(s->pid, &s->oracle.regs));
	snapshot(s, s->oracle.regs.r[7]);
	if (!address_space_locate(s->as, UNWIND_NOW, s->oracle.regs.r[16], false, &at)) {
		assert_int_equal(address_space_scan(s->as, NULL), 0);
		oracle_read_maps(&s->oracle);
	}
	size_t n = unwind_stack(s->as, UNWIND_NOW, &s->oracle.regs, &s->oracle.mem, own, NULL, FRAMES, &end);
	size_t k = oracle_stack(&s->oracle, theirs, FRAMES);
	s->compared++;
	s->ends[end]++;
	s->deepest = n > s->deepest ? n : s->deepest;
	n = in_code(s, own, n);
	k = in_code(s, theirs, k);
	if (s->compared == 1)
		s->outermost = own[n - 1];
	if (n == k && memcmp(own, theirs, n * sizeof *own) == 0)
		return;
	if (gave_up(s, own, n, theirs, k)) {
		s->gave_up++;
		return;
	}
	if (s->different++ < 20) {
		describe(s, "own", own, n);
		describe(s, "libunwind", theirs, k);
	}
}

/* Steps until the process ends or `steps` are done, comparing at each. */
static void step_through(struct stepper *s, size_t steps)
{
	int status, deliver = 0;
	for (size_t i = 0; i < steps; i++) {
		compare_once(s);
		if (ptrace(PTRACE_SINGLESTEP, s->pid, NULL, (void *)(intptr_t)deliver) != 0)
			break;
		assert_int_equal(waitpid(s->pid, &status, __WALL), s->pid);
		if (!WIFSTOPPED(status))
			return;
		deliver = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
	}
}

static void run_comparison(pid_t pid, size_t steps, size_t at_least, size_t depth)
{
	static struct stepper s;
	memset(&s, 0, sizeof s);
	s.pid = pid;
	s.cache = object_cache_new();
	s.as = address_space_new(s.cache, pid);
	assert_int_equal(address_space_scan(s.as, NULL), 0);
	oracle_init(&s.oracle, pid);
	step_through(&s, steps);
	oracle_fini(&s.oracle);
	print_message("%zu stacks compared, deepest %zu, different %zu, given up by libunwind %zu; ends: done %zu, truncated "
		      "%zu, no rule %zu, bad memory %zu\n",
		      s.compared, s.deepest, s.different, s.gave_up, s.ends[0], s.ends[1], s.ends[2], s.ends[3]);
	address_space_free(s.as);
	object_cache_free(s.cache);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_true(s.compared >= at_least);
	assert_true(s.deepest >= depth);
	assert_int_equal(s.different, 0);
	assert_true(s.gave_up <= s.compared / 200);
}

/* Runs until the SIGSTOP by which the target says that its work begins. */
static void run_to_stop(pid_t pid)
{
	int status;
	for (;;) {
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSTOPPED(status));
		if (WSTOPSIG(status) == SIGSTOP)
			return;
		int deliver = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
		assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, (void *)(intptr_t)deliver), 0);
	}
}

static pid_t start_traced(char *const argv[])
{
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody behind */
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 2);
		unsetenv("LD_BIND_NOW");
		unsetenv("LD_PRELOAD");
		execv(argv[0], argv);
		_exit(127);
	}
	assert_true(pid > 0);
	return pid;
}

static void compare_program(const char *compiler, const char *source, size_t at_least, size_t depth)
{
	char program[64];
	if (!target_build(compiler, "-O2 -fomit-frame-pointer -D_GNU_SOURCE", source, program)) {
		print_message("no working %s: %s is not compared\n", compiler, source);
		skip();
	}
	pid_t pid = start_traced((char *[]){program, NULL});
	run_to_stop(pid);
	target_remove(program);
	run_comparison(pid, 1000000, at_least, depth);
}

static void test_c_program_is_unwound_as_by_libunwind(void **state)
{
	(void)state;
	compare_program("cc", "unwind_c.c", 5000, 12);
}

static void test_cxx_exceptions_and_signals_are_unwound_as_by_libunwind(void **state)
{
	(void)state;
	compare_program("c++", "unwind_cxx.cc", 5000, 8);
}

static void test_python_is_unwound_as_by_libunwind(void **state)
{
	(void)state;
	static const char program[] = "import os, signal\n"
				      "os.kill(os.getpid(), signal.SIGSTOP)\n"
				      "def f(n): return sorted([str(i) for i in range(n)], key=len)\n"
				      "class C:\n"
				      "    def __lt__(self, o): return bool(f(3))\n"
				      "sorted([C() for i in range(5)])\n";
	if (access("/usr/bin/python3", X_OK) != 0)
		skip();
	pid_t pid = start_traced((char *[]){"/usr/bin/python3", "-S", "-c", (char *)program, NULL});
	run_to_stop(pid);
	run_comparison(pid, 30000, 10000, 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_c_program_is_unwound_as_by_libunwind),
		cmocka_unit_test(test_cxx_exceptions_and_signals_are_unwound_as_by_libunwind),
		cmocka_unit_test(test_python_is_unwound_as_by_libunwind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
