/* SPDX-License-Identifier: Apache-2.0
 *
 * One walk over one stack: its state, shared by the fast walker (unwind.c), the full one (unwind_full.c) and libunwind
 * (fallback.c).
 */
#ifndef LOCKSTEP_WALK_H
#define LOCKSTEP_WALK_H

#include "sampler/unwind/address_space.h"
#include "sampler/unwind/arch.h"

#include <string.h>

#define WALK_PAGE 4096u

struct walk {
	struct address_space *as;
	struct mapping_set *set;
	uint64_t time_ns;
	uint64_t key; /* the set's id in place for the front cache; 0: the cache must not be used (an older time) */
	const struct unwind_regs *regs;
	const struct unwind_provider *provider;
	const struct unwind_memory *mem;
	uint64_t *pcs, *sps;
	size_t n, max;
	enum unwind_end end;
	uint64_t page_addr; /* one page of the live process, read when the snapshot does not have it; 1: none */
	uint8_t page[WALK_PAGE];
};

bool walk_read_slow(struct walk *w, uint64_t addr, uint64_t *value);

static inline bool walk_read(struct walk *w, uint64_t addr, uint64_t *value)
{
	uint64_t off = addr - w->mem->stack_addr;
	if (__builtin_expect(w->mem->stack_len >= 8 && off <= w->mem->stack_len - 8, 1)) {
		memcpy(value, w->mem->stack + off, 8);
		return true;
	}
	return walk_read_slow(w, addr, value);
}

/* The small row at an address of the process. */
struct unwind_row walk_row(struct walk *w, uint64_t addr);

/* Ends the walk because addr could not be read: cut snapshots and wild pointers are different things. */
void walk_end_unreadable(struct walk *w, uint64_t addr);

/* What no CFI covers: the provider's step or a frame-pointer step. Returns false when the walk has ended. */
bool walk_step_foreign(struct walk *w, enum row_kind kind, uint64_t *pc, uint64_t *sp, uint64_t *fp, bool *fp_known);
bool walk_claimed(const struct walk *w, uint64_t addr);

/* Records the caller's frame. False when the walk is over: pc is 0 (done) or there is no room. */
static inline bool walk_push(struct walk *w, uint64_t pc, uint64_t cfa)
{
	if (w->sps)
		w->sps[w->n - 1] = cfa;
	if (pc == 0) {
		w->end = UNWIND_DONE;
		return false;
	}
	if (w->n == w->max) {
		w->end = UNWIND_TRUNCATED;
		return false;
	}
	w->pcs[w->n] = pc;
	if (w->sps)
		w->sps[w->n] = 0;
	w->n++;
	return true;
}

/* The walk with all registers, from the top. */
void walk_full(struct walk *w);

/* One step by libunwind, for rules beyond this engine. Updates regs to the caller's; false: it does not know either. */
bool walk_step_libunwind(struct walk *w, struct unwind_regs *regs, bool is_return);

#endif
