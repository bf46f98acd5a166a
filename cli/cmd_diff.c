/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep diff: profiles of two sides, compared and judged.
 */
#include "aggregate/profile_db.h"
#include "cli/gate.h"
#include "cli/message.h"

#include <stdlib.h>
#include <string.h>

enum { OPTION_VS = OPTION_GATE_OWN };

static int take_option(void *ctx, int id, const char *value, struct err *err)
{
	int rc = gate_take_option(ctx, id, value, err);

	if (rc <= 0)
		return rc;
	if (id == OPTION_VS)
		return err_set(err, -1, "is given twice; once, between the profiles of the two sides");
	return err_set(err, -1, "option %d is not handled", id);
}

/* The profiles of one side. */
struct side {
	char **files;
	size_t n;
	struct diff_run *runs;
};

static int load_side(const struct gate *g, struct side *s, bool fresh, struct err *err)
{
	int rc = 0;

	s->runs = calloc(s->n + 1, sizeof *s->runs);
	if (!s->runs)
		return err_set(err, -1, "out of memory");
	for (size_t i = 0; i < s->n && rc == 0; i++) {
		struct profile *p = NULL;
		rc = profile_load(&p, s->files[i], err);
		s->runs[i].profile = p;
		s->runs[i].name = s->files[i];
		if (rc == 0)
			rc = gate_work(g, fresh, p, s->files[i], &s->runs[i].work, err);
	}
	return rc;
}

static void free_side(struct side *s)
{
	for (size_t i = 0; s->runs && i < s->n; i++)
		profile_free((struct profile *)s->runs[i].profile);
	free(s->runs);
}

/* The options of one half of the command line; its operands are the profiles of that side. argv[0] is skipped. */
static int read_half(struct gate *g, const struct command *cmd, int argc, char **argv, struct side *s)
{
	int first, status = command_read_options(cmd, argc, argv, take_option, g, &first);

	if (status >= 0)
		return status;
	s->files = argv + first;
	s->n = (size_t)(argc - first);
	return -1;
}

static int compare_sides(const struct gate *g, struct side *base, struct side *fresh)
{
	struct err err = {""};
	int status;

	if (load_side(g, base, false, &err) || load_side(g, fresh, true, &err)) {
		message_error("%s", err.msg);
		status = EXIT_CANNOT;
	} else {
		status = gate_finish(g, base->runs, base->n, fresh->runs, fresh->n);
	}
	free_side(base);
	free_side(fresh);
	return status;
}

static int run(const struct command *cmd, int argc, char **argv)
{
	struct side base = {0}, fresh = {0};
	struct gate g;
	int vs = 1, status;

	while (vs < argc && strcmp(argv[vs], "--vs") != 0)
		vs++;
	gate_init(&g);
	status = read_half(&g, cmd, vs, argv, &base);
	if (status < 0 && vs < argc)
		status = read_half(&g, cmd, argc - vs, argv + vs, &fresh);
	if (status < 0 && (!base.n || !fresh.n))
		status = message_usage(cmd->name, "%s; write BASE... --vs NEW...",
				       vs == argc ? "--vs is missing"
				       : base.n	  ? "no profile follows --vs"
						  : "no profile precedes --vs");
	if (status < 0)
		status = gate_check(&g, cmd);
	if (status < 0)
		status = compare_sides(&g, &base, &fresh);
	gate_fini(&g);
	return status;
}

static const struct command_option options[] = {
	{OPTION_VS, "vs", NULL, "what follows are the profiles of the new side", NULL},
	{OPTION_FAIL_ON, "fail-on", "EXPR", "exit 1 when it holds; 'default': steady ones", NULL},
	GATE_WORK_OPTIONS,
	{OPTION_PER, "per", "UNIT", "run, second or work", "run|second|work"},
	{OPTION_SAME_MACHINE, "same-machine", NULL, "judge times though hosts differ", NULL},
	GATE_OUTPUT_OPTIONS,
	{OPTION_FOLDED, "folded", "FILE", "write a differential flame graph's stacks", NULL},
	{OPTION_TOP, "top", "N", "rows of the table of changes (default 10)", NULL},
	COMMAND_COLOR_OPTION,
	{0},
};

const struct command cmd_diff = {
	.name = "diff",
	.summary = "compare profiles, fail on regressions",
	.usage = "diff BASE... --vs NEW... [OPTIONS]",
	.about = "Tells what grew, shrank or appeared, by process, channel and function.\nVerdicts need 4 runs a side.",
	.options = options,
	.examples = {"lockstep diff base.db --vs new.db",
		     "lockstep diff b*.db --vs n*.db --work 1000 --fail-on 'round_trips > 10%'"},
	.run = run,
};
