/* SPDX-License-Identifier: Apache-2.0
 *
 * A little discrete-event simulator of processes that compute, send, receive, lock, sleep, fsync and fork on a few CPUs.
 * In: programs (arrays of instructions) per thread; out: the event stream that the kernel backend would tell of such a run,
 * into any event_fn, and the truth: elapsed time and items done. So findings and their predicted gains are tested
 * along the production path, without privileges, clock or luck: the same seed gives the same run.
 *
 * The machine: sim.cpus CPUs, one FIFO run queue, time slices, and (sim.preempt) a waker that gives way to the thread it
 * woke when no other CPU is free, as CFS and EEVDF do. Every system call costs sys_ns of kernel time, every wake-up wake_ns
 * until the woken thread runs, every switch switch_ns of the CPU.
 */
#ifndef LOCKSTEP_TESTS_SIM_H
#define LOCKSTEP_TESTS_SIM_H

#include "sampler/event.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIM_THREADS 256
#define SIM_CHANNELS 256
#define SIM_QUEUE 4096
#define SIM_CPUS 32
#define SIM_NEVER UINT64_MAX

enum sim_op {
	SIM_END = 0,
	SIM_COMPUTE,	/* n ns of user time, with the simulation's jitter */
	SIM_SEND,	/* n bytes to channel arg; blocks while it is full */
	SIM_RECV,	/* messages from channel arg until n bytes came (0: one message) */
	SIM_RECV_ANY,	/* poll: one message from any of the channels arg .. arg + n - 1; remembers which */
	SIM_REPLY,	/* n bytes to channel arg + the remembered one */
	SIM_LOCK,	/* channel arg as a lock */
	SIM_UNLOCK,
	SIM_SLEEP,	/* n ns */
	SIM_FSYNC,	/* n ns on the device */
	SIM_REMOTE,	/* n ns waiting for an answer from another host over channel arg */
	SIM_SPAWN_WAIT, /* fork a process that runs program arg of the simulation, wait for its end */
	SIM_ITEM,	/* counts one item done; costs nothing */
	SIM_LOOP,	/* jump to instruction arg, n times (0: for ever) */
	SIM_IDLE,	/* waits for ever (poll without an end) */
};

struct sim_ins {
	enum sim_op op;
	int arg;
	uint64_t n;
};

struct sim_message {
	uint32_t bytes;
};

struct sim_channel {
	enum channel_kind kind;
	uint64_t capacity, fill;
	struct sim_message q[SIM_QUEUE];
	unsigned head, len;
	int holder;	     /* as a lock: thread + 1 */
	int ends_pid[64];
	enum end_role ends_role[64];
	int n_ends;
	bool remote;
};

enum sim_state { SIM_GONE = 0, SIM_RUNNABLE, SIM_RUNNING, SIM_BLOCKED };

struct sim_thread {
	int32_t pid, tid;
	const struct sim_ins *prog;
	int pc;
	uint64_t loops[16]; /* by pc of SIM_LOOP modulo 16: iterations left + 1 */
	enum sim_state state;
	int cpu;
	uint64_t left;	      /* CPU time until the current instruction takes effect */
	bool charged;	      /* left was set for the instruction at pc */
	uint64_t got;	      /* bytes received by a RECV in progress */
	int remembered, parent; /* parent: thread index + 1 that waits for this process */
	/* the wait in progress */
	uint64_t out, wake, ready_at, timer_at;
	enum wait_class cls;
	int waker; /* thread index + 1 */
	enum waker_context ctx;
	uint32_t channel, bytes, waker_site;
	bool preempted;
	/* since the last EV_WAIT */
	uint32_t rd_calls, rd_bytes, wr_calls, wr_bytes, folded_count, handoff_count;
	uint64_t folded_ns;
	int32_t handoff_tid;
	uint64_t last_record, slice_start, on_cpu, run_queue;
	uint64_t sample_at; /* on-CPU time of the next sample */
};

