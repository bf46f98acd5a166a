/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a simulated story through the production aggregator and keeps the profile. Shared by the tests of findings.
 */
#ifndef LOCKSTEP_TESTS_STORIES_H
#define LOCKSTEP_TESTS_STORIES_H

#include "aggregate/aggregator.h"
#include "tests/unit/sim.h"

struct story {
	struct sim s;
	struct aggregator *agg;
	struct profile *p;
	uint64_t ns;
	int32_t pid[80];
	int n_pids;
	uint64_t per_item; /* 0: one */
	struct code *codes[64];
	int n_codes;
};

static inline struct story *story_new(int cpus)
{
	struct story *st = calloc(1, sizeof(*st));
	struct aggregator_options opt = {.window_duty_percent = 100, .cpus = (uint32_t)cpus};
	struct err err;
	st->agg = aggregator_new(&opt, &err);
	assert(st->agg);
	sim_init(&st->s, cpus, aggregator_event, st->agg);
	return st;
}

/* Runs to its end (or for ms) and makes the profile. */
static inline void story_run(struct story *st, uint64_t ms)
{
	struct err err;
	st->s.until_ns = ms ? ms * 1000000 : SIM_NEVER;
	st->ns = sim_run(&st->s);
	int rc = aggregator_profile(st->agg, &st->p, &err);
	assert(rc == 0);
	(void)rc;
}

/* Items per second of simulated time. */
static inline double story_rate(const struct story *st)
{
	return (double)st->s.items * (double)(st->per_item ? st->per_item : 1) * 1e9 / (double)st->ns;
}

static inline void story_free(struct story *st)
{
	for (int i = 0; i < st->n_codes; i++)
		free(st->codes[i]);
	profile_free(st->p);
	aggregator_free(st->agg);
	sim_fini(&st->s);
	free(st);
}

static inline void story_print(const char *what, const struct story *st)
{
	printf("== %s: %.1f ms, %lu items, %lu waits, %zu findings\n", what, (double)st->ns / 1e6, st->s.items, st->s.n_waits,
	       st->p->n_findings);
	for (size_t i = 0; i < st->p->n_findings; i++) {
		const struct finding *f = &st->p->findings[i];
		printf("   %u. %s [x%.2f..%.2f conf %d share %.2f also %x]\n      %s\n      %s\n      %s\n", f->id, finding_kind_name(f->kind),
		       f->speedup_low, f->speedup_high, f->confidence, f->share_of_wall, f->also, f->title, f->where, f->advice);
	}
}

#endif
