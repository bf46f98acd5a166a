/* SPDX-License-Identifier: Apache-2.0
 *
 * In: the options of diff and compare, and runs; out: reports in all formats asked for, and 0, 1 (a rule failed) or 3 (a rule
 * could not be judged: a gate that cannot judge must not look green).
 */
#include "cli/gate.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/parse.h"
#include "cli/terminal.h"
#include "report/diff_report.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void gate_init(struct gate *g)
{
	memset(g, 0, sizeof *g);
	g->diff.norm = -1;
}

void gate_fini(struct gate *g)
{
	for (size_t i = 0; i < g->n_rules; i++)
		diff_rule_fini(&g->rules[i]);
	free(g->rules);
}

static int add_rule(struct gate *g, const char *expr, struct err *err)
{
	struct diff_rule *grown = realloc(g->rules, (g->n_rules + 1) * sizeof *grown);
	int rc;

	if (!grown)
		return err_set(err, -ENOMEM, "out of memory");
	g->rules = grown;
	rc = diff_rule_parse(&g->rules[g->n_rules], expr, err);
	if (rc == 0)
		g->n_rules++;
	return rc;
}

static int add_rules(struct gate *g, const char *expr, struct err *err)
{
	int rc = 0;

	if (strcmp(expr, "default") != 0)
		return add_rule(g, expr, err);
	for (const char *const *r = diff_default_rules; *r && rc == 0; r++)
		rc = add_rule(g, *r, err);
	return rc;
}

/* "1000" or "1000:2000" */
static int parse_work(struct gate *g, const char *value, struct err *err)
{
	char *end;

	g->work[0] = g->work[1] = strtod(value, &end);
	if (*end == ':')
		g->work[1] = strtod(end + 1, &end);
	if (*end || end == value || !(g->work[0] > 0) || !(g->work[1] > 0) || !isfinite(g->work[0]) || !isfinite(g->work[1]))
		return err_set(err, -EINVAL, "'%s': give a number above 0, or two as BASE:NEW", value);
	return 0;
}

static int set_format(struct gate *g, int format, struct err *err)
{
	if (g->format != GATE_TEXT && (int)g->format != format)
		return err_set(err, -EINVAL, "give one of --json and --markdown; --summary FILE appends Markdown to a file");
	g->format = format;
	return 0;
}

int gate_take_option(struct gate *g, int id, const char *value, struct err *err)
{
	switch (id) {
	case OPTION_FAIL_ON:
		return add_rules(g, value, err) ? -1 : 0;
	case OPTION_WORK:
		return parse_work(g, value, err) ? -1 : 0;
	case OPTION_WORK_SYSCALLS:
		g->has_work_calls = true;
		return diff_work_parse(&g->work_calls, value, err) ? -1 : 0;
	case OPTION_PER:
		g->diff.norm = value[0] == 'r' ? DIFF_PER_RUN : value[0] == 's' ? DIFF_PER_SECOND : DIFF_PER_WORK;
		return 0;
	case OPTION_SAME_MACHINE:
		g->diff.same_machine = true;
		return 0;
	case OPTION_JSON:
		return set_format(g, GATE_JSON, err) ? -1 : 0;
	case OPTION_MARKDOWN:
		return set_format(g, GATE_MARKDOWN, err) ? -1 : 0;
	case OPTION_JUNIT:
		g->junit = value;
		return 0;
	case OPTION_SUMMARY:
		g->summary = value;
		return 0;
	case OPTION_FOLDED:
		g->folded = value;
		return 0;
	case OPTION_TOP:
		return parse_count(value, &g->top, err);
	case OPTION_COLOR:
		g->color = value;
		return 0;
	case 'o':
		g->output = value;
		return 0;
	}
	return 1;
}

int gate_check(const struct gate *g, const struct command *cmd)
{
	const char *const files[] = {g->output, g->junit, g->folded};
	struct err err = {""};

	if (g->has_work_calls && g->work[0] > 0)
		return message_usage(cmd->name, "both --work and --work-from-syscalls; give one of them");
	if (g->junit && !g->n_rules)
		return message_usage(cmd->name, "--junit shows rules; give --fail-on EXPR (or --fail-on default)");
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		if (files[i] && strcmp(files[i], "-") != 0 && output_check_text(files[i], &err)) {
			message_error("%s", err.msg);
			return EXIT_CANNOT;
		}
	return -1;
}

