/* SPDX-License-Identifier: Apache-2.0
 *
 * What rules of findings share. A rule is one file (finding_X.c) that ends in one `const struct finding_rule`, listed in
 * findings.c. In: the context (the profile plus look-ups made once); out: findings added to the context.
 *
 * How a rule decides: it estimates what a fix would win (the predicted speed-up, low..high) and multiplies evidence that is
 * only partly there into that gain (finding_ramp), so that a finding fades with its cause and no threshold is a cliff. findings.c
 * drops what would win less than FINDING_MIN_GAIN.
 */
#ifndef LOCKSTEP_FINDING_RULES_H
#define LOCKSTEP_FINDING_RULES_H

#include "aggregate/findings.h"
#include "aggregate/profile.h"

#include <stdbool.h>

/* Below this predicted gain nobody would act, and the run-to-run noise of real programs begins: no finding. */
#define FINDING_MIN_GAIN 0.05
/* A predicted range is never told wider than this factor: a wider one is centred and confidence lowered instead. */
#define FINDING_MAX_SPREAD 1.5

/* One direction of a conversation: `waiter` waits, the other ends it. Sums over channels, classes and call sites. */
struct talk_side {
	uint64_t count, blocked_ns, run_queue_ns;
	uint64_t by_class[WC_COUNT]; /* counts */
	struct size_hist bytes;	     /* the other's messages */
	struct hist hist;
	size_t top_edge;    /* index of the edge with most waits; SIZE_MAX none */
	uint64_t top_count;
};

/* A conversation: all that two processes wait for each other, whatever the channels ("a conversation is a pair, not a pipe"). */
struct talk {
	int32_t pid[2];		 /* ascending */
	struct talk_side side[2]; /* side[i]: pid[i] waits for pid[!i] */
	const struct pair_row *pair; /* NULL: not in the analysed windows */
	bool in_tree;		 /* both */
	enum confidence confidence;
	bool estimated;
};

/* What is derived once per process. */
struct process_info {
	const struct process_row *row;
	uint64_t group;		   /* processes of one role have one number (finding_groups.c) */
	uint64_t command;	   /* processes of one command and parent have one number, whatever they do */
	size_t lead, next;	   /* index of the first process of its role, and of the next one; SIZE_MAX at the end */
	uint32_t role_size;	   /* processes of its role, folded short-lived ones counted */
	double lifetime_ns;	 /* under observation, wall */
	double user_ns, kernel_ns; /* on-CPU time split by samples */
	uint64_t samples;
	size_t top_cpu;		 /* index of its heaviest cpu row with a user frame; SIZE_MAX none */
	const struct load_row *load;
	double critical_ns[BLAME_COUNT]; /* its part of the critical path */
	double blamed_ns[BLAME_COUNT];	 /* others' waiting that ends here */
};

struct finding_context {
	struct profile *p;
	double wall_ns, window_ns;
	double path_ns; /* length of the critical path, without stretches in which others on the machine had the CPUs */
	double demand;	/* CPUs that the tree wants: its threads running or runnable, mean over the wall time */
	struct process_info *processes; /* parallel to p->processes */
	size_t *by_pid;			/* indexes, sorted by pid */
	struct talk *talks;
	size_t n_talks;
	struct finding *found;
	double *gain; /* predicted gain of each, for ranking: (low + high) / 2 - 1, or its own measure */
	size_t n_found, cap_found;
	bool out_of_memory;
};

struct finding_rule {
	enum finding_kind kind;
	void (*run)(struct finding_context *c);
};

int finding_context_init(struct finding_context *c, struct profile *p); /* 0 or -ENOMEM */
void finding_context_fini(struct finding_context *c);

int finding_group(struct finding_context *c);	       /* part of init: 0, or -1 out of memory */

const struct process_info *finding_process(const struct finding_context *c, int32_t pid); /* NULL unknown */
const struct talk *finding_talk(const struct finding_context *c, int32_t a, int32_t b);	  /* NULL: they never waited for each other */

/* 0 at or below lo, 1 at or above hi, linear between; lo > hi falls instead. */
double finding_ramp(double x, double lo, double hi);
/* 0: the tree wants no more CPUs than there are; 1: it clearly wants more. Decides whose run-queue time is. */
double finding_own_demand(const struct finding_context *c);

