/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the user backend share. tree.c: which processes and threads there are; observe.c: in what state a thread is,
 * on what it waits, with which stack; oncpu.c: stacks of running threads by perf_event; user_backend.c: the clock.
 *
 * Nothing here stops, traces or signals the target: all is read from /proc, by process_vm_readv and by perf_event. (A ptrace tracer
 * was considered for the births of processes: it makes ignored signals interrupt epoll_wait, semop and others with EINTR. See
 * docs/USER_BACKEND.md.)
 */
#ifndef LOCKSTEP_USER_INTERNAL_H
#define LOCKSTEP_USER_INTERNAL_H

#include "sampler/backend.h"
#include "sampler/channels/channels.h"
#include "sampler/runtime/runtime.h"
#include "sampler/stacks/stack_table.h"
#include "sampler/user/sockets.h"

#define UTHASH_NONFATAL_OOM 1
#include <uthash.h>

extern const struct backend_ops backend_user;

#define STACK_CHUNK 16384
#define USER_MAX_FRAMES 1024

struct watched_process {
	int32_t pid, ppid;
	struct address_space *as;
	enum runtime_kind runtime;
	char comm[16];
	uint64_t exe_id; /* of /proc/PID/exe: changes with exec */
	uint64_t seen_ns, checked_ns;
	uint32_t n_threads;
	bool denied; /* another user's, or not dumpable: state only */
	bool told_denied;
	uint64_t gil_words[4];
	uint32_t n_gil_words;
	UT_hash_handle hh;
};

struct watched_thread {
	int32_t tid, pid;
	struct watched_process *process;
	int schedstat_fd, syscall_fd, io_fd; /* -1: opened per use (too many), -2: refused */
	uint64_t on_cpu_ns, run_queue_ns, switches; /* as last read */
	uint64_t told_on_cpu_ns, told_run_queue_ns, told_switches, told_voluntary, told_ns;
	uint64_t rd_calls, rd_bytes, wr_calls, wr_bytes; /* as last told */
	/* the state at the last tick */
	enum tick_state state;
	uint8_t cls;
	uint32_t channel, stack;
	int32_t holder; /* of the lock that it waits for; 0 unknown */
	uint64_t in_state_ns;
	uint64_t tick_ns;  /* when */
	uint32_t unmoved;  /* ticks in a row without a change */
	uint32_t skip;	   /* ticks until the next look */
	uint32_t seen_running;
	bool have_base; /* the told_ counters are set */
	struct oncpu *oncpu;
	UT_hash_handle hh;
};

struct user_counters {
	uint64_t looks, moved, torn, unreadable, missed_processes, no_ring;
};

struct user_backend {
	struct backend base;
	struct object_cache *objects;
	struct runtimes *runtimes;
	struct stack_table *stacks;
	struct channels *channels;
	struct sockets *sockets;
	struct watched_process *processes;
	struct watched_thread *threads;
	struct watched_thread **order; /* scratch: all threads, for a pass that may remove some */
	size_t order_capacity;
	event_fn fn;
	void *ctx;
	int32_t wrapped_pid; /* until its exec */
	int32_t *roots;
	size_t n_roots;
	bool started;
	uint64_t opened_ns;
	int32_t own_pid;
	int loadavg_fd;
	int32_t last_pid;
	uint32_t frequency_hz;
	uint64_t period_ns, next_tick_ns, last_scan_ns;
	size_t open_fds, max_fds;
	size_t rings, max_rings; /* stacks of running threads */
	bool perf_works, perf_kernel;
	bool moment;
	uint64_t moment_ns; /* when the one look was taken */
	uint64_t n_events, told_stacks;
	struct user_counters counters;
	struct runtime_frame frames[USER_MAX_FRAMES];
	uint32_t ids[USER_MAX_FRAMES];
	uint8_t stack_bytes[STACK_CHUNK];
};

static inline void user_emit(struct user_backend *b, const struct event *ev)
{
	b->n_events++;
	b->fn(b->ctx, ev);
}

/* ---- tree.c ---- */
/* The processes of the roots and all their descendants, from a pass over /proc. Returns how many, or -errno. */
int tree_find_all(struct user_backend *b, const int32_t *roots, size_t n, uint64_t now_ns);
/* Processes and threads that were born since the last call. */
void tree_find_new(struct user_backend *b, uint64_t now_ns);
/* exec and renaming. */
void tree_check_process(struct user_backend *b, struct watched_process *p, uint64_t now_ns);
void tree_thread_gone(struct user_backend *b, struct watched_thread *t, uint64_t now_ns);
void tree_free(struct user_backend *b);

/* ---- observe.c ---- */
/* One look at a thread. Tells its tick. False: it is gone. */
bool observe_thread(struct user_backend *b, struct watched_thread *t, uint64_t now_ns);
/* Exact counters since they were last told. */
void observe_counts(struct user_backend *b, struct watched_thread *t, uint64_t now_ns);
uint32_t observe_stack(struct user_backend *b, const struct watched_process *p, const struct runtime_thread *t);

/* ---- oncpu.c ---- */
bool oncpu_probe(bool *kernel_too);
void oncpu_open(struct user_backend *b, struct watched_thread *t);
void oncpu_drain(struct user_backend *b, struct watched_thread *t);
void oncpu_close(struct user_backend *b, struct watched_thread *t);

#endif
