/* SPDX-License-Identifier: Apache-2.0
 *
 * In: an expression's bytes, registers, memory. Out: the value on top of its stack. There are no branches, so it ends after
 * at most len operations, whatever the file says. Source: DWARF 5 section 2.5.
 */
#include "sampler/unwind/dwarf_expr.h"
#include "sampler/unwind/cfi_reader.h"

#define STACK_MAX 32

struct evaluator {
	struct cfi_reader r;
	const struct unwind_regs *regs;
	arch_read_fn read;
	void *ctx;
	uint64_t stack[STACK_MAX];
	size_t n;
	enum dwarf_expr_result result;
};

static void push(struct evaluator *e, uint64_t v)
{
	if (e->n == STACK_MAX)
		e->result = DWARF_EXPR_UNSUPPORTED;
	else
		e->stack[e->n++] = v;
}

static uint64_t pop(struct evaluator *e)
{
	if (e->n == 0) {
		e->result = DWARF_EXPR_UNSUPPORTED;
		return 0;
	}
	return e->stack[--e->n];
}

static void push_register(struct evaluator *e, uint64_t reg, int64_t off)
{
	if (reg >= ARCH_REGS || !(e->regs->valid >> reg & 1))
		e->result = DWARF_EXPR_UNKNOWN;
	else
		push(e, e->regs->r[reg] + (uint64_t)off);
}

static void deref(struct evaluator *e)
{
	uint64_t v;
	if (e->read(e->ctx, pop(e), &v))
		push(e, v);
	else
		e->result = DWARF_EXPR_UNKNOWN;
}

/* clang-format off: a table of one-line operations */
static void binary(struct evaluator *e, uint8_t op)
{
	uint64_t b = pop(e), a = pop(e);
	int64_t sa = (int64_t)a, sb = (int64_t)b;
	switch (op) {
	case 0x1a:
		push(e, a & b);
		break;
	case 0x1c:
		push(e, a - b);
		break;
	case 0x1e:
		push(e, a * b);
		break;
	case 0x21:
		push(e, a | b);
		break;
	case 0x22:
		push(e, a + b);
		break;
	case 0x24:
		push(e, b < 64 ? a << b : 0);
		break;
	case 0x25:
		push(e, b < 64 ? a >> b : 0);
		break;
	case 0x27:
		push(e, a ^ b);
		break;
	case 0x29:
		push(e, a == b);
		break;
	case 0x2a:
		push(e, sa >= sb);
		break;
	case 0x2b:
		push(e, sa > sb);
		break;
	case 0x2c:
		push(e, sa <= sb);
		break;
	case 0x2d:
		push(e, sa < sb);
		break;
	case 0x2e:
		push(e, a != b);
		break;
	}
}

static void constant(struct evaluator *e, uint8_t op)
{
	switch (op) {
	case 0x03: /* addr */
	case 0x0e:
	case 0x0f:
		push(e, cfi_read_uint(&e->r, 8));
		break;
	case 0x08:
		push(e, cfi_read_uint(&e->r, 1));
		break;
	case 0x09:
		push(e, (uint64_t)(int64_t)(int8_t)cfi_read_uint(&e->r, 1));
		break;
	case 0x0a:
		push(e, cfi_read_uint(&e->r, 2));
		break;
	case 0x0b:
		push(e, (uint64_t)(int64_t)(int16_t)cfi_read_uint(&e->r, 2));
		break;
	case 0x0c:
		push(e, cfi_read_uint(&e->r, 4));
		break;
	case 0x0d:
		push(e, (uint64_t)(int64_t)(int32_t)cfi_read_uint(&e->r, 4));
		break;
	case 0x10:
		push(e, cfi_read_uleb(&e->r));
		break;
	case 0x11:
		push(e, (uint64_t)cfi_read_sleb(&e->r));
		break;
	}
}

static void stack_operation(struct evaluator *e, uint8_t op)
{
	uint64_t a = pop(e), b;
	switch (op) {
	case 0x12: /* dup */
		push(e, a);
		push(e, a);
		break;
	case 0x13: /* drop */
		break;
	case 0x14: /* over */
		b = pop(e);
		push(e, b);
		push(e, a);
		push(e, b);
		break;
	case 0x16: /* swap */
		b = pop(e);
		push(e, a);
		push(e, b);
		break;
	case 0x1f:
		push(e, 0 - a);
		break;
	case 0x20:
		push(e, ~a);
		break;
	case 0x23:
		push(e, a + cfi_read_uleb(&e->r));
		break;
	}
}

/* clang-format on */
static void operation(struct evaluator *e, uint8_t op)
{
	switch (op) {
	case 0x03:
	case 0x08 ... 0x11:
		constant(e, op);
		break;
	case 0x06:
		deref(e);
		break;
	case 0x12 ... 0x14:
	case 0x16:
	case 0x1f:
	case 0x20:
	case 0x23:
		stack_operation(e, op);
		break;
	case 0x1a:
	case 0x1c:
	case 0x1e:
	case 0x21:
	case 0x22:
	case 0x24:
	case 0x25:
	case 0x27:
	case 0x29 ... 0x2e:
		binary(e, op);
		break;
	case 0x30 ... 0x4f: /* literals */
		push(e, op - 0x30u);
		break;
	case 0x70 ... 0x8f: /* breg */
		push_register(e, op - 0x70u, cfi_read_sleb(&e->r));
		break;
	case 0x92: { /* bregx */
		uint64_t reg = cfi_read_uleb(&e->r);
		push_register(e, reg, cfi_read_sleb(&e->r));
		break;
	}
	case 0x96: /* nop */
		break;
	default:
		e->result = DWARF_EXPR_UNSUPPORTED;
	}
}

enum dwarf_expr_result dwarf_expr_eval(const uint8_t *expr, size_t len, const struct unwind_regs *regs, const uint64_t *initial,
				       arch_read_fn read, void *ctx, uint64_t *value)
{
	struct evaluator e = {.r = {expr, len, 0, 0, false}, .regs = regs, .read = read, .ctx = ctx};
	if (initial)
		push(&e, *initial);
	while (e.r.pos < len && !e.r.failed && e.result == DWARF_EXPR_OK)
		operation(&e, (uint8_t)cfi_read_uint(&e.r, 1));
	if (e.r.failed)
		return DWARF_EXPR_UNSUPPORTED;
	if (e.result == DWARF_EXPR_OK)
		*value = pop(&e);
	return e.result;
}
