/* SPDX-License-Identifier: Apache-2.0
 *
 * The wait graph of a profile: wait rows and edge rows are two projections of the same rows. In: the aggregator's rows, all sites
 * split into stacks; out: waits by (thread, class, channel, stack), edges by (waiter, waker, channel, class, both stacks).
 *
 * Who counts as the waker, and how sure we are:
 * - a task that woke from its own context is the waker: high when it holds an end of the pipe or socket, or when the thing waited on is
 *   none (futex, child, signal, ...); medium when it is not known to hold one;
 * - the task below a softirq is the waker only when it holds the channel's other end (loopback): high;
 * - without a usable waker, the only process at the channel's other end is taken: medium;
 * - else nobody (0): timers, disks, remote endpoints, the unknown.
 */
#include "aggregate/agg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct projection { /* hashes rows of a profile table by a key of 8 words */
	uint32_t *index;
	size_t capacity;
};

struct edge_key {
	int32_t waiter_pid, waker_pid;
	uint32_t channel, cls, waiter_stack_ix, waker_stack_ix, confidence, estimated;
};

static bool projection_init(struct projection *x, size_t rows)
{
	x->capacity = 64;
	while (x->capacity < 2 * rows)
		x->capacity *= 2;
	x->index = calloc(x->capacity, sizeof *x->index);
	return x->index;
}

/* ---- waits ---- */

static bool same_wait(const struct wait_row *a, const struct wait_row *b)
{
	return a->pid == b->pid && a->tid == b->tid && a->cls == b->cls && a->channel == b->channel &&
	       a->stack_ix == b->stack_ix && a->estimated == b->estimated;
}

static struct wait_row *wait_of(struct profile *p, struct projection *x, const struct wait_row *key)
{
	uint32_t words[6] = {(uint32_t)key->pid, (uint32_t)key->tid, key->cls, key->channel, key->stack_ix, key->estimated};
	size_t mask = x->capacity - 1, i = hash_bytes(words, sizeof words, 7) & mask;
	while (x->index[i] && !same_wait(&p->waits[x->index[i] - 1], key))
		i = (i + 1) & mask;
	if (!x->index[i]) {
		p->waits[p->n_waits++] = *key;
		x->index[i] = (uint32_t)p->n_waits;
	}
	return &p->waits[x->index[i] - 1];
}

static void add_durations(struct hist *into, const struct row *row)
{
	if (row->key.flags & ROW_ESTIMATED)
		return;
	if (row->hist)
		hist_merge(into, row->hist);
	for (uint64_t i = 0; !row->hist && i < row->count && i < ROW_FIRST; i++)
		hist_add(into, row->first[i], 1);
}

static void project_wait(struct build *b, struct projection *x, const struct row *row)
{
	struct wait_row key = {
		.cls = row->key.cls,
		.channel = b->a->channels.list[row->key.channel].id,
		.stack_ix = code_export_stack(&b->code, row->key.site),
		.estimated = row->key.flags & ROW_ESTIMATED,
	};
	build_thread_ids(b->a, row->key.thread, row->key.flags & ROW_THREAD_IS_PROC, &key.pid, &key.tid);
	struct wait_row *w = wait_of(b->p, x, &key);
	w->count += row->count;
	w->blocked_ns += row->blocked_ns - row->idle_ns;
	w->idle_ns += row->idle_ns;
	w->run_queue_ns += row->run_queue_ns;
	w->in_progress += row->in_progress;
	add_durations(&w->hist, row);
}

/* What the ledger has beyond single waits: folded preemptions, and gaps taken as waits still going on (see build_account). */
static void project_thread(struct build *b, struct projection *x, uint32_t ix)
{
	const struct thread *h = &b->a->tree.threads[ix];
	struct account now = build_account(b->a, h, b->end_ns);
	struct wait_row key = {.cls = WC_NONE};
	build_thread_ids(b->a, ix, false, &key.pid, &key.tid);
	if (h->folded_count || h->folded_ns) {
		struct wait_row *w = wait_of(b->p, x, &key);
		w->count += h->folded_count;
		w->run_queue_ns += h->folded_ns;
	}
	uint64_t open = now.ledger.blocked_ns[WC_OTHER] - h->account.ledger.blocked_ns[WC_OTHER];
	if (open) {
		key.cls = WC_OTHER;
		struct wait_row *w = wait_of(b->p, x, &key);
		w->count++;
		w->in_progress++;
		w->blocked_ns += open;
		hist_add(&w->hist, open, 1);
	}
}

/* ---- edges ---- */

