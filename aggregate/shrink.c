/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounds by merging, never by dropping: when there are too many rows, the smallest give up detail, one step at a time, until enough of
 * them have become one. The sums stay.
 */
#include "aggregate/agg.h"

#include <stdlib.h>
#include <string.h>

/* What the smallest rows give up, in this order; at last all rows give up all of it. Then one row per process and class is left:
 * should even those be more than max_rows, they stay, for a class must never be told as another. */
enum detail { DETAIL_WAKER_STACK, DETAIL_STACKS, DETAIL_WAKER, DETAIL_CHANNEL, DETAIL_THREAD, DETAIL_ALL, DETAIL_COUNT };

void row_key_coarsen(const struct aggregator *a, struct row_key *k, int detail)
{
	k->waker_site = 0;
	k->flags |= ROW_WAKER_SITE_IS_STACK;
	if (detail >= DETAIL_STACKS) {
		k->site = 0;
		k->flags |= ROW_SITE_IS_STACK;
	}
	if (detail >= DETAIL_WAKER) {
		k->waker = 0;
		k->flags &= (uint8_t)~ROW_SOFTIRQ;
	}
	if (detail >= DETAIL_CHANNEL)
		k->channel = 0;
	if (detail >= DETAIL_THREAD && !(k->flags & ROW_THREAD_IS_PROC)) {
		k->thread = tree_proc(&a->tree, a->tree.threads[k->thread].proc);
		k->flags |= ROW_THREAD_IS_PROC;
	}
}

struct weight {
	uint64_t ns, count;
	uint32_t ix;
};

static int heaviest_first(const void *x, const void *y)
{
	const struct weight *a = x, *b = y;
	if (a->ns != b->ns)
		return a->ns > b->ns ? -1 : 1;
	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return a->ix < b->ix ? -1 : a->ix > b->ix;
}

static struct weight *weigh_rows(const struct rows *r)
{
	struct weight *w = malloc(r->n_rows * sizeof *w);
	for (size_t i = 1; w && i < r->n_rows; i++)
		w[i - 1] = (struct weight){r->rows[i].blocked_ns + r->rows[i].run_queue_ns, r->rows[i].count, (uint32_t)i};
	if (w)
		qsort(w, r->n_rows - 1, sizeof *w, heaviest_first);
	return w;
}

/* The keep heaviest rows as they are, the others without the detail. */
static bool rebuild(const struct aggregator *a, const struct rows *r, const struct weight *w, size_t keep, enum detail d,
		    struct rows *out)
{
	if (!rows_init(out))
		return false;
	for (size_t i = 0; i + 1 < r->n_rows; i++) {
		const struct row *row = &r->rows[w[i].ix];
		struct row_key k = row->key;
		if (i >= keep)
			row_key_coarsen(a, &k, (int)d);
		uint32_t ix = rows_find(out, &k);
		if (!ix)
			return false;
		row_merge(&out->rows[ix], row);
		if (k.flags & ROW_SITE_IS_STACK && k.flags & ROW_WAKER_SITE_IS_STACK) { /* nothing is left to be split */
			free(out->rows[ix].samples);
			out->rows[ix].samples = NULL;
		}
	}
	return true;
}

bool shrink_rows(struct aggregator *a, struct rows *r, uint32_t max_rows)
{
	for (int d = 0; d < DETAIL_COUNT && r->n_rows - 1 > max_rows; d++) {
		struct rows smaller;
		struct weight *w = weigh_rows(r);
		bool ok = w && rebuild(a, r, w, d == DETAIL_ALL ? 0 : max_rows / 2, (enum detail)d, &smaller);
		free(w);
		if (!ok) {
			if (w)
				rows_fini(&smaller);
			return false;
		}
		rows_fini(r);
		*r = smaller;
	}
	return true;
}

/* ---- on-CPU rows ---- */

