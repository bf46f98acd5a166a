/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine against libunwind, instruction by instruction: targets are stepped through their work, and at each step both unwind the same
 * registers and the same memory. Prologues, epilogues, the PLT, lazy binding, signal handlers, exceptions and the vdso all pass by.
 */
#include "tests/unit/test_unwind_oracle.h"

#include <alloca.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a C target: forked from the test itself ---- */

static volatile int sink;
static volatile uint64_t sink64;
static char alternate[65536];

#define NOINLINE __attribute__((noinline, noclone))

NOINLINE static int compare_ints(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

NOINLINE static void use_callbacks(void)
{
	int v[] = {5, 3, 9, 1};
	qsort(v, 4, sizeof *v, compare_ints);
	sink += v[0];
}

NOINLINE static void touch(char *p)
{
	p[0] = 1;
	sink += p[0];
}

NOINLINE static void use_alloca(int n) /* CFA from rbp */
{
	char *p = alloca((size_t)n);
	memset(p, 1, (size_t)n);
	touch(p);
}

NOINLINE static void use_alignment(int n) /* realigned stack: DRAP register and DWARF expressions */
{
	char aligned[128] __attribute__((aligned(64)));
	char *p = alloca((size_t)n);
	aligned[n & 127] = 1;
	touch(aligned);
	touch(p);
}

NOINLINE static void use_varargs(const char *fmt, ...)
{
	char text[128];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	sink += text[0];
}

NOINLINE static void use_jumps(void)
{
	jmp_buf env;
	if (setjmp(env) == 0)
		longjmp(env, 1);
	sink++;
}

NOINLINE static void use_vdso(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	sink64 += (uint64_t)ts.tv_nsec;
}

/* Frames as hand-written assembly describes them: rules that compilers seldom emit. Each calls its argument. */
#if defined(__x86_64__)
void frame_by_rbx(void (*call)(void));
void frame_by_expression(void (*call)(void));
void frame_by_skip(void (*call)(void));
void frame_register_rule(void (*call)(void));
void frame_value_rule(void (*call)(void));
void restorer_without_cfi(void);
__asm__(".text\n"
	"frame_by_rbx: .cfi_startproc\n"
	"	push %rbx\n .cfi_def_cfa_offset 16\n .cfi_offset rbx, -16\n"
	"	mov %rsp, %rbx\n .cfi_def_cfa_register rbx\n"
	"	sub $32, %rsp\n call *%rdi\n mov %rbx, %rsp\n .cfi_def_cfa_register rsp\n"
	"	pop %rbx\n .cfi_def_cfa_offset 8\n ret\n .cfi_endproc\n"
	/* CFA = rsp + (4 << 3) */
	"frame_by_expression: .cfi_startproc\n"
	"	sub $24, %rsp\n .cfi_escape 0x0f, 6, 0x77, 0, 0x34, 0x33, 0x24, 0x22\n"
	"	call *%rdi\n add $24, %rsp\n .cfi_def_cfa rsp, 8\n ret\n .cfi_endproc\n"
	/* CFA = rsp + 32, then a branch to the next operation: beyond our evaluator, so this is libunwind's */
	"frame_by_skip: .cfi_startproc\n"
	"	sub $24, %rsp\n .cfi_escape 0x0f, 5, 0x77, 32, 0x2f, 0, 0\n"
	"	call *%rdi\n add $24, %rsp\n .cfi_def_cfa rsp, 8\n ret\n .cfi_endproc\n"
	/* rbp is kept in r12 */
	"frame_register_rule: .cfi_startproc\n"
	"	push %r12\n .cfi_def_cfa_offset 16\n .cfi_offset r12, -16\n"
	"	mov %rbp, %r12\n .cfi_register rbp, r12\n xor %ebp, %ebp\n"
	"	call *%rdi\n mov %r12, %rbp\n .cfi_restore rbp\n"
	"	pop %r12\n .cfi_def_cfa_offset 8\n ret\n .cfi_endproc\n"
	/* rsp is told by a value rule */
	"frame_value_rule: .cfi_startproc\n"
	"	sub $8, %rsp\n .cfi_def_cfa_offset 16\n .cfi_escape 0x14, 7, 0\n"
	"	call *%rdi\n add $8, %rsp\n .cfi_def_cfa_offset 8\n ret\n .cfi_endproc\n"
	"	nop\n"
	"restorer_without_cfi: mov $15, %rax\n syscall\n");

static void frames_5(void)
{
	use_callbacks();
}
static void frames_4(void)
{
	frame_value_rule(frames_5);
}
static void frames_3(void)
{
	frame_register_rule(frames_4);
	frame_value_rule(frames_5);
}
static void frames_2(void)
{
	frame_by_skip(frames_3);
	use_alloca(16);
}
static void frames_1(void)
{
	frame_by_expression(frames_2);
	sink++;
}
NOINLINE static void use_assembly(void)
{
	frame_by_rbx(frames_1);
	sink++;
}

static void on_raw_signal(int sig)
{
	use_alloca(sig);
}

/* As musl and static programs have it: the return trampoline has no CFI and is known by its instructions. */
NOINLINE static void use_raw_signal(void)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		unsigned long mask;
	} action = {on_raw_signal, 0x04000000, restorer_without_cfi, 0};
	syscall(SYS_rt_sigaction, SIGUSR2, &action, NULL, 8);
	raise(SIGUSR2);
}
#else
static void use_assembly(void)
{
}
static void use_raw_signal(void)
{
}
#endif

