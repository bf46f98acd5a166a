/* SPDX-License-Identifier: Apache-2.0
 *
 * DWARF expressions as compilers and C libraries write them into CFI: straight-line arithmetic on registers and memory.
 */
#ifndef LOCKSTEP_DWARF_EXPR_H
#define LOCKSTEP_DWARF_EXPR_H

#include "sampler/unwind/arch.h"

enum dwarf_expr_result {
	DWARF_EXPR_OK = 0,
	DWARF_EXPR_UNSUPPORTED, /* an operation beyond this evaluator (branches, division, ...): ask libunwind */
	DWARF_EXPR_UNKNOWN,	/* needs a register that is not known, or memory that cannot be read */
};

/* initial, when not NULL, is pushed first (the CFA, for register rules). */
enum dwarf_expr_result dwarf_expr_eval(const uint8_t *expr, size_t len, const struct unwind_regs *regs, const uint64_t *initial,
				       arch_read_fn read, void *ctx, uint64_t *value);

#endif
