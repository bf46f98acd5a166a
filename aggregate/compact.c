/* SPDX-License-Identifier: Apache-2.0
 *
 * Compaction: what keeps the aggregator's memory bounded however long the run and however many processes it forks. In: tables
 * that have grown; out: the same sums in tables within their bounds, with no alias and no ended site left.
 *
 * It runs when something has grown by a fixed amount since the last time, so its cost per event is constant on average.
 */
#include "aggregate/agg.h"

#include <stdlib.h>
#include <string.h>

bool compact_due(const struct aggregator *a)
{
	return a->rows.n_rows > a->rows_after_compaction + a->max_rows || a->cpu.n > a->cpu_after_compaction + a->max_rows ||
	       a->tree.ended_threads >= AGG_COMPACT_THREADS || a->tree.ended_procs >= AGG_COMPACT_PROCS ||
	       a->tree.outside_procs > a->outside_after_compaction + AGG_MAX_OUTSIDE ||
	       channels_used(&a->channels) > a->channels_after_compaction + AGG_MAX_CHANNELS;
}

/* ---- sibling processes ---- */

struct sibling {
	uint32_t proc, parent, exe;
	char comm[16];
	uint64_t started_ns;
	bool foldable;
};

/* How much two processes must have in common to be told as one; looser only when there are too many. */
enum kinship { KIN_COMMAND, KIN_COMM, KIN_NAME, KIN_ANY, KIN_COUNT };

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_kin(const struct sibling *a, const struct sibling *b, enum kinship kin)
{
	int c = 0;
	if (kin <= KIN_COMM)
		c = compare_u64(a->parent, b->parent);
	if (!c && kin <= KIN_NAME)
		c = memcmp(a->comm, b->comm, sizeof a->comm);
	if (!c && kin <= KIN_COMMAND)
		c = compare_u64(a->exe, b->exe);
	return c;
}

static int by_kin(const void *x, const void *y, void *kin)
{
	const struct sibling *a = x, *b = y;
	int c = compare_kin(a, b, *(const enum kinship *)kin);
	if (!c)
		c = compare_u64(a->started_ns, b->started_ns);
	return c ? c : compare_u64(a->proc, b->proc);
}

static void fold_proc(struct aggregator *a, uint32_t from, uint32_t into)
{
	struct proc *f = &a->tree.procs[from], *i = &a->tree.procs[into];
	if (f->row_pid && i->row_pid && a->window.hooks.fold)
		a->window.hooks.fold(a->window.hooks.ctx, f->row_pid, i->row_pid);
	if (f->started_ns < i->started_ns)
		i->started_ns = f->started_ns;
	if (f->ended_ns > i->ended_ns)
		i->ended_ns = f->ended_ns;
	if (f->exit_status != i->exit_status)
		i->exit_status = -1;
	i->n_siblings += f->n_siblings;
	i->n_threads += f->n_threads;
	i->live_threads += f->live_threads;
	if (f->peak_threads > i->peak_threads)
		i->peak_threads = f->peak_threads;
	i->rd_calls += f->rd_calls;
	i->rd_bytes += f->rd_bytes;
	i->wr_calls += f->wr_calls;
	i->wr_bytes += f->wr_bytes;
	i->spawn_ns += f->spawn_ns;
	timeline_fold(&a->timeline, &a->tree, from, into);
	f->into = into;
}

/* Ended processes of the tree (or those outside it and unknown ones, alive or not) that are told one by one so far. */
static struct sibling *list_siblings(struct aggregator *a, bool in_tree, uint64_t now_ns, bool only_short, size_t *n_out)
{
	const struct tree *t = &a->tree;
	struct sibling *list = malloc(t->n_procs * sizeof *list);
	size_t n = 0;
	for (uint32_t i = 1; list && i < t->n_procs; i++) {
		const struct proc *p = &t->procs[i];
		bool inside = p->in_tree && (p->introduced || p->n_threads);
		if (!p->used || p->into || inside != in_tree || (inside && !p->ended))
			continue;
		struct sibling *s = &list[n++];
		*s = (struct sibling){
			.proc = i, .parent = p->parent ? tree_proc(t, p->parent) : 0, .exe = p->exe, .started_ns = p->started_ns};
		memcpy(s->comm, p->comm, sizeof s->comm);
		uint64_t life = p->ended_ns > p->started_ns ? p->ended_ns - p->started_ns : 0;
		/* a group that exists goes on to take members in */
		s->foldable = !only_short || p->n_siblings > 1 || life < (now_ns - a->start_ns) / AGG_SHORT_LIFE;
	}
	*n_out = n;
	return list;
}