struct sim {
	int cpus;
	bool preempt;
	uint64_t sys_ns, wake_ns, switch_ns, slice_ns, sample_ns;
	double jitter; /* of computations: uniform in 1 +- jitter */
	uint64_t until_ns; /* end of observation; SIM_NEVER: when all have ended */
	event_fn fn;
	void *ctx;
	/* */
	uint64_t start, now, items, n_events;
	uint64_t rng;
	struct sim_thread t[SIM_THREADS];
	int n_threads;
	struct sim_channel *ch; /* ids from 1 */
	int n_channels;
	int running[SIM_CPUS]; /* thread + 1 */
	uint64_t busy_until[SIM_CPUS]; /* switch cost */
	int queue[SIM_THREADS], queue_len;
	int32_t next_pid;
	const struct sim_ins *programs[8];
	const char *program_names[8];
	uint64_t n_waits;
};

static inline void sim_init(struct sim *s, int cpus, event_fn fn, void *ctx)
{
	memset(s, 0, sizeof(*s));
	s->cpus = cpus;
	s->preempt = true;
	s->sys_ns = 500;
	s->wake_ns = 2500;
	s->switch_ns = 1000;
	s->slice_ns = 3000000;
	s->sample_ns = 1000000;
	s->until_ns = SIM_NEVER;
	s->fn = fn;
	s->ctx = ctx;
	s->start = s->now = 1000000000000ull;
	s->rng = 88172645463325252ull;
	s->ch = calloc(SIM_CHANNELS, sizeof(*s->ch));
	s->next_pid = 1000;
}

static inline void sim_fini(struct sim *s)
{
	free(s->ch);
}

static inline void sim_emit(struct sim *s, const struct event *ev)
{
	s->n_events++;
	if (s->fn)
		s->fn(s->ctx, ev);
}

static inline double sim_random(struct sim *s)
{
	s->rng ^= s->rng << 13;
	s->rng ^= s->rng >> 7;
	s->rng ^= s->rng << 17;
	return (double)(s->rng >> 11) / 9007199254740992.0;
}

/* Channels: ids 1.. in order of the calls. */
static inline int sim_channel(struct sim *s, enum channel_kind kind, uint64_t capacity)
{
	int id = ++s->n_channels;
	assert(id < SIM_CHANNELS);
	s->ch[id].kind = kind;
	s->ch[id].capacity = capacity;
	return id;
}

/* Every instruction of every thread is a call site of its own: stack id = pid's program base + pc. Two frames: an inner libc
 * one, and the caller "op_PC (prog.c:PC+1)". Ids are (thread index + 1) * 256 + pc; in kernel or user. */
static inline uint32_t sim_site(int thread, int pc)
{
	return (uint32_t)((thread + 1) * 256 + pc);
}

static inline void sim_tell_site(struct sim *s, int th, int pc)
{
	static const char *const names[] = {"end",  "compute", "send",	 "recv",  "recv_any",	"reply", "take_lock", "drop_lock",
					    "nap",  "flush",   "remote", "spawn", "count_item", "loop",	 "idle"};
	char fn[64], file[64];
	snprintf(fn, sizeof(fn), "%s_%d", names[s->t[th].prog[pc].op], pc);
	snprintf(file, sizeof(file), "program_%d.c", s->t[th].pid);
	uint32_t id = sim_site(th, pc);
	struct source_frame user = {fn, file, (uint32_t)pc + 1, "/usr/local/bin/sim", LANG_NATIVE};
	struct source_frame libc = {"syscall", NULL, 0, "/lib/x86_64-linux-gnu/libc.so.6", LANG_NATIVE};
	struct source_frame kernel = {"do_syscall_64", NULL, 0, "[kernel]", LANG_KERNEL};
	struct event ev = {.kind = EV_FRAME, .time_ns = s->now, .frame = {id * 4, 1, &user}};
	sim_emit(s, &ev);
	ev.frame = (struct ev_frame){id * 4 + 1, 1, &libc};
	sim_emit(s, &ev);
	ev.frame = (struct ev_frame){id * 4 + 2, 1, &kernel};
	sim_emit(s, &ev);
	uint32_t wait[2] = {id * 4 + 1, id * 4}, in_kernel[3] = {id * 4 + 2, id * 4 + 1, id * 4}, in_user[1] = {id * 4};
	ev = (struct event){.kind = EV_STACK, .time_ns = s->now, .stack = {id * 4, false, 2, wait}};
	sim_emit(s, &ev);
	ev.stack = (struct ev_stack){id * 4 + 1, false, 3, in_kernel};
	sim_emit(s, &ev);
	ev.stack = (struct ev_stack){id * 4 + 2, false, 1, in_user};
	sim_emit(s, &ev);
}

