/* SPDX-License-Identifier: Apache-2.0
 * In: series of a diff; out: phrases. A reader must be able to act on the first line alone. */
#include "report/diff_words.h"
#include "report/units.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STACK_FRAMES 5

__attribute__((format(printf, 1, 2))) static struct words say(const char *fmt, ...)
{
	struct words w;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w.s, sizeof w.s, fmt, ap);
	va_end(ap);
	return w;
}

/* --- figures --- */

/* Plain counts per unit of work are small and their digits matter. */
struct words words_value(const struct diff_series *s, double v)
{
	const char *unit = diff_metric_unit(s->metric);

	if (strcmp(unit, "ns") == 0)
		return say("%s", unit_ns(v).s);
	if (strcmp(unit, "bytes") == 0)
		return say("%s", v < 10 && v != floor(v) ? say("%.3g B", v).s : unit_bytes(v).s);
	if (v < 1000)
		return v == floor(v) ? say("%.0f", v) : say("%.3g", v);
	return say("%s", unit_count(v).s);
}

static struct words ratio_words(double ratio)
{
	if (isinf(ratio))
		return say("appeared");
	if (ratio <= 0)
		return say("vanished");
	if (ratio >= 1.995 || ratio <= 0.5)
		return say("x%.*f", ratio < 0.1 ? 4 : ratio < 100 ? 2 : 0, ratio);
	return say("%+.1f %%", 100 * (ratio - 1));
}

struct words words_change(const struct diff_series *s)
{
	return ratio_words(s->stats.ratio);
}

struct words words_interval(const struct diff_series *s)
{
	if (isnan(s->stats.low) || isnan(s->stats.high) || isinf(s->stats.ratio) || s->stats.ratio <= 0)
		return say("%s", "");
	return say("%s .. %s", ratio_words(s->stats.low).s, ratio_words(s->stats.high).s);
}

double words_p(const struct diff_series *s)
{
	return s->stats.p_more < s->stats.p_less ? s->stats.p_more : s->stats.p_less;
}

struct words words_figures(const struct diff *d, const struct diff_series *s)
{
	struct words interval = words_interval(s), how = words_change(s);

	if (d->null.rank && interval.s[0])
		return say("%s -> %s (%s; %s, p %.2g)", words_value(s, s->stats.base_median).s,
			   words_value(s, s->stats.new_median).s, how.s, interval.s, words_p(s));
	if (d->null.rank)
		return say("%s -> %s (%s, p %.2g)", words_value(s, s->stats.base_median).s, words_value(s, s->stats.new_median).s,
			   how.s, words_p(s));
	return say("%s -> %s (%s)", words_value(s, s->stats.base_median).s, words_value(s, s->stats.new_median).s, how.s);
}

/* --- names --- */

static const char *per(enum diff_norm n)
{
	static const char *const words[] = {"per run", "per second", "per unit of work"};

	return words[n];
}

struct words words_metric(const struct diff *d, const struct diff_series *s)
{
	static const char *const names[DIFF_METRIC_COUNT] = {
		[DIFF_WALL] = "wall time",
		[DIFF_CPU] = "CPU time",
		[DIFF_USER_CPU] = "user CPU time",
		[DIFF_RUN_QUEUE] = "time without a CPU",
		[DIFF_BLOCKED] = "blocked time",
		[DIFF_IDLE] = "idle time",
		[DIFF_CRITICAL] = "time on the critical path",
		[DIFF_ROUND_TRIPS] = "round trips",
		[DIFF_MESSAGES] = "messages",
		[DIFF_BYTES] = "bytes written",
		[DIFF_MESSAGE_BYTES] = "bytes per message",
		[DIFF_READS] = "reads",
		[DIFF_WAITS] = "waits",
		[DIFF_SWITCHES] = "context switches",
		[DIFF_PROCESSES] = "processes",
	};
	const char *cls = "", *dash = "";

	(void)d;
	if (s->key.cls != DIFF_ANY) {
		cls = wait_class_name((enum wait_class)s->key.cls);
		dash = " in ";
	}
	if (s->metric == DIFF_MESSAGE_BYTES)
		return say("%s%s%s", names[s->metric], dash, cls);
	return say("%s%s%s %s", names[s->metric], dash, cls, per(s->norm));
}

