/* SPDX-License-Identifier: Apache-2.0
 *
 * Managed runtimes: the user's own functions and lines instead of `_PyEval_EvalFrameDefault` and anonymous code. In: a
 * process (its address space), a thread's registers and stack, its Python frames when the kernel program copied them; out:
 * one merged stack, leaf first, whose managed frames are already interned by the backend. Nothing is started, stopped,
 * attached to or signalled in the target: all is read from outside (process_vm_readv, the object files). Providers (python,
 * java) stand in one table in runtime.c.
 *
 * What a backend does (all that it needs):
 *
 *	rt = runtimes_new(&(struct runtimes_options){.intern = my_intern, .ctx = me});
 *	...							on each stack, instead of unwind_stack():
 *	struct runtime_thread t = {.pid = pid, .tid = tid, .as = as, .time_ns = ns, .regs = &regs, .mem = &mem,
 *				   .python_pairs = rec->pairs, .n_python_pairs = rec->n_pairs, .snapshot = true};
 *	n = runtime_stack(rt, &t, frames, MAX_FRAMES, &info);
 *	for (i = 0; i < n; i++)
 *		ids[i] = frames[i].id ? frames[i].id : my_native_frame_id(as, frames[i].pc, i > 0);
 *	...							and tell of the life of processes:
 *	runtimes_fork(rt, parent, child);  runtimes_exec(rt, pid);  runtimes_exit(rt, pid);
 *
 * and, for the kernel program's map of Python processes (see python_bpf.h):
 *
 *	if (runtimes_process(rt, pid, as) == RT_PYTHON && runtimes_python_offsets(rt, pid, &po))
 *		bpf_map_update_elem(python_fd, &pid, &po, BPF_ANY);
 *
 * One thread at a time uses a struct runtimes. Memory that is torn, hostile or gone ends a walk early; it is counted, never
 * fatal.
 */
#ifndef LOCKSTEP_RUNTIME_H
#define LOCKSTEP_RUNTIME_H

#include "sampler/event.h"
#include "sampler/runtime/python_offsets.h"
#include "sampler/unwind/unwind.h"

struct runtimes;

/* Gives the caller's id (> 0) of one source-level frame; called once per distinct frame of a process, strings borrowed during the
 * call. 0 (no more ids) leaves the native frame in its place. */
typedef uint32_t (*runtime_intern_fn)(void *ctx, const struct source_frame *frame);

/* Reads target memory: copies up to len bytes at addr into buf, returns the number copied or -errno. Production uses
 * process_vm_readv; tests give their own memories. */
typedef ssize_t (*runtime_read_fn)(void *ctx, pid_t pid, uint64_t addr, void *buf, size_t len);

struct runtimes_options {
	runtime_intern_fn intern; /* required */
	void *ctx;		  /* for intern */
	runtime_read_fn read;	  /* NULL: process_vm_readv */
	void *read_ctx;
};

/* opt is copied. NULL when out of memory. */
struct runtimes *runtimes_new(const struct runtimes_options *opt);
void runtimes_free(struct runtimes *rt); /* NULL is fine */

/* Which runtime the process runs: looked up once in its mappings, then cached. RT_NATIVE is asked anew after a while (an
 * interpreter maps its library after exec) and at once after runtimes_mapped. Cheap: call it per process and now and then. */
enum runtime_kind runtimes_process(struct runtimes *rt, pid_t pid, struct address_space *as);
/* A file was mapped executable: its path. Drops a cached RT_NATIVE when the name looks like a runtime's. Optional. */
void runtimes_mapped(struct runtimes *rt, pid_t pid, const char *path);
void runtimes_fork(struct runtimes *rt, pid_t parent, pid_t child); /* the child starts with what is known of the parent */
void runtimes_exec(struct runtimes *rt, pid_t pid);
/* The process is gone: its names stay (records in flight need them), of the last 256 such processes. */
void runtimes_exit(struct runtimes *rt, pid_t pid);
/* A thread is gone (its tid may come again). Optional. */
void runtimes_thread_exit(struct runtimes *rt, pid_t pid, pid_t tid);

/* One sentence when the process has a runtime that cannot be walked ("Python 3.15 is not known: native stacks only"), else NULL.
 * Borrowed until the next call for this process. */
