/* SPDX-License-Identifier: Apache-2.0
 *
 * See finding_stage.h. A stage is slow when it works nearly all the time while its neighbours wait for it, and when it stands out:
 * of a pipeline some stage is always the slowest, and that alone is no finding.
 */
#include "aggregate/finding_stage.h"

#include <math.h>

static bool is_read(enum wait_class cls)
{
	return cls == WC_PIPE_READ || cls == WC_UNIX_READ || cls == WC_TCP_READ;
}

/* Both wait for the other's messages: a conversation, not a pipeline. */
static bool converse(const struct finding_context *c, int32_t a, int32_t b)
{
	const struct talk *t = finding_talk(c, a, b);
	if (t && t->pair && (t->pair->a_hands_b + t->pair->b_hands_a) * 2 > t->pair->turns - t->pair->turns / 4)
		return true; /* they take turns on one CPU */
	for (unsigned i = 0; t && i < 2; i++) {
		uint64_t reads = 0;
		for (unsigned cls = 0; cls < WC_COUNT; cls++)
			reads += is_read((enum wait_class)cls) || cls == WC_POLL ? t->side[i].by_class[cls] : 0;
		if (reads * 10 < t->side[!i].count)
			return false;
	}
	return t != NULL;
}

/* Whether what this process hands on comes back to it: then it is part of a round, not a stage of a pipeline. Breadth first over
 * the flows, a bounded number of processes. */
#define MAX_REACH 64
static bool comes_back(const struct finding_context *c, int32_t me)
{
	int32_t seen[MAX_REACH];
	unsigned n = 1;
	seen[0] = me;
	for (unsigned at = 0; at < n; at++)
		for (size_t i = 0; i < c->p->n_flows; i++) {
			const struct flow_row *r = &c->p->flows[i];
			if (r->writer_pid != seen[at] || !r->reader_pid || r->reader_pid == r->writer_pid)
				continue;
			if (r->reader_pid == me)
				return true;
			bool known = false;
			for (unsigned j = 0; j < n; j++)
				known |= seen[j] == r->reader_pid;
			if (!known && n < MAX_REACH)
				seen[n++] = r->reader_pid;
		}
	return false;
}

static void look_at_flows(const struct finding_context *c, struct stage *s)
{
	int32_t me = s->p->row->pid;
	for (size_t i = 0; i < c->p->n_flows; i++) {
		const struct flow_row *r = &c->p->flows[i];
		if (!r->writer_pid || !r->reader_pid || r->writer_pid == r->reader_pid || (r->writer_pid != me && r->reader_pid != me) ||
		    converse(c, r->writer_pid, r->reader_pid))
			continue;
		double full = (double)r->full_ns / c->window_ns, empty = (double)r->empty_ns / c->window_ns;
		if (r->reader_pid == me) {
			s->own_empty = fmax(s->own_empty, empty);
			if (full > s->full) {
				s->full = full;
				s->full_channel = r->channel;
				s->full_pid = r->writer_pid;
			}
		} else {
			s->own_full = fmax(s->own_full, full);
			if (empty > s->empty) {
				s->empty = empty;
				s->empty_channel = r->channel;
				s->empty_pid = r->reader_pid;
			}
		}
	}
}

/* What the run would take, with the stage halved: the rest of the stage's time, the next busiest process, or the CPUs, whichever is
 * most. `cpu_too`: halved work (a faster stage) instead of two of it. */
static double halved(const struct finding_context *c, const struct stage *s, bool cpu_too)
{
	double next = 0, sum = 0, cpus = c->p->meta.cpus ? c->p->meta.cpus : 1;
	double run = finding_busy(c, s->p->row->pid);
	for (size_t i = 0; i < c->p->n_processes; i++) {
		if (!c->processes[i].row->in_tree)
			continue;
		double busy = finding_busy(c, c->processes[i].row->pid);
		sum += busy;
		if (&c->processes[i] != s->p)
			next = fmax(next, busy);
	}
	double left = 1 - s->busy / 2;
	return fmax(fmax(left, next), (sum - (cpu_too ? run / 2 : 0)) / cpus);
}

bool finding_stage(const struct finding_context *c, const struct process_info *p, struct stage *s)
{
	*s = (struct stage){.p = p};
	if (!p->row->in_tree || !p->load || c->window_ns <= 0)
		return false;
	look_at_flows(c, s);
	if ((s->full <= 0 && s->empty <= 0) || comes_back(c, p->row->pid))
		return false;
	double queued = p->row->observed_ns ? (double)p->row->ledger.run_queue_ns / (double)p->row->observed_ns : 0;
	s->busy = fmin(1, finding_busy(c, p->row->pid) + queued);
	double others = 0;
	for (size_t i = 0; i < c->p->n_processes; i++)
		if (&c->processes[i] != p && c->processes[i].row->in_tree)
			others = fmax(others, finding_busy(c, c->processes[i].row->pid));
	double strong = finding_ramp(s->busy, 0.4, 0.7) * finding_ramp(others / (s->busy > 0 ? s->busy : 1), 0.9, 0.6);
	double low = halved(c, s, false), high = halved(c, s, true);
	s->gain_low = 1 / (1 - strong * (1 - fmin(1, low)));
	s->gain_high = 1 / (1 - strong * (1 - fmin(1, high)));
	return s->gain_high > 1 + FINDING_MIN_GAIN / 2;
}

static uint32_t waiting_stack(const struct finding_context *c, uint32_t channel, int32_t pid)
{
	const struct wait_row *best = NULL;
	for (size_t i = 0; i < c->p->n_waits; i++) {
		const struct wait_row *w = &c->p->waits[i];
		if (w->channel == channel && w->pid == pid && (!best || w->blocked_ns > best->blocked_ns))
			best = w;
	}
	return best ? best->stack_ix : 0;
}

void finding_stage_tell(struct finding_context *c, enum finding_kind kind, const struct stage *s)
{
	struct finding *f = finding_new(c, kind);
	if (!f)
		return;
	bool consumer = kind == FIND_SLOW_CONSUMER;
	int32_t me = s->p->row->pid, waiter = consumer ? s->full_pid : s->empty_pid;
	uint32_t channel = consumer ? s->full_channel : s->empty_channel, hot = finding_hot_stack(c, me);
	uint32_t there = waiting_stack(c, channel, waiter);
	finding_weigh(c, f, false, 100);
	f->share_of_wall = s->busy;
	finding_add_pid(c, f, me);
	finding_add_channel(c, f, channel);
	finding_add_evidence(c, f, "works here", me, hot);
	finding_add_evidence(c, f, "waits for it here", waiter, there);
	finding_predict(c, f, 1 + (s->gain_low - 1) * 0.9, s->gain_high);
	char name[FINDING_NAME], other[FINDING_NAME], a[FINDING_SITE], b[FINDING_SITE];
	finding_say(c, &f->title, "%s is the slow stage: it works %.0f %% of the time, and %s waits %.0f %% of it for %s",
		    finding_name(c, me, name), 100 * s->busy, finding_name(c, waiter, other), 100 * (consumer ? s->full : s->empty),
		    consumer ? "room in its input" : "its output");
	finding_say(c, &f->where, "it works in %s; the other waits in %s", *finding_site(c, hot, a) ? a : "unknown code",
		    *finding_site(c, there, b) ? b : "unknown code");
	finding_say(c, &f->advice, "Make this stage faster, or run two of it; larger buffers do not help: %.1f to %.1f times as fast",
		    f->speedup_low, f->speedup_high);
}
