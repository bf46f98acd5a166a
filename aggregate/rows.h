/* SPDX-License-Identifier: Apache-2.0
 *
 * The wait graph as counted: one row per (thread, class, channel, site, waker process, waker site). The profile's wait rows and
 * edge rows are both projections of these, so one look-up per wait serves both, and the two can never disagree.
 *
 * Bounds: the caller keeps n_rows at or below a limit by rows_rebuild with coarser keys (compact.c). Rows are small until
 * they have seen more than ROW_FIRST waits, or messages of two sizes: only then histograms are allocated.
 */
#ifndef LOCKSTEP_ROWS_H
#define LOCKSTEP_ROWS_H

#include "aggregate/hist.h"
#include "aggregate/intmap.h"

#include <stdbool.h>

#define ROW_FIRST 4
#define ROW_SAMPLES 12

enum row_flags {
	ROW_SITE_IS_STACK = 1,	     /* key.site is a stack id (or 0): resolved for good */
	ROW_WAKER_SITE_IS_STACK = 2, /* the same of key.waker_site */
	ROW_SOFTIRQ = 4,	     /* the waker was the task below a softirq: a peer only if it holds the channel's other end */
	ROW_THREAD_IS_PROC = 8,	     /* key.thread is a process index: rows of all its threads together */
	ROW_ESTIMATED = 16,	     /* from ticks, not from exact waits */
};

struct row_key {
	uint32_t thread, site;
	uint32_t waker, waker_site; /* process index, 0 nobody */
	uint32_t channel;	    /* index into channels, 0 none */
	uint8_t cls, flags;
};

/* Field by field: a key has just been written so, and reading it in larger pieces would wait for the stores. */
static inline bool row_key_equal(const struct row_key *a, const struct row_key *b)
{
	return a->thread == b->thread && a->site == b->site && a->waker == b->waker && a->waker_site == b->waker_site &&
	       a->channel == b->channel && a->cls == b->cls && a->flags == b->flags;
}

/* A stack (pair of stacks) seen on a sampled wait, with what the sampled waits measured: the weights of the split. */
struct row_sample {
	uint32_t stack, waker_stack; /* stack ids, 0 not known on that wait */
	uint64_t count, blocked_ns, run_queue_ns;
};
struct row_samples {
	uint32_t n;
	struct row_sample list[ROW_SAMPLES];
};

struct row {
	struct row_key key;
	uint64_t count, blocked_ns, run_queue_ns;
	uint64_t idle_ns;     /* of blocked_ns: waits from before the observation to after it */
	uint32_t in_progress; /* of count: still waiting at the end */
	uint64_t n_irq;
	uint64_t first[ROW_FIRST]; /* the first durations, while hist is NULL */
	struct hist *hist;
	uint64_t size_count;	/* messages of the only size seen so far, while bytes is NULL */
	uint32_t size;
	struct size_hist *bytes;
	struct row_samples *samples;
};

struct rows {
	struct row *rows; /* index 0 unused */
	size_t n_rows, rows_capacity;
	uint32_t *index; /* open addressing: row index, 0 empty */
	size_t index_capacity;
};

bool rows_init(struct rows *r);
void rows_fini(struct rows *r);
/* The row of this key; 0: there is none. */
uint32_t rows_get(const struct rows *r, const struct row_key *key);
/* The row of this key, made when absent; 0: out of memory. */
uint32_t rows_find(struct rows *r, const struct row_key *key);
/* Counts one duration (blocked; run-queue of WC_NONE) n times. Out of memory: the histogram stays incomplete. */
void row_add_duration(struct row *row, uint64_t ns, uint32_t n);
void row_add_bytes(struct row *row, uint32_t bytes, uint64_t count);
void row_merge_bytes(struct size_hist *into, const struct row *row);
void row_add_sample(struct row *row, const struct row_sample *s);
/* Adds a sample to a bounded list: when full, the lightest loses its stack but keeps its weight. */
void row_samples_add(struct row_samples *list, const struct row_sample *s);
/* Adds all of `from` to `into`. What `from` owned is copied. */
void row_merge(struct row *into, const struct row *from);

/* Splits a total over n weights: parts[i] ~ total * weights[i] / sum, sum of parts == total exactly (largest remainder); all to
 * parts[0] when the weights sum to 0. */
void apportion(uint64_t total, const uint64_t *weights, uint64_t *parts, size_t n);

#endif
