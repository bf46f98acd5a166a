/* SPDX-License-Identifier: Apache-2.0
 *
 * The default window analysis: builds each window's graph once, hands it to the analyses that keep sums (alternation,
 * cascade, critical path, load and flow, trace), and puts the sums into a profile. In: struct window; out: the profile's pair,
 * blame, critical, hop, flow, load, parallel and trace rows, and idle time.
 */
#include "aggregate/alternation.h"
#include "aggregate/cascade.h"
#include "aggregate/critical.h"
#include "aggregate/intmap.h"
#include "aggregate/windows_load.h"
#include "aggregate/windows_trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pending_fold {
	int32_t from, into;
};

struct windows {
	struct wgraph graph;
	struct alternation alternation;
	struct cascade cascade;
	struct critical critical;
	struct windows_load load;
	struct windows_trace trace;
	/* renames not yet applied: rows are renamed in batches, for thousands of short-lived children come and go */
	struct pending_fold *folds;
	size_t n_folds, cap_folds;
	struct intmap fold_of; /* pid -> the first of the folds that renames it: later ones mean a new bearer of that pid */
	bool failed;	       /* out of memory once: what is there is still true, but windows are missing */
};

struct windows *windows_new(void)
{
	struct windows *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	wgraph_init(&s->graph);
	alternation_init(&s->alternation);
	cascade_init(&s->cascade);
	critical_init(&s->critical);
	windows_load_init(&s->load);
	windows_trace_init(&s->trace);
	return s;
}

void windows_free(struct windows *s)
{
	if (!s)
		return;
	wgraph_fini(&s->graph);
	alternation_fini(&s->alternation);
	cascade_fini(&s->cascade);
	critical_fini(&s->critical);
	windows_load_fini(&s->load);
	windows_trace_fini(&s->trace);
	free(s->folds);
	intmap_fini(&s->fold_of);
	free(s);
}

static int rename_pid(const struct windows *s, int32_t *pid)
{
	int32_t was = *pid;
	uint32_t next = 0, i;
	/* in the order of the calls: a row may be folded twice */
	while ((i = intmap_get(&s->fold_of, (uint32_t)*pid)) != INTMAP_NONE && i >= next) {
		*pid = s->folds[i].into;
		next = i + 1;
	}
	return *pid != was;
}

static int rename_pair(void *ctx, void *row)
{
	struct pair_row *p = row;
	int changed = rename_pid(ctx, &p->pid_a) | rename_pid(ctx, &p->pid_b);
	if (changed && p->pid_a > p->pid_b)
		pair_row_swap(p);
	return changed;
}

static int rename_blame(void *ctx, void *row)
{
	struct blame_row *b = row;
	return rename_pid(ctx, &b->waiter_pid) | rename_pid(ctx, &b->pid);
}

static int rename_critical(void *ctx, void *row)
{
	return rename_pid(ctx, &((struct critical_row *)row)->pid);
}

static int rename_hop(void *ctx, void *row)
{
	struct path_hop_row *h = row;
	return rename_pid(ctx, &h->pid) | rename_pid(ctx, &h->waker_pid);
}

static int rename_load(void *ctx, void *row)
{
	return rename_pid(ctx, &((struct load_row *)row)->pid);
}

static int rename_idle(void *ctx, void *row)
{
	return rename_pid(ctx, &((struct idle_row *)row)->pid);
}

static void rename_flows(struct windows *s)
{
	for (size_t i = 0; i < s->load.flows.n; i++) {
		struct flow_state *f = row_table_at(&s->load.flows, i);
		for (unsigned side = 0; side < 2; side++)
			for (uint32_t j = 0; j < f->n_pids[side]; j++)
				rename_pid(s, &f->pid[side][j]);
	}
}

static void rename_trace(struct windows *s)
{
	for (size_t w = 0; w < TRACE_WINDOWS; w++)
		for (size_t i = 0; i < s->trace.n[w]; i++)
			rename_pid(s, &s->trace.rows[w][i].pid);
}

/* Linear in rows; in batches (a window's worth of ended children at a time), for thousands of short-lived ones come and go. */
static void apply_folds(struct windows *s)
{
	if (!s->n_folds)
		return;
	row_table_rekey(&s->alternation.pairs, rename_pair, pair_row_merge, s);
	row_table_rekey(&s->cascade.blames, rename_blame, blame_row_merge, s);
	row_table_rekey(&s->cascade.idles, rename_idle, idle_row_merge, s);
	row_table_rekey(&s->critical.rows, rename_critical, critical_row_merge, s);
	row_table_rekey(&s->critical.hops, rename_hop, path_hop_row_merge, s);
	row_table_rekey(&s->load.loads, rename_load, load_row_merge, s);
	rename_flows(s);
	rename_trace(s);
	s->n_folds = 0;
	intmap_clear(&s->fold_of);
}

