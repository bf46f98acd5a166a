/* SPDX-License-Identifier: Apache-2.0
 *
 * libunwind's remote interface for one step: what our engine cannot express (CFI operations and DWARF operations that
 * compilers do not emit). In: registers, the object's bytes, memory; out: the caller's registers. 100 times slower than the
 * engine and rarely needed.
 *
 * libunwind is shown a table with the single FDE that we found. It reads everything through access_mem, so we bound its reads: a
 * hostile expression that loops ends with an error.
 */
#include "sampler/unwind/walk.h"

#include <libunwind.h>

#define MAX_ACCESSES 20000
#define TABLE_ADDR 0x10u /* no process maps page 0: addresses there are ours */

/* dwarf_search_unwind_table is exported for tools like this one, but its prototype is in no installed header. */
extern int UNW_OBJ(dwarf_search_unwind_table)(unw_addr_space_t as, unw_word_t ip, unw_dyn_info_t *di, unw_proc_info_t *pi,
					      int need_unwind_info, void *arg);

struct fallback {
	struct walk *w;
	const struct unwind_regs *regs;
	const struct mapping *mapping;
	uint64_t fde_addr;   /* in the process */
	int32_t table[2];    /* function - fde_addr, 0 */
	uint64_t start, end; /* of the function, in the process */
	uint64_t pc;
	unsigned accesses;
};

static int find_proc_info(unw_addr_space_t as, unw_word_t ip, unw_proc_info_t *pi, int need_unwind_info, void *arg)
{
	struct fallback *f = arg;
	unw_dyn_info_t di = {.format = UNW_INFO_FORMAT_REMOTE_TABLE, .start_ip = f->start, .end_ip = f->end};
	if (ip < f->start || ip >= f->end)
		return -UNW_ENOINFO;
	di.u.rti.segbase = f->fde_addr;
	di.u.rti.table_data = TABLE_ADDR;
	di.u.rti.table_len = 1; /* words */
	return UNW_OBJ(dwarf_search_unwind_table)(as, ip, &di, pi, need_unwind_info, arg);
}

static void put_unwind_info(unw_addr_space_t as, unw_proc_info_t *pi, void *arg)
{
	(void)as;
	(void)pi;
	(void)arg;
}

static int get_dyn_info_list(unw_addr_space_t as, unw_word_t *list, void *arg)
{
	(void)as;
	(void)list;
	(void)arg;
	return -UNW_ENOINFO;
}

static int access_mem(unw_addr_space_t as, unw_word_t addr, unw_word_t *value, int write, void *arg)
{
	struct fallback *f = arg;
	(void)as;
	if (write || ++f->accesses > MAX_ACCESSES)
		return -UNW_EINVAL;
	if (addr == TABLE_ADDR) {
		memcpy(value, f->table, sizeof f->table);
		return 0;
	}
	if (walk_read(f->w, addr, value))
		return 0;
	/* CFI is read from the file: the snapshot holds the stack only. The last word of a section may be cut. */
	uint8_t bytes[8] = {0};
	uint64_t vaddr = addr - f->mapping->bias;
	if (!object_read(f->mapping->object, vaddr, bytes, 8) && !object_read(f->mapping->object, vaddr, bytes, 4))
		return -UNW_EINVAL;
	memcpy(value, bytes, 8);
	return 0;
}

static int access_reg(unw_addr_space_t as, unw_regnum_t reg, unw_word_t *value, int write, void *arg)
{
	const struct fallback *f = arg;
	(void)as;
	if (write || reg < 0 || reg >= ARCH_REGS || !(f->regs->valid >> reg & 1))
		return -UNW_EBADREG;
	*value = reg == ARCH_PC ? f->pc : f->regs->r[reg];
	return 0;
}

static int access_fpreg(unw_addr_space_t as, unw_regnum_t reg, unw_fpreg_t *value, int write, void *arg)
{
	(void)as;
	(void)reg;
	(void)value;
	(void)write;
	(void)arg;
	return -UNW_EBADREG;
}

static int resume(unw_addr_space_t as, unw_cursor_t *cursor, void *arg)
{
	(void)as;
	(void)cursor;
	(void)arg;
	return -UNW_EINVAL;
}

static int get_proc_name(unw_addr_space_t as, unw_word_t addr, char *buf, size_t len, unw_word_t *off, void *arg)
{
	(void)as;
	(void)addr;
	(void)buf;
	(void)len;
	(void)off;
	(void)arg;
	return -UNW_ENOINFO;
}

static bool prepare(struct fallback *f, uint64_t addr)
{
	const struct cfi_section *section;
	size_t offset;
	f->mapping = mapping_set_find(f->w->set, f->w->time_ns, addr);
	if (!f->mapping || !f->mapping->object || !f->mapping->object->cfi)
		return false;
	struct object *obj = f->mapping->object;
	uint64_t vaddr = addr - f->mapping->bias;
	if (!cfi_raw(obj->cfi, vaddr, &section, &offset) || section->is_debug_frame ||
	    !cfi_bounds(obj->cfi, vaddr, &f->start, &f->end))
		return false;
	f->start += f->mapping->bias;
	f->end += f->mapping->bias;
	f->fde_addr = section->vaddr + offset + f->mapping->bias;
	int64_t distance = (int64_t)(f->start - f->fde_addr);
	f->table[0] = (int32_t)distance;
	f->table[1] = 0;
	return distance == (int32_t)distance;
}

static unw_addr_space_t shared_space(struct object_cache *c)
{
	static const unw_accessors_t accessors = {.find_proc_info = find_proc_info,
						  .put_unwind_info = put_unwind_info,
						  .get_dyn_info_list_addr = get_dyn_info_list,
						  .access_mem = access_mem,
						  .access_reg = access_reg,
						  .access_fpreg = access_fpreg,
						  .resume = resume,
						  .get_proc_name = get_proc_name};
	if (!c->libunwind) {
		c->libunwind = unw_create_addr_space((unw_accessors_t *)&accessors, 0);
		if (c->libunwind) /* one space serves all processes, so nothing may be remembered by address */
			unw_set_caching_policy(c->libunwind, UNW_CACHE_NONE);
	}
	return c->libunwind;
}

void walk_libunwind_free(struct object_cache *c)
{
	if (c->libunwind)
		unw_destroy_addr_space(c->libunwind);
}

bool walk_step_libunwind(struct walk *w, struct unwind_regs *regs, bool is_return)
{
	unw_cursor_t cursor;
	struct unwind_regs next = {.valid = 0};
	struct fallback f = {.w = w, .regs = regs, .pc = regs->r[ARCH_PC] - is_return};
	unw_addr_space_t space = shared_space(w->as->cache);
	if (!space || !prepare(&f, f.pc) || unw_init_remote(&cursor, space, &f) != 0 || unw_step(&cursor) <= 0)
		return false;
	for (int reg = 0; reg < ARCH_REGS; reg++) {
		unw_word_t v;
		if (unw_get_reg(&cursor, reg, &v) == 0) {
			next.r[reg] = v;
			next.valid |= 1ull << reg;
		}
	}
	const uint64_t needed = 1ull << ARCH_PC | 1ull << ARCH_SP;
	*regs = next;
	return (next.valid & needed) == needed;
}
