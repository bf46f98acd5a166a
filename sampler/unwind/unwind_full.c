/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk with all registers: for stacks with frames whose CFA or rbp depends on other registers, on expressions, or that were
 * interrupted by a signal. In: registers and memory. Out: return addresses, as the fast walker gives them.
 */
#include "sampler/unwind/dwarf_expr.h"
#include "sampler/unwind/walk.h"

struct step { /* of one frame */
	struct walk *w;
	const struct cfi_row *row;
	const struct unwind_regs *old;
	uint64_t cfa;
	uint64_t unreadable; /* the address that could not be read, for the reason of the end */
	bool cut, unsupported;
};

static bool read_memory(void *ctx, uint64_t addr, uint64_t *value)
{
	struct step *s = ctx;
	if (walk_read(s->w, addr, value))
		return true;
	s->cut = true;
	s->unreadable = addr;
	return false;
}

static bool expression(struct step *s, const struct cfi_rule *rule, const uint64_t *initial, uint64_t *value)
{
	enum dwarf_expr_result r =
		dwarf_expr_eval(s->row->section->data + rule->value, rule->expr_len, s->old, initial, read_memory, s, value);
	s->unsupported |= r == DWARF_EXPR_UNSUPPORTED;
	return r == DWARF_EXPR_OK;
}

static bool known(const struct unwind_regs *regs, unsigned reg)
{
	return reg < ARCH_REGS && (regs->valid >> reg & 1);
}

static bool find_cfa(struct step *s)
{
	const struct cfi_row *row = s->row;
	if (row->cfa.kind == CFI_EXPR_VALUE)
		return expression(s, &row->cfa, NULL, &s->cfa);
	s->cfa = s->old->r[row->cfa_reg] + (uint64_t)(int64_t)row->cfa.value;
	return known(s->old, row->cfa_reg);
}

/* The caller's value of one register. */
static bool apply(struct step *s, unsigned reg, uint64_t *value)
{
	const struct cfi_rule *rule = &s->row->regs[reg];
	uint64_t addr;
	*value = s->old->r[reg];
	switch (rule->kind) {
	case CFI_UNSPECIFIED: /* scratch registers are lost in a call; an interrupted frame still has them */
		return known(s->old, reg) && (ARCH_CALLEE_SAVED >> reg & 1 || reg == ARCH_RA);
	case CFI_SAME:
		return known(s->old, reg);
	case CFI_AT_CFA:
		return read_memory(s, s->cfa + (uint64_t)(int64_t)rule->value, value);
	case CFI_CFA_PLUS:
		*value = s->cfa + (uint64_t)(int64_t)rule->value;
		return true;
	case CFI_REGISTER:
		*value = known(s->old, (unsigned)rule->value) ? s->old->r[rule->value] : 0;
		return known(s->old, (unsigned)rule->value);
	case CFI_AT_EXPR:
		return expression(s, rule, &s->cfa, &addr) && read_memory(s, addr, value);
	case CFI_EXPR_VALUE:
		return expression(s, rule, &s->cfa, value);
	default:
		return false;
	}
}

/* Runs the row's rules. False when the caller's pc cannot be known. */
static bool apply_row(struct step *s, struct unwind_regs *regs)
{
	struct unwind_regs next = {.valid = 0};
	const struct unwind_regs old = *regs;
	s->old = &old;
	if (s->row->unsupported || !find_cfa(s)) {
		s->unsupported |= s->row->unsupported;
		return false;
	}
	for (unsigned reg = 0; reg < ARCH_REGS; reg++) {
		if (reg == s->row->ra_reg || reg == ARCH_SP)
			continue;
		if (apply(s, reg, &next.r[reg]))
			next.valid |= 1ull << reg;
	}
	s->cut = false; /* only what the walk itself needs counts */
	bool sp_given = s->row->regs[ARCH_SP].kind != CFI_UNSPECIFIED;
	uint64_t sp = s->cfa, ra;
	if (!apply(s, s->row->ra_reg, &ra) || (sp_given && !apply(s, ARCH_SP, &sp)))
		return false;
	next.r[ARCH_PC] = arch_strip(ra);
	next.r[ARCH_SP] = sp;
	next.valid |= 1ull << ARCH_PC | 1ull << ARCH_SP;
	if (ARCH_RA != ARCH_PC) { /* x30 keeps what it was restored to */
		next.r[ARCH_RA] = ra;
		next.valid |= 1ull << ARCH_RA;
	}
	*regs = next;
	return true;
}

static bool step_sigframe(struct walk *w, struct unwind_regs *regs)
{
	struct step s = {.w = w};
	if (arch_read_sigframe(regs, read_memory, &s))
		return walk_push(w, regs->r[ARCH_PC], regs->r[ARCH_SP]);
	walk_end_unreadable(w, s.unreadable);
	return false;
}

static bool step_row(struct walk *w, const struct cfi_row *row, struct unwind_regs *regs, bool is_return, bool *interrupted)
{
	struct step s = {.w = w, .row = row};
	const struct unwind_regs before = *regs;
	*interrupted = row->signal;
	if (row->ra_reg < ARCH_REGS && row->regs[row->ra_reg].kind == CFI_UNDEFINED && !row->unsupported) {
		w->end = UNWIND_DONE;
		return false;
	}
	if (!apply_row(&s, regs) && !(s.unsupported && walk_step_libunwind(w, regs, is_return))) {
		if (s.cut)
			walk_end_unreadable(w, s.unreadable);
		else
			w->end = UNWIND_NO_RULE;
		return false;
	}
	/* A signal handler may run on another stack; everything else has its caller above. */
	uint64_t sp = regs->r[ARCH_SP];
	if (!row->signal && (sp < before.r[ARCH_SP] || (sp == before.r[ARCH_SP] && regs->r[ARCH_PC] == before.r[ARCH_PC]))) {
		w->end = UNWIND_BAD_MEMORY;
		return false;
	}
	return walk_push(w, regs->r[ARCH_PC], row->signal ? s.cfa : sp);
}

static bool step_foreign(struct walk *w, enum row_kind kind, struct unwind_regs *regs)
{
	bool fp_known = known(regs, ARCH_FP);
	if (!walk_step_foreign(w, kind, &regs->r[ARCH_PC], &regs->r[ARCH_SP], &regs->r[ARCH_FP], &fp_known))
		return false;
	regs->valid = 1ull << ARCH_PC | 1ull << ARCH_SP | (fp_known ? 1ull << ARCH_FP : 0);
	return true;
}

void walk_full(struct walk *w)
{
	struct unwind_regs regs = *w->regs;
	bool is_return = false, interrupted, more = true;
	while (more) {
		uint64_t addr = regs.r[ARCH_PC] - is_return;
		const struct mapping *m = mapping_set_find(w->set, w->time_ns, addr);
		const struct cfi_row *row = NULL;
		enum row_kind kind = walk_row(w, addr).kind;
		bool claimed = w->provider && walk_claimed(w, addr);
		if (!claimed && (kind == ROW_FAST || kind == ROW_FULL || kind == ROW_END) && m && m->object)
			row = object_full_row(m->object, addr - m->bias);
		interrupted = false;
		if (row) {
			more = step_row(w, row, &regs, is_return, &interrupted);
		} else if (!claimed && kind == ROW_FULL) {
			more = step_sigframe(w, &regs);
			interrupted = true;
		} else {
			more = step_foreign(w, claimed ? ROW_NO_OBJECT : kind, &regs);
		}
		is_return = !interrupted;
	}
}
