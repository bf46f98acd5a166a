/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line that run and record share: what to observe, how, for how long.
 */
#ifndef LOCKSTEP_RECORD_OPTIONS_H
#define LOCKSTEP_RECORD_OPTIONS_H

#include "cli/command.h"
#include "cli/session.h"

enum { OPTION_BACKEND = OPTION_OWN, OPTION_REPLAY, OPTION_RECORD_EVENTS, OPTION_SAVE, OPTION_RECORD_OWN };

#define RECORD_OPTIONS                                                                                                           \
	{'p', "pid", "PID[,PID]", "observe running processes and their descendants instead", NULL},                              \
		{'d', "duration", "SECS", "stop observing after SECS (the target goes on)", NULL},                               \
		{'F', "frequency", "HZ", "on-CPU samples per second and CPU (default 99)", NULL},                                \
		{OPTION_BACKEND, "backend", "NAME", "auto, kernel (exact) or user (no privileges)", "auto|kernel|user"},  \
		{'q', "quiet", NULL, "say nothing but errors", NULL}, {'v', "verbose", NULL, "say what is done", NULL},          \
		{OPTION_REPLAY, "replay", "FILE", NULL, NULL},                                                                   \
	{                                                                                                                        \
		OPTION_RECORD_EVENTS, "record-events", "FILE", NULL, NULL                                                        \
	}

struct record_options {
	struct session_options session;
	int32_t *pids;	    /* owned; session.pids points here */
	const char *output; /* -o */
	const char *save;   /* --save */
	const char *color;  /* --color */
};

/* Reads argv into o (initialised here; record_options_fini afterwards, whatever is returned). Returns -1 when the session can start,
 * else the exit status; what is wrong has been printed. */
int record_options_read(struct record_options *o, const struct command *cmd, int argc, char **argv);
void record_options_fini(struct record_options *o);

#endif
