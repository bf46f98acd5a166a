/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep export: a profile file in the formats of other tools. To add a format: a function in report/ and a row of `formats`.
 */
#include "aggregate/profile_db.h"
#include "cli/command.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/parse.h"
#include "report/report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTION_FORMAT = OPTION_OWN, OPTION_KIND, OPTION_PID };

struct export_format {
	const char *name;
	int (*write)(const struct profile *p, const struct export_options *opt, FILE *out, struct err *err);
	bool binary; /* not for a terminal */
};

#define FORMAT_NAMES "folded|speedscope|pprof|perfetto|firefox" /* keep in step with the table */
static const struct export_format formats[] = {
	{"folded", export_folded, false},
	{"speedscope", export_speedscope, false},
	{"pprof", export_pprof, true},
	{"perfetto", export_perfetto, true},
	{"firefox", export_firefox, false},
};

struct export_request {
	const char *file, *output;
	const struct export_format *format;
	struct export_options options;
};

static const struct export_format *find_format(const char *name)
{
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	return NULL;
}

static int take_option(void *ctx, int id, const char *value, struct err *err)
{
	struct export_request *q = ctx;
	switch (id) {
	case OPTION_FORMAT:
		q->format = find_format(value);
		return 0;
	case OPTION_KIND:
		q->options.kind = value[0] == 'c' ? EXPORT_CPU : value[0] == 'w' ? EXPORT_WAIT : EXPORT_ALL;
		return 0;
	case OPTION_PID:
		return parse_pid(value, &q->options.pid, err);
	case 'o':
		q->output = value;
		return 0;
	}
	return err_set(err, -1, "option %d is not handled", id);
}

static int read_request(struct export_request *q, const struct command *cmd, int argc, char **argv)
{
	int first;

	int status = command_read_options(cmd, argc, argv, take_option, q, &first);
	if (status >= 0)
		return status;
	if (argc - first != 1)
		return message_usage(cmd->name, argc == first ? "which profile? Give FILE" : "one profile at a time");
	if (!q->format)
		return message_usage(cmd->name, "--format is missing; one of %s", FORMAT_NAMES);
	if (q->format->binary && !q->output && isatty(STDOUT_FILENO))
		return message_usage(cmd->name, "%s is binary; give -o FILE or a pipe", q->format->name);
	q->file = argv[first];
	return -1;
}

static int write_export(const struct export_request *q, const struct profile *p, struct err *err)
{
	if (q->options.pid && !profile_process(p, q->options.pid))
		return err_set(err, -1, "no process %d in %s; 'lockstep report %s' lists them", q->options.pid, q->file, q->file);
	FILE *out = output_open(q->output, err);
	if (!out)
		return -1;
	int rc = q->format->write(p, &q->options, out, err);
	int closed = output_close(out, q->output, rc ? NULL : err);
	return rc ? rc : closed;
}

static int run(const struct command *cmd, int argc, char **argv)
{
	struct export_request q = {.options.kind = EXPORT_ALL};
	struct profile *p = NULL;
	struct err err = {""};

	int status = read_request(&q, cmd, argc, argv);
	if (status >= 0)
		return status;
	if (profile_load(&p, q.file, &err) || write_export(&q, p, &err)) {
		message_error("%s", err.msg);
		status = EXIT_CANNOT;
	} else {
		status = EXIT_FINE;
	}
	profile_free(p);
	return status;
}

static const struct command_option options[] = {
	{OPTION_FORMAT, "format", "NAME", "one of " FORMAT_NAMES, FORMAT_NAMES},
	{OPTION_KIND, "kind", "KIND", "cpu, wait or all (default)", "cpu|wait|all"},
	{OPTION_PID, "pid", "PID", "only this process", NULL},
	{'o', "output", "FILE", "write there instead of to standard output", NULL},
	{0},
};

const struct command cmd_export = {
	.name = "export",
	.summary = "convert a profile for other tools",
	.usage = "export FILE --format NAME [OPTIONS]",
	.about = "Writes the stacks of a profile, on-CPU and waiting, in another tool's format.",
	.options = options,
	.examples = {"lockstep export lockstep.db --format folded | flamegraph.pl > flame.svg",
		     "lockstep export lockstep.db --format pprof --kind wait -o waits.pb.gz"},
	.run = run,
};
