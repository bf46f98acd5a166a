/* SPDX-License-Identifier: Apache-2.0
 *
 * The profile: what is known after (or during) a run, in plain rows. In: built by aggregate/aggregator.h from events, or
 * loaded by aggregate/profile_db.h from a file; out: read by findings and by report/. Every row type is one table of the
 * profile file (docs/PROFILE.md). Strings belong to the profile. Ids are indexes into the profile's own arrays where the
 * name ends in _ix (UINT32_MAX: none); pids and tids are kernel numbers.
 */
#ifndef LOCKSTEP_PROFILE_H
#define LOCKSTEP_PROFILE_H

#include "aggregate/hist.h"
#include "sampler/event.h"

#define IX_NONE UINT32_MAX

struct profile_meta {
	char *version, *host, *kernel, *arch, *backend, *backend_costs;
	char **command; /* NULL-terminated argv, or NULL when attached */
	int32_t *root_pids;
	size_t n_root_pids;
	uint32_t cpus;
	char *started_at;	 /* RFC 3339, UTC */
	uint64_t start_ns, end_ns; /* CLOCK_MONOTONIC */
	int32_t exit_status;	 /* of the wrapped command as a shell would say it; -1 none */
	uint32_t frequency_hz;
	uint64_t lost_events, lost_stacks;
	uint64_t lost_ns;	  /* thread-time covered by lost records (exact sums, unknown class) */
	uint64_t n_events;	  /* events consumed */
	uint64_t window_ns;	  /* wall time covered by the analysed windows (cascade, alternation, critical path) */
};

/* Thread-time sums of a process (or group), ns. on_cpu + run_queue + blocked[] + idle + lost == observed lifetime. */
struct ledger {
	uint64_t on_cpu_ns, run_queue_ns;
	uint64_t blocked_ns[WC_COUNT]; /* excludes idle */
	uint64_t idle_ns;	       /* waits that lie on nobody's way */
	uint64_t lost_ns;
	uint64_t waits, preemptions;
};

struct process_row {
	int32_t pid, ppid;
	bool in_tree;
	enum runtime_kind runtime;
	char *comm, *exe;
	char **cmdline;			    /* NULL-terminated; NULL unknown */
	uint64_t started_ns, ended_ns;	    /* ended 0: alive at the end */
	int32_t exit_status;		    /* wait(2) status; -1 unknown */
	uint32_t n_threads, peak_threads;   /* seen in all; most at one time */
	uint32_t n_siblings;		    /* >= 1: this row stands for that many short-lived processes of one command and parent */
	uint64_t observed_ns;		    /* its threads' lifetimes under observation, summed: what the ledger's parts sum to */
	struct ledger ledger;
	/* the process's own I/O */
	uint64_t rd_calls, rd_bytes, wr_calls, wr_bytes;
	uint64_t spawn_ns; /* thread-time between fork and exec plus exec itself, when measured */
};

struct thread_row {
	int32_t pid, tid;
	char *comm;
	uint64_t started_ns, ended_ns; /* ended 0: alive at the end */
	uint32_t n_siblings;	       /* >= 1: this row stands for that many ended threads of the process (or sibling group) */
	uint64_t observed_ns;	       /* their lifetime under observation, summed: what the ledger's parts sum to */
	struct ledger ledger;
};

struct channel_end {
	int32_t pid, fd;
	enum end_role role;
};
struct channel_row {
	uint32_t id; /* the event stream's id; the JSON's channel id */
	enum channel_kind kind;
	char *name;
	uint64_t capacity_bytes;
	bool remote;
	struct channel_end *ends;
	size_t n_ends;
};

struct frame_row {
	char *function, *file, *module;
	uint32_t line;
	enum frame_language language;
};

/* A stack as interned: indexes into frames, leaf first, inlined frames expanded. stacks[0] is the empty stack. */
struct stack_row {
	uint32_t *frame_ix;
	uint32_t n;
	bool truncated;
};

/* Waits of one thread (or sibling group) by class, channel and stack. */
struct wait_row {
	int32_t pid, tid;
	enum wait_class cls;
	uint32_t channel; /* id, 0 none */
	uint32_t stack_ix;
	bool estimated; /* sampled: blocked_ns is est_ns */
	uint64_t count, blocked_ns, run_queue_ns, idle_ns; /* blocked_ns excludes idle_ns */
	uint64_t in_progress; /* of count: still waiting at the end */
	struct hist hist; /* of single waits' blocked ns; empty when estimated */
};

struct cpu_row {
	int32_t pid, tid;
	uint32_t stack_ix;
	uint64_t samples, est_ns;
};

enum confidence { CONF_LOW = 0, CONF_MEDIUM, CONF_HIGH };

