/* SPDX-License-Identifier: Apache-2.0
 *
 * Lock-step (ALGORITHMS D): two processes that take turns, each waiting while the other works, so that every message pays a
 * wake-up, a switch and two system calls, and neither side ever overlaps the other. In: pair rows (alternation, coverage,
 * overlap over the analysed windows), edges (exact counts and sizes), CPU samples (user against kernel time). Rings of more than
 * two are finding_ring.c.
 */
#include "aggregate/finding_rules.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Turns below which alternation is chance. Full confidence needs LOCKSTEP_TURNS. */
#define LOCKSTEP_MIN_TURNS 30

/* What of the kernel's time per message is left when k messages travel per round trip: the copy. Measured on pipes with
 * 200-byte messages: batches of 1,000 keep about 4 % of the single message's kernel time. */
#define BATCHED_KERNEL_SHARE 0.04

/* Copying is not saved by batches: some 4 GB/s. */
#define COPY_NS_PER_BYTE 0.25

/* What is left unexplained of kernel time when no sample tells user from kernel: message passing is mostly kernel time. */
#define UNSAMPLED_KERNEL_SHARE 0.75

/* Calls of both sides within this factor (and a few at the start) are calls of the conversation and nothing else. */
#define CALLS_AGREE 1.02

/* The low end of the prediction overlaps half (on a log scale) of what could overlap; both ends are this factor unsure. */
#define UNSURE 1.1

struct lockstep {
	const struct talk *t;
	const struct process_info *a, *b;
	double strength;	/* 0..1 */
	bool calls_agree;	/* each reads and writes once per round trip and does nothing else */
	double rounds, rate;	/* exact, whole run; per second of the pair's common life */
	double round_ns;	/* one round trip, mean */
	double active_share;	/* of the wall time */
	double new_low_ns, new_high_ns; /* a round trip's work when messages are batched: serial, overlapped */
	bool service_bound;
};

static double share(double x, double of)
{
	return of > 0 ? x / of : 0;
}

static uint64_t writes_waited(const struct talk_side *s)
{
	return s->by_class[WC_PIPE_WRITE] + s->by_class[WC_UNIX_WRITE] + s->by_class[WC_TCP_WRITE];
}

/* Whether a channel leads from one to the other. -1: the ends of neither are known. */
static int leads(const struct finding_context *c, int32_t from, int32_t to)
{
	bool known = false;
	for (size_t i = 0; i < c->p->n_channels; i++) {
		const struct channel_row *ch = &c->p->channels[i];
		bool writes = false, reads = false;
		for (size_t e = 0; e < ch->n_ends && ch->kind != CH_CHILD; e++) {
			writes |= ch->ends[e].pid == from && ch->ends[e].role & END_WRITER;
			reads |= ch->ends[e].pid == to && ch->ends[e].role & END_READER;
			known |= ch->ends[e].pid == to && ch->ends[e].role & END_READER;
		}
		if (writes && reads)
			return 1;
	}
	return known ? 0 : -1;
}

/* A side that never waited is seen by its hand-offs alone, and a one-way stream on a shared CPU has those too. Only when the other
 * one has a channel to answer over, and the calls say that it does, is it a conversation. Futexes are neither read nor
 * written: there the hand-off is all the evidence there is. */
static double answered(const struct finding_context *c, const struct lockstep *l)
{
	const struct talk_side *s = l->t->side;
	uint64_t waits[2] = {s[0].count, s[1].count};
	if (waits[0] * 4 >= waits[1] && waits[1] * 4 >= waits[0])
		return 1;
	const struct process_info *silent = waits[0] < waits[1] ? l->a : l->b, *other = silent == l->a ? l->b : l->a;
	const struct talk_side *busy = waits[0] < waits[1] ? &s[1] : &s[0];
	if ((busy->by_class[WC_FUTEX] + busy->by_class[WC_IPC_QUEUE]) * 2 > busy->count)
		return 1;
	if (leads(c, other->row->pid, silent->row->pid) == 0)
		return 0;
	bool socket = (busy->by_class[WC_PIPE_READ]) * 2 < busy->count;
	if (socket) /* sends and receives are no reads and writes: their calls are not counted */
		return 1;
	double n = (double)busy->count;
	double reads = (double)silent->row->rd_calls / n, writes = (double)other->row->wr_calls / n;
	return finding_ramp(reads < writes ? reads : writes, 0.4, 0.8);
}

/* Alternation, coverage and overlap with soft edges. At the hard values of ALGORITHMS D (0.9, 0.6, 0.1) it
 * is full; on a busy machine preemptions and a process's own hand-offs make turns look less clean than they are. */
