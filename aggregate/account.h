/* SPDX-License-Identifier: Apache-2.0
 *
 * One thread's time, accounted without gap or overlap. In: its waits as the backend tells them, in whatever order and however
 * inconsistent; out: a ledger whose parts sum to (cursor - started), to the nanosecond, always.
 *
 * How: the cursor is the moment up to which everything is accounted. A wait is cut at the cursor and put into order
 * (out <= wake <= run); what lies between the cursor and the wait was spent on the CPU, less folded preemptions and lost
 * waits, whose place in time is unknown. So wakes before the switch-out, waits told twice or late, and clocks that
 * disagree can shorten a part, but never count a nanosecond twice.
 */
#ifndef LOCKSTEP_ACCOUNT_H
#define LOCKSTEP_ACCOUNT_H

#include "aggregate/profile.h"

struct account {
	uint64_t started_ns, cursor_ns;
	uint64_t pending_lost_ns; /* told by lost records, not yet placed: goes into the next gap */
	struct ledger ledger;
};

/* What one wait (or gap) came to after cutting. */
struct account_step {
	uint64_t from;		      /* the cursor before */
	uint64_t out, wake, run;      /* from <= out <= wake <= run == the cursor after */
	uint64_t gap_run_queue_ns;    /* of out - from: folded preemptions */
	uint64_t gap_lost_ns;	      /* of out - from: lost waits */
};

void account_start(struct account *a, uint64_t time_ns);
/* The thread was already there earlier than thought: what came before is taken as on-CPU. Later times are ignored. */
void account_backdate(struct account *a, uint64_t time_ns);
/* A wait with .lost set only adds to what is pending; the step is then empty. */
struct account_step account_wait(struct account *a, uint64_t t_out, const struct ev_wait *w);
/* Nothing but running (and what is pending) from the cursor to until_ns. */
struct account_step account_run_until(struct account *a, uint64_t until_ns);

#endif
