/* SPDX-License-Identifier: Apache-2.0
 *
 * What diff and compare share: rules, unit of work, outputs. In: options and runs of two sides; out: the report and the exit status
 * of the contract.
 */
#ifndef LOCKSTEP_GATE_H
#define LOCKSTEP_GATE_H

#include "aggregate/diff.h"
#include "cli/command.h"

#include <stdint.h>

enum {
	OPTION_FAIL_ON = OPTION_OWN,
	OPTION_WORK,
	OPTION_WORK_SYSCALLS,
	OPTION_PER,
	OPTION_SAME_MACHINE,
	OPTION_JSON,
	OPTION_MARKDOWN,
	OPTION_JUNIT,
	OPTION_SUMMARY,
	OPTION_FOLDED,
	OPTION_TOP,
	OPTION_GATE_OWN,
};

#define GATE_WORK_OPTIONS                                                                                                        \
	{OPTION_WORK, "work", "N[:M]", "units of work done by a run (of BASE:NEW)", NULL},                                       \
	{                                                                                                                        \
		OPTION_WORK_SYSCALLS, "work-from-syscalls", "X", "a unit is a write or read, as write:pipe", NULL                \
	}
#define GATE_OUTPUT_OPTIONS                                                                                                      \
	{OPTION_JSON, "json", NULL, "print JSON (lockstep-diff/1) instead of text", NULL},                                       \
		{OPTION_MARKDOWN, "markdown", NULL, "print Markdown", NULL},                                                     \
		{'o', "output", "FILE", "print there instead of to standard output", NULL},                                      \
		{OPTION_JUNIT, "junit", "FILE", "write JUnit XML too, a test case per rule", NULL},                              \
	{                                                                                                                        \
		OPTION_SUMMARY, "summary", "FILE", "append Markdown there too", NULL                                             \
	}

struct gate {
	struct diff_rule *rules;
	size_t n_rules;
	double work[2]; /* base, new; 0: unknown */
	struct diff_work work_calls;
	bool has_work_calls;
	struct diff_options diff;
	enum { GATE_TEXT = 0, GATE_JSON, GATE_MARKDOWN } format;
	const char *output, *junit, *summary, *folded, *color;
	uint32_t top;
};

void gate_init(struct gate *g);
void gate_fini(struct gate *g);
/* Takes one of the options above. Returns 0, -1 with a sentence, or 1 when it is none of them. */
int gate_take_option(struct gate *g, int id, const char *value, struct err *err);
/* Whether the outputs can be written, before the work. Returns -1, or the exit status after telling what is wrong. */
int gate_check(const struct gate *g, const struct command *cmd);
/* Units of work of one run: as given, or as counted in its profile. Returns 0, or -EINVAL with a sentence. */
int gate_work(const struct gate *g, bool fresh, const struct profile *p, const char *name, double *work, struct err *err);
/* Whether a rule on times is close, so that more runs would tell (diff_is_close). False when it cannot be compared: gate_finish says why. */
bool gate_is_close(const struct gate *g, const struct diff_run *base, size_t n_base, const struct diff_run *fresh, size_t n_new);
/* Compares, judges, prints. Returns the exit status; errors have been printed. */
int gate_finish(const struct gate *g, const struct diff_run *base, size_t n_base, const struct diff_run *fresh, size_t n_new);

#endif
