/* SPDX-License-Identifier: Apache-2.0
 *
 * In: a format and its arguments; out: one neutralised line, written by one write so that lines of CMD's own do not split it.
 */
#include "cli/message.h"

#include "cli/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void neutralise(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

static void say(const char *prefix, const char *suffix, const char *fmt, va_list ap)
{
	char text[1024], line[1400];
	vsnprintf(text, sizeof text, fmt, ap);
	neutralise(text);
	snprintf(line, sizeof line, "%s%s%s\n", prefix, text, suffix);
	fputs(line, stderr);
	fflush(stderr);
}

void message_error(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say("lockstep: ", "", fmt, ap);
	va_end(ap);
}

void message_note(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say("lockstep: ", "", fmt, ap);
	va_end(ap);
}

int message_usage(const char *command, const char *fmt, ...)
{
	char prefix[64], suffix[64];
	snprintf(prefix, sizeof prefix, "lockstep %s: ", command);
	snprintf(suffix, sizeof suffix, "; see 'lockstep %s --help'", command);
	va_list ap;
	va_start(ap, fmt);
	say(prefix, suffix, fmt, ap);
	va_end(ap);
	return EXIT_USAGE;
}
