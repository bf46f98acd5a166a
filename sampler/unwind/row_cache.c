/* SPDX-License-Identifier: Apache-2.0
 *
 * Two open-addressing hash tables keyed by vaddr, grown by doubling up to a limit, then emptied.
 */
#include "sampler/unwind/row_cache.h"

#include <stdlib.h>
#include <string.h>

#define MIN_BITS 6
#define MAX_BITS 16	 /* 65,536 rows of 16 bytes: more distinct return addresses than any program seen has warm */
#define MAX_FULL_BITS 10 /* full rows are 300 bytes and rare */

struct slot {
	uint64_t vaddr;
	struct unwind_row row;
};
struct full_slot {
	uint64_t vaddr;
	struct cfi_row *row;
};
struct row_cache {
	struct slot *slots;
	struct full_slot *full;
	unsigned bits, full_bits;
	size_t n, n_full;
};

static size_t hash(uint64_t vaddr, unsigned bits)
{
	return (vaddr * 0x9e3779b97f4a7c15ull) >> (64 - bits);
}

struct row_cache *row_cache_new(void)
{
	struct row_cache *rc = calloc(1, sizeof *rc);
	if (!rc)
		return NULL;
	rc->bits = rc->full_bits = MIN_BITS;
	rc->slots = calloc(1u << rc->bits, sizeof *rc->slots);
	if (!rc->slots) {
		free(rc);
		return NULL;
	}
	return rc;
}

static void empty_full(struct row_cache *rc)
{
	for (size_t i = 0; rc->full && i < 1u << rc->full_bits; i++)
		free(rc->full[i].row);
	free(rc->full);
	rc->full = NULL;
	rc->n_full = 0;
}

void row_cache_free(struct row_cache *rc)
{
	if (!rc)
		return;
	empty_full(rc);
	free(rc->slots);
	free(rc);
}

static struct slot *find(struct slot *slots, unsigned bits, uint64_t vaddr)
{
	size_t mask = (1u << bits) - 1, i = hash(vaddr, bits);
	while (slots[i].row.kind != ROW_EMPTY && slots[i].vaddr != vaddr)
		i = (i + 1) & mask;
	return &slots[i];
}

struct unwind_row row_cache_get(const struct row_cache *rc, uint64_t vaddr)
{
	return find(rc->slots, rc->bits, vaddr)->row;
}

/* Doubles the table; at the limit, or out of memory, empties it. */
static void make_room(struct row_cache *rc)
{
	struct slot *grown = rc->bits < MAX_BITS ? calloc(2u << rc->bits, sizeof *grown) : NULL;
	if (!grown) {
		memset(rc->slots, 0, sizeof *rc->slots << rc->bits);
		rc->n = 0;
		return;
	}
	for (size_t i = 0; i < 1u << rc->bits; i++)
		if (rc->slots[i].row.kind != ROW_EMPTY)
			*find(grown, rc->bits + 1, rc->slots[i].vaddr) = rc->slots[i];
	free(rc->slots);
	rc->slots = grown;
	rc->bits++;
}

void row_cache_put(struct row_cache *rc, uint64_t vaddr, struct unwind_row row)
{
	if ((rc->n + 1) * 2 > 1u << rc->bits)
		make_room(rc);
	struct slot *s = find(rc->slots, rc->bits, vaddr);
	rc->n += s->row.kind == ROW_EMPTY;
	*s = (struct slot){vaddr, row};
}

static struct full_slot *find_full(struct full_slot *slots, unsigned bits, uint64_t vaddr)
{
	size_t mask = (1u << bits) - 1, i = hash(vaddr, bits);
	while (slots[i].row && slots[i].vaddr != vaddr)
		i = (i + 1) & mask;
	return &slots[i];
}

const struct cfi_row *row_cache_get_full(const struct row_cache *rc, uint64_t vaddr)
{
	return rc->full ? find_full(rc->full, rc->full_bits, vaddr)->row : NULL;
}

static bool make_full_room(struct row_cache *rc)
{
	if (!rc->full || rc->full_bits == MAX_FULL_BITS) {
		empty_full(rc);
		rc->full_bits = MIN_BITS;
		rc->full = calloc(1u << rc->full_bits, sizeof *rc->full);
		return rc->full != NULL;
	}
	struct full_slot *grown = calloc(2u << rc->full_bits, sizeof *grown);
	if (!grown)
		return false;
	for (size_t i = 0; i < 1u << rc->full_bits; i++)
		if (rc->full[i].row)
			*find_full(grown, rc->full_bits + 1, rc->full[i].vaddr) = rc->full[i];
	free(rc->full);
	rc->full = grown;
	rc->full_bits++;
	return true;
}

const struct cfi_row *row_cache_put_full(struct row_cache *rc, uint64_t vaddr, const struct cfi_row *row)
{
	if ((!rc->full || (rc->n_full + 1) * 2 > 1u << rc->full_bits) && !make_full_room(rc))
		return NULL;
	struct full_slot *s = find_full(rc->full, rc->full_bits, vaddr);
	struct cfi_row *copy = malloc(sizeof *copy);
	if (!copy)
		return NULL;
	*copy = *row;
	rc->n_full += !s->row;
	free(s->row);
	*s = (struct full_slot){vaddr, copy};
	return copy;
}