static inline int sim_add_thread(struct sim *s, int32_t pid, const struct sim_ins *prog)
{
	int i = 0;
	while (i < s->n_threads && s->t[i].state != SIM_GONE)
		i++;
	assert(i < SIM_THREADS);
	if (i == s->n_threads)
		s->n_threads++;
	memset(&s->t[i], 0, sizeof(s->t[i]));
	struct sim_thread *t = &s->t[i];
	bool first = true;
	for (int j = 0; j < s->n_threads; j++)
		if (j != i && s->t[j].state != SIM_GONE && s->t[j].pid == pid)
			first = false;
	t->pid = pid;
	t->tid = first ? pid : s->next_pid++;
	t->prog = prog;
	t->state = SIM_RUNNABLE;
	t->cpu = -1;
	t->out = t->wake = s->now;
	t->ready_at = s->now;
	t->cls = WC_NONE;
	t->last_record = s->now;
	t->sample_at = s->sample_ns / 2;
	s->queue[s->queue_len++] = i;
	struct event ev = {.kind = EV_THREAD, .time_ns = s->now, .thread = {pid, t->tid, "sim"}};
	sim_emit(s, &ev);
	for (int pc = 0; pc == 0 || prog[pc - 1].op != SIM_END; pc++)
		sim_tell_site(s, i, pc);
	return i;
}

/* A process with one thread; more by sim_add_thread. Returns its pid. */
static inline int32_t sim_process(struct sim *s, const char *name, const struct sim_ins *prog, int32_t ppid)
{
	int32_t pid = s->next_pid++;
	char cmdline[64];
	int len = snprintf(cmdline, sizeof(cmdline), "%s", name) + 1;
	struct event ev = {.kind = EV_PROCESS,
			   .time_ns = s->now,
			   .process = {pid, ppid, true, PROC_EXEC, RT_NATIVE, name, "/usr/local/bin/sim", cmdline, (size_t)len}};
	sim_emit(s, &ev);
	sim_add_thread(s, pid, prog);
	return pid;
}

static inline void sim_end(struct sim *s, int channel, int32_t pid, enum end_role role)
{
	struct sim_channel *c = &s->ch[channel];
	if (c->n_ends < 64) {
		c->ends_pid[c->n_ends] = pid;
		c->ends_role[c->n_ends++] = role;
	}
}

static inline void sim_tell_channels(struct sim *s)
{
	for (int i = 1; i <= s->n_channels; i++) {
		char name[32];
		snprintf(name, sizeof(name), "%s:[%d]", channel_kind_name(s->ch[i].kind), 7000 + i);
		struct event ev = {.kind = EV_CHANNEL,
				   .time_ns = s->now,
				   .channel = {(uint32_t)i, s->ch[i].kind, name, s->ch[i].capacity, s->ch[i].remote}};
		sim_emit(s, &ev);
		for (int j = 0; j < s->ch[i].n_ends; j++) {
			ev = (struct event){.kind = EV_CHANNEL_END,
					    .time_ns = s->now,
					    .channel_end = {(uint32_t)i, s->ch[i].ends_pid[j], 3 + i, s->ch[i].ends_role[j]}};
			sim_emit(s, &ev);
		}
	}
}

static inline enum wait_class sim_class(const struct sim_channel *c, bool write)
{
	switch (c->kind) {
	case CH_PIPE:
		return write ? WC_PIPE_WRITE : WC_PIPE_READ;
	case CH_UNIX:
		return write ? WC_UNIX_WRITE : WC_UNIX_READ;
	case CH_TCP:
		return write ? WC_TCP_WRITE : WC_TCP_READ;
	case CH_FUTEX:
		return WC_FUTEX;
	case CH_SYSV:
	case CH_POSIX:
		return WC_IPC_QUEUE;
	default:
		return WC_OTHER;
	}
}

