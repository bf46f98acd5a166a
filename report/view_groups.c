/* SPDX-License-Identifier: Apache-2.0
 *
 * Siblings are one row. In: the profile's processes; out: view.groups.
 *
 * Three or more processes of one parent, one command and one role (busy or waiting) are one row with a count, unless they talk
 * to each other over more than one channel: the stages of a pipeline or the members of a ring share parent and command too, and
 * are what a reader must tell apart. A lock that all of them share is one channel, so a convoy stays one row. A process that a
 * pair or ring finding names stays a row of its own. */
#include "report/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CMP(a, b) (((a) > (b)) - ((a) < (b)))

/* A process is busy when it ran, or wanted to, for a tenth of its time: "two of twenty work" stays visible as two rows. */
#define BUSY_SHARE 0.10
/* Members that wait on each other for less than this share of the run do not talk. */
#define TALK_SHARE 0.01
#define GROUP_MIN 3

struct candidate {
	const struct process_row *row;
	bool busy, alone;
	uint32_t set;  /* candidates that could share a row */
	uint32_t link; /* per set, in the set's first: the channel over which members talk */
	bool split;    /* per set: members talk over several channels */
};

static uint64_t ledger_blocked(const struct ledger *l)
{
	uint64_t sum = 0;

	for (unsigned c = 0; c < WC_COUNT; c++)
		sum += l->blocked_ns[c];
	return sum;
}

static const char *str(const char *s)
{
	return s ? s : "";
}

static int cmp_cmdline(char *const *a, char *const *b)
{
	for (; a && b && *a && *b; a++, b++) {
		int c = strcmp(*a, *b);
		if (c)
			return c;
	}
	return (a && *a) - (b && *b);
}

static int cmp_role(const struct candidate *a, const struct candidate *b)
{
	int c = CMP(b->row->in_tree, a->row->in_tree);

	if (!c)
		c = CMP(a->alone, b->alone);
	if (!c && a->alone)
		return CMP(a->row->pid, b->row->pid);
	if (!c)
		c = CMP(a->row->ppid, b->row->ppid);
	if (!c)
		c = strcmp(str(a->row->comm), str(b->row->comm));
	if (!c)
		c = cmp_cmdline(a->row->cmdline, b->row->cmdline);
	return c ? c : CMP(b->busy, a->busy);
}

static int cmp_candidate(const void *pa, const void *pb)
{
	const struct candidate *a = pa, *b = pb;
	int c = cmp_role(a, b);

	if (!c)
		c = CMP(b->row->n_siblings, a->row->n_siblings);
	if (!c)
		c = CMP(a->row->pid, b->row->pid);
	return c ? c : CMP(a->row, b->row);
}

/* Pairs and rings are told apart by the reader; the other kinds name roles ("30 workers on one hub"). */
static bool named_alone(const struct profile *p, int32_t pid)
{
	for (size_t i = 0; i < p->n_findings; i++) {
		const struct finding *f = &p->findings[i];
		if (f->kind != FIND_LOCKSTEP && f->n_pids > 2)
			continue;
		for (size_t j = 0; j < f->n_pids; j++)
			if (f->pids[j] == pid)
				return true;
	}
	return false;
}

static struct candidate *candidates_new(const struct view *v)
{
	const struct profile *p = v->p;
	struct candidate *c = calloc(p->n_processes + 1, sizeof *c);

	for (size_t i = 0; c && i < p->n_processes; i++) {
		const struct process_row *row = &p->processes[i];
		uint64_t total = ledger_sum(&row->ledger);
		uint64_t busy = row->ledger.on_cpu_ns + row->ledger.run_queue_ns;
		c[i].row = row;
		c[i].busy = total && (double)busy / (double)total >= BUSY_SHARE;
		c[i].alone = (v->pid && row->pid == v->pid) || named_alone(p, row->pid);
	}
	return c;
}

static int cmp_pid(const void *pa, const void *pb)
{
	const struct view_pid *a = pa, *b = pb;
	int c = CMP(a->pid, b->pid);
	return c ? c : CMP(a->group, b->group);
}

/* Marks the sets whose members talk to each other over several channels. Uses view.pids as pid -> candidate for the while. */
static void split_talkers(struct view *v, struct candidate *c, size_t n)
{
	const struct profile *p = v->p;

	for (size_t i = 0; i < n; i++)
		v->pids[i] = (struct view_pid){c[i].row->pid, (uint32_t)i, 0};
	v->n_pids = n;
	qsort(v->pids, n, sizeof *v->pids, cmp_pid);
	for (size_t i = 0; i < p->n_edges; i++) {
		const struct edge_row *e = &p->edges[i];
		uint32_t a = view_group_of(v, e->waiter_pid), b = view_group_of(v, e->waker_pid);

		if (a == IX_NONE || b == IX_NONE || a == b || c[a].set != c[b].set)
			continue;
		if ((double)e->blocked_ns < TALK_SHARE * (double)v->wall_ns)
			continue;
		struct candidate *first = &c[c[a].set];
		if (first->link && first->link != e->channel)
			first->split = true;
		first->link = e->channel;
	}
}

