/* SPDX-License-Identifier: Apache-2.0
 *
 * The aggregator's insides, shared by its parts: aggregator.c (events in), ticks.c (the sampled path), compact.c (bounds),
 * build_*.c (a profile out). Not for others.
 */
#ifndef LOCKSTEP_AGG_H
#define LOCKSTEP_AGG_H

#include "aggregate/aggregator.h"
#include "aggregate/channels.h"
#include "aggregate/code.h"
#include "aggregate/rows.h"
#include "aggregate/sites.h"
#include "aggregate/timeline.h"
#include "aggregate/tree.h"
#include "aggregate/window_buffer.h"

#define AGG_MAX_ROWS 16384	/* default bound on wait graph rows and on-CPU rows each */
#define AGG_MIN_ROWS 256
#define AGG_SIBLINGS 8		/* so many ended siblings of one command are told one by one */
#define AGG_ENDED_THREADS 64	/* so many ended threads of one process are told one by one */
#define AGG_MAX_ENDED 2048	/* ended processes told one by one, in all */
#define AGG_MAX_OUTSIDE 1024	/* processes outside the tree told one by one */
#define AGG_MAX_CHANNELS 8192
#define AGG_MAX_THREADS 65536	/* beyond so many, threads outside the tree are forgotten */
#define AGG_SHORT_LIFE 10	/* short-lived: less than a tenth of the observation */
#define PRESSURE_ADMITS 64 /* under pressure, one in so many new rows gets its full key */
#define PRESSURE_MOST 4	   /* waker stack, both stacks, waker, channel are given up */
#define AGG_RECENT_THREADS 256 /* the latest to end can still be named as wakers */
#define AGG_COMPACT_THREADS 4096 /* ended threads, and */
#define AGG_COMPACT_PROCS 1024	/* ended processes, that make a compaction worthwhile */

struct cpu_key {
	uint32_t thread, stack; /* thread: index, or process index when is_proc */
	uint32_t is_proc;
};
struct cpu_count {
	struct cpu_key key;
	uint64_t samples, est_ns;
};
struct cpu_rows { /* on-CPU samples by thread and stack; the same scheme as struct rows, much smaller */
	struct cpu_count *list; /* index 0 unused */
	size_t n, capacity;
	uint32_t *index;
	size_t index_capacity;
};
bool cpu_rows_init(struct cpu_rows *r);
void cpu_rows_fini(struct cpu_rows *r);
struct cpu_count *cpu_rows_find(struct cpu_rows *r, const struct cpu_key *key); /* NULL: out of memory */

struct aggregator {
	uint32_t max_rows, cpus;
	uint64_t start_ns, now_ns; /* 0: no event yet */
	bool ended;		   /* EV_END was seen */
	bool sampled;		   /* some EV_SAMPLE was seen: an unsampled gap tells that the thread did not run */
	struct tree tree;
	struct code code;
	struct channels channels;
	struct sites sites;
	struct rows rows;
	struct cpu_rows cpu;
	struct timeline timeline;
	struct window_buffer window;
	struct windows *own_windows; /* the default analysis, when it is ours */
	uint64_t n_events;
	uint64_t lost_events, lost_stacks;
	uint64_t rejected;    /* events that memory had no room for: lost, too */
	uint64_t compactions; /* for tests and benchmarks */
	uint32_t pressure;    /* 0: rows fit; else new rows give up detail at once (row_of) */
	uint32_t misses;
	uint64_t events_at_compaction;
	size_t rows_after_compaction, cpu_after_compaction, channels_after_compaction, outside_after_compaction;
	int32_t last_tid; /* the last look-up, */
	uint32_t last_thread; /* and what it gave; 0: none */
};

struct window_context agg_window_context(struct aggregator *a);
/* The thread that an event of its own speaks of, observed from time_ns on when it was not yet; 0: out of memory. */
uint32_t agg_observed_thread(struct aggregator *a, int32_t tid, uint64_t time_ns);

/* ---- ticks.c: the user backend's sampled path ---- */
void ticks_event(struct aggregator *a, const struct event *ev);
void ticks_counts(struct aggregator *a, const struct event *ev);
/* Commits what was sampled since the last EV_COUNTS as it is. */
void ticks_close(struct aggregator *a, uint32_t thread, uint64_t time_ns);

/* Replaces aliases of folded peers. */
void ticks_resolve(struct aggregator *a, uint32_t thread);

/* ---- shrink.c ---- */
/* Makes a key give up detail: 0 the waker's stack, 1 both stacks, 2 also the waker, 3 the channel, 4 the thread. */
void row_key_coarsen(const struct aggregator *a, struct row_key *k, int detail);

/* ---- compact.c ---- */
bool compact_due(const struct aggregator *a);
/* Folds what has ended, resolves aliases and dead sites, merges the smallest rows: after it every bound holds. */
void compact(struct aggregator *a, uint64_t now_ns);
/* Copies rows with their sites split into stacks: those of ended threads, or all. Returns false when out of memory. */
bool settle_rows(struct aggregator *a, const struct rows *from, struct rows *into, bool all);
/* Merges the smallest rows into coarser ones until at most max_rows are left. */
bool shrink_rows(struct aggregator *a, struct rows *r, uint32_t max_rows);
bool shrink_cpu(struct aggregator *a, struct cpu_rows *r, uint32_t max_rows);

/* ---- build_*.c ---- */
struct build {
	struct aggregator *a;
	struct profile *p;
	struct code_export code;
	uint64_t end_ns;
};
int build_graph(struct build *b); /* waits, edges, cpu */
void build_sampled_pairs(struct profile *p); /* counts of pairs that were only sampled */
/* The thread's account up to end_ns, were the run to end now. */
struct account build_account(const struct aggregator *a, const struct thread *h, uint64_t end_ns);
/* The thread row's numbers for rows of thread index `thread` (or all of a process). */
void build_thread_ids(const struct aggregator *a, uint32_t thread, bool is_proc, int32_t *pid, int32_t *tid);
/* The profile's pid of a process index; 0: nobody known. */
int32_t build_pid(const struct aggregator *a, uint32_t proc);

#endif
