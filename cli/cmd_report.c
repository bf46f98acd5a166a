/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep report: a profile file as text, JSON, Markdown or a page.
 */
#include "aggregate/profile_db.h"
#include "cli/command.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/parse.h"
#include "cli/terminal.h"
#include "report/report.h"

enum { OPTION_JSON = OPTION_OWN, OPTION_MARKDOWN, OPTION_LINES, OPTION_HTML, OPTION_BASE, OPTION_NO_SOURCE, OPTION_TOP, OPTION_PID };

typedef int (*writer_fn)(const struct profile *p, const struct report_options *opt, FILE *out, struct err *err);

struct report_request {
	const char *file, *output, *color;
	const char *html, *base; /* html: the page's path, instead of write; base: what it compares with */
	writer_fn write;
	bool lines, no_source; /* lines: instead of write */
	struct report_options options;
};

static int take_option(void *ctx, int id, const char *value, struct err *err)
{
	struct report_request *q = ctx;
	writer_fn chosen = NULL;

	switch (id) {
	case OPTION_JSON:
		chosen = report_json;
		break;
	case OPTION_MARKDOWN:
		chosen = report_markdown;
		break;
	case OPTION_LINES:
		q->lines = true;
		return q->write || q->html ? err_set(err, -1, "one format at a time") : 0;
	case OPTION_HTML:
		q->html = value;
		return q->write || q->lines ? err_set(err, -1, "one format at a time") : 0;
	case OPTION_BASE:
		q->base = value;
		return 0;
	case OPTION_NO_SOURCE:
		q->no_source = true;
		return 0;
	case OPTION_TOP:
		return parse_count(value, &q->options.top, err);
	case OPTION_PID:
		return parse_pid(value, &q->options.pid, err);
	case OPTION_COLOR:
		q->color = value;
		return 0;
	case 'o':
		q->output = value;
		return 0;
	}
	if (q->lines || q->html || (q->write && q->write != chosen))
		return err_set(err, -1, "one format at a time");
	q->write = chosen;
	return 0;
}

static int read_request(struct report_request *q, const struct command *cmd, int argc, char **argv)
{
	int first;

	int status = command_read_options(cmd, argc, argv, take_option, q, &first);
	if (status >= 0)
		return status;
	if (argc - first != 1)
		return message_usage(cmd->name, argc == first ? "which profile? Give FILE" : "one profile at a time");
	if (q->base && !q->html)
		return message_usage(cmd->name, "--base goes with --html; 'lockstep diff' compares profiles as text");
	if (q->html && q->output)
		return message_usage(cmd->name, "--html names the file already; leave -o out");
	q->file = argv[first];
	return -1;
}

static int write_lines(const struct report_request *q, const struct profile *p, FILE *out, struct err *err)
{
	const struct report_options *o = &q->options;
	struct report_lines_options opt = {.width = o->width, .color = o->color, .top = o->top, .pid = o->pid, .no_source = q->no_source};

	return report_lines(p, &opt, out, err);
}

static int write_page(const struct report_request *q, const struct profile *p, FILE *out, struct err *err)
{
	struct report_html_options opt = {.report = q->options, .no_source = q->no_source};
	struct profile *base = NULL;

	int rc = q->base ? profile_load(&base, q->base, err) : 0;
	opt.base = base;
	if (!rc)
		rc = report_html(p, &opt, out, err);
	profile_free(base);
	return rc;
}

static int write_report(struct report_request *q, const struct profile *p, struct err *err)
{
	if (q->options.pid && !profile_process(p, q->options.pid))
		return err_set(err, -1, "no process %d in %s; 'lockstep report %s' lists them", q->options.pid, q->file, q->file);
	const char *path = q->html ? q->html : q->output;
	FILE *out = output_open(path, err);
	if (!out)
		return -1;
	q->options.width = terminal_width(out);
	q->options.color = terminal_color(out, q->color);
	int rc = q->html    ? write_page(q, p, out, err)
		 : q->lines ? write_lines(q, p, out, err)
			    : (q->write ? q->write : report_text)(p, &q->options, out, err);
	int closed = output_close(out, path, rc ? NULL : err);
	return rc ? rc : closed;
}

static int run(const struct command *cmd, int argc, char **argv)
{
	struct report_request q = {0};
	struct profile *p = NULL;
	struct err err = {""};

	int status = read_request(&q, cmd, argc, argv);
	if (status >= 0)
		return status;
	if (profile_load(&p, q.file, &err) || write_report(&q, p, &err)) {
		message_error("%s", err.msg);
		status = EXIT_CANNOT;
	} else {
		status = EXIT_FINE;
	}
	profile_free(p);
	return status;
}

static const struct command_option options[] = {
	{OPTION_JSON, "json", NULL, "as JSON, schema \"lockstep-report/1\"", NULL},
	{OPTION_MARKDOWN, "markdown", NULL, "as Markdown, for a ticket", NULL},
	{OPTION_LINES, "lines", NULL, "time per source line of what is hot", NULL},
	{OPTION_HTML, "html", "OUT", "as one self-contained page, for a browser", NULL},
	{OPTION_BASE, "base", "FILE", "with --html: show the difference to this profile", NULL},
	{OPTION_NO_SOURCE, "no-source", NULL, "do not read source files", NULL},
	{OPTION_TOP, "top", "N", "rows per table (default 10)", NULL},
	{OPTION_PID, "pid", "PID", "only this process", NULL},
	{'o', "output", "FILE", "write there instead of to standard output", NULL},
	COMMAND_COLOR_OPTION,
	{0},
};

const struct command cmd_report = {
	.name = "report",
	.summary = "show a profile as text, JSON, Markdown or a page",
	.usage = "report FILE [OPTIONS]",
	.about = "Shows a profile: findings first, then processes, who waits on whom, hot stacks.",
	.options = options,
	.examples = {"lockstep report lockstep.db --html lockstep.html", "lockstep report lockstep.db --json | jq .findings"},
	.run = run,
};