void windows_fold(struct windows *s, int32_t from_pid, int32_t into_pid)
{
	if (s->n_folds == s->cap_folds) {
		size_t cap = s->cap_folds ? 2 * s->cap_folds : 64;
		struct pending_fold *f = realloc(s->folds, cap * sizeof(*f));
		if (!f) { /* its rows stay under a pid that the profile does not tell */
			s->failed = true;
			return;
		}
		s->folds = f;
		s->cap_folds = cap;
	}
	if (intmap_get(&s->fold_of, (uint32_t)from_pid) == INTMAP_NONE &&
	    !intmap_put(&s->fold_of, (uint32_t)from_pid, (uint32_t)s->n_folds))
		s->failed = true;
	s->folds[s->n_folds++] = (struct pending_fold){from_pid, into_pid};
}

void windows_analyze(struct windows *s, const struct window *w)
{
	apply_folds(s); /* a pid may be in use again by now */
	struct wgraph *g = &s->graph;
	if (wgraph_build(g, w)) {
		s->failed = true;
		return;
	}
	if (alternation_add(&s->alternation, g) || cascade_add(&s->cascade, g) || windows_load_add(&s->load, g) ||
	    windows_trace_add(&s->trace, g))
		s->failed = true;
	critical_add(&s->critical, g);
}

static void *copy_rows(const struct row_table *t, size_t *n)
{
	void *rows = calloc(t->n ? t->n : 1, t->row_size);
	*n = 0;
	if (rows && t->n) {
		memcpy(rows, t->rows, t->n * t->row_size);
		*n = t->n;
	}
	return rows;
}

static struct flow_row *flow_rows(const struct windows *s, size_t *n)
{
	const struct row_table *t = &s->load.flows;
	struct flow_row *rows = calloc(t->n ? t->n : 1, sizeof(*rows));
	*n = rows ? t->n : 0;
	for (size_t i = 0; i < *n; i++) {
		const struct flow_state *f = row_table_at(t, i);
		rows[i] = f->row;
		rows[i].channel = f->channel;
		int32_t *pid[2] = {&rows[i].writer_pid, &rows[i].reader_pid};
		for (unsigned side = 0; side < 2; side++) {
			uint64_t most = 0;
			for (uint32_t j = 0; j < f->n_pids[side]; j++)
				if (!*pid[side] || f->pid_ns[side][j] > most) {
					*pid[side] = f->pid[side][j];
					most = f->pid_ns[side][j];
				}
		}
	}
	return rows;
}

static struct parallel_row *parallel_rows(const struct windows *s, size_t *n)
{
	struct parallel_row *rows = calloc(PARALLEL_MAX + 1, sizeof(*rows));
	*n = 0;
	for (uint32_t i = 0; i <= PARALLEL_MAX && rows; i++)
		if (s->load.parallel_ns[i])
			rows[(*n)++] = (struct parallel_row){i, s->load.parallel_ns[i]};
	return rows;
}

/* Idle shares are known for the windows; they are applied to all of a thread's waiting of that class on that channel. */
static void mark_idle(const struct windows *s, struct profile *p)
{
	for (size_t i = 0; i < p->n_waits; i++) {
		struct idle_row key;
		memset(&key, 0, sizeof(key));
		key.pid = p->waits[i].pid;
		key.tid = p->waits[i].tid;
		key.channel = p->waits[i].channel;
		key.cls = p->waits[i].cls;
		const struct idle_row *idle = row_table_find(&s->cascade.idles, &key);
		if (idle && idle->blocked_ns && idle->idle_ns)
			profile_mark_idle(
				p, i,
				(uint64_t)((double)p->waits[i].blocked_ns * (double)idle->idle_ns / (double)idle->blocked_ns));
	}
}

int windows_finish(struct windows *s, struct profile *p)
{
	apply_folds(s);
	p->pairs = copy_rows(&s->alternation.pairs, &p->n_pairs);
	p->blames = copy_rows(&s->cascade.blames, &p->n_blames);
	p->critical = copy_rows(&s->critical.rows, &p->n_critical);
	p->hops = copy_rows(&s->critical.hops, &p->n_hops);
	p->loads = copy_rows(&s->load.loads, &p->n_loads);
	p->flows = flow_rows(s, &p->n_flows);
	p->parallel = parallel_rows(s, &p->n_parallel);
	p->trace = windows_trace_rows(&s->trace, &p->n_trace);
	if (!p->pairs || !p->blames || !p->critical || !p->hops || !p->loads || !p->flows || !p->parallel || !p->trace)
		return -ENOMEM;
	mark_idle(s, p);
	return 0;
}
