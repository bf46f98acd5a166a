/* SPDX-License-Identifier: Apache-2.0
 *
 * N+1 round trips: many small requests to one server (local or remote), one after the other, from one call site. In: edges to
 * processes outside the tree, to remote endpoints and to known servers; CPU samples (what the caller does besides asking).
 *
 * The same picture seen from the server's side is no finding: a process that listens, or whose parent does, waits for others'
 * requests.
 */
#include "aggregate/finding_rules.h"

#include <math.h>
#include <string.h>

/* A request that takes longer than this is a query worth its own time, not one of N. */
#define SHORT_NS 5e6
#define LONG_NS 5e7

/* One batch of k requests still costs the server's work: this share of the single requests' waiting is left, at best and at
 * worst. Measured with PostgreSQL and redis at 100 records per request. */
#define BATCHED_LOW 0.10
#define BATCHED_HIGH 0.03

struct requests {
	const struct process_info *caller;
	int32_t server;	  /* 0: remote */
	uint32_t channel; /* of most of them */
	uint64_t count, channel_count;
	double blocked_ns;
	struct hist hist;
	struct size_hist bytes;
	uint32_t stack_ix, frame_ix; /* the call site of most */
	uint64_t site_count;
	size_t top_edge;
	bool estimated;
};

static bool is_known_server(const char *comm)
{
	static const char *const names[] = {"postgres", "redis-server", "valkey-server", "mysqld",
					    "mariadbd", "memcached",	"mongod"};
	for (size_t i = 0; comm && i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(comm, names[i]) == 0)
			return true;
	return false;
}

static bool listens(const struct finding_context *c, int32_t pid)
{
	if (finding_top_wait(c, pid, WC_ACCEPT))
		return true;
	for (size_t i = 0; i < c->p->n_channels; i++) {
		const struct channel_row *ch = &c->p->channels[i];
		if (!ch->name || !strstr(ch->name, "listening"))
			continue;
		for (size_t j = 0; j < ch->n_ends; j++)
			if (ch->ends[j].pid == pid)
				return true;
	}
	return false;
}

static bool is_server(const struct finding_context *c, const struct process_info *p)
{
	const struct process_info *parent = finding_process(c, p->row->ppid);
	return is_known_server(p->row->comm) || listens(c, p->row->pid) ||
	       (parent && parent->row->in_tree && listens(c, p->row->ppid));
}

/* An answer over a socket from somebody who is no part of the program: outside, on another host, or a known server. */
static bool is_request(const struct finding_context *c, const struct edge_row *e)
{
	if (e->cls != WC_TCP_READ && e->cls != WC_UNIX_READ && e->cls != WC_POLL)
		return false;
	const struct channel_row *ch = profile_channel(c->p, e->channel);
	if (!ch || (ch->kind != CH_TCP && ch->kind != CH_UNIX && ch->kind != CH_UDP))
		return false;
	const struct process_info *server = e->waker_pid ? finding_process(c, e->waker_pid) : NULL;
	if (!e->waker_pid)
		return ch->remote;
	return server && (!server->row->in_tree || is_known_server(server->row->comm));
}

static bool same_site(const struct finding_context *c, uint32_t a, uint32_t b)
{
	if (a == b)
		return true;
	if (a == IX_NONE || b == IX_NONE)
		return false;
	const struct frame_row *x = &c->p->frames[a], *y = &c->p->frames[b];
	return x->function && y->function && strcmp(x->function, y->function) == 0 && x->line == y->line;
}

/* Sums the caller's requests to the same server; the call site by majority over edges, the heaviest first. */
static void gather(const struct finding_context *c, struct requests *r)
{
	uint64_t top = 0;
	for (size_t i = 0; i < c->p->n_edges; i++) {
		const struct edge_row *e = &c->p->edges[i];
		if (e->waiter_pid != r->caller->row->pid || e->waker_pid != r->server || !is_request(c, e) ||
		    (!r->server && e->channel != r->channel))
			continue;
		r->count += e->count;
		r->blocked_ns += (double)(e->blocked_ns + e->run_queue_ns);
		r->estimated |= e->estimated;
		hist_merge(&r->hist, &e->hist);
		size_hist_merge(&r->bytes, &e->bytes);
		if (e->count > top) {
			top = e->count;
			r->top_edge = i;
			r->channel = e->channel;
			r->stack_ix = e->waiter_stack_ix;
			r->frame_ix = finding_user_frame(c, e->waiter_stack_ix);
		}
	}
	for (size_t i = 0; i < c->p->n_edges; i++) {
		const struct edge_row *e = &c->p->edges[i];
		if (e->waiter_pid == r->caller->row->pid && e->waker_pid == r->server && is_request(c, e) &&
		    same_site(c, finding_user_frame(c, e->waiter_stack_ix), r->frame_ix))
			r->site_count += e->count;
		if (e->waiter_pid == r->caller->row->pid && e->waker_pid == r->server && is_request(c, e) &&
		    e->channel == r->channel)
			r->channel_count += e->count;
	}
}