static double strength(const struct finding_context *c, const struct lockstep *l)
{
	const struct pair_row *p = l->t->pair;
	double alternation = share((double)p->switches, (double)p->turns - 1);
	/* On a busy machine a turn may pass without a wait: the answer is there before anybody asks for it. Then it is the calls that say
	 * that they take turns, and overlap and coverage whether in step. */
	double both = fmin((double)(p->a_waits_b + p->a_hands_b), (double)(p->b_waits_a + p->b_hands_a));
	if (l->calls_agree && both > 0.2 * (double)p->turns)
		alternation = fmax(alternation, 0.8);
	double coverage = share((double)p->covered_ns, (double)p->active_ns);
	double overlap = share((double)p->run_both_ns, (double)p->run_either_ns);
	double full = (double)(writes_waited(&l->t->side[0]) + writes_waited(&l->t->side[1]));
	double count = (double)(l->t->side[0].count + l->t->side[1].count);
	return finding_ramp(alternation, 0.5, 0.8) * finding_ramp(coverage, 0.3, 0.6) * finding_ramp(overlap, l->calls_agree ? 0.6 : 0.4, l->calls_agree ? 0.3 : 0.15) *
	       finding_ramp(share(full, count), 0.3, 0.05) * answered(c, l);
}

/* Round trips. Where neither side does anything but talk to the other, its calls count them exactly: one write and one read of each
 * per round trip. Else the side that waited more does: on an idle machine it waits once per round trip, be the other preempted
 * or not. */
static void count_rounds(struct lockstep *l)
{
	const struct process_row *a = l->a->row, *b = l->b->row;
	const struct talk_side *s = l->t->side;
	double calls[] = {(double)a->rd_calls, (double)a->wr_calls, (double)b->rd_calls, (double)b->wr_calls};
	double least = calls[0], most = calls[0];
	for (unsigned i = 1; i < 4; i++) {
		least = fmin(least, calls[i]);
		most = fmax(most, calls[i]);
	}
	l->rounds = (double)(s[0].count > s[1].count ? s[0].count : s[1].count);
	l->calls_agree = most < least * CALLS_AGREE + 20 && least > l->rounds / CALLS_AGREE;
	if (l->calls_agree && least > l->rounds)
		l->rounds = least;
	l->rate = share(l->rounds * 1e9, fmin(l->a->lifetime_ns, l->b->lifetime_ns));
}

static double kernel_share(const struct process_info *i)
{
	return i->samples >= 10 ? share(i->kernel_ns, i->kernel_ns + i->user_ns) : UNSAMPLED_KERNEL_SHARE;
}

/* Bytes of one round trip, both ways; each side copies all of them once, in or out. */
static double round_bytes(const struct lockstep *l)
{
	const struct process_row *a = l->a->row, *b = l->b->row;
	double by_calls = share((double)(a->wr_bytes + b->wr_bytes), l->rounds), by_waits = 0;
	for (unsigned i = 0; i < 2; i++)
		by_waits += l->t->side[i].bytes.total_count ? size_hist_quantile(&l->t->side[i].bytes, 0.5) : 0;
	return fmax(by_waits, fmin(by_calls, l->calls_agree ? INFINITY : by_waits));
}

/* One side's work per message when messages travel in batches: its own, and what of the kernel's is not saved. */
static double batched(const struct lockstep *l, double work, double kernel)
{
	double in_kernel = work * kernel;
	return work - in_kernel + fmin(in_kernel, in_kernel * BATCHED_KERNEL_SHARE + round_bytes(l) * COPY_NS_PER_BYTE);
}

/* Splits the mean round trip: each side's work, deeper waits, and the rest (wake-ups, switches, run-queue), which batching
 * wins. Sides that may run at once can also overlap. */
static void price(struct lockstep *l, const struct finding_context *c)
{
	const struct pair_row *p = l->t->pair;
	double rounds = (double)p->turns / 2;
	l->round_ns = share((double)p->active_ns, rounds);
	l->active_share = fmin(1, share((double)(p->active_ns + p->queued_ns), c->window_ns));
	double work[2] = {share((double)p->service_a_ns, rounds), share((double)p->service_b_ns, rounds)};
	double a = batched(l, work[0], kernel_share(l->a)), b = batched(l, work[1], kernel_share(l->b));
	double deeper = share((double)(p->deeper_a_ns + p->deeper_b_ns), rounds);
	l->new_low_ns = a + b + deeper;
	l->new_high_ns = (c->p->meta.cpus > 1 ? (a > b ? a : b) : a + b) + deeper;
	l->service_bound = a + b > 0.5 * l->round_ns;
	/* Work of one side while the other one waits could overlap; of a side that was merely preempted by the other, the scheduler
	 * decides. With messages in batches the pair is another one, and overlaps when it has the CPUs. */
	double ready = share((double)p->ready_both_ns, (double)p->run_either_ns);
	if (l->service_bound)
		l->new_high_ns = l->new_low_ns - (l->new_low_ns - l->new_high_ns) * finding_ramp(ready, 0.35, 0.1);
}

static double speedup(const struct lockstep *l, double new_ns)
{
	double left = l->round_ns > 0 ? new_ns / l->round_ns : 1;
	if (left > 1)
		left = 1;
	return 1 / (1 - l->active_share * l->strength * (1 - left));
}

/* The larger of the two directions' messages is the payload, the other one the acknowledgement. The direction that nobody
 * waited for is known by its mean only. */
