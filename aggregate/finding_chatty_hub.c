/* SPDX-License-Identifier: Apache-2.0
 *
 * Chatty hub: one process that keeps state for several others, which ask it for every little thing. In: edges (who waits for it, how
 * often, how long), CPU samples (what the callers do besides calling). Fixed by keeping the state locally and handing it over now
 * and then, which wins the callers' waiting and the calls' own work.
 */
#include "aggregate/finding_rules.h"

#include <math.h>
#include <string.h>

#define MIN_CALLERS 3

/* A call that takes longer than this asks for work, not for a number. */
#define SHORT_NS 2e6
#define LONG_NS 2e7

/* Messages beyond this carry data, not state. */
#define SMALL_BYTES 4096
#define LARGE_BYTES 65536

struct caller {
	int32_t pid;
	uint64_t calls;
	double blocked_ns; /* with wake-up */
	double left_ns;	   /* on-CPU besides the calls */
	size_t top_edge;
};

struct hub {
	const struct process_info *info;
	struct caller callers[FINDING_MAX_PIDS];
	unsigned n;
	uint64_t calls;
	double blocked_ns, lifetime_ns, left_ns, longest_left_ns;
	struct size_hist bytes;
	bool estimated;
	unsigned lead; /* the caller with most calls */
};

static bool is_call(enum wait_class cls)
{
	return cls != WC_CHILD && cls != WC_ACCEPT && cls != WC_NONE && cls != WC_PIPE_WRITE && cls != WC_UNIX_WRITE &&
	       cls != WC_TCP_WRITE && cls != WC_LOCK && cls != WC_SLEEP && cls != WC_FILE_IO;
}

static void add_caller(const struct finding_context *c, struct hub *h, const struct talk *t, unsigned side)
{
	const struct talk_side *s = &t->side[side], *back = &t->side[!side];
	const struct process_info *p = finding_process(c, t->pid[side]);
	if (!p || !s->count || s->top_edge == SIZE_MAX || h->n == FINDING_MAX_PIDS || !is_call(c->p->edges[s->top_edge].cls))
		return;
	/* a call is asked for: the hub waits for (or is kept busy by) its callers about as often as they for it */
	struct caller *k = &h->callers[h->n];
	*k = (struct caller){.pid = t->pid[side], .calls = s->count, .blocked_ns = (double)(s->blocked_ns + s->run_queue_ns), .top_edge = s->top_edge};
	if (k->blocked_ns < 0.02 * p->lifetime_ns)
		return;
	uint32_t frame = finding_user_frame(c, c->p->edges[s->top_edge].waiter_stack_ix);
	k->left_ns = frame == IX_NONE ? -1 : finding_cpu_outside(c, k->pid, frame);
	if (k->left_ns < 0)
		k->left_ns = 0.5 * (double)p->row->ledger.on_cpu_ns;
	h->lifetime_ns += p->lifetime_ns;
	h->calls += k->calls;
	h->blocked_ns += k->blocked_ns;
	h->left_ns += k->left_ns;
	h->longest_left_ns = fmax(h->longest_left_ns, k->left_ns + fmax(0, p->lifetime_ns - k->blocked_ns - (double)p->row->ledger.on_cpu_ns));
	h->estimated |= t->estimated;
	size_hist_merge(&h->bytes, &s->bytes);
	size_hist_merge(&h->bytes, &back->bytes);
	if (k->calls > h->callers[h->lead].calls)
		h->lead = h->n;
	h->n++;
}

/* Callers that ask in turn wait for the hub; a hub that mostly waits for others than its callers is a single server, and one that
 * waits for its callers' results hands out work: there, the waiting is the hub's. */
static double strength(const struct finding_context *c, const struct hub *h)
{
	double mean = h->blocked_ns / (double)h->calls;
	double bytes = h->bytes.total_count ? size_hist_quantile(&h->bytes, 0.5) : 0;
	double works = h->info->load && h->info->load->awaited_ns
			       ? (double)h->info->load->awaited_run_ns / (double)h->info->load->awaited_ns
			       : 1;
	(void)c;
	return finding_ramp(log10(mean + 1), log10(LONG_NS), log10(SHORT_NS)) *
	       finding_ramp(log10(bytes + 1), log10(LARGE_BYTES), log10(SMALL_BYTES)) * finding_ramp(works, 0.15, 0.4);
}

