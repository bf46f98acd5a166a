/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregate/rows.h"

#include <stdlib.h>
#include <string.h>

bool rows_init(struct rows *r)
{
	*r = (struct rows){.n_rows = 1, .index_capacity = 256};
	r->rows = array_reserve(NULL, 1, &r->rows_capacity, sizeof *r->rows);
	r->index = calloc(r->index_capacity, sizeof *r->index);
	if (r->rows && r->index) {
		r->rows[0] = (struct row){0};
		return true;
	}
	rows_fini(r);
	return false;
}

static void row_fini(struct row *row)
{
	free(row->hist);
	free(row->bytes);
	free(row->samples);
}

void rows_fini(struct rows *r)
{
	for (size_t i = 1; r->rows && i < r->n_rows; i++)
		row_fini(&r->rows[i]);
	free(r->rows);
	free(r->index);
	*r = (struct rows){0};
}

static uint64_t pair(uint32_t high, uint32_t low)
{
	return (uint64_t)high << 32 | low;
}

static uint64_t key_hash(const struct row_key *k)
{
	uint64_t rest = pair(k->channel, (uint32_t)k->cls << 8 | k->flags);
	return mix64(pair(k->thread, k->site) ^ mix64(pair(k->waker, k->waker_site) + 0x9e3779b97f4a7c15ull * rest));
}

static size_t key_slot(const struct rows *r, const uint32_t *index, size_t capacity, const struct row_key *k)
{
	size_t mask = capacity - 1, i = key_hash(k) & mask;
	while (index[i] && !row_key_equal(&r->rows[index[i]].key, k))
		i = (i + 1) & mask;
	return i;
}

static bool index_grow(struct rows *r)
{
	size_t capacity = r->index_capacity * 2;
	uint32_t *index = calloc(capacity, sizeof *index);
	if (!index)
		return false;
	for (size_t i = 1; i < r->n_rows; i++)
		index[key_slot(r, index, capacity, &r->rows[i].key)] = (uint32_t)i;
	free(r->index);
	r->index = index;
	r->index_capacity = capacity;
	return true;
}

uint32_t rows_get(const struct rows *r, const struct row_key *key)
{
	return r->index[key_slot(r, r->index, r->index_capacity, key)];
}

uint32_t rows_find(struct rows *r, const struct row_key *key)
{
	size_t slot = key_slot(r, r->index, r->index_capacity, key);
	if (r->index[slot])
		return r->index[slot];
	if (r->n_rows * 2 >= r->index_capacity) {
		if (!index_grow(r))
			return 0;
		slot = key_slot(r, r->index, r->index_capacity, key);
	}
	struct row *moved = array_reserve(r->rows, r->n_rows, &r->rows_capacity, sizeof *moved);
	if (!moved)
		return 0;
	r->rows = moved;
	r->rows[r->n_rows] = (struct row){.key = *key};
	r->index[slot] = (uint32_t)r->n_rows;
	return (uint32_t)r->n_rows++;
}

/* Durations counted so far, while they still fit into row->first. */
static uint64_t counted(const struct row *row)
{
	return row->count < ROW_FIRST ? row->count : ROW_FIRST;
}

static bool need_hist(struct row *row)
{
	if (row->hist)
		return true;
	row->hist = calloc(1, sizeof *row->hist);
	if (!row->hist)
		return false;
	for (uint64_t i = 0; i < counted(row); i++)
		hist_add(row->hist, row->first[i], 1);
	return true;
}

/* Call it before row->count grows. */
void row_add_duration(struct row *row, uint64_t ns, uint32_t n)
{
	if (!row->hist && n == 1 && row->count < ROW_FIRST)
		row->first[row->count] = ns;
	else if (need_hist(row))
		hist_add(row->hist, ns, n);
}

/* Call it for every message: most rows only ever see one size, and need no histogram for it. */
void row_add_bytes(struct row *row, uint32_t bytes, uint64_t count)
{
	if (!row->bytes && (!row->size_count || row->size == bytes)) {
		row->size = bytes;
		row->size_count += count;
		return;
	}
	if (!row->bytes) {
		row->bytes = calloc(1, sizeof *row->bytes);
		if (!row->bytes)
			return;
		size_hist_add(row->bytes, row->size, row->size_count);
	}
	size_hist_add(row->bytes, bytes, count);
}

void row_merge_bytes(struct size_hist *into, const struct row *row)
{
	if (row->bytes)
		size_hist_merge(into, row->bytes);
	else
		size_hist_add(into, row->size, row->size_count);
}

