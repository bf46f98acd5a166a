/* SPDX-License-Identifier: Apache-2.0
 *
 * From sites to stacks. In: rows keyed by sites; out: rows keyed by stacks, whose sums are exactly those of the input.
 *
 * A row's exact time is split over stacks in proportion to what the sampled waits measured themselves (ratio estimator): by the
 * row's own samples when there are enough of them, else by its site's. A wait's two stacks are split jointly where both were
 * sampled together, else independently. What was never sampled gets the empty stack. The same routine serves compaction (sites
 * of ended threads) and the profile (all sites).
 */
#include "aggregate/agg.h"

#include <stdlib.h>
#include <string.h>

#define ENOUGH_SAMPLES 4 /* fewer say less than the site's, which may have hundreds */

struct shares { /* over what a row is to be split in one of its two dimensions */
	size_t n;
	uint32_t stack[ROW_SAMPLES];
	uint64_t count[ROW_SAMPLES], blocked_ns[ROW_SAMPLES], run_queue_ns[ROW_SAMPLES];
};

enum side { WAITER, WAKER };

static void shares_add(struct shares *s, uint32_t stack, const struct row_sample *by)
{
	size_t i = 0;
	while (i < s->n && s->stack[i] != stack)
		i++;
	if (i == s->n) {
		if (s->n == ROW_SAMPLES)
			return; /* a list holds at most so many */
		s->n++;
		s->stack[i] = stack;
		s->count[i] = s->blocked_ns[i] = s->run_queue_ns[i] = 0;
	}
	s->count[i] += by->count;
	s->blocked_ns[i] += by->blocked_ns;
	s->run_queue_ns[i] += by->run_queue_ns;
}

static uint64_t shares_total(const struct shares *s)
{
	uint64_t total = 0;
	for (size_t i = 0; i < s->n; i++)
		total += s->count[i];
	return total;
}

/* Shares by a list of samples. given: only those whose other side is this stack (WAKER: the waiter's); 0: all. */
static void shares_of_list(struct shares *out, const struct code *code, const struct row_samples *list, enum side side,
			   uint32_t given)
{
	*out = (struct shares){0};
	for (uint32_t i = 0; list && i < list->n; i++) {
		const struct row_sample *s = &list->list[i];
		uint32_t stack = side == WAITER ? s->stack : s->waker_stack;
		if (!stack || (given && code_stack_canonical(code, s->stack) != given))
			continue;
		shares_add(out, code_stack_canonical(code, stack), s);
	}
}

static void waiter_shares(const struct aggregator *a, const struct row *row, struct shares *out)
{
	shares_of_list(out, &a->code, row->samples, WAITER, 0);
	const struct site *site = sites_get(&a->sites, row->key.site);
	if (shares_total(out) >= ENOUGH_SAMPLES || !site)
		return;
	struct shares own = *out;
	shares_of_list(out, &a->code, &site->wait, WAITER, 0);
	if (!out->n)
		*out = own;
}

static void waker_shares(const struct aggregator *a, const struct row *row, uint32_t waiter_stack, struct shares *out)
{
	if (waiter_stack)
		shares_of_list(out, &a->code, row->samples, WAKER, waiter_stack);
	if (!waiter_stack || !out->n)
		shares_of_list(out, &a->code, row->samples, WAKER, 0);
	const struct site *site = sites_get(&a->sites, row->key.waker_site);
	if (shares_total(out) >= ENOUGH_SAMPLES || !site)
		return;
	struct shares own = *out;
	shares_of_list(out, &a->code, &site->wake, WAKER, 0);
	if (!out->n) /* it was seen waiting there, if not waking */
		shares_of_list(out, &a->code, &site->wait, WAITER, 0);
	if (!out->n)
		*out = own;
}

/* ---- splitting one row ---- */

static void split_hist(const struct hist *from, const uint64_t *weights, struct row *parts, size_t n)
{
	uint64_t share[ROW_SAMPLES];
	for (unsigned b = 0; b < HIST_BUCKETS; b++) {
		if (!from->n[b])
			continue;
		apportion(from->n[b], weights, share, n);
		for (size_t i = 0; i < n; i++)
			if (parts[i].hist)
				parts[i].hist->n[b] += (uint32_t)share[i];
	}
}

