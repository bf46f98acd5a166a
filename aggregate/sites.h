/* SPDX-License-Identifier: Apache-2.0
 *
 * Sites: classes of equal (thread, ip, sp). The backend tells every wait's site, but the stack of few: first sight, then a random
 * few hundred a second. Here the sampled stacks of each site are kept with what the sampled waits measured, so
 * that a site's exact time can be split over its stacks in proportion (ratio estimator).
 *
 * A site has two roles: where its thread waits, and where its thread wakes others; they are weighed apart.
 */
#ifndef LOCKSTEP_SITES_H
#define LOCKSTEP_SITES_H

#include "aggregate/rows.h"

struct site {
	uint32_t id;
	uint32_t thread;	      /* index: with its end the site ends */
	uint32_t heaviest;	      /* stack of most sampled waits; 0 none yet */
	struct row_samples wait, wake; /* .stack only (wake: the waker's stack, weighed by the waits that it ended) */
};

struct sites {
	struct intmap by_id;
	struct site *sites;
	size_t n, capacity;
};

void sites_fini(struct sites *s);
struct site *sites_get(const struct sites *s, uint32_t id); /* NULL: never sampled; valid until the next sites_add */
/* A sampled wait at a site (of `thread`) and at its waker's. False: out of memory. */
bool sites_add_wait(struct sites *s, uint32_t id, uint32_t thread, const struct row_sample *sample);
bool sites_add_wake(struct sites *s, uint32_t id, uint32_t thread, const struct row_sample *sample);
/* Forgets the sites for which gone(ctx, thread) holds. */
void sites_prune(struct sites *s, bool (*gone)(void *ctx, uint32_t thread), void *ctx);

#endif
