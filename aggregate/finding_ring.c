/* SPDX-License-Identifier: Apache-2.0
 *
 * Lock-step in a ring (ALGORITHMS D): A wakes B, B wakes C, C wakes A, one at a time. In: edges (who mostly ends whose waits), load
 * rows (that only one of them runs), channel ends (the hop that nobody waits for on a shared CPU). Same finding as lockstep, with
 * the ring named.
 */
#include "aggregate/finding_rules.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_ROUNDS 30
#define MAX_RING 32

/* Of a member's waits on other processes: this share must be ended by the one before it. */
#define DOMINANT 0.7

/* What of a hop's kernel time is left when messages travel in batches (see finding_lockstep.c). */
#define BATCHED_KERNEL_SHARE 0.04
#define UNSURE 1.1
/* Calls of all members that agree within 2 % (and a few of start-up) are one count. */
#define CALLS_AGREE 1.02

struct step {
	size_t from;	 /* process index: ends its waits; SIZE_MAX none */
	uint64_t count;
	double blocked_ns, latency_ns;
	size_t edge;
};

static void choose_wakers(const struct finding_context *c, struct step *steps)
{
	for (size_t i = 0; i < c->p->n_processes; i++)
		steps[i] = (struct step){.from = SIZE_MAX, .edge = SIZE_MAX};
	uint64_t *total = calloc(c->p->n_processes + 1, sizeof(*total));
	for (size_t i = 0; i < c->n_talks && total; i++)
		for (unsigned side = 0; side < 2; side++) {
			const struct talk *t = &c->talks[i];
			const struct talk_side *s = &t->side[side];
			const struct process_info *me = finding_process(c, t->pid[side]), *by = finding_process(c, t->pid[!side]);
			if (!t->in_tree || !s->count || s->by_class[WC_CHILD])
				continue;
			struct step *st = &steps[me - c->processes];
			total[me - c->processes] += s->count;
			if (s->count > st->count)
				*st = (struct step){(size_t)(by - c->processes), s->count, (double)s->blocked_ns, (double)s->run_queue_ns, s->top_edge};
		}
	for (size_t i = 0; i < c->p->n_processes && total; i++)
		if ((double)steps[i].count < DOMINANT * (double)total[i])
			steps[i].from = SIZE_MAX;
	free(total);
}

/* On a shared CPU one member never waits: it is preempted by the one it woke, and its message is there when it goes on. Who sends
 * it is told by a channel that it reads and another one writes, over which nobody ever waited. */
static size_t silent_sender(const struct finding_context *c, size_t i)
{
	int32_t me = c->processes[i].row->pid;
	for (size_t k = 0; k < c->p->n_channels; k++) {
		const struct channel_row *ch = &c->p->channels[k];
		bool reads = false, waited = false;
		const struct process_info *writer = NULL;
		for (size_t e = 0; e < ch->n_ends; e++) {
			if (ch->ends[e].pid == me && ch->ends[e].role & END_READER)
				reads = true;
			else if (ch->ends[e].pid != me && ch->ends[e].role & END_WRITER)
				writer = writer ? writer : finding_process(c, ch->ends[e].pid);
		}
		for (size_t e = 0; e < c->p->n_edges && reads && writer && !waited; e++)
			waited = c->p->edges[e].channel == ch->id && c->p->edges[e].count > 10;
		if (reads && writer && !waited)
			return (size_t)(writer - c->processes);
	}
	return SIZE_MAX;
}

