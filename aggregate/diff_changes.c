/* SPDX-License-Identifier: Apache-2.0
 *
 * What changed, and which change explains the others. In: facts; out: series worth telling, the sure ones first, and the cause.
 *
 * The cause is the change nearest to what somebody edited. Counts per unit of work explain times and never the reverse: who sends
 * twice as many messages burns more CPU and waits more. So structure goes first (round trips, messages, their size, processes),
 * then locks, then CPU time by function, then the times that follow from all that. Counts that depend on timing (how often a wait
 * was needed at all) need a second witness.
 */
#include "aggregate/diff_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TELL_SHARE 0.01 /* below that nobody cares */
#define TELL_RATIO 1.02
#define TELL_RATIO_TIME 1.04
#define CAUSE_SHARE 0.03
#define CAUSE_RATIO 1.03
#define UNSEEN_RATIO 1.2 /* round trips that no message count confirms */
#define UNSURE_RATIO 1.25 /* of counts when few runs cannot tell change from what was missed at a run's start */

static const struct {
	enum diff_metric metric;
	unsigned by;
} overview[] = {
	{DIFF_WALL, 0},
	{DIFF_CPU, 0},
	{DIFF_BLOCKED, 0},
	{DIFF_RUN_QUEUE, 0},
	{DIFF_SWITCHES, 0},
	{DIFF_ROUND_TRIPS, DIFF_BY_PROCESS | DIFF_BY_PEER | DIFF_BY_CHANNEL},
	{DIFF_MESSAGES, DIFF_BY_PROCESS},
	{DIFF_BYTES, DIFF_BY_PROCESS},
	{DIFF_MESSAGE_BYTES, DIFF_BY_PROCESS},
	{DIFF_READS, DIFF_BY_PROCESS},
	{DIFF_PROCESSES, DIFF_BY_PROCESS},
	{DIFF_CPU, DIFF_BY_PROCESS},
	{DIFF_USER_CPU, DIFF_BY_PROCESS},
	{DIFF_USER_CPU, DIFF_BY_PROCESS | DIFF_BY_FUNCTION},
	{DIFF_WAITS, DIFF_BY_PROCESS | DIFF_BY_CLASS},
	{DIFF_BLOCKED, DIFF_BY_PROCESS | DIFF_BY_CLASS},
	{DIFF_RUN_QUEUE, DIFF_BY_PROCESS},
	{DIFF_CRITICAL, DIFF_BY_PROCESS},
};

/* On a logarithmic scale; what appeared or vanished counts as a factor of e^3. */
static double log_change(const struct diff_series *s)
{
	double l = s->stats.ratio > 0 ? log(s->stats.ratio) : -3;

	return l > 3 ? 3 : l < -3 ? -3 : l;
}

static bool is_sure(const struct diff_series *s)
{
	return s->stats.decidable && (s->stats.p_more <= DIFF_ALPHA || s->stats.p_less <= DIFF_ALPHA);
}

/* --- the cause --- */

static const struct diff_series *find(const struct diff *d, enum diff_metric m, uint32_t process)
{
	const struct diff_key key = {process, DIFF_ANY, DIFF_ANY, DIFF_ANY, DIFF_ANY, DIFF_ANY};

	for (size_t i = 0; i < d->n_changes; i++)
		if (d->changes[i].metric == m && memcmp(&d->changes[i].key, &key, sizeof key) == 0)
			return &d->changes[i];
	return NULL;
}

static bool writes(const struct diff *d, uint32_t process)
{
	for (size_t i = 0; i < d->n_facts; i++)
		if (d->facts[i].metric == DIFF_MESSAGES && d->facts[i].key.process == process && d->facts[i].value > 0)
			return true;
	return false;
}

/* Whether messages of either end changed at least half as much as the round trips did. */
static bool is_confirmed(const struct diff *d, const struct diff_series *s)
{
	const uint32_t ends[2] = {s->key.process, s->key.peer};

	for (unsigned i = 0; i < 2; i++) {
		const struct diff_series *m = find(d, DIFF_MESSAGES, ends[i]);
		if (m && log_change(m) * log_change(s) > 0 && fabs(log_change(m)) >= 0.5 * fabs(log_change(s)))
			return true;
	}
	return !writes(d, ends[0]) && !writes(d, ends[1]) && fabs(log_change(s)) > log(UNSEEN_RATIO);
}

