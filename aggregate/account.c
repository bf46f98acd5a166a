/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregate/account.h"

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void account_start(struct account *a, uint64_t time_ns)
{
	*a = (struct account){.started_ns = time_ns, .cursor_ns = time_ns};
}

void account_backdate(struct account *a, uint64_t time_ns)
{
	if (time_ns >= a->started_ns)
		return;
	a->ledger.on_cpu_ns += a->started_ns - time_ns;
	a->started_ns = time_ns;
}

/* Accounts [cursor, out): lost waits first (their sums are exact), then folded preemptions, the rest ran. */
static void account_gap(struct account *a, struct account_step *s, uint64_t folded_ns)
{
	uint64_t gap = s->out - s->from;
	s->gap_lost_ns = min_u64(a->pending_lost_ns, gap);
	a->pending_lost_ns -= s->gap_lost_ns;
	s->gap_run_queue_ns = min_u64(folded_ns, gap - s->gap_lost_ns);
	a->ledger.lost_ns += s->gap_lost_ns;
	a->ledger.run_queue_ns += s->gap_run_queue_ns;
	a->ledger.on_cpu_ns += gap - s->gap_lost_ns - s->gap_run_queue_ns;
}

struct account_step account_wait(struct account *a, uint64_t t_out, const struct ev_wait *w)
{
	struct account_step s = {.from = a->cursor_ns, .out = a->cursor_ns, .wake = a->cursor_ns, .run = a->cursor_ns};
	if (w->lost) {
		if (w->t_run > t_out)
			a->pending_lost_ns += w->t_run - t_out;
		a->ledger.waits += w->lost_count;
		return s;
	}
	s.out = max_u64(t_out, s.from);
	s.run = max_u64(w->t_run, s.out);
	s.wake = w->cls == WC_NONE ? s.out : min_u64(max_u64(w->t_wake, s.out), s.run);
	account_gap(a, &s, w->folded_ns);
	a->ledger.blocked_ns[w->cls] += s.wake - s.out;
	a->ledger.run_queue_ns += s.run - s.wake;
	a->ledger.preemptions += w->folded_count + (w->cls == WC_NONE);
	a->ledger.waits += w->cls != WC_NONE;
	a->cursor_ns = s.run;
	return s;
}

struct account_step account_run_until(struct account *a, uint64_t until_ns)
{
	struct account_step s = {.from = a->cursor_ns};
	s.out = s.wake = s.run = max_u64(until_ns, a->cursor_ns);
	account_gap(a, &s, 0);
	a->cursor_ns = s.run;
	return s;
}
