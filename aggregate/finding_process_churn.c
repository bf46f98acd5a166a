/* SPDX-License-Identifier: Apache-2.0
 *
 * Process churn: a process per item. In: process rows (short-lived siblings are one row with a count), wait rows of their parent. Most of a
 * short life is fork, exec, dynamic linking and exit; one call for all items saves that.
 */
#include "aggregate/finding_rules.h"

#include <math.h>
#include <stdio.h>

#define MIN_CHILDREN 20

/* The start and the end of a dynamically linked program take about a millisecond; a child that lives this long does real work
 * too. */
#define STARTUP_NS 3e6
#define WORKING_NS 1e8

struct churn {
	const struct process_info *lead;
	uint64_t children;
	double life_ns; /* wall, summed */
	double busy_ns; /* of it: it ran, was runnable or read its program: what starting and ending costs, not its sleeping */
	double spawn_ns;
};

static void survey(const struct finding_context *c, struct churn *s)
{
	for (size_t i = s->lead->lead; i != SIZE_MAX; i = c->processes[i].next) {
		const struct process_row *p = c->processes[i].row;
		uint32_t n = p->n_siblings > 1 ? p->n_siblings : 1;
		if (!p->ended_ns && n == 1)
			continue;
		double life = n > 1 ? (double)p->observed_ns / (p->n_threads > n ? (double)p->n_threads / n : 1) : c->processes[i].lifetime_ns;
		s->children += n;
		s->life_ns += life;
		double idle = 0, all = p->observed_ns ? (double)p->observed_ns : 1;
		for (unsigned cls = 0; cls < WC_COUNT; cls++)
			idle += cls != WC_FILE_IO && cls != WC_PAGE_FAULT ? (double)p->ledger.blocked_ns[cls] : 0;
		s->busy_ns += life * fmax(0, 1 - (idle + (double)p->ledger.idle_ns) / all);
		s->spawn_ns += (double)p->spawn_ns;
	}
}

static void tell(struct finding_context *c, const struct churn *s, double share, double startup)
{
	struct finding *f = finding_new(c, FIND_PROCESS_CHURN);
	if (!f)
		return;
	const struct process_row *p = s->lead->row;
	const struct wait_row *w = finding_top_wait(c, p->ppid, WC_CHILD);
	finding_weigh(c, f, false, s->children);
	f->share_of_wall = share;
	f->round_trips_per_s = (double)s->children * 1e9 / c->wall_ns;
	if (finding_process(c, p->ppid))
		finding_add_pid(c, f, p->ppid);
	finding_add_pid(c, f, p->pid);
	if (w)
		finding_add_evidence(c, f, "waits for each child here", p->ppid, w->stack_ix);
	finding_add_evidence(c, f, "the children run here", p->pid, finding_hot_stack(c, p->pid));
	double won = share * startup;
	finding_predict(c, f, 1 / (1 - 0.93 * won), 1 / (1 - 0.98 * won));
	char parent[FINDING_NAME], n[32], r[32], life[32], part[64] = "";
	if (s->spawn_ns > 0)
		snprintf(part, sizeof(part), ", %.0f %% of it fork and exec", fmin(100, 100 * s->spawn_ns / s->life_ns));
	finding_say(c, &f->title, "%s starts a process per item: %s times %s, %s a second, %s each%s",
		    finding_process(c, p->ppid) ? finding_name(c, p->ppid, parent) : "the program", finding_count((double)s->children, n),
		    p->comm ? p->comm : "a child", finding_count(f->round_trips_per_s, r),
		    finding_duration(s->life_ns / (double)s->children, life), part);
	finding_say(c, &f->where, "%s%s%s", p->comm ? p->comm : "child", p->exe && *p->exe ? ", " : "", p->exe ? p->exe : "");
	finding_say(c, &f->advice, "Give one process many items (xargs without -n1, a loop inside the tool): %.1f to %.1f times as fast",
		    f->speedup_low, f->speedup_high);
}

/* The children and their parent, as far as the run waits for them. */
static double path_share(const struct finding_context *c, const struct churn *s)
{
	int32_t pid = s->lead->row->pid;
	double sum = 0;
	for (unsigned kind = BLAME_RUN; kind < BLAME_COUNT; kind++)
		if (kind != BLAME_TIMER)
			sum += finding_critical(c, (enum blame_kind)kind, pid);
	const struct process_info *parent = finding_process(c, s->lead->row->ppid);
	if (parent && parent->row->in_tree)
		sum += finding_path(c, parent, BLAME_RUN) + finding_path(c, parent, BLAME_RUN_QUEUE);
	return fmin(1, sum);
}

static void run(struct finding_context *c)
{
	for (size_t i = 0; i < c->p->n_processes && c->wall_ns > 0; i++) {
		struct churn s = {.lead = &c->processes[i]};
		if (s.lead->lead != i || !s.lead->row->in_tree || s.lead->role_size < MIN_CHILDREN)
			continue;
		survey(c, &s);
		if (s.children < MIN_CHILDREN)
			continue;
		const struct process_info *parent = finding_process(c, s.lead->row->ppid);
		double forking = parent && parent->row->in_tree ? (double)parent->row->ledger.on_cpu_ns : 0;
		double mean = s.life_ns / (double)s.children, share = fmin(1, (s.busy_ns + forking) / c->wall_ns);
		share = fmin(share, path_share(c, &s));
		double startup = finding_ramp(log10(mean + 1), log10(WORKING_NS), log10(STARTUP_NS));
		if (share * startup > FINDING_MIN_GAIN / 2)
			tell(c, &s, share, startup);
	}
}

const struct finding_rule finding_process_churn = {FIND_PROCESS_CHURN, run};