static const char *role_name(const struct diff *d, uint32_t role)
{
	return role == DIFF_ANY ? "nobody known" : d->roles[role].name;
}

static struct words function_words(const struct diff *d, uint32_t function)
{
	if (function == DIFF_ANY)
		return say("unsampled code");
	return say("%s (%s)", d->functions[function].name, d->functions[function].where);
}

static const char *over(enum channel_kind k)
{
	return k == CH_NONE ? "" : channel_kind_name(k);
}

/* Who with whom: a change of messages or waits is a change between two. */
static struct words pair_words(const struct diff *d, uint32_t a, uint32_t b, const char *arrow, enum channel_kind channel)
{
	return say("%s %s %s%s%s", role_name(d, a), arrow, role_name(d, b), channel == CH_NONE ? "" : " over ", over(channel));
}

static bool has_peer(const struct diff_series *s)
{
	return s->metric == DIFF_MESSAGES || s->metric == DIFF_BYTES || s->metric == DIFF_MESSAGE_BYTES ||
	       ((s->metric == DIFF_WAITS || s->metric == DIFF_BLOCKED) && s->key.cls != WC_FUTEX && s->key.cls != WC_LOCK);
}

static enum channel_kind main_channel(const struct diff *d, const struct diff_series *s)
{
	enum channel_kind k = CH_NONE;
	struct diff_series *parts;
	size_t n;

	if (diff_split(d, s, DIFF_BY_CHANNEL, &parts, &n) != 0)
		return CH_NONE;
	if (n && parts[0].key.channel != DIFF_ANY)
		k = (enum channel_kind)parts[0].key.channel;
	diff_series_free(parts, n);
	return k;
}

struct words words_subject(const struct diff *d, const struct diff_series *s)
{
	enum channel_kind channel = s->key.channel == DIFF_ANY ? CH_NONE : (enum channel_kind)s->key.channel;
	uint32_t peer = s->key.peer;

	if (s->key.process == DIFF_ANY && s->key.function != DIFF_ANY)
		return function_words(d, s->key.function);
	if (s->key.process == DIFF_ANY)
		return say("the whole tree");
	if (s->metric == DIFF_ROUND_TRIPS)
		return pair_words(d, s->key.process, peer, "<->", channel == CH_NONE ? main_channel(d, s) : channel);
	if (s->key.function != DIFF_ANY)
		return say("%s in %s", function_words(d, s->key.function).s, role_name(d, s->key.process));
	if (peer == DIFF_ANY && has_peer(s))
		diff_peer(d, s, &peer, &channel);
	if (peer != DIFF_ANY)
		return pair_words(d, s->key.process, peer,
				  s->metric == DIFF_WAITS || s->metric == DIFF_BLOCKED ? "waits for" : "->", channel);
	return say("%s", role_name(d, s->key.process));
}

/* A process's CPU time or lock waits point at code: name the function that changed most. */
static struct words place_words(const struct diff *d, const struct diff_series *s)
{
	struct diff_series *parts;
	size_t n, best = SIZE_MAX;
	double most = 0;
	struct words w = say("%s", "");

	if (s->key.function != DIFF_ANY || s->key.process == DIFF_ANY ||
	    !(s->metric == DIFF_CPU || s->metric == DIFF_USER_CPU || s->metric == DIFF_WAITS || s->metric == DIFF_BLOCKED))
		return w;
	if (diff_split(d, s, DIFF_BY_FUNCTION, &parts, &n) != 0)
		return w;
	for (size_t i = 0; i < n; i++) {
		double change = parts[i].stats.new_median - parts[i].stats.base_median;
		if (s->stats.ratio < 1)
			change = -change;
		if (parts[i].key.function == DIFF_ANY)
			continue;
		if (s->metric == DIFF_CPU && d->functions[parts[i].key.function].in_kernel)
			change /= 2; /* see diff_changes.c: what is edited is user code */
		if (change > most) {
			most = change;
			best = i;
		}
	}
	if (best != SIZE_MAX)
		w = say(", most in %s (%s)", d->functions[parts[best].key.function].name,
			d->functions[parts[best].key.function].where);
	diff_series_free(parts, n);
	return w;
}

