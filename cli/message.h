/* SPDX-License-Identifier: Apache-2.0
 *
 * What lockstep itself says, always on stderr, always one line. Text may hold names from the target or the user: control
 * characters are replaced, so that no message can drive the terminal.
 */
#ifndef LOCKSTEP_MESSAGE_H
#define LOCKSTEP_MESSAGE_H

/* "lockstep: " + the sentence ("what failed: why; what to do"). */
void message_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same for what is no error; callers leave it out under --quiet. */
void message_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A usage error of a command: "lockstep NAME: sentence; see 'lockstep NAME --help'". Returns EXIT_USAGE. */
int message_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