static inline void sim_take_io(struct sim_thread *t, struct ev_wait *w)
{
	w->rd_calls = t->rd_calls;
	w->rd_bytes = t->rd_bytes;
	w->wr_calls = t->wr_calls;
	w->wr_bytes = t->wr_bytes;
	w->folded_count = t->folded_count;
	w->folded_ns = t->folded_ns;
	w->handoff_count = t->handoff_count;
	w->handoff_tid = t->handoff_tid;
	t->rd_calls = t->rd_bytes = t->wr_calls = t->wr_bytes = 0;
	t->folded_count = t->handoff_count = 0;
	t->folded_ns = 0;
	t->handoff_tid = 0;
}

/* A thread runs again at `run`: tells its wait, or folds a short preemption. */
static inline void sim_tell_wait(struct sim *s, int i, uint64_t run)
{
	struct sim_thread *t = &s->t[i];
	if (t->cls == WC_NONE) {
		t->run_queue += run - t->out;
		if (run - t->out < 1000000 && t->out != t->last_record) {
			t->folded_count++;
			t->folded_ns += run - t->out;
			if (t->waker) {
				t->handoff_count++;
				t->handoff_tid = s->t[t->waker - 1].tid;
			}
			if (run - t->last_record < 10000000)
				return;
			t->out = t->wake = run; /* a summary: its own preemption is folded */
		} else if (t->out == run) {
			return;
		}
	} else {
		t->run_queue += run - t->wake;
	}
	struct event ev = {.kind = EV_WAIT, .time_ns = t->out};
	struct ev_wait *w = &ev.wait;
	w->tid = t->tid;
	w->cls = t->cls;
	w->waker_ctx = t->cls == WC_NONE ? WAKER_NONE : t->ctx;
	w->preempted = t->cls == WC_NONE;
	w->t_wake = t->cls == WC_NONE ? t->out : t->wake;
	w->t_run = run;
	if (t->waker && t->cls != WC_NONE) {
		w->waker_tid = s->t[t->waker - 1].tid;
		w->waker_site = w->waker_stack = 0;
		if (t->waker_site) {
			w->waker_site = t->waker_site;
			w->waker_stack = t->waker_site * 4;
		}
	}
	w->channel = t->channel;
	w->bytes = t->bytes;
	w->site = sim_site(i, t->pc);
	w->stack = sim_site(i, t->pc) * 4;
	sim_take_io(t, w);
	t->last_record = run;
	s->n_waits++;
	sim_emit(s, &ev);
}

static inline void sim_block(struct sim *s, int i, enum wait_class cls, uint32_t channel)
{
	struct sim_thread *t = &s->t[i];
	t->state = SIM_BLOCKED;
	t->out = s->now;
	t->wake = SIM_NEVER;
	t->timer_at = SIM_NEVER;
	t->cls = cls;
	t->channel = channel;
	t->waker = 0;
	t->waker_site = 0;
	t->bytes = 0;
	s->running[t->cpu] = 0;
	s->busy_until[t->cpu] = s->now + s->switch_ns;
	t->cpu = -1;
}

static inline bool sim_cpu_free(const struct sim *s)
{
	for (int c = 0; c < s->cpus; c++)
		if (!s->running[c])
			return true;
	return false;
}

/* Wakes thread i; by: thread + 1, or 0 for an interrupt. */
static inline void sim_wake(struct sim *s, int i, int by, uint32_t bytes)
{
	struct sim_thread *t = &s->t[i];
	t->state = SIM_RUNNABLE;
	t->wake = s->now;
	t->waker = by;
	t->ctx = by ? WAKER_TASK : WAKER_HARDIRQ;
	t->waker_site = by ? sim_site(by - 1, s->t[by - 1].pc) : 0;
	t->bytes = bytes;
	t->timer_at = SIM_NEVER;
	struct sim_thread *w = by ? &s->t[by - 1] : NULL;
	if (w && s->preempt && w->state == SIM_RUNNING && !sim_cpu_free(s) && s->queue_len == 0) {
		int cpu = w->cpu; /* the waker gives way */
		w->state = SIM_RUNNABLE;
		w->cls = WC_NONE;
		w->out = s->now;
		w->waker = i + 1;
		w->cpu = -1;
		w->ready_at = s->now;
		s->running[cpu] = 0;
		s->busy_until[cpu] = s->now + s->switch_ns;
		t->ready_at = s->now;
		s->queue[s->queue_len++] = i;
		s->queue[s->queue_len++] = by - 1;
		return;
	}
	t->ready_at = s->now + s->wake_ns;
	s->queue[s->queue_len++] = i;
}

