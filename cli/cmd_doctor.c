/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep doctor: what this host lets us do, which backend will run, how to get more.
 */
#include "cli/command.h"
#include "cli/message.h"
#include "cli/terminal.h"
#include "sampler/backend.h"
#include "sampler/host.h"

#include <stdio.h>
#include <string.h>

struct doctor {
	const char *color;
};

static const char *const marks[] = {[HOST_GOOD] = "ok  ", [HOST_LESS] = "less", [HOST_MISSING] = "no  "};
static const char *const colors[] = {[HOST_GOOD] = "\033[32m", [HOST_LESS] = "\033[33m", [HOST_MISSING] = "\033[31m"};

static void show_fact(const struct host_fact *f, bool color)
{
	printf("%s%s%s  %-15s %s\n", color ? colors[f->verdict] : "", marks[f->verdict], color ? "\033[0m" : "", f->name, f->value);
	if (f->advice[0])
		printf("      %s\n", f->advice);
}

static int take_option(void *ctx, int id, const char *value, struct err *err)
{
	struct doctor *d = ctx;
	if (id != OPTION_COLOR)
		return err_set(err, -1, "option %d is not handled", id);
	d->color = value;
	return 0;
}

static int run(const struct command *cmd, int argc, char **argv)
{
	struct doctor d = {0};
	int first, status = command_read_options(cmd, argc, argv, take_option, &d, &first);
	if (status >= 0)
		return status;
	if (argc != first)
		return message_usage(cmd->name, "'%s' is not expected", argv[first]);
	struct host_fact facts[HOST_FACTS_MAX];
	bool color = terminal_color(stdout, d.color);
	size_t n = host_facts(facts);
	for (size_t i = 0; i < n; i++)
		show_fact(&facts[i], color);

	const struct backend_ops *chosen = NULL;
	struct backend_probe probe;
	struct err err = {""};
	putchar('\n');
	for (const struct backend_ops *const *b = backend_table; *b; b++) {
		if (strcmp((*b)->name, "replay") == 0)
			continue;
		(*b)->probe(&probe);
		printf("backend %-7s %s%s\n", (*b)->name, probe.usable ? "works" : "does not work: ", probe.usable ? "" : probe.why);
		if (probe.usable && probe.costs[0])
			printf("                %s\n", probe.costs);
	}
	if (backend_choose("auto", &chosen, &probe, &err)) {
		printf("\n%s\n", err.msg);
		return EXIT_CANNOT;
	}
	printf("\n'lockstep run' and 'record' will use the %s backend.\nStacks are told of native code, Python 3.8 to 3.13 and Java 17.\n",
	       chosen->name);
	return EXIT_FINE;
}

static const struct command_option options[] = {
	COMMAND_COLOR_OPTION,
	{0},
};

const struct command cmd_doctor = {
	.name = "doctor",
	.summary = "what this host lets us do, and how to get more",
	.usage = "doctor [OPTIONS]",
	.about = "Tells what this host allows: kernel, capabilities, filters, namespaces; which\n"
		 "backend will run, and the command or container flag that gives more.",
	.options = options,
	.examples = {"lockstep doctor", "sudo lockstep doctor"},
	.run = run,
};
