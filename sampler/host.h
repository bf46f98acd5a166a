/* SPDX-License-Identifier: Apache-2.0
 *
 * What this host lets us do, as facts and advice: one line each. In: /proc, /sys, trial calls without side effects; out: a list for
 * `lockstep doctor`.
 */
#ifndef LOCKSTEP_HOST_H
#define LOCKSTEP_HOST_H

#include <stdbool.h>
#include <stddef.h>

enum host_verdict { HOST_GOOD = 0, HOST_LESS, HOST_MISSING };

struct host_fact {
	const char *name;	/* "BTF", "ptrace_scope" */
	enum host_verdict verdict;
	char value[128];
	char advice[256]; /* what it costs and how to get more; "" when good */
};

#define HOST_FACTS_MAX 16
/* Fills facts; returns how many. Never fails. */
size_t host_facts(struct host_fact facts[HOST_FACTS_MAX]);

#endif
