/* SPDX-License-Identifier: Apache-2.0
 *
 * The diff for programs, schema "lockstep-diff/1" (docs/DIFF.md; fields are only ever added). Infinite ratios (what was 0 before) and
 * unknown intervals are null. In: a diff; out: one JSON object.
 */
#include "report/diff_report.h"
#include "report/diff_words.h"
#include "report/sanitize.h"
#include "report/text.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#define EVIDENCE 5

static json_t *text(const char *raw)
{
	char *s = raw ? sanitize_dup(raw) : NULL;
	json_t *j = s ? json_string(s) : json_null();

	free(s);
	return j;
}

static json_t *number(double v)
{
	return isfinite(v) ? json_real(v) : json_null();
}

static json_t *numbers(const double *v, size_t n)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, number(v[i]));
	return a;
}

static void set(json_t *o, const char *key, json_t *v)
{
	json_object_set_new(o, key, v);
}

static json_t *role(const struct diff *d, uint32_t r)
{
	return r == DIFF_ANY ? json_null() : text(d->roles[r].name);
}

static json_t *stacks_of(const struct diff *d, const struct diff_series *s)
{
	json_t *a = json_array();
	struct diff_series *parts;
	size_t n;

	if (diff_evidence(d, s, &parts, &n) != 0)
		return a;
	for (size_t i = 0; i < n && i < EVIDENCE; i++) {
		json_t *o = json_object();
		set(o, "metric", json_string(diff_metric_name(parts[i].metric)));
		set(o, "process", role(d, parts[i].key.process));
		set(o, "base_median", number(parts[i].stats.base_median));
		set(o, "new_median", number(parts[i].stats.new_median));
		set(o, "stack", text(d->stacks[parts[i].key.stack]));
		json_array_append_new(a, o);
	}
	diff_series_free(parts, n);
	return a;
}

static json_t *series(const struct diff *d, const struct diff_series *s, bool with_stacks)
{
	const struct diff_function *f = s->key.function == DIFF_ANY ? NULL : &d->functions[s->key.function];
	json_t *o = json_object();

	set(o, "metric", json_string(diff_metric_name(s->metric)));
	set(o, "unit", json_string(diff_metric_unit(s->metric)));
	set(o, "per", s->metric == DIFF_MESSAGE_BYTES ? json_string("message") : json_string(diff_norm_name(s->norm)));
	set(o, "sentence", text(words_sentence(d, s).s));
	set(o, "process", role(d, s->key.process));
	set(o, "peer", role(d, s->key.peer));
	set(o, "class", s->key.cls == DIFF_ANY ? json_null() : json_string(wait_class_name((enum wait_class)s->key.cls)));
	set(o, "channel",
	    s->key.channel == DIFF_ANY ? json_null() : json_string(channel_kind_name((enum channel_kind)s->key.channel)));
	set(o, "function", f ? text(f->name) : json_null());
	set(o, "where", f ? text(f->where) : json_null());
	set(o, "base", numbers(s->base, d->n_base));
	set(o, "new", numbers(s->fresh, d->n_new));
	set(o, "base_median", number(s->stats.base_median));
	set(o, "new_median", number(s->stats.new_median));
	set(o, "ratio", number(s->stats.ratio));
	set(o, "low", number(s->stats.low));
	set(o, "high", number(s->stats.high));
	set(o, "p_more", number(s->stats.p_more));
	set(o, "p_less", number(s->stats.p_less));
	set(o, "share", number(s->share));
	if (with_stacks)
		set(o, "stacks", stacks_of(d, s));
	return o;
}

static json_t *runs(const struct diff_run *r, size_t n)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct profile_meta *m = &r[i].profile->meta;
		json_t *o = json_object();
		set(o, "name", text(r[i].name));
		set(o, "duration_s", number((double)(m->end_ns - m->start_ns) / 1e9));
		set(o, "work", r[i].work > 0 ? number(r[i].work) : json_null());
		set(o, "backend", text(m->backend));
		set(o, "host", text(m->host));
		set(o, "exit_status", m->exit_status < 0 ? json_null() : json_integer(m->exit_status));
		json_array_append_new(a, o);
	}
	return a;
}

