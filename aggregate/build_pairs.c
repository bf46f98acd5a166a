/* SPDX-License-Identifier: Apache-2.0
 *
 * Turns of pairs that were only sampled. In: pair rows as the windows saw the ticks (times are right: each instant is a sample; counts are
 * not: a tick is no wait), edges with counts from exact counters; out: pair rows whose counts come from the counters.
 *
 * Alternation cannot be seen between ticks. It is bounded from above: of a and b waits at most 2 * min(a, b) turns change side. Where one
 * side hardly waits, its involuntary switches (it is preempted by the one it wakes, on a shared CPU) count as hand-offs.
 */
#include "aggregate/agg.h"

static uint64_t waits_of(const struct profile *p, int32_t waiter, int32_t waker)
{
	uint64_t n = 0;
	for (size_t i = 0; i < p->n_edges; i++)
		if (p->edges[i].estimated && p->edges[i].waiter_pid == waiter && p->edges[i].waker_pid == waker)
			n += p->edges[i].count;
	return n;
}

static uint64_t preemptions_of(const struct profile *p, int32_t pid)
{
	const struct process_row *r = profile_process(p, pid);
	return r ? r->ledger.preemptions : 0;
}

static uint64_t hand_offs(const struct profile *p, int32_t pid, uint64_t own_waits, uint64_t others_waits)
{
	if (own_waits * 4 >= others_waits)
		return 0;
	uint64_t most = others_waits - own_waits, preempted = preemptions_of(p, pid);
	return preempted < most ? preempted : most;
}

void build_sampled_pairs(struct profile *p)
{
	for (size_t i = 0; i < p->n_pairs; i++) {
		struct pair_row *r = &p->pairs[i];
		uint64_t a = waits_of(p, r->pid_a, r->pid_b), b = waits_of(p, r->pid_b, r->pid_a);
		if (!a && !b)
			continue; /* measured */
		r->a_waits_b = a;
		r->b_waits_a = b;
		r->a_hands_b = hand_offs(p, r->pid_a, a, b);
		r->b_hands_a = hand_offs(p, r->pid_b, b, a);
		a += r->a_hands_b;
		b += r->b_hands_a;
		r->turns = a + b;
		r->switches = 2 * (a < b ? a : b);
		if (r->turns && r->switches > r->turns - 1)
			r->switches = r->turns - 1;
	}
}
