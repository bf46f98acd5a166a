/* SPDX-License-Identifier: Apache-2.0
 *
 * The order matters and is the whole point of this file: the command is forked first, of a lockstep that has opened nothing yet;
 * the backend is opened around its waiting process; only then may it exec. Afterwards: sleep, drain, look for an end; finish;
 * aggregate; deliver; wait for the command; exit as it did.
 */
#include "cli/session.h"

#include "aggregate/aggregator.h"
#include "cli/command.h"
#include "cli/launch.h"
#include "cli/message.h"
#include "cli/session_meta.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "sampler/backend.h"
#include "sampler/replay/recorder.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct session {
	const struct session_options *opt;
	struct launch cmd;   /* used when opt->command */
	int observed_status; /* wait status of the command as the backend saw it; -1 */
	const struct backend_ops *ops;
	struct backend_probe probe;
	struct backend *backend;
	struct aggregator *aggregator;
	struct replay_recorder *recorder; /* NULL: the stream is not kept */
	time_t started;
	uint64_t open_ns, n_events, n_lost, told_ns;
	enum session_end end;
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The failure status of lockstep itself: scripts that wrap a command tell it from the command's own by 125. */
static int own_failure(const struct session *s)
{
	return s->opt->command ? EXIT_LOCKSTEP : EXIT_CANNOT;
}

static void on_event(void *ctx, const struct event *ev)
{
	struct session *s = ctx;

	s->n_events++;
	if (ev->kind == EV_PROCESS_EXIT && s->opt->command && ev->process_exit.pid == s->cmd.pid)
		s->observed_status = ev->process_exit.status;
	if (ev->kind == EV_LOST)
		s->n_lost += ev->lost.events;
	if (s->recorder)
		replay_recorder_event(s->recorder, ev);
	aggregator_event(s->aggregator, ev);
}

static int open_backend(struct session *s, struct err *err)
{
	const struct session_options *opt = s->opt;
	const int32_t child = s->cmd.pid;
	const struct backend_options bo = {
		.root_pids = opt->command ? &child : opt->pids,
		.n_root_pids = opt->command ? 1 : opt->n_pids,
		.wrapped = opt->command != NULL,
		.frequency_hz = opt->frequency_hz,
		.replay_path = opt->replay_path,
		.verbose = opt->verbose,
	};
	struct aggregator_options ao = {.cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN)};
	if (opt->replay_path)
		ao.window_duty_percent = 100; /* no target to spare, and times that are not this moment's: look at all of it */

	int rc = backend_choose(opt->backend, &s->ops, &s->probe, err);
	if (rc)
		return rc;
	s->aggregator = aggregator_new(&ao, err);
	if (!s->aggregator)
		return -ENOMEM;
	if (opt->record_path && (rc = replay_recorder_open(&s->recorder, opt->record_path, err)))
		return rc;
	s->started = time(NULL);
	rc = s->ops->open(&s->backend, &bo, err);
	if (rc)
		return rc;
	s->open_ns = now_ns();
	if (opt->verbose)
		message_note("backend %s%s%s", s->ops->name, s->probe.costs[0] ? ": " : "", s->probe.costs);
	return 0;
}

/* A line that is rewritten each second while attached. With a command the terminal is the command's. */
static void show_progress(struct session *s, uint64_t now)
{
	if (s->opt->quiet || s->opt->command || s->opt->replay_path || now - s->told_ns < 1000000000u ||
	    !terminal_is_interactive())
		return;
	s->told_ns = now;
	fprintf(stderr, "\r\033[Kobserving %.0f s, %" PRIu64 " events, %" PRIu64 " lost; Ctrl-C ends",
		(double)(now - s->open_ns) / 1e9, s->n_events, s->n_lost);
}

static void clear_progress(const struct session *s)
{
	if (s->told_ns)
		fputs("\r\033[K", stderr);
}

/* Whether the observation is over, and why. alive() may cost a look at each process: not more than ten times a second. */
static bool over(struct session *s, uint64_t now, uint64_t *alive_checked_ns)
{
	const struct session_options *opt = s->opt;

	if (opt->command && launch_exec_ready(&s->cmd) && launch_ended(&s->cmd, s->observed_status))
		return s->end = SESSION_TARGET_ENDED, true;
	if (opt->duration_ns && now - s->open_ns >= opt->duration_ns)
		return s->end = SESSION_DURATION, true;
	if (signals_end_asked())
		return s->end = SESSION_INTERRUPTED, true;
	if (opt->command || (!opt->replay_path && now - *alive_checked_ns < 100000000u))
		return false;
	*alive_checked_ns = now;
	return s->end = SESSION_TARGET_ENDED, !s->ops->alive(s->backend);
}

static int sleep_ms(const struct session *s, uint64_t now)
{
	int ms = s->ops->poll_ms(s->backend);

	if (ms < 0 || ms > SIGNALS_POLL_MAX_MS)
		ms = SIGNALS_POLL_MAX_MS;
	if (s->opt->duration_ns) {
		uint64_t left = s->open_ns + s->opt->duration_ns - now;
		if (left / 1000000u < (uint64_t)ms)
			ms = (int)(left / 1000000u) + 1;
	}
	return ms;
}

