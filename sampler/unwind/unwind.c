/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast walker. In: registers and stack memory. Out: return addresses.
 *
 * It follows pc, sp and fp only. Each frame costs one probe of the front cache, a direct-mapped table of (mappings, pc) ->
 * 8-byte row that all processes share, and one or two loads from the snapshot. A frame whose rules need more starts the
 * walk anew with all registers (unwind_full.c): rare enough to be cheaper than following them always.
 */
#include "sampler/unwind/walk.h"

#include <sys/uio.h>

/* ---- memory ---- */

bool unwind_memory_read(const struct unwind_memory *mem, uint64_t addr, void *buf, size_t len)
{
	uint64_t off = addr - mem->stack_addr;
	if (len <= mem->stack_len && off <= mem->stack_len - len) {
		memcpy(buf, mem->stack + off, len);
		return true;
	}
	struct iovec to = {buf, len}, from = {(void *)(uintptr_t)addr, len};
	return mem->pid > 0 && process_vm_readv(mem->pid, &to, 1, &from, 1, 0) == (ssize_t)len;
}

bool walk_read_slow(struct walk *w, uint64_t addr, uint64_t *value)
{
	uint64_t page = addr & ~(uint64_t)(WALK_PAGE - 1), off = addr - page;
	if (w->mem->pid <= 0)
		return false;
	if (off > WALK_PAGE - 8)
		return unwind_memory_read(w->mem, addr, value, 8);
	if (w->page_addr != page) {
		struct iovec to = {w->page, WALK_PAGE}, from = {(void *)(uintptr_t)page, WALK_PAGE};
		w->page_addr = 1;
		if (process_vm_readv(w->mem->pid, &to, 1, &from, 1, 0) != WALK_PAGE)
			return false;
		w->page_addr = page;
	}
	memcpy(value, w->page + off, 8);
	return true;
}

void walk_end_unreadable(struct walk *w, uint64_t addr)
{
	/* Just above the snapshot lies the part of the stack that was not copied. */
	uint64_t top = w->mem->stack_addr + w->mem->stack_len;
	bool cut = w->mem->pid == 0 && w->mem->stack_len > 0 && addr + 8 > top && addr - top < (64u << 20);
	w->end = cut ? UNWIND_TRUNCATED : UNWIND_BAD_MEMORY;
}

/* ---- rows ---- */

static struct unwind_row find_row(struct walk *w, uint64_t addr)
{
	const struct mapping *m = mapping_set_find(w->set, w->time_ns, addr);
	if (!m || !m->executable)
		return (struct unwind_row){.kind = ROW_NO_MAPPING};
	if (!m->object)
		return (struct unwind_row){.kind = ROW_NO_OBJECT};
	return object_row(m->object, addr - m->bias);
}

static inline struct front_entry *front_slot(struct walk *w, uint64_t key)
{
	return &w->as->cache->front[(key * 0x9e3779b97f4a7c15ull) >> (64 - FRONT_BITS)];
}

/* Without a set id (older times) and for addresses above 2^47 the key would not be exact: such rows are not kept. room is
 * where a row lies that has no place in the front cache. */
static __attribute__((noinline)) struct front_entry *front_miss(struct walk *w, uint64_t addr, struct front_entry *room)
{
	uint64_t key = w->key | addr;
	struct front_entry *e = front_slot(w, key);
	bool exact = w->key && addr >> 47 == 0;
	if (exact && e->key == key)
		return e;
	*room = (struct front_entry){.key = key, .row = find_row(w, addr), .caller = room};
	if (!exact)
		return room;
	*e = *room;
	e->caller = e;
	return e;
}

/* A function has few callers, and a stack comes back and back: the entry of the frame below remembers where its caller's
 * was. That guess is checked like any other hit, but the next frame need not wait for this one's return address to be
 * loaded and hashed. */
