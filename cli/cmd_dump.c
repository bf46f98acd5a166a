/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep dump: one look at every thread of a process tree, without stopping any. It replaces gdb -batch -ex 'thread apply all bt',
 * jstack and py-spy dump in one.
 */
#include "aggregate/aggregator.h"
#include "cli/command.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/parse.h"
#include "cli/terminal.h"
#include "report/dump.h"
#include "sampler/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OPTION_JSON = OPTION_OWN };

struct dump_request {
	int32_t *pids;
	size_t n_pids;
	bool json;
	const char *output, *color;
};

struct collector {
	struct aggregator *aggregator;
	struct dump_thread *threads;
	size_t n, capacity;
};

static void collect(void *ctx, const struct event *ev)
{
	struct collector *c = ctx;
	aggregator_event(c->aggregator, ev);
	if (ev->kind != EV_TICK)
		return;
	if (c->n == c->capacity) {
		size_t capacity = c->capacity ? 2 * c->capacity : 256;
		struct dump_thread *more = realloc(c->threads, capacity * sizeof *more);
		if (!more)
			return;
		c->threads = more;
		c->capacity = capacity;
	}
	c->threads[c->n++] = (struct dump_thread){.tid = ev->tick.tid,
						  .running = ev->tick.state != TICK_BLOCKED,
						  .in_state_ns = ev->tick.in_state_ns,
						  .holder_tid = ev->tick.peer_tid};
}

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* One tick of the user backend: it needs no more than a debugger does, and takes no waker into account. */
static int look(const struct dump_request *q, struct collector *c, struct profile **out, struct err *err)
{
	const struct backend_ops *ops;
	struct backend_probe probe;
	struct backend *b = NULL;
	const struct backend_options opt = {.root_pids = q->pids, .n_root_pids = q->n_pids, .moment = true};
	struct aggregator_options ao = {.cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN)};

	int rc = backend_choose("user", &ops, &probe, err);
	if (rc)
		return rc;
	c->aggregator = aggregator_new(&ao, err);
	if (!c->aggregator)
		return -ENOMEM;
	rc = ops->open(&b, &opt, err);
	if (!rc) {
		rc = ops->drain(b, collect, c, err);
		rc = rc < 0 ? rc : ops->finish(b, collect, c, err);
		rc = rc < 0 ? rc : aggregator_profile(c->aggregator, out, err);
	}
	if (b)
		ops->close(b);
	return rc;
}

static int write_dump(const struct dump_request *q, const struct dump *d, struct err *err)
{
	FILE *out = output_open(q->output, err);
	if (!out)
		return -EIO;
	struct report_options ro = {.width = terminal_width(out), .color = terminal_color(out, q->color)};
	int rc = q->json ? report_dump_json(d, &ro, out, err) : report_dump_text(d, &ro, out, err);
	int rc2 = output_close(out, q->output, err);
	return rc ? rc : rc2;
}

static int take_option(void *ctx, int id, const char *value, struct err *err)
{
	struct dump_request *q = ctx;
	switch (id) {
	case 'p':
		return parse_pids(value, &q->pids, &q->n_pids, err);
	case OPTION_JSON:
		q->json = true;
		return 0;
	case 'o':
		q->output = value;
		return 0;
	case OPTION_COLOR:
		q->color = value;
		return 0;
	}
	return err_set(err, -1, "option %d is not handled", id);
}

static int run_request(const struct command *cmd, const struct dump_request *q)
{
	struct err err = {0};
	struct collector c = {0};
	struct profile *p = NULL;
	double began = now_ms();
	int rc = 0;

	for (size_t i = 0; i < q->n_pids && !rc; i++)
		rc = check_target_pid(q->pids[i], &err);
	if (!rc)
		rc = look(q, &c, &p, &err);
	if (!rc) {
		struct dump d = {.profile = p, .threads = c.threads, .n_threads = c.n, .took_ms = now_ms() - began};
		rc = write_dump(q, &d, &err);
	}
	profile_free(p);
	aggregator_free(c.aggregator);
	free(c.threads);
	if (rc)
		message_error("%s", err.msg);
	(void)cmd;
	return rc ? EXIT_CANNOT : EXIT_FINE;
}

static int run(const struct command *cmd, int argc, char **argv)
{
	struct dump_request q = {0};
	int first, status = command_read_options(cmd, argc, argv, take_option, &q, &first);

	if (status < 0 && argc != first)
		status = message_usage(cmd->name, "'%s' is not expected; give processes by -p PID", argv[first]);
	else if (status < 0 && !q.n_pids)
		status = message_usage(cmd->name, "which process? Give -p PID");
	else if (status < 0)
		status = run_request(cmd, &q);
	free(q.pids);
	return status;
}

static const struct command_option options[] = {
	{'p', "pid", "PID[,PID]", "the processes; their descendants are shown too", NULL},
	{OPTION_JSON, "json", NULL, "as JSON (schema lockstep-dump/1)", NULL},
	{'o', "output", "FILE", "write there instead of to standard output", NULL},
	COMMAND_COLOR_OPTION,
	{0},
};

const struct command cmd_dump = {
	.name = "dump",
	.summary = "every thread's stack and wait, once, now, without stopping anything",
	.usage = "dump -p PID[,PID] [OPTIONS]",
	.about = "Shows of every thread of a process tree in what state it is, for how long,\n"
		 "on what and whom it waits, and its stack: native, Python and Java.",
	.options = options,
	.examples = {"lockstep dump -p $(pgrep -o postgres)", "lockstep dump -p 4242 --json | jq '.processes[].threads[].state'"},
	.run = run,
};
