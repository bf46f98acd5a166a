/* SPDX-License-Identifier: Apache-2.0
 *
 * What a stream's other end can show.
 */
#ifndef LOCKSTEP_TERMINAL_H
#define LOCKSTEP_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

/* when: "auto" (or NULL), "always", "never". auto: a terminal that is not "dumb", and NO_COLOR is unset or empty (no-color.org). */
bool terminal_color(FILE *out, const char *when);
/* Columns of the terminal behind `out`, within 60 and 200; 80 when it is none. */
unsigned terminal_width(FILE *out);
/* Whether progress may be shown on stderr: a terminal. */
bool terminal_is_interactive(void);

#endif
