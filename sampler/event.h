/* SPDX-License-Identifier: Apache-2.0
 *
 * The event stream: everything that a backend tells the rooms above it. In: kernel facts (or a recorded stream);
 * out: `struct event`s, handed one at a time to an event_fn. Nothing above the sampler knows a syscall, a ring buffer
 * or /proc.
 *
 * Rules of the stream
 * - Times are CLOCK_MONOTONIC nanoseconds. Events arrive in the order in which the backend read them: per thread they
 *   are in time order, between threads nearly so (a wait is told when it *ends*, so its start lies in the past).
 * - Ids (channel, stack, frame, site) are small positive integers given out by the backend, 0 means "none / unknown".
 *   An id is introduced (EV_CHANNEL, EV_STACK, EV_FRAME) before or after its first use, but always before EV_END.
 * - A thread may be mentioned before EV_THREAD introduces it (races at attach): consumers create it on first sight.
 * - Strings and arrays are borrowed: valid during the call only.
 */
#ifndef LOCKSTEP_EVENT_H
#define LOCKSTEP_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum event_kind {
	EV_PROCESS = 1,	 /* a process was seen, forked or exec'ed: its names */
	EV_THREAD,	 /* a thread exists from time_ns on (under observation) */
	EV_THREAD_EXIT,	 /* the thread ended at time_ns */
	EV_PROCESS_EXIT, /* the last thread of the process ended */
	EV_WAIT,	 /* kernel backend: one exact wait, told when it ended */
	EV_SAMPLE,	 /* one on-CPU sample */
	EV_TICK,	 /* user backend: the state in which a thread was seen at one tick */
	EV_COUNTS,	 /* exact per-thread counters since the last EV_COUNTS (or since EV_THREAD) */
	EV_CHANNEL,	 /* a channel: pipe, socket, futex, ... ; a later one with the same id updates it */
	EV_CHANNEL_END,	 /* a process holds one end of a channel */
	EV_FRAME,	 /* a frame id resolved to source-level frames */
	EV_STACK,	 /* a stack id resolved to frame ids */
	EV_LOST,	 /* something was lost since the last EV_LOST */
	EV_END,		 /* observation ended at time_ns; the last event */
};

/* Why a thread is off the CPU. The names (wait_class_name) are those of the contract. */
enum wait_class {
	WC_NONE = 0, /* not blocked: preempted or yielded, so only run-queue time */
	WC_PIPE_READ,
	WC_PIPE_WRITE,
	WC_UNIX_READ,
	WC_UNIX_WRITE,
	WC_TCP_READ, /* TCP and UDP, v4 and v6 */
	WC_TCP_WRITE,
	WC_TCP_CONNECT,
	WC_ACCEPT,
	WC_POLL, /* poll, select, epoll_wait */
	WC_FUTEX,
	WC_LOCK, /* fcntl/flock, SysV semaphores used as locks, a runtime's monitor */
	WC_GIL,
	WC_SLEEP,
	WC_CHILD, /* wait4, waitid, vfork */
	WC_FILE_IO,
	WC_PAGE_FAULT,
	WC_IPC_QUEUE, /* SysV and POSIX message queues and semaphores, eventfd reads */
	WC_SIGNAL,    /* sigwait, pause, signalfd */
	WC_STOPPED,
	WC_OTHER,
	WC_COUNT
};
const char *wait_class_name(enum wait_class c);	     /* "pipe_read"; "run_queue" for WC_NONE; never NULL */
enum wait_class wait_class_parse(const char *name); /* WC_COUNT when unknown */

enum channel_kind {
	CH_NONE = 0,
	CH_PIPE,
	CH_UNIX,
	CH_TCP,
	CH_UDP, /* shown as kind "tcp" in the JSON report, protocol in its name */
	CH_FUTEX,
	CH_EVENTFD,
	CH_EPOLL,
	CH_SYSV,
	CH_POSIX,
	CH_FILE,
	CH_CHILD,
	CH_TIMER,
	CH_COUNT
};
const char *channel_kind_name(enum channel_kind k);

enum waker_context {
	WAKER_NONE = 0, /* nobody known (still in progress, or never woken: a timeout seen late) */
	WAKER_TASK,	/* waker_tid ran and woke it from its syscall */
	WAKER_SOFTIRQ,	/* network receive, timers; waker_tid is the task below it: a real peer on loopback only */
	WAKER_HARDIRQ,	/* timer, disk: no peer */
};

enum runtime_kind { RT_NATIVE = 0, RT_PYTHON, RT_JAVA, RT_GO, RT_NODE, RT_COUNT };
const char *runtime_kind_name(enum runtime_kind r);

enum process_reason { PROC_SEEN = 0, PROC_FORK, PROC_EXEC, PROC_RENAMED };

struct ev_process {
	int32_t pid, ppid; /* as seen in the profiler's own PID namespace */
	bool in_tree;	   /* false: an outside process that woke one of ours, or holds the other end of a channel */
	enum process_reason reason;
	enum runtime_kind runtime;
	const char *comm;    /* at most 15 characters, raw bytes as the kernel has them (may be hostile) */
	const char *exe;     /* path, or "" */
	const char *cmdline; /* argv joined with NUL, cmdline_len bytes, or NULL when unknown */
	size_t cmdline_len;
};

struct ev_thread {
	int32_t pid, tid;
	const char *comm;
};

struct ev_thread_exit {
	int32_t pid, tid;
};

