/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the diff share: the fact table, interned strings, and the steps that diff_new takes.
 */
#ifndef LOCKSTEP_DIFF_INTERNAL_H
#define LOCKSTEP_DIFF_INTERNAL_H

#include "aggregate/diff.h"

/* Metrics that only facts have: what pairs of processes did, from edges. process: who waited or wrote, peer: the other. */
enum { FACT_WAITS_ON = DIFF_METRIC_COUNT, FACT_BLOCKED_ON, FACT_MESSAGES_TO, FACT_BYTES_TO };

struct diff_fact {
	uint32_t metric, run; /* run: index over base and then new */
	struct diff_key key;
	double value; /* not normalised */
};

/* Strings -> 0, 1, 2, ... */
struct intern {
	char **strings;
	uint32_t n, capacity;
	uint32_t *slots; /* index + 1 */
	uint32_t n_slots;
};
uint32_t intern_add(struct intern *in, const char *s); /* DIFF_ANY: out of memory */
void intern_fini(struct intern *in);		       /* frees the strings too, unless taken (strings = NULL) */

struct diff_builder {
	struct diff *d;
	size_t facts_capacity;
	struct intern functions, stacks;
	/* per run: the role of each process row, and process rows sorted by pid */
	uint32_t **role_of;
	uint32_t **by_pid;
	bool out_of_memory;
};

const struct diff_run *diff_run_at(const struct diff *d, size_t run); /* base first */

/* diff_command.c: what a process runs, without the noise: "worker", "python:serve.py". To be freed; NULL out of memory. */
char *diff_command_name(const struct process_row *p);
/* The same without version numbers and hashes, to recognise renamed ones. */
char *diff_command_stem(const char *command);

/* diff_roles.c: fills d->roles, b->role_of. Returns 0 or -ENOMEM. */
int diff_roles_build(struct diff_builder *b);
/* Index of the first process row of a pid; IX_NONE unknown. */
uint32_t diff_row_of_pid(const struct diff_builder *b, size_t run, int32_t pid);
/* Role of a pid in a run; DIFF_ANY unknown. */
uint32_t diff_role_of_pid(const struct diff_builder *b, size_t run, int32_t pid);

/* diff_facts.c. Returns 0 or -ENOMEM. */
int diff_facts_build(struct diff_builder *b);

/* diff_changes.c: d->changes, d->cause. Returns 0 or -ENOMEM. */
int diff_changes_build(struct diff *d);
/* d->cause and d->cause_hit, from the changes and from what broke a rule. */
void diff_choose_cause(struct diff *d);
/* diff_findings.c: d->findings. Returns 0 or -ENOMEM. */
int diff_findings_build(struct diff_builder *b);

/* diff_fair.c: d->notes, d->unfair, d->norm. Returns 0 or -errno with a sentence. */
int diff_fair_check(struct diff *d, const struct diff_options *opt, struct err *err);

/* Dimensions that a metric can be split by. */
unsigned diff_dims_of(enum diff_metric m);
const char *diff_dim_name(unsigned bit); /* "process", "peer", ... */
/* The value by which a run's facts are divided. */
double diff_divisor(const struct diff_run *r, enum diff_norm norm);

#endif
