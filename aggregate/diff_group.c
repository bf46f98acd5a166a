/* SPDX-License-Identifier: Apache-2.0
 *
 * Facts -> series: the only place that sums. In: a metric, the dimensions to group by, patterns to filter by; out: a value per run
 * for each group, normalised, with statistics.
 */
#include "aggregate/diff_internal.h"

#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FROM_EDGES (DIFF_BY_PEER | DIFF_BY_CLASS | DIFF_BY_CHANNEL | DIFF_BY_FUNCTION | DIFF_BY_STACK)

static const struct metric {
	const char *name, *unit;
	unsigned dims;
	unsigned edge_dims; /* grouped or filtered by one of these, the facts of edges are summed instead */
	unsigned edge_metric;
	enum diff_metric whole; /* shares are of this metric's whole tree */
} metrics[DIFF_METRIC_COUNT] = {
	[DIFF_WALL] = {"wall", "ns", 0, 0, 0, DIFF_WALL},
	[DIFF_CPU] = {"cpu", "ns", DIFF_BY_PROCESS | DIFF_BY_FUNCTION | DIFF_BY_STACK, 0, 0, DIFF_CPU},
	[DIFF_USER_CPU] = {"user_cpu", "ns", DIFF_BY_PROCESS | DIFF_BY_FUNCTION | DIFF_BY_STACK, 0, 0, DIFF_CPU},
	[DIFF_RUN_QUEUE] = {"run_queue", "ns", DIFF_BY_PROCESS, 0, 0, DIFF_WALL},
	[DIFF_BLOCKED] = {"blocked", "ns", DIFF_BY_PROCESS | FROM_EDGES, DIFF_BY_PEER, FACT_BLOCKED_ON, DIFF_WALL},
	[DIFF_IDLE] = {"idle", "ns", DIFF_BY_PROCESS | (FROM_EDGES & ~DIFF_BY_PEER), 0, 0, DIFF_WALL},
	[DIFF_CRITICAL] = {"critical", "ns", DIFF_BY_PROCESS | (FROM_EDGES & ~DIFF_BY_PEER), 0, 0, DIFF_WALL},
	[DIFF_ROUND_TRIPS] = {"round_trips", "count", DIFF_BY_PROCESS | DIFF_BY_PEER | DIFF_BY_CHANNEL, 0, 0, DIFF_ROUND_TRIPS},
	[DIFF_MESSAGES] = {"messages", "count", DIFF_BY_PROCESS | FROM_EDGES, FROM_EDGES, FACT_MESSAGES_TO, DIFF_MESSAGES},
	[DIFF_BYTES] = {"bytes", "bytes", DIFF_BY_PROCESS | FROM_EDGES, FROM_EDGES, FACT_BYTES_TO, DIFF_BYTES},
	[DIFF_MESSAGE_BYTES] = {"message_bytes", "bytes", DIFF_BY_PROCESS | FROM_EDGES, 0, 0, DIFF_BYTES},
	[DIFF_READS] = {"reads", "count", DIFF_BY_PROCESS, 0, 0, DIFF_READS},
	[DIFF_WAITS] = {"waits", "count", DIFF_BY_PROCESS | FROM_EDGES, DIFF_BY_PEER, FACT_WAITS_ON, DIFF_WAITS},
	[DIFF_SWITCHES] = {"switches", "count", DIFF_BY_PROCESS, 0, 0, DIFF_SWITCHES},
	[DIFF_PROCESSES] = {"processes", "count", DIFF_BY_PROCESS, 0, 0, DIFF_PROCESSES},
};

const char *diff_metric_name(enum diff_metric m)
{
	return metrics[m].name;
}

const char *diff_metric_unit(enum diff_metric m)
{
	return metrics[m].unit;
}

unsigned diff_dims_of(enum diff_metric m)
{
	return metrics[m].dims;
}