static void merge_bytes(struct row *into, const struct row *from)
{
	if (!from->bytes) {
		if (from->size_count)
			row_add_bytes(into, from->size, from->size_count);
		return;
	}
	if (!into->bytes) {
		into->bytes = calloc(1, sizeof *into->bytes);
		if (!into->bytes)
			return;
		size_hist_add(into->bytes, into->size, into->size_count);
	}
	size_hist_merge(into->bytes, from->bytes);
}

static void sample_merge(struct row_sample *into, const struct row_sample *s)
{
	into->count += s->count;
	into->blocked_ns += s->blocked_ns;
	into->run_queue_ns += s->run_queue_ns;
}

static struct row_sample *sample_of(struct row_samples *list, uint32_t stack, uint32_t waker_stack)
{
	for (uint32_t i = 0; i < list->n; i++)
		if (list->list[i].stack == stack && list->list[i].waker_stack == waker_stack)
			return &list->list[i];
	return NULL;
}

/* Makes room in a full list: the lightest sample joins the one without stacks (or becomes it). */
static void sample_evict(struct row_samples *list)
{
	struct row_sample *lightest = NULL, *none = sample_of(list, 0, 0);
	for (uint32_t i = 0; i < list->n; i++) {
		struct row_sample *s = &list->list[i];
		if (s != none && (!lightest || s->blocked_ns + s->run_queue_ns < lightest->blocked_ns + lightest->run_queue_ns))
			lightest = s;
	}
	if (!none) { /* then two must go, or there is no room for a newcomer */
		lightest->stack = lightest->waker_stack = 0;
		sample_evict(list);
		return;
	}
	sample_merge(none, lightest);
	*lightest = list->list[--list->n];
}

void row_samples_add(struct row_samples *list, const struct row_sample *s)
{
	struct row_sample *have = sample_of(list, s->stack, s->waker_stack);
	if (have) {
		sample_merge(have, s);
		return;
	}
	if (list->n == ROW_SAMPLES)
		sample_evict(list);
	have = sample_of(list, s->stack, s->waker_stack);
	if (have)
		sample_merge(have, s);
	else
		list->list[list->n++] = *s;
}

void row_add_sample(struct row *row, const struct row_sample *s)
{
	if (!row->samples)
		row->samples = calloc(1, sizeof *row->samples);
	if (row->samples)
		row_samples_add(row->samples, s);
}

static void merge_durations(struct row *into, const struct row *from)
{
	if (from->hist) {
		if (need_hist(into))
			hist_merge(into->hist, from->hist);
		return;
	}
	uint64_t had = into->count;
	for (uint64_t i = 0; i < counted(from); i++, into->count++)
		row_add_duration(into, from->first[i], 1);
	into->count = had;
}

void row_merge(struct row *into, const struct row *from)
{
	merge_durations(into, from);
	into->count += from->count;
	into->blocked_ns += from->blocked_ns;
	into->run_queue_ns += from->run_queue_ns;
	into->in_progress += from->in_progress;
	into->idle_ns += from->idle_ns;
	into->n_irq += from->n_irq;
	merge_bytes(into, from);
	for (uint32_t i = 0; from->samples && i < from->samples->n; i++)
		row_add_sample(into, &from->samples->list[i]);
}

struct remainder {
	double fraction;
	size_t i;
};

static int by_fraction(const void *a, const void *b)
{
	const struct remainder *x = a, *y = b;
	if (x->fraction != y->fraction)
		return x->fraction > y->fraction ? -1 : 1;
	return x->i < y->i ? -1 : x->i > y->i;
}

void apportion(uint64_t total, const uint64_t *weights, uint64_t *parts, size_t n)
{
	unsigned __int128 sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += weights[i];
	memset(parts, 0, n * sizeof *parts);
	if (!n)
		return;
	if (!sum) {
		parts[0] = total;
		return;
	}
	uint64_t given = 0;
	struct remainder few[64], *rest = n <= 64 ? few : calloc(n, sizeof *rest);
	for (size_t i = 0; i < n; i++) {
		unsigned __int128 share = (unsigned __int128)total * weights[i];
		parts[i] = (uint64_t)(share / sum);
		given += parts[i];
		if (rest)
			rest[i] = (struct remainder){(double)(share % sum), i};
	}
	if (rest) {
		qsort(rest, n, sizeof *rest, by_fraction);
		for (size_t i = 0; given < total; i++, given++)
			parts[rest[i % n].i]++;
	}
	parts[0] += total - given; /* out of memory: still exact in sum */
	if (rest != few)
		free(rest);
}