struct ev_process_exit {
	int32_t pid;
	int32_t status; /* as from wait(2); -1 unknown */
};

/* One off-CPU period of one thread. event.time_ns = when it left the CPU (t_out).
 *   blocked   = t_wake - t_out   (0 for WC_NONE)
 *   run-queue = t_run - t_wake
 * On-CPU time is what lies between two waits: from the previous t_run to this t_out, less folded_ns. */
struct ev_wait {
	int32_t tid;
	uint8_t cls;	     /* enum wait_class */
	uint8_t waker_ctx;   /* enum waker_context */
	uint8_t at_start : 1;	 /* was already waiting when observation began: t_out is that moment */
	uint8_t in_progress : 1; /* still waiting when observation ended: t_wake = t_run = that moment */
	uint8_t preempted : 1;	 /* WC_NONE: involuntary; else a yield */
	uint8_t spurious : 1;	 /* woken without a message (a reader made room on a shared wait queue): a part of the wait that follows */
	uint8_t lost : 1;	 /* stands for lost_count waits whose records were lost: only the sums are true */
	uint64_t t_wake, t_run;
	int32_t waker_tid; /* 0: none */
	uint32_t lost_count;
	uint32_t channel;	/* what it waited on; for poll-like waits the channel that the waker wrote to */
	uint32_t site, stack;	/* site: (thread, ip, sp) class of equal stacks; stack: this very wait's, when sampled, or 0 */
	uint32_t waker_site, waker_stack;
	uint32_t bytes;	     /* size of the waker's message (write(fd, buf, n): n); 0 unknown */
	uint32_t want_bytes; /* the waiter's own argument (read/write size); 0 unknown */
	/* the thread's own I/O since its previous EV_WAIT: calls and bytes of read- and write-like syscalls on anything */
	uint32_t rd_calls, rd_bytes, wr_calls, wr_bytes;
	/* short preemptions since the previous EV_WAIT, folded in: their number, summed run-queue time, and how many of
	 * them were hand-offs: the thread was preempted by the very thread that it had just woken (handoff_tid) */
	uint32_t folded_count, handoff_count;
	uint64_t folded_ns;
	int32_t handoff_tid;
};

struct ev_sample {
	int32_t tid;
	uint32_t cpu;
	uint32_t stack;
	uint32_t period_ns;
	bool in_kernel;
};

enum tick_state { TICK_RUNNING = 1, TICK_RUNNABLE, TICK_BLOCKED };
struct ev_tick {
	int32_t tid;
	enum tick_state state;
	uint8_t cls; /* enum wait_class when blocked */
	bool same;   /* unchanged since the last tick: still the same wait */
	uint32_t dt_ns;
	uint32_t channel, stack;
	int32_t peer_tid; /* who holds the lock that it waits for; 0: unknown */
	uint64_t in_state_ns; /* how long ago it last ran, when asked for (backend_options.moment); 0: unknown */
};

struct ev_counts {
	int32_t tid;
	uint64_t on_cpu_ns, run_queue_ns;
	uint64_t switches_voluntary, switches_involuntary;
	uint64_t rd_calls, rd_bytes, wr_calls, wr_bytes;
};

struct ev_channel {
	uint32_t id;
	enum channel_kind kind;
	const char *name;	 /* for people: "pipe:[8123]", "127.0.0.1:5432 (PostgreSQL)", "/tmp/x.sock", "futex 0x7f.. in PID" */
	uint64_t capacity_bytes; /* 0 unknown */
	bool remote;		 /* the other end lies on another host */
};

enum end_role { END_READER = 1, END_WRITER = 2, END_BOTH = 3 };
struct ev_channel_end {
	uint32_t channel;
	int32_t pid;
	int32_t fd; /* -1: none */
	enum end_role role;
};

enum frame_language { LANG_NATIVE = 0, LANG_KERNEL, LANG_PYTHON, LANG_JAVA, LANG_GO, LANG_JS, LANG_COUNT };
const char *frame_language_name(enum frame_language l);

struct source_frame {
	const char *function; /* demangled; "[unknown]" style placeholder allowed, never NULL */
	const char *file;     /* NULL unknown */
	uint32_t line;	      /* 0 unknown */
	const char *module;   /* path of the object file, or "[kernel]", "[vdso]" */
	enum frame_language language;
};
struct ev_frame {
	uint32_t id;
	size_t n;			  /* 1, more when functions are inlined at this address */
	const struct source_frame *frames; /* innermost first */
};

struct ev_stack {
	uint32_t id;
	bool truncated;
	size_t n;
	const uint32_t *frames; /* frame ids, leaf first */
};

struct ev_lost {
	uint64_t events; /* records that did not fit; their totals still arrive as EV_WAIT with .lost */
	uint64_t stacks; /* snapshots skipped or not unwound */
};

struct event {
	enum event_kind kind;
	uint64_t time_ns;
	union {
		struct ev_process process;
		struct ev_thread thread;
		struct ev_thread_exit thread_exit;
		struct ev_process_exit process_exit;
		struct ev_wait wait;
		struct ev_sample sample;
		struct ev_tick tick;
		struct ev_counts counts;
		struct ev_channel channel;
		struct ev_channel_end channel_end;
		struct ev_frame frame;
		struct ev_stack stack;
		struct ev_lost lost;
	};
};

typedef void (*event_fn)(void *ctx, const struct event *ev);

#endif
