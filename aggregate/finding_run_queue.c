/* SPDX-License-Identifier: Apache-2.0
 *
 * Run-queue pressure: runnable, but no CPU. In: ledgers and the critical path. Too few CPUs, or a cgroup's quota. The latency of
 * ordinary wake-ups and the turns of a pair on one CPU are run-queue time too, in microseconds; here it must be long each time.
 */
#include "aggregate/finding_rules.h"

#include <math.h>

/* Mean run-queue delay: wake-ups take tens of microseconds; a slice that somebody else uses up takes milliseconds. */
#define WAKEUP_NS 1e5
#define SLICE_NS 1e6

/* A run of tens of milliseconds is mostly start-up, where everything is runnable at once. */
#define SHORT_RUN_NS 3e8
#define LONG_RUN_NS 1e9

struct pressure {
	double run_queue, on_cpu, delays; /* ns, ns, count, of the processes that suffer */
	int32_t pids[FINDING_MAX_PIDS];
	unsigned n, worst;
	double most;
};

static void survey(const struct finding_context *c, struct pressure *s)
{
	for (size_t i = 0; i < c->p->n_processes; i++) {
		const struct process_row *p = c->processes[i].row;
		double wants = (double)(p->ledger.run_queue_ns + p->ledger.on_cpu_ns);
		if (!p->in_tree || (double)p->ledger.run_queue_ns < 0.1 * wants || wants < 0.05 * c->wall_ns)
			continue;
		s->run_queue += (double)p->ledger.run_queue_ns;
		s->on_cpu += (double)p->ledger.on_cpu_ns;
		s->delays += (double)(p->ledger.waits + p->ledger.preemptions);
		if (s->n < FINDING_MAX_PIDS) {
			if ((double)p->ledger.run_queue_ns > s->most) {
				s->most = (double)p->ledger.run_queue_ns;
				s->worst = s->n;
			}
			s->pids[s->n++] = p->pid;
		}
	}
}

static void run(struct finding_context *c)
{
	struct pressure s = {.n = 0};
	survey(c, &s);
	double path = finding_critical(c, BLAME_RUN_QUEUE, 0);
	if (!s.n || s.delays <= 0)
		return;
	double mean = s.run_queue / s.delays, runnable = s.run_queue / c->wall_ns;
	double strong = finding_ramp(log10(mean + 1), log10(WAKEUP_NS), log10(SLICE_NS)) * finding_own_demand(c) *
			finding_ramp(c->wall_ns, SHORT_RUN_NS, LONG_RUN_NS);
	double high = 1 / (1 - fmin(0.98, path * strong));
	if (high < 1 + FINDING_MIN_GAIN / 2)
		return;
	struct finding *f = finding_new(c, FIND_RUN_QUEUE);
	if (!f)
		return;
	finding_weigh(c, f, false, (uint64_t)s.delays);
	f->share_of_wall = path;
	for (unsigned i = 0; i < s.n; i++)
		finding_add_pid(c, f, s.pids[i]);
	uint32_t hot = finding_hot_stack(c, s.pids[s.worst]);
	finding_add_evidence(c, f, "runs here when it may", s.pids[s.worst], hot);
	finding_predict(c, f, 1 + (high - 1) * 0.8, high);
	char list[FINDING_SITE], d[32], site[FINDING_SITE];
	finding_say(c, &f->title, "%s want a CPU and do not get one: %.1f are runnable and wait at any time, %s each time, %.0f %% of the run",
		    finding_list(c, s.pids, s.n, list), runnable, finding_duration(mean, d), 100 * path);
	finding_say(c, &f->where, "%s", *finding_site(c, hot, site) ? site : "on-CPU code of those processes");
	finding_say(c, &f->advice, "Give it more CPUs (or a larger quota), start fewer at a time, or do less work: with CPUs for all %.1f to %.1f times as fast",
		    f->speedup_low, f->speedup_high);
}

const struct finding_rule finding_run_queue = {FIND_RUN_QUEUE, run};