static void wait_for_command(struct session *s, int timeout_ms)
{
	struct pollfd fds[2] = {{.fd = s->cmd.pidfd, .events = POLLIN}, {.fd = s->cmd.exec_fd, .events = POLLIN}};

	poll(fds, 2, timeout_ms);
	if (s->opt->command)
		signals_forward(s->cmd.pid);
}

static void observe(struct session *s)
{
	uint64_t alive_checked_ns = now_ns();
	struct err err = {""};

	for (;;) {
		int rc = s->ops->drain(s->backend, on_event, s, &err);
		uint64_t now = now_ns();
		if (rc < 0) {
			clear_progress(s);
			message_error("%s; the observation ended here%s", err.msg,
				      s->opt->command ? ", the command goes on" : "");
			s->end = SESSION_FAILED;
			return;
		}
		if (over(s, now, &alive_checked_ns))
			break;
		show_progress(s, now);
		wait_for_command(s, sleep_ms(s, now));
	}
	clear_progress(s);
}

/* Descendants that outlive the command (daemons, background jobs): they are told, not waited for. */
static void tell_survivors(const struct session *s, const struct profile *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_processes; i++) {
		const struct process_row *r = &p->processes[i];
		if (r->in_tree && !r->ended_ns && r->pid != s->cmd.pid)
			n += r->n_siblings ? r->n_siblings : 1;
	}
	if (n && !s->opt->quiet)
		message_note("the command ended; %zu of its descendants still run and are no longer observed", n);
}

static int finish(struct session *s, struct profile **out, struct err *err)
{
	int exit_status = s->opt->command && s->cmd.reaped ? launch_exit_status(&s->cmd) : -1;

	int rc = s->ops->finish(s->backend, on_event, s, err);
	if (rc)
		message_error("%s; the report covers what was seen until then", err->msg);
	rc = replay_recorder_close(s->recorder, err);
	s->recorder = NULL;
	if (rc)
		message_error("%s", err->msg);
	rc = aggregator_profile(s->aggregator, out, err);
	if (rc)
		return rc;
	rc = session_fill_meta(*out, s->opt, s->ops, s->probe.costs, s->started, exit_status, s->cmd.pid);
	return rc ? err_set(err, rc, "profile: out of memory") : 0;
}

static int finish_and_deliver(struct session *s, session_deliver_fn deliver, void *ctx)
{
	struct profile *p = NULL;
	struct err err = {""};

	int rc = finish(s, &p, &err);
	/* What the backend holds is no longer needed; the command (after -d) must not pay for it while the report is written. */
	s->ops->close(s->backend);
	s->backend = NULL;
	if (!rc) {
		if (s->opt->command && s->end == SESSION_TARGET_ENDED)
			tell_survivors(s, p);
		rc = deliver(ctx, p, s->end, &err);
	}
	if (rc)
		message_error("%s", err.msg);
	profile_free(p);
	return rc;
}

static int outlive_command(struct session *s)
{
	while (!launch_exec_ready(&s->cmd) || !launch_ended(&s->cmd, s->observed_status))
		wait_for_command(s, SIGNALS_POLL_MAX_MS);
	return launch_exit_status(&s->cmd);
}

/* Everything between the command's fork and the end. Returns the exit status. */
static int run_prepared(struct session *s, session_deliver_fn deliver, void *ctx)
{
	const struct session_options *opt = s->opt;
	struct err err = {""};

	if (open_backend(s, &err) || (opt->command && launch_release(&s->cmd, &err))) {
		message_error("%s", err.msg);
		return own_failure(s);
	}
	observe(s);
	if (opt->command && s->cmd.exec_errno) {
		launch_exec_sentence(&s->cmd, opt->command[0], &err);
		message_error("%s", err.msg);
		return launch_exit_status(&s->cmd);
	}
	if (opt->command && s->cmd.reaped)
		signals_command_ended();
	int rc = finish_and_deliver(s, deliver, ctx);
	int status = opt->command ? outlive_command(s) : EXIT_FINE;
	if (status == EXIT_FINE && (rc || (s->end == SESSION_FAILED && !opt->command)))
		return own_failure(s);
	return status;
}

int session_run(const struct session_options *opt, session_deliver_fn deliver, void *ctx)
{
	struct session s = {.opt = opt, .observed_status = -1};
	struct err err = {""};

	s.cmd.pidfd = s.cmd.gate_fd = s.cmd.exec_fd = -1;
	if (opt->command && launch_start(&s.cmd, opt->command, &err)) {
		message_error("%s", err.msg);
		return EXIT_LOCKSTEP;
	}
	if (opt->command)
		signals_for_command();
	else
		signals_for_attach();
	int status = run_prepared(&s, deliver, ctx);
	if (s.backend)
		s.ops->close(s.backend);
	replay_recorder_close(s.recorder, NULL);
	aggregator_free(s.aggregator);
	if (opt->command)
		launch_abandon(&s.cmd);
	return status;
}