static inline void sim_wake_receivers(struct sim *s, int channel, int by, uint32_t bytes)
{
	for (int i = 0; i < s->n_threads; i++) {
		struct sim_thread *t = &s->t[i];
		if (t->state != SIM_BLOCKED || t->wake != SIM_NEVER)
			continue;
		const struct sim_ins *in = &t->prog[t->pc];
		if (in->op == SIM_RECV && in->arg == channel) {
			sim_wake(s, i, by, bytes);
			return;
		}
		if (in->op == SIM_RECV_ANY && channel >= in->arg && channel < in->arg + (int)in->n) {
			t->channel = (uint32_t)channel;
			sim_wake(s, i, by, bytes);
			return;
		}
	}
}

static inline void sim_wake_sender(struct sim *s, int channel, int by)
{
	for (int i = 0; i < s->n_threads; i++) {
		struct sim_thread *t = &s->t[i];
		const struct sim_ins *in = t->state == SIM_BLOCKED ? &t->prog[t->pc] : NULL;
		if (!in || t->wake != SIM_NEVER)
			continue;
		if ((in->op == SIM_SEND && in->arg == channel) || (in->op == SIM_REPLY && in->arg + t->remembered == channel)) {
			sim_wake(s, i, by, 0);
			return;
		}
	}
}

static inline void sim_pop(struct sim *s, int i, int channel)
{
	struct sim_channel *c = &s->ch[channel];
	struct sim_message m = c->q[c->head];
	c->head = (c->head + 1) % SIM_QUEUE;
	c->len--;
	c->fill -= m.bytes;
	s->t[i].rd_calls++;
	s->t[i].rd_bytes += m.bytes;
	s->t[i].got += m.bytes;
}

static inline void sim_exit_thread(struct sim *s, int i);

/* What it costs before the instruction takes effect. */
static inline uint64_t sim_cost(struct sim *s, const struct sim_ins *in)
{
	switch (in->op) {
	case SIM_COMPUTE:
		return (uint64_t)((double)in->n * (1 + s->jitter * (2 * sim_random(s) - 1)));
	case SIM_ITEM:
	case SIM_LOOP:
	case SIM_END:
		return 0;
	case SIM_SPAWN_WAIT:
		return 100 * s->sys_ns;
	default:
		return s->sys_ns;
	}
}