static void split_bytes(const struct size_hist *from, const uint64_t *weights, struct row *parts, size_t n)
{
	uint64_t share[ROW_SAMPLES];
	for (uint32_t k = 0; k < from->n_exact; k++) {
		apportion(from->exact[k].count, weights, share, n);
		for (size_t i = 0; i < n; i++)
			if (parts[i].bytes)
				size_hist_add(parts[i].bytes, from->exact[k].value, share[i]);
	}
	uint64_t exact_bytes = 0, bytes[ROW_SAMPLES];
	for (uint32_t k = 0; k < from->n_exact; k++)
		exact_bytes += from->exact[k].value * from->exact[k].count;
	apportion(from->total_bytes - exact_bytes, weights, bytes, n);
	for (size_t i = 0; i < n; i++)
		if (parts[i].bytes)
			parts[i].bytes->total_bytes += bytes[i];
	for (unsigned b = 0; b < 33; b++) {
		apportion(from->log2[b], weights, share, n);
		for (size_t i = 0; i < n; i++)
			if (parts[i].bytes) {
				parts[i].bytes->log2[b] += share[i];
				parts[i].bytes->total_count += share[i];
			}
	}
}

static void split_durations(const struct row *row, struct row *parts, size_t n, const struct shares *s)
{
	if (row->hist) {
		for (size_t i = 0; i < n; i++)
			parts[i].hist = calloc(1, sizeof *parts[i].hist);
		split_hist(row->hist, s->count, parts, n);
		return;
	}
	uint64_t used = 0;
	for (size_t i = 0; i < n; i++)
		for (uint64_t k = 0; k < parts[i].count && used < ROW_FIRST; k++)
			parts[i].first[k] = row->first[used++];
}

static void split_field(uint64_t total, const uint64_t *weights, const uint64_t *fallback, uint64_t *out, size_t n)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += weights[i];
	apportion(total, sum ? weights : fallback, out, n);
}

/* parts[0..s->n) receive what row counted; their keys are the caller's. Their memory is theirs (part_fini). */
static void split_row(const struct row *row, const struct shares *s, struct row *parts)
{
	uint64_t f[5][ROW_SAMPLES], in_progress[ROW_SAMPLES];
	size_t n = s->n;
	apportion(row->count, s->count, f[0], n);
	split_field(row->blocked_ns, s->blocked_ns, s->count, f[1], n);
	split_field(row->run_queue_ns, s->run_queue_ns, s->count, f[2], n);
	apportion(row->n_irq, f[0], f[3], n);
	apportion(row->idle_ns, f[1], f[4], n);
	apportion(row->in_progress, f[0], in_progress, n);
	for (size_t i = 0; i < n; i++) {
		parts[i] = (struct row){.key = row->key, .count = f[0][i], .blocked_ns = f[1][i], .run_queue_ns = f[2][i]};
		parts[i].n_irq = f[3][i];
		parts[i].idle_ns = f[4][i] < f[1][i] ? f[4][i] : f[1][i];
		parts[i].in_progress = (uint32_t)in_progress[i];
		if (row->bytes)
			parts[i].bytes = calloc(1, sizeof *parts[i].bytes);
	}
	split_durations(row, parts, n, s);
	if (row->bytes) {
		split_bytes(row->bytes, s->count, parts, n);
		return;
	}
	apportion(row->size_count, f[0], f[3], n);
	for (size_t i = 0; i < n; i++) {
		parts[i].size = row->size;
		parts[i].size_count = f[3][i];
	}
}

static void part_fini(struct row *part)
{
	free(part->hist);
	free(part->bytes);
	free(part->samples);
}

/* ---- the tables ---- */

static bool add(struct rows *into, const struct row *row)
{
	uint32_t ix = rows_find(into, &row->key);
	if (!ix)
		return false;
	row_merge(&into->rows[ix], row);
	return true;
}

/* Keeps only the samples of one waiter stack: the others went with other parts. */
static void keep_samples(const struct aggregator *a, const struct row *row, uint32_t stack, struct row *part)
{
	for (uint32_t i = 0; row->samples && i < row->samples->n; i++) {
		const struct row_sample *s = &row->samples->list[i];
		if (s->waker_stack && (!s->stack || code_stack_canonical(&a->code, s->stack) == stack))
			row_add_sample(part, s);
	}
}

