/* SPDX-License-Identifier: Apache-2.0
 *
 * The view: a profile as every output shows it - siblings grouped, edges merged over call sites, hot stacks ranked, everything
 * sorted and filtered once, so that the text, JSON, Markdown and HTML reports agree to the last digit. In: a const profile
 * (borrowed as long as the view lives) and the filter; out: plain rows. Names in it are still the target's raw bytes: each
 * output neutralises them as it writes (report/sanitize.h).
 */
#ifndef LOCKSTEP_VIEW_H
#define LOCKSTEP_VIEW_H

#include "aggregate/profile.h"
#include "sampler/err.h"

struct view_options {
	int32_t pid; /* only this process, its edges and stacks; 0: all */
};

/* One row of the process table: a process, or siblings that do the same (one parent, one command, one role). */
struct view_group {
	const struct process_row *lead; /* the first of them; NULL for a process that the profile names but has no row of */
	int32_t pid;			/* lead's pid */
	uint32_t first, n_rows;		/* process rows in view.members[first..] */
	uint64_t n_processes;		/* >= 1, siblings already folded by the aggregator included */
	uint64_t n_threads;
	struct ledger ledger;		/* summed */
	uint64_t blocked_ns, thread_ns; /* sums over the ledger: all classes; everything */
	uint64_t started_ns, ended_ns;	/* ended 0: at least one lives */
	enum wait_class top_cls;	/* most blocked time; WC_NONE when it never blocked */
	uint64_t top_cls_ns;
	uint32_t top_peer; /* group that ends most of its waits, by blocked time; IX_NONE */
	uint64_t top_peer_ns;
	enum wait_class idle_cls; /* of the wait with most idle time */
	uint64_t idle_cls_ns;
	bool estimated;	      /* some figure comes from sampled waits */
	uint64_t in_progress; /* waits not over when the run ended */
};

/* Who waits on whom, call sites merged: one row per pair of groups and channel (per channel kind when groups are many). */
struct view_edge {
	uint32_t waiter, waker; /* groups; waker IX_NONE: nobody known (timer, disk, remote) */
	enum wait_class cls;
	const struct channel_row *channel; /* NULL unknown */
	uint32_t n_channels;		   /* distinct channels merged into this row */
	uint64_t count, blocked_ns, run_queue_ns, n_irq;
	enum confidence confidence; /* of most of its time */
	bool estimated;
	bool idle; /* mostly waits that lay on nobody's way (a shell for its child): last in the order */
	struct hist hist;
	struct size_hist bytes;
	uint32_t waiter_stack_ix, waker_stack_ix; /* of the call sites with most time */
	uint64_t top_site_ns;
};

/* A stack in which a group spends time. */
struct view_hot {
	uint32_t group;
	bool is_cpu;
	enum wait_class cls; /* of a wait */
	uint32_t stack_ix;
	uint64_t ns, count; /* on-CPU: samples */
	uint64_t in_progress;
	bool estimated;
};

/* Waits of one group by class and channel. */
struct view_wait {
	uint32_t group;
	int32_t pid;
	enum wait_class cls;
	uint32_t channel;
	uint64_t count, blocked_ns, idle_ns, run_queue_ns, in_progress;
	bool estimated;
	struct hist hist;
};

struct view {
	const struct profile *p;
	int32_t pid;		   /* the filter */
	uint64_t wall_ns;	   /* duration of the run, >= 1 */
	uint32_t *members;	   /* process row indexes, by group */
	struct view_group *groups; /* most weight first: on-CPU, run-queue and blocked time; outside processes last */
	size_t n_groups;
	struct view_edge *edges; /* most blocked time first; idle ones last */
	size_t n_edges;
	struct view_hot *hot; /* by group, then most time first (idle time does not count) */
	size_t n_hot;
	struct view_wait *waits; /* per process (not group), class and channel; by pid, most blocked time first */
	size_t n_waits;
	const struct finding **findings; /* in rank order */
	size_t n_findings;
	uint64_t total_ns; /* thread-time of all processes of the tree */
	double lost_share; /* of total_ns, covered by lost records */
	/* internal: pid -> group, sorted */
	struct view_pid {
		int32_t pid;
		uint32_t group, row; /* row: of profile.processes */
	} * pids;
	size_t n_pids;
	const struct channel_row **channels; /* by id */
};

/* Returns 0 and *out (view_free), -ENOMEM, or -ESRCH when the filter names a process that the profile does not have. */
int view_new(const struct profile *p, const struct view_options *opt, struct view **out, struct err *err);
void view_free(struct view *v);

/* The process row of pid, or NULL; O(log n). With a filter: of it and its neighbours only. */
const struct process_row *view_process(const struct view *v, int32_t pid);

/* The group that pid is in, or IX_NONE. */
uint32_t view_group_of(const struct view *v, int32_t pid);

/* The channel of that id, or NULL; O(log n). */
const struct channel_row *view_channel(const struct view *v, uint32_t id);

/* "worker", "worker x8": the name of a group in raw bytes, cut to size. */
void view_group_name(const struct view *v, uint32_t group, char *dst, size_t size);

/* When no finding stands: one or two calm sentences, true of this profile, about where the time went. Raw bytes, cut to size. */
void view_healthy_sentence(const struct view *v, char *dst, size_t size);

/* Internal steps of view_new, in this order. */
int view_build_groups(struct view *v);
int view_build_edges(struct view *v);
int view_build_hot(struct view *v);
int view_build_waits(struct view *v);

#endif
