/* SPDX-License-Identifier: Apache-2.0
 *
 * aarch64: from DWARF rules to the small row. The return address is x30, saved at some offset below the CFA or, in a leaf,
 * still there.
 */
#if defined(__aarch64__)
#include "sampler/unwind/arch.h"

#include <string.h>

static bool row_fp(const struct cfi_rule *fp, struct unwind_row *out)
{
	switch (fp->kind) {
	case CFI_UNSPECIFIED:
	case CFI_SAME:
		out->fp_rule = FP_SAME;
		return true;
	case CFI_UNDEFINED:
		out->fp_rule = FP_UNKNOWN;
		return true;
	case CFI_AT_CFA:
		out->fp_rule = FP_AT_CFA;
		out->fp_off8 = (int16_t)(fp->value / 8);
		return fp->value % 8 == 0 && fp->value / 8 >= INT16_MIN && fp->value / 8 <= INT16_MAX;
	default:
		return false;
	}
}

static bool row_ra(const struct cfi_rule *ra, struct unwind_row *out)
{
	if (ra->kind == CFI_UNSPECIFIED || ra->kind == CFI_SAME) {
		out->ra_off8 = 0;
		return true;
	}
	if (ra->kind != CFI_AT_CFA || ra->value % 8 != 0 || ra->value >= 0 || ra->value < -8 * UINT8_MAX)
		return false;
	out->ra_off8 = (uint8_t)(-ra->value / 8);
	return true;
}

struct unwind_row arch_row(const struct cfi_row *row, uint64_t vaddr)
{
	(void)vaddr;
	struct unwind_row out = {.kind = ROW_FAST};
	const struct cfi_rule *ra = &row->regs[ARCH_RA];
	bool plain = !row->unsupported && row->ra_reg == ARCH_RA;
	if (plain && ra->kind == CFI_UNDEFINED)
		return (struct unwind_row){.kind = ROW_END};
	plain &= !row->signal && row->cfa.kind == CFI_REGISTER && (row->cfa_reg == ARCH_FP || row->cfa_reg == ARCH_SP) &&
		 row->regs[ARCH_SP].kind == CFI_UNSPECIFIED;
	if (!plain || !row_fp(&row->regs[ARCH_FP], &out) || !row_ra(ra, &out))
		return (struct unwind_row){.kind = ROW_FULL};
	out.base = row->cfa_reg == ARCH_FP ? BASE_FP : BASE_SP;
	out.cfa_off = row->cfa.value;
	return out;
}

bool arch_is_sigreturn(const struct object *obj, uint64_t vaddr)
{
	static const uint8_t code[] = {0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4}; /* mov x8, #139; svc #0 */
	uint8_t bytes[sizeof code];
	return object_read(obj, vaddr, bytes, sizeof bytes) && memcmp(bytes, code, sizeof code) == 0;
}

bool arch_read_sigframe(struct unwind_regs *regs, arch_read_fn read, void *ctx)
{
	/* siginfo (128 bytes), struct ucontext { flags, link, stack, sigmask (128 bytes), pad to 16, fault_address,
	 * x0..x30, sp, pc } */
	uint64_t mcontext = regs->r[ARCH_SP] + 128 + 176;
	struct unwind_regs out = {.valid = (1ull << ARCH_REGS) - 1};
	for (size_t i = 0; i < ARCH_REGS; i++)
		if (!read(ctx, mcontext + 8 + 8 * i, &out.r[i]))
			return false;
	*regs = out;
	return true;
}
#endif
