/* SPDX-License-Identifier: Apache-2.0
 *
 * What to say when no rule found anything. In: the view; out: a calm and true sentence about where the time went, with the figure
 * that a reader would ask for next. It claims no cause: only sums that the tables below it show too. */
#include "report/view.h"
#include "report/frames.h"
#include "report/units.h"

#include <stdio.h>
#include <string.h>

/* Process rows of the tree. */
static size_t tree_groups(const struct view *v)
{
	size_t n = 0;

	while (n < v->n_groups && v->groups[n].lead->in_tree)
		n++;
	return n;
}

static uint32_t busiest(const struct view *v)
{
	uint32_t best = IX_NONE;

	for (uint32_t g = 0; g < v->n_groups; g++)
		if (v->groups[g].lead->in_tree && v->groups[g].ledger.on_cpu_ns &&
		    (best == IX_NONE || v->groups[g].ledger.on_cpu_ns > v->groups[best].ledger.on_cpu_ns))
			best = g;
	return best;
}

static const struct view_hot *hottest(const struct view *v, uint32_t group)
{
	for (size_t i = 0; i < v->n_hot; i++)
		if (v->hot[i].group == group && v->hot[i].is_cpu && v->hot[i].stack_ix)
			return &v->hot[i];
	return NULL;
}

static void say_busy(const struct view *v, uint32_t g, char *dst, size_t size)
{
	char name[128], site[300] = "";
	const struct view_hot *h = hottest(v, g);
	const struct frame_row *f = h ? frames_site(v->p, h->stack_ix) : NULL;
	double share = (double)v->groups[g].ledger.on_cpu_ns / (double)v->wall_ns;

	view_group_name(v, g, name, sizeof name);
	if (f && f->function && f->file && f->line)
		snprintf(site, sizeof site, ", most in %s (%s:%u)", f->function, frames_basename(f->file), f->line);
	else if (f && f->function)
		snprintf(site, sizeof site, ", most in %s", f->function);
	snprintf(dst, size, "No process keeps another from working: %s (pid %d) computes for %s of the run%s.", name,
		 (int)v->groups[g].pid, unit_percent(share).s, site);
}

/* Who ends the waits that the group spends most time in; "" when nobody known does. */
static void longest_edge(const struct view *v, uint32_t g, char *dst, size_t size)
{
	char peer[128];

	dst[0] = '\0';
	for (size_t i = 0; i < v->n_edges; i++) {
		const struct view_edge *e = &v->edges[i];
		if (e->waiter != g || e->blocked_ns * 2 < v->groups[g].top_cls_ns)
			continue;
		if (e->waker != IX_NONE && e->waker != g) {
			view_group_name(v, e->waker, peer, sizeof peer);
			snprintf(dst, size, ", ended by %s (pid %d)", peer, (int)v->groups[e->waker].pid);
		} else if (e->waker == IX_NONE && e->channel && e->channel->remote) {
			snprintf(dst, size, ", for %s", e->channel->name ? e->channel->name : "another host");
		}
		return;
	}
}

static void say_waiting(const struct view *v, uint32_t g, char *dst, size_t size)
{
	const struct view_group *w = &v->groups[g];
	char name[128], tail[300];

	view_group_name(v, g, name, sizeof name);
	longest_edge(v, g, tail, sizeof tail);
	snprintf(dst, size, "No rule found a cause to blame. The longest wait is that of %s (pid %d): %s%s of the run in %s%s.",
		 name, (int)w->pid, w->estimated ? "~" : "",
		 unit_percent((double)w->top_cls_ns / (double)v->wall_ns / w->n_rows).s, wait_class_name(w->top_cls), tail);
}

static void say_queued(const struct view *v, uint32_t g, char *dst, size_t size)
{
	char name[128];

	view_group_name(v, g, name, sizeof name);
	snprintf(dst, size,
		 "No process keeps another from working, but CPUs are short: %s (pid %d) was ready to run, without a CPU, for %s "
		 "of the run (%u CPU%s here).",
		 name, (int)v->groups[g].pid,
		 unit_percent((double)v->groups[g].ledger.run_queue_ns / (double)v->wall_ns / v->groups[g].n_rows).s,
		 v->p->meta.cpus, v->p->meta.cpus == 1 ? "" : "s");
}

/* Neither work nor waiting stands out. */
static void say_quiet(const struct view *v, uint64_t cpu, uint64_t idle, char *dst, size_t size)
{
	snprintf(dst, size,
		 "No process keeps another from working: %s of the time is idle, spent waiting for work that nobody had; the "
		 "CPUs ran %s in %s.",
		 unit_percent((double)idle / (double)v->total_ns).s, unit_ns((double)cpu).s, unit_ns((double)v->wall_ns).s);
}

/* A share of the run below which neither computing nor waiting is worth a sentence of its own. */
#define NOTABLE_SHARE 0.25

void view_healthy_sentence(const struct view *v, char *dst, size_t size)
{
	uint64_t cpu = 0, idle = 0;
	double wait_share = 0, hot_share = 0, queue_share = 0;
	uint32_t longest = IX_NONE, queued = IX_NONE, hot = busiest(v);

	for (uint32_t g = 0; g < v->n_groups && v->groups[g].lead->in_tree; g++) {
		const struct view_group *x = &v->groups[g];
		double share = (double)x->top_cls_ns / (double)v->wall_ns / x->n_rows;
		cpu += x->ledger.on_cpu_ns;
		idle += x->ledger.idle_ns;
		if (share > wait_share) {
			wait_share = share;
			longest = g;
		}
	}
	for (uint32_t g = 0; g < v->n_groups && v->groups[g].lead->in_tree; g++) {
		double queue = (double)v->groups[g].ledger.run_queue_ns / (double)v->wall_ns / v->groups[g].n_rows;
		if (queue > queue_share) {
			queue_share = queue;
			queued = g;
		}
	}
	if (hot != IX_NONE)
		hot_share = (double)v->groups[hot].ledger.on_cpu_ns / (double)v->wall_ns;
	if (tree_groups(v) == 0)
		snprintf(dst, size,
			 "Nothing was observed: the profile holds no process of the tree, so there is nothing to judge.");
	else if (v->total_ns == 0)
		snprintf(dst, size, "The tree neither ran nor waited while it was observed; a longer run would say more.");
	else if (queue_share >= NOTABLE_SHARE && queue_share >= hot_share && queue_share >= wait_share)
		say_queued(v, queued, dst, size);
	else if (hot_share < NOTABLE_SHARE && wait_share < NOTABLE_SHARE && idle * 2 > v->total_ns)
		say_quiet(v, cpu, idle, dst, size);
	else if (hot != IX_NONE && hot_share >= wait_share)
		say_busy(v, hot, dst, size);
	else if (longest != IX_NONE)
		say_waiting(v, longest, dst, size);
	else
		say_quiet(v, cpu, idle, dst, size);
	if (v->lost_share >= 0.01 && strlen(dst) + 100 < size)
		snprintf(dst + strlen(dst), size - strlen(dst),
			 " Lost records cover %s of the time: a small cause may hide there.", unit_percent(v->lost_share).s);
}
