/* SPDX-License-Identifier: Apache-2.0
 *
 * Two histograms: durations (log2 with sub-buckets, fixed size) and sizes (exact while few distinct values).
 */
#ifndef LOCKSTEP_HIST_H
#define LOCKSTEP_HIST_H

#include <stddef.h>
#include <stdint.h>

/* HIST_SUB linear sub-buckets per power of two: values below HIST_SUB have a bucket each; above, bucket
 * (octave, sub) covers [2^o * (1 + s/HIST_SUB), 2^o * (1 + (s+1)/HIST_SUB)). Covers 0 .. 2^42 ns (73 min); larger
 * values fall into the last bucket. Same scheme as HdrHistogram with 2 significant bits. */
#define HIST_SUB 4
#define HIST_BUCKETS 164
struct hist {
	uint32_t n[HIST_BUCKETS];
};
unsigned hist_bucket(uint64_t value);
uint64_t hist_bucket_low(unsigned bucket); /* smallest value of the bucket */
void hist_add(struct hist *h, uint64_t value, uint32_t count); /* counts saturate */
void hist_merge(struct hist *into, const struct hist *from);
uint64_t hist_total(const struct hist *h);
/* The q-quantile (0..1), interpolated linearly inside its bucket; 0 when empty. Error <= half a bucket (12 %). */
double hist_quantile(const struct hist *h, double q);

/* Message sizes: exact (value, count) pairs for up to SIZE_HIST_EXACT distinct values, the rest in log2 buckets. */
#define SIZE_HIST_EXACT 12
struct size_hist {
	uint32_t n_exact;
	struct {
		uint32_t value;
		uint64_t count;
	} exact[SIZE_HIST_EXACT];
	uint64_t log2[33]; /* values that found no exact slot: bucket = bit length */
	uint64_t total_count, total_bytes;
};
void size_hist_add(struct size_hist *h, uint32_t bytes, uint64_t count);
void size_hist_merge(struct size_hist *into, const struct size_hist *from);
double size_hist_quantile(const struct size_hist *h, double q); /* exact when it falls on an exact value */

#endif
