/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep run: observe a command (or running processes), print the report when it ends.
 */
#include "aggregate/profile_db.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/record_options.h"
#include "cli/terminal.h"
#include "report/report.h"

#include <stdlib.h>

struct run_target {
	const struct record_options *opt;
	const char *save; /* resolved; NULL: no */
};

static int print_report(const struct record_options *o, const struct profile *p, struct err *err)
{
	FILE *out = o->output ? output_open(o->output, err) : stderr;
	if (!out)
		return -1;
	const struct report_options ro = {.width = terminal_width(out), .color = terminal_color(out, o->color)};
	int rc = report_text(p, &ro, out, err);
	if (out != stderr) {
		int closed = output_close(out, o->output, rc ? NULL : err);
		rc = rc ? rc : closed;
	}
	return rc;
}

static int deliver(void *ctx, const struct profile *p, enum session_end end, struct err *err)
{
	const struct run_target *t = ctx;
	(void)end;
	int rc = print_report(t->opt, p, err);
	if (t->save) {
		int saved = profile_save(p, t->save, rc ? NULL : err);
		rc = rc ? rc : saved;
	}
	return rc;
}

static int run(const struct command *cmd, int argc, char **argv)
{
	struct record_options o;
	struct err err = {""};
	char *save = NULL;

	int status = record_options_read(&o, cmd, argc, argv);
	if (status >= 0)
		goto out;
	if ((o.output && output_check_text(o.output, &err)) || (o.save && output_check_profile(o.save, &save, &err))) {
		message_error("%s", err.msg);
		status = o.session.command ? EXIT_LOCKSTEP : EXIT_CANNOT;
		goto out;
	}
	struct run_target t = {&o, save};
	status = session_run(&o.session, deliver, &t);
out:
	free(save);
	record_options_fini(&o);
	return status;
}

static const struct command_option options[] = {
	{'o', "output", "FILE", "the report goes there instead of to stderr", NULL},
	{OPTION_SAVE, "save", "FILE", "write the profile too, for report and export", NULL},
	RECORD_OPTIONS,
	COMMAND_COLOR_OPTION,
	{0},
};

const struct command cmd_run = {
	.name = "run",
	.summary = "observe a command and all its descendants, print the report",
	.usage = "run [OPTIONS] -- CMD [ARG...]\n       lockstep run [OPTIONS] -p PID[,PID...]",
	.about = "Runs CMD untouched, finds out what its processes wait for, and reports on stderr\n"
		 "when it ends. Exits as CMD did; 125 when lockstep itself failed.",
	.options = options,
	.examples = {"lockstep run -- make -j8", "lockstep run -o report.txt -d 30 -- ./pipeline.sh"},
	.stop_at_operand = true,
	.run = run,
};
