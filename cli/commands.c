/* SPDX-License-Identifier: Apache-2.0
 *
 * Every subcommand, in the order of the help. A command is one file, one line here, one man page.
 */
#include "cli/command.h"

#include <string.h>

extern const struct command cmd_run, cmd_record, cmd_report, cmd_export, cmd_dump, cmd_doctor, cmd_diff, cmd_compare;

const struct command *const command_table[] = {
	&cmd_run, &cmd_record, &cmd_report, &cmd_export, &cmd_dump, &cmd_doctor, &cmd_diff, &cmd_compare, NULL,
};

const struct command *command_find(const char *name)
{
	for (const struct command *const *c = command_table; *c; c++)
		if (strcmp((*c)->name, name) == 0)
			return *c;
	return NULL;
}
