/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules against a diff. In: rules; out: a verdict each, with the series that broke it.
 *
 * A rule fails when the change is larger than its threshold *and* beyond chance. A rule that selects by a pattern with wildcards (or
 * not at all) looks at many series, so those whose change is a trifle of the whole are left out. What cannot be judged is said and is
 * no pass.
 */
#include "aggregate/diff_internal.h"

#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MATTERS_SHARE 0.01   /* of the tree's whole */
#define MATTERS_SAMPLED 0.03 /* the same of what rests on samples: a small part of few samples is mostly noise */
/* A change below these, per run, is a trifle whatever its percentage. */
#define MATTERS_NS 1e6
#define MATTERS_BYTES 1000
#define MATTERS_COUNT 10

__attribute__((format(printf, 2, 3))) static int not_judged(struct diff_verdict *v, const char *fmt, ...)
{
	va_list ap;
	int n;

	v->outcome = DIFF_NOT_JUDGED;
	va_start(ap, fmt);
	n = vasprintf(&v->why, fmt, ap);
	va_end(ap);
	if (n < 0)
		v->why = NULL;
	return n < 0 ? -ENOMEM : 0;
}

static double typical_divisor(const struct diff *d, enum diff_norm norm)
{
	double sum = 0;

	for (size_t i = 0; i < d->n_base + d->n_new; i++)
		sum += diff_divisor(diff_run_at(d, i), norm);
	return sum / (double)(d->n_base + d->n_new);
}

static bool matters(const struct diff *d, const struct diff_rule *r, const struct diff_series *s)
{
	double change = fabs(s->stats.new_median - s->stats.base_median);
	const char *unit = diff_metric_unit(s->metric);

	/* Messages are counted exactly: a pair that talks little beside one that talks much is still judged. */
	if ((r->wild || !r->by) && s->metric != DIFF_MESSAGES &&
	    s->share < (s->metric == DIFF_USER_CPU ? MATTERS_SAMPLED : MATTERS_SHARE))
		return false;
	if (s->metric == DIFF_MESSAGE_BYTES)
		return true;
	change *= typical_divisor(d, s->norm);
	if (s->metric == DIFF_PROCESSES)
		return change >= 1;
	return change >= (strcmp(unit, "ns") == 0 ? MATTERS_NS : strcmp(unit, "bytes") == 0 ? MATTERS_BYTES : MATTERS_COUNT);
}

static double extreme(const double *v, size_t n, bool largest)
{
	double m = n ? v[0] : 0;

	for (size_t i = 1; i < n; i++)
		m = largest == (v[i] > m) ? v[i] : m;
	return m;
}

/* What disturbs times only ever adds to them, so each side's quietest run tells most; what is missed of counts (by a sampling backend, or
 * before the probes for sockets are attached) only takes from them, so there the fullest run does. These must differ by half the
 * threshold at least: ranks alone are fooled when one side happens to be disturbed more often. */
static bool best_runs_agree(const struct diff *d, const struct diff_rule *r, const struct diff_series *s)
{
	bool is_time = strcmp(diff_metric_unit(s->metric), "ns") == 0;
	double base, fresh, half = 1 + (r->factor - 1) / 2;

	base = extreme(s->base, d->n_base, !is_time);
	fresh = extreme(s->fresh, d->n_new, !is_time);
	return r->below ? fresh < half * base : fresh > half * base;
}

static bool is_broken(const struct diff *d, const struct diff_rule *r, const struct diff_series *s)
{
	if (r->below ? s->stats.ratio >= r->factor || s->stats.p_less > DIFF_ALPHA
		     : s->stats.ratio <= r->factor || s->stats.p_more > DIFF_ALPHA)
		return false;
	return best_runs_agree(d, r, s);
}

/* Any process that the pattern could mean; a misspelt name must not pass for ever. */
static bool names_a_process(const struct diff *d, const char *pattern)
{
	for (size_t i = 0; i < d->n_roles; i++) {
		const struct diff_role *r = &d->roles[i];
		if (fnmatch(pattern, r->name, 0) == 0 || fnmatch(pattern, r->command, 0) == 0 ||
		    fnmatch(pattern, r->path, 0) == 0 || (r->new_path && fnmatch(pattern, r->new_path, 0) == 0))
			return true;
	}
	return false;
}

static int list_processes(const struct diff *d, struct diff_verdict *v, const char *pattern)
{
	char list[300] = "";
	size_t at = 0;

	for (size_t i = 0; i < d->n_roles && at + 1 < sizeof list; i++)
		if (!d->roles[i].outside && (d->roles[i].n_base || d->roles[i].n_new))
			at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", at ? ", " : "", d->roles[i].name);
	return not_judged(v, "no process is called '%s'; there are %s", pattern, list);
}

