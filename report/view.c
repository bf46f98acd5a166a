/* SPDX-License-Identifier: Apache-2.0
 *
 * The view's life and its rankings. In: a profile; out: sorted, merged, filtered rows (view.h). Merging is always "sort by key,
 * then fold equal neighbours": deterministic, so that two reports of one profile are equal byte for byte. */
#include "report/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CMP(a, b) (((a) > (b)) - ((a) < (b)))

static const struct view_pid *find_pid(const struct view *v, int32_t pid)
{
	size_t lo = 0, hi = v->n_pids;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (v->pids[mid].pid < pid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < v->n_pids && v->pids[lo].pid == pid ? &v->pids[lo] : NULL;
}

uint32_t view_group_of(const struct view *v, int32_t pid)
{
	const struct view_pid *x = find_pid(v, pid);

	return x ? x->group : IX_NONE;
}

const struct process_row *view_process(const struct view *v, int32_t pid)
{
	const struct view_pid *x = find_pid(v, pid);

	return x ? &v->p->processes[x->row] : NULL;
}

static int cmp_channel(const void *pa, const void *pb)
{
	const struct channel_row *a = *(const struct channel_row *const *)pa, *b = *(const struct channel_row *const *)pb;
	int c = CMP(a->id, b->id);

	return c ? c : CMP(a, b);
}

static int build_channels(struct view *v)
{
	v->channels = calloc(v->p->n_channels + 1, sizeof *v->channels);
	if (!v->channels)
		return -ENOMEM;
	for (size_t i = 0; i < v->p->n_channels; i++)
		v->channels[i] = &v->p->channels[i];
	qsort(v->channels, v->p->n_channels, sizeof *v->channels, cmp_channel);
	return 0;
}

const struct channel_row *view_channel(const struct view *v, uint32_t id)
{
	size_t lo = 0, hi = v->p->n_channels;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (v->channels[mid]->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return id && lo < v->p->n_channels && v->channels[lo]->id == id ? v->channels[lo] : NULL;
}

void view_group_name(const struct view *v, uint32_t group, char *dst, size_t size)
{
	const struct view_group *g;

	if (group >= v->n_groups) {
		snprintf(dst, size, "?");
		return;
	}
	g = &v->groups[group];
	const char *comm = g->lead && g->lead->comm && *g->lead->comm ? g->lead->comm : NULL;
	if (!comm)
		snprintf(dst, size, "pid %d", (int)g->pid);
	else if (g->n_processes > 1)
		snprintf(dst, size, "%s x%llu", comm, (unsigned long long)g->n_processes);
	else
		snprintf(dst, size, "%s", comm);
}

/* Edges whose waiter or waker has no row in the profile belong to nobody that could be shown; wakers 0 are "nobody known". */
static bool edge_wanted(const struct view *v, const struct edge_row *e)
{
	return view_group_of(v, e->waiter_pid) != IX_NONE && (!v->pid || e->waiter_pid == v->pid || e->waker_pid == v->pid);
}

struct edge_key {
	const struct edge_row *row;
	uint32_t waiter, waker, channel; /* channel: the id, or 0x80000000 | kind where groups are many */
};

static int cmp_edge_key(const void *pa, const void *pb)
{
	const struct edge_key *a = pa, *b = pb;
	int c = CMP(a->waiter, b->waiter);

	if (!c)
		c = CMP(a->waker, b->waker);
	if (!c)
		c = CMP(a->channel, b->channel);
	if (!c)
		c = CMP(a->row->channel, b->row->channel); /* so that distinct channels can be counted */
	if (!c)
		c = CMP(b->row->blocked_ns, a->row->blocked_ns);
	return c ? c : CMP(a->row, b->row);
}

static int cmp_edge(const void *pa, const void *pb)
{
	const struct view_edge *a = pa, *b = pb;
	int c = CMP(a->idle, b->idle);

	if (!c)
		c = CMP(b->blocked_ns, a->blocked_ns);
	if (!c)
		c = CMP(b->count, a->count);
	if (!c)
		c = CMP(a->waiter, b->waiter);
	if (!c)
		c = CMP(a->waker, b->waker);
	return c ? c : CMP(a->channel, b->channel);
}

static void edge_fold(struct view_edge *into, const struct edge_row *e)
{
	/* the longest call site gives the row its class, stacks and confidence; equal ones: the first in the profile */
	if (into->count == 0 || e->blocked_ns > into->top_site_ns) {
		into->cls = e->cls;
		into->confidence = e->confidence;
		into->waiter_stack_ix = e->waiter_stack_ix;
		into->waker_stack_ix = e->waker_stack_ix;
		into->top_site_ns = e->blocked_ns;
	}
	into->count += e->count;
	into->blocked_ns += e->blocked_ns;
	into->run_queue_ns += e->run_queue_ns;
	into->n_irq += e->n_irq;
	into->estimated |= e->estimated;
	hist_merge(&into->hist, &e->hist);
	size_hist_merge(&into->bytes, &e->bytes);
}

static struct edge_key edge_key(const struct view *v, const struct edge_row *e)
{
	struct edge_key k = {e, view_group_of(v, e->waiter_pid), e->waker_pid ? view_group_of(v, e->waker_pid) : IX_NONE,
			     e->channel};
	bool many = v->groups[k.waiter].n_processes > 1 || (k.waker != IX_NONE && v->groups[k.waker].n_processes > 1);

	if (many) {
		const struct channel_row *ch = view_channel(v, e->channel);
		k.channel = 0x80000000u | (ch ? (uint32_t)ch->kind : 0);
	}
	return k;
}

int view_build_edges(struct view *v)
{
	const struct profile *p = v->p;
	struct edge_key *keys = calloc(p->n_edges + 1, sizeof *keys);
	size_t n = 0;

	v->edges = calloc(p->n_edges + 1, sizeof *v->edges);
	if (!keys || !v->edges) {
		free(keys);
		return -ENOMEM;
	}
	for (size_t i = 0; i < p->n_edges; i++)
		if (edge_wanted(v, &p->edges[i]))
			keys[n++] = edge_key(v, &p->edges[i]);
	qsort(keys, n, sizeof *keys, cmp_edge_key);
	for (size_t i = 0; i < n; i++) {
		const struct edge_key *k = &keys[i], *prev = i ? &keys[i - 1] : NULL;
		bool same = prev && prev->waiter == k->waiter && prev->waker == k->waker && prev->channel == k->channel;

		if (!same) {
			struct view_edge *e = &v->edges[v->n_edges++];
			e->waiter = k->waiter;
			e->waker = k->waker;
			e->channel = view_channel(v, k->row->channel);
			e->n_channels = 1;
		} else if (prev->row->channel != k->row->channel) {
			v->edges[v->n_edges - 1].n_channels++;
		}
		edge_fold(&v->edges[v->n_edges - 1], k->row);
	}
	free(keys);
	for (size_t i = 0; i < v->n_edges; i++) {
		struct view_edge *e = &v->edges[i];
		/* an edge keeps the time that its waiter's ledger calls idle */
		e->idle = v->groups[e->waiter].ledger.blocked_ns[e->cls] * 2 < e->blocked_ns;
	}
	qsort(v->edges, v->n_edges, sizeof *v->edges, cmp_edge);
	for (size_t i = 0; i < v->n_edges; i++) {
		const struct view_edge *e = &v->edges[i];
		struct view_group *g = &v->groups[e->waiter];
		/* several channels lead to one peer; their sum decides, but sorted edges make the first a good and stable pick */
		if (e->waker != IX_NONE && e->waker != e->waiter && g->top_peer == IX_NONE && e->blocked_ns) {
			g->top_peer = e->waker;
			g->top_peer_ns = e->blocked_ns;
		}
	}
	return 0;
}

static int cmp_hot_key(const void *pa, const void *pb)
{
	const struct view_hot *a = pa, *b = pb;
	int c = CMP(a->group, b->group);

	if (!c)
		c = CMP(a->is_cpu, b->is_cpu);
	if (!c)
		c = CMP(a->cls, b->cls);
	return c ? c : CMP(a->stack_ix, b->stack_ix);
}

static int cmp_hot_rank(const void *pa, const void *pb)
{
	const struct view_hot *a = pa, *b = pb;
	int c = CMP(a->group, b->group);

	if (!c)
		c = CMP(b->ns, a->ns);
	return c ? c : cmp_hot_key(a, b);
}

static bool pid_wanted(const struct view *v, int32_t pid)
{
	return !v->pid || pid == v->pid;
}

int view_build_hot(struct view *v)
{
	const struct profile *p = v->p;
	size_t n = 0, kept = 0;

	v->hot = calloc(p->n_waits + p->n_cpu + 1, sizeof *v->hot);
	if (!v->hot)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_waits; i++) {
		const struct wait_row *w = &p->waits[i];
		uint32_t g = pid_wanted(v, w->pid) ? view_group_of(v, w->pid) : IX_NONE;
		if (g != IX_NONE && w->cls != WC_NONE)
			v->hot[n++] = (struct view_hot){g,	  false,	  w->cls,      w->stack_ix, w->blocked_ns,
							w->count, w->in_progress, w->estimated};
	}
	for (size_t i = 0; i < p->n_cpu; i++) {
		const struct cpu_row *c = &p->cpu[i];
		uint32_t g = pid_wanted(v, c->pid) ? view_group_of(v, c->pid) : IX_NONE;
		if (g != IX_NONE)
			v->hot[n++] = (struct view_hot){g, true, WC_NONE, c->stack_ix, c->est_ns, c->samples, 0, true};
	}
	qsort(v->hot, n, sizeof *v->hot, cmp_hot_key);
	for (size_t i = 0; i < n; i++) {
		struct view_hot *last = kept ? &v->hot[kept - 1] : NULL;
		if (last && cmp_hot_key(last, &v->hot[i]) == 0) {
			last->ns += v->hot[i].ns;
			last->count += v->hot[i].count;
			last->in_progress += v->hot[i].in_progress;
			last->estimated |= v->hot[i].estimated;
		} else {
			v->hot[kept++] = v->hot[i];
		}
	}
	v->n_hot = kept;
	qsort(v->hot, v->n_hot, sizeof *v->hot, cmp_hot_rank);
	return 0;
}

static int cmp_wait_key(const void *pa, const void *pb)
{
	const struct wait_row *a = *(const struct wait_row *const *)pa, *b = *(const struct wait_row *const *)pb;
	int c = CMP(a->pid, b->pid);

	if (!c)
		c = CMP(a->cls, b->cls);
	return c ? c : CMP(a->channel, b->channel);
}

static int cmp_wait_rank(const void *pa, const void *pb)
{
	const struct view_wait *a = pa, *b = pb;
	int c = CMP(a->pid, b->pid);

	if (!c)
		c = CMP(b->blocked_ns, a->blocked_ns);
	if (!c)
		c = CMP(b->idle_ns, a->idle_ns);
	if (!c)
		c = CMP(a->cls, b->cls);
	return c ? c : CMP(a->channel, b->channel);
}

static void wait_fold(struct view_wait *into, const struct wait_row *w)
{
	into->count += w->count;
	into->blocked_ns += w->blocked_ns;
	into->idle_ns += w->idle_ns;
	into->run_queue_ns += w->run_queue_ns;
	into->in_progress += w->in_progress;
	into->estimated |= w->estimated;
	hist_merge(&into->hist, &w->hist);
}

int view_build_waits(struct view *v)
{
	const struct profile *p = v->p;
	const struct wait_row **rows = calloc(p->n_waits + 1, sizeof *rows);
	size_t n = 0;

	v->waits = calloc(p->n_waits + 1, sizeof *v->waits);
	if (!rows || !v->waits) {
		free(rows);
		return -ENOMEM;
	}
	for (size_t i = 0; i < p->n_waits; i++)
		if (p->waits[i].cls != WC_NONE && pid_wanted(v, p->waits[i].pid) && view_group_of(v, p->waits[i].pid) != IX_NONE)
			rows[n++] = &p->waits[i];
	qsort(rows, n, sizeof *rows, cmp_wait_key);
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || cmp_wait_key(&rows[i - 1], &rows[i]) != 0) {
			struct view_wait *w = &v->waits[v->n_waits++];
			*w = (struct view_wait){view_group_of(v, rows[i]->pid), rows[i]->pid, rows[i]->cls, rows[i]->channel};
		}
		wait_fold(&v->waits[v->n_waits - 1], rows[i]);
	}
	free(rows);
	qsort(v->waits, v->n_waits, sizeof *v->waits, cmp_wait_rank);
	for (size_t i = 0; i < v->n_waits; i++) {
		struct view_group *g = &v->groups[v->waits[i].group];
		g->estimated |= v->waits[i].estimated;
		g->in_progress += v->waits[i].in_progress;
		if (v->waits[i].idle_ns > g->idle_cls_ns) {
			g->idle_cls = v->waits[i].cls;
			g->idle_cls_ns = v->waits[i].idle_ns;
		}
	}
	return 0;
}

