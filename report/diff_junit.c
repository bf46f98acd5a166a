/* SPDX-License-Identifier: Apache-2.0
 *
 * The diff for CI systems that show test results: a test case per rule. In: a diff; out: JUnit XML. What could not be judged is
 * an error, no pass.
 */
#include "report/diff_report.h"
#include "report/diff_words.h"
#include "report/sanitize.h"
#include "report/text.h"

#include <stdlib.h>

/* After sanitizing nothing is left that XML 1.0 forbids. */
static void put_xml(FILE *out, const char *raw)
{
	char *s = sanitize_dup(raw);

	for (const char *c = s; c && *c; c++)
		switch (*c) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			fputc(*c, out);
		}
	free(s);
}

static void evidence(FILE *out, const struct diff *d, const struct diff_series *s)
{
	struct diff_series *parts;
	size_t n;

	if (diff_evidence(d, s, &parts, &n) != 0)
		return;
	for (size_t i = 0; i < n && i < 3; i++) {
		fprintf(out, "  %s -&gt; %s in ", words_value(&parts[i], parts[i].stats.base_median).s,
			words_value(&parts[i], parts[i].stats.new_median).s);
		put_xml(out, words_stack(d, &parts[i]).s);
		fputc('\n', out);
	}
	diff_series_free(parts, n);
}

static void failure(FILE *out, const struct diff *d, const struct diff_verdict *v)
{
	fputs("<failure type=\"regression\" message=\"", out);
	put_xml(out, words_verdict(d).s);
	fputs("\">", out);
	for (size_t i = 0; i < v->n_hits; i++) {
		put_xml(out, words_sentence(d, &v->hits[i]).s);
		fputc('\n', out);
		evidence(out, d, &v->hits[i]);
	}
	for (size_t i = 0; i < v->n_findings; i++) {
		put_xml(out, words_finding(d, &d->findings[v->findings[i]]).s);
		fputc('\n', out);
	}
	fputs("</failure>", out);
}

int report_diff_junit(const struct diff *d, const struct report_options *opt, FILE *out, struct err *err)
{
	size_t n[3] = {0};

	(void)opt;
	for (size_t i = 0; i < d->n_verdicts; i++)
		n[d->verdicts[i].outcome]++;
	fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", out);
	fprintf(out, "<testsuites><testsuite name=\"lockstep diff\" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\">\n",
		d->n_verdicts, n[DIFF_FAILED], n[DIFF_NOT_JUDGED]);
	for (size_t i = 0; i < d->n_verdicts; i++) {
		const struct diff_verdict *v = &d->verdicts[i];
		fputs("<testcase classname=\"lockstep\" name=\"", out);
		put_xml(out, v->rule->text);
		fputs("\">", out);
		if (v->outcome == DIFF_FAILED)
			failure(out, d, v);
		if (v->outcome == DIFF_NOT_JUDGED) {
			fputs("<error type=\"not judged\" message=\"", out);
			put_xml(out, v->why ? v->why : "");
			fputs("\"/>", out);
		}
		fputs("</testcase>\n", out);
	}
	fputs("</testsuite></testsuites>\n", out);
	return report_finish(out, err);
}