/* Requests made: those that were waited for, and those whose answer was there already because the server took over the caller's CPU (a
 * preemption each), as far as the caller's own calls allow. */
static double requests_made(const struct requests *r)
{
	const struct process_row *p = r->caller->row;
	double calls = (double)(p->rd_calls < p->wr_calls ? p->rd_calls : p->wr_calls), waits = (double)r->count;
	return calls > waits ? waits + fmin(calls - waits, (double)p->ledger.preemptions) : waits;
}

static double strength(const struct requests *r)
{
	double mean = r->blocked_ns / (double)r->count;
	return finding_ramp(log10(mean + 1), log10(LONG_NS), log10(SHORT_NS)) * finding_ramp((double)r->count, 20, 100) *
	       finding_ramp((double)r->site_count / (double)r->count, 0.1, 0.4) *
	       finding_ramp((double)r->channel_count / (double)r->count, 0.05, 0.25); /* many connections: not one at a time */
}

static void predict(struct finding_context *c, struct finding *f, const struct requests *r, double strong)
{
	double life = r->caller->lifetime_ns, wait = fmin(r->blocked_ns, life);
	double outside = finding_cpu_outside(c, r->caller->row->pid, r->frame_ix), cpu = (double)r->caller->row->ledger.on_cpu_ns;
	if (outside < 0)
		outside = 0.5 * cpu;
	double rest = fmax(0, life - wait - cpu); /* waits of another kind: they stay */
	double low = (outside + rest + BATCHED_LOW * wait) / life, high = (outside + rest + BATCHED_HIGH * wait) / life;
	finding_predict(c, f, 1 / (1 - strong * (1 - fmin(1, low))), 1 / (1 - strong * (1 - fmin(1, high))));
}

static void tell(struct finding_context *c, const struct requests *r, double strong)
{
	struct finding *f = finding_new(c, FIND_N_PLUS_ONE);
	if (!f)
		return;
	finding_weigh(c, f, r->estimated, r->count);
	f->share_of_wall = fmin(1, r->blocked_ns / r->caller->lifetime_ns);
	f->round_trips_per_s = requests_made(r) * 1e9 / r->caller->lifetime_ns;
	if (r->bytes.total_count) {
		f->bytes_p50 = size_hist_quantile(&r->bytes, 0.5);
		f->bytes_p99 = size_hist_quantile(&r->bytes, 0.99);
	}
	finding_add_pid(c, f, r->caller->row->pid);
	finding_add_pid(c, f, r->server);
	finding_add_channel(c, f, r->channel);
	finding_add_evidence(c, f, "waits for each answer here", r->caller->row->pid, r->stack_ix);
	predict(c, f, r, strong);
	const struct channel_row *ch = profile_channel(c->p, r->channel);
	char name[FINDING_NAME], server[FINDING_NAME], n[32], p50[32], site[FINDING_SITE];
	finding_say(c, &f->title, "%s asks %s %s times a second, one at a time: %s each, %.0f %% of its time",
		    finding_name(c, r->caller->row->pid, name), r->server ? finding_name(c, r->server, server) : ch->name,
		    finding_count(f->round_trips_per_s, n),
		    finding_duration(hist_total(&r->hist) ? hist_quantile(&r->hist, 0.5) : r->blocked_ns / (double)r->count, p50),
		    100 * f->share_of_wall);
	finding_say(c, &f->where, "%s, over %s", *finding_site(c, r->stack_ix, site) ? site : "unknown code",
		    ch && ch->name ? ch->name : "a socket");
	finding_say(c, &f->advice,
		    "Ask for many records at a time, send requests without waiting for each answer, or cache: %.1f to %.1f times "
		    "as fast",
		    f->speedup_low, f->speedup_high);
}

/* The first edge of each (caller, server) stands for all of them. */
static bool is_first(const struct finding_context *c, size_t ix)
{
	const struct edge_row *e = &c->p->edges[ix];
	for (size_t i = 0; i < ix; i++) {
		const struct edge_row *o = &c->p->edges[i];
		if (o->waiter_pid == e->waiter_pid && o->waker_pid == e->waker_pid &&
		    (e->waker_pid || o->channel == e->channel) && is_request(c, o))
			return false;
	}
	return true;
}

static void run(struct finding_context *c)
{
	for (size_t i = 0; i < c->p->n_edges; i++) {
		const struct edge_row *e = &c->p->edges[i];
		struct requests r = {.caller = finding_process(c, e->waiter_pid),
				     .server = e->waker_pid,
				     .channel = e->channel,
				     .frame_ix = IX_NONE};
		if (!r.caller || !r.caller->row->in_tree || r.caller->lifetime_ns <= 0 || !is_request(c, e) || !is_first(c, i))
			continue;
		gather(c, &r);
		if (r.blocked_ns < 0.02 * r.caller->lifetime_ns || is_server(c, r.caller))
			continue;
		double strong = strength(&r);
		if (strong > 0)
			tell(c, &r, strong);
	}
}

const struct finding_rule finding_n_plus_one = {FIND_N_PLUS_ONE, run};
