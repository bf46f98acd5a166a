/* SPDX-License-Identifier: Apache-2.0
 *
 * Signals while observing. Handlers only set flags; the session looks at them after every poll, which is never longer than
 * SIGNALS_POLL_MAX_MS, so that a signal that arrives between a look and a poll costs no more than that.
 */
#ifndef LOCKSTEP_SIGNALS_H
#define LOCKSTEP_SIGNALS_H

#include <stdbool.h>
#include <sys/types.h>

enum { SIGNALS_POLL_MAX_MS = 100 };

/* With a command: Ctrl-C and Ctrl-\ belong to it (the terminal sends them to the whole process group), so they are ignored here;
 * SIGTERM and SIGHUP are kept for signals_forward; a broken pipe is an error and no death. Call after the command's fork. */
void signals_for_command(void);
/* Attached: SIGINT, SIGTERM and SIGHUP end the observation; the second one has its default action again and quits at once. */
void signals_for_attach(void);
/* Whether an end was asked for. */
bool signals_end_asked(void);
/* Sends on to pid what was sent to us since the last call. A hang-up of the terminal reaches CMD by itself. A SIGTERM sent to
 * the whole process group cannot be told from one to us alone, so CMD may get that twice. */
void signals_forward(pid_t pid);
/* The command has ended: Ctrl-C is ours again, as it was when lockstep started. */
void signals_command_ended(void);

#endif