static bool same_edge(const struct edge_row *a, const struct edge_key *k)
{
	return a->waiter_pid == k->waiter_pid && a->waker_pid == k->waker_pid && a->channel == k->channel && a->cls == k->cls &&
	       a->waiter_stack_ix == k->waiter_stack_ix && a->waker_stack_ix == k->waker_stack_ix &&
	       a->confidence == k->confidence && a->estimated == k->estimated;
}

static struct edge_row *edge_of(struct profile *p, struct projection *x, const struct edge_key *k)
{
	size_t mask = x->capacity - 1, i = hash_bytes(k, sizeof *k, 8) & mask;
	while (x->index[i] && !same_edge(&p->edges[x->index[i] - 1], k))
		i = (i + 1) & mask;
	if (!x->index[i]) {
		p->edges[p->n_edges++] = (struct edge_row){
			.waiter_pid = k->waiter_pid,
			.waker_pid = k->waker_pid,
			.channel = k->channel,
			.cls = k->cls,
			.waiter_stack_ix = k->waiter_stack_ix,
			.waker_stack_ix = k->waker_stack_ix,
			.confidence = k->confidence,
			.estimated = k->estimated,
		};
		x->index[i] = (uint32_t)p->n_edges;
	}
	return &p->edges[x->index[i] - 1];
}

/* Whether a wait of this class is for the other end of something that has ends. */
static bool class_has_ends(enum wait_class cls)
{
	return cls >= WC_PIPE_READ && cls <= WC_ACCEPT;
}

/* Whether it is told who holds ends of such a channel, so that a waker without one is doubtful. */
static bool kind_has_ends(enum channel_kind kind)
{
	return kind == CH_PIPE || kind == CH_UNIX || kind == CH_TCP || kind == CH_UDP;
}

struct waker {
	uint32_t proc;
	enum confidence confidence;
	bool seen; /* as a task: its stack is known */
};

static struct waker judge_waker(const struct aggregator *a, const struct row *row, uint32_t waiter)
{
	const struct tree *t = &a->tree;
	const struct chan *c = row->key.channel ? &a->channels.list[row->key.channel] : NULL;
	uint32_t waker = row->key.waker ? tree_proc(t, row->key.waker) : 0;
	if (waker && row->key.flags & ROW_SOFTIRQ && !(c && channel_softirq_peer(c, t, waiter, waker)))
		waker = 0;
	if (waker && row->key.flags & ROW_ESTIMATED)
		return (struct waker){waker, CONF_MEDIUM, true};
	if (waker) {
		bool ends = c ? kind_has_ends(c->kind) : class_has_ends(row->key.cls);
		bool agree = c && channel_holds(c, t, waker, NULL);
		return (struct waker){waker, !ends || agree ? CONF_HIGH : CONF_MEDIUM, true};
	}
	waker = c ? channel_other_end(c, t, waiter, row->key.cls) : 0;
	return (struct waker){waker, waker ? CONF_MEDIUM : CONF_LOW, false};
}

static void project_edge(struct build *b, struct projection *x, const struct row *row)
{
	if (row->key.cls == WC_NONE)
		return; /* runnable: it waits for a CPU, not for anybody */
	const struct aggregator *a = b->a;
	uint32_t waiter = row->key.flags & ROW_THREAD_IS_PROC ? row->key.thread : a->tree.threads[row->key.thread].proc;
	struct waker w = judge_waker(a, row, tree_proc(&a->tree, waiter));
	int32_t tid;
	struct edge_key k = {
		.waker_pid = build_pid(a, w.proc),
		.channel = a->channels.list[row->key.channel].id,
		.cls = row->key.cls,
		.waiter_stack_ix = code_export_stack(&b->code, row->key.site),
		.waker_stack_ix = w.seen ? code_export_stack(&b->code, row->key.waker_site) : 0,
		.confidence = w.confidence,
		.estimated = row->key.flags & ROW_ESTIMATED ? 1 : 0,
	};
	build_thread_ids(a, row->key.thread, row->key.flags & ROW_THREAD_IS_PROC, &k.waiter_pid, &tid);
	struct edge_row *e = edge_of(b->p, x, &k);
	e->count += row->count;
	e->blocked_ns += row->blocked_ns;
	e->run_queue_ns += row->run_queue_ns;
	e->n_irq += row->n_irq;
	add_durations(&e->hist, row);
	if (w.seen)
		row_merge_bytes(&e->bytes, row);
}

/* ---- order: heaviest first, then by key, so that equal inputs give equal profiles ---- */

