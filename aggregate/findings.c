/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs the rules over a profile. In: a profile with its evidence; out: p->findings, overlaps resolved, best first. The table
 * below is the list of all rules; adding one is one file and one row (docs/HOWTO_ADD.md, docs/FINDINGS.md).
 */
#include "aggregate/findings.h"
#include "aggregate/finding_rules.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The more specific kind first: where two findings tell of the same processes and channel, the earlier one is told and the
 * later one becomes its "also". */
static const struct finding_rule *const rules[] = {
	&finding_disk_wait,	&finding_single_server,	&finding_self_paced,	&finding_chatty_hub,	&finding_n_plus_one,
	&finding_lock_convoy,	&finding_serial_process, &finding_backpressure, &finding_lockstep,	&finding_ring,
	&finding_process_churn, &finding_slow_consumer, &finding_slow_producer, &finding_run_queue,	&finding_hot_line_rule,
};

struct finding *finding_new(struct finding_context *c, enum finding_kind kind)
{
	if (c->n_found == c->cap_found) {
		size_t cap = c->cap_found ? 2 * c->cap_found : 16;
		struct finding *f = realloc(c->found, cap * sizeof(*f));
		if (f)
			c->found = f;
		double *g = f ? realloc(c->gain, cap * sizeof(*g)) : NULL;
		if (!g) {
			c->out_of_memory = true;
			return NULL;
		}
		c->gain = g;
		c->cap_found = cap;
	}
	struct finding *f = &c->found[c->n_found];
	memset(f, 0, sizeof(*f));
	f->kind = kind;
	f->round_trips_per_s = f->bytes_p50 = f->bytes_p99 = -1;
	f->confidence = CONF_HIGH;
	c->gain[c->n_found++] = 0;
	return f;
}

static void release(struct finding *f)
{
	free(f->title);
	free(f->where);
	free(f->advice);
	free(f->pids);
	free(f->channels);
	for (size_t i = 0; i < f->n_evidence; i++)
		free(f->evidence[i].label);
	free(f->evidence);
}

void finding_drop_last(struct finding_context *c)
{
	if (c->n_found)
		release(&c->found[--c->n_found]);
}

void finding_rank(struct finding_context *c, struct finding *f, double gain)
{
	c->gain[f - c->found] = isfinite(gain) ? gain : 0;
}

void finding_predict(struct finding_context *c, struct finding *f, double low, double high)
{
	if (!isfinite(low) || !isfinite(high) || low < 1)
		low = 1;
	if (!isfinite(high) || high < low)
		high = low;
	if (high > low * FINDING_MAX_SPREAD) { /* centre it */
		double mid = sqrt(low * high), half = sqrt(FINDING_MAX_SPREAD);
		low = mid / half < 1 ? 1 : mid / half;
		high = mid * half;
		if (f->confidence > CONF_MEDIUM)
			f->confidence = CONF_MEDIUM;
	}
	f->speedup_low = low;
	f->speedup_high = high;
	finding_rank(c, f, (low + high) / 2 - 1);
}

static bool grow(struct finding_context *c, void *array, size_t n, size_t size)
{
	void **slot = array;
	void *p = realloc(*slot, (n + 1) * size);
	if (p)
		*slot = p;
	else
		c->out_of_memory = true;
	return p != NULL;
}

void finding_add_pid(struct finding_context *c, struct finding *f, int32_t pid)
{
	for (size_t i = 0; i < f->n_pids; i++)
		if (f->pids[i] == pid)
			return;
	if (pid > 0 && f->n_pids < FINDING_MAX_PIDS && grow(c, &f->pids, f->n_pids, sizeof(*f->pids)))
		f->pids[f->n_pids++] = pid;
}

void finding_add_channel(struct finding_context *c, struct finding *f, uint32_t channel)
{
	for (size_t i = 0; i < f->n_channels; i++)
		if (f->channels[i] == channel)
			return;
	if (channel && f->n_channels < FINDING_MAX_PIDS && grow(c, &f->channels, f->n_channels, sizeof(*f->channels)))
		f->channels[f->n_channels++] = channel;
}

void finding_add_evidence(struct finding_context *c, struct finding *f, const char *label, int32_t pid, uint32_t stack_ix)
{
	if (stack_ix == 0 || stack_ix >= c->p->n_stacks || !grow(c, &f->evidence, f->n_evidence, sizeof(*f->evidence)))
		return;
	struct evidence *e = &f->evidence[f->n_evidence];
	*e = (struct evidence){.label = strdup(label), .pid = pid, .stack_ix = stack_ix};
	if (e->label)
		f->n_evidence++;
	else
		c->out_of_memory = true;
}

void finding_say(struct finding_context *c, char **field, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0) {
		text = NULL;
		c->out_of_memory = true;
	}
	va_end(ap);
	free(*field);
	*field = text;
}

/* Loss above a tenth of the observed time, sampling, or few observations: the kind may still be right, the numbers are not
 * to be trusted as much. */
