/* SPDX-License-Identifier: Apache-2.0
 *
 * A differential flame graph's input: "process;main;...;leaf BASE NEW", microseconds per unit, the mean of each side's runs. In: a
 * diff; out: the format of difffolded.pl, which flamegraph.pl and speedscope read. Waits end in a frame of their class, "[pipe_read]".
 */
#include "report/diff_report.h"
#include "report/sanitize.h"
#include "report/text.h"

#include <stdlib.h>
#include <string.h>

/* A frame must hold neither ';' nor a blank before the numbers. */
static void put_frame(FILE *out, const char *raw, size_t n)
{
	char *copy = strndup(raw, n), *s = copy ? sanitize_dup(copy) : NULL;

	for (const char *c = s; c && *c; c++)
		fputc(*c == ';' ? ':' : *c == ' ' ? '_' : *c, out);
	free(s);
	free(copy);
}

/* "leaf < caller < main" -> ";main;caller;leaf" */
static void put_stack(FILE *out, const char *stack)
{
	const char *end = stack + strlen(stack);

	while (end > stack) {
		const char *at = end - 1;
		while (at > stack && strncmp(at, " < ", 3) != 0)
			at--;
		fputc(';', out);
		if (at > stack)
			put_frame(out, at + 3, (size_t)(end - at - 3));
		else
			put_frame(out, stack, (size_t)(end - stack));
		end = at;
	}
}

static double mean(const double *v, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += v[i];
	return n ? sum / (double)n : 0;
}

static int put_metric(const struct diff *d, enum diff_metric m, unsigned by, FILE *out)
{
	struct diff_series *s;
	size_t n;
	int rc = diff_group(d, m, d->norm, by, NULL, &s, &n);

	if (rc != 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		const struct diff_key *k = &s[i].key;
		if (k->process == DIFF_ANY)
			continue;
		put_frame(out, d->roles[k->process].name, strlen(d->roles[k->process].name));
		put_stack(out, k->stack == DIFF_ANY ? "[unknown]" : d->stacks[k->stack]);
		if (k->cls != DIFF_ANY)
			fprintf(out, ";[%s]", wait_class_name((enum wait_class)k->cls));
		fprintf(out, " %.3f %.3f\n", mean(s[i].base, d->n_base) / 1e3, mean(s[i].fresh, d->n_new) / 1e3);
	}
	diff_series_free(s, n);
	return 0;
}

int report_diff_folded(const struct diff *d, const struct export_options *opt, FILE *out, struct err *err)
{
	int rc = 0;

	if (opt->kind & EXPORT_CPU)
		rc = put_metric(d, DIFF_CPU, DIFF_BY_PROCESS | DIFF_BY_STACK, out);
	if (rc == 0 && opt->kind & EXPORT_WAIT)
		rc = put_metric(d, DIFF_BLOCKED, DIFF_BY_PROCESS | DIFF_BY_CLASS | DIFF_BY_STACK, out);
	if (rc != 0)
		return err_set(err, rc, "write the diff: out of memory");
	return report_finish(out, err);
}