/* Folds every family with more than `keep` foldable members (groups count by their members). Returns how many were folded. */
static size_t fold_families(struct aggregator *a, struct sibling *list, size_t n, enum kinship kin, size_t keep)
{
	size_t folded = 0;
	qsort_r(list, n, sizeof *list, by_kin, &kin);
	for (size_t from = 0, to; from < n; from = to) {
		size_t members = 0;
		uint32_t first = 0;
		for (to = from; to < n && compare_kin(&list[from], &list[to], kin) == 0; to++) {
			if (!list[to].foldable)
				continue;
			members += a->tree.procs[list[to].proc].n_siblings;
			/* into the group that there is, else the oldest: rows keep their pid */
			if (!first || (a->tree.procs[first].n_siblings == 1 && a->tree.procs[list[to].proc].n_siblings > 1))
				first = list[to].proc;
		}
		if (members <= keep)
			continue;
		for (size_t i = from; i < to; i++)
			if (list[i].foldable && list[i].proc != first) {
				fold_proc(a, list[i].proc, first);
				folded++;
			}
		if (kin == KIN_ANY && folded) {
			memcpy(a->tree.procs[first].comm, "(others)", 9);
			a->tree.procs[first].exe = 0;
		}
	}
	return folded;
}

static void fold_processes(struct aggregator *a, uint64_t now_ns)
{
	size_t n, folded;
	/* Parents that fold make siblings of their children: again until nothing changes. */
	do {
		struct sibling *list = list_siblings(a, true, now_ns, true, &n);
		folded = list ? fold_families(a, list, n, KIN_COMMAND, AGG_SIBLINGS) : 0;
		free(list);
	} while (folded);
	for (int kin = KIN_COMMAND; kin < KIN_COUNT; kin++) {
		struct sibling *list = list_siblings(a, true, now_ns, false, &n);
		if (list && n > AGG_MAX_ENDED)
			fold_families(a, list, n, (enum kinship)kin, 1);
		free(list);
	}
	for (int kin = KIN_NAME; kin < KIN_COUNT; kin++) {
		struct sibling *list = list_siblings(a, false, now_ns, false, &n);
		if (list && n > AGG_MAX_OUTSIDE)
			fold_families(a, list, n, (enum kinship)kin, 1);
		free(list);
	}
}

/* ---- threads ---- */

struct ended_thread {
	uint32_t thread, proc;
	char comm[16];
	uint64_t started_ns;
};

static int by_family(const void *x, const void *y)
{
	const struct ended_thread *a = x, *b = y;
	int c = compare_u64(a->proc, b->proc);
	if (!c)
		c = memcmp(a->comm, b->comm, sizeof a->comm);
	if (!c)
		c = compare_u64(a->started_ns, b->started_ns);
	return c ? c : compare_u64(a->thread, b->thread);
}

/* Whether a thread may be told together with others of its process. */
static bool thread_foldable(const struct aggregator *a, const struct thread *h, bool pressed, uint64_t now_ns)
{
	const struct proc *p = &a->tree.procs[tree_proc(&a->tree, h->proc)];
	if (!h->used || h->into || !h->ended)
		return false;
	uint64_t life = h->account.cursor_ns - h->account.started_ns;
	return p->n_siblings > 1 || h->n_siblings > 1 || pressed || life < (now_ns - a->start_ns) / AGG_SHORT_LIFE;
}

