/* SPDX-License-Identifier: Apache-2.0
 *
 * Per object: vaddr -> small row, and vaddr -> full row (only where one was needed). Filled as addresses are met; when a
 * table is full it starts anew, so memory stays bounded whatever the target runs.
 */
#ifndef LOCKSTEP_ROW_CACHE_H
#define LOCKSTEP_ROW_CACHE_H

#include "sampler/unwind/cfi.h"

struct row_cache;

struct row_cache *row_cache_new(void);
void row_cache_free(struct row_cache *rc);

/* kind ROW_EMPTY when absent. */
struct unwind_row row_cache_get(const struct row_cache *rc, uint64_t vaddr);
void row_cache_put(struct row_cache *rc, uint64_t vaddr, struct unwind_row row);

const struct cfi_row *row_cache_get_full(const struct row_cache *rc, uint64_t vaddr);
/* Copies row; returns the copy (valid until the next put), NULL when out of memory. */
const struct cfi_row *row_cache_put_full(struct row_cache *rc, uint64_t vaddr, const struct cfi_row *row);

#endif