static int compare_waits(const void *x, const void *y)
{
	const struct wait_row *a = x, *b = y;
	uint64_t wa = a->blocked_ns + a->run_queue_ns, wb = b->blocked_ns + b->run_queue_ns;
	if (wa != wb)
		return wa > wb ? -1 : 1;
	const int64_t ka[] = {a->pid, a->tid, a->cls, a->channel, a->stack_ix, a->estimated};
	const int64_t kb[] = {b->pid, b->tid, b->cls, b->channel, b->stack_ix, b->estimated};
	for (size_t i = 0; i < sizeof ka / sizeof *ka; i++)
		if (ka[i] != kb[i])
			return ka[i] < kb[i] ? -1 : 1;
	return 0;
}

static int compare_edges(const void *x, const void *y)
{
	const struct edge_row *a = x, *b = y;
	if (a->blocked_ns != b->blocked_ns)
		return a->blocked_ns > b->blocked_ns ? -1 : 1;
	const int64_t ka[] = {a->waiter_pid,	  a->waker_pid,	     a->channel,    a->cls,
			      a->waiter_stack_ix, a->waker_stack_ix, a->confidence, a->estimated};
	const int64_t kb[] = {b->waiter_pid,	  b->waker_pid,	     b->channel,    b->cls,
			      b->waiter_stack_ix, b->waker_stack_ix, b->confidence, b->estimated};
	for (size_t i = 0; i < sizeof ka / sizeof *ka; i++)
		if (ka[i] != kb[i])
			return ka[i] < kb[i] ? -1 : 1;
	return 0;
}

static int compare_cpu(const void *x, const void *y)
{
	const struct cpu_row *a = x, *b = y;
	if (a->est_ns != b->est_ns)
		return a->est_ns > b->est_ns ? -1 : 1;
	const int64_t ka[] = {a->pid, a->tid, a->stack_ix}, kb[] = {b->pid, b->tid, b->stack_ix};
	for (size_t i = 0; i < 3; i++)
		if (ka[i] != kb[i])
			return ka[i] < kb[i] ? -1 : 1;
	return 0;
}

static bool observed(const struct aggregator *a, uint32_t thread)
{
	const struct thread *h = &a->tree.threads[thread];
	return h->used && !h->into && h->observed && a->tree.procs[tree_proc(&a->tree, h->proc)].in_tree;
}

static int project_rows(struct build *b, const struct rows *rows)
{
	struct profile *p = b->p;
	const struct aggregator *a = b->a;
	struct projection waits = {0}, edges = {0};
	size_t most_waits = rows->n_rows + 2 * a->tree.n_threads;
	p->waits = calloc(most_waits, sizeof *p->waits);
	p->edges = calloc(rows->n_rows, sizeof *p->edges);
	bool ok = p->waits && p->edges && projection_init(&waits, most_waits) && projection_init(&edges, rows->n_rows);
	for (size_t i = 1; ok && i < rows->n_rows; i++) {
		const struct row *row = &rows->rows[i];
		if (!(row->key.flags & ROW_THREAD_IS_PROC) && !observed(a, row->key.thread))
			continue;
		project_wait(b, &waits, row);
		project_edge(b, &edges, row);
	}
	for (uint32_t i = 1; ok && i < a->tree.n_threads; i++)
		if (observed(a, i))
			project_thread(b, &waits, i);
	free(waits.index);
	free(edges.index);
	if (!ok)
		return -ENOMEM;
	qsort(p->waits, p->n_waits, sizeof *p->waits, compare_waits);
	qsort(p->edges, p->n_edges, sizeof *p->edges, compare_edges);
	return 0;
}

static int build_cpu(struct build *b)
{
	struct profile *p = b->p;
	const struct cpu_rows *r = &b->a->cpu;
	p->cpu = calloc(r->n, sizeof *p->cpu);
	if (!p->cpu)
		return -ENOMEM;
	for (size_t i = 1; i < r->n; i++) {
		struct cpu_row *row = &p->cpu[p->n_cpu++];
		*row = (struct cpu_row){.stack_ix = code_export_stack(&b->code, r->list[i].key.stack),
					.samples = r->list[i].samples,
					.est_ns = r->list[i].est_ns};
		build_thread_ids(b->a, r->list[i].key.thread, r->list[i].key.is_proc, &row->pid, &row->tid);
	}
	qsort(p->cpu, p->n_cpu, sizeof *p->cpu, compare_cpu);
	return 0;
}

int build_graph(struct build *b)
{
	struct rows settled;
	int rc = -ENOMEM;
	if (rows_init(&settled) && settle_rows(b->a, &b->a->rows, &settled, true) && shrink_rows(b->a, &settled, b->a->max_rows))
		rc = project_rows(b, &settled);
	rows_fini(&settled);
	return rc ? rc : build_cpu(b);
}
