/* SPDX-License-Identifier: Apache-2.0
 *
 * What a runtime provider is: recognise a process, walk a thread, name its frames, say what it waits for. One const struct
 * each, listed in runtime.c. A provider keeps its state of one process behind a void pointer that runtime.c owns.
 */
#ifndef LOCKSTEP_RUNTIME_PROVIDER_H
#define LOCKSTEP_RUNTIME_PROVIDER_H

#include "sampler/runtime/memory.h"
#include "sampler/runtime/runtime.h"

#define RUNTIME_MAX_NATIVE 4096

struct runtime_env { /* what providers get from runtime.c */
	const struct runtimes_options *opt;
	struct target_memory *memory; /* a walk has begun: pid and snapshot are set */
	struct runtimes_counters *counters;
	uint64_t *pcs, *sps;	 /* scratch for native frames, RUNTIME_MAX_NATIVE each */
	void *scratch[RT_COUNT]; /* a provider may malloc that of its kind once; freed by runtime.c */
};

struct runtime_provider {
	const char *name;
	enum runtime_kind kind;
	/* Whether a file of that name may hold the runtime: decides when a process is looked at again. */
	bool (*file_matters)(const char *basename);
	/* 0 and *state; -ENOENT: another's process; -ENOTSUP: ours, but it cannot be walked: one sentence in err; -EAGAIN:
	 * ours, not ready. */
	int (*attach)(struct runtime_env *env, pid_t pid, struct address_space *as, void **state, struct err *err);
	void (*detach)(void *state);
	/* The child's state; NULL: attach anew. */
	void *(*fork)(const void *state, pid_t child);
	/* As runtime_stack. */
	size_t (*stack)(void *state, struct runtime_env *env, const struct runtime_thread *t, struct runtime_frame *out,
			size_t max, struct runtime_stack_info *info);
	bool (*wait)(void *state, struct runtime_env *env, const struct runtime_thread *t, uint64_t futex_addr,
		     struct runtime_wait *out);
	bool (*thread_info)(void *state, struct runtime_env *env, pid_t tid, struct runtime_thread_info *out);
	void (*thread_exit)(void *state, pid_t tid);
	bool (*label)(void *state, struct runtime_env *env, struct address_space *as, char *buf, size_t len);
};

extern const struct runtime_provider runtime_python, runtime_java;

/* Python only: what python_walk_bpf needs. */
bool python_state_offsets(const void *state, struct python_offsets *out);

/* Whether pid lives in another PID namespace than we do. */
bool runtime_foreign_pids(pid_t pid);
/* A thread's id in its own (innermost) PID namespace, by its id as we see it; and back. 0 when gone. They read /proc: cache. */
pid_t runtime_ns_tid(pid_t pid, pid_t tid);
pid_t runtime_host_tid(pid_t pid, pid_t ns_tid);

#endif
