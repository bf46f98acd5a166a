/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows: stretches of wall time in which every single wait is kept, for the analyses that need order and overlap (cascade,
 * alternation, critical path). In: exact waits (EV_WAIT), buffered by the aggregator (window_buffer.c); out: one
 * `struct window` at a time, handed to the hooks (windows.c by default), which keep sums of bounded size.
 *
 * A window closes when it is full (window_events) or about a second long. It is handed over a little later, so that waits
 * that straddle its end have mostly been told; then, when the analysis is dear, buffering pauses so that it costs at most
 * 0.5 % of the wall time, or 40 ns per wait where that is more, and never more than window_duty_percent. At low rates windows follow
 * each other without a gap. meta.window_ns
 * of the profile tells how much wall time they covered.
 */
#ifndef LOCKSTEP_WINDOW_H
#define LOCKSTEP_WINDOW_H

#include "sampler/event.h"

struct profile;

#define WINDOW_NONE UINT32_MAX

enum window_flags {
	WINDOW_CLIPPED_START = 1, /* began before the window: t_out (and maybe t_wake, t_run) moved to start_ns */
	WINDOW_CLIPPED_END = 2,	  /* went on after it: t_run (and maybe t_wake, t_out never) moved to end_ns; its waker is still told */
	WINDOW_AT_START = 4,	  /* as in ev_wait */
	WINDOW_IN_PROGRESS = 8,	  /* as in ev_wait */
	WINDOW_PREEMPTED = 16,	  /* as in ev_wait */
	WINDOW_LOST = 32,	  /* as in ev_wait: lost_count waits in one, only the sums are true; its place in time is not */
	WINDOW_SPURIOUS = 128,	  /* as in ev_wait: no message, a part of the wait that follows */
	WINDOW_WAKER_BY_CHANNEL = 64, /* waker_pid was not seen waking: it is the only process at the channel's other end */
};

/* One wait. start_ns <= t_out <= t_wake <= t_run <= end_ns; [t_out,t_wake) blocked, [t_wake,t_run) runnable. */
struct window_wait {
	uint64_t t_out, t_wake, t_run;
	uint64_t folded_ns; /* of the time since the thread's previous wait: run-queue time of folded preemptions */
	uint32_t thread;    /* index into window.threads */
	uint32_t waker;	    /* index into window.threads; WINDOW_NONE: no usable waker (interrupts are sorted out already) */
	int32_t waker_pid;  /* process of the waker, or by the channel (WINDOW_WAKER_BY_CHANNEL); 0 nobody known */
	uint32_t handoff;   /* index into window.threads: whom it handed the CPU to; WINDOW_NONE */
	uint32_t channel;
	/* ids of the event stream; stack: this wait's own when it was sampled, else the site's heaviest known (0: none yet) */
	uint32_t site, stack, waker_site, waker_stack;
	uint32_t bytes, want_bytes;
	uint32_t rd_calls, rd_bytes, wr_calls, wr_bytes;
	uint32_t folded_count, handoff_count, lost_count;
	uint8_t cls, waker_ctx, flags; /* enum wait_class, enum waker_context, enum window_flags */
};

/* What is known of a thread after its last told wait (or from from_ns on, when n is 0), up to to_ns. */
enum window_tail {
	WINDOW_TAIL_RAN = 0, /* it ran: a later record says so, or it ended at to_ns */
	WINDOW_TAIL_UNKNOWN, /* nothing told yet: it ran, or (more likely, when tail_samples is 0) waits for long */
};

/* A thread that lived in the window. Between two of its waits it was on the CPU, but for the later wait's folded_ns.
 * A wait that held on at the window's start is the first one, clipped: so its state is known at every moment up to the tail. */
struct window_thread {
	int32_t tid, pid;
	bool in_tree;	    /* false: outside; its own waits are not known */
	bool ended;	    /* it ended at to_ns */
	uint8_t tail;	    /* enum window_tail */
	uint32_t samples;   /* on-CPU samples of it in the window */
	uint32_t tail_samples;
	uint64_t from_ns, to_ns; /* the part of the window in which it was observed */
	size_t first, n;	 /* its waits: window.waits[first .. first+n), by t_out, not overlapping */
};

struct window {
	uint64_t start_ns, end_ns;
	const struct window_wait *waits; /* grouped by thread, by t_out within */
	size_t n;
	const struct window_thread *threads; /* by tid */
	size_t n_threads;
};

/* Who lived in the window under this tid; NULL when nobody. O(log n). */
const struct window_thread *window_thread_find(const struct window *w, int32_t tid);

/* Who analyses. All calls come from the thread that feeds the aggregator; the window is borrowed during analyze. */
struct window_hooks {
	void *ctx;
	void (*analyze)(void *ctx, const struct window *w);
	/* From now on the profile tells process from_pid as part of row into_pid (short-lived siblings are folded; or a pid was
	 * reused, and the older process is told under a number that no process can have). What is kept by pid moves along. */
	void (*fold)(void *ctx, int32_t from_pid, int32_t into_pid);
	/* Puts what was found into a profile under construction (p->pairs, p->blames, ..., idle times by profile_mark_idle). May be
	 * called many times; the state goes on. In the rows that it adds, stack_ix and channel are the event stream's ids as
	 * the windows told them: the aggregator turns them into the profile's afterwards. Returns 0 or -errno. */
	int (*finish)(void *ctx, struct profile *p);
};

/* The default analysis, windows.c. */
struct windows;
struct windows *windows_new(void); /* NULL: out of memory */
void windows_free(struct windows *s);
void windows_analyze(struct windows *s, const struct window *w);
void windows_fold(struct windows *s, int32_t from_pid, int32_t into_pid);
int windows_finish(struct windows *s, struct profile *p);

#endif