static void on_signal(int sig)
{
	use_alloca(sig + 20);
	use_varargs("%d", sig);
}

NOINLINE static void use_signals(void)
{
	stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate};
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
	raise(SIGUSR1); /* on the same stack */
	sigaltstack(&ss, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	raise(SIGUSR2);
}

NOINLINE static int recurse(int depth)
{
	if (depth == 0) {
		use_callbacks();
		use_alloca(100);
		use_alignment(100);
		use_varargs("%s %d %.3f", "x", depth, 1.5);
		use_jumps();
		use_vdso();
		use_signals();
		use_assembly();
		use_raw_signal();
		return 1;
	}
	return recurse(depth - 1) + sink;
}

static void *in_thread(void *arg)
{
	return (void *)(intptr_t)recurse((int)(intptr_t)arg);
}

static void c_target(void)
{
	signal(SIGUSR1, on_signal);
	raise(SIGSTOP);
	recurse(4);
	in_thread((void *)2);
	_exit(0);
}

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

/* Mid-way through the jump to an exception's handler (_Unwind_Resume rewrites its own return address) no rules hold: a walk comes to an
 * address outside all code. What libunwind guesses beyond it, by the frame pointer, is noise. */
static size_t in_code(struct stepper *s, const uint64_t *pcs, size_t n)
{
	struct code_location at;
	size_t i = 1;
	while (i < n && address_space_locate(s->as, UNWIND_NOW, pcs[i], true, &at))
		i++;
	return n ? i : 0;
}

/* libunwind ends early where the engine goes on to the true outermost frame: it fails a whole step when one saved register cannot be read
 * (gcc's rules for rbp are wrong for the last two instructions of functions that realign their stack), it knows no registers after a
 * frame-pointer step (.init, .fini and crt code have no CFI), and remotely it cannot pass a signal trampoline without CFI. */
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
	print_message("%zu stacks compared, deepest %zu, different %zu, given up by libunwind %zu; ends: done %zu, truncated %zu, no rule %zu, bad memory %zu\n",
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
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		if (!argv)
			c_target();
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 2);
		unsetenv("LD_BIND_NOW");
		execv(argv[0], argv);
		_exit(127);
	}
	assert_true(pid > 0);
	return pid;
}

static void test_c_program_is_unwound_as_by_libunwind(void **state)
{
	(void)state;
	pid_t pid = start_traced(NULL);
	run_to_stop(pid);
	run_comparison(pid, 60000, 5000, 12);
}

static void test_cxx_exceptions_and_signals_are_unwound_as_by_libunwind(void **state)
{
	(void)state;
	char dir[] = "/tmp/lockstep-unwind-XXXXXX", program[64], command[512];
	assert_non_null(mkdtemp(dir));
	snprintf(program, sizeof program, "%s/target", dir);
	snprintf(command, sizeof command, "c++ -O2 -fomit-frame-pointer -o %s %s/tests/unit/test_unwind_target.cc 2>/dev/null", program, SOURCE_DIR);
	int built = system(command);
	if (built != 0) {
		rmdir(dir);
		print_message("no working c++: C++ stacks are not compared\n");
		skip();
	}
	pid_t pid = start_traced((char *[]){program, NULL});
	run_to_stop(pid);
	unlink(program);
	rmdir(dir);
	run_comparison(pid, 1000000, 5000, 8);
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
