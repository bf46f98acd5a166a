/* SPDX-License-Identifier: Apache-2.0
 *
 * What a subcommand is: one `const struct command` in one file (cmd_NAME.c), listed in the table of commands.c. Its options are a
 * table too, so that parsing, --help, the man page's test and shell completion tell the same. In: argv; out: an exit status.
 * To add a command: write cmd_NAME.c, add a line to commands.c, docs/man/lockstep-NAME.1, and a test.
 */
#ifndef LOCKSTEP_COMMAND_H
#define LOCKSTEP_COMMAND_H

#include "sampler/err.h"

#include <stdbool.h>
#include <stddef.h>

/* The exit statuses of the contract. */
enum {
	EXIT_FINE = 0,
	EXIT_GATE = 1,	     /* diff, compare: a rule failed */
	EXIT_USAGE = 2,	     /* the command line makes no sense */
	EXIT_CANNOT = 3,     /* it makes sense, but cannot be done */
	EXIT_LOCKSTEP = 125, /* run, record -- CMD: lockstep itself failed */
	EXIT_NOT_RUN = 126,  /* CMD was found but cannot be executed */
	EXIT_NOT_FOUND = 127,
};

struct command_option {
	int id;		       /* what `take` gets: the letter when there is a short form, else a number above 255 */
	const char *long_name; /* NULL ends the table */
	const char *argument;  /* name of its argument, as "FILE"; NULL: it takes none */
	const char *help;      /* one line of help; NULL: accepted but not listed (for tests and experts) */
	const char *values;    /* "auto|kernel|user" when it is a choice, checked before `take`; NULL: free */
};

/* Ids of options that several commands have; own long-only options start at OPTION_OWN. --help is added by the parser. */
enum { OPTION_COLOR = 256, OPTION_OWN = 300 };
#define COMMAND_COLOR_OPTION                                                                                                     \
	{                                                                                                                        \
		OPTION_COLOR, "color", "WHEN", "auto, always or never (NO_COLOR is honoured)", "auto|always|never"               \
	}

struct command {
	const char *name, *summary;
	const char *usage;		      /* what follows "usage: lockstep "; more lines are indented alike */
	const char *about;		      /* one to three lines of at most 80 columns */
	const struct command_option *options; /* ends with a NULL long_name */
	const char *examples[2];
	bool stop_at_operand; /* options end at the first operand: the rest is somebody else's command line */
	int (*run)(const struct command *cmd, int argc, char **argv); /* argv[0] is the command's name; returns the exit status */
};

/* Ends with NULL, in the order of the help (commands.c). */
extern const struct command *const command_table[];

/* Takes one option: its id, and its argument (NULL when it takes none; borrowed from argv). Returns 0, or anything else with a
 * sentence, which is printed with the option's name. */
typedef int (*take_option_fn)(void *ctx, int id, const char *value, struct err *err);
/* Reads argv by cmd's table, each option through take. getopt_long's conventions, but for abbreviated long options: scripts would
 * break when options are added. On success returns -1, and *first_operand is the index in argv of the first operand (argv is
 * permuted so that all operands follow, unless stop_at_operand). Else returns the exit status: the help was asked for and
 * printed, or an error was. */
int command_read_options(const struct command *cmd, int argc, char **argv, take_option_fn take, void *ctx, int *first_operand);

void command_print_help(const struct command *cmd);
/* The command of that name, or NULL. */
const struct command *command_find(const char *name);

#endif