/* The second dimension: the waker's site. */
static bool settle_waker(const struct aggregator *a, const struct row *row, uint32_t waiter_stack, struct rows *into)
{
	struct shares s;
	struct row parts[ROW_SAMPLES];
	waker_shares(a, row, waiter_stack, &s);
	if (s.n <= 1) {
		struct row whole = *row;
		whole.key.waker_site = s.n ? s.stack[0] : 0;
		whole.key.flags |= ROW_WAKER_SITE_IS_STACK;
		if (whole.key.flags & ROW_SITE_IS_STACK)
			whole.samples = NULL;
		return add(into, &whole);
	}
	split_row(row, &s, parts);
	bool ok = true;
	for (size_t i = 0; i < s.n; i++) {
		parts[i].key.waker_site = s.stack[i];
		parts[i].key.flags |= ROW_WAKER_SITE_IS_STACK;
		if (parts[i].count || parts[i].blocked_ns || parts[i].run_queue_ns)
			ok = ok && add(into, &parts[i]);
		part_fini(&parts[i]);
	}
	return ok;
}

static bool settle_waiter(const struct aggregator *a, const struct row *row, bool waker_too, struct rows *into)
{
	struct shares s;
	struct row parts[ROW_SAMPLES];
	waiter_shares(a, row, &s);
	if (!s.n)
		s = (struct shares){.n = 1, .count[0] = 1};
	split_row(row, &s, parts);
	bool ok = true;
	for (size_t i = 0; i < s.n; i++) {
		parts[i].key.site = s.stack[i];
		parts[i].key.flags |= ROW_SITE_IS_STACK;
		if (parts[i].count || parts[i].blocked_ns || parts[i].run_queue_ns) {
			keep_samples(a, row, s.stack[i], &parts[i]);
			if (waker_too)
				ok = ok && settle_waker(a, &parts[i], s.stack[i], into);
			else
				ok = ok && add(into, &parts[i]);
		}
		part_fini(&parts[i]);
	}
	return ok;
}

static bool waiter_gone(const struct aggregator *a, const struct row *row)
{
	const struct thread *h = &a->tree.threads[row->key.thread];
	return h->ended || h->into;
}

static bool waker_gone(const struct aggregator *a, const struct row *row)
{
	const struct site *site = sites_get(&a->sites, row->key.waker_site);
	const struct thread *h = site ? &a->tree.threads[site->thread] : NULL;
	const struct proc *p = &a->tree.procs[row->key.waker];
	return (h && (h->ended || h->into || h->dropped)) || p->ended || p->into;
}

/* The key with all aliases resolved. */
static struct row_key resolve(const struct aggregator *a, struct row_key k)
{
	k.thread = k.flags & ROW_THREAD_IS_PROC ? tree_proc(&a->tree, k.thread) : tree_thread(&a->tree, k.thread);
	if (k.waker)
		k.waker = tree_proc(&a->tree, k.waker);
	while (a->channels.list[k.channel].into)
		k.channel = a->channels.list[k.channel].into;
	if (k.flags & ROW_SITE_IS_STACK)
		k.site = code_stack_canonical(&a->code, k.site);
	if (k.flags & ROW_WAKER_SITE_IS_STACK)
		k.waker_site = code_stack_canonical(&a->code, k.waker_site);
	return k;
}

bool settle_rows(struct aggregator *a, const struct rows *from, struct rows *into, bool all)
{
	for (size_t i = 1; i < from->n_rows; i++) {
		struct row row = from->rows[i]; /* borrows its memory */
		bool waiter = !(row.key.flags & ROW_SITE_IS_STACK) && (all || waiter_gone(a, &row));
		bool waker = !(row.key.flags & ROW_WAKER_SITE_IS_STACK) && (all || waker_gone(a, &row));
		row.key = resolve(a, row.key);
		bool ok;
		if (waiter)
			ok = settle_waiter(a, &row, waker, into);
		else if (waker)
			ok = settle_waker(a, &row, row.key.flags & ROW_SITE_IS_STACK ? row.key.site : 0, into);
		else
			ok = add(into, &row);
		if (!ok)
			return false;
	}
	return true;
}