static void fold_threads(struct aggregator *a, uint64_t now_ns)
{
	struct tree *t = &a->tree;
	size_t n = 0;
	struct ended_thread *list = malloc(t->n_threads * sizeof *list);
	bool pressed = t->n_threads - t->n_free_threads > 4 * AGG_COMPACT_THREADS;
	for (uint32_t i = 1; list && i < t->n_threads; i++) {
		const struct thread *h = &t->threads[i];
		if (!thread_foldable(a, h, pressed, now_ns))
			continue;
		list[n] = (struct ended_thread){.thread = i, .proc = tree_proc(t, h->proc), .started_ns = h->started_ns};
		if (t->procs[list[n].proc].n_siblings == 1) /* a sibling group is one row, whatever its threads were called */
			memcpy(list[n].comm, h->comm, sizeof h->comm);
		n++;
	}
	if (list)
		qsort(list, n, sizeof *list, by_family);
	for (size_t from = 0, to; list && from < n; from = to) {
		size_t members = 0;
		for (to = from; to < n && list[to].proc == list[from].proc && !memcmp(list[to].comm, list[from].comm, 16); to++)
			members += t->threads[list[to].thread].n_siblings;
		if (t->procs[list[from].proc].n_siblings == 1 && members <= (pressed ? 1 : AGG_ENDED_THREADS))
			continue;
		for (size_t i = from + 1; i < to; i++)
			tree_fold_thread(t, list[i].thread, list[from].thread);
	}
	free(list);
}

/* Threads outside the tree never tell their end. When there are very many, those of folded processes are forgotten: should
 * one wake again, it is somebody unknown. */
static void drop_outside_threads(struct aggregator *a)
{
	struct tree *t = &a->tree;
	if (t->n_threads - t->n_free_threads < AGG_MAX_THREADS)
		return;
	for (uint32_t i = 1; i < t->n_threads; i++) {
		struct thread *h = &t->threads[i];
		h->dropped = h->used && !h->observed && t->procs[tree_proc(t, h->proc)].n_siblings > 1;
	}
}

/* ---- channels ---- */

struct kinless_end {
	uint32_t proc;
	uint32_t role;
};

static int by_end(const void *x, const void *y)
{
	const struct kinless_end *a = x, *b = y;
	int c = compare_u64(a->proc, b->proc);
	return c ? c : compare_u64(a->role, b->role);
}

struct chan_group {
	uint64_t hash; /* kind and who holds ends */
	uint64_t used_ns;
	uint32_t channel;
};

static int by_group(const void *x, const void *y)
{
	const struct chan_group *a = x, *b = y;
	int c = compare_u64(a->hash, b->hash);
	return c ? c : compare_u64(a->channel, b->channel);
}

/* What makes two channels the same to a reader once processes are folded: kind and holders. */
static uint64_t holders_hash(const struct aggregator *a, const struct chan *c, bool *all_folded)
{
	struct kinless_end *ends = malloc((c->n_ends + 1) * sizeof *ends);
	uint64_t h = mix64(c->kind * 2 + c->remote + 1);
	*all_folded = false;
	if (!ends)
		return h ^ (uintptr_t)c; /* out of memory: alike to none */
	for (size_t i = 0; i < c->n_ends; i++) {
		ends[i] = (struct kinless_end){tree_proc(&a->tree, c->ends[i].proc), c->ends[i].role};
		*all_folded |= a->tree.procs[ends[i].proc].n_siblings > 1;
	}
	qsort(ends, c->n_ends, sizeof *ends, by_end);
	for (size_t i = 0; i < c->n_ends; i++)
		if (!i || by_end(&ends[i], &ends[i - 1]))
			h = mix64(h ^ ((uint64_t)ends[i].proc << 2 | ends[i].role));
	free(ends);
	return h;
}