static void group_add(struct view *v, struct view_group *g, const struct process_row *row)
{
	if (g->n_rows == 0) {
		g->lead = row;
		g->pid = row->pid;
		g->started_ns = row->started_ns;
		g->ended_ns = row->ended_ns;
		g->top_peer = IX_NONE;
	}
	v->members[g->first + g->n_rows++] = (uint32_t)(row - v->p->processes);
	g->n_processes += row->n_siblings ? row->n_siblings : 1;
	g->n_threads += row->n_threads;
	ledger_merge(&g->ledger, &row->ledger);
	if (row->started_ns < g->started_ns)
		g->started_ns = row->started_ns;
	if (row->ended_ns == 0 || g->ended_ns == 0)
		g->ended_ns = 0;
	else if (row->ended_ns > g->ended_ns)
		g->ended_ns = row->ended_ns;
}

static void group_finish(struct view_group *g)
{
	g->blocked_ns = ledger_blocked(&g->ledger);
	g->thread_ns = ledger_sum(&g->ledger);
	for (unsigned c = 1; c < WC_COUNT; c++)
		if (g->ledger.blocked_ns[c] > g->top_cls_ns) {
			g->top_cls = (enum wait_class)c;
			g->top_cls_ns = g->ledger.blocked_ns[c];
		}
}

static int cmp_group(const void *pa, const void *pb)
{
	const struct view_group *a = pa, *b = pb;
	int c = CMP(b->lead->in_tree, a->lead->in_tree);
	uint64_t wa = a->ledger.on_cpu_ns + a->ledger.run_queue_ns + a->blocked_ns;
	uint64_t wb = b->ledger.on_cpu_ns + b->ledger.run_queue_ns + b->blocked_ns;

	if (!c)
		c = CMP(wb, wa);
	if (!c)
		c = CMP(b->thread_ns, a->thread_ns);
	return c ? c : CMP(a->pid, b->pid);
}

static void index_pids(struct view *v)
{
	v->n_pids = 0;
	for (size_t g = 0; g < v->n_groups; g++)
		for (uint32_t m = 0; m < v->groups[g].n_rows; m++) {
			uint32_t row = v->members[v->groups[g].first + m];
			v->pids[v->n_pids++] = (struct view_pid){v->p->processes[row].pid, (uint32_t)g, row};
		}
	qsort(v->pids, v->n_pids, sizeof *v->pids, cmp_pid);
}

/* With a filter: the process itself and those that it talks with. */
static void keep_neighbours(struct view *v)
{
	uint8_t *keep = calloc(v->n_groups + 1, 1);
	size_t kept = 0;

	if (!keep)
		return; /* shows more than asked for, nothing wrong */
	for (size_t i = 0; i < v->p->n_edges; i++) {
		const struct edge_row *e = &v->p->edges[i];
		uint32_t a = view_group_of(v, e->waiter_pid), b = view_group_of(v, e->waker_pid);
		if ((e->waiter_pid == v->pid || e->waker_pid == v->pid) && a != IX_NONE)
			keep[a] = 1;
		if (e->waiter_pid == v->pid && b != IX_NONE)
			keep[b] = 1;
	}
	keep[view_group_of(v, v->pid)] = 1;
	for (size_t g = 0; g < v->n_groups; g++)
		if (keep[g])
			v->groups[kept++] = v->groups[g];
	v->n_groups = kept;
	free(keep);
	index_pids(v);
}

int view_build_groups(struct view *v)
{
	size_t n = v->p->n_processes;
	struct candidate *c = candidates_new(v);

	v->groups = calloc(n + 1, sizeof *v->groups);
	v->members = calloc(n + 1, sizeof *v->members);
	v->pids = calloc(n + 1, sizeof *v->pids);
	if (!c || !v->groups || !v->members || !v->pids) {
		free(c);
		return -ENOMEM;
	}
	qsort(c, n, sizeof *c, cmp_candidate);
	for (size_t i = 0; i < n; i++)
		c[i].set = i && cmp_role(&c[i - 1], &c[i]) == 0 ? c[i - 1].set : (uint32_t)i;
	split_talkers(v, c, n);
	for (size_t i = 0, end, used = 0; i < n; i = end) {
		uint64_t size = 0;
		for (end = i; end < n && c[end].set == c[i].set; end++)
			size += c[end].row->n_siblings ? c[end].row->n_siblings : 1;
		bool one = !c[i].split && size >= GROUP_MIN;
		for (size_t j = i; j < end; j++) {
			if (j == i || !one)
				v->groups[v->n_groups++].first = (uint32_t)used;
			group_add(v, &v->groups[v->n_groups - 1], c[j].row);
			used++;
		}
	}
	free(c);
	for (size_t g = 0; g < v->n_groups; g++) {
		group_finish(&v->groups[g]);
		if (v->groups[g].lead->in_tree)
			v->total_ns += v->groups[g].thread_ns;
	}
	v->lost_share = v->total_ns ? (double)v->p->meta.lost_ns / (double)v->total_ns : 0;
	qsort(v->groups, v->n_groups, sizeof *v->groups, cmp_group);
	index_pids(v);
	if (v->pid)
		keep_neighbours(v);
	return 0;
}