static inline struct front_entry *front_entry_of(struct walk *w, uint64_t addr, struct front_entry *below,
						 struct front_entry *room)
{
	uint64_t key = w->key | addr;
	struct front_entry *e = below->caller;
	if (__builtin_expect(e->key == key && e != room, 1))
		return e;
	e = front_slot(w, key);
	if (e->key != key || !w->key || addr >> 47 != 0)
		e = front_miss(w, addr, room);
	if (e != room)
		below->caller = e;
	return e;
}

struct unwind_row walk_row(struct walk *w, uint64_t addr)
{
	struct front_entry room;
	return front_miss(w, addr, &room)->row;
}

/* ---- frames without CFI ---- */

bool walk_claimed(const struct walk *w, uint64_t addr)
{
	for (size_t i = 0; i < w->provider->n_regions; i++)
		if (addr >= w->provider->regions[i].start && addr < w->provider->regions[i].end)
			return true;
	return false;
}

/* A saved fp and, above it, a return address into code: the layout of every frame-pointer ABI here. */
static bool step_frame_pointer(struct walk *w, uint64_t *pc, uint64_t *sp, uint64_t *fp)
{
	uint64_t next_fp, ra;
	if (*fp < *sp || *fp % 8 != 0)
		return false;
	if (!walk_read(w, *fp, &next_fp) || !walk_read(w, *fp + 8, &ra))
		return false;
	ra = arch_strip(ra);
	if (ra != 0 && walk_row(w, ra - 1).kind == ROW_NO_MAPPING && !w->provider)
		return false;
	*pc = ra;
	*sp = *fp + 16;
	*fp = next_fp;
	return true;
}

bool walk_step_foreign(struct walk *w, enum row_kind kind, uint64_t *pc, uint64_t *sp, uint64_t *fp, bool *fp_known)
{
	if (w->provider && w->provider->step) {
		uint64_t new_pc = *pc, new_sp = *sp, new_fp = *fp_known ? *fp : 0;
		enum unwind_step step = w->provider->step(w->provider->ctx, &new_pc, &new_sp, &new_fp, w->mem);
		if (step == UNWIND_STEP_END || (step == UNWIND_STEP_OK && new_sp <= *sp)) {
			w->end = step == UNWIND_STEP_END ? UNWIND_DONE : UNWIND_NO_RULE;
			return false;
		}
		if (step == UNWIND_STEP_OK) {
			*pc = new_pc;
			*sp = new_sp;
			*fp = new_fp;
			*fp_known = new_fp != 0;
			return walk_push(w, *pc, *sp);
		}
	}
	if (kind == ROW_NO_MAPPING || !*fp_known || *fp == 0 || !step_frame_pointer(w, pc, sp, fp)) {
		w->end = kind != ROW_NO_MAPPING && *fp_known && *fp == 0 ? UNWIND_DONE : UNWIND_NO_RULE;
		return false;
	}
	return walk_push(w, *pc, *sp);
}

/* ---- the walk ---- */

struct registers { /* all that the fast walker follows */
	uint64_t pc, sp, fp;
	bool fp_known;
};

static inline bool step_fast(struct walk *w, const struct unwind_row *row, struct registers *r)
{
	unsigned base = row->base, fp_rule = row->fp_rule;
	uint64_t ra, at, cfa = (base & 1 ? r->fp : r->sp) + (uint64_t)(int64_t)row->cfa_off;
	if (__builtin_expect(!r->fp_known && ((base & 1) || fp_rule == FP_AT_FP), 0)) {
		w->end = UNWIND_NO_RULE;
		return false;
	}
	if (base >= BASE_AT_SP && !walk_read(w, at = cfa, &cfa)) {
		walk_end_unreadable(w, at);
		return false;
	}
	/* A caller's frame lies above. Where it does not, fp was not what the rules take it for. */
	if (__builtin_expect(cfa < r->sp || (cfa == r->sp && row->ra_off8 != 0), 0)) {
		w->end = UNWIND_BAD_MEMORY;
		return false;
	}
	at = cfa - 8u * row->ra_off8;
	if (row->ra_off8 == 0) {
		ra = w->regs->r[ARCH_RA];
	} else if (!walk_read(w, at, &ra)) {
		walk_end_unreadable(w, at);
		return false;
	}
	if (fp_rule != FP_SAME) {
		at = (fp_rule == FP_AT_FP ? r->fp : cfa) + (uint64_t)(int64_t)row->fp_off8 * 8;
		r->fp_known = fp_rule != FP_UNKNOWN && walk_read(w, at, &r->fp);
	}
	r->sp = cfa;
	r->pc = arch_strip(ra);
	return walk_push(w, r->pc, cfa);
}

