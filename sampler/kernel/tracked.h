/* SPDX-License-Identifier: Apache-2.0
 *
 * The processes and threads that the kernel backend follows, with what must be remembered of each between records.
 */
#ifndef LOCKSTEP_TRACKED_H
#define LOCKSTEP_TRACKED_H

#include "sampler/unwind/unwind.h"

#define UTHASH_NONFATAL_OOM 1
#include <stdlib.h>
#include <uthash.h>

struct tracked_process {
	int32_t pid;
	struct address_space *as;
	uint32_t live_threads;
	bool told_python;
	char comm[16];
	char *exe, *cmdline; /* inherited by children until they exec */
	size_t cmdline_len;
	uint8_t runtime; /* enum runtime_kind */
	int32_t ppid;
	int32_t status; /* of the leader's exit */
	/* futex words found to belong to the interpreter's lock: every wait on them is a wait for it */
	uint64_t gil_words[4];
	uint32_t n_gil_words;
	UT_hash_handle hh;
};

#define CHANNEL_CACHE 4
struct tracked_thread {
	int32_t tid, pid;
	bool start_pending;   /* the wrapped root before its exec: its life under observation begins when it is released */
	/* stacks of snapshots whose wait has not ended yet: by the sequence number that the wait record will bear */
	uint32_t snap_seq, snap_stack;
	uint32_t waker_seq, waker_stack;
	uint32_t writer_site; /* from where its peer last sent a message over a local socket */
	uint32_t channel_epoch;
	struct {
		uint64_t key;
		uint32_t id;
	} channels[CHANNEL_CACHE];
	UT_hash_handle hh;
};

/* A thread outside the tree that woke one of ours. */
struct outsider {
	int32_t tid;
	UT_hash_handle hh;
};

#define THREAD_CACHE 1024
struct tracked {
	struct outsider *outsiders;
	struct tracked_process *processes;
	struct tracked_thread *threads;
	struct tracked_thread *cache[THREAD_CACHE];
	int32_t ended[THREAD_CACHE]; /* threads of the tree that ended lately: their last act may be to wake their parent */
};

void tracked_fini(struct tracked *t);
struct tracked_process *tracked_process(struct tracked *t, int32_t pid);		/* NULL: unknown */
struct tracked_process *tracked_process_add(struct tracked *t, int32_t pid);	/* NULL: out of memory; as is not set */
void tracked_process_remove(struct tracked *t, struct tracked_process *p);	/* frees its address space */
/* Whether tid was a member not long ago. */
static inline bool tracked_ended(const struct tracked *t, int32_t tid)
{
	return t->ended[(uint32_t)tid % THREAD_CACHE] == tid;
}
struct tracked_thread *tracked_thread_slow(struct tracked *t, int32_t tid);
struct tracked_thread *tracked_thread_add(struct tracked *t, int32_t tid, int32_t pid);
void tracked_thread_remove(struct tracked *t, struct tracked_thread *th);

/* NULL: unknown. Hot: a direct-mapped cache before the hash. */
static inline struct tracked_thread *tracked_thread(struct tracked *t, int32_t tid)
{
	struct tracked_thread *th = t->cache[(uint32_t)tid % THREAD_CACHE];
	return th && th->tid == tid ? th : tracked_thread_slow(t, tid);
}

#endif