static void measure_bytes(const struct lockstep *l, double *p50, double *p99)
{
	*p50 = *p99 = -1;
	for (unsigned i = 0; i < 2; i++) {
		const struct talk_side *s = &l->t->side[i];
		const struct process_row *sender = i ? l->a->row : l->b->row;
		if (s->bytes.total_count) {
			double m = size_hist_quantile(&s->bytes, 0.5);
			if (m > *p50) {
				*p50 = m;
				*p99 = size_hist_quantile(&s->bytes, 0.99);
			}
		} else if (sender->wr_calls && (double)sender->wr_calls < 1.25 * l->rounds &&
			   (double)sender->wr_bytes / (double)sender->wr_calls > *p50) {
			*p50 = *p99 = (double)sender->wr_bytes / (double)sender->wr_calls;
		}
	}
	if (*p50 <= 0)
		*p50 = *p99 = -1;
}

static void tell_where(struct finding_context *c, struct finding *f, const struct lockstep *l)
{
	char site[2][FINDING_SITE] = {"", ""}, other[2][FINDING_SITE] = {"", ""};
	for (unsigned i = 0; i < 2; i++) {
		size_t ix = l->t->side[i].top_edge;
		if (ix == SIZE_MAX)
			continue;
		const struct edge_row *e = &c->p->edges[ix];
		finding_add_channel(c, f, e->channel);
		finding_add_evidence(c, f, "waits here", e->waiter_pid, e->waiter_stack_ix);
		finding_add_evidence(c, f, "wakes the other from here", e->waker_pid, e->waker_stack_ix);
		finding_site(c, e->waiter_stack_ix, site[i]);
		finding_site(c, e->waker_stack_ix, other[!i]);
	}
	for (unsigned i = 0; i < 2; i++)
		if (!site[i][0]) /* never waits: where it sends is where it is */
			memcpy(site[i], other[i], sizeof(site[i]));
	char a[FINDING_NAME], b[FINDING_NAME];
	finding_say(c, &f->where, "%s in %s; %s in %s", finding_name(c, l->t->pid[0], a), site[0][0] ? site[0] : "unknown code",
		    finding_name(c, l->t->pid[1], b), site[1][0] ? site[1] : "unknown code");
}

static void tell(struct finding_context *c, const struct lockstep *l)
{
	struct finding *f = finding_new(c, FIND_LOCKSTEP);
	if (!f)
		return;
	f->confidence = l->strength > 0.8 ? CONF_HIGH : CONF_MEDIUM;
	finding_weigh(c, f, l->t->estimated, l->t->pair->turns);
	f->share_of_wall = l->active_share * share((double)l->t->pair->covered_ns, (double)l->t->pair->active_ns);
	f->round_trips_per_s = l->rate;
	measure_bytes(l, &f->bytes_p50, &f->bytes_p99);
	finding_add_pid(c, f, l->t->pid[0]);
	finding_add_pid(c, f, l->t->pid[1]);
	tell_where(c, f, l);
	finding_predict(c, f, speedup(l, sqrt(l->new_low_ns * l->new_high_ns) * UNSURE), speedup(l, l->new_high_ns / UNSURE));

	char a[FINDING_NAME], b[FINDING_NAME], n[32], size[32], round[32], of[64] = "";
	if (f->bytes_p50 > 0)
		snprintf(of, sizeof(of), " of %s", finding_size(f->bytes_p50, size));
	finding_say(c, &f->title, "%s and %s wait for each other in lock-step over %s: %s round trips a second%s",
		    finding_name(c, l->t->pid[0], a), finding_name(c, l->t->pid[1], b),
		    finding_medium(c, f->n_channels ? f->channels[0] : 0), finding_count(l->rate, n), of);
	finding_duration(l->round_ns, round);
	if (l->service_bound)
		finding_say(c, &f->advice,
			    "Let the sender go on while the other works (pipeline the requests, or add a second worker): most of "
			    "the %s round trip is work of one side while the other waits; up to %.1f times as fast",
			    round, f->speedup_high);
	else
		finding_say(c, &f->advice,
			    "Send many messages per round trip (batch, or do not wait for each answer): %.0f %% of the %s round trip "
			    "are wake-ups, switches and system calls; %.1f to %.1f times as fast",
			    100 * (1 - l->new_low_ns / (l->round_ns > 0 ? l->round_ns : 1)), round, f->speedup_low, f->speedup_high);
}

static void run(struct finding_context *c)
{
	for (size_t i = 0; i < c->n_talks; i++) {
		struct lockstep l = {.t = &c->talks[i]};
		if (!l.t->pair || !l.t->in_tree || l.t->pair->turns < LOCKSTEP_MIN_TURNS)
			continue;
		l.a = finding_process(c, l.t->pid[0]);
		l.b = finding_process(c, l.t->pid[1]);
		count_rounds(&l);
		price(&l, c);
		l.strength = strength(c, &l);
		if (speedup(&l, l.new_low_ns) + speedup(&l, l.new_high_ns) > 2 * (1 + FINDING_MIN_GAIN))
			tell(c, &l);
	}
}

const struct finding_rule finding_lockstep = {FIND_LOCKSTEP, run};