/* Who waits on whom: waiter process -> waker process over a channel, one row per pair of call sites. */
struct edge_row {
	int32_t waiter_pid;
	int32_t waker_pid; /* 0: nobody known (timer, disk, remote) */
	uint32_t channel;
	enum wait_class cls;
	uint32_t waiter_stack_ix, waker_stack_ix;
	enum confidence confidence;
	bool estimated;
	uint64_t count, blocked_ns, run_queue_ns;
	uint64_t n_irq; /* of count: woken from interrupt context */
	struct hist hist;
	struct size_hist bytes; /* the waker's messages */
};

/* One pair of processes, what alternation and overlap say (ALGORITHMS D), over the analysed windows. pid_a < pid_b. */
struct pair_row {
	int32_t pid_a, pid_b;
	uint64_t active_ns;	       /* wall time of windows in which the pair talked */
	uint64_t a_waits_b, b_waits_a; /* waits of one ended by the other */
	uint64_t a_hands_b, b_hands_a; /* hand-offs: preempted by the thread just woken (shared CPU) */
	uint64_t switches;	       /* adjacent turns that changed side */
	uint64_t turns;		       /* turns in all (waits and hand-offs, merged in time order) */
	uint64_t queued_ns;	       /* besides active_ns: stretches in which the one whose turn it was had no CPU for long */
	uint64_t covered_ns;	       /* union of the waits (and hand-offs) */
	uint64_t run_both_ns, run_either_ns;
	uint64_t ready_both_ns;	       /* one ran, the other was runnable: they share a CPU, and do not wait for each other */
	uint64_t wake_latency_ns;      /* sum of run - wake over those waits */
	uint64_t service_a_ns, service_b_ns; /* on-CPU time of each between its wake-up and its next wait on the other */
	uint64_t deeper_a_ns, deeper_b_ns; /* time each was itself waiting on a third party while the other waited for it */
};

/* What ends a chain of waits (ALGORITHMS A). */
enum blame_kind {
	BLAME_RUN = 0,	 /* the blamed process ran */
	BLAME_RUN_QUEUE, /* it was runnable, without a CPU */
	BLAME_TIMER,	 /* it waited for its own timer */
	BLAME_DISK,	 /* it waited for a device */
	BLAME_REMOTE,	 /* it waited for another host */
	BLAME_OUTSIDE,	 /* it waited for a process outside the tree */
	BLAME_UNKNOWN,	 /* it waited for nobody known (still in progress, or the window ends here) */
	BLAME_COUNT
};
const char *blame_kind_name(enum blame_kind k); /* "run", "run_queue", "timer", ... */

/* Cascade over the analysed windows: what the blocked time of waiter_pid comes to in the end. Sums to the blocked time analysed. */
struct blame_row {
	int32_t waiter_pid;
	int32_t pid;	     /* at which the chain ends; the waiter itself when it waited for no process */
	enum blame_kind kind;
	enum wait_class cls; /* of the wait that ends the chain; WC_NONE for run and run_queue */
	uint32_t channel;    /* of that wait; for run: the channel over which the last hop went */
	uint32_t stack_ix;   /* of that wait; 0 for run */
	uint64_t count, ns;  /* waits that end here, time */
};

/* The critical path of the analysed windows, by where it was spent. Sums to meta.window_ns. */
struct critical_row {
	int32_t pid;
	enum blame_kind kind;
	enum wait_class cls;
	uint32_t channel, stack_ix; /* as in blame_row */
	uint64_t count, ns;
};
/* Wake-ups that the critical path followed: waker_pid woke pid. latency_ns: from wake to run. */
struct path_hop_row {
	int32_t pid, waker_pid;
	uint32_t channel;
	uint64_t count, latency_ns;
};

/* One channel's flow over the analysed windows: writers blocked on full, readers blocked on empty. */
struct flow_row {
	uint32_t channel;
	int32_t writer_pid, reader_pid; /* those that waited most; 0: that side never waited */
	uint64_t full_count, full_ns, empty_count, empty_ns;
	uint64_t turns, switches; /* waits of both kinds in time order; adjacent ones that changed side */
	uint64_t full_bytes;	  /* bytes the writers moved between waits on full (bursts), summed */
	uint64_t active_ns;
	/* futexes and locks: waits ended by a thread that itself waits there in its turn (a lock, not a queue), mean waiters at once */
	uint64_t lock_count, lock_ns;
};

/* What one process carried in the analysed windows. */
struct load_row {
	int32_t pid;
	uint64_t run_ns;     /* at least one of its threads ran */
	uint64_t alone_ns;   /* of it: no other process of the tree ran */
	uint64_t charged_ns; /* each slice of its running / threads of the tree that ran then (GAPP) */
	/* others waiting for it: integral over time of the number of waiting processes; time with one or more; most */
	uint64_t waiters_ns, awaited_ns, excess_ns; /* excess: integral of (waiters - 1) where > 1: the queue */
	uint32_t waiters_max, clients;		    /* clients: distinct processes that waited for it */
	uint64_t awaited_run_ns;		    /* of awaited_ns: it ran (or was runnable) */
	uint32_t answering;			    /* threads of it that ended others' waits, most in one window */
};
/* Time with exactly n threads of the tree running, over the analysed windows; the last row means n or more. */
struct parallel_row {
	uint32_t n;
	uint64_t ns;
};