static void close_silent(const struct finding_context *c, struct step *steps)
{
	for (size_t i = 0; i < c->p->n_pairs; i++) {
		const struct pair_row *p = &c->p->pairs[i];
		int32_t pids[2] = {p->pid_a, p->pid_b};
		uint64_t hands[2] = {p->a_hands_b, p->b_hands_a}, waits[2] = {p->a_waits_b, p->b_waits_a};
		for (unsigned k = 0; k < 2; k++) {
			const struct process_info *me = finding_process(c, pids[k]);
			if (!me || hands[k] < MIN_ROUNDS || waits[k] > hands[k] / 4 || steps[me - c->processes].from != SIZE_MAX ||
			    steps[me - c->processes].count > hands[k] / 4)
				continue;
			struct step *s = &steps[me - c->processes];
			s->from = silent_sender(c, (size_t)(me - c->processes));
			s->count = hands[k];
			s->edge = SIZE_MAX;
		}
	}
}

struct ring {
	size_t member[MAX_RING];
	unsigned n;
	double rounds, work_ns, batched_ns, active;
};

static bool follow(const struct step *steps, size_t start, struct ring *r)
{
	r->n = 0;
	for (size_t at = start; r->n < MAX_RING; at = steps[at].from) {
		if (at == SIZE_MAX || (r->n && at < start)) /* each ring once: from its first process */
			return false;
		if (r->n && at == start)
			return r->n > 2;
		for (unsigned i = 0; i < r->n; i++)
			if (r->member[i] == at)
				return false;
		r->member[r->n++] = at;
	}
	return false;
}

/* Where the members do nothing but pass on, their calls count the rounds exactly: one read and one write of each. A member whose message was
 * there already does not wait, so waits count less. */
static double exact_rounds(const struct finding_context *c, const struct ring *r)
{
	double least = INFINITY, most = 0;
	for (unsigned i = 0; i < r->n; i++) {
		const struct process_row *row = c->processes[r->member[i]].row;
		least = fmin(least, fmin((double)row->rd_calls, (double)row->wr_calls));
		most = fmax(most, fmax((double)row->rd_calls, (double)row->wr_calls));
	}
	return most < least * CALLS_AGREE + 20 ? least : 0;
}

static double pair_overlap(const struct finding_context *c, const struct process_info *a, const struct process_info *b)
{
	const struct talk *t = finding_talk(c, a->row->pid, b->row->pid);
	if (!t || !t->pair || !t->pair->run_either_ns)
		return 1;
	return (double)t->pair->run_both_ns / (double)t->pair->run_either_ns;
}

/* The ring is in step when every hop happens equally often and all its members together run about one at a time. */
static double weigh(const struct finding_context *c, const struct step *steps, struct ring *r)
{
	double least = INFINITY, most = 0, run = 0, waits = 1, overlap = 0;
	double calls_least = INFINITY, calls_most = 0;
	r->active = 1;
	for (unsigned i = 0; i < r->n; i++) {
		const struct process_info *p = &c->processes[r->member[i]];
		const struct step *s = &steps[r->member[i]];
		double kernel = p->samples >= 10 ? p->kernel_ns / (p->kernel_ns + p->user_ns + 1) : 0.75;
		if (s->edge != SIZE_MAX) {
			least = fmin(least, (double)s->count);
			most = fmax(most, (double)s->count);
			waits = fmin(waits, (s->blocked_ns + s->latency_ns + (double)p->row->ledger.on_cpu_ns) / (p->lifetime_ns + 1));
		}
		run += p->load ? (double)p->load->run_ns / c->window_ns : 0;
		overlap += pair_overlap(c, p, &c->processes[r->member[(i + 1) % r->n]]) / r->n;
		calls_least = fmin(calls_least, (double)(p->row->rd_calls < p->row->wr_calls ? p->row->rd_calls : p->row->wr_calls));
		calls_most = fmax(calls_most, (double)(p->row->rd_calls > p->row->wr_calls ? p->row->rd_calls : p->row->wr_calls));
		r->work_ns += (double)p->row->ledger.on_cpu_ns;
		r->batched_ns += (double)p->row->ledger.on_cpu_ns * (1 - kernel + kernel * BATCHED_KERNEL_SHARE);
	}
	if (!isfinite(least) || least < MIN_ROUNDS)
		return 0;
	r->rounds = fmax(most, exact_rounds(c, r));
	r->active = fmin(1, waits);
	return finding_ramp(least / most, 0.4, 0.8) * finding_ramp(overlap, 0.4, 0.2) * finding_ramp(run, 1.4, 1.1) *
	       finding_ramp(waits, 0.1, 0.4);
}