const char *runtimes_notice(struct runtimes *rt, pid_t pid);

/* The offsets that python_walk_bpf needs. False when the process is no (known) Python. */
bool runtimes_python_offsets(struct runtimes *rt, pid_t pid, struct python_offsets *out);

struct runtime_thread {
	pid_t pid, tid; /* as the profiler sees them; PID namespaces of the target are handled here */
	struct address_space *as;
	uint64_t time_ns;		 /* picks the mappings; UNWIND_NOW for now */
	const struct unwind_regs *regs;	 /* ip and sp at least */
	const struct unwind_memory *mem; /* stack snapshot and/or pid to read from */
	/* Python frames that python_walk_bpf copied with the snapshot. With snapshot set and none given, Python frames are
	 * not shown (user space would read those of a later moment); without snapshot the thread's frames are read now, so
	 * the caller makes sure that it is blocked (schedstat unchanged before and after) or takes what comes. */
	const uint64_t *python_pairs;
	size_t n_python_pairs;
	bool python_truncated; /* the pairs filled their array */
	bool snapshot;
};

struct runtime_frame {
	uint64_t pc; /* program counter of the (underlying) native frame; 0 for a Python frame, whose id is never 0 */
	uint32_t id; /* from intern; 0: a native frame, to be symbolized by pc */
};

struct runtime_stack_info {
	enum unwind_end end;	    /* of the native walk */
	bool truncated;		    /* more frames than max, a snapshot that ended, a walk that broke off */
	bool unmerged;		    /* native eval frames and Python frames did not match: all are told, spliced by best guess */
	uint32_t managed_frames;    /* how many of the frames are the runtime's */
	uint32_t unresolved_frames; /* managed frames whose names could not be read: told as "[python frame]", "[java frame]" */
};

/* The merged stack of one thread, leaf first: unwinds the native frames and puts the runtime's in. For a native process it is
 * unwind_stack. info may be NULL. Returns the number of frames (>= 1). */
size_t runtime_stack(struct runtimes *rt, const struct runtime_thread *t, struct runtime_frame *out, size_t max,
		     struct runtime_stack_info *info);

/* ---- what a thread waits for, in the runtime's own terms ---- */
struct runtime_wait {
	enum wait_class cls; /* WC_GIL, WC_LOCK (a monitor to be entered), WC_FUTEX (Object.wait, park: signalled by a peer) */
	pid_t holder_tid;    /* who holds it, as the profiler sees it; 0 unknown or nobody */
	uint64_t address;    /* of the lock, to tell equal ones */
	char name[96];	     /* "GIL", "GIL of interpreter 2", "monitor of java.util.HashMap" */
};
/* futex_addr: first argument of the futex call that the thread is blocked in (0: not a futex). False: nothing to add to what the
 * kernel says. Reads memory now: for a thread that is still blocked. */
bool runtime_wait(struct runtimes *rt, const struct runtime_thread *t, uint64_t futex_addr, struct runtime_wait *out);

/* ---- names ---- */
enum runtime_role { RUNTIME_ROLE_APP = 0, RUNTIME_ROLE_GC, RUNTIME_ROLE_COMPILER, RUNTIME_ROLE_VM };
struct runtime_thread_info {
	enum runtime_role role; /* the runtime's own threads are no application waits */
	char name[128];		/* full name of the thread, UTF-8; "" unknown */
};
/* False: nothing known beyond /proc's comm. */
bool runtime_thread_info(struct runtimes *rt, pid_t pid, pid_t tid, struct runtime_thread_info *out);

/* A name for a process that its command line does not tell: "ForkPoolWorker-3", "Process-2 (load_orders)" for multiprocessing
 * children. Read now, from a live process. False: none. */
bool runtimes_label(struct runtimes *rt, pid_t pid, struct address_space *as, char *buf, size_t len);

/* Whether a source frame belongs to the language's own libraries or installed packages, so that the first frame for which this is
 * false is *the* call site to show. Native and kernel frames: true. Pure function of the strings. */
bool runtime_frame_is_library(const struct source_frame *f);

struct runtimes_counters {
	uint64_t walks, torn_reads, unmerged, unresolved, names_read;
};
void runtimes_counters(const struct runtimes *rt, struct runtimes_counters *out);

#endif
