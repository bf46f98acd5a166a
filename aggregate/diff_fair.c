/* SPDX-License-Identifier: Apache-2.0
 *
 * Is the comparison fair? In: the runs' meta; out: notes for the reader, metrics that must not be compared with the reason, and what
 * to normalise by. Counts survive another machine; times do not. Another backend counts otherwise altogether.
 */
#include "aggregate/diff_internal.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMES                                                                                                                    \
	(1u << DIFF_WALL | 1u << DIFF_CPU | 1u << DIFF_USER_CPU | 1u << DIFF_RUN_QUEUE | 1u << DIFF_BLOCKED | 1u << DIFF_IDLE |  \
	 1u << DIFF_CRITICAL)
/* What every backend knows alike: the kernel's own counters and clocks. */
#define SAME_IN_ALL_BACKENDS (1u << DIFF_WALL | 1u << DIFF_CPU | 1u << DIFF_PROCESSES)
#define LENGTHS_DIFFER 1.05 /* attached runs: more than that, and sums say how long one looked */
#define LOST_SHARE 0.01

__attribute__((format(printf, 2, 3))) static void note(struct diff *d, const char *fmt, ...)
{
	char **grown = realloc(d->notes, (d->n_notes + 1) * sizeof *grown), *text = NULL;
	va_list ap;

	if (!grown)
		return;
	d->notes = grown;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) >= 0)
		d->notes[d->n_notes++] = text;
	va_end(ap);
}

static void forbid(struct diff *d, unsigned metrics, const char *why)
{
	for (unsigned m = 0; m < DIFF_METRIC_COUNT; m++)
		if (metrics & 1u << m && !d->unfair[m])
			d->unfair[m] = strdup(why);
}

static const char *of(const char *s)
{
	return s && *s ? s : "unknown";
}

/* Differs a text of meta, in any run, from the first run's? */
static const char *differs(const struct diff *d, size_t offset)
{
	const char *first = of(*(char *const *)((const char *)&d->base[0].profile->meta + offset));

	for (size_t i = 1; i < d->n_base + d->n_new; i++) {
		const char *s = of(*(char *const *)((const char *)&diff_run_at(d, i)->profile->meta + offset));
		if (strcmp(s, first) != 0)
			return s;
	}
	return NULL;
}

static void check_machine(struct diff *d, bool same_machine)
{
	static const struct {
		size_t offset;
		const char *what;
	} facts[] = {
		{offsetof(struct profile_meta, arch), "architectures"},
		{offsetof(struct profile_meta, kernel), "kernels"},
		{offsetof(struct profile_meta, host), "hosts"},
	};
	char why[400];

	for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
		const char *other = differs(d, facts[i].offset);
		if (!other)
			continue;
		snprintf(why, sizeof why, "the runs were made on different %s (%s, %s)", facts[i].what,
			 of(*(char *const *)((const char *)&d->base[0].profile->meta + facts[i].offset)), other);
		note(d, "%s: %s", why,
		     same_machine ? "times are compared because --same-machine says that the machines are alike"
				  : "times are shown, not judged (--same-machine: judge them)");
		if (!same_machine)
			forbid(d, TIMES, why);
	}
	for (size_t i = 1; i < d->n_base + d->n_new; i++) {
		uint32_t first = d->base[0].profile->meta.cpus, other = diff_run_at(d, i)->profile->meta.cpus;
		if (first == other)
			continue;
		snprintf(why, sizeof why, "the runs had different numbers of CPUs (%u, %u)", first, other);
		note(d, "%s: times are shown, not judged", why);
		forbid(d, TIMES, why);
		break;
	}
}

