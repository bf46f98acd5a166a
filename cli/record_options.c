/* SPDX-License-Identifier: Apache-2.0
 *
 * In: argv of run or record; out: session options, all checked before anything is started.
 */
#include "cli/record_options.h"

#include "cli/message.h"
#include "cli/parse.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_HZ = 99 }; /* not 100: no beat with timers that tick at round rates */

static int take_option(void *ctx, int id, const char *value, struct err *err)
{
	struct record_options *o = ctx;
	struct session_options *s = &o->session;

	switch (id) {
	case 'o':
		o->output = value;
		return 0;
	case 'p':
		return parse_pids(value, &o->pids, &s->n_pids, err);
	case 'd':
		return parse_duration(value, &s->duration_ns, err);
	case 'F':
		return parse_frequency(value, &s->frequency_hz, err);
	case 'q':
		s->quiet = true;
		return 0;
	case 'v':
		s->verbose = true;
		return 0;
	case OPTION_BACKEND:
		s->backend = value;
		return 0;
	case OPTION_REPLAY:
		s->replay_path = value;
		return 0;
	case OPTION_RECORD_EVENTS:
		s->record_path = value;
		return 0;
	case OPTION_SAVE:
		o->save = value;
		return 0;
	case OPTION_COLOR:
		o->color = value;
		return 0;
	}
	return err_set(err, -1, "option %d is not handled", id);
}

/* Exactly one kind of target: a command, PIDs or a replay. */
static int check_target(struct record_options *o, const struct command *cmd, char **operands)
{
	struct session_options *s = &o->session;
	const char *what = *operands ? operands[0] : "";

	if (s->replay_path && (*operands || s->n_pids))
		return message_usage(cmd->name, "--replay takes its target from the file; leave out %s", *operands ? what : "-p");
	if (s->n_pids && *operands)
		return message_usage(cmd->name, "both -p and a command (%s); give one of them", what);
	if (!s->replay_path && !s->n_pids && !*operands)
		return message_usage(cmd->name, "nothing to observe; give -- CMD [ARG...] or -p PID");
	if (*operands && !what[0])
		return message_usage(cmd->name, "the command's name is empty");
	if (*operands)
		s->command = operands;
	if (s->replay_path)
		s->backend = "replay";
	s->pids = o->pids;
	for (size_t i = 0; i < s->n_pids; i++) {
		struct err err;
		if (check_target_pid(o->pids[i], &err)) {
			message_error("%s", err.msg);
			return EXIT_CANNOT;
		}
	}
	return -1;
}

int record_options_read(struct record_options *o, const struct command *cmd, int argc, char **argv)
{
	int first;

	memset(o, 0, sizeof *o);
	o->session.frequency_hz = DEFAULT_HZ;
	o->session.backend = "auto";
	int status = command_read_options(cmd, argc, argv, take_option, o, &first);
	return status >= 0 ? status : check_target(o, cmd, argv + first);
}

void record_options_fini(struct record_options *o)
{
	free(o->pids);
}