struct words words_sentence(const struct diff *d, const struct diff_series *s)
{
	return say("%s: %s %s%s", words_subject(d, s).s, words_metric(d, s).s, words_figures(d, s).s, place_words(d, s).s);
}

/* Waits always end in the kernel; that says nothing. */
struct words words_stack(const struct diff *d, const struct diff_series *s)
{
	static const char kernel[] = DIFF_KERNEL_FRAME " < ";
	const char *stack = s->key.stack == DIFF_ANY ? "[unknown]" : d->stacks[s->key.stack];
	struct words w;
	char *at = w.s;

	if (s->metric != DIFF_CPU && s->metric != DIFF_USER_CPU && strncmp(stack, kernel, sizeof kernel - 1) == 0)
		stack += sizeof kernel - 1;
	w = say("%s", stack);
	for (unsigned i = 0; i < STACK_FRAMES && at; i++)
		at = strstr(at + (i > 0), " < ");
	if (at && strlen(at) > 8)
		strcpy(at, " < ...");
	return w;
}

/* --- the whole --- */

enum diff_outcome_of_all diff_outcome(const struct diff *d)
{
	enum diff_outcome_of_all all = d->n_verdicts ? DIFF_ALL_PASSED : DIFF_ALL_NO_RULES;

	for (size_t i = 0; i < d->n_verdicts; i++) {
		if (d->verdicts[i].outcome == DIFF_FAILED)
			return DIFF_ALL_FAILED;
		if (d->verdicts[i].outcome == DIFF_NOT_JUDGED)
			all = DIFF_ALL_NOT_JUDGED;
	}
	return all;
}

const char *diff_outcome_word(enum diff_outcome o)
{
	static const char *const words[] = {"passed", "FAILED", "not judged"};

	return words[o];
}

struct words words_finding(const struct diff *d, const struct diff_finding *f)
{
	return say("finding %s (%s): in %u of %zu base runs, %u of %zu new runs", finding_kind_name(f->kind), f->roles,
		   f->in_base, d->n_base, f->in_new, d->n_new);
}

struct words words_runs(const struct diff *d)
{
	return say("%zu base run%s, %zu new run%s; figures %s", d->n_base, d->n_base == 1 ? "" : "s", d->n_new,
		   d->n_new == 1 ? "" : "s", per(d->norm));
}

static struct words failed_words(const struct diff *d)
{
	if (d->cause)
		return say("FAILED: %s", words_sentence(d, d->cause).s);
	for (size_t i = 0; i < d->n_verdicts; i++) {
		const struct diff_verdict *v = &d->verdicts[i];
		if (v->outcome == DIFF_FAILED && v->n_hits)
			return say("FAILED: %s", words_sentence(d, &v->hits[0]).s);
		if (v->outcome == DIFF_FAILED && v->n_findings)
			return say("FAILED: new %s", words_finding(d, &d->findings[v->findings[0]]).s);
	}
	return say("FAILED");
}

static struct words passed_words(const struct diff *d, size_t n_rules)
{
	const char *plural = n_rules == 1 ? "" : "s";

	if (d->cause)
		return say("PASSED %zu rule%s; within them: %s", n_rules, plural, words_sentence(d, d->cause).s);
	return say("PASSED %zu rule%s", n_rules, plural);
}

struct words words_verdict(const struct diff *d)
{
	switch (diff_outcome(d)) {
	case DIFF_ALL_FAILED:
		return failed_words(d);
	case DIFF_ALL_PASSED:
		return passed_words(d, d->n_verdicts);
	case DIFF_ALL_NOT_JUDGED:
		for (size_t i = 0; i < d->n_verdicts; i++)
			if (d->verdicts[i].outcome == DIFF_NOT_JUDGED)
				return say("NOT JUDGED: %s: %s", d->verdicts[i].rule->text, d->verdicts[i].why);
		break;
	case DIFF_ALL_NO_RULES:
		break;
	}
	if (d->cause)
		return say("CHANGED: %s", words_sentence(d, d->cause).s);
	if (d->n_sure || (!d->null.rank && d->n_changes))
		return say("CHANGED: %s", words_sentence(d, &d->changes[0]).s);
	return say(d->null.rank ? "no change beyond chance" : "no change worth telling");
}