void finding_weigh(const struct finding_context *c, struct finding *f, bool estimated, uint64_t observations)
{
	double observed = 0, lost = (double)c->p->meta.lost_ns;
	for (size_t i = 0; i < c->p->n_processes; i++)
		observed += (double)c->p->processes[i].observed_ns;
	int level = f->confidence;
	f->estimated |= estimated;
	if (estimated)
		level--;
	if (observed > 0 && lost > 0.1 * observed)
		level--;
	if (observations < 100)
		level--;
	f->confidence = level < CONF_LOW ? CONF_LOW : (enum confidence)level;
}

/* Same culprits: every process of the smaller set is in the larger one; findings of one kind must also meet in a channel. */
static bool same_story(const struct finding *a, const struct finding *b)
{
	const struct finding *small = a->n_pids <= b->n_pids ? a : b, *large = small == a ? b : a;
	for (size_t i = 0; i < small->n_pids; i++) {
		bool in = false;
		for (size_t j = 0; j < large->n_pids; j++)
			in |= small->pids[i] == large->pids[j];
		if (!in)
			return false;
	}
	if (a->kind != b->kind || !a->n_channels || !b->n_channels)
		return true;
	for (size_t i = 0; i < a->n_channels; i++)
		for (size_t j = 0; j < b->n_channels; j++)
			if (a->channels[i] == b->channels[j])
				return true;
	return false;
}

static size_t rule_order(enum finding_kind kind)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (rules[i]->kind == kind)
			return i;
	return SIZE_MAX;
}

/* Whether b is part of a's story. The more specific kind tells of the other one's processes too; of one kind, the larger circle
 * does (a ring and its pairs). Too few CPUs are of the machine, not of these processes, and told on their own; but those who
 * queue for a lock and are all woken at once are only runnable because of it. */
static bool swallows(const struct finding *a, const struct finding *b)
{
	if (a->kind == b->kind)
		return a->n_pids > b->n_pids && b->n_pids > 1 && same_story(a, b);
	if (b->kind == FIND_RUN_QUEUE)
		return a->kind == FIND_LOCK_CONVOY && same_story(a, b);
	if (a->kind == FIND_RUN_QUEUE && b->kind == FIND_HOT_LINE)
		return false;
	return rule_order(a->kind) < rule_order(b->kind) && same_story(a, b);
}

/* A marginal sign of the more specific kind does not take over a strong finding of the other: then it is told with that. (A hot
 * line's price is what it costs, not what is left when something else sets the pace: it never takes over.) */
#define MARGINAL (3 * FINDING_MIN_GAIN)
#define STRONGER 3

static void join(struct finding_context *c, size_t teller, size_t told, bool *gone)
{
	struct finding *f = &c->found[teller], *g = &c->found[told];
	f->also |= (g->also | 1u << g->kind) & ~(1u << f->kind);
	if (c->gain[told] > c->gain[teller] && g->kind != FIND_RUN_QUEUE) /* the story's price is the larger one */
		c->gain[teller] = c->gain[told];
	gone[told] = true;
}

/* Drops what is too small to act on, and tells overlapping findings once. */
static void resolve(struct finding_context *c)
{
	bool *gone = calloc(c->n_found + 1, sizeof(*gone));
	if (!gone) {
		c->out_of_memory = true;
		return;
	}
	for (size_t i = 0; i < c->n_found; i++)
		gone[i] = c->gain[i] < FINDING_MIN_GAIN;
	for (size_t i = 0; i < c->n_found; i++) {
		for (size_t j = 0; j < c->n_found; j++) {
			if (i == j || gone[i] || gone[j] || !swallows(&c->found[i], &c->found[j]))
				continue;
			bool weak = c->gain[i] < MARGINAL && c->gain[j] > STRONGER * c->gain[i] &&
				    c->found[j].kind != FIND_RUN_QUEUE && c->found[j].kind != FIND_HOT_LINE;
			join(c, weak ? j : i, weak ? i : j, gone);
		}
	}
	size_t n = 0;
	for (size_t i = 0; i < c->n_found; i++) {
		if (gone[i]) {
			release(&c->found[i]);
			continue;
		}
		c->gain[n] = c->gain[i];
		c->found[n++] = c->found[i];
	}
	c->n_found = n;
	free(gone);
}

static void rank(struct finding_context *c)
{
	for (size_t i = 1; i < c->n_found; i++) { /* few findings: insertion sort, stable */
		struct finding f = c->found[i];
		double gain = c->gain[i];
		size_t j = i;
		for (; j > 0 && c->gain[j - 1] < gain; j--) {
			c->found[j] = c->found[j - 1];
			c->gain[j] = c->gain[j - 1];
		}
		c->found[j] = f;
		c->gain[j] = gain;
	}
	for (size_t i = 0; i < c->n_found; i++)
		c->found[i].id = (uint32_t)i + 1;
}

int findings_run(struct profile *p)
{
	struct finding_context c;
	int rc = finding_context_init(&c, p);
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules) && !rc && c.wall_ns > 0; i++)
		rules[i]->run(&c);
	resolve(&c);
	rank(&c);
	for (size_t i = 0; i < p->n_findings; i++)
		release(&p->findings[i]);
	free(p->findings);
	p->findings = c.found;
	p->n_findings = c.n_found;
	rc = rc || c.out_of_memory ? -ENOMEM : 0;
	finding_context_fini(&c);
	return rc;
}
