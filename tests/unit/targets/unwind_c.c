/* SPDX-License-Identifier: Apache-2.0
 *
 * A target of test_unwind_oracle.c: C frames of all kinds, and frames of hand-written assembly. It says "ready" by raising
 * SIGSTOP, then works for a while; the test steps through it instruction by instruction.
 */
#include <alloca.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

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
void traps_at_once(void);
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
	/* ends with a frame of its own; what follows begins without one */
	"ends_with_a_frame: .cfi_startproc\n"
	"	sub $24, %rsp\n .cfi_def_cfa_offset 32\n ud2\n .cfi_endproc\n"
	"traps_at_once: .cfi_startproc\n ud2\n ret\n .cfi_endproc\n"
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

static void on_trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	(void)info;
	use_alloca(sig);
	uc->uc_mcontext.gregs[REG_RIP] += 2;
}

/* The interrupted instruction is the first of its function: looked up at pc - 1 it would be another one. */
NOINLINE static void use_trap(void)
{
	struct sigaction sa = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
	sigaction(SIGILL, &sa, NULL);
	traps_at_once();
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
static void use_trap(void)
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
		use_trap();
		return 1;
	}
	return recurse(depth - 1) + sink;
}

int main(void)
{
	signal(SIGUSR1, on_signal);
	raise(SIGSTOP);
	recurse(4);
	return 0;
}
