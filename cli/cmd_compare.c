/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep compare: runs two commands in turn, then diff.
 */
#include "cli/compare_runs.h"
#include "cli/gate.h"
#include "cli/message.h"
#include "cli/parse.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	OPTION_BASE = OPTION_GATE_OWN,
	OPTION_NEW,
	OPTION_RUNS,
	OPTION_WARMUP,
	OPTION_KEEP,
	OPTION_WORK_OUTPUT,
	OPTION_COMPARE_BACKEND,
	OPTION_NO_EXTEND
};

enum { DEFAULT_RUNS = 5, MAX_RUNS = 1000 };

/* User CPU time rests on samples, and a rule on it wants its noise at 1 to 2 %: short runs need many more than a report does. */
#define DEFAULT_FREQUENCY "1999"

struct request {
	struct gate gate;
	struct compare_plan plan;
	regex_t work;
	bool has_work, no_extend;
};

static int set_command(struct request *q, unsigned side, const char *value, struct err *err)
{
	if (q->plan.command[side])
		return err_set(err, -1, "is given twice; put it all in one pair of quotes");
	if (!value[strspn(value, " \t\n")])
		return err_set(err, -1, "the command is empty");
	q->plan.command[side] = value;
	return 0;
}

static int set_count(const char *value, uint32_t *n, uint32_t least, struct err *err)
{
	char *end;
	long v = strtol(value, &end, 10);

	if (*end || end == value || v < (long)least || v > MAX_RUNS)
		return err_set(err, -1, "'%s': give a number from %u to %d", value, least, MAX_RUNS);
	*n = (uint32_t)v;
	return 0;
}

static int set_work(struct request *q, const char *value, struct err *err)
{
	int rc;

	if (q->has_work)
		return err_set(err, -1, "is given twice");
	rc = regcomp(&q->work, value, REG_EXTENDED);
	if (rc != 0) {
		char why[200];
		regerror(rc, &q->work, why, sizeof why);
		return err_set(err, -1, "'%s' is no extended regular expression: %s", value, why);
	}
	q->has_work = true;
	q->plan.work = &q->work;
	return 0;
}

static int take_option(void *ctx, int id, const char *value, struct err *err)
{
	struct request *q = ctx;
	uint32_t hz;
	int rc = gate_take_option(&q->gate, id, value, err);

	if (rc <= 0)
		return rc;
	switch (id) {
	case OPTION_BASE:
	case OPTION_NEW:
		return set_command(q, id == OPTION_NEW, value, err);
	case OPTION_RUNS:
		return set_count(value, &q->plan.runs, 1, err);
	case OPTION_WARMUP:
		return set_count(value, &q->plan.warmup, 0, err);
	case OPTION_NO_EXTEND:
		q->no_extend = true;
		return 0;
	case OPTION_KEEP:
		q->plan.keep = value;
		return 0;
	case OPTION_WORK_OUTPUT:
		return set_work(q, value, err);
	case OPTION_COMPARE_BACKEND:
		q->plan.backend = value;
		return 0;
	case 'F':
		q->plan.frequency = value;
		return parse_frequency(value, &hz, err);
	case 'q':
		q->plan.quiet = true;
		return 0;
	}
	return err_set(err, -1, "option %d is not handled", id);
}

static int read_request(struct request *q, const struct command *cmd, int argc, char **argv)
{
	int first, status;

	gate_init(&q->gate);
	q->plan.runs = DEFAULT_RUNS;
	q->plan.warmup = 1;
	q->plan.frequency = DEFAULT_FREQUENCY;
	status = command_read_options(cmd, argc, argv, take_option, q, &first);
	if (status >= 0)
		return status;
	if (first < argc)
		return message_usage(cmd->name, "'%s' belongs to no option; quote the commands: --base 'CMD ARG' --new 'CMD ARG'",
				     argv[first]);
	if (!q->plan.command[0] || !q->plan.command[1])
		return message_usage(cmd->name, "%s is missing; give --base 'CMD' and --new 'CMD'",
				     q->plan.command[0] ? "--new" : "--base");
	if (q->has_work && (q->gate.work[0] > 0 || q->gate.has_work_calls))
		return message_usage(cmd->name, "--work-from-output and another --work option; give one of them");
	if (q->gate.n_rules && q->plan.runs < 4)
		return message_usage(cmd->name, "--fail-on needs --runs 4 or more: fewer cannot tell change from chance");
	return gate_check(&q->gate, cmd);
}

