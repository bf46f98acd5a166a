/* SPDX-License-Identifier: Apache-2.0
 *
 * Command-line options of the examples: one table, of which each program allows some.
 */
#include "common.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	OPT_SECONDS,
	OPT_ROUNDS,
	OPT_SIZE,
	OPT_BATCH,
	OPT_PIN,
	OPT_PACE,
	OPT_WORK,
	OPT_N,
	OPT_THREADS,
	OPT_KIND,
	OPT_EXEC,
	OPT_FIXED,
	OPT_SHARE,
	OPT_APART,
	OPT_HELP
};

static const struct option table[] = {
	{"seconds", required_argument, NULL, OPT_SECONDS},
	{"rounds", required_argument, NULL, OPT_ROUNDS},
	{"size", required_argument, NULL, OPT_SIZE},
	{"batch", required_argument, NULL, OPT_BATCH},
	{"pin", required_argument, NULL, OPT_PIN},
	{"pace", required_argument, NULL, OPT_PACE},
	{"work-us", required_argument, NULL, OPT_WORK},
	{"n", required_argument, NULL, OPT_N},
	{"threads", required_argument, NULL, OPT_THREADS},
	{"kind", required_argument, NULL, OPT_KIND},
	{"exec", required_argument, NULL, OPT_EXEC},
	{"fixed", no_argument, NULL, OPT_FIXED},
	{"share", required_argument, NULL, OPT_SHARE},
	{"apart", no_argument, NULL, OPT_APART},
	{"help", no_argument, NULL, OPT_HELP},
	{0},
};

static bool word_in(const char *words, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = words; (p = strstr(p, word)); p += n)
		if ((p == words || p[-1] == ' ') && (p[n] == '\0' || p[n] == ' '))
			return true;
	return false;
}

static void usage(FILE *out, const char *program, const char *allowed, const char *help)
{
	fprintf(out, "%s: %s\noptions:", program, help);
	for (const struct option *o = table; o->name; o++)
		if (word_in(allowed, o->name))
			fprintf(out, " --%s%s", o->name, o->has_arg ? " X" : "");
	fputc('\n', out);
}

static double number(const char *program, const char *name, const char *text, double min, double max)
{
	char *end;
	errno = 0;
	double v = strtod(text, &end);
	if (errno || end == text || *end || !(v >= min && v <= max)) {
		fprintf(stderr, "%s: --%s: '%s' is no number between %g and %g\n", program, name, text, min, max);
		exit(2);
	}
	return v;
}

static void set(struct options *o, int which, const char *program, const char *arg)
{
	const char *name = table[which].name;
	switch (which) {
	case OPT_SECONDS:
		o->seconds = number(program, name, arg, 0.001, 1e6);
		break;
	case OPT_ROUNDS:
		o->rounds = (uint64_t)number(program, name, arg, 1, 1e15);
		break;
	case OPT_SIZE:
		o->size = (uint64_t)number(program, name, arg, 1, 1 << 24);
		break;
	case OPT_BATCH:
		o->batch = (uint64_t)number(program, name, arg, 1, 1e6);
		break;
	case OPT_PIN:
		o->cpu = (int)number(program, name, arg, 0, 1023);
		break;
	case OPT_PACE:
		o->pace = number(program, name, arg, 0, 1e6);
		break;
	case OPT_WORK:
		o->work_us = number(program, name, arg, 0, 1e6);
		break;
	case OPT_N:
		o->n = (uint64_t)number(program, name, arg, 1, 1e6);
		break;
	case OPT_THREADS:
		o->threads = (uint64_t)number(program, name, arg, 1, 1e4);
		break;
	case OPT_KIND:
		o->kind = arg;
		break;
	case OPT_EXEC:
		o->exec = arg;
		break;
	case OPT_FIXED:
		o->fixed = true;
		break;
	case OPT_APART:
		o->apart = true;
		break;
	case OPT_SHARE:
		o->share = number(program, name, arg, 1, 100);
		break;
	}
}

void options_parse(struct options *o, int argc, char **argv, const char *allowed, const char *help)
{
	int c, ix;
	while ((c = getopt_long(argc, argv, "", table, &ix)) != -1) {
		if (c == OPT_HELP) {
			usage(stdout, argv[0], allowed, help);
			exit(0);
		}
		if (c == '?' || !word_in(allowed, table[c].name)) {
			usage(stderr, argv[0], allowed, help);
			exit(2);
		}
		set(o, c, argv[0], optarg);
	}
	if (optind < argc) {
		usage(stderr, argv[0], allowed, help);
		exit(2);
	}
}
