/* SPDX-License-Identifier: Apache-2.0
 *
 * See windows_table.h. Open addressing, linear probing, at most half full.
 */
#include "aggregate/windows_table.h"

#include <stdlib.h>
#include <string.h>

void row_table_init(struct row_table *t, size_t row_size, size_t key_size, size_t max_rows)
{
	memset(t, 0, sizeof(*t));
	t->row_size = row_size;
	t->key_size = key_size;
	t->max_rows = max_rows;
}

void row_table_fini(struct row_table *t)
{
	free(t->rows);
	free(t->slots);
	t->rows = NULL;
	t->slots = NULL;
	t->n = t->cap = t->n_slots = 0;
}

static uint64_t hash_bytes(const unsigned char *p, size_t n)
{
	uint64_t h = 0x9e3779b97f4a7c15u;
	for (; n >= 4; p += 4, n -= 4) {
		uint32_t v;
		memcpy(&v, p, 4);
		h = (h ^ v) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	for (; n; p++, n--)
		h = (h ^ *p) * 0xff51afd7ed558ccdu;
	return h ^ (h >> 29);
}

static size_t find_slot(const struct row_table *t, const void *key)
{
	size_t i = hash_bytes(key, t->key_size) & (t->n_slots - 1);
	while (t->slots[i] && memcmp(t->rows + (t->slots[i] - 1) * t->row_size, key, t->key_size) != 0)
		i = (i + 1) & (t->n_slots - 1);
	return i;
}

static int resize_slots(struct row_table *t, size_t n_slots)
{
	uint32_t *slots = calloc(n_slots, sizeof(*slots));
	if (!slots)
		return -1;
	free(t->slots);
	t->slots = slots;
	t->n_slots = n_slots;
	for (size_t i = 0; i < t->n; i++)
		t->slots[find_slot(t, t->rows + i * t->row_size)] = (uint32_t)i + 1;
	return 0;
}

void row_table_reindex(struct row_table *t)
{
	if (t->n_slots)
		memset(t->slots, 0, t->n_slots * sizeof(*t->slots));
	for (size_t i = 0; i < t->n; i++)
		t->slots[find_slot(t, t->rows + i * t->row_size)] = (uint32_t)i + 1;
}

void row_table_clear(struct row_table *t)
{
	t->n = 0;
	row_table_reindex(t);
}

void *row_table_find(const struct row_table *t, const void *key)
{
	if (!t->n_slots)
		return NULL;
	size_t i = find_slot(t, key);
	return t->slots[i] ? t->rows + (t->slots[i] - 1) * t->row_size : NULL;
}

static int make_room(struct row_table *t)
{
	if (t->n >= t->max_rows)
		return -1;
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 32;
		unsigned char *rows = realloc(t->rows, cap * t->row_size);
		if (!rows)
			return -1;
		t->rows = rows;
		t->cap = cap;
	}
	if ((t->n + 1) * 2 > t->n_slots && resize_slots(t, t->n_slots ? t->n_slots * 2 : 64))
		return -1;
	return 0;
}

void *row_table_get(struct row_table *t, const void *key)
{
	void *found = row_table_find(t, key);
	if (found)
		return found;
	if (make_room(t)) {
		t->refused++;
		return NULL;
	}
	unsigned char *row = t->rows + t->n * t->row_size;
	memset(row, 0, t->row_size);
	memcpy(row, key, t->key_size);
	t->slots[find_slot(t, key)] = (uint32_t)++t->n;
	return row;
}

void row_table_rekey(struct row_table *t, int (*rename)(void *ctx, void *row), void (*merge)(void *into, const void *from), void *ctx)
{
	int changed = 0;
	for (size_t i = 0; i < t->n; i++)
		changed |= rename(ctx, t->rows + i * t->row_size);
	if (!changed)
		return;
	size_t n = t->n;
	memset(t->slots, 0, t->n_slots * sizeof(*t->slots));
	t->n = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned char *from = t->rows + i * t->row_size, *to = t->rows + t->n * t->row_size;
		size_t slot = find_slot(t, from);
		if (t->slots[slot]) {
			merge(t->rows + (t->slots[slot] - 1) * t->row_size, from);
			continue;
		}
		if (to != from)
			memcpy(to, from, t->row_size);
		t->slots[slot] = (uint32_t)++t->n;
	}
}