static int cmp_worst(const void *a, const void *b)
{
	const struct diff_series *x = a, *y = b;
	double wx = x->share * fabs(log(x->stats.ratio)), wy = y->share * fabs(log(y->stats.ratio));

	if (isinf(wx) || isinf(wy) || isnan(wx) || isnan(wy))
		return x->share == y->share ? 0 : x->share > y->share ? -1 : 1;
	return wx == wy ? 0 : wx > wy ? -1 : 1;
}

static int judge_series(const struct diff *d, struct diff_verdict *v)
{
	const struct diff_rule *r = v->rule;
	enum diff_norm norm = r->norm >= 0 ? (enum diff_norm)r->norm : r->metric == DIFF_WALL ? DIFF_PER_RUN : d->norm;
	struct diff_series *s;
	size_t n, kept = 0;
	int rc;

	if (norm == DIFF_PER_SECOND && r->metric == DIFF_WALL)
		return not_judged(v, "wall time per second is one");
	if (norm == DIFF_PER_WORK && !(d->base[0].work > 0))
		return not_judged(v, "the work done is unknown; give --work N, or a metric without _per_work");
	if (d->unfair[r->metric])
		return not_judged(v, "%s", d->unfair[r->metric]);
	for (unsigned bit = 0; bit < 2; bit++)
		if (r->pattern[bit] && !names_a_process(d, r->pattern[bit]))
			return list_processes(d, v, r->pattern[bit]);
	rc = diff_group(d, r->metric, norm, r->by, r->pattern, &s, &n);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		bool hit = matters(d, r, &s[i]) && is_broken(d, r, &s[i]);
		double ratio = v->has_closest ? v->closest.stats.ratio : r->below ? INFINITY : -1;
		if (hit) {
			s[kept++] = s[i];
		} else if (matters(d, r, &s[i]) && (r->below ? s[i].stats.ratio < ratio : s[i].stats.ratio > ratio)) {
			if (v->has_closest)
				free(v->closest.base);
			v->closest = s[i];
			v->has_closest = true;
		} else {
			free(s[i].base);
		}
	}
	v->hits = s;
	v->n_hits = kept;
	v->outcome = kept ? DIFF_FAILED : DIFF_PASSED;
	qsort(v->hits, kept, sizeof *v->hits, cmp_worst);
	return 0;
}

static int judge_findings(const struct diff *d, struct diff_verdict *v)
{
	v->findings = malloc((d->n_findings + 1) * sizeof *v->findings);
	if (!v->findings)
		return -ENOMEM;
	for (size_t i = 0; i < d->n_findings; i++)
		if (d->findings[i].appeared && (v->rule->finding < 0 || v->rule->finding == (int)d->findings[i].kind))
			v->findings[v->n_findings++] = i;
	v->outcome = v->n_findings ? DIFF_FAILED : DIFF_PASSED;
	return 0;
}

int diff_judge(struct diff *d, const struct diff_rule *rules, size_t n, struct err *err)
{
	d->verdicts = calloc(n + 1, sizeof *d->verdicts);
	if (!d->verdicts)
		return err_set(err, -ENOMEM, "diff: out of memory");
	for (size_t i = 0; i < n; i++) {
		struct diff_verdict *v = &d->verdicts[d->n_verdicts++];
		int rc;
		v->rule = &rules[i];
		if (!d->null.rank)
			rc = not_judged(v, "%zu + %zu runs are too few; give 4 or more of each side", d->n_base, d->n_new);
		else
			rc = rules[i].is_finding ? judge_findings(d, v) : judge_series(d, v);
		if (rc != 0)
			return err_set(err, rc, "diff: out of memory");
	}
	diff_choose_cause(d);
	return 0;
}

bool diff_is_close(const struct diff *d)
{
	bool close = false;

	for (size_t i = 0; i < d->n_verdicts; i++) {
		const struct diff_verdict *v = &d->verdicts[i];
		double half = 1 + (v->rule->factor - 1) / 2;
		if (v->outcome == DIFF_NOT_JUDGED)
			continue;
		if (v->rule->is_finding || strcmp(diff_metric_unit(v->rule->metric), "ns") != 0) {
			if (v->outcome == DIFF_FAILED)
				return false;
		} else if (v->outcome == DIFF_FAILED ||
			   (v->has_closest && (v->rule->below ? v->closest.stats.ratio < half : v->closest.stats.ratio > half))) {
			close = true;
		}
	}
	return close;
}
