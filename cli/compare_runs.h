/* SPDX-License-Identifier: Apache-2.0
 *
 * Many runs of two commands, interleaved. In: the commands and how often; out: a profile and, when asked for, the work done of
 * each run. Each run is a `lockstep record` of its own, so that no run inherits memory, descriptors or tracing of the one before.
 */
#ifndef LOCKSTEP_COMPARE_RUNS_H
#define LOCKSTEP_COMPARE_RUNS_H

#include "aggregate/diff.h"
#include "sampler/err.h"

#include <regex.h>
#include <stdbool.h>
#include <stdint.h>

struct compare_plan {
	const char *command[2];		 /* base, new; for sh -c */
	uint32_t runs, warmup;		 /* per side */
	const char *backend, *frequency; /* as for record; NULL: its default */
	const char *keep;		 /* folder for the profiles; NULL: they are removed */
	const regex_t *work;		 /* line of the command's output that tells the work done; NULL: none */
	bool quiet;			 /* no progress */
};

struct compare_runs {
	struct diff_run *run[2]; /* n each; profiles and names are owned */
	uint32_t blocks;	 /* made so far */
	size_t n[2];
};

/* Runs all, A B B A. Stops at the first that fails, with the end of its output on stderr. Returns 0, -EINTR (interrupted by a
 * signal, *signal set), or -errno with a sentence. What was made so far must be released with compare_runs_fini. Called again with
 * the same plan, it makes as many runs more, without a warm-up. *r is zeroed before the first call. */
int compare_runs_make(struct compare_runs *r, const struct compare_plan *plan, int *signal, struct err *err);
void compare_runs_fini(struct compare_runs *r);

/* The work that a line of output tells: the number in the expression's first group, of the last line that matches; without a group
 * the number of lines that match. 0: none. */
double compare_work_in_output(const regex_t *re, const char *output);

#endif