/* The instruction takes effect. Returns false when the thread blocked, gave way or ended. */
static inline bool sim_effect(struct sim *s, int i)
{
	struct sim_thread *t = &s->t[i];
	const struct sim_ins *in = &t->prog[t->pc];
	int channel = in->op == SIM_REPLY ? in->arg + t->remembered : in->arg;
	struct sim_channel *c = &s->ch[in->op == SIM_SPAWN_WAIT || in->op == SIM_LOOP || channel < 0 ? 0 : channel];
	switch (in->op) {
	case SIM_END:
		sim_exit_thread(s, i);
		return false;
	case SIM_COMPUTE:
		break;
	case SIM_ITEM:
		s->items++;
		break;
	case SIM_LOOP: {
		uint64_t *left = &t->loops[t->pc % 16];
		t->charged = false;
		if (in->n == 0) {
			t->pc = in->arg;
			return true;
		}
		if (*left == 0)
			*left = in->n + 1;
		if (--*left > 1 || in->n == 1) {
			if (in->n == 1)
				*left = 0;
			else {
				t->pc = in->arg;
				return true;
			}
		} else
			*left = 0;
		break;
	}
	case SIM_SEND:
	case SIM_REPLY:
		if ((c->capacity && c->fill + in->n > c->capacity && c->fill) || c->len == SIM_QUEUE) {
			sim_block(s, i, sim_class(c, true), (uint32_t)channel);
			return false;
		}
		c->q[(c->head + c->len++) % SIM_QUEUE] = (struct sim_message){(uint32_t)in->n};
		c->fill += in->n;
		t->wr_calls++;
		t->wr_bytes += (uint32_t)in->n;
		sim_wake_receivers(s, channel, i + 1, (uint32_t)in->n);
		break;
	case SIM_RECV:
		if (!c->len) {
			sim_block(s, i, sim_class(c, false), (uint32_t)channel);
			return false;
		}
		bool was_full = c->capacity && c->fill * 2 > c->capacity;
		do
			sim_pop(s, i, channel);
		while (c->len && in->n && t->got < in->n);
		if (was_full || c->capacity == 0 || c->len == 0 || c->fill * 2 <= c->capacity)
			sim_wake_sender(s, channel, i + 1);
		if (in->n && t->got < in->n)
			return t->state == SIM_RUNNING && (t->charged = false, true);
		t->got = 0;
		break;
	case SIM_RECV_ANY: {
		int found = -1;
		for (int k = 0; k < (int)in->n && found < 0; k++) {
			int at = (t->remembered + 1 + k) % (int)in->n;
			if (s->ch[in->arg + at].len)
				found = at;
		}
		if (found < 0) {
			sim_block(s, i, WC_POLL, 0);
			return false;
		}
		t->remembered = found;
		sim_pop(s, i, in->arg + found);
		t->got = 0;
		sim_wake_sender(s, in->arg + found, i + 1);
		break;
	}
	case SIM_LOCK:
		if (c->holder && c->holder != i + 1) {
			sim_block(s, i, WC_FUTEX, (uint32_t)channel);
			return false;
		}
		c->holder = i + 1;
		break;
	case SIM_UNLOCK:
		c->holder = 0;
		for (int k = 1; k <= s->n_threads; k++) {
			int j = (i + k) % s->n_threads;
			if (s->t[j].state == SIM_BLOCKED && s->t[j].wake == SIM_NEVER && s->t[j].prog[s->t[j].pc].op == SIM_LOCK &&
			    s->t[j].prog[s->t[j].pc].arg == channel) {
				c->holder = j + 1; /* handed over */
				sim_wake(s, j, i + 1, 0);
				break;
			}
		}
		break;
	case SIM_SLEEP:
	case SIM_FSYNC:
	case SIM_REMOTE:
		if (t->wake != SIM_NEVER && t->cls != WC_NONE && t->timer_at == 1) {
			t->timer_at = SIM_NEVER;
			break;
		}
		sim_block(s, i, in->op == SIM_SLEEP ? WC_SLEEP : in->op == SIM_FSYNC ? WC_FILE_IO : WC_TCP_READ,
			  in->op == SIM_SLEEP ? 0 : (uint32_t)in->arg);
		t->timer_at = s->now + (uint64_t)((double)in->n * (1 + s->jitter * (2 * sim_random(s) - 1)));
		return false;
	case SIM_SPAWN_WAIT:
		if (t->timer_at == 1) {
			t->timer_at = SIM_NEVER;
			break;
		}
		sim_process(s, s->program_names[in->arg], s->programs[in->arg], t->pid);
		for (int j = 0; j < s->n_threads; j++)
			if (s->t[j].state == SIM_RUNNABLE && s->t[j].pid == s->next_pid - 1)
				s->t[j].parent = i + 1;
		sim_block(s, i, WC_CHILD, 0);
		return false;
	case SIM_IDLE:
		sim_block(s, i, WC_POLL, 0);
		return false;
	}
	t->pc++;
	t->charged = false;
	return t->state == SIM_RUNNING;
}

static inline void sim_counts(struct sim *s, int i)
{
	struct sim_thread *t = &s->t[i];
	struct event ev = {.kind = EV_COUNTS, .time_ns = s->now, .counts = {.tid = t->tid, .on_cpu_ns = t->on_cpu, .run_queue_ns = t->run_queue}};
	ev.counts.rd_calls = t->rd_calls; /* those that no wait told */
	ev.counts.rd_bytes = t->rd_bytes;
	ev.counts.wr_calls = t->wr_calls;
	ev.counts.wr_bytes = t->wr_bytes;
	(void)ev; /* the stream's totals of calls come with waits; a last preemption record carries the rest */
	if (t->rd_calls || t->wr_calls || t->folded_count) {
		struct event w = {.kind = EV_WAIT, .time_ns = s->now};
		w.wait.tid = t->tid;
		w.wait.preempted = 1;
		w.wait.t_wake = w.wait.t_run = s->now;
		sim_take_io(t, &w.wait);
		sim_emit(s, &w);
	}
}