static void fold_channel(struct aggregator *a, uint32_t from, uint32_t into)
{
	struct chan *f = &a->channels.list[from], *i = &a->channels.list[into];
	i->n_folded += f->n_folded;
	if (f->capacity_bytes > i->capacity_bytes)
		i->capacity_bytes = f->capacity_bytes;
	f->into = into;
}

static void fold_groups(struct aggregator *a, struct chan_group *list, size_t n)
{
	qsort(list, n, sizeof *list, by_group);
	for (size_t i = 1, first = 0; i < n; i++) {
		if (list[i].hash == list[first].hash)
			fold_channel(a, list[i].channel, list[first].channel);
		else
			first = i;
	}
}

static int least_used(const void *x, const void *y)
{
	const struct chan_group *a = x, *b = y;
	int c = compare_u64(a->used_ns, b->used_ns);
	return c ? c : compare_u64(b->channel, a->channel);
}

/* Far too many channels: the least used of each kind become one without holders. */
static void fold_least_used(struct aggregator *a, struct chan_group *list, size_t n)
{
	uint32_t rest[CH_COUNT] = {0};
	for (size_t i = 1; i < a->rows.n_rows; i++) {
		uint32_t ch = a->rows.rows[i].key.channel;
		while (a->channels.list[ch].into)
			ch = a->channels.list[ch].into;
		for (size_t k = 0; k < n; k++)
			if (list[k].channel == ch) {
				list[k].used_ns += a->rows.rows[i].blocked_ns;
				break;
			}
	}
	qsort(list, n, sizeof *list, least_used);
	for (size_t i = 0; i + AGG_MAX_CHANNELS / 2 < n; i++) {
		struct chan *c = &a->channels.list[list[i].channel];
		unsigned kind = (unsigned)c->kind < CH_COUNT ? c->kind : CH_NONE;
		if (rest[kind]) {
			fold_channel(a, list[i].channel, rest[kind]);
			continue;
		}
		rest[kind] = list[i].channel;
		c->n_ends = 0;
	}
}

static void fold_channels(struct aggregator *a)
{
	struct channels *c = &a->channels;
	struct chan_group *list = malloc(c->n * sizeof *list);
	bool crowded = channels_used(c) > AGG_MAX_CHANNELS;
	size_t n = 0;
	for (uint32_t i = 1; list && i < c->n; i++) {
		bool folded;
		if (!c->list[i].id || c->list[i].into)
			continue;
		uint64_t hash = holders_hash(a, &c->list[i], &folded);
		if (folded || (crowded && c->list[i].n_ends))
			list[n++] = (struct chan_group){.hash = hash, .channel = i};
	}
	if (list)
		fold_groups(a, list, n);
	n = 0;
	for (uint32_t i = 1; list && i < c->n; i++)
		if (c->list[i].id && !c->list[i].into)
			list[n++] = (struct chan_group){.channel = i};
	if (n > AGG_MAX_CHANNELS)
		fold_least_used(a, list, n);
	free(list);
}

/* ---- putting it together ---- */

static bool thread_gone(void *ctx, uint32_t thread)
{
	const struct aggregator *a = ctx;
	const struct thread *h = &a->tree.threads[thread];
	return h->ended || h->into || h->dropped;
}

static bool rebuild_rows(struct aggregator *a)
{
	struct rows settled;
	if (rows_init(&settled) && settle_rows(a, &a->rows, &settled, false) && shrink_rows(a, &settled, a->max_rows)) {
		rows_fini(&a->rows);
		a->rows = settled;
		return true;
	}
	rows_fini(&settled);
	return false;
}