/* A bounded excerpt of raw waits, for what-if (ALGORITHMS F): whole windows, in time order within one. */
struct trace_row {
	uint32_t window;
	int32_t pid, tid;
	enum wait_class cls;
	enum blame_kind end; /* BLAME_RUN: ended by waker_tid; else by whom */
	int32_t waker_tid;
	uint32_t channel, stack_ix, bytes;
	uint64_t out_ns, wake_ns, run_ns; /* since the window's start */
	uint64_t folded_ns;
	uint32_t handoffs;
	int32_t handoff_tid;
};

/* The timeline: equal intervals; resolution halves when full. */
struct interval_row {
	uint32_t index; /* start = meta.start_ns + index * timeline_step_ns */
	int32_t pid;
	uint64_t on_cpu_ns, run_queue_ns, blocked_ns;
	uint64_t waits;
	uint8_t top_class; /* enum wait_class with most blocked time */
};

enum finding_kind {
	FIND_LOCKSTEP = 0,
	FIND_CHATTY_HUB,
	FIND_BACKPRESSURE,
	FIND_SLOW_CONSUMER,
	FIND_SLOW_PRODUCER,
	FIND_SERIAL_PROCESS,
	FIND_SINGLE_SERVER,
	FIND_N_PLUS_ONE,
	FIND_LOCK_CONVOY,
	FIND_DISK_WAIT,
	FIND_SELF_PACED,
	FIND_PROCESS_CHURN,
	FIND_RUN_QUEUE,
	FIND_HOT_LINE,
	FIND_COUNT
};
const char *finding_kind_name(enum finding_kind k);

struct evidence {
	char *label; /* "waits here", "wakes from here", "holds the lock" */
	int32_t pid;
	uint32_t stack_ix;
};
#define FINDING_MAX_PIDS 64
struct finding {
	uint32_t id; /* 1.. in rank order */
	enum finding_kind kind;
	uint32_t also; /* bit set of finding_kind */
	char *title;   /* the sentence a colleague would say */
	char *where;   /* processes, channel, call sites with file:line, one line */
	char *advice;  /* what to do and what it wins */
	int32_t *pids;
	size_t n_pids;
	uint32_t *channels;
	size_t n_channels;
	double share_of_wall;
	double round_trips_per_s; /* < 0: not applicable */
	double bytes_p50, bytes_p99; /* < 0: unknown */
	double speedup_low, speedup_high; /* 0: not predicted */
	enum confidence confidence;
	bool estimated;
	struct evidence *evidence;
	size_t n_evidence;
};

struct profile {
	struct profile_meta meta;
	struct process_row *processes;
	size_t n_processes;
	struct thread_row *threads;
	size_t n_threads;
	struct channel_row *channels;
	size_t n_channels;
	struct frame_row *frames;
	size_t n_frames;
	struct stack_row *stacks;
	size_t n_stacks;
	struct wait_row *waits;
	size_t n_waits;
	struct cpu_row *cpu;
	size_t n_cpu;
	struct edge_row *edges;
	size_t n_edges;
	struct pair_row *pairs;
	size_t n_pairs;
	struct blame_row *blames;
	size_t n_blames;
	struct critical_row *critical;
	size_t n_critical;
	struct path_hop_row *hops;
	size_t n_hops;
	struct flow_row *flows;
	size_t n_flows;
	struct load_row *loads;
	size_t n_loads;
	struct parallel_row *parallel;
	size_t n_parallel;
	struct trace_row *trace;
	size_t n_trace;
	uint64_t timeline_step_ns;
	struct interval_row *intervals;
	size_t n_intervals;
	struct finding *findings;
	size_t n_findings;
};

struct profile *profile_new(void); /* NULL: out of memory */
void profile_free(struct profile *p);

/* Look-ups; NULL when absent. Borrowed until the profile changes. */
const struct process_row *profile_process(const struct profile *p, int32_t pid);
const struct channel_row *profile_channel(const struct profile *p, uint32_t id);

/* on_cpu + run_queue + blocked of all classes + idle + lost. */
uint64_t ledger_sum(const struct ledger *l);
void ledger_merge(struct ledger *into, const struct ledger *from);

/* Declares ns of a wait row's blocked time idle (at most what is left of it): moves them from blocked to idle in the row, in
 * its thread's and in its process's ledger, so that all sums hold. Returns the ns moved. */
uint64_t profile_mark_idle(struct profile *p, size_t wait_ix, uint64_t ns);

#endif