static inline void sim_exit_thread(struct sim *s, int i)
{
	struct sim_thread *t = &s->t[i];
	s->running[t->cpu] = 0;
	s->busy_until[t->cpu] = s->now + s->switch_ns;
	sim_counts(s, i);
	struct event ev = {.kind = EV_THREAD_EXIT, .time_ns = s->now, .thread_exit = {t->pid, t->tid}};
	sim_emit(s, &ev);
	bool last = true;
	for (int j = 0; j < s->n_threads; j++)
		if (j != i && s->t[j].state != SIM_GONE && s->t[j].pid == t->pid)
			last = false;
	if (last) {
		ev = (struct event){.kind = EV_PROCESS_EXIT, .time_ns = s->now, .process_exit = {t->pid, 0}};
		sim_emit(s, &ev);
		if (t->parent) {
			struct sim_thread *p = &s->t[t->parent - 1];
			sim_wake(s, t->parent - 1, i + 1, 0);
			p->timer_at = 1;
		}
	}
	t->state = SIM_GONE;
	t->cpu = -1;
}

static inline bool sim_in_kernel(const struct sim_thread *t)
{
	enum sim_op op = t->prog[t->pc].op;
	return op != SIM_COMPUTE;
}

static inline void sim_sample(struct sim *s, int i, uint64_t ran)
{
	struct sim_thread *t = &s->t[i];
	t->on_cpu += ran;
	while (t->on_cpu >= t->sample_at) {
		bool kernel = sim_in_kernel(t);
		struct event ev = {.kind = EV_SAMPLE, .time_ns = s->now,
				   .sample = {t->tid, (uint32_t)t->cpu, sim_site(i, t->pc) * 4 + (kernel ? 1 : 2), (uint32_t)s->sample_ns, kernel}};
		sim_emit(s, &ev);
		t->sample_at += s->sample_ns;
	}
}

static inline void sim_dispatch(struct sim *s)
{
	for (int c = 0; c < s->cpus; c++) {
		if (s->running[c] || s->busy_until[c] > s->now)
			continue;
		for (int q = 0; q < s->queue_len; q++) {
			int i = s->queue[q];
			if (s->t[i].ready_at > s->now)
				continue;
			memmove(&s->queue[q], &s->queue[q + 1], (size_t)(s->queue_len - q - 1) * sizeof(int));
			s->queue_len--;
			s->t[i].state = SIM_RUNNING;
			s->t[i].cpu = c;
			s->running[c] = i + 1;
			s->t[i].slice_start = s->now;
			if (s->t[i].timer_at == 0)
				s->t[i].timer_at = SIM_NEVER;
			sim_tell_wait(s, i, s->now);
			break;
		}
	}
}

static inline uint64_t sim_next(const struct sim *s)
{
	uint64_t t = SIM_NEVER;
	for (int c = 0; c < s->cpus; c++) {
		if (s->running[c]) {
			const struct sim_thread *r = &s->t[s->running[c] - 1];
			uint64_t step = r->left;
			uint64_t slice = r->slice_start + s->slice_ns > s->now ? r->slice_start + s->slice_ns - s->now : 0;
			if (s->queue_len && slice < step)
				step = slice;
			if (s->now + step < t)
				t = s->now + step;
		} else if (s->queue_len && s->busy_until[c] > s->now && s->busy_until[c] < t) {
			t = s->busy_until[c];
		}
	}
	bool free_cpu = sim_cpu_free(s);
	for (int q = 0; q < s->queue_len; q++)
		if (free_cpu && s->t[s->queue[q]].ready_at > s->now && s->t[s->queue[q]].ready_at < t)
			t = s->t[s->queue[q]].ready_at;
	for (int i = 0; i < s->n_threads; i++)
		if (s->t[i].state == SIM_BLOCKED && s->t[i].timer_at > 1 && s->t[i].timer_at < t)
			t = s->t[i].timer_at;
	return t;
}

static inline void sim_advance(struct sim *s, uint64_t to)
{
	uint64_t dt = to - s->now;
	s->now = to;
	for (int c = 0; c < s->cpus; c++) {
		if (!s->running[c])
			continue;
		int i = s->running[c] - 1;
		uint64_t ran = dt < s->t[i].left ? dt : s->t[i].left;
		s->t[i].left -= ran;
		sim_sample(s, i, ran);
	}
}

