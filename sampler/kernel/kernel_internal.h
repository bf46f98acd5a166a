/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the kernel backend share: bpf_session.c (programs, maps, ring), translate.c (records -> events),
 * kernel_backend.c (the life of a backend).
 */
#ifndef LOCKSTEP_KERNEL_INTERNAL_H
#define LOCKSTEP_KERNEL_INTERNAL_H

#include "sampler/backend.h"
#include "sampler/channels/channels.h"
#include "sampler/kernel/mmap_events.h"
#include "sampler/kernel/records.h"
#include "sampler/kernel/tracked.h"
#include "sampler/runtime/runtime.h"
#include "sampler/stacks/stack_table.h"

#define DEFAULT_RING_BYTES (16u << 20)
#define MAX_FRAMES 1024

extern const struct backend_ops backend_kernel;

/* ---- bpf_session.c ---- */
struct bpf_session;
typedef int (*record_fn)(void *ctx, void *data, size_t len);

/* Loads and attaches; members are enrolled later, by bpf_session_seed. Returns 0 or -errno with a sentence. */
int bpf_session_open(struct bpf_session **out, const struct backend_options *opt, record_fn fn, void *ctx, struct err *err);
void bpf_session_close(struct bpf_session *s);
/* Enrolls the roots and their descendants. Returns how many threads, or -errno. */
int bpf_session_seed(struct bpf_session *s, const int32_t *roots, size_t n, struct err *err);
int bpf_session_conclude(struct bpf_session *s, struct err *err); /* waits in progress -> records */
void bpf_session_detach(struct bpf_session *s);			  /* no record after it */
int bpf_session_consume(struct bpf_session *s); /* calls fn per record; number of records or -errno */
void bpf_session_stats(struct bpf_session *s, struct k_stats *sum);
/* Once per poll: how many stacks may be copied until the next one, and how far apart samples lie. */
void bpf_session_tune(struct bpf_session *s, uint64_t waits, uint64_t elapsed_ns);
int bpf_session_python(struct bpf_session *s, int32_t pid, const struct python_offsets *o); /* o NULL: forget */

/* ---- the backend ---- */
struct mapping_backlog; /* mapping events of processes that are not known yet */

struct kernel_backend {
	struct backend base;
	struct bpf_session *bpf;
	struct mmap_events *mmaps;
	struct object_cache *objects;
	struct runtimes *runtimes;
	struct stack_table *stacks;
	struct channels *channels;
	struct tracked tracked;
	struct mapping_backlog *backlog;
	struct object_entry *objects_by_key; /* kernel object keys -> channels */
	uint32_t channel_epoch;
	event_fn fn; /* during drain and finish */
	void *ctx;
	int32_t wrapped_pid;
	uint64_t end_ns; /* observation ends here; 0: goes on */
	uint64_t n_events, n_waits;
	uint64_t last_tune_ns, last_scan_ns;
	size_t sweep_at; /* size of the channel tables at which dead ones are swept */
	struct k_stats told; /* losses already reported */
	uint64_t lost_stacks;
	uint32_t period_ns;
	/* Python frames that came ahead of their snapshot */
	uint32_t py_tid, py_n;
	uint64_t py_pairs[2 * K_PY_MAX];
	/* work space of one stack */
	struct runtime_frame frames[MAX_FRAMES];
	uint32_t ids[MAX_FRAMES + K_KSTACK];
};

static inline void emit(struct kernel_backend *b, const struct event *ev)
{
	b->n_events++;
	b->fn(b->ctx, ev);
}

/* ---- translate.c ---- */
/* Drops the objects whose channel is not known any more; all of them when all is set. */
void translate_forget_objects(struct kernel_backend *b, bool all);
int translate_record(void *ctx, void *data, size_t len); /* a record_fn; ctx: struct kernel_backend */

/* ---- processes.c ---- */
/* Mapping events up to now, applied to their processes. */
void processes_update_mappings(struct kernel_backend *b);
/* A process that existed before: names from /proc, mappings scanned. NULL: out of memory. */
struct tracked_process *processes_seen(struct kernel_backend *b, int32_t pid, int32_t ppid, const char *comm, uint64_t time_ns);
struct tracked_process *processes_forked(struct kernel_backend *b, const struct k_fork *r);
void processes_executed(struct kernel_backend *b, const struct k_exec *r);
void processes_exited(struct kernel_backend *b, int32_t pid, uint64_t time_ns, int32_t status);
int32_t processes_tgid_of(int32_t tid); /* by /proc; 0: gone */
/* Someone outside the tree who woke one of ours: named once. */
void processes_outside(struct kernel_backend *b, int32_t tid, uint64_t time_ns);
struct mapping_backlog *mapping_backlog_new(void);
void mapping_backlog_free(struct mapping_backlog *m);

#endif