/* A new finding of this kind, with neutral values; NULL: out of memory (noted in the context). Valid until the next one. */
struct finding *finding_new(struct finding_context *c, enum finding_kind kind);
void finding_drop_last(struct finding_context *c);
/* Predicted speed-up of the whole run: low..high, clamped to the widest spread told; also the rank. */
void finding_predict(struct finding_context *c, struct finding *f, double low, double high);
/* Rank without a predicted speed-up. */
void finding_rank(struct finding_context *c, struct finding *f, double gain);
void finding_add_pid(struct finding_context *c, struct finding *f, int32_t pid);
void finding_add_channel(struct finding_context *c, struct finding *f, uint32_t channel);
void finding_add_evidence(struct finding_context *c, struct finding *f, const char *label, int32_t pid, uint32_t stack_ix);
/* Sets a string of the finding (title, where, advice). */
void finding_say(struct finding_context *c, char **field, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Lowers confidence for loss, sampling and thin evidence. */
void finding_weigh(const struct finding_context *c, struct finding *f, bool estimated, uint64_t observations);

/* A process's own share of the critical path; finding_critical: with its siblings. */
static inline double finding_path(const struct finding_context *c, const struct process_info *p, enum blame_kind kind)
{
	double share = c->path_ns > 0 ? p->critical_ns[kind] / c->path_ns : 0;
	return share < 1 ? share : 1;
}
/* Shares of the analysed windows' wall time (0..1 for the critical path; waits of many may exceed 1). */
double finding_critical(const struct finding_context *c, enum blame_kind kind, int32_t pid); /* a process and its siblings; 0: all */
double finding_parallelism(const struct finding_context *c); /* mean number of threads of the tree running, while any runs */
double finding_busy(const struct finding_context *c, int32_t pid);   /* share of the windows in which the process ran */
double finding_next_busiest(const struct finding_context *c, int32_t pid); /* of the others in the tree, the same share */
/* Processes other than pid that waited for at least a twentieth of the windows because pid did `kind`. Writes at most max pids,
 * returns how many there are (max 64). */
unsigned finding_victims(const struct finding_context *c, enum blame_kind kind, int32_t pid, int32_t *victims, unsigned max);

/* Most of a process's CPU samples at one source line of its own code, kernel leaves left out. Returns the share of all its samples (0:
 * none), *stack_ix a stack that shows it. */
double finding_hot_line(const struct finding_context *c, int32_t pid, uint32_t *stack_ix, uint32_t *frame_ix);
/* The process's heaviest on-CPU stack, by its own code; 0 when not sampled. */
uint32_t finding_hot_stack(const struct finding_context *c, int32_t pid);
/* The sample fell into the kernel, or into the C library's wrapper on the way there. */
bool finding_is_system_call(const struct frame_row *leaf);
/* On-CPU time of the process outside the function of this frame and what it calls, and outside system calls, ns; < 0 when too few
 * samples tell. */
double finding_cpu_outside(const struct finding_context *c, int32_t pid, uint32_t frame_ix);
/* The wait row of this process and class with most time (blocked and idle); NULL none. WC_COUNT: any class. */
const struct wait_row *finding_top_wait(const struct finding_context *c, int32_t pid, enum wait_class cls);

/* Words for people. Each returns its argument buf, NUL-terminated, cut when too long. */
#define FINDING_NAME 96
#define FINDING_SITE 200
char *finding_name(const struct finding_context *c, int32_t pid, char buf[FINDING_NAME]); /* "writer (pid 12)" */
char *finding_site(const struct finding_context *c, uint32_t stack_ix, char buf[FINDING_SITE]); /* "send (a.c:12)": first user frame; "" unknown */
char *finding_count(double n, char buf[32]);	 /* 48,000 */
char *finding_duration(double ns, char buf[32]); /* 12 µs */
char *finding_size(double bytes, char buf[32]);	 /* 200 bytes, 64 KiB */
const char *finding_medium(const struct finding_context *c, uint32_t channel); /* "this pipe", "this TCP connection" */
/* Index into frames of the first frame of a stack that its author would recognise, or IX_NONE. */
uint32_t finding_user_frame(const struct finding_context *c, uint32_t stack_ix);

char *finding_list(const struct finding_context *c, const int32_t *pids, size_t n, char buf[FINDING_SITE]); /* "4 x worker (pids 3, 4, ...)" */

/* Same role. */
static inline bool finding_siblings(const struct process_info *a, const struct process_info *b)
{
	return a && b && a->group == b->group;
}

extern const struct finding_rule finding_lockstep, finding_ring, finding_disk_wait, finding_self_paced, finding_single_server,
	finding_chatty_hub, finding_n_plus_one, finding_backpressure, finding_slow_consumer, finding_slow_producer, finding_serial_process, finding_lock_convoy, finding_run_queue,
	finding_process_churn, finding_hot_line_rule;

#endif