static void check_tool(struct diff *d)
{
	const char *backend = differs(d, offsetof(struct profile_meta, backend));
	const char *version = differs(d, offsetof(struct profile_meta, version));
	char why[400];

	if (version)
		note(d, "the profiles were written by different versions of lockstep (%s, %s), which may count differently",
		     of(d->base[0].profile->meta.version), version);
	if (!backend)
		return;
	snprintf(why, sizeof why, "the runs were made by different backends (%s, %s), which count differently",
		 of(d->base[0].profile->meta.backend), backend);
	note(d, "%s: only wall time, CPU time and processes are judged", why);
	forbid(d, ~SAME_IN_ALL_BACKENDS, why);
}

static void check_runs(struct diff *d)
{
	for (size_t i = 0; i < d->n_base + d->n_new; i++) {
		const struct profile *p = diff_run_at(d, i)->profile;
		double observed = 0;
		for (size_t k = 0; k < p->n_processes; k++)
			observed += (double)ledger_sum(&p->processes[k].ledger);
		if (p->meta.exit_status > 0)
			note(d, "%s: the command ended with status %d", diff_run_at(d, i)->name, p->meta.exit_status);
		if (observed > 0 && (double)p->meta.lost_ns > LOST_SHARE * observed)
			note(d, "%s: records of %.0f %% of the observed time were lost; counts are too low there",
			     diff_run_at(d, i)->name, 100 * (double)p->meta.lost_ns / observed);
	}
	if (!d->null.rank)
		note(d,
		     d->n_base == 1 && d->n_new == 1
			     ? "one run a side: differences, no verdicts; 4 runs a side or more tell change from chance"
			     : "%zu + %zu runs are too few for verdicts; 4 runs a side or more tell change from chance",
		     d->n_base, d->n_new);
}

static bool lengths_differ(const struct diff *d)
{
	double least = INFINITY, most = 0;

	for (size_t i = 0; i < d->n_base + d->n_new; i++) {
		double s = diff_divisor(diff_run_at(d, i), DIFF_PER_SECOND);
		least = s < least ? s : least;
		most = s > most ? s : most;
	}
	return most > LENGTHS_DIFFER * least;
}

static bool is_attached(const struct diff *d)
{
	for (size_t i = 0; i < d->n_base + d->n_new; i++)
		if (!diff_run_at(d, i)->profile->meta.command)
			return true;
	return false;
}

static int choose_norm(struct diff *d, int norm, struct err *err)
{
	size_t with_work = 0, n = d->n_base + d->n_new;

	for (size_t i = 0; i < n; i++)
		with_work += diff_run_at(d, i)->work > 0;
	if (with_work > 0 && with_work < n)
		return err_set(err, -EINVAL, "diff: the work done is known of %zu of %zu runs only; give it for all or none",
			       with_work, n);
	if (norm == DIFF_PER_WORK && !with_work)
		return err_set(err, -EINVAL, "diff: per unit of work, but the work done is unknown; give --work N");
	if (norm >= 0)
		d->norm = (enum diff_norm)norm;
	else if (with_work)
		d->norm = DIFF_PER_WORK;
	else if (is_attached(d) && lengths_differ(d))
		d->norm = DIFF_PER_SECOND;
	else
		d->norm = DIFF_PER_RUN;
	if (norm < 0 && d->norm == DIFF_PER_SECOND)
		note(d, "the observations differ in length: figures are per second");
	return 0;
}

int diff_fair_check(struct diff *d, const struct diff_options *opt, struct err *err)
{
	for (size_t i = 0; i < d->n_base + d->n_new; i++) {
		const struct diff_run *r = diff_run_at(d, i);
		bool any = false;
		for (size_t k = 0; k < r->profile->n_processes; k++)
			any |= r->profile->processes[k].in_tree;
		if (!any || r->profile->meta.end_ns <= r->profile->meta.start_ns)
			return err_set(err, -EINVAL, "diff: %s is empty: nothing was observed; record it anew", r->name);
	}
	if (opt->note)
		note(d, "%s", opt->note);
	check_tool(d);
	check_machine(d, opt->same_machine);
	check_runs(d);
	return choose_norm(d, opt->norm, err);
}
