/* SPDX-License-Identifier: Apache-2.0
 *
 * What the walker needs to know of an architecture. unwind_x86_64.c and unwind_aarch64.c implement it, each compiled on its
 * own only.
 */
#ifndef LOCKSTEP_UNWIND_ARCH_H
#define LOCKSTEP_UNWIND_ARCH_H

#include "sampler/unwind/object.h"

#include <elf.h>

#if defined(__x86_64__)
enum { ARCH_REGS = 17, ARCH_FP = 6, ARCH_SP = 7, ARCH_PC = 16, ARCH_RA = 16, ARCH_MACHINE = EM_X86_64 };
#define ARCH_CALLEE_SAVED ((1ull << 3) | (1ull << 6) | (0xfull << 12)) /* rbx, rbp, r12-r15 */
#elif defined(__aarch64__)
enum { ARCH_REGS = 33, ARCH_FP = 29, ARCH_SP = 31, ARCH_PC = 32, ARCH_RA = 30, ARCH_MACHINE = EM_AARCH64 };
#define ARCH_CALLEE_SAVED (0x7ffull << 19) /* x19-x29 */
#else
#error "unwinding: architecture not supported (x86-64 and aarch64 are)"
#endif

/* Takes pointer-authentication bits off a return address. */
static inline uint64_t arch_strip(uint64_t ra)
{
#if defined(__aarch64__)
	return ra & ((1ull << 48) - 1);
#else
	return ra;
#endif
}

/* The small row for these rules, kind ROW_FULL when 8 bytes cannot say it. */
struct unwind_row arch_row(const struct cfi_row *row, uint64_t vaddr);

/* Whether the bytes at vaddr are a signal return trampoline without CFI (musl, static programs). */
bool arch_is_sigreturn(const struct object *obj, uint64_t vaddr);

typedef bool (*arch_read_fn)(void *ctx, uint64_t addr, uint64_t *value);
/* In a trampoline: all registers of the interrupted frame, from the ucontext that the kernel put on the stack. */
bool arch_read_sigframe(struct unwind_regs *regs, arch_read_fn read, void *ctx);

#endif
