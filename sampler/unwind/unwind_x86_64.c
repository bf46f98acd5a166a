/* SPDX-License-Identifier: Apache-2.0
 *
 * x86-64: from DWARF rules to the small row. The return address lies just below the CFA; rbp is the only other register that
 * later frames commonly need.
 */
#if defined(__x86_64__)
#include "sampler/unwind/arch.h"

#include <string.h>

/* "op sleb128 [DW_OP_deref]": a base register, an offset, and whether the word there is meant. */
static bool simple_expression(const uint8_t *e, size_t len, enum row_base *base, int64_t *off, bool *deref)
{
	size_t i = 1;
	uint64_t v = 0;
	unsigned shift = 0;
	if (len < 2 || (e[0] != 0x76 && e[0] != 0x77)) /* DW_OP_breg6, breg7 */
		return false;
	do {
		v |= (uint64_t)(e[i] & 0x7f) << shift;
		shift += 7;
	} while ((e[i++] & 0x80) && i < len && shift < 35);
	if (e[i - 1] & 0x80)
		return false;
	if (e[i - 1] & 0x40)
		v |= ~0ull << shift;
	*base = e[0] == 0x76 ? BASE_FP : BASE_SP;
	*off = (int64_t)v;
	*deref = len == i + 1 && e[i] == 0x06;
	return *deref || len == i;
}

/* The PLT's rule: rsp + 8 + ((rip & 15) >= N ? 8 : 0). Rows are cached by address, so it is constant here. */
static bool plt_expression(const uint8_t *e, size_t len, uint64_t vaddr, int32_t *off)
{
	static const uint8_t head[] = {0x77, 8, 0x80, 0, 0x3f, 0x1a}, tail[] = {0x2a, 0x33, 0x24, 0x22};
	if (len != 11 || memcmp(e, head, 6) != 0 || memcmp(e + 7, tail, 4) != 0 || e[6] < 0x30 || e[6] > 0x3f)
		return false;
	*off = 8 + ((vaddr & 15) >= (uint64_t)(e[6] - 0x30) ? 8 : 0);
	return true;
}

static bool fits_off8(int64_t off)
{
	return off % 8 == 0 && off / 8 >= INT16_MIN && off / 8 <= INT16_MAX;
}

static bool row_cfa(const struct cfi_row *row, uint64_t vaddr, struct unwind_row *out)
{
	enum row_base base;
	int64_t off;
	bool deref;
	if (row->cfa.kind == CFI_REGISTER) {
		out->base = row->cfa_reg == ARCH_FP ? BASE_FP : BASE_SP;
		out->cfa_off = row->cfa.value;
		return row->cfa_reg == ARCH_FP || row->cfa_reg == ARCH_SP;
	}
	const uint8_t *e = row->section->data + row->cfa.value;
	if (plt_expression(e, row->cfa.expr_len, vaddr, &out->cfa_off))
		return true;
	if (!simple_expression(e, row->cfa.expr_len, &base, &off, &deref) || off != (int32_t)off)
		return false;
	out->base = base + (deref ? BASE_AT_SP - BASE_SP : 0);
	out->cfa_off = (int32_t)off;
	return true;
}

static bool row_fp(const struct cfi_row *row, struct unwind_row *out)
{
	const struct cfi_rule *fp = &row->regs[ARCH_FP];
	enum row_base base;
	int64_t off;
	bool deref;
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
		return fits_off8(fp->value);
	case CFI_AT_EXPR:
		out->fp_rule = FP_AT_FP;
		if (!simple_expression(row->section->data + fp->value, fp->expr_len, &base, &off, &deref) || deref ||
		    base != BASE_FP)
			return false;
		out->fp_off8 = (int16_t)(off / 8);
		return fits_off8(off);
	default:
		return false;
	}
}

struct unwind_row arch_row(const struct cfi_row *row, uint64_t vaddr)
{
	struct unwind_row out = {.kind = ROW_FAST, .ra_off8 = 1};
	const struct cfi_rule *ra = &row->regs[ARCH_RA], *sp = &row->regs[ARCH_SP];
	if (!row->unsupported && row->ra_reg == ARCH_RA && ra->kind == CFI_UNDEFINED)
		return (struct unwind_row){.kind = ROW_END};
	bool plain = !row->unsupported && !row->signal && row->ra_reg == ARCH_RA && ra->kind == CFI_AT_CFA && ra->value == -8;
	if (!plain || sp->kind != CFI_UNSPECIFIED || !row_cfa(row, vaddr, &out) || !row_fp(row, &out))
		return (struct unwind_row){.kind = ROW_FULL};
	return out;
}

bool arch_is_sigreturn(const struct object *obj, uint64_t vaddr)
{
	static const uint8_t code[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05}; /* mov $15, %rax; syscall */
	uint8_t bytes[sizeof code];
	return object_read(obj, vaddr, bytes, sizeof bytes) && memcmp(bytes, code, sizeof code) == 0;
}

bool arch_read_sigframe(struct unwind_regs *regs, arch_read_fn read, void *ctx)
{
	/* struct ucontext { flags, link, stack(3 words), r8..r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip } at rsp */
	static const uint8_t order[] = {8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16};
	struct unwind_regs out = {.valid = (1ull << ARCH_REGS) - 1};
	for (size_t i = 0; i < sizeof order; i++)
		if (!read(ctx, regs->r[ARCH_SP] + 40 + 8 * i, &out.r[order[i]]))
			return false;
	*regs = out;
	return true;
}
#endif
