/* SPDX-License-Identifier: Apache-2.0
 *
 * One observation from start to end: what run and record share. In: what to observe and for how long; out: a profile, handed to
 * `deliver` as soon as the observation ends, and the exit status of the contract.
 *
 * The target comes first. With a command, whatever fails in lockstep after the command's start is told and the command goes on;
 * lockstep waits for it and passes its status.
 */
#ifndef LOCKSTEP_SESSION_H
#define LOCKSTEP_SESSION_H

#include "aggregate/profile.h"
#include "sampler/err.h"

#include <stdbool.h>
#include <stdint.h>

struct session_options {
	const char *backend; /* "auto", "kernel", "user", "replay" */
	char **command;	     /* NULL-terminated; NULL: attach to pids, or replay */
	const int32_t *pids;
	size_t n_pids;
	const char *replay_path; /* a recorded event stream instead of a target */
	const char *record_path; /* write the event stream there too; NULL: no */
	uint32_t frequency_hz;
	uint64_t duration_ns; /* 0: until the target ends or the user says so */
	bool quiet, verbose;
};

/* Why the observation ended. */
enum session_end { SESSION_TARGET_ENDED, SESSION_DURATION, SESSION_INTERRUPTED, SESSION_FAILED };

/* Told once, with the whole profile. Prints its own results; returns 0, or -errno with a sentence that the session prints. */
typedef int (*session_deliver_fn)(void *ctx, const struct profile *p, enum session_end end, struct err *err);

/* Returns the exit status; every error has been printed. */
int session_run(const struct session_options *opt, session_deliver_fn deliver, void *ctx);

#endif
