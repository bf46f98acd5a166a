/* SPDX-License-Identifier: Apache-2.0
 *
 * In: a command's option table and argv; out: options one by one, checked, with errors in our own words (getopt's are several
 * styles and name no help); and the help page.
 */
#include "cli/command.h"

#include "cli/message.h"
#include "cli/suggest.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ID_HELP = 'h' };
enum { OPTION_END = -1, OPTION_BAD = -2, OPTION_HELP = -3 };

/* getopt's form of a table. */
struct option_reader {
	const struct command *cmd;
	int argc;
	char **argv;
	struct option *longs;
	char shorts[64];
};

static size_t option_count(const struct command *cmd)
{
	size_t n = 0;
	while (cmd->options[n].long_name)
		n++;
	return n;
}

static const struct command_option *option_of_id(const struct command *cmd, int id)
{
	for (const struct command_option *o = cmd->options; o->long_name; o++)
		if (o->id == id)
			return o;
	return NULL;
}

static int reader_init(struct option_reader *r, const struct command *cmd, int argc, char **argv)
{
	size_t n = option_count(cmd);
	char *s;

	memset(r, 0, sizeof *r);
	r->cmd = cmd;
	r->argc = argc;
	r->argv = argv;
	r->longs = calloc(n + 2, sizeof *r->longs);
	if (!r->longs)
		return -ENOMEM;
	s = r->shorts;
	if (cmd->stop_at_operand)
		*s++ = '+';
	*s++ = ':'; /* a missing argument returns ':' */
	*s++ = ID_HELP;
	for (size_t i = 0; i < n; i++) {
		const struct command_option *o = &cmd->options[i];
		r->longs[i] = (struct option){.name = o->long_name, .has_arg = o->argument != NULL, .val = o->id};
		if (o->id < 256) {
			*s++ = (char)o->id;
			if (o->argument)
				*s++ = ':';
		}
	}
	*s = '\0';
	r->longs[n] = (struct option){.name = "help", .val = ID_HELP};
	optind = 0; /* glibc: start anew, and read the "+" */
	opterr = 0;
	return 0;
}

static int unknown_long_option(const struct option_reader *r, const char *name)
{
	const char *names[64];
	size_t n = 0;

	for (const struct option *o = r->longs; o->name && n < 63; o++)
		names[n++] = o->name;
	names[n] = NULL;
	const char *near = suggest(name, names);
	if (near)
		message_usage(r->cmd->name, "unknown option --%s, did you mean --%s?", name, near);
	else
		message_usage(r->cmd->name, "unknown option --%s", name);
	return OPTION_BAD;
}

/* The word that getopt has just left behind: "--name", "--name=value", or a cluster of letters of which optopt is the bad one. */
static int refused_option(const struct option_reader *r)
{
	const char *word = r->argv[optind - 1];
	char name[64];

	if (optopt && strncmp(word, "--", 2) == 0) {
		message_usage(r->cmd->name, "%.*s takes no argument", (int)strcspn(word, "="), word);
		return OPTION_BAD;
	}
	if (optopt) {
		message_usage(r->cmd->name, "unknown option -%c", optopt);
		return OPTION_BAD;
	}
	snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
	return unknown_long_option(r, name);
}

static bool value_allowed(const char *values, const char *value)
{
	size_t len = strlen(value);
	for (const char *v = values; *v; v += *v == '|') {
		size_t n = strcspn(v, "|");
		if (n == len && memcmp(v, value, n) == 0)
			return true;
		v += n;
	}
	return false;
}

/* The long option's name as it stands in argv, when it is not whole (getopt_long accepts unique prefixes; we do not, see
 * command.h). */
static bool is_abbreviation(const struct option_reader *r, int index, char name[64])
{
	const char *word = r->argv[optind - 1];

	if (r->longs[index].has_arg && optarg == word)
		word = r->argv[optind - 2]; /* "--name value" in two words */
	snprintf(name, 64, "%.*s", (int)strcspn(word + 2, "="), word + 2);
	return strcmp(name, r->longs[index].name) != 0;
}

/* A choice outside its values is refused here, once for all commands. */
static int known_option(const struct option_reader *r, int id)
{
	const struct command_option *o = option_of_id(r->cmd, id);

	if (!o->values || value_allowed(o->values, optarg))
		return id;
	message_usage(r->cmd->name, "--%s %s: not one of %s", o->long_name, optarg, o->values);
	return OPTION_BAD;
}

/* The next option's id, or OPTION_END, or OPTION_BAD and OPTION_HELP, for which all has been printed. */
static int next_option(struct option_reader *r)
{
	int index = -1;
	char name[64];

	optopt = 0;
	int id = getopt_long(r->argc, r->argv, r->shorts, r->longs, &index);
	switch (id) {
	case -1:
		return OPTION_END;
	case '?':
		return refused_option(r);
	case ':':
		message_usage(r->cmd->name, "%s needs an argument (%s)", r->argv[optind - 1],
			      option_of_id(r->cmd, optopt)->argument);
		return OPTION_BAD;
	}
	if (index >= 0 && is_abbreviation(r, index, name))
		return unknown_long_option(r, name);
	if (id == ID_HELP) {
		command_print_help(r->cmd);
		return OPTION_HELP;
	}
	return known_option(r, id);
}

int command_read_options(const struct command *cmd, int argc, char **argv, take_option_fn take, void *ctx, int *first_operand)
{
	struct option_reader r;
	struct err err = {""};
	int id;

	if (reader_init(&r, cmd, argc, argv)) {
		message_error("options: out of memory");
		return EXIT_CANNOT;
	}
	while ((id = next_option(&r)) >= 0)
		if (take(ctx, id, optarg, &err)) {
			message_usage(cmd->name, "--%s: %s", option_of_id(cmd, id)->long_name, err.msg);
			id = OPTION_BAD;
			break;
		}
	*first_operand = optind;
	free(r.longs);
	return id == OPTION_END ? -1 : id == OPTION_HELP ? EXIT_FINE : EXIT_USAGE;
}

static void print_option(const struct command_option *o)
{
	char left[64];
	int n = 0;

	if (o->id < 256)
		n = snprintf(left, sizeof left, "-%c, ", o->id);
	else
		n = snprintf(left, sizeof left, "    ");
	snprintf(left + n, sizeof left - (size_t)n, "--%s%s%s", o->long_name, o->argument ? " " : "",
		 o->argument ? o->argument : "");
	printf("  %-22s %s\n", left, o->help);
}

void command_print_help(const struct command *cmd)
{
	printf("usage: lockstep %s\n\n%s\n\n", cmd->usage, cmd->about);
	for (const struct command_option *o = cmd->options; o->long_name; o++)
		if (o->help)
			print_option(o);
	printf("  %-22s this page; 'man lockstep-%s' says more\n", "-h, --help", cmd->name);
	printf("\nExamples:\n  %s\n  %s\n", cmd->examples[0], cmd->examples[1]);
}