static void tell(struct finding_context *c, const struct step *steps, const struct ring *r, double strong)
{
	struct finding *f = finding_new(c, FIND_LOCKSTEP);
	if (!f)
		return;
	finding_weigh(c, f, false, (uint64_t)r->rounds);
	char names[512] = "", name[FINDING_NAME], site[FINDING_SITE], where[768] = "";
	double life = INFINITY;
	const struct edge_row *first = NULL;
	for (unsigned i = r->n; i-- > 0;) { /* from waker to waiter */
		const struct process_info *p = &c->processes[r->member[i]];
		finding_add_pid(c, f, p->row->pid);
		life = fmin(life, p->lifetime_ns);
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", *names ? " -> " : "", finding_name(c, p->row->pid, name));
		if (steps[r->member[i]].edge == SIZE_MAX)
			continue;
		const struct edge_row *e = &c->p->edges[steps[r->member[i]].edge];
		first = first ? first : e;
		finding_add_channel(c, f, e->channel);
		finding_add_evidence(c, f, "waits here", e->waiter_pid, e->waiter_stack_ix);
		finding_add_evidence(c, f, "passes on from here", e->waker_pid, e->waker_stack_ix);
		snprintf(where + strlen(where), sizeof(where) - strlen(where), "%s%s in %s", *where ? "; " : "", name,
			 *finding_site(c, e->waiter_stack_ix, site) ? site : "unknown code");
	}
	if (first && first->bytes.total_count) {
		f->bytes_p50 = size_hist_quantile(&first->bytes, 0.5);
		f->bytes_p99 = size_hist_quantile(&first->bytes, 0.99);
	}
	f->share_of_wall = r->active;
	f->round_trips_per_s = r->rounds * 1e9 / life;
	double cpus = fmin(c->p->meta.cpus ? c->p->meta.cpus : 1, r->n), whole = life * r->active;
	double low = r->batched_ns / whole, high = r->batched_ns / cpus / whole;
	finding_predict(c, f, 1 / (1 - strong * r->active * (1 - fmin(1, low * UNSURE))), 1 / (1 - strong * r->active * (1 - fmin(1, high / UNSURE))));
	char n[32], size[32], of[64] = "";
	if (f->bytes_p50 > 0)
		snprintf(of, sizeof(of), " of %s", finding_size(f->bytes_p50, size));
	finding_say(c, &f->title, "%u processes wait for each other in a ring over %s, one runs at a time (%s -> the first): %s rounds a second%s", r->n,
		    finding_medium(c, f->n_channels ? f->channels[0] : 0), names, finding_count(f->round_trips_per_s, n), of);
	finding_say(c, &f->where, "%s", where);
	finding_say(c, &f->advice, "Let several messages go round at once (batch, or do not wait for each round): %.1f to %.1f times as fast",
		    f->speedup_low, f->speedup_high);
}

static void run(struct finding_context *c)
{
	struct step *steps = calloc(c->p->n_processes + 1, sizeof(*steps));
	if (!steps) {
		c->out_of_memory = true;
		return;
	}
	choose_wakers(c, steps);
	close_silent(c, steps);
	for (size_t i = 0; i < c->p->n_processes; i++) {
		struct ring r = {.n = 0};
		if (!c->processes[i].row->in_tree || !follow(steps, i, &r))
			continue;
		double strong = weigh(c, steps, &r);
		if (strong > 0)
			tell(c, steps, &r, strong);
	}
	free(steps);
}

const struct finding_rule finding_ring = {FIND_LOCKSTEP, run};
