/* SPDX-License-Identifier: Apache-2.0
 *
 * A backend observes one process tree and tells it as events. Three implementations, in one table (backend.c):
 * kernel (BPF: exact), user (/proc, ptrace, perf_event: sampled), replay (a recorded stream).
 */
#ifndef LOCKSTEP_BACKEND_H
#define LOCKSTEP_BACKEND_H

#include "sampler/err.h"
#include "sampler/event.h"

#include <sys/types.h>

struct backend;

struct backend_options {
	const int32_t *root_pids; /* processes to attach to, with all their descendants; borrowed during open */
	size_t n_root_pids;
	bool wrapped;		  /* the single root is our own child, stopped before its exec (see cli/launch.h) */
	uint32_t frequency_hz;	  /* on-CPU sampling; 0: none */
	uint32_t ring_bytes;	  /* kernel: size of the ring buffer, a power of two; 0: default */
	const char *replay_path;  /* replay only */
	bool verbose;
	bool moment; /* user: one look at every thread, told by the first drain (each stands for a nominal millisecond); for dumps */
};

/* What a backend can do here and now. */
struct backend_probe {
	bool usable;
	char why[256];	/* one line: why it is not usable and what to do; "" when usable */
	char costs[256]; /* one line for the report's header: what this backend cannot know; "" when nothing */
};

struct backend_ops {
	const char *name; /* "kernel", "user", "replay" */
	/* Tells what this host allows, without side effects. Never fails. */
	void (*probe)(struct backend_probe *out);
	/* Starts to observe. On success *out is owned by the caller until close(). The first events (processes and threads
	 * that exist) come from the first drain. Returns 0 or -errno with a sentence in err. */
	int (*open)(struct backend **out, const struct backend_options *opt, struct err *err);
	/* How long the caller may sleep before the next drain, in ms. */
	int (*poll_ms)(const struct backend *b);
	/* Hands all that is ready to fn. Returns the number of events (>= 0) or -errno. */
	int (*drain)(struct backend *b, event_fn fn, void *ctx, struct err *err);
	/* Whether any observed process still lives. */
	bool (*alive)(struct backend *b);
	/* Stops to observe: remaining records, waits still in progress, frames resolved to names, EV_END. No drain after it.
	 * Returns 0 or -errno. */
	int (*finish)(struct backend *b, event_fn fn, void *ctx, struct err *err);
	void (*close)(struct backend *b); /* releases everything; NULL is fine */
};

struct backend {
	const struct backend_ops *ops;
};

/* NULL-terminated, best first. */
extern const struct backend_ops *const backend_table[];

/* "auto" or NULL: the best usable one of kernel and user; else by name. Returns 0 and *out, or -errno with a sentence. */
int backend_choose(const char *name, const struct backend_ops **out, struct backend_probe *probe, struct err *err);

#endif
