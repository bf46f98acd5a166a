/* SPDX-License-Identifier: Apache-2.0
 *
 * Fills windows (window.h) from accounted waits and hands them to the analysis. See window.h for what a window is.
 *
 * One buffer: a window closes at some moment (end_ns), buffering goes on for a while so that waits that straddle the end are told,
 * then the window is cut out of the buffer, and what reaches beyond its end stays for the next.
 */
#ifndef LOCKSTEP_WINDOW_BUFFER_H
#define LOCKSTEP_WINDOW_BUFFER_H

#include "aggregate/aggregator.h"
#include "aggregate/channels.h"
#include "aggregate/sites.h"

struct window_context { /* where a window's numbers come from; borrowed */
	struct tree *tree;
	struct channels *channels;
	struct sites *sites;
};

struct window_entry { /* a thread of the window being filled */
	uint32_t thread; /* index in the tree */
	uint32_t samples, tail_samples;
};

struct window_buffer {
	struct window_hooks hooks;
	uint32_t max_waits, duty_percent;
	uint64_t max_ns, max_lag_ns;
	struct window_wait *waits, *sorted; /* max_waits + slack each; waker and handoff are tree indexes in waits */
	uint32_t n, capacity;
	struct window_entry *entries;
	size_t n_entries, entries_capacity;
	uint32_t serial; /* of the buffer's present content: thread.window_ix is valid for it */
	uint64_t start_ns, end_ns; /* end_ns 0: still open */
	uint64_t covered_ns;
	uint64_t first_ns, spent_ns; /* start of the first window; CPU time of all analyses */
	uint64_t missed; /* waits that did not fit (the window then ends before them) */
};

bool window_buffer_init(struct window_buffer *b, const struct aggregator_options *opt);
void window_buffer_fini(struct window_buffer *b);
void window_buffer_start(struct window_buffer *b, uint64_t time_ns);
/* An accounted wait of a thread; waker: the tree index of its waker or 0. */
void window_buffer_wait(struct window_buffer *b, struct tree *t, uint32_t thread, const struct account_step *step,
			const struct ev_wait *ev, uint32_t waker, uint32_t handoff);
void window_buffer_sample(struct window_buffer *b, struct tree *t, uint32_t thread, uint64_t time_ns);
void window_buffer_thread_end(struct window_buffer *b, struct tree *t, uint32_t thread);
/* Time went on: analyse what is due. */
void window_buffer_advance(struct window_buffer *b, const struct window_context *c, uint64_t now_ns);
/* Analyse what there is, now, and start afresh: nothing in the buffer names a tree index afterwards. */
void window_buffer_flush(struct window_buffer *b, const struct window_context *c, uint64_t now_ns);

#endif
