/* SPDX-License-Identifier: Apache-2.0
 *
 * The composition root. In: argv; out: the exit status of one subcommand. Everything that a command is stands in its own file.
 */
#include "cli/command.h"
#include "cli/message.h"
#include "cli/suggest.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void print_help(FILE *out)
{
	fputs("usage: lockstep COMMAND [OPTIONS] ...\n\n"
	      "Finds out what a tree of processes waits for: who, on whom, over what, from\n"
	      "which lines, and what it costs.\n\n",
	      out);
	for (const struct command *const *c = command_table; *c; c++)
		fprintf(out, "  %-9s %s\n", (*c)->name, (*c)->summary);
	fputs("\n'lockstep COMMAND --help' tells a command's options, '--version' the version.\n\n"
	      "Examples:\n"
	      "  lockstep run -- make -j8\n"
	      "  lockstep record -p 4711 -d 10 && lockstep report lockstep.db\n",
	      out);
}

/* lockstep's own files must never land on 0, 1 or 2, where CMD or a message would use them as if they were its own; what was
 * closed for us stays closed for CMD (O_CLOEXEC). */
static void fill_standard_fds(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static int unknown_command(const char *name)
{
	const char *names[32];
	size_t n = 0;
	for (const struct command *const *c = command_table; *c && n < 31; c++)
		names[n++] = (*c)->name;
	names[n] = NULL;
	const char *near = suggest(name, names);
	if (near)
		message_error("unknown command '%s', did you mean '%s'?", name, near);
	else
		message_error("unknown command '%s'; see 'lockstep --help'", name);
	return EXIT_USAGE;
}

static int help_for(const char *name)
{
	const struct command *cmd = name ? command_find(name) : NULL;
	if (name && !cmd)
		return unknown_command(name);
	if (cmd)
		command_print_help(cmd);
	else
		print_help(stdout);
	return EXIT_FINE;
}

/* What was printed must have arrived: a full disk behind `lockstep report --json > file` is a failure. */
static int flush_stdout(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	if (status != EXIT_FINE)
		return status;
	message_error("standard output: %m");
	return EXIT_CANNOT;
}

int main(int argc, char **argv)
{
	fill_standard_fds();
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	const char *name = argv[1];
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		puts("lockstep " LOCKSTEP_VERSION);
		return flush_stdout(EXIT_FINE);
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		return flush_stdout(help_for(NULL));
	if (strcmp(name, "help") == 0)
		return flush_stdout(help_for(argv[2]));
	const struct command *cmd = command_find(name);
	if (!cmd && name[0] == '-') {
		message_error("unknown option %s; a command comes first, see 'lockstep --help'", name);
		return EXIT_USAGE;
	}
	if (!cmd)
		return unknown_command(name);
	return flush_stdout(cmd->run(cmd, argc - 1, argv + 1));
}
