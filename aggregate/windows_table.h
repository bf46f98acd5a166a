/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded hash table of plain rows: what window analyses keep from window to window. A row begins with its key (all
 * bytes of key_size, padding zeroed by the caller); the rest are sums. When full, rows that are not there yet are refused
 * and counted: the caller adds to a row of its own for the rest, so that no time is lost silently.
 */
#ifndef LOCKSTEP_WINDOWS_TABLE_H
#define LOCKSTEP_WINDOWS_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct row_table {
	size_t row_size, key_size, max_rows;
	unsigned char *rows;
	size_t n, cap;
	uint32_t *slots; /* row index + 1 */
	size_t n_slots;
	uint64_t refused;
};

void row_table_init(struct row_table *t, size_t row_size, size_t key_size, size_t max_rows);
void row_table_fini(struct row_table *t);
/* The row of this key, made (zeroed but for the key) when absent. NULL: full or out of memory (counted in refused).
 * Valid until the next row_table_get. */
void *row_table_get(struct row_table *t, const void *key);
void *row_table_find(const struct row_table *t, const void *key);
static inline void *row_table_at(const struct row_table *t, size_t i)
{
	return t->rows + i * t->row_size;
}
void row_table_clear(struct row_table *t); /* no rows; the memory stays */
void row_table_reindex(struct row_table *t); /* after the caller moved rows (sorted them) */
/* Renames keys: rename(ctx, row) changes the key in place and returns whether it did; then equal rows are joined by
 * merge(into, from). */
void row_table_rekey(struct row_table *t, int (*rename)(void *ctx, void *row), void (*merge)(void *into, const void *from), void *ctx);

#endif