bool cpu_rows_init(struct cpu_rows *r)
{
	*r = (struct cpu_rows){.n = 1, .index_capacity = 256};
	r->list = array_reserve(NULL, 1, &r->capacity, sizeof *r->list);
	r->index = calloc(r->index_capacity, sizeof *r->index);
	if (r->list && r->index) {
		r->list[0] = (struct cpu_count){0};
		return true;
	}
	cpu_rows_fini(r);
	return false;
}

void cpu_rows_fini(struct cpu_rows *r)
{
	free(r->list);
	free(r->index);
	*r = (struct cpu_rows){0};
}

static size_t cpu_slot(const struct cpu_rows *r, const uint32_t *index, size_t capacity, const struct cpu_key *k)
{
	size_t mask = capacity - 1, i = hash_bytes(k, sizeof *k, 5) & mask;
	while (index[i] && memcmp(&r->list[index[i]].key, k, sizeof *k) != 0)
		i = (i + 1) & mask;
	return i;
}

static bool cpu_grow(struct cpu_rows *r)
{
	size_t capacity = r->index_capacity * 2;
	uint32_t *index = calloc(capacity, sizeof *index);
	if (!index)
		return false;
	for (size_t i = 1; i < r->n; i++)
		index[cpu_slot(r, index, capacity, &r->list[i].key)] = (uint32_t)i;
	free(r->index);
	r->index = index;
	r->index_capacity = capacity;
	return true;
}

struct cpu_count *cpu_rows_find(struct cpu_rows *r, const struct cpu_key *key)
{
	if (r->n * 2 >= r->index_capacity && !cpu_grow(r))
		return NULL;
	size_t slot = cpu_slot(r, r->index, r->index_capacity, key);
	if (r->index[slot])
		return &r->list[r->index[slot]];
	struct cpu_count *moved = array_reserve(r->list, r->n, &r->capacity, sizeof *moved);
	if (!moved)
		return NULL;
	r->list = moved;
	r->list[r->n] = (struct cpu_count){.key = *key};
	r->index[slot] = (uint32_t)r->n;
	return &r->list[r->n++];
}

/* step 0: aliases only; 1: the lighter rows lose their stack; 2: and their thread. */
static bool cpu_rebuild(struct aggregator *a, const struct cpu_rows *r, const struct weight *w, size_t keep, int step,
			struct cpu_rows *out)
{
	if (!cpu_rows_init(out))
		return false;
	for (size_t i = 0; i + 1 < r->n; i++) {
		const struct cpu_count *c = &r->list[w ? w[i].ix : i + 1];
		struct cpu_key k = c->key;
		k.thread = k.is_proc ? tree_proc(&a->tree, k.thread) : tree_thread(&a->tree, k.thread);
		k.stack = step && i >= keep ? 0 : code_stack_canonical(&a->code, k.stack);
		if (step == 2 && i >= keep && !k.is_proc) {
			k.thread = tree_proc(&a->tree, a->tree.threads[k.thread].proc);
			k.is_proc = 1;
		}
		struct cpu_count *into = cpu_rows_find(out, &k);
		if (!into)
			return false;
		into->samples += c->samples;
		into->est_ns += c->est_ns;
	}
	return true;
}

bool shrink_cpu(struct aggregator *a, struct cpu_rows *r, uint32_t max_rows)
{
	for (int step = 0; step <= 2 && (step == 0 || r->n - 1 > max_rows); step++) {
		struct weight *w = malloc(r->n * sizeof *w);
		for (size_t i = 1; w && i < r->n; i++)
			w[i - 1] = (struct weight){r->list[i].est_ns, r->list[i].samples, (uint32_t)i};
		struct cpu_rows smaller = {0};
		if (w)
			qsort(w, r->n - 1, sizeof *w, heaviest_first);
		bool ok = w && cpu_rebuild(a, r, w, max_rows / 2, step, &smaller);
		free(w);
		if (!ok) {
			cpu_rows_fini(&smaller);
			return false;
		}
		cpu_rows_fini(r);
		*r = smaller;
	}
	return true;
}
