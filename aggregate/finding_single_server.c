/* SPDX-License-Identifier: Apache-2.0
 *
 * Single server: requests queue for one process (accept queue, message queue, one busy connection) that itself mostly waits, for
 * a backend, a timer, another host: more of it would serve more at once, buffers would not. In: load rows (how many waited for it,
 * how much of that time it ran), edges (who and over what).
 */
#include "aggregate/finding_rules.h"

#include <math.h>

/* Fewer clients than this are no queue. */
#define MIN_CLIENTS 3

/* Of each client, on average. */
#define MIN_REQUESTS 5

/* A service that takes seconds is a schedule, not a request. */
#define SLOW_NS 5e8
#define NEVER_NS 5e9

struct queue {
	const struct process_info *server;
	double waiting; /* mean number that waits while any does */
	double awaited, working; /* share of the windows; of that: it ran or was runnable */
	int32_t clients[FINDING_MAX_PIDS];
	unsigned n;
	uint64_t count;
	double blocked_ns;
	size_t top_edge;
	bool estimated;
};

/* Waiting for a child to end, or for a connection to come, is no request. */
static bool asks(const struct edge_row *e)
{
	return e->cls != WC_CHILD && e->cls != WC_ACCEPT && e->cls != WC_NONE && e->waiter_pid != e->waker_pid;
}

static void add_clients(const struct finding_context *c, struct queue *q)
{
	uint64_t top = 0;
	q->top_edge = SIZE_MAX;
	for (size_t i = 0; i < c->p->n_edges; i++) {
		const struct edge_row *e = &c->p->edges[i];
		if (e->waker_pid != q->server->row->pid || !asks(e))
			continue;
		q->count += e->count;
		q->blocked_ns += (double)e->blocked_ns;
		q->estimated |= e->estimated;
		if (e->blocked_ns >= top) {
			top = e->blocked_ns;
			q->top_edge = i;
		}
		unsigned j = 0;
		while (j < q->n && q->clients[j] != e->waiter_pid)
			j++;
		if (j == q->n && j < FINDING_MAX_PIDS)
			q->clients[q->n++] = e->waiter_pid;
	}
}

/* What the server waits for while it is awaited: the class with most of its blocked time, children and connections aside. */
static const struct wait_row *service_wait(const struct finding_context *c, int32_t pid)
{
	const struct wait_row *best = NULL;
	for (size_t i = 0; i < c->p->n_waits; i++) {
		const struct wait_row *w = &c->p->waits[i];
		if (w->pid == pid && w->cls != WC_ACCEPT && w->cls != WC_CHILD &&
		    (!best || w->blocked_ns + w->idle_ns > best->blocked_ns + best->idle_ns))
			best = w;
	}
	return best;
}

static void tell(struct finding_context *c, const struct queue *q, double strength)
{
	struct finding *f = finding_new(c, FIND_SINGLE_SERVER);
	if (!f)
		return;
	const struct edge_row *e = &c->p->edges[q->top_edge];
	const struct wait_row *w = service_wait(c, q->server->row->pid);
	finding_weigh(c, f, q->estimated, q->count);
	f->share_of_wall = q->awaited * (1 - q->working);
	f->round_trips_per_s = (double)q->count * 1e9 / c->wall_ns;
	finding_add_pid(c, f, q->server->row->pid);
	for (unsigned i = 0; i < q->n; i++)
		finding_add_pid(c, f, q->clients[i]);
	finding_add_channel(c, f, e->channel);
	finding_add_evidence(c, f, "waits for the server here", e->waiter_pid, e->waiter_stack_ix);
	if (w)
		finding_add_evidence(c, f, "the server itself waits here", w->pid, w->stack_ix);
	/* as many at once as wait now; the part in which the server computes shares the CPUs */
	double cpus = c->p->meta.cpus ? c->p->meta.cpus : 1, servers = q->waiting < q->n ? q->waiting : q->n;
	double part = q->awaited * strength, each = (1 - q->working) / servers + q->working / (servers < cpus ? servers : cpus);
	double high = 1 / (1 - part + part * each);
	finding_predict(c, f, 1 + (high - 1) * 0.85, 1 + (high - 1) * 1.15);
	char name[FINDING_NAME], list[FINDING_SITE], a[32], b[32], site[2][FINDING_SITE];
	double per_request = q->awaited * c->wall_ns / (q->count ? (double)q->count : 1);
	finding_say(c, &f->title, "%s queue for %s, which itself mostly waits: %.1f wait at a time, %s requests a second of %s each",
		    finding_list(c, q->clients, q->n, list), finding_name(c, q->server->row->pid, name), q->waiting,
		    finding_count(f->round_trips_per_s, a), finding_duration(per_request, b));
	finding_say(c, &f->where, "the clients in %s; the server in %s",
		    *finding_site(c, e->waiter_stack_ix, site[0]) ? site[0] : "unknown code",
		    w && *finding_site(c, w->stack_ix, site[1]) ? site[1] : "unknown code");
	finding_say(c, &f->advice, "Serve several at once (%.0f workers, or asynchronous requests): it computes only %.0f %% of the time that a "
				   "request takes; %.1f to %.1f times as fast",
		    ceil(servers), 100 * q->working, f->speedup_low, f->speedup_high);
}

static void run(struct finding_context *c)
{
	for (size_t i = 0; i < c->p->n_processes && c->window_ns > 0; i++) {
		struct queue q = {.server = &c->processes[i]};
		const struct load_row *l = q.server->load;
		if (!q.server->row->in_tree || !l || !l->awaited_ns || l->waiters_ns < l->awaited_ns + l->awaited_ns / 4)
			continue;
		add_clients(c, &q);
		if (q.n < MIN_CLIENTS || q.top_edge == SIZE_MAX || q.count < MIN_REQUESTS * q.n)
			continue;
		/* one thread per client is as many servers: only what waits per answering thread queues */
		q.waiting = (double)l->waiters_ns / (double)l->awaited_ns / (l->answering > 1 ? l->answering : 1);
		q.awaited = (double)l->awaited_ns / c->window_ns;
		q.working = (double)l->awaited_run_ns / (double)l->awaited_ns;
		double service = q.awaited * c->wall_ns / (double)q.count;
		double strength = finding_ramp(q.waiting, 1.25, 2.5) * finding_ramp(q.working, 0.6, 0.3) *
				  finding_ramp(log10(service), log10(NEVER_NS), log10(SLOW_NS));
		if (strength > 0)
			tell(c, &q, strength);
	}
}

const struct finding_rule finding_single_server = {FIND_SINGLE_SERVER, run};