int gate_work(const struct gate *g, bool fresh, const struct profile *p, const char *name, double *work, struct err *err)
{
	*work = g->work[fresh];
	if (!g->has_work_calls)
		return 0;
	*work = diff_work_of(p, &g->work_calls);
	if (!(*work > 0))
		return err_set(err, -EINVAL, "%s: none of the calls that --work-from-syscalls names was seen", name);
	return 0;
}

static int print_main(const struct gate *g, const struct diff *d, struct err *err)
{
	FILE *out = output_open(g->output, err);
	int rc, closed;

	if (!out)
		return -1;
	const struct report_options opt = {
		.width = terminal_width(out), .color = g->format == GATE_TEXT && terminal_color(out, g->color), .top = g->top};
	rc = g->format == GATE_JSON	  ? report_diff_json(d, &opt, out, err)
	     : g->format == GATE_MARKDOWN ? report_diff_markdown(d, &opt, out, err)
					  : report_diff_text(d, &opt, out, err);
	closed = output_close(out, g->output, rc ? NULL : err);
	return rc ? rc : closed;
}

static int append_summary(const struct gate *g, const struct diff *d, struct err *err)
{
	const struct report_options opt = {.top = g->top};
	FILE *out = fopen(g->summary, "ae");
	int rc;

	if (!out)
		return err_set(err, -errno, "append to %s: %s", g->summary, strerror(errno));
	rc = report_diff_markdown(d, &opt, out, err);
	if (fclose(out) != 0 && rc == 0)
		rc = err_set(err, -errno, "append to %s: %s", g->summary, strerror(errno));
	return rc;
}

static int print_file(const char *path, const struct diff *d, bool folded, struct err *err)
{
	const struct report_options opt = {0};
	const struct export_options all = {.kind = EXPORT_ALL};
	FILE *out = output_open(path, err);
	int rc, closed;

	if (!out)
		return -1;
	rc = folded ? report_diff_folded(d, &all, out, err) : report_diff_junit(d, &opt, out, err);
	closed = output_close(out, path, rc ? NULL : err);
	return rc ? rc : closed;
}

static int print_all(const struct gate *g, const struct diff *d, struct err *err)
{
	int rc = print_main(g, d, err);

	if (rc == 0 && g->junit)
		rc = print_file(g->junit, d, false, err);
	if (rc == 0 && g->folded)
		rc = print_file(g->folded, d, true, err);
	if (rc == 0 && g->summary)
		rc = append_summary(g, d, err);
	return rc;
}

static int exit_status(const struct diff *d)
{
	const struct diff_verdict *open = NULL;

	for (size_t i = 0; i < d->n_verdicts; i++) {
		if (d->verdicts[i].outcome == DIFF_FAILED)
			return EXIT_GATE;
		if (d->verdicts[i].outcome == DIFF_NOT_JUDGED && !open)
			open = &d->verdicts[i];
	}
	if (!open)
		return EXIT_FINE;
	message_error("cannot judge '%s': %s", open->rule->text, open->why ? open->why : "out of memory");
	return EXIT_CANNOT;
}

bool gate_is_close(const struct gate *g, const struct diff_run *base, size_t n_base, const struct diff_run *fresh, size_t n_new)
{
	struct diff *d = NULL;
	struct err err;
	bool close = diff_new(&d, base, n_base, fresh, n_new, &g->diff, &err) == 0 &&
		     diff_judge(d, g->rules, g->n_rules, &err) == 0 && diff_is_close(d);

	diff_free(d);
	return close;
}

int gate_finish(const struct gate *g, const struct diff_run *base, size_t n_base, const struct diff_run *fresh, size_t n_new)
{
	struct diff *d = NULL;
	struct err err = {""};
	int status;

	if (diff_new(&d, base, n_base, fresh, n_new, &g->diff, &err) || diff_judge(d, g->rules, g->n_rules, &err) ||
	    print_all(g, d, &err)) {
		message_error("%s", err.msg);
		status = EXIT_CANNOT;
	} else {
		status = exit_status(d);
	}
	diff_free(d);
	return status;
}