static void predict(struct finding_context *c, struct finding *f, const struct hub *h, double strong)
{
	double life = h->lifetime_ns / h->n, cpus = c->p->meta.cpus ? c->p->meta.cpus : 1;
	double parallel = h->left_ns / (cpus < h->n ? cpus : h->n);
	double left = fmax(parallel, h->longest_left_ns) / (life > 0 ? life : 1);
	left = left > 1 ? 1 : left;
	double high = 1 / (1 - strong * (1 - left)), low = 1 / (1 - strong * (1 - left) * 0.9);
	finding_predict(c, f, low, high);
}

static void tell(struct finding_context *c, const struct hub *h, double strong)
{
	struct finding *f = finding_new(c, FIND_CHATTY_HUB);
	if (!f)
		return;
	const struct edge_row *e = &c->p->edges[h->callers[h->lead].top_edge];
	int32_t pids[FINDING_MAX_PIDS];
	finding_weigh(c, f, h->estimated, h->calls);
	f->share_of_wall = h->blocked_ns / h->lifetime_ns;
	f->round_trips_per_s = (double)h->calls * 1e9 / (h->lifetime_ns / h->n);
	if (h->bytes.total_count) {
		f->bytes_p50 = size_hist_quantile(&h->bytes, 0.5);
		f->bytes_p99 = size_hist_quantile(&h->bytes, 0.99);
	}
	finding_add_pid(c, f, h->info->row->pid);
	for (unsigned i = 0; i < h->n; i++) {
		pids[i] = h->callers[i].pid;
		finding_add_pid(c, f, pids[i]);
		finding_add_channel(c, f, c->p->edges[h->callers[i].top_edge].channel);
	}
	finding_add_evidence(c, f, "waits for the hub here", e->waiter_pid, e->waiter_stack_ix);
	finding_add_evidence(c, f, "the hub answers here", e->waker_pid, e->waker_stack_ix);
	predict(c, f, h, strong);
	char hub[FINDING_NAME], list[FINDING_SITE], n[32], mean[32], a[FINDING_SITE], b[FINDING_SITE];
	finding_say(c, &f->title, "%s ask %s for every little thing: %s calls a second, %s each, %.0f %% of their time",
		    finding_list(c, pids, h->n, list), finding_name(c, h->info->row->pid, hub), finding_count(f->round_trips_per_s, n),
		    finding_duration(h->blocked_ns / (double)h->calls, mean), 100 * f->share_of_wall);
	finding_say(c, &f->where, "the callers in %s; the hub in %s", *finding_site(c, e->waiter_stack_ix, a) ? a : "unknown code",
		    *finding_site(c, e->waker_stack_ix, b) ? b : "unknown code");
	finding_say(c, &f->advice, "Keep the state in each caller and hand it over now and then, or send many changes at a time: %.1f to %.1f times as fast",
		    f->speedup_low, f->speedup_high);
}

static void run(struct finding_context *c)
{
	for (size_t i = 0; i < c->p->n_processes; i++) {
		struct hub h = {.info = &c->processes[i]};
		if (!h.info->row->in_tree || c->n_talks < MIN_CALLERS)
			continue;
		for (size_t j = 0; j < c->n_talks; j++) {
			const struct talk *t = &c->talks[j];
			if (t->in_tree && (t->pid[0] == h.info->row->pid || t->pid[1] == h.info->row->pid))
				add_caller(c, &h, t, t->pid[0] == h.info->row->pid);
		}
		double strong = h.n >= MIN_CALLERS ? strength(c, &h) : 0;
		if (strong > 0)
			tell(c, &h, strong);
	}
}

const struct finding_rule finding_chatty_hub = {FIND_CHATTY_HUB, run};