/* False: a frame needs all registers. */
static bool walk_fast(struct walk *w)
{
	struct registers r = {w->regs->r[ARCH_PC], w->regs->r[ARCH_SP], w->regs->r[ARCH_FP], w->regs->valid >> ARCH_FP & 1};
	bool lr_known = w->regs->valid >> ARCH_RA & 1, more = true;
	struct front_entry room, *entry = front_miss(w, r.pc, &room);
	for (uint64_t is_return = 0; more; is_return = 1) {
		uint64_t addr = r.pc - is_return;
		if (is_return)
			entry = front_entry_of(w, addr, entry, &room);
		const struct unwind_row *row = &entry->row;
		enum row_kind kind = row->kind;
		if (w->provider && walk_claimed(w, addr))
			kind = ROW_NO_OBJECT;
		if (__builtin_expect(kind == ROW_FAST, 1)) {
			if (row->ra_off8 == 0 && !lr_known)
				return false;
			more = step_fast(w, row, &r);
		} else if (kind == ROW_END) {
			w->end = UNWIND_DONE;
			more = false;
		} else if (kind == ROW_FULL) {
			return false;
		} else {
			more = walk_step_foreign(w, kind, &r.pc, &r.sp, &r.fp, &r.fp_known);
		}
		lr_known = false; /* it was the leaf's */
	}
	return true;
}

static void walk_begin(struct walk *w)
{
	w->pcs[0] = w->regs->r[ARCH_PC];
	w->n = 1;
	if (w->sps)
		w->sps[0] = 0;
}

size_t unwind_stack_with(struct address_space *as, uint64_t time_ns, const struct unwind_regs *regs,
			 const struct unwind_memory *mem, const struct unwind_provider *provider, uint64_t *pcs, uint64_t *sps,
			 size_t max, enum unwind_end *end)
{
	const uint64_t needed = 1ull << ARCH_PC | 1ull << ARCH_SP;
	struct walk w; /* its page buffer is not to be zeroed */
	if (max == 0 || (regs->valid & needed) != needed) {
		*end = max == 0 ? UNWIND_TRUNCATED : UNWIND_NO_RULE;
		return 0;
	}
	w.as = as;
	w.set = address_space_set_at(as, time_ns);
	w.time_ns = time_ns;
	w.key = time_ns >= w.set->latest_ns ? (uint64_t)mapping_set_id(as->cache, w.set) << 47 : 0;
	w.regs = regs;
	w.provider = provider;
	w.mem = mem;
	w.pcs = pcs;
	w.sps = sps;
	w.max = max;
	w.end = UNWIND_DONE;
	w.page_addr = 1;
	walk_begin(&w);
	if (!walk_fast(&w)) {
		walk_begin(&w);
		walk_full(&w);
	}
	*end = w.end;
	return w.n;
}

size_t unwind_stack(struct address_space *as, uint64_t time_ns, const struct unwind_regs *regs, const struct unwind_memory *mem,
		    uint64_t *pcs, uint64_t *sps, size_t max, enum unwind_end *end)
{
	return unwind_stack_with(as, time_ns, regs, mem, NULL, pcs, sps, max, end);
}
