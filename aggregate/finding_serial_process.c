/* SPDX-License-Identifier: Apache-2.0
 *
 * Serial process: of many equal processes few work, the others have nothing to do, and CPUs stand idle. In: load rows (GAPP:
 * running time charged by how many ran), roles, wait rows. Says how many were idle by design.
 */
#include "aggregate/finding_rules.h"

#include <math.h>

#define MIN_ROLE 3

/* Idle: ran for less than this share of what the busiest one of its role did. */
#define IDLE_SHARE 0.1

/* ... and moved less than this share of its messages: a stage that waits for a slow one moves as many. */
#define QUIET_SHARE 0.2

/* Fewer waits than this are no requests: a start, an end. */
#define MIN_REQUESTS 20

struct crew {
	const struct process_info *lead;
	int32_t busy[FINDING_MAX_PIDS];
	unsigned n_busy, n_idle, n_other;
	double work, most; /* shares of the windows: of all of them, of the busiest one */
	uint64_t calls;	   /* the busiest one's reads and writes */
	const struct wait_row *idle_wait;
};

static bool in_crew(const struct crew *w, const struct process_info *p)
{
	return p->row->in_tree && p->command == w->lead->command && p->row->n_siblings <= 1;
}

static uint64_t calls(const struct process_info *p)
{
	return p->row->rd_calls + p->row->wr_calls;
}

/* Roles (groups) would part the busy from the idle: here they are one crew by their command. */
static void survey(const struct finding_context *c, struct crew *w)
{
	for (size_t i = 0; i < c->p->n_processes; i++) {
		const struct process_info *p = &c->processes[i];
		if (in_crew(w, p) && finding_busy(c, p->row->pid) > w->most) {
			w->most = finding_busy(c, p->row->pid);
			w->calls = calls(p);
		}
	}
	for (size_t i = 0; i < c->p->n_processes; i++) {
		const struct process_info *p = &c->processes[i];
		if (!in_crew(w, p))
			continue;
		double busy = finding_busy(c, p->row->pid);
		w->work += busy;
		if (busy < IDLE_SHARE * w->most && (double)calls(p) <= QUIET_SHARE * (double)w->calls + 2) {
			w->n_idle++;
			if (!w->idle_wait)
				w->idle_wait = finding_top_wait(c, p->row->pid, WC_COUNT);
		} else if (busy >= IDLE_SHARE * w->most && w->n_busy < FINDING_MAX_PIDS) {
			w->busy[w->n_busy++] = p->row->pid;
		} else {
			w->n_other++;
		}
	}
}

/* The first one of its command stands for the crew. */
static bool is_first(const struct finding_context *c, size_t ix)
{
	for (size_t i = 0; i < ix; i++)
		if (c->processes[i].command == c->processes[ix].command && c->processes[i].row->in_tree)
			return false;
	return true;
}

/* Others ask the busy ones and wait for the answer: then what is serial is the asking. */
static double awaited(const struct finding_context *c, const struct crew *w)
{
	double most = 0;
	for (unsigned i = 0; i < w->n_busy; i++)
		for (size_t j = 0; j < c->n_talks; j++) {
			const struct talk *t = &c->talks[j];
			unsigned side = t->pid[0] == w->busy[i] ? 1 : 0;
			const struct talk_side *s = &t->side[side];
			uint64_t other = s->by_class[WC_CHILD] + s->by_class[WC_PIPE_WRITE] + s->by_class[WC_UNIX_WRITE] + s->by_class[WC_TCP_WRITE];
			if (t->pid[!side] != w->busy[i] || s->count < MIN_REQUESTS || other * 2 > s->count)
				continue; /* waits for its end, or for room to give it more work */
			const struct process_info *p = finding_process(c, t->pid[side]);
			if (p && p->lifetime_ns > 0)
				most = fmax(most, (double)s->blocked_ns / p->lifetime_ns);
		}
	return fmin(1, most);
}

static void tell(struct finding_context *c, const struct crew *w, double gain)
{
	struct finding *f = finding_new(c, FIND_SERIAL_PROCESS);
	if (!f)
		return;
	finding_weigh(c, f, false, 100);
	f->share_of_wall = w->most;
	for (unsigned i = 0; i < w->n_busy; i++)
		finding_add_pid(c, f, w->busy[i]);
	uint32_t hot = finding_hot_stack(c, w->busy[0]);
	finding_add_evidence(c, f, "works here", w->busy[0], hot);
	if (w->idle_wait)
		finding_add_evidence(c, f, "the idle ones wait here", w->idle_wait->pid, w->idle_wait->stack_ix);
	finding_predict(c, f, 1 + (gain - 1) * 0.8, gain);
	char list[FINDING_SITE], a[FINDING_SITE], b[FINDING_SITE];
	finding_say(c, &f->title, "%u of %u equal processes work%s, the other %u have nothing to do: %s run%s %.0f %% of the time", w->n_busy,
		    w->n_busy + w->n_idle, w->n_busy == 1 ? "s" : "", w->n_idle, finding_list(c, w->busy, w->n_busy, list),
		    w->n_busy == 1 ? "s" : "", 100 * w->most);
	finding_say(c, &f->where, "the busy in %s; the idle in %s", *finding_site(c, hot, a) ? a : "unknown code",
		    w->idle_wait && *finding_site(c, w->idle_wait->stack_ix, b) ? b : "unknown code");
	finding_say(c, &f->advice, "Spread the work over all of them: %.1f to %.1f times as fast on %u CPUs", f->speedup_low, f->speedup_high,
		    c->p->meta.cpus);
}

static void run(struct finding_context *c)
{
	double cpus = c->p->meta.cpus ? c->p->meta.cpus : 1;
	for (size_t i = 0; i < c->p->n_processes && c->window_ns > 0; i++) {
		struct crew w = {.lead = &c->processes[i]};
		if (!w.lead->row->in_tree || w.lead->row->n_siblings > 1 || !is_first(c, i))
			continue;
		survey(c, &w);
		if (!w.n_busy || w.n_busy + w.n_idle < MIN_ROLE || w.n_idle < w.n_busy || w.n_other > w.n_idle)
			continue;
		/* the busiest one's share of the run, spread over as many as there are or as CPUs are free */
		double crew = w.n_busy + w.n_idle, others = fmax(0, finding_parallelism(c) - w.work), room = fmax(1, fmin(crew, cpus - others));
		double left = 1 - w.most + fmax(w.work / room, w.most / crew);
		double strong = (1 - awaited(c, &w)) * finding_ramp(w.most, 0.2, 0.5);
		double gain = 1 / (1 - strong * (1 - fmin(1, left)));
		if (gain > 1 + FINDING_MIN_GAIN / 2)
			tell(c, &w, gain);
	}
}

const struct finding_rule finding_serial_process = {FIND_SERIAL_PROCESS, run};
