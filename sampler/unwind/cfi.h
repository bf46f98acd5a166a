/* SPDX-License-Identifier: Apache-2.0
 *
 * Call frame information: from an address to the rules that give the caller's registers. In: .eh_frame_hdr, .eh_frame and
 * .debug_frame of one ELF file (hostile ones too: every read is bounds-checked, every loop consumes input); out: a struct
 * cfi_row with the rule of each register, which the architecture's file turns into the small struct unwind_row of the hot
 * path. Source: DWARF 5 section 6.4, LSB core "Exception frames", System V psABI supplements.
 */
#ifndef LOCKSTEP_CFI_H
#define LOCKSTEP_CFI_H

#include "sampler/unwind/elf_image.h"

#define CFI_REGS 33 /* x86-64 uses 0..16, aarch64 0..32 */

enum cfi_rule_kind {
	CFI_UNSPECIFIED = 0, /* the ABI's default: callee-saved registers are unchanged */
	CFI_UNDEFINED,
	CFI_SAME,
	CFI_AT_CFA,	/* saved at CFA + value */
	CFI_CFA_PLUS,	/* is CFA + value */
	CFI_REGISTER,	/* is in register value */
	CFI_AT_EXPR,	/* saved at the address that the expression gives */
	CFI_EXPR_VALUE, /* is what the expression gives */
};

/* value: bytes, a register number, or the offset of the expression in its section. */
struct cfi_rule {
	uint8_t kind;
	uint16_t expr_len;
	int32_t value;
};

struct cfi_section {
	uint8_t *data; /* owned copy */
	size_t size;
	uint64_t vaddr;
	bool is_debug_frame;
};

struct cfi_row {
	const struct cfi_section *section; /* what expressions are offsets into */
	struct cfi_rule cfa;		   /* CFI_REGISTER: cfa_reg + cfa.value; CFI_EXPR_VALUE; CFI_UNSPECIFIED: none */
	uint8_t cfa_reg;
	uint8_t ra_reg;
	bool signal;	  /* augmentation 'S': the frame below was interrupted, its pc is no return address */
	bool unsupported; /* something in the FDE is beyond this engine: ask libunwind */
	bool ra_signed;	  /* aarch64: return address is signed here */
	struct cfi_rule regs[CFI_REGS];
	uint64_t fde_start, fde_end; /* the function, or the part of it, that the FDE describes */
};

struct cfi;

/* Never NULL but when out of memory; a file without CFI gives one that finds nothing. */
struct cfi *cfi_new(struct elf_image *img);
void cfi_free(struct cfi *cfi);

/* Runs CIE and FDE up to vaddr. False when no FDE covers it. */
bool cfi_find(struct cfi *cfi, uint64_t vaddr, struct cfi_row *row);
/* Only the bounds of the FDE that covers vaddr. */
bool cfi_bounds(struct cfi *cfi, uint64_t vaddr, uint64_t *start, uint64_t *end);
/* Calls fn for each FDE of .eh_frame in address order with the row at its start, until fn returns non-zero. */
void cfi_foreach(struct cfi *cfi, int (*fn)(void *ctx, const struct cfi_row *row), void *ctx);
/* The raw FDE (for libunwind): its section and offset. */
bool cfi_raw(struct cfi *cfi, uint64_t vaddr, const struct cfi_section **section, size_t *fde_offset);

/* ---- the small row of the hot path: 8 bytes ---- */
enum row_kind {
	ROW_EMPTY = 0,	/* nothing cached */
	ROW_FAST,	/* base, fp_rule and offsets say all */
	ROW_END,	/* return address undefined: outermost frame */
	ROW_FULL,	/* needs all registers (expressions, other CFA registers, signal frames) */
	ROW_NO_CFI,	/* an object, but no FDE */
	ROW_NO_OBJECT,	/* executable memory without a file */
	ROW_NO_MAPPING, /* no executable mapping: not code */
};
enum row_base { BASE_SP = 0, BASE_FP, BASE_AT_SP, BASE_AT_FP }; /* CFA = base + off, or the word at base + off */
/* The caller's fp: unchanged; the word at CFA + 8 * fp_off8; that at fp + 8 * fp_off8; not known. */
enum row_fp { FP_SAME = 0, FP_AT_CFA, FP_AT_FP, FP_UNKNOWN };

struct unwind_row {
	int32_t cfa_off;
	int16_t fp_off8;
	uint8_t ra_off8; /* return address at CFA - 8 * ra_off8; 0: still in the link register (aarch64) */
	uint8_t kind : 4, base : 2, fp_rule : 2;
};

#endif