/* How near to the source a change lies; 0: a consequence. */
static unsigned depth(const struct diff *d, const struct diff_series *s)
{
	switch (s->metric) {
	case DIFF_ROUND_TRIPS:
		return is_confirmed(d, s) ? 5 : 0;
	case DIFF_MESSAGES:
	case DIFF_MESSAGE_BYTES:
	case DIFF_PROCESSES:
		return 5;
	case DIFF_WAITS:
		return s->key.cls == WC_FUTEX || s->key.cls == WC_LOCK || s->key.cls == WC_GIL ? 4 : 0;
	case DIFF_USER_CPU:
		return s->key.function != DIFF_ANY ? 3 : 2;
	case DIFF_CPU: /* nobody edits the kernel: its time grows with what is asked of it, and with the neighbours */
		return s->key.process != DIFF_ANY ? 1 : 0;
	default:
		return 0;
	}
}

/* Round trips name the pair best, unless messages changed much more. CPU time is a sum: what adds most counts, not what grew by the
 * largest factor. */
static double score(const struct diff *d, const struct diff_series *s)
{
	double size = s->metric == DIFF_CPU || s->metric == DIFF_USER_CPU ? s->share : s->share * log_change(s) / 3;

	return depth(d, s) + (s->metric == DIFF_ROUND_TRIPS ? 1.3 * size : size) / 1.3;
}

static void consider(struct diff *d, const struct diff_series *s, double *best)
{
	double this_score = score(d, s), least = CAUSE_RATIO;

	if (!d->null.rank && strcmp(diff_metric_unit(s->metric), "ns") != 0)
		least = UNSURE_RATIO;
	if (s->stats.ratio > least && this_score > *best) {
		*best = this_score;
		d->cause = s;
	}
}

void diff_choose_cause(struct diff *d)
{
	double best = -1;

	d->cause = NULL;
	for (size_t i = 0; i < d->n_changes; i++)
		if (d->changes[i].share >= CAUSE_SHARE && (!d->null.rank || i < d->n_sure) && !d->unfair[d->changes[i].metric])
			consider(d, &d->changes[i], &best);
	for (size_t v = 0; v < d->n_verdicts; v++)
		for (size_t i = 0; i < d->verdicts[v].n_hits; i++)
			consider(d, &d->verdicts[v].hits[i], &best);
}

/* --- what changed --- */

static int add_changes(struct diff *d, enum diff_metric m, unsigned by)
{
	struct diff_series *s, *grown;
	size_t n, kept = 0;
	int rc = diff_group(d, m, d->norm, by, NULL, &s, &n);

	if (rc != 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		double ratio = strcmp(diff_metric_unit(m), "ns") == 0 ? TELL_RATIO_TIME : TELL_RATIO;
		if (s[i].share >= TELL_SHARE && fabs(log_change(&s[i])) > log(ratio))
			s[kept++] = s[i];
		else
			free(s[i].base);
	}
	grown = realloc(d->changes, (d->n_changes + kept + 1) * sizeof *grown);
	if (!grown) {
		diff_series_free(s, kept);
		return -ENOMEM;
	}
	d->changes = grown;
	memcpy(d->changes + d->n_changes, s, kept * sizeof *s);
	d->n_changes += kept;
	free(s);
	return 0;
}

static int cmp_change(const void *a, const void *b, void *ctx)
{
	const struct diff_series *x = a, *y = b;
	double wx = x->share * fabs(log_change(x)), wy = y->share * fabs(log_change(y));

	(void)ctx;
	if (is_sure(x) != is_sure(y))
		return is_sure(x) ? -1 : 1;
	if (wx != wy)
		return wx > wy ? -1 : 1;
	if (x->metric != y->metric)
		return x->metric < y->metric ? -1 : 1;
	return memcmp(&x->key, &y->key, sizeof x->key);
}

int diff_changes_build(struct diff *d)
{
	for (size_t i = 0; i < sizeof overview / sizeof *overview; i++) {
		int rc;
		if (overview[i].metric == DIFF_WALL && d->norm == DIFF_PER_SECOND) /* how long one looked */
			continue;
		rc = add_changes(d, overview[i].metric, overview[i].by);
		if (rc != 0)
			return rc;
	}
	qsort_r(d->changes, d->n_changes, sizeof *d->changes, cmp_change, NULL);
	while (d->n_sure < d->n_changes && is_sure(&d->changes[d->n_sure]))
		d->n_sure++;
	diff_choose_cause(d);
	return 0;
}