static bool finding_wanted(const struct view *v, const struct finding *f)
{
	for (size_t i = 0; i < f->n_pids; i++)
		if (f->pids[i] == v->pid)
			return true;
	return v->pid == 0;
}

static int build_findings(struct view *v)
{
	v->findings = calloc(v->p->n_findings + 1, sizeof *v->findings);
	if (!v->findings)
		return -ENOMEM;
	for (size_t i = 0; i < v->p->n_findings; i++)
		if (finding_wanted(v, &v->p->findings[i]))
			v->findings[v->n_findings++] = &v->p->findings[i];
	return 0;
}

int view_new(const struct profile *p, const struct view_options *opt, struct view **out, struct err *err)
{
	struct view *v = calloc(1, sizeof *v);
	int r = -ENOMEM;

	if (!v)
		return err_set(err, -ENOMEM, "report: out of memory");
	v->p = p;
	v->pid = opt ? opt->pid : 0;
	v->wall_ns = p->meta.end_ns > p->meta.start_ns ? p->meta.end_ns - p->meta.start_ns : 1;
	if (v->pid && !profile_process(p, v->pid)) {
		free(v);
		return err_set(err, -ESRCH, "report: this profile has no process %d; leave --pid out to see all %zu",
			       (int)opt->pid, p->n_processes);
	}
	if ((r = build_channels(v)) || (r = view_build_groups(v)) || (r = view_build_edges(v)) || (r = view_build_hot(v)) ||
	    (r = view_build_waits(v)) || (r = build_findings(v))) {
		view_free(v);
		return err_set(err, r, "report: out of memory");
	}
	*out = v;
	return 0;
}

void view_free(struct view *v)
{
	if (!v)
		return;
	free(v->members);
	free(v->groups);
	free(v->edges);
	free(v->hot);
	free(v->waits);
	free(v->findings);
	free(v->pids);
	free(v->channels);
	free(v);
}
