/* SPDX-License-Identifier: Apache-2.0
 *
 * Option values: text from the command line -> checked numbers. Every function returns 0, or -EINVAL (or -ESRCH, -EPERM for PIDs)
 * with a sentence that names the value and what would be right.
 */
#ifndef LOCKSTEP_PARSE_H
#define LOCKSTEP_PARSE_H

#include "sampler/err.h"

#include <stddef.h>
#include <stdint.h>

#define PARSE_MAX_SECONDS (366.0 * 86400) /* a year: beyond that a duration is a slip, and ns still fit with room */
#define PARSE_MAX_HZ 10000		  /* 100 us: finer than that the sampling itself would be what is measured */

/* Seconds, a decimal number with an optional unit s, m or h, above 0 and at most PARSE_MAX_SECONDS -> nanoseconds. */
int parse_duration(const char *text, uint64_t *ns, struct err *err);
/* Samples a second, 0 (none) to PARSE_MAX_HZ. */
int parse_frequency(const char *text, uint32_t *hz, struct err *err);
/* A number of rows, 1 to 100000. */
int parse_count(const char *text, uint32_t *count, struct err *err);
/* One PID as a number above 0; whether it exists is not asked. */
int parse_pid(const char *text, int32_t *pid, struct err *err);
/* Adds the PIDs of a comma list to *pids (realloc'ed, the caller frees, also on failure), leaving out those already in. */
int parse_pids(const char *text, int32_t **pids, size_t *n, struct err *err);
/* Whether a process can be attached to: it lives, is a process (not a thread's id), no kernel thread, neither lockstep itself nor
 * an init that holds all of this machine. Reads /proc. */
int check_target_pid(int32_t pid, struct err *err);

#endif
