/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes and threads as the aggregator knows them: who lives, who lived, and which short-lived siblings are told as one.
 * In: EV_PROCESS, EV_THREAD and their ends, in any order that races allow; out: stable indexes for the other parts.
 *
 * Indexes, not pointers, name processes and threads: the pools move when they grow. Index 0 is never given out ("none").
 * A folded process or thread leaves an alias (`into`) until the next compaction has rewritten all that names it.
 */
#ifndef LOCKSTEP_TREE_H
#define LOCKSTEP_TREE_H

#include "aggregate/account.h"
#include "aggregate/code.h"
#include "aggregate/intmap.h"

/* One row of a process's timeline; the class with most blocked time by weighted majority vote (Boyer and Moore): exact when
 * one class has more than half, which is when it is worth a mention. */
struct timeline_cell {
	uint64_t on_cpu_ns, run_queue_ns, blocked_ns;
	uint64_t vote_ns;
	uint32_t waits;
	uint8_t vote_class;
};

struct proc {
	int32_t pid, ppid;
	int32_t row_pid;   /* what the profile calls it: pid, or a number beyond all pids once the pid was reused */
	uint32_t parent;   /* index, 0 unknown */
	uint32_t into;	   /* folded into this one; 0: itself */
	bool used;	   /* slot in use */
	bool introduced;   /* EV_PROCESS was seen: else a placeholder for the process of an unknown thread */
	bool in_tree, ended;
	bool forked;	   /* by EV_PROCESS reason fork, and no exec since: forked_at counts towards spawn_ns */
	enum runtime_kind runtime;
	char comm[16];
	uint32_t exe; /* string of struct code */
	char *cmdline;
	size_t cmdline_len;
	uint64_t started_ns, ended_ns, forked_at;
	int32_t exit_status;
	uint32_t n_threads, live_threads, peak_threads;
	uint32_t n_siblings;
	uint64_t rd_calls, rd_bytes, wr_calls, wr_bytes;
	uint64_t spawn_ns;
	struct timeline_cell *cells; /* [first_cell, first_cell + n_cells) of the timeline */
	uint32_t first_cell, n_cells;
};

struct ticks; /* ticks.c: sampled states since the last EV_COUNTS */
void ticks_free(struct ticks *k); /* NULL is fine */

struct thread {
	int32_t tid;
	uint32_t proc;
	uint32_t into; /* folded into this one; 0: itself */
	bool used;
	bool introduced; /* EV_THREAD was seen */
	bool observed;	 /* has a ledger: inside the tree, or had a wait of its own */
	bool ended;
	bool dropped; /* to be forgotten at the end of this compaction */
	bool exact; /* told by EV_WAIT: EV_COUNTS adds nothing to its time */
	char comm[16];
	uint32_t n_siblings;
	uint64_t started_ns, ended_ns; /* of the row */
	uint64_t end_serial;	       /* it was the so-manieth to end */
	uint64_t observed_ns;	       /* of those folded into this one; its own is account's */
	struct account account;
	uint64_t folded_count, folded_ns; /* short preemptions, as accounted */
	uint32_t samples;		  /* on-CPU samples since the cursor last moved */
	uint32_t last_row;		  /* index of the row of its last wait (rows.h); 0 none */
	int32_t peer_tid;		  /* who woke it last, */
	uint32_t peer, peer_epoch;	  /* and that one's index while tree.epoch is the same */
	struct ticks *ticks;
	uint32_t window_ix, window_serial; /* its place in the window being filled, valid for that window's serial */
};

struct tree {
	struct proc *procs;
	size_t n_procs, procs_capacity; /* slots, index 0 unused */
	uint32_t *free_procs;
	size_t n_free_procs, free_procs_capacity;
	struct thread *threads;
	size_t n_threads, threads_capacity;
	uint32_t *free_threads;
	size_t n_free_threads, free_threads_capacity;
	struct intmap by_pid, by_tid; /* the present bearer of the number, alive or just ended */
	uint32_t epoch; /* changes whenever a tid gets another index */
	uint32_t ended_procs, ended_threads, outside_procs; /* since the last compaction: what makes the next one worthwhile */
	uint64_t n_ended;				    /* threads, ever: what thread.end_serial counts */
	uint64_t reused_pids;				    /* numbers given to processes whose pid was reused */
};

bool tree_init(struct tree *t);
void tree_fini(struct tree *t);

/* The end of the alias chain. */
uint32_t tree_proc(const struct tree *t, uint32_t proc);
uint32_t tree_thread(const struct tree *t, uint32_t thread);

/* Index of the process that bears pid, made when absent; 0: out of memory. */
uint32_t tree_proc_of_pid(struct tree *t, int32_t pid, uint64_t time_ns);
/* Index of the thread that bears tid, made (with a placeholder process) when absent; 0: out of memory. */
uint32_t tree_thread_of_tid(struct tree *t, int32_t tid, uint64_t time_ns);
/* A new process under a pid that is already borne: the older one is told under another number from now on (returned in
 * *renamed_pid, 0 when nothing was renamed). Returns the new index; 0: out of memory. */
uint32_t tree_proc_new(struct tree *t, int32_t pid, uint64_t time_ns, int32_t *renamed_pid);
/* A new thread of proc, replacing whoever bore tid before (who must have been ended by the caller). */
uint32_t tree_thread_new(struct tree *t, int32_t tid, uint32_t proc, uint64_t time_ns);
/* Makes a thread observed from time_ns on. */
void tree_observe(struct tree *t, uint32_t thread, uint64_t time_ns);
uint64_t tree_observed_ns(const struct thread *h);
/* Gives slots back; the caller has made sure that nothing names them. */
void tree_release_proc(struct tree *t, uint32_t proc);
void tree_release_thread(struct tree *t, uint32_t thread);
/* Adds all that thread `from` counted to `into` (same process or sibling group) and leaves the alias. */
void tree_fold_thread(struct tree *t, uint32_t from, uint32_t into);

#endif
