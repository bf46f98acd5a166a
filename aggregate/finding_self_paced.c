/* SPDX-License-Identifier: Apache-2.0
 *
 * Self-paced: the way of the run goes through a process's own timer (sleep, ticker, rate limiter, poll interval) while others wait
 * for it. In: critical rows that end at a timer, blame rows (who waits for it), wait rows. The peers are not to blame.
 *
 * What is no finding: a client that asks now and then. Its server waits for the next question, which looks the same, but the
 * server is at leisure: who both asks and is asked over one conversation is no victim, unless the sleeper is the server.
 */
#include "aggregate/finding_rules.h"

#include <math.h>

/* Sleeps shorter than 50 ms pace a conversation; from half a second on they are ticks and heartbeats, meant to be there. */
#define PACE_NS 5e7
#define TICK_NS 5e8

#define MAX_VICTIMS 64

/* A sleep or two are a start, not a pace. */
#define FEW_SLEEPS 5
#define MANY_SLEEPS 20

/* A victim waits about once per sleep, in its turn; who waits once for all the sleeps waits for the end of something. */
#define OFTEN 0.3

static bool accepts(const struct finding_context *c, int32_t pid)
{
	return finding_top_wait(c, pid, WC_ACCEPT) != NULL;
}

/* A wait that the process set itself: sleeps; polls and futexes that timed out are told by the critical path's class. */
static const struct critical_row *top_timer(const struct finding_context *c, int32_t pid)
{
	const struct critical_row *best = NULL;
	for (size_t i = 0; i < c->p->n_critical; i++) {
		const struct critical_row *r = &c->p->critical[i];
		if (r->pid == pid && r->kind == BLAME_TIMER && (!best || r->ns > best->ns))
			best = r;
	}
	return best;
}

static unsigned real_victims(const struct finding_context *c, int32_t pid, double sleeps, int32_t *victims)
{
	int32_t all[MAX_VICTIMS];
	unsigned n = finding_victims(c, BLAME_TIMER, pid, all, MAX_VICTIMS), real = 0;
	bool server = accepts(c, pid);
	for (unsigned i = 0; i < n && i < MAX_VICTIMS; i++) {
		const struct talk *t = finding_talk(c, pid, all[i]);
		unsigned me = t && t->pid[1] == pid;
		bool at_leisure = t && t->side[me].count && t->side[!me].count && !server;
		const struct process_info *v = finding_process(c, all[i]);
		bool parent = t && t->side[!me].by_class[WC_CHILD] * 2 > t->side[!me].count;
		bool often = v && (double)v->row->ledger.waits >= OFTEN * sleeps;
		if (!at_leisure && !parent && often)
			victims[real++] = all[i];
	}
	return real;
}

static void tell(struct finding_context *c, const struct process_info *p, const struct critical_row *timer, double strength,
		 const int32_t *victims, unsigned n)
{
	struct finding *f = finding_new(c, FIND_SELF_PACED);
	if (!f)
		return;
	const struct wait_row *w = finding_top_wait(c, p->row->pid, timer->cls);
	double path = finding_path(c, p, BLAME_TIMER), mean = (double)timer->ns / (double)timer->count;
	finding_weigh(c, f, w && w->estimated, timer->count);
	f->share_of_wall = path;
	finding_add_pid(c, f, p->row->pid);
	if (w)
		finding_add_channel(c, f, w->channel);
	finding_add_evidence(c, f, "sleeps here", p->row->pid, timer->stack_ix);
	/* without the sleep everything else stays: the way loses that share */
	double left = fmax(0.01, 1 - path * strength), gain = 1 / left - 1;
	finding_predict(c, f, 1 + gain * 0.85, 1 + gain * 1.1);
	char name[FINDING_NAME], site[FINDING_SITE], list[FINDING_SITE], d[32], r[32];
	finding_say(c, &f->title, "%s brakes the others: it sleeps %s at a time, %s times a second, and %s wait%s for it (%.0f %% of the run)",
		    finding_name(c, p->row->pid, name), finding_duration(mean, d),
		    finding_count(w ? (double)w->count * 1e9 / c->wall_ns : (double)timer->count * 1e9 / c->window_ns, r),
		    finding_list(c, victims, n, list), n == 1 ? "s" : "", 100 * path);
	finding_say(c, &f->where, "%s", *finding_site(c, timer->stack_ix, site) ? site : "unknown code");
	finding_say(c, &f->advice, "Wait for the event instead of sleeping, or do not hold what others need meanwhile: %.1f to %.1f times as fast",
		    f->speedup_low, f->speedup_high);
}

static void run(struct finding_context *c)
{
	for (size_t i = 0; i < c->p->n_processes && c->window_ns > 0; i++) {
		const struct process_info *p = &c->processes[i];
		double path = finding_path(c, p, BLAME_TIMER);
		int32_t victims[MAX_VICTIMS];
		if (!p->row->in_tree || path < FINDING_MIN_GAIN / 2)
			continue;
		const struct critical_row *timer = top_timer(c, p->row->pid);
		if (!timer || !timer->count)
			continue;
		const struct wait_row *sleep = finding_top_wait(c, p->row->pid, timer->cls);
		unsigned n = real_victims(c, p->row->pid, sleep ? (double)sleep->count : (double)timer->count, victims);
		if (!n)
			continue;
		double mean = (double)timer->ns / (double)timer->count;
		double strength = finding_ramp(log10(mean), log10(TICK_NS), log10(PACE_NS)) * (n == 1 ? 0.3 : 1) *
				  finding_ramp(sleep ? (double)sleep->count : (double)timer->count, FEW_SLEEPS, MANY_SLEEPS);
		if (strength > 0)
			tell(c, p, timer, strength, victims, n);
	}
}

const struct finding_rule finding_self_paced = {FIND_SELF_PACED, run};
