/* SPDX-License-Identifier: Apache-2.0
 *
 * Histograms as sparse blobs. In: struct hist or the buckets of a struct size_hist; out: LEB128 varints, so that an empty
 * histogram has no bytes and a typical one some twenty. A blob is canonical: the decoder refuses what the encoder would not write,
 * hence whatever loads is a legal histogram.
 */
#include "aggregate/profile_db_schema.h"

#include <errno.h>
#include <string.h>

static size_t put(uint8_t *out, size_t at, uint64_t v)
{
	while (v >= 0x80) {
		out[at++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	out[at++] = (uint8_t)v;
	return at;
}

struct cursor {
	const uint8_t *in;
	size_t n, at;
	bool bad;
};

static uint64_t get(struct cursor *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && c->at < c->n; shift += 7) {
		uint8_t b = c->in[c->at++];
		if (shift == 63 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	c->bad = true;
	return 0;
}

/* (gap to the next used bucket, count) pairs. */
size_t db_hist_encode(const struct hist *h, uint8_t *out)
{
	size_t at = 0;
	unsigned next = 0;

	for (unsigned b = 0; b < HIST_BUCKETS; b++) {
		if (!h->n[b])
			continue;
		at = put(out, at, b - next);
		at = put(out, at, h->n[b]);
		next = b + 1;
	}
	return at;
}

int db_hist_decode(struct hist *h, const uint8_t *in, size_t n)
{
	struct cursor c = {.in = in, .n = n};
	uint64_t next = 0;

	memset(h, 0, sizeof *h);
	while (c.at < c.n) {
		uint64_t gap = get(&c), count = get(&c);
		if (c.bad || gap >= HIST_BUCKETS - next || count == 0 || count > UINT32_MAX)
			return -EINVAL;
		h->n[next + gap] = (uint32_t)count;
		next += gap + 1;
	}
	return 0;
}

/* Number of exact values, (value, count) each, then (gap, count) pairs of the log2 buckets. */
size_t db_sizes_encode(const struct size_hist *h, uint8_t *out)
{
	size_t at = 0;
	unsigned next = 0;

	if (!h->total_count)
		return 0;
	at = put(out, at, h->n_exact);
	for (uint32_t i = 0; i < h->n_exact; i++) {
		at = put(out, at, h->exact[i].value);
		at = put(out, at, h->exact[i].count);
	}
	for (unsigned b = 0; b < 33; b++) {
		if (!h->log2[b])
			continue;
		at = put(out, at, b - next);
		at = put(out, at, h->log2[b]);
		next = b + 1;
	}
	return at;
}

/* Totals are columns of their own and are left alone. */
int db_sizes_decode(struct size_hist *h, const uint8_t *in, size_t n)
{
	struct cursor c = {.in = in, .n = n};
	uint64_t next = 0, n_exact;

	if (n == 0)
		return 0;
	n_exact = get(&c);
	if (c.bad || n_exact > SIZE_HIST_EXACT)
		return -EINVAL;
	h->n_exact = (uint32_t)n_exact;
	for (uint32_t i = 0; i < h->n_exact; i++) {
		uint64_t value = get(&c), count = get(&c);
		if (c.bad || value > UINT32_MAX || count == 0 || count > DB_MAX_U64)
			return -EINVAL;
		h->exact[i].value = (uint32_t)value;
		h->exact[i].count = count;
	}
	while (c.at < c.n) {
		uint64_t gap = get(&c), count = get(&c);
		if (c.bad || gap >= 33 - next || count == 0 || count > DB_MAX_U64)
			return -EINVAL;
		h->log2[next + gap] = count;
		next += gap + 1;
	}
	return 0;
}
