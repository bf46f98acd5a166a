/* SPDX-License-Identifier: Apache-2.0
 *
 * In: an object and an address in it. Out: its row, from the object's cache or by running its CFI.
 */
#include "sampler/unwind/arch.h"
#include "sampler/unwind/row_cache.h"

static bool ready(struct object *obj)
{
	if (!obj->rows)
		obj->rows = row_cache_new();
	if (!obj->cfi && obj->elf.machine == ARCH_MACHINE)
		obj->cfi = cfi_new(&obj->elf);
	return obj->rows && obj->cfi;
}

struct unwind_row object_row(struct object *obj, uint64_t vaddr)
{
	struct cfi_row full;
	if (!ready(obj))
		return (struct unwind_row){.kind = ROW_NO_CFI};
	struct unwind_row row = row_cache_get(obj->rows, vaddr);
	if (row.kind != ROW_EMPTY)
		return row;
	if (cfi_find(obj->cfi, vaddr, &full))
		row = arch_row(&full, vaddr);
	else /* a return address into a trampoline without CFI was looked up at the byte before it */
		row.kind = arch_is_sigreturn(obj, vaddr + 1) || arch_is_sigreturn(obj, vaddr) ? ROW_FULL : ROW_NO_CFI;
	row_cache_put(obj->rows, vaddr, row);
	return row;
}

const struct cfi_row *object_full_row(struct object *obj, uint64_t vaddr)
{
	struct cfi_row full;
	if (!ready(obj))
		return NULL;
	const struct cfi_row *row = row_cache_get_full(obj->rows, vaddr);
	if (row)
		return row;
	return cfi_find(obj->cfi, vaddr, &full) ? row_cache_put_full(obj->rows, vaddr, &full) : NULL;
}

bool object_function_bounds(struct object *obj, uint64_t vaddr, uint64_t *start, uint64_t *end)
{
	return ready(obj) && cfi_bounds(obj->cfi, vaddr, start, end);
}

void object_foreach_function(struct object *obj, int (*fn)(void *ctx, const struct cfi_row *row), void *ctx)
{
	if (ready(obj))
		cfi_foreach(obj->cfi, fn, ctx);
}
