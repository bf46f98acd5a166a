/* SPDX-License-Identifier: Apache-2.0
 *
 * The diff for a terminal: verdict first, then the rules with the figures and call sites behind each that failed, what changed,
 * findings, processes, and what makes the comparison less than fair.
 */
#include "report/diff_report.h"
#include "report/diff_words.h"
#include "report/text.h"
#include "report/textout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_TOP 10
#define EVIDENCE 2

static void evidence(const struct textout *t, const struct diff *d, const struct diff_series *s)
{
	struct diff_series *parts;
	size_t n, told = 0;

	if (diff_evidence(d, s, &parts, &n) != 0)
		return;
	for (size_t i = 0; i < n && told < EVIDENCE; i++) {
		struct words line;
		if (parts[i].stats.new_median == parts[i].stats.base_median && told)
			continue;
		snprintf(line.s, sizeof line.s, "%.60s -> %.60s in %.500s", words_value(&parts[i], parts[i].stats.base_median).s,
			 words_value(&parts[i], parts[i].stats.new_median).s, words_stack(d, &parts[i]).s);
		textout_wrap(t, "           ", 13, line.s);
		told++;
	}
	diff_series_free(parts, n);
}

static void failed_rule(const struct textout *t, const struct diff *d, const struct diff_verdict *v, unsigned top)
{
	for (size_t i = 0; i < v->n_hits && i < top; i++) {
		textout_wrap(t, "         ", 11, words_sentence(d, &v->hits[i]).s);
		evidence(t, d, &v->hits[i]);
	}
	if (v->n_hits > top)
		fprintf(t->out, "         and %zu more\n", v->n_hits - top);
	for (size_t i = 0; i < v->n_findings; i++) {
		const struct diff_finding *f = &d->findings[v->findings[i]];
		textout_wrap(t, "         ", 11, words_finding(d, f).s);
		if (f->title)
			textout_wrap(t, "           ", 13, f->title);
		if (f->where)
			textout_wrap(t, "           ", 13, f->where);
	}
}

static void rules(const struct textout *t, const struct diff *d, unsigned top)
{
	if (!d->n_verdicts)
		return;
	textout_heading(t, "RULES", NULL);
	for (size_t i = 0; i < d->n_verdicts; i++) {
		const struct diff_verdict *v = &d->verdicts[i];
		char first[32];
		snprintf(first, sizeof first, " %-10s ", diff_outcome_word(v->outcome));
		textout_style(t, v->outcome == DIFF_PASSED ? STYLE_GOOD : STYLE_ALERT);
		fputs(first, t->out);
		textout_style(t, STYLE_NONE);
		textout_wrap(t, "", 12, v->rule->text);
		if (v->outcome == DIFF_FAILED)
			failed_rule(t, d, v, top);
		else if (v->outcome == DIFF_NOT_JUDGED && v->why)
			textout_wrap(t, "         ", 11, v->why);
	}
}

static void changes(const struct textout *t, const struct diff *d, unsigned top)
{
	size_t n = d->null.rank ? d->n_sure : d->n_changes;

	if (!n)
		return;
	textout_heading(t, "WHAT CHANGED",
			d->null.rank ? "each at p <= 0.02; base -> new, medians" : "few runs a side: no verdicts; base -> new");
	for (size_t i = 0; i < n && i < top; i++) {
		const struct diff_series *s = &d->changes[i];
		struct words line;
		snprintf(line.s, sizeof line.s, "%.400s: %.200s %.60s -> %.60s", words_subject(d, s).s, words_metric(d, s).s,
			 words_value(s, s->stats.base_median).s, words_value(s, s->stats.new_median).s);
		textout_cell(t, words_change(s).s, 9, CELL_RIGHT);
		textout_wrap(t, "  ", 13, line.s);
	}
	if (n > top)
		fprintf(t->out, " and %zu more (--top N)\n", n - top);
}

static void findings(const struct textout *t, const struct diff *d)
{
	bool any = false;

	for (size_t i = 0; i < d->n_findings; i++) {
		const struct diff_finding *f = &d->findings[i];
		if (!f->appeared && !f->vanished)
			continue;
		if (!any)
			textout_heading(t, "FINDINGS", NULL);
		any = true;
		textout_wrap(t, f->appeared ? " new    " : " gone   ", 8, words_finding(d, f).s);
		if (f->title)
			textout_wrap(t, "        ", 8, f->title);
	}
}

static void processes(const struct textout *t, const struct diff *d)
{
	bool any = false;

	for (size_t i = 0; i < d->n_roles; i++) {
		const struct diff_role *r = &d->roles[i];
		struct words line;
		if (r->outside || (r->n_base == r->n_new && !r->new_path))
			continue;
		if (r->new_path && r->n_base == r->n_new)
			snprintf(line.s, sizeof line.s, "%.300s is %.300s in new", r->path, r->new_path);
		else
			snprintf(line.s, sizeof line.s, "%.300s: %g processes in base, %g in new%s%.300s", r->path, r->n_base,
				 r->n_new, r->new_path ? " as " : "", r->new_path ? r->new_path : "");
		if (!any)
			textout_heading(t, "PROCESSES", NULL);
		any = true;
		textout_wrap(t, " ", 3, line.s);
	}
}

static void notes(const struct textout *t, const struct diff *d)
{
	if (!d->n_notes)
		return;
	textout_heading(t, "NOTES", NULL);
	for (size_t i = 0; i < d->n_notes; i++)
		textout_wrap(t, " - ", 3, d->notes[i]);
}

int report_diff_text(const struct diff *d, const struct report_options *opt, FILE *out, struct err *err)
{
	struct textout t = {.out = out, .width = opt->width ? opt->width : 80, .color = opt->color};
	unsigned top = opt->top ? opt->top : DEFAULT_TOP;
	enum diff_outcome_of_all all = diff_outcome(d);

	textout_style(&t, all == DIFF_ALL_FAILED || all == DIFF_ALL_NOT_JUDGED ? STYLE_ALERT
			  : all == DIFF_ALL_PASSED			       ? STYLE_GOOD
									       : STYLE_BOLD);
	textout_wrap(&t, "", 2, words_verdict(d).s);
	textout_style(&t, STYLE_NONE);
	if (all == DIFF_ALL_FAILED && d->cause)
		evidence(&t, d, d->cause);
	textout_wrap(&t, "", 2, words_runs(d).s);
	rules(&t, d, top);
	changes(&t, d, top);
	findings(&t, d);
	processes(&t, d);
	notes(&t, d);
	return report_finish(out, err);
}
