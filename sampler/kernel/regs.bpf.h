/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * User registers at kernel entry, per architecture: system call number, arguments, program counter, stack pointer, and the whole
 * set in DWARF numbering for the unwinder.
 */
#ifndef LOCKSTEP_REGS_BPF_H
#define LOCKSTEP_REGS_BPF_H

#if defined(__TARGET_ARCH_x86)

#define REG_IP(r) ((r)->ip)
#define REG_SP(r) ((r)->sp)
#define REG_NR(r) ((long)(r)->orig_ax) /* negative: entered by an exception or an interrupt */
#define REG_ARG0(r) ((r)->di)
#define REG_ARG1(r) ((r)->si)
#define REG_ARG2(r) ((r)->dx)

static __always_inline void regs_copy(struct pt_regs *r, __u64 *out)
{
	out[0] = r->ax;
	out[1] = r->dx;
	out[2] = r->cx;
	out[3] = r->bx;
	out[4] = r->si;
	out[5] = r->di;
	out[6] = r->bp;
	out[7] = r->sp;
	out[8] = r->r8;
	out[9] = r->r9;
	out[10] = r->r10;
	out[11] = r->r11;
	out[12] = r->r12;
	out[13] = r->r13;
	out[14] = r->r14;
	out[15] = r->r15;
	out[16] = r->ip;
}

/* bpf_perf_event_data begins with the interrupted registers: cs is the 18th word */
#define PERF_CTX_USER_MODE(ctx) ((((__u64 *)(ctx))[17] & 3) != 0)

#define THREAD_POINTER(task) ((task)->thread.fsbase)

#elif defined(__TARGET_ARCH_arm64)

#define REG_IP(r) ((r)->pc)
#define REG_SP(r) ((r)->sp)
#define REG_NR(r) ((long)(r)->syscallno)
#define REG_ARG0(r) ((r)->orig_x0)
#define REG_ARG1(r) ((r)->regs[1])
#define REG_ARG2(r) ((r)->regs[2])

static __always_inline void regs_copy(struct pt_regs *r, __u64 *out)
{
	for (int i = 0; i < 31; i++)
		out[i] = r->regs[i];
	out[31] = r->sp;
	out[32] = r->pc;
}

#define PERF_CTX_USER_MODE(ctx) ((((__u64 *)(ctx))[33] & 0xf) == 0)
#define THREAD_POINTER(task) 0 /* Python thread states are found by native id */

#endif

#endif