static int count_work(const struct request *q, struct compare_runs *r, struct err *err)
{
	int rc = 0;

	for (unsigned side = 0; side < 2 && !q->has_work; side++)
		for (size_t i = 0; i < r->n[side] && rc == 0; i++) {
			struct diff_run *run = &r->run[side][i];
			rc = gate_work(&q->gate, side, run->profile, run->name, &run->work, err);
		}
	return rc;
}

static int make_runs(const struct request *q, struct compare_runs *r, int *sig, struct err *err)
{
	int rc = compare_runs_make(r, &q->plan, sig, err);

	return rc == 0 ? count_work(q, r, err) : rc;
}

static int run(const struct command *cmd, int argc, char **argv)
{
	struct request q = {0};
	struct compare_runs runs = {0};
	struct err err = {""};
	int status = read_request(&q, cmd, argc, argv), sig = 0, rc;

	if (status >= 0)
		goto out;
	rc = make_runs(&q, &runs, &sig, &err);
	if (rc == 0 && !q.no_extend && gate_is_close(&q.gate, runs.run[0], runs.n[0], runs.run[1], runs.n[1])) {
		q.gate.diff.note = "a rule on times was close, so as many runs again were made";
		rc = make_runs(&q, &runs, &sig, &err);
	}
	if (rc == 0) {
		status = gate_finish(&q.gate, runs.run[0], runs.n[0], runs.run[1], runs.n[1]);
	} else if (rc == -EINTR && sig) {
		status = 128 + sig;
	} else {
		message_error("compare: %s", err.msg);
		status = EXIT_CANNOT;
	}
	compare_runs_fini(&runs);
out:
	if (q.has_work)
		regfree(&q.work);
	gate_fini(&q.gate);
	return status;
}

static const struct command_option options[] = {
	{OPTION_BASE, "base", "CMD", "the command as it was, for sh -c", NULL},
	{OPTION_NEW, "new", "CMD", "the command as it is now", NULL},
	{OPTION_RUNS, "runs", "N", "runs of each, 5 by default; 4 or more for verdicts", NULL},
	{OPTION_FAIL_ON, "fail-on", "EXPR", "exit 1 when it holds; 'default': steady ones", NULL},
	GATE_WORK_OPTIONS,
	{OPTION_WORK_OUTPUT, "work-from-output", "RE", "the work is the number in (...) of CMD's output", NULL},
	GATE_OUTPUT_OPTIONS,
	{OPTION_KEEP, "keep", "DIR", "keep the profiles there", NULL},
	{OPTION_COMPARE_BACKEND, "backend", "NAME", "auto, kernel or user", "auto|kernel|user"},
	{OPTION_NO_EXTEND, "no-extend", NULL, NULL, NULL},
	{OPTION_WARMUP, "warmup", "N", NULL, NULL},
	{OPTION_PER, "per", "UNIT", NULL, "run|second|work"},
	{OPTION_FOLDED, "folded", "FILE", NULL, NULL},
	{OPTION_TOP, "top", "N", NULL, NULL},
	{'F', "frequency", "HZ", NULL, NULL},
	{'q', "quiet", NULL, NULL, NULL},
	{OPTION_COLOR, "color", "WHEN", NULL, "auto|always|never"},
	{0},
};

const struct command cmd_compare = {
	.name = "compare",
	.summary = "run two commands in turn, compare, fail on regressions",
	.usage = "compare --base 'CMD' --new 'CMD' [OPTIONS]",
	.about = "Runs both A B B A after a warm-up, with no input, then tells what differs.",
	.options = options,
	.examples = {"lockstep compare --base ./app.old --new ./app --fail-on default",
		     "lockstep compare --base 'make old' --new 'make new' --fail-on 'cpu > 5%'"},
	.run = run,
};