static json_t *finding(const struct diff *d, const struct diff_finding *f)
{
	json_t *o = json_object();

	(void)d;
	set(o, "kind", json_string(finding_kind_name(f->kind)));
	set(o, "processes", text(f->roles));
	set(o, "title", text(f->title));
	set(o, "where", text(f->where));
	set(o, "in_base", json_integer(f->in_base));
	set(o, "in_new", json_integer(f->in_new));
	set(o, "p", number(f->p));
	set(o, "change", json_string(f->appeared ? "appeared" : f->vanished ? "vanished" : "none"));
	return o;
}

static json_t *verdicts(const struct diff *d)
{
	static const char *const words[] = {"passed", "failed", "not_judged"};
	json_t *a = json_array();

	for (size_t i = 0; i < d->n_verdicts; i++) {
		const struct diff_verdict *v = &d->verdicts[i];
		json_t *o = json_object(), *hits = json_array(), *new_findings = json_array();
		for (size_t k = 0; k < v->n_hits; k++)
			json_array_append_new(hits, series(d, &v->hits[k], true));
		for (size_t k = 0; k < v->n_findings; k++)
			json_array_append_new(new_findings, finding(d, &d->findings[v->findings[k]]));
		set(o, "rule", text(v->rule->text));
		set(o, "outcome", json_string(words[v->outcome]));
		set(o, "why", text(v->why));
		set(o, "hits", hits);
		set(o, "findings", new_findings);
		set(o, "closest", v->has_closest ? series(d, &v->closest, false) : json_null());
		json_array_append_new(a, o);
	}
	return a;
}

static json_t *changes(const struct diff *d)
{
	json_t *a = json_array();

	for (size_t i = 0; i < d->n_changes; i++) {
		json_t *o = series(d, &d->changes[i], false);
		set(o, "sure", json_boolean(i < d->n_sure));
		json_array_append_new(a, o);
	}
	return a;
}

static json_t *roles(const struct diff *d)
{
	json_t *a = json_array();

	for (size_t i = 0; i < d->n_roles; i++) {
		const struct diff_role *r = &d->roles[i];
		json_t *o;
		if (!r->n_base && !r->n_new)
			continue;
		o = json_object();
		set(o, "name", text(r->name));
		set(o, "path", text(r->path));
		set(o, "new_path", r->new_path ? text(r->new_path) : json_null());
		set(o, "in_tree", json_boolean(!r->outside));
		set(o, "base", number(r->n_base));
		set(o, "new", number(r->n_new));
		json_array_append_new(a, o);
	}
	return a;
}

static json_t *not_compared(const struct diff *d)
{
	json_t *a = json_array();

	for (unsigned m = 0; m < DIFF_METRIC_COUNT; m++)
		if (d->unfair[m])
			json_array_append_new(a, json_pack("{s:s,s:o}", "metric", diff_metric_name((enum diff_metric)m), "why",
							   text(d->unfair[m])));
	return a;
}

int report_diff_json(const struct diff *d, const struct report_options *opt, FILE *out, struct err *err)
{
	static const char *const outcomes[] = {"no_rules", "passed", "failed", "not_judged"};
	json_t *o = json_object(), *list = json_array(), *found = json_array();
	int rc;

	(void)opt;
	for (size_t i = 0; i < d->n_notes; i++)
		json_array_append_new(list, text(d->notes[i]));
	for (size_t i = 0; i < d->n_findings; i++)
		json_array_append_new(found, finding(d, &d->findings[i]));
	set(o, "schema", json_string("lockstep-diff/1"));
	set(o, "outcome", json_string(outcomes[diff_outcome(d)]));
	set(o, "verdict", text(words_verdict(d).s));
	set(o, "cause", d->cause ? series(d, d->cause, true) : json_null());
	set(o, "per", json_string(diff_norm_name(d->norm)));
	set(o, "estimated", json_boolean(d->estimated));
	set(o, "base", runs(d->base, d->n_base));
	set(o, "new", runs(d->fresh, d->n_new));
	set(o, "rules", verdicts(d));
	set(o, "changes", changes(d));
	set(o, "findings", found);
	set(o, "processes", roles(d));
	set(o, "not_compared", not_compared(d));
	set(o, "notes", list);
	rc = json_dumpf(o, out, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
	json_decref(o);
	if (rc != 0)
		return err_set(err, -EIO, "write the diff: cannot write JSON");
	fputc('\n', out);
	return report_finish(out, err);
}
