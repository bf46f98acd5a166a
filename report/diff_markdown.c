/* SPDX-License-Identifier: Apache-2.0
 *
 * The diff for a pull-request comment or a step summary: verdict, rules, the rest folded away. In: a diff; out: GitHub-flavoured
 * Markdown, well below the 65,536 characters that a comment may have. The target's text cannot break out.
 */
#include "report/diff_report.h"
#include "report/diff_words.h"
#include "report/sanitize.h"
#include "report/text.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_TOP 10
#define EVIDENCE 3

static void put_md(FILE *out, const char *raw)
{
	char *s = sanitize_dup(raw);

	for (const char *c = s; c && *c; c++)
		if (*c == '<')
			fputs("&lt;", out);
		else if (*c == '>')
			fputs("&gt;", out);
		else if (*c == '&')
			fputs("&amp;", out);
		else if (strchr("\\`*_[]|#~@!", *c))
			fprintf(out, "\\%c", *c);
		else
			fputc(*c, out);
	free(s);
}

static void put_code(FILE *out, const char *raw)
{
	char *s = sanitize_dup(raw);

	fputc('`', out);
	for (const char *c = s; c && *c; c++)
		fputs(*c == '`' ? "'" : *c == '|' ? "\\|" : (char[]){*c, 0}, out);
	fputc('`', out);
	free(s);
}

static void evidence(FILE *out, const struct diff *d, const struct diff_series *s)
{
	struct diff_series *parts;
	size_t n;

	if (diff_evidence(d, s, &parts, &n) != 0)
		return;
	for (size_t i = 0; i < n && i < EVIDENCE; i++) {
		fprintf(out, "  - %s -&gt; %s in ", words_value(&parts[i], parts[i].stats.base_median).s,
			words_value(&parts[i], parts[i].stats.new_median).s);
		put_code(out, words_stack(d, &parts[i]).s);
		fputc('\n', out);
	}
	diff_series_free(parts, n);
}

static void hits(FILE *out, const struct diff *d, unsigned top)
{
	for (size_t i = 0; i < d->n_verdicts; i++) {
		const struct diff_verdict *v = &d->verdicts[i];
		for (size_t k = 0; k < v->n_hits && k < top; k++) {
			fputs("- ", out);
			put_md(out, words_sentence(d, &v->hits[k]).s);
			fputc('\n', out);
			evidence(out, d, &v->hits[k]);
		}
		for (size_t k = 0; k < v->n_findings; k++) {
			const struct diff_finding *f = &d->findings[v->findings[k]];
			fputs("- ", out);
			put_md(out, words_finding(d, f).s);
			fputs("\n  ", out);
			put_md(out, f->title ? f->title : "");
			fputc('\n', out);
		}
	}
}

static void rules(FILE *out, const struct diff *d)
{
	if (!d->n_verdicts)
		return;
	fputs("\n| rule | outcome | nearest or worst |\n|---|---|---|\n", out);
	for (size_t i = 0; i < d->n_verdicts; i++) {
		const struct diff_verdict *v = &d->verdicts[i];
		fputs("| ", out);
		put_code(out, v->rule->text);
		fprintf(out, " | %s%s%s | ", v->outcome == DIFF_FAILED ? "**" : "", diff_outcome_word(v->outcome),
			v->outcome == DIFF_FAILED ? "**" : "");
		if (v->outcome == DIFF_NOT_JUDGED)
			put_md(out, v->why ? v->why : "");
		else if (v->n_hits)
			put_md(out, words_sentence(d, &v->hits[0]).s);
		else if (v->n_findings)
			put_md(out, words_finding(d, &d->findings[v->findings[0]]).s);
		else if (v->has_closest)
			put_md(out, words_sentence(d, &v->closest).s);
		fputs(" |\n", out);
	}
}

static void changes(FILE *out, const struct diff *d, unsigned top)
{
	size_t n = d->null.rank ? d->n_sure : d->n_changes;

	if (!n)
		return;
	fprintf(out, "\n<details><summary>What changed%s (%zu)</summary>\n\n", d->null.rank ? " (each at p &lt;= 0.02)" : "", n);
	fputs("| what | metric | base | new | change |\n|---|---|---:|---:|---:|\n", out);
	for (size_t i = 0; i < n && i < top; i++) {
		const struct diff_series *s = &d->changes[i];
		fputs("| ", out);
		put_md(out, words_subject(d, s).s);
		fputs(" | ", out);
		put_md(out, words_metric(d, s).s);
		fprintf(out, " | %s | %s | %s |\n", words_value(s, s->stats.base_median).s, words_value(s, s->stats.new_median).s,
			words_change(s).s);
	}
	fputs("\n</details>\n", out);
}

int report_diff_markdown(const struct diff *d, const struct report_options *opt, FILE *out, struct err *err)
{
	static const char *const signs[] = {"", ":white_check_mark: ", ":x: ", ":warning: "};
	unsigned top = opt->top ? opt->top : DEFAULT_TOP;

	fprintf(out, "### lockstep diff\n\n%s", signs[diff_outcome(d)]);
	put_md(out, words_verdict(d).s);
	fputs("\n\n", out);
	hits(out, d, top);
	rules(out, d);
	changes(out, d, top);
	if (d->n_notes)
		fputc('\n', out);
	for (size_t i = 0; i < d->n_notes; i++) {
		fputs("- note: ", out);
		put_md(out, d->notes[i]);
		fputc('\n', out);
	}
	fputs("\n<sub>", out);
	put_md(out, words_runs(d).s);
	fputs("</sub>\n", out);
	return report_finish(out, err);
}
