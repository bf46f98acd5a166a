/* SPDX-License-Identifier: Apache-2.0
 *
 * From events to a profile: event timeline per thread -> intervals -> ledger + wait graph + interned stacks, in memory
 * that is bounded however long the run. In: struct event, one at a time (aggregator_event is an event_fn).
 * Out: a struct profile, at any moment.
 */
#ifndef LOCKSTEP_AGGREGATOR_H
#define LOCKSTEP_AGGREGATOR_H

#include "aggregate/profile.h"
#include "aggregate/window.h"
#include "sampler/err.h"

struct aggregator;

struct aggregator_options {
	uint64_t start_ns;	/* CLOCK_MONOTONIC; 0: the first event's time */
	uint32_t max_rows;	/* bound on wait, cpu and edge rows each (or one row per process and class, when that is more): the
				 * smallest are merged into rows without stack; 0: default */
	uint32_t window_events; /* bound on buffered waits per analysis window; 0: default */
	uint32_t window_ms;	/* longest analysis window; 0: default (1000) */
	uint32_t window_duty_percent; /* most of the wall time that window analysis may take at high rates; 0: default (10); 100: never pause
				       * (for replays, whose event times are not this moment's: it also makes them deterministic) */
	uint32_t cpus;		/* of the observed host, for the findings' predictions; 0: unknown, taken as one */
	const struct window_hooks *windows; /* who analyses windows; copied; NULL: windows.c */
};

struct aggregator *aggregator_new(const struct aggregator_options *opt, struct err *err); /* NULL on failure */
void aggregator_free(struct aggregator *a);
/* An event_fn: ctx is the struct aggregator. Never fails; what does not fit is counted as lost. */
void aggregator_event(void *ctx, const struct event *ev);
/* A profile of all that was told so far, findings included (aggregate/findings.h). The aggregator goes on. The caller owns it.
 * meta's host, command and so on are left for the caller to fill; lost and time figures are set. Returns 0 or -errno. */
int aggregator_profile(struct aggregator *a, struct profile **out, struct err *err);

#endif
