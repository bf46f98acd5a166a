/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process runs, as people call it. In: a process row; out: "worker", "python:serve.py", "java:app.jar". Processes are
 * matched between profiles by this name and their place in the tree, so it must not contain what differs from run to run.
 */
#include "aggregate/diff_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

/* Options of java that take the next argument. */
static bool takes_argument(const char *option)
{
	static const char *const options[] = {"-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-modules"};

	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		if (strcmp(option, options[i]) == 0)
			return true;
	return false;
}

/* The script, module, class or jar that an interpreter was given; NULL: none (interactive, -c). */
static const char *runtime_target(char *const *argv)
{
	if (!argv || !argv[0])
		return NULL;
	for (size_t i = 1; argv[i]; i++) {
		if (strcmp(argv[i], "-jar") == 0 || strcmp(argv[i], "-m") == 0 || strcmp(argv[i], "--module") == 0)
			return argv[i + 1];
		if (strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "-e") == 0 || strcmp(argv[i], "-") == 0)
			return NULL;
		if (takes_argument(argv[i]) && argv[i + 1])
			i++;
		else if (argv[i][0] != '-')
			return argv[i];
	}
	return NULL;
}

/* "python" of "python3.11"; NULL: no interpreter. */
static const char *interpreter(const struct process_row *p, const char *program)
{
	static const char *const names[] = {"python", "java", "node", "perl", "ruby", "php", "bash", "dash", "sh"};

	if (p->runtime == RT_PYTHON || p->runtime == RT_JAVA || p->runtime == RT_NODE)
		return runtime_kind_name(p->runtime);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		size_t n = strlen(names[i]);
		if (strncmp(program, names[i], n) == 0 && strspn(program + n, "0123456789.") == strlen(program + n))
			return strcmp(names[i], "dash") == 0 ? "sh" : names[i];
	}
	return NULL;
}

char *diff_command_name(const struct process_row *p)
{
	const char *comm = p->comm && *p->comm ? p->comm : "?";
	const char *program = p->exe && *p->exe ? base_name(p->exe) : comm;
	const char *runtime = interpreter(p, program), *target = runtime ? runtime_target(p->cmdline) : NULL;
	char *name = NULL;
	int n;

	if (target)
		n = asprintf(&name, "%s:%s", runtime, base_name(target));
	else if (runtime)
		n = asprintf(&name, "%s", runtime);
	else if (strncmp(comm, program, strlen(comm)) != 0) /* it gave itself a name */
		n = asprintf(&name, "%s:%s", program, comm);
	else
		n = asprintf(&name, "%s", program);
	return n < 0 ? NULL : name;
}

/* Drops digits with the dots, dashes and underscores before them, and the words that mark a variant. */
char *diff_command_stem(const char *command)
{
	static const char *const words[] = {"new",    "old",   "base",	   "fixed", "broken",
					    "before", "after", "baseline", "main",  "head"};
	char *stem = strdup(command), *out = stem;

	if (!stem)
		return NULL;
	for (const char *c = command; *c;) {
		size_t mark = strspn(c, "._-"), word = 0;
		if (isdigit((unsigned char)c[mark])) {
			c += mark + strspn(c + mark, "0123456789");
			continue;
		}
		for (size_t i = 0; mark && !word && i < sizeof words / sizeof *words; i++) {
			size_t n = strlen(words[i]);
			if (strncmp(c + mark, words[i], n) == 0 && !isalnum((unsigned char)c[mark + n]))
				word = n;
		}
		if (word)
			c += mark + word;
		else
			*out++ = *c++;
	}
	*out = 0;
	return stem;
}