const char *diff_dim_name(unsigned bit)
{
	static const char *const names[DIFF_RULE_KEYS] = {"process", "peer", "class", "channel", "function", "stack"};

	return names[bit];
}

const char *diff_norm_name(enum diff_norm n)
{
	static const char *const names[] = {"run", "second", "work"};

	return names[n];
}

double diff_divisor(const struct diff_run *r, enum diff_norm norm)
{
	double seconds = (double)(r->profile->meta.end_ns - r->profile->meta.start_ns) / 1e9;

	return norm == DIFF_PER_WORK ? r->work : norm == DIFF_PER_SECOND ? seconds : 1;
}

/* --- filtering --- */

static uint32_t dim_value(const struct diff_key *k, unsigned bit)
{
	const uint32_t v[DIFF_RULE_KEYS] = {k->process, k->peer, k->cls, k->channel, k->function, k->stack};

	return v[bit];
}

static size_t dim_size(const struct diff *d, unsigned bit)
{
	const size_t n[DIFF_RULE_KEYS] = {d->n_roles, d->n_roles, WC_COUNT, CH_COUNT, d->n_functions, d->n_stacks};

	return n[bit];
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool role_matches(const struct diff_role *r, const char *pattern)
{
	return fnmatch(pattern, r->name, 0) == 0 || fnmatch(pattern, r->command, 0) == 0 || fnmatch(pattern, r->path, 0) == 0 ||
	       (r->new_path && (fnmatch(pattern, r->new_path, 0) == 0 || fnmatch(pattern, last_part(r->new_path), 0) == 0));
}

static bool value_matches(const struct diff *d, unsigned bit, uint32_t v, const char *pattern)
{
	switch (bit) {
	case 0:
	case 1:
		return role_matches(&d->roles[v], pattern);
	case 2:
		return fnmatch(pattern, wait_class_name((enum wait_class)v), 0) == 0;
	case 3:
		return fnmatch(pattern, channel_kind_name((enum channel_kind)v), 0) == 0;
	case 4:
		return fnmatch(pattern, d->functions[v].name, 0) == 0;
	default:
		return fnmatch(pattern, d->stacks[v], 0) == 0;
	}
}

/* Per dimension: which values pass (the last one: unknown); NULL: all. */
struct filter {
	bool *pass[DIFF_RULE_KEYS];
	const struct diff_key *exact; /* NULL: any; its DIFF_ANY are any */
};

static void filter_fini(struct filter *f)
{
	for (unsigned bit = 0; bit < DIFF_RULE_KEYS; bit++)
		free(f->pass[bit]);
}

static int filter_init(struct filter *f, const struct diff *d, char *const *pattern, const struct diff_key *exact)
{
	memset(f, 0, sizeof *f);
	f->exact = exact;
	for (unsigned bit = 0; pattern && bit < DIFF_RULE_KEYS; bit++) {
		size_t n = dim_size(d, bit);
		if (!pattern[bit])
			continue;
		f->pass[bit] = calloc(n + 1, sizeof **f->pass);
		if (!f->pass[bit]) {
			filter_fini(f);
			return -ENOMEM;
		}
		for (uint32_t v = 0; v < n; v++)
			f->pass[bit][v] = value_matches(d, bit, v, pattern[bit]);
		f->pass[bit][n] = fnmatch(pattern[bit], "unknown", 0) == 0;
	}
	return 0;
}

static bool passes(const struct filter *f, const struct diff *d, unsigned bit, uint32_t v)
{
	return !f->pass[bit] || f->pass[bit][v == DIFF_ANY ? dim_size(d, bit) : v];
}

static bool fact_passes(const struct filter *f, const struct diff *d, const struct diff_fact *fact)
{
	for (unsigned bit = 0; f->exact && bit < DIFF_RULE_KEYS; bit++)
		if (dim_value(f->exact, bit) != DIFF_ANY && dim_value(f->exact, bit) != dim_value(&fact->key, bit))
			return false;
	/* A pair has no order: either end may be the one that is asked for. */
	if (fact->metric == DIFF_ROUND_TRIPS) {
		const struct diff_key *k = &fact->key;
		bool straight = passes(f, d, 0, k->process) && passes(f, d, 1, k->peer);
		bool crossed = passes(f, d, 0, k->peer) && passes(f, d, 1, k->process);
		return (straight || crossed) && passes(f, d, 3, k->channel);
	}
	for (unsigned bit = 0; bit < DIFF_RULE_KEYS; bit++)
		if (!passes(f, d, bit, dim_value(&fact->key, bit)))
			return false;
	return true;
}

/* --- summing --- */

/* The sums of one grouping: a hash table from key to a row of values. */
struct sums {
	struct diff_key *keys;
	double *values; /* n_runs per key */
	size_t n, capacity, n_runs;
	uint32_t *slots;
	size_t n_slots;
};

static void sums_fini(struct sums *s)
{
	free(s->keys);
	free(s->values);
	free(s->slots);
}

static uint64_t key_hash(const struct diff_key *k)
{
	uint64_t h = 14695981039346656037u;

	for (unsigned bit = 0; bit < DIFF_RULE_KEYS; bit++)
		h = (h ^ dim_value(k, bit)) * 1099511628211u;
	return h ^ h >> 29;
}

static uint32_t *sums_slot(const struct sums *s, const struct diff_key *k)
{
	size_t i = key_hash(k) & (s->n_slots - 1);

	while (s->slots[i] && memcmp(&s->keys[s->slots[i] - 1], k, sizeof *k) != 0)
		i = (i + 1) & (s->n_slots - 1);
	return &s->slots[i];
}

static bool sums_grow(struct sums *s)
{
	size_t n_slots = s->n_slots ? s->n_slots * 2 : 64, capacity = n_slots / 2;
	uint32_t *slots = calloc(n_slots, sizeof *slots);
	struct diff_key *keys = realloc(s->keys, capacity * sizeof *keys);
	double *values;

	if (keys)
		s->keys = keys;
	values = realloc(s->values, capacity * s->n_runs * sizeof *values);
	if (values)
		s->values = values;
	if (!slots || !keys || !values) {
		free(slots);
		return false;
	}
	memset(s->values + s->n * s->n_runs, 0, (capacity - s->n) * s->n_runs * sizeof *values);
	free(s->slots);
	s->slots = slots;
	s->n_slots = n_slots;
	s->capacity = capacity;
	for (size_t i = 0; i < s->n; i++)
		*sums_slot(s, &s->keys[i]) = (uint32_t)i + 1;
	return true;
}

/* The row of values of a key; NULL: out of memory. */
static double *sums_row(struct sums *s, const struct diff_key *k)
{
	uint32_t *slot;

	if (s->n == s->capacity && !sums_grow(s))
		return NULL;
	slot = sums_slot(s, k);
	if (!*slot) {
		s->keys[s->n] = *k;
		*slot = (uint32_t)++s->n;
	}
	return s->values + (*slot - 1) * s->n_runs;
}

static struct diff_key masked(const struct diff_key *k, unsigned by)
{
	return (struct diff_key){.process = by & DIFF_BY_PROCESS ? k->process : DIFF_ANY,
				 .peer = by & DIFF_BY_PEER ? k->peer : DIFF_ANY,
				 .cls = by & DIFF_BY_CLASS ? k->cls : DIFF_ANY,
				 .channel = by & DIFF_BY_CHANNEL ? k->channel : DIFF_ANY,
				 .function = by & DIFF_BY_FUNCTION ? k->function : DIFF_ANY,
				 .stack = by & DIFF_BY_STACK ? k->stack : DIFF_ANY};
}

struct query {
	enum diff_metric metric;
	enum diff_norm norm;
	unsigned by;
	char *const *pattern;
	const struct diff_key *exact;
};

/* Which facts a metric sums under the query's dimensions and filters. */
static unsigned fact_metric(enum diff_metric m, const struct query *q)
{
	unsigned dims = q->by;

	for (unsigned bit = 0; bit < DIFF_RULE_KEYS; bit++)
		if ((q->pattern && q->pattern[bit]) || (q->exact && dim_value(q->exact, bit) != DIFF_ANY))
			dims |= 1u << bit;
	return dims & metrics[m].edge_dims ? metrics[m].edge_metric : (unsigned)m;
}

static int sum_facts(const struct diff *d, enum diff_metric m, const struct query *q, struct sums *s)
{
	unsigned metric = fact_metric(m, q), by = q->by;
	struct filter f;

	if (filter_init(&f, d, q->pattern, q->exact) != 0)
		return -ENOMEM;
	if (metric == DIFF_ROUND_TRIPS && by & (DIFF_BY_PROCESS | DIFF_BY_PEER))
		by |= DIFF_BY_PROCESS | DIFF_BY_PEER;
	s->n_runs = d->n_base + d->n_new;
	for (size_t i = 0; i < d->n_facts; i++) {
		const struct diff_fact *fact = &d->facts[i];
		struct diff_key key;
		double *row;
		if (fact->metric != metric || !fact_passes(&f, d, fact))
			continue;
		key = masked(&fact->key, by);
		row = sums_row(s, &key);
		if (!row) {
			filter_fini(&f);
			return -ENOMEM;
		}
		row[fact->run] += fact->value;
	}
	filter_fini(&f);
	return 0;
}

/* bytes / messages, from two groupings. */
static int sum_means(const struct diff *d, const struct query *q, struct sums *s)
{
	struct sums messages = {0};
	int rc = sum_facts(d, DIFF_BYTES, q, s);

	if (rc == 0)
		rc = sum_facts(d, DIFF_MESSAGES, q, &messages);
	for (size_t i = 0; rc == 0 && i < s->n; i++) {
		const double *n = sums_row(&messages, &s->keys[i]);
		if (!n)
			rc = -ENOMEM;
		for (size_t run = 0; rc == 0 && run < s->n_runs; run++)
			s->values[i * s->n_runs + run] = n[run] > 0 ? s->values[i * s->n_runs + run] / n[run] : 0;
	}
	sums_fini(&messages);
	return rc;
}

/* --- series --- */

static double middle(const double *v, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += v[i];
	return n ? sum / (double)n : 0;
}

/* The whole tree's mean per run of a metric, of the side where it is larger. Normalised like the series. */
static double whole_tree(const struct diff *d, enum diff_metric m, enum diff_norm norm)
{
	double side[2] = {0, 0};

	for (size_t i = 0; i < d->n_facts; i++)
		if (d->facts[i].metric == m) {
			double by = diff_divisor(diff_run_at(d, d->facts[i].run), norm);
			bool fresh = d->facts[i].run >= d->n_base;
			side[fresh] += by > 0 ? d->facts[i].value / by / (double)(fresh ? d->n_new : d->n_base) : 0;
		}
	return side[0] > side[1] ? side[0] : side[1];
}

static int make_series(const struct diff *d, const struct sums *s, size_t i, struct diff_series *out, double whole)
{
	size_t n_runs = s->n_runs;
	double change;

	out->key = s->keys[i];
	out->base = malloc((n_runs + 1) * sizeof *out->base);
	if (!out->base)
		return -ENOMEM;
	out->fresh = out->base + d->n_base;
	for (size_t run = 0; run < n_runs; run++) {
		double by = out->metric == DIFF_MESSAGE_BYTES ? 1 : diff_divisor(diff_run_at(d, run), out->norm);
		out->base[run] = by > 0 ? s->values[i * n_runs + run] / by : 0;
	}
	if (diff_compare(&out->stats, &d->null, out->base, out->fresh, d->blocks) != 0)
		return -ENOMEM;
	change = fabs(middle(out->fresh, d->n_new) - middle(out->base, d->n_base));
	out->share = whole > 0 ? change / whole : 0;
	out->share = out->share > 1 ? 1 : out->share;
	return 0;
}

static int cmp_share(const void *a, const void *b)
{
	const struct diff_series *x = a, *y = b;

	if (x->share != y->share)
		return x->share > y->share ? -1 : 1;
	return memcmp(&x->key, &y->key, sizeof x->key);
}

static int group(const struct diff *d, const struct query *q, struct diff_series **out, size_t *n);

/* A mean has no whole: its weight is the bytes that go with it. */
static int weigh_means(const struct diff *d, const struct query *q, struct diff_series *s, size_t n)
{
	struct query of_bytes = *q;
	struct diff_series *bytes;
	size_t n_bytes;
	double whole = whole_tree(d, DIFF_BYTES, DIFF_PER_RUN);
	int rc;

	of_bytes.metric = DIFF_BYTES;
	of_bytes.norm = DIFF_PER_RUN;
	rc = group(d, &of_bytes, &bytes, &n_bytes);
	for (size_t i = 0; rc == 0 && i < n; i++)
		for (size_t k = 0; k < n_bytes; k++) {
			double base = s[i].stats.base_median, fresh = s[i].stats.new_median, more = base > fresh ? base : fresh,
			       bigger;
			if (memcmp(&s[i].key, &bytes[k].key, sizeof s[i].key) != 0)
				continue;
			bigger = fmax(middle(bytes[k].base, d->n_base), middle(bytes[k].fresh, d->n_new));
			s[i].share = whole > 0 && more > 0 ? fmin(bigger / whole, 1) * fabs(fresh - base) / more : 0;
		}
	if (rc == 0)
		diff_series_free(bytes, n_bytes);
	return rc;
}

static int group(const struct diff *d, const struct query *q, struct diff_series **out, size_t *n)
{
	bool mean = q->metric == DIFF_MESSAGE_BYTES;
	struct sums s = {0};
	struct diff_series *series = NULL;
	double whole = mean ? 0 : whole_tree(d, metrics[q->metric].whole, q->norm);
	size_t made = 0;
	int rc = mean ? sum_means(d, q, &s) : sum_facts(d, q->metric, q, &s);

	if (rc == 0) {
		series = calloc(s.n + 1, sizeof *series);
		rc = series ? 0 : -ENOMEM;
	}
	while (rc == 0 && made < s.n) {
		series[made].metric = q->metric;
		series[made].norm = q->norm;
		rc = make_series(d, &s, made, &series[made], whole);
		made++;
	}
	if (rc == 0 && mean)
		rc = weigh_means(d, q, series, made);
	sums_fini(&s);
	if (rc != 0) {
		diff_series_free(series, made);
		return rc;
	}
	qsort(series, made, sizeof *series, cmp_share);
	*out = series;
	*n = made;
	return 0;
}

int diff_group(const struct diff *d, enum diff_metric metric, enum diff_norm norm, unsigned by, char *const *pattern,
	       struct diff_series **out, size_t *n)
{
	const struct query q = {.metric = metric, .norm = norm, .by = by, .pattern = pattern};

	return group(d, &q, out, n);
}

void diff_series_free(struct diff_series *s, size_t n)
{
	for (size_t i = 0; s && i < n; i++)
		free(s[i].base);
	free(s);
}

int diff_split(const struct diff *d, const struct diff_series *s, unsigned more, struct diff_series **out, size_t *n)
{
	struct query q = {.metric = s->metric, .norm = s->norm, .by = more & metrics[s->metric].dims, .exact = &s->key};

	for (unsigned bit = 0; bit < DIFF_RULE_KEYS; bit++)
		if (dim_value(&s->key, bit) != DIFF_ANY)
			q.by |= 1u << bit;
	return group(d, &q, out, n);
}