/* After this no index of a folded thing is stored anywhere but in its own slot. */
static void resolve_aliases(struct aggregator *a)
{
	struct tree *t = &a->tree;
	for (size_t i = 1; i < t->n_procs; i++)
		if (t->procs[i].used && t->procs[i].parent)
			t->procs[i].parent = tree_proc(t, t->procs[i].parent);
	for (size_t i = 1; i < t->n_threads; i++) {
		if (t->threads[i].used) {
			t->threads[i].proc = tree_proc(t, t->threads[i].proc);
			t->threads[i].into = t->threads[i].into ? tree_thread(t, (uint32_t)i) : 0;
		}
		t->threads[i].last_row = 0;
		ticks_resolve(a, (uint32_t)i);
	}
	for (size_t i = 1; i < a->channels.n; i++) {
		struct chan *c = &a->channels.list[i];
		size_t n = 0;
		for (size_t k = 0; k < c->n_ends; k++) {
			struct chan_end e = c->ends[k];
			e.proc = tree_proc(t, e.proc);
			bool group = t->procs[e.proc].n_siblings > 1, known = false;
			for (size_t j = 0; j < n && !known; j++)
				known = c->ends[j].proc == e.proc && (group ? c->ends[j].role == e.role : c->ends[j].fd == e.fd);
			if (!known)
				c->ends[n++] = e;
		}
		c->n_ends = n;
	}
	a->last_thread = 0;
}

/* Threads that have just ended keep their slot as an alias: their parent's wait for them is told after their end. */
static bool thread_releasable(const struct tree *t, const struct thread *h)
{
	return h->used && (h->dropped || (h->into && h->end_serial + AGG_RECENT_THREADS <= t->n_ended));
}

/* A live thread outside the tree whose process was folded keeps its slot: it may wake again. */
static void release_folded(struct aggregator *a)
{
	struct tree *t = &a->tree;
	for (uint32_t i = 1; i < t->n_threads; i++)
		if (thread_releasable(t, &t->threads[i]))
			tree_release_thread(t, i);
	for (uint32_t i = 1; i < t->n_procs; i++)
		if (t->procs[i].used && t->procs[i].into)
			tree_release_proc(t, i);
	struct channels *c = &a->channels;
	for (uint32_t i = 1; i < c->n; i++) {
		if (!c->list[i].id || !c->list[i].into)
			continue;
		uint32_t id = c->list[i].id, into = c->list[i].into;
		bool alive = false;
		for (size_t k = 0; k < c->list[i].n_ends; k++)
			alive |= !t->procs[c->list[i].ends[k].proc].ended;
		channels_release(c, i);
		if (alive)
			intmap_put(&c->by_id, id, into);
	}
}

/* A compaction for rows costs about as much as a hundred events for each row. When they follow each other too fast, new rows give
 * up detail; when they are rare again, they no longer do. */
static void adapt_pressure(struct aggregator *a)
{
	uint64_t events = a->n_events - a->events_at_compaction;
	if (a->rows.n_rows <= a->rows_after_compaction + a->max_rows)
		return; /* it is not for rows */
	if (events < 32ull * a->max_rows && a->pressure < PRESSURE_MOST)
		a->pressure++;
	else if (events > 1024ull * a->max_rows && a->pressure)
		a->pressure--;
}

void compact(struct aggregator *a, uint64_t now_ns)
{
	adapt_pressure(a);
	a->events_at_compaction = a->n_events;
	struct window_context c = agg_window_context(a);
	if (!a->ended)
		window_buffer_flush(&a->window, &c, now_ns);
	fold_processes(a, now_ns);
	fold_threads(a, now_ns);
	drop_outside_threads(a);
	fold_channels(a);
	/* Out of memory: the aliases stay, and with them all slots that rows may name. */
	if (!rebuild_rows(a) || !shrink_cpu(a, &a->cpu, a->max_rows)) {
		a->rejected++;
		a->rows_after_compaction = a->rows.n_rows;
		a->cpu_after_compaction = a->cpu.n;
		a->tree.ended_threads = a->tree.ended_procs = 0;
		return;
	}
	sites_prune(&a->sites, thread_gone, a);
	resolve_aliases(a);
	release_folded(a);
	a->tree.ended_threads = a->tree.ended_procs = 0;
	a->rows_after_compaction = a->rows.n_rows;
	a->cpu_after_compaction = a->cpu.n;
	a->channels_after_compaction = channels_used(&a->channels);
	a->outside_after_compaction = a->tree.outside_procs;
	a->compactions++;
}
