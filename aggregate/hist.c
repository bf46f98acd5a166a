/* SPDX-License-Identifier: Apache-2.0
 *
 * Histograms. In: single values; out: quantiles. Fixed size, so that a row costs the same after a second and after a day.
 */
#include "aggregate/hist.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(HIST_SUB == 4, "the shifts below are written for four sub-buckets");

unsigned hist_bucket(uint64_t value)
{
	if (value < HIST_SUB)
		return (unsigned)value;
	unsigned octave = 63 - (unsigned)__builtin_clzll(value);
	unsigned b = HIST_SUB + (octave - 2) * HIST_SUB + ((value >> (octave - 2)) & (HIST_SUB - 1));
	return b < HIST_BUCKETS ? b : HIST_BUCKETS - 1;
}

uint64_t hist_bucket_low(unsigned bucket)
{
	if (bucket < HIST_SUB)
		return bucket;
	unsigned octave = (bucket - HIST_SUB) / HIST_SUB + 2, sub = bucket % HIST_SUB;
	return (uint64_t)(HIST_SUB + sub) << (octave - 2);
}

static uint32_t add_saturating(uint32_t a, uint32_t b)
{
	uint32_t sum;
	return __builtin_add_overflow(a, b, &sum) ? UINT32_MAX : sum;
}

void hist_add(struct hist *h, uint64_t value, uint32_t count)
{
	uint32_t *n = &h->n[hist_bucket(value)];
	*n = add_saturating(*n, count);
}

void hist_merge(struct hist *into, const struct hist *from)
{
	for (unsigned b = 0; b < HIST_BUCKETS; b++)
		into->n[b] = add_saturating(into->n[b], from->n[b]);
}

uint64_t hist_total(const struct hist *h)
{
	uint64_t total = 0;
	for (unsigned b = 0; b < HIST_BUCKETS; b++)
		total += h->n[b];
	return total;
}

/* Where inside [low, high) the wanted rank lies, when `count` values are spread evenly over it; a bucket that holds one
 * integer only is exact. */
static double interpolate(uint64_t low, uint64_t high, double rank_inside, double count)
{
	if (high - low <= 1)
		return (double)low;
	return (double)low + (double)(high - low) * (rank_inside / count);
}

static double clamp_quantile(double q)
{
	return q >= 0 ? (q <= 1 ? q : 1) : 0; /* NaN falls to 0 */
}

double hist_quantile(const struct hist *h, double q)
{
	uint64_t total = hist_total(h);
	double want = clamp_quantile(q) * (double)total, seen = 0;
	for (unsigned b = 0; b < HIST_BUCKETS; b++) {
		if (!h->n[b])
			continue;
		if (seen + h->n[b] >= want)
			return interpolate(hist_bucket_low(b), hist_bucket_low(b + 1), want - seen, h->n[b]);
		seen += h->n[b];
	}
	return 0;
}

static unsigned bit_length(uint32_t v)
{
	return v ? 32 - (unsigned)__builtin_clz(v) : 0;
}

/* Counts a value without touching the totals. */
static void place(struct size_hist *h, uint32_t bytes, uint64_t count)
{
	for (uint32_t i = 0; i < h->n_exact; i++)
		if (h->exact[i].value == bytes) {
			h->exact[i].count += count;
			return;
		}
	if (h->n_exact < SIZE_HIST_EXACT) {
		h->exact[h->n_exact].value = bytes;
		h->exact[h->n_exact++].count = count;
		return;
	}
	h->log2[bit_length(bytes)] += count;
}

void size_hist_add(struct size_hist *h, uint32_t bytes, uint64_t count)
{
	if (!count)
		return;
	place(h, bytes, count);
	h->total_count += count;
	h->total_bytes += bytes * count;
}

void size_hist_merge(struct size_hist *into, const struct size_hist *from)
{
	for (uint32_t i = 0; i < from->n_exact; i++)
		place(into, from->exact[i].value, from->exact[i].count);
	for (unsigned b = 0; b < 33; b++)
		into->log2[b] += from->log2[b];
	into->total_count += from->total_count;
	into->total_bytes += from->total_bytes;
}

struct span {
	uint64_t low, high; /* values in [low, high) */
	uint64_t count;
};

static int by_low(const void *a, const void *b)
{
	const struct span *x = a, *y = b;
	if (x->low != y->low)
		return x->low < y->low ? -1 : 1;
	return x->high < y->high ? -1 : x->high > y->high;
}

double size_hist_quantile(const struct size_hist *h, double q)
{
	struct span s[SIZE_HIST_EXACT + 33];
	size_t n = 0;
	uint64_t total = 0;
	for (uint32_t i = 0; i < h->n_exact && i < SIZE_HIST_EXACT; i++)
		s[n++] = (struct span){h->exact[i].value, (uint64_t)h->exact[i].value + 1, h->exact[i].count};
	for (unsigned b = 0; b < 33; b++)
		if (h->log2[b])
			s[n++] = (struct span){b ? 1ull << (b - 1) : 0, b ? 1ull << b : 1, h->log2[b]};
	qsort(s, n, sizeof *s, by_low);
	for (size_t i = 0; i < n; i++)
		total += s[i].count;

	double want = clamp_quantile(q) * (double)total, seen = 0;
	for (size_t i = 0; i < n; i++) {
		if (seen + (double)s[i].count >= want)
			return interpolate(s[i].low, s[i].high, want - seen, (double)s[i].count);
		seen += (double)s[i].count;
	}
	return 0;
}
