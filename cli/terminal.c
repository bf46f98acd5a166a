/* SPDX-License-Identifier: Apache-2.0
 *
 * In: a stream and what the user asked for; out: colour or not, and the width. Pipes get plain 80 columns, always.
 */
#include "cli/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDTH_DEFAULT = 80, WIDTH_MIN = 60, WIDTH_MAX = 200 };

bool terminal_color(FILE *out, const char *when)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (when && strcmp(when, "always") == 0)
		return true;
	if (when && strcmp(when, "never") == 0)
		return false;
	if (no_color && no_color[0])
		return false;
	return isatty(fileno(out)) && term && strcmp(term, "dumb") != 0;
}

unsigned terminal_width(FILE *out)
{
	struct winsize w;

	if (!isatty(fileno(out)) || ioctl(fileno(out), TIOCGWINSZ, &w) || w.ws_col == 0)
		return WIDTH_DEFAULT;
	return w.ws_col < WIDTH_MIN ? WIDTH_MIN : w.ws_col > WIDTH_MAX ? WIDTH_MAX : w.ws_col;
}

bool terminal_is_interactive(void)
{
	return isatty(STDERR_FILENO);
}
