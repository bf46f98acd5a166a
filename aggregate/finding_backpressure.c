/* SPDX-License-Identifier: Apache-2.0
 *
 * Backpressure and starvation: a buffer too small for its bursts. In: flow rows (writers blocked on full, readers blocked on
 * empty), channel capacity. When both sides of one channel lose time, at different moments, neither is too slow on average: the
 * buffer is too small to carry over from one to the other.
 */
#include "aggregate/finding_rules.h"

#include <math.h>
#include <stdio.h>

/* Time from wake-up to run that a wait brings with it; more than this is the machine's. */
#define WAKEUP_NS 2e4

/* Of any two stages one is a little faster and waits a little, at both ends when their work varies. */
#define ONE_SIDED 0.05
#define BOTH_SIDES 0.15

static uint64_t capacity(const struct finding_context *c, uint32_t channel)
{
	const struct channel_row *ch = profile_channel(c->p, channel);
	return ch ? ch->capacity_bytes : 0;
}

static bool is_read(enum wait_class cls)
{
	return cls == WC_PIPE_READ || cls == WC_UNIX_READ || cls == WC_TCP_READ;
}

/* The edge that matters most; of a writer, none in which it reads: on a channel of two directions that is the other direction. */
static const struct edge_row *top_edge(const struct finding_context *c, uint32_t channel, int32_t waiter, bool writes)
{
	const struct edge_row *best = NULL;
	for (size_t i = 0; i < c->p->n_edges; i++) {
		const struct edge_row *e = &c->p->edges[i];
		if (e->channel == channel && e->waiter_pid == waiter && !(writes && is_read(e->cls)) && (!best || e->blocked_ns > best->blocked_ns))
			best = e;
	}
	return best;
}

/* Each of those waits also cost the time from wake-up to run; a share of the process's life. */
static double latency(const struct finding_context *c, uint32_t channel, int32_t waiter)
{
	const struct process_info *p = finding_process(c, waiter);
	double ns = 0;
	for (size_t i = 0; i < c->p->n_edges; i++) {
		const struct edge_row *e = &c->p->edges[i];
		if (e->channel == channel && e->waiter_pid == waiter)
			ns += fmin((double)e->run_queue_ns, (double)e->count * WAKEUP_NS);
	}
	return p && p->lifetime_ns > 0 ? ns / p->lifetime_ns : 0;
}

/* The part of one side's waiting during which the other one worked (and was not itself kept waiting by a third, or by the machine): only
 * that could have been carried over by a larger buffer. */
static double by_work(const struct finding_context *c, uint32_t channel, int32_t waiter, int32_t worker)
{
	double ns = 0;
	for (size_t i = 0; i < c->p->n_blames; i++) {
		const struct blame_row *b = &c->p->blames[i];
		if (b->waiter_pid == waiter && b->pid == worker && b->channel == channel && b->kind == BLAME_RUN)
			ns += (double)b->ns;
	}
	return ns / c->window_ns;
}

/* Bytes per burst: what the writers moved per stretch of full buffer. A stretch ends when the reader starves. */
static double burst_bytes(const struct flow_row *r)
{
	double stretches = (double)r->switches / 2 + 1;
	return (double)r->full_bytes / stretches;
}

static void tell(struct finding_context *c, const struct flow_row *r, double full, double empty)
{
	struct finding *f = finding_new(c, FIND_BACKPRESSURE);
	if (!f)
		return;
	const struct edge_row *w = top_edge(c, r->channel, r->writer_pid, true), *d = top_edge(c, r->channel, r->reader_pid, false);
	finding_weigh(c, f, false, r->full_count + r->empty_count);
	f->share_of_wall = fmin(1, full + empty);
	finding_add_pid(c, f, r->writer_pid);
	finding_add_pid(c, f, r->reader_pid);
	finding_add_channel(c, f, r->channel);
	char where[2][FINDING_SITE] = {"unknown code", "unknown code"};
	if (w) {
		finding_add_evidence(c, f, "waits on full here", w->waiter_pid, w->waiter_stack_ix);
		finding_site(c, w->waiter_stack_ix, where[0]);
	}
	if (d) {
		finding_add_evidence(c, f, "waits on empty here", d->waiter_pid, d->waiter_stack_ix);
		finding_site(c, d->waiter_stack_ix, where[1]);
	}
	/* with room for the bursts each side works all the time, until the busier one, or the CPUs, set the pace */
	double full_left = 1 - full - latency(c, r->channel, r->writer_pid), empty_left = 1 - empty - latency(c, r->channel, r->reader_pid);
	double cpu_bound = c->demand / (c->p->meta.cpus ? c->p->meta.cpus : 1);
	double both = finding_ramp(fmin(full, empty), ONE_SIDED, BOTH_SIDES);
	double high = 1 / fmin(1, fmax(cpu_bound, fmax(0.01, fmax(full_left, empty_left))));
	finding_predict(c, f, 1 + both * (high - 1) * 0.8, 1 + both * (high - 1) * 1.05);
	char a[FINDING_NAME], b[FINDING_NAME], size[32], burst[32], cap[96] = "the buffer";
	if (capacity(c, r->channel))
		snprintf(cap, sizeof(cap), "the buffer of %s", finding_size((double)capacity(c, r->channel), size));
	finding_say(c, &f->title, "%s between %s and %s is too small: the first waits on full %.0f %% of the time, the second on empty %.0f %%",
		    cap, finding_name(c, r->writer_pid, a), finding_name(c, r->reader_pid, b), 100 * full, 100 * empty);
	finding_say(c, &f->where, "full in %s; empty in %s", where[0], where[1]);
	finding_say(c, &f->advice, "Make it hold a burst (about %s): %.1f to %.1f times as fast",
		    finding_size(burst_bytes(r), burst), f->speedup_low, f->speedup_high);
}

/* How much of a process's waiting on a channel was for room: on one of two directions its reads are the other direction's. */
static double write_share(const struct finding_context *c, uint32_t channel, int32_t waiter)
{
	double writes = 0, all = 0;
	for (size_t i = 0; i < c->p->n_edges; i++) {
		const struct edge_row *e = &c->p->edges[i];
		if (e->channel != channel || e->waiter_pid != waiter)
			continue;
		all += (double)e->blocked_ns;
		writes += is_read(e->cls) ? 0 : (double)e->blocked_ns;
	}
	return all > 0 ? writes / all : 0;
}

static void run(struct finding_context *c)
{
	for (size_t i = 0; i < c->p->n_flows && c->window_ns > 0; i++) {
		const struct flow_row *r = &c->p->flows[i];
		double full = by_work(c, r->channel, r->writer_pid, r->reader_pid) * write_share(c, r->channel, r->writer_pid);
		double empty = by_work(c, r->channel, r->reader_pid, r->writer_pid);
		if (r->writer_pid == r->reader_pid || full > 1 || empty > 1 || 1 / fmax(1 - full, 1 - empty) < 1 + FINDING_MIN_GAIN / 2)
			continue;
		tell(c, r, full, empty);
	}
}

const struct finding_rule finding_backpressure = {FIND_BACKPRESSURE, run};
