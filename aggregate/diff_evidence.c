/* SPDX-License-Identifier: Apache-2.0
 *
 * Behind a change: the peer over which it went, and the call sites that it comes from. In: a series; out: its parts.
 */
#include "aggregate/diff_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double grown(const struct diff_series *s)
{
	return s->stats.new_median - s->stats.base_median;
}

void diff_peer(const struct diff *d, const struct diff_series *s, uint32_t *peer, enum channel_kind *channel)
{
	struct diff_series *parts, as_waits = *s;
	size_t n;
	double most = 0;

	*peer = DIFF_ANY;
	*channel = CH_NONE;
	if (s->key.process == DIFF_ANY)
		return;
	/* What the process writes wakes somebody; of all else only its waits know a peer. */
	if (s->metric != DIFF_MESSAGES && s->metric != DIFF_BYTES && s->metric != DIFF_MESSAGE_BYTES && s->metric != DIFF_BLOCKED)
		as_waits.metric = DIFF_WAITS;
	if (s->metric == DIFF_MESSAGE_BYTES)
		as_waits.metric = DIFF_BYTES;
	as_waits.key.function = as_waits.key.stack = DIFF_ANY;
	if (diff_split(d, &as_waits, DIFF_BY_PEER | DIFF_BY_CHANNEL, &parts, &n) != 0)
		return;
	for (size_t i = 0; i < n; i++) {
		/* Nearly all of a change may show at the heaviest peer only by its level (a size that doubled): weigh both. */
		double weight = fabs(grown(&parts[i])) + 0.01 * (parts[i].stats.new_median + parts[i].stats.base_median);
		if (parts[i].key.peer == DIFF_ANY || weight <= most)
			continue;
		most = weight;
		*peer = parts[i].key.peer;
		*channel = (enum channel_kind)parts[i].key.channel;
	}
	diff_series_free(parts, n);
}

static int cmp_weight(const void *a, const void *b)
{
	const struct diff_series *x = a, *y = b;
	double wx = fabs(grown(x)) + 0.01 * (x->stats.new_median + x->stats.base_median);
	double wy = fabs(grown(y)) + 0.01 * (y->stats.new_median + y->stats.base_median);

	return wx == wy ? 0 : wx > wy ? -1 : 1;
}

/* Appends what `of` splits into by stack, without those whose stack is unknown. */
static int append_stacks(const struct diff *d, const struct diff_series *of, struct diff_series **all, size_t *n_all)
{
	struct diff_series *parts, *grown_list;
	size_t n;
	int rc = diff_split(d, of, DIFF_BY_STACK, &parts, &n);

	if (rc != 0)
		return rc;
	grown_list = realloc(*all, (*n_all + n + 1) * sizeof *parts);
	if (!grown_list) {
		diff_series_free(parts, n);
		return -ENOMEM;
	}
	*all = grown_list;
	for (size_t i = 0; i < n; i++) {
		if (parts[i].key.stack == DIFF_ANY)
			free(parts[i].base);
		else
			(*all)[(*n_all)++] = parts[i];
	}
	free(parts);
	return 0;
}

int diff_evidence(const struct diff *d, const struct diff_series *s, struct diff_series **out, size_t *n)
{
	struct diff_series of = *s;
	int rc = 0;

	*out = NULL;
	*n = 0;
	switch (s->metric) {
	case DIFF_ROUND_TRIPS: /* what the two wait for each other; hand-offs have no stack */
		of.metric = DIFF_WAITS;
		of.key.channel = DIFF_ANY;
		rc = append_stacks(d, &of, out, n);
		of.key.process = s->key.peer;
		of.key.peer = s->key.process;
		if (rc == 0 && of.key.process != of.key.peer)
			rc = append_stacks(d, &of, out, n);
		break;
	case DIFF_WALL:
	case DIFF_PROCESSES:
		break;
	case DIFF_SWITCHES:
	case DIFF_READS:
		of.metric = DIFF_WAITS;
		rc = append_stacks(d, &of, out, n);
		break;
	case DIFF_RUN_QUEUE:
		of.metric = DIFF_CPU;
		rc = append_stacks(d, &of, out, n);
		break;
	default:
		rc = append_stacks(d, &of, out, n);
		break;
	}
	if (rc != 0) {
		diff_series_free(*out, *n);
		*out = NULL;
		*n = 0;
		return rc;
	}
	if (*n)
		qsort(*out, *n, sizeof **out, cmp_weight);
	return 0;
}
