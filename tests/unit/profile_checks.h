/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold for every profile, whatever the events were. Each check names itself when it fails. */
#ifndef TESTS_PROFILE_CHECKS_H
#define TESTS_PROFILE_CHECKS_H

#include "aggregate/profile.h"

#include <stdio.h>
#include <string.h>

#define CHECK_THAT(cond, ...)                                                                                                  \
	do {                                                                                                                   \
		if (!(cond)) {                                                                                                 \
			printf("profile check failed, line %d: %s: ", __LINE__, #cond);                                        \
			printf(__VA_ARGS__);                                                                                   \
			printf("\n");                                                                                          \
			return 0;                                                                                              \
		}                                                                                                              \
	} while (0)

static int check_thread_ledgers(const struct profile *p)
{
	for (size_t i = 0; i < p->n_threads; i++) {
		const struct thread_row *t = &p->threads[i];
		CHECK_THAT(ledger_sum(&t->ledger) == t->observed_ns, "tid %d: parts %llu, observed %llu", t->tid,
			   (unsigned long long)ledger_sum(&t->ledger), (unsigned long long)t->observed_ns);
		uint64_t end = t->ended_ns ? t->ended_ns : p->meta.end_ns;
		if (t->n_siblings == 1 && end == p->meta.end_ns)
			CHECK_THAT(t->observed_ns <= end - t->started_ns, "tid %d: observed beyond its life", t->tid);
		if (t->n_siblings == 1 && t->ended_ns)
			CHECK_THAT(t->observed_ns == t->ended_ns - t->started_ns, "tid %d: observed %llu, lived %llu", t->tid,
				   (unsigned long long)t->observed_ns, (unsigned long long)(t->ended_ns - t->started_ns));
	}
	return 1;
}

static int check_process_ledgers(const struct profile *p)
{
	for (size_t i = 0; i < p->n_processes; i++) {
		const struct process_row *q = &p->processes[i];
		uint64_t observed = 0;
		for (size_t k = 0; k < p->n_threads; k++)
			if (p->threads[k].pid == q->pid)
				observed += p->threads[k].observed_ns;
		CHECK_THAT(ledger_sum(&q->ledger) == q->observed_ns && q->observed_ns == observed, "pid %d", q->pid);
		for (size_t k = 0; k < i; k++)
			CHECK_THAT(p->processes[k].pid != q->pid, "pid %d has two rows", q->pid);
	}
	return 1;
}

static int check_waits_match_ledgers(const struct profile *p)
{
	for (size_t i = 0; i < p->n_processes; i++) {
		const struct process_row *q = &p->processes[i];
		uint64_t blocked[WC_COUNT] = {0}, idle = 0, run_queue = 0;
		for (size_t k = 0; k < p->n_waits; k++) {
			const struct wait_row *w = &p->waits[k];
			if (w->pid != q->pid)
				continue;
			blocked[w->cls] += w->blocked_ns;
			idle += w->idle_ns;
			run_queue += w->estimated ? 0 : w->run_queue_ns;
			CHECK_THAT(w->in_progress <= w->count, "pid %d", w->pid);
			CHECK_THAT(w->stack_ix < p->n_stacks, "pid %d", w->pid);
		}
		for (unsigned c = 0; c < WC_COUNT; c++)
			CHECK_THAT(blocked[c] == q->ledger.blocked_ns[c], "pid %d class %u: rows %llu, ledger %llu", q->pid, c,
				   (unsigned long long)blocked[c], (unsigned long long)q->ledger.blocked_ns[c]);
		CHECK_THAT(idle == q->ledger.idle_ns, "pid %d", q->pid);
		CHECK_THAT(run_queue <= q->ledger.run_queue_ns, "pid %d", q->pid);
	}
	return 1;
}

static int check_edges_within_waits(const struct profile *p)
{
	for (size_t i = 0; i < p->n_processes; i++) {
		const struct process_row *q = &p->processes[i];
		uint64_t waits = 0, edges = 0, wait_count = 0, edge_count = 0;
		for (size_t k = 0; k < p->n_waits; k++)
			if (p->waits[k].pid == q->pid && p->waits[k].cls != WC_NONE) {
				waits += p->waits[k].blocked_ns + p->waits[k].idle_ns;
				wait_count += p->waits[k].count;
			}
		for (size_t k = 0; k < p->n_edges; k++)
			if (p->edges[k].waiter_pid == q->pid) {
				edges += p->edges[k].blocked_ns;
				edge_count += p->edges[k].count;
				CHECK_THAT(p->edges[k].n_irq <= p->edges[k].count, "pid %d", q->pid);
			}
		CHECK_THAT(edges <= waits && edge_count <= wait_count, "pid %d: edges %llu, waits %llu", q->pid,
			   (unsigned long long)edges, (unsigned long long)waits);
	}
	return 1;
}

/* Only where no time was lost (lost time has no place on the timeline) and nothing was sampled. */
static int check_timeline_matches_ledgers(const struct profile *p)
{
	for (size_t i = 0; i < p->n_processes; i++) {
		const struct process_row *q = &p->processes[i];
		uint64_t on_cpu = 0, run_queue = 0, blocked = 0, ledger_blocked = q->ledger.idle_ns;
		for (size_t k = 0; k < p->n_intervals; k++)
			if (p->intervals[k].pid == q->pid) {
				on_cpu += p->intervals[k].on_cpu_ns;
				run_queue += p->intervals[k].run_queue_ns;
				blocked += p->intervals[k].blocked_ns;
				CHECK_THAT(p->intervals[k].index < 600, "pid %d", q->pid);
			}
		for (unsigned c = 0; c < WC_COUNT; c++)
			ledger_blocked += q->ledger.blocked_ns[c];
		CHECK_THAT(on_cpu == q->ledger.on_cpu_ns, "pid %d: timeline %llu, ledger %llu", q->pid, (unsigned long long)on_cpu,
			   (unsigned long long)q->ledger.on_cpu_ns);
		CHECK_THAT(run_queue == q->ledger.run_queue_ns && blocked == ledger_blocked, "pid %d", q->pid);
	}
	return 1;
}

static int check_references(const struct profile *p)
{
	for (size_t i = 0; i < p->n_stacks; i++)
		for (uint32_t k = 0; k < p->stacks[i].n; k++)
			CHECK_THAT(p->stacks[i].frame_ix[k] < p->n_frames, "stack %zu", i);
	for (size_t i = 0; i < p->n_edges; i++) {
		const struct edge_row *e = &p->edges[i];
		CHECK_THAT(e->waiter_stack_ix < p->n_stacks && e->waker_stack_ix < p->n_stacks, "edge %zu", i);
		CHECK_THAT(!e->channel || profile_channel(p, e->channel), "edge %zu", i);
		CHECK_THAT(!e->waker_pid || profile_process(p, e->waker_pid), "edge %zu: waker %d has no row", i, e->waker_pid);
	}
	for (size_t i = 0; i < p->n_waits; i++)
		CHECK_THAT(!p->waits[i].channel || profile_channel(p, p->waits[i].channel), "wait %zu", i);
	for (size_t i = 0; i < p->n_cpu; i++)
		CHECK_THAT(p->cpu[i].stack_ix < p->n_stacks, "cpu %zu", i);
	return 1;
}

static inline int check_profile(const struct profile *p)
{
	return check_thread_ledgers(p) && check_process_ledgers(p) && check_waits_match_ledgers(p) && check_edges_within_waits(p) &&
	       check_references(p);
}

static inline int check_exact_profile(const struct profile *p)
{
	return check_profile(p) && check_timeline_matches_ledgers(p);
}

#endif
