/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep record: the same observation as run, into a profile file.
 */
#include "aggregate/profile_db.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/record_options.h"
#include "cli/terminal.h"
#include "report/report.h"

#include <stdlib.h>

#define DEFAULT_FILE "lockstep.db"

struct record_target {
	const struct record_options *opt;
	const char *shown, *path; /* as given, and resolved */
};

static int deliver(void *ctx, const struct profile *p, enum session_end end, struct err *err)
{
	const struct record_target *t = ctx;

	int rc = profile_save(p, t->path, err);
	if (rc || t->opt->session.quiet)
		return rc;
	/* Whoever pressed Ctrl-C sits in front of it and wants to see. */
	if (end == SESSION_INTERRUPTED) {
		const struct report_options ro = {.width = terminal_width(stderr),
						  .color = terminal_color(stderr, t->opt->color)};
		rc = report_text(p, &ro, stderr, err);
	}
	message_note("%.1f s observed, profile in %s; 'lockstep report %s' shows it",
		     (double)(p->meta.end_ns - p->meta.start_ns) / 1e9, t->shown, t->shown);
	return rc;
}

static int run(const struct command *cmd, int argc, char **argv)
{
	struct record_options o;
	struct err err = {""};
	char *path = NULL;

	int status = record_options_read(&o, cmd, argc, argv);
	if (status >= 0)
		goto out;
	if (!o.output)
		o.output = DEFAULT_FILE;
	if (output_check_profile(o.output, &path, &err)) {
		message_error("%s", err.msg);
		status = o.session.command ? EXIT_LOCKSTEP : EXIT_CANNOT;
		goto out;
	}
	struct record_target t = {&o, o.output, path};
	status = session_run(&o.session, deliver, &t);
out:
	free(path);
	record_options_fini(&o);
	return status;
}

static const struct command_option options[] = {
	{'o', "output", "FILE", "the profile (default " DEFAULT_FILE ")", NULL},
	RECORD_OPTIONS,
	COMMAND_COLOR_OPTION,
	{0},
};

const struct command cmd_record = {
	.name = "record",
	.summary = "the same, into a profile file",
	.usage = "record [OPTIONS] -- CMD [ARG...]\n       lockstep record [OPTIONS] -p PID[,PID...]",
	.about = "Observes CMD, or running processes until they end or Ctrl-C, and writes a\n"
		 "profile for report, export and diff. With CMD, exits as CMD did.",
	.options = options,
	.examples = {"lockstep record -p $(pidof -s postgres) -d 10", "lockstep record -o before.db -- ./pipeline.sh"},
	.stop_at_operand = true,
	.run = run,
};