/* Lets every running thread whose instruction is due take effect, and charges the next one. */
static inline void sim_run_due(struct sim *s)
{
	for (int c = 0; c < s->cpus; c++) {
		for (int guard = 0; s->running[c]; guard++) {
			int i = s->running[c] - 1;
			struct sim_thread *t = &s->t[i];
			if (!t->charged) {
				t->left = sim_cost(s, &t->prog[t->pc]);
				t->charged = true;
			}
			if (t->left > 0)
				break;
			assert(guard < 100000);
			if (!sim_effect(s, i))
				break;
		}
		if (s->running[c] && s->queue_len) {
			int i = s->running[c] - 1;
			struct sim_thread *t = &s->t[i];
			bool waiting = false;
			for (int q = 0; q < s->queue_len; q++)
				waiting |= s->t[s->queue[q]].ready_at <= s->now;
			if (waiting && s->now >= t->slice_start + s->slice_ns && t->left > 0) { /* the slice is over */
				t->state = SIM_RUNNABLE;
				t->cls = WC_NONE;
				t->out = s->now;
				t->waker = 0;
				t->ready_at = s->now;
				t->cpu = -1;
				s->running[c] = 0;
				s->busy_until[c] = s->now + s->switch_ns;
				s->queue[s->queue_len++] = i;
			} else if (!waiting && s->now >= t->slice_start + s->slice_ns) {
				t->slice_start = s->now;
			}
		} else if (s->running[c]) {
			struct sim_thread *t = &s->t[s->running[c] - 1];
			if (s->now >= t->slice_start + s->slice_ns)
				t->slice_start = s->now;
		}
	}
}

static inline void sim_fire_timers(struct sim *s)
{
	for (int i = 0; i < s->n_threads; i++) {
		struct sim_thread *t = &s->t[i];
		if (t->state == SIM_BLOCKED && t->timer_at > 1 && t->timer_at <= s->now) {
			bool remote = t->prog[t->pc].op == SIM_REMOTE;
			sim_wake(s, i, 0, 0);
			t->ctx = remote ? WAKER_SOFTIRQ : WAKER_HARDIRQ;
			t->timer_at = 1;
		}
	}
}

static inline void sim_finish(struct sim *s)
{
	sim_tell_channels(s);
	for (int i = 0; i < s->n_threads; i++) {
		struct sim_thread *t = &s->t[i];
		if (t->state == SIM_GONE)
			continue;
		if (t->state == SIM_BLOCKED) {
			struct event ev = {.kind = EV_WAIT, .time_ns = t->out};
			ev.wait.tid = t->tid;
			ev.wait.cls = t->cls;
			ev.wait.in_progress = 1;
			ev.wait.t_wake = ev.wait.t_run = s->now;
			ev.wait.channel = t->channel;
			ev.wait.site = sim_site(i, t->pc);
			ev.wait.stack = ev.wait.site * 4;
			sim_take_io(t, &ev.wait);
			sim_emit(s, &ev);
		} else {
			sim_counts(s, i);
		}
	}
	struct event ev = {.kind = EV_END, .time_ns = s->now};
	sim_emit(s, &ev);
}

/* Runs until all threads ended, nothing can happen any more, or until_ns (since the start). Returns the elapsed ns. */
static inline uint64_t sim_run(struct sim *s)
{
	sim_tell_channels(s);
	uint64_t end = s->until_ns == SIM_NEVER ? SIM_NEVER : s->start + s->until_ns;
	for (;;) {
		sim_fire_timers(s);
		sim_dispatch(s);
		sim_run_due(s);
		sim_dispatch(s);
		bool due = false;
		for (int c = 0; c < s->cpus; c++)
			due |= s->running[c] && (!s->t[s->running[c] - 1].charged || s->t[s->running[c] - 1].left == 0);
		if (due)
			continue;
		uint64_t t = sim_next(s);
		if (t == SIM_NEVER || t >= end) {
			if (end != SIM_NEVER && (t != SIM_NEVER || end > s->now))
				sim_advance(s, end);
			break;
		}
		sim_advance(s, t);
	}
	sim_finish(s);
	return s->now - s->start;
}

#endif
