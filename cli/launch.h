/* SPDX-License-Identifier: Apache-2.0
 *
 * Starts CMD as our child, stopped just before its exec, so that a backend can be attached before CMD's first instruction. In:
 * argv; out: a PID that is known before the exec, a gate to open, and in the end CMD's exit status.
 *
 * The child is forked before lockstep opens anything or touches a signal, so it inherits exactly what lockstep was started with:
 * files, signal dispositions and mask, process group, terminal, environment, limits. Between fork and exec it only reads the gate.
 * Dies lockstep before the gate was opened, then CMD never runs.
 */
#ifndef LOCKSTEP_LAUNCH_H
#define LOCKSTEP_LAUNCH_H

#include "sampler/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct launch {
	pid_t pid;
	int pidfd;	 /* readable when CMD has ended; -1: the kernel has none, ask launch_ended now and then */
	int gate_fd;	 /* write end: one byte lets the child exec; -1 when used */
	int exec_fd;	 /* readable when the exec succeeded (end of file) or failed (its errno); -1 when read */
	int exec_errno;	 /* 0, or why CMD could not be executed */
	int wait_status; /* as from wait(2); valid when reaped */
	bool reaped;
};

/* Forks. Returns 0, or -errno with a sentence. argv[0] is looked up in PATH, as execvp does. */
int launch_start(struct launch *l, char *const argv[], struct err *err);
/* Lets the child exec. Returns at once: launch_exec_ready tells the outcome. Returns 0, or -errno when the child is gone. */
int launch_release(struct launch *l, struct err *err);
/* Reads the outcome of the exec if it is there (sets exec_errno, closes exec_fd). Returns true once it is known. */
bool launch_exec_ready(struct launch *l);
/* True once CMD has ended; reaps it. Does not block. A wait status that somebody else in this process has reaped (a ptrace loop
 * does) is taken from `observed_status` (from EV_PROCESS_EXIT; -1: unknown, then told as exit 0). Stops of a traced child are left
 * for their tracer. */
bool launch_ended(struct launch *l, int observed_status);
/* The exit status as a shell tells it: 0-255, 128+N for signal N, 126/127 when CMD could not be run/found. Valid after launch_ended. */
int launch_exit_status(const struct launch *l);
/* The sentence for a failed exec. */
void launch_exec_sentence(const struct launch *l, const char *command, struct err *err);
/* Before launch_release: ends the child without running CMD, and reaps it. Also closes what is open; harmless after the end. */
void launch_abandon(struct launch *l);

#endif
