/* SPDX-License-Identifier: Apache-2.0
 *
 * In what state a thread is, on what it waits, with which stack. In: /proc/PID/task/TID/{schedstat,syscall,io}, its memory; out: EV_TICK,
 * EV_COUNTS.
 *
 * A look is guarded against motion: the run count of schedstat before and after. A thread whose run count has not moved is still in
 * the same wait: its state, channel and stack are those of the last look, for the price of one read. The longer it has not moved, the
 * seldomer it is looked at; when it has moved at last, the time in between is halved between the old state and the new one.
 */
#include "sampler/user/user_internal.h"
#include "sampler/waits/syscalls.h"

#include "sampler/kernel/records.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* After this many unmoved looks the next one is put off: by an eighth of the looks so far, at most MAX_SKIP ticks (0.16 s at 99 Hz). */
#define SKIP_DIVISOR 8
#define MAX_SKIP 16
#define COUNTS_NS 250000000ull /* counters of a thread that moves are told this often */

#if defined(__x86_64__)
#define REG_SP_NO 7
#define REG_PC_NO 16
#elif defined(__aarch64__)
#define REG_SP_NO 31
#define REG_PC_NO 32
#endif

static ssize_t read_task(struct user_backend *b, const struct watched_thread *t, int fd, const char *name, char *buf, size_t size)
{
	(void)b;
	ssize_t n;
	if (fd >= 0) {
		n = pread(fd, buf, size - 1, 0);
	} else if (fd == -2) {
		return -EACCES;
	} else {
		char path[80];
		snprintf(path, sizeof path, "/proc/%d/task/%d/%s", t->pid, t->tid, name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		n = pread(fd, buf, size - 1, 0);
		int e = errno;
		close(fd);
		errno = e;
	}
	if (n < 0)
		return -errno;
	buf[n] = 0;
	return n;
}

struct schedstat {
	uint64_t on_cpu_ns, run_queue_ns, switches;
};

/* 0, or -errno: -ESRCH, -ENOENT when the thread is gone. */
static int read_schedstat(struct user_backend *b, const struct watched_thread *t, struct schedstat *out)
{
	char buf[96];
	ssize_t n = read_task(b, t, t->schedstat_fd, "schedstat", buf, sizeof buf);
	if (n < 0)
		return (int)n;
	unsigned long long run, wait, count;
	if (sscanf(buf, "%llu %llu %llu", &run, &wait, &count) != 3)
		return -ESRCH;
	*out = (struct schedstat){run, wait, count};
	return 0;
}

/* State letter of /proc: for threads whose system call we may not read. */
static char read_state(const struct watched_thread *t)
{
	char path[80], buf[512];
	snprintf(path, sizeof path, "/proc/%d/task/%d/stat", t->pid, t->tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, buf, sizeof buf - 1);
	close(fd);
	if (n <= 0)
		return 0;
	buf[n] = 0;
	const char *p = strrchr(buf, ')');
	return p && p[1] ? p[2] : 0;
}

/* ---- channels ---- */

struct waited {
	enum fd_object object;
	uint32_t channel;
};

static struct waited anon_object(struct user_backend *b, const struct watched_thread *t, int fd)
{
	char path[64], name[64];
	snprintf(path, sizeof path, "/proc/%d/fd/%d", t->pid, fd);
	ssize_t n = readlink(path, name, sizeof name - 1);
	name[n > 0 ? n : 0] = 0;
	enum channel_kind kind = CH_NONE;
	enum fd_object object = FDO_ANON;
	if (strcmp(name, "anon_inode:[eventfd]") == 0) {
		kind = CH_EVENTFD;
		object = FDO_EVENTFD;
	} else if (strcmp(name, "anon_inode:[timerfd]") == 0) {
		kind = CH_TIMER;
		object = FDO_TIMERFD;
	} else if (strcmp(name, "anon_inode:[signalfd]") == 0) {
		object = FDO_SIGNALFD;
	} else if (strcmp(name, "anon_inode:[eventpoll]") == 0) {
		kind = CH_EPOLL;
	}
	char label[112];
	snprintf(label, sizeof label, "%s fd %d of %d", name, fd, t->pid);
	return (struct waited){object, channels_other(b->channels, kind, (uint64_t)t->pid << 32 | (uint32_t)fd, label)};
}

static enum end_role role_of(enum syscall_category c)
{
	return c == CAT_READ ? END_READER : c == CAT_WRITE ? END_WRITER : END_BOTH;
}

/* The object behind a descriptor: by stat(2) through /proc, which opens nothing (opening a pipe would change its count of ends). */
static struct waited fd_waited(struct user_backend *b, const struct watched_thread *t, int fd, enum syscall_category c, uint64_t now_ns)
{
	char path[64], name[4096];
	struct stat st;
	struct waited w = {FDO_UNKNOWN, 0};
	snprintf(path, sizeof path, "/proc/%d/fd/%d", t->pid, fd);
	if (stat(path, &st) < 0)
		return w;
	uint32_t dev = (uint32_t)st.st_dev;
	if (S_ISFIFO(st.st_mode)) {
		ssize_t n = readlink(path, name, sizeof name - 1);
		name[n > 0 ? n : 0] = 0;
		w = (struct waited){FDO_PIPE, channels_pipe(b->channels, st.st_ino, dev, name[0] == '/' ? name : NULL, 0)};
		channels_end(b->channels, w.channel, t->pid, fd, role_of(c));
	} else if (S_ISSOCK(st.st_mode)) {
		struct socket_info s;
		if (sockets_find(b->sockets, st.st_ino, now_ns, &s)) {
			w = (struct waited){s.kind == CH_UNIX ? FDO_UNIX : FDO_INET, s.channel};
			channels_end(b->channels, s.channel, t->pid, fd, END_BOTH);
		}
	} else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode)) {
		ssize_t n = readlink(path, name, sizeof name - 1);
		name[n > 0 ? n : 0] = 0;
		w = (struct waited){S_ISCHR(st.st_mode) ? FDO_CHAR : FDO_FILE, channels_file(b->channels, dev, st.st_ino, name)};
	} else {
		w = anon_object(b, t, fd);
	}
	return w;
}

struct blocked_call {
	long nr;
	uint64_t args[6], sp, pc;
};

static bool is_gil_word(const struct watched_process *p, uint64_t addr)
{
	for (uint32_t i = 0; i < p->n_gil_words; i++)
		if (p->gil_words[i] == addr)
			return true;
	return false;
}

static void classify(struct user_backend *b, struct watched_thread *t, const struct blocked_call *call, uint64_t now_ns)
{
	enum syscall_category c = syscall_category(call->nr);
	unsigned f = syscall_flags(call->nr);
	struct waited w = {FDO_UNKNOWN, 0};
	if (call->nr < 0) {
		t->cls = WC_PAGE_FAULT;
		t->channel = 0;
		return;
	}
	if ((f & SYS_FD) && c != CAT_POLL)
		w = fd_waited(b, t, (int)call->args[0], c, now_ns);
	else if (f & SYS_FUTEX)
		w.channel = call->args[1] & FUTEX_PRIVATE_FLAG ? channels_futex_private(b->channels, t->pid, call->args[0])
							       : channels_futex_shared(b->channels, t->pid, call->args[0]);
	else if (f & (SYS_SEM | SYS_MSGQ))
		w.channel = channels_sysv(b->channels, f & SYS_MSGQ, (int32_t)call->args[0]);
	else if (c == CAT_CHILD)
		w.channel = channels_child(b->channels, t->pid);
	if (w.object == FDO_FILE && c == CAT_IPC)
		w.object = FDO_QUEUE;
	t->cls = syscall_wait_class(c, w.object);
	t->channel = w.channel;
	if ((f & SYS_FUTEX) && is_gil_word(t->process, call->args[0]))
		t->cls = WC_GIL;
}

/* ---- stacks ---- */

uint32_t observe_stack(struct user_backend *b, const struct watched_process *p, const struct runtime_thread *t)
{
	struct runtime_stack_info info = {0};
	size_t n = runtime_stack(b->runtimes, t, b->frames, USER_MAX_FRAMES, &info);
	for (size_t i = 0; i < n; i++)
		b->ids[i] = b->frames[i].id ? b->frames[i].id : stack_table_native(b->stacks, p->as, t->time_ns, b->frames[i].pc, i > 0);
	return stack_table_stack(b->stacks, b->ids, n, info.truncated, b->fn, b->ctx);
}

/* Page-aligned pieces: one absent page fails a whole read. One call when all is there, which is the rule. */
static size_t read_stack(struct user_backend *b, int32_t pid, uint64_t sp)
{
	size_t got = 0;
	struct iovec l = {b->stack_bytes, STACK_CHUNK}, r[STACK_CHUNK / 4096 + 1];
	unsigned n = 0;
	while (got < STACK_CHUNK) {
		size_t part = 4096 - ((sp + got) & 4095);
		if (part > STACK_CHUNK - got)
			part = STACK_CHUNK - got;
		r[n++] = (struct iovec){(void *)(uintptr_t)(sp + got), part};
		got += part;
	}
	ssize_t rc = process_vm_readv(pid, &l, 1, r, n, 0);
	return rc > 0 ? (size_t)rc : 0;
}

/* The runtime knows what a futex means to it: its interpreter's lock, a monitor; and who holds it. */
static void ask_runtime(struct user_backend *b, struct watched_thread *t, const struct runtime_thread *rt, uint64_t futex_addr)
{
	struct watched_process *p = t->process;
	struct runtime_wait rw;
	if (p->runtime == RT_NATIVE || !runtime_wait(b->runtimes, rt, futex_addr, &rw))
		return;
	t->cls = rw.cls;
	t->holder = rw.holder_tid;
	if (rw.cls == WC_GIL && !is_gil_word(p, futex_addr) && p->n_gil_words < sizeof p->gil_words / sizeof *p->gil_words)
		p->gil_words[p->n_gil_words++] = futex_addr;
}

static void take_stack(struct user_backend *b, struct watched_thread *t, const struct blocked_call *call)
{
	struct watched_process *p = t->process;
	struct unwind_regs regs = {.valid = 1ull << REG_SP_NO | 1ull << REG_PC_NO};
	regs.r[REG_SP_NO] = call->sp;
	regs.r[REG_PC_NO] = call->pc;
	struct unwind_memory mem = {
	    .stack = b->stack_bytes, .stack_addr = call->sp, .stack_len = read_stack(b, t->pid, call->sp), .pid = t->pid};
	struct runtime_thread rt = {.pid = t->pid, .tid = t->tid, .as = p->as, .time_ns = UNWIND_NOW, .regs = &regs, .mem = &mem};
	struct code_location loc;
	if (!address_space_locate(p->as, UNWIND_NOW, call->pc, false, &loc)) {
		address_space_scan(p->as, NULL); /* something was mapped since */
		stack_table_mappings_changed(b->stacks);
		runtimes_mapped(b->runtimes, p->pid, "");
	}
	t->stack = observe_stack(b, p, &rt);
	if ((syscall_flags(call->nr) & SYS_FUTEX) && call->args[0])
		ask_runtime(b, t, &rt, call->args[0]);
}

/* ---- one look ---- */

/* Parses /proc/.../syscall. 1: blocked; 0: running; -errno: not allowed, gone. */
static int read_call(struct user_backend *b, const struct watched_thread *t, struct blocked_call *out)
{
	char buf[256];
	ssize_t n = read_task(b, t, t->syscall_fd, "syscall", buf, sizeof buf);
	if (n < 0)
		return (int)n;
	if (buf[0] == 'r')
		return 0;
	unsigned long long a[6] = {0}, sp = 0, pc = 0;
	long nr;
	if (sscanf(buf, "%ld %llx %llx %llx %llx %llx %llx %llx %llx", &nr, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5], &sp, &pc) == 9) {
		*out = (struct blocked_call){.nr = nr, .sp = sp, .pc = pc};
		for (int i = 0; i < 6; i++)
			out->args[i] = a[i];
		return 1;
	}
	if (sscanf(buf, "%ld %llx %llx", &nr, &sp, &pc) == 3) {
		*out = (struct blocked_call){.nr = -1, .sp = sp, .pc = pc};
		return 1;
	}
	return 0;
}

static void tell_tick(struct user_backend *b, const struct watched_thread *t, uint64_t at_ns, uint64_t dt_ns, bool same)
{
	while (dt_ns) {
		uint32_t dt = dt_ns > 4000000000u ? 4000000000u : (uint32_t)dt_ns;
		struct event ev = {.kind = EV_TICK,
				   .time_ns = at_ns - (dt_ns - dt),
				   .tick = {.tid = t->tid,
					    .state = t->state,
					    .cls = t->state == TICK_BLOCKED ? t->cls : WC_NONE,
					    .same = same,
					    .dt_ns = dt,
					    .channel = t->state == TICK_BLOCKED ? t->channel : 0,
					    .stack = t->state == TICK_BLOCKED ? t->stack : 0,
					    .peer_tid = t->state == TICK_BLOCKED ? t->holder : 0,
					    .in_state_ns = t->in_state_ns}};
		user_emit(b, &ev);
		dt_ns -= dt;
	}
}

static void look_denied(struct watched_thread *t)
{
	char s = read_state(t);
	t->state = s == 'R' ? TICK_RUNNING : TICK_BLOCKED;
	t->cls = s == 'D' ? WC_FILE_IO : s == 'T' || s == 't' ? WC_STOPPED : WC_OTHER;
	t->channel = t->stack = 0;
}

/* What a thread that has moved does now. */
static void look_anew(struct user_backend *b, struct watched_thread *t, const struct schedstat *before, uint64_t now_ns)
{
	struct blocked_call call = {0};
	int rc = t->process->denied ? -EACCES : read_call(b, t, &call);
	t->channel = t->stack = 0;
	t->holder = 0;
	if (rc == -EACCES || rc == -EPERM) {
		b->counters.unreadable++;
		look_denied(t);
		return;
	}
	if (rc <= 0) {
		t->state = TICK_RUNNING;
		return;
	}
	t->state = TICK_BLOCKED;
	classify(b, t, &call, now_ns);
	if (t->cls == WC_PAGE_FAULT || t->cls == WC_OTHER) {
		char s = read_state(t);
		if (s == 'T' || s == 't')
			t->cls = WC_STOPPED;
		else if (s == 'R') { /* preempted in user code: "-1 sp pc" too */
			t->state = TICK_RUNNABLE;
			return;
		}
	}
	take_stack(b, t, &call);
	struct schedstat after;
	if (read_schedstat(b, t, &after) || after.switches != before->switches) {
		b->counters.torn++;
		t->stack = 0; /* it ran meanwhile: what was read may be of two moments. The class is of one read and stands */
	}
}

/* When the scheduler last put a thread on a CPU, in ms of its own clock; 0 when the kernel does not tell (CONFIG_SCHED_DEBUG). */
static double exec_start_ms(int32_t pid, int32_t tid)
{
	char path[80], buf[512];
	snprintf(path, sizeof path, "/proc/%d/task/%d/sched", pid, tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, buf, sizeof buf - 1);
	close(fd);
	buf[n > 0 ? n : 0] = 0;
	const char *line = strstr(buf, "se.exec_start"), *colon = line ? strchr(line, ':') : NULL;
	return colon ? strtod(colon + 1, NULL) : 0;
}

/* How long a blocked thread has not run: by its own start of the last run against ours, which is now. */
static uint64_t time_in_state(const struct user_backend *b, const struct watched_thread *t)
{
	double its = exec_start_ms(t->pid, t->tid), now = exec_start_ms(b->own_pid, b->own_pid);
	return t->state == TICK_BLOCKED && its > 0 && now > its ? (uint64_t)((now - its) * 1e6) : 0;
}

bool observe_thread(struct user_backend *b, struct watched_thread *t, uint64_t now_ns)
{
	struct schedstat s;
	int rc = read_schedstat(b, t, &s);
	if (rc)
		return false;
	b->counters.looks++;
	uint64_t dt = now_ns - t->tick_ns, half = t->skip || t->unmoved >= SKIP_DIVISOR ? dt / 2 : 0;
	bool moved = s.switches != t->switches || s.on_cpu_ns != t->on_cpu_ns || t->state != TICK_BLOCKED;
	if (!moved) {
		tell_tick(b, t, now_ns, dt, true);
		t->tick_ns = now_ns;
		t->unmoved++;
		t->skip = t->unmoved / SKIP_DIVISOR;
		t->skip = t->skip > MAX_SKIP ? MAX_SKIP : t->skip;
		return true;
	}
	b->counters.moved++;
	if (half && t->state) /* it was left alone for a while: the old state held for a part of the time */
		tell_tick(b, t, now_ns - half, dt - half, true);
	else
		half = dt;
	t->unmoved = t->skip = 0;
	t->on_cpu_ns = s.on_cpu_ns;
	t->run_queue_ns = s.run_queue_ns;
	t->switches = s.switches;
	tree_check_process(b, t->process, now_ns);
	look_anew(b, t, &s, now_ns);
	t->in_state_ns = b->moment ? time_in_state(b, t) : 0;
	t->seen_running = t->state == TICK_RUNNING ? t->seen_running + 1 : t->seen_running;
	tell_tick(b, t, now_ns, half, false);
	t->tick_ns = now_ns;
	if (now_ns - t->told_ns >= COUNTS_NS)
		observe_counts(b, t, now_ns);
	return true;
}

/* ---- exact counters ---- */

static void read_io(struct user_backend *b, struct watched_thread *t, struct ev_counts *c)
{
	char buf[512];
	unsigned long long v[4];
	if (t->io_fd == -1 && b->open_fds < b->max_fds) {
		char path[80];
		snprintf(path, sizeof path, "/proc/%d/task/%d/io", t->pid, t->tid);
		t->io_fd = open(path, O_RDONLY | O_CLOEXEC);
		if (t->io_fd >= 0)
			b->open_fds++;
		else
			t->io_fd = -2;
	}
	if (t->io_fd < 0 || read_task(b, t, t->io_fd, "io", buf, sizeof buf) <= 0)
		return;
	if (sscanf(buf, "rchar: %llu wchar: %llu syscr: %llu syscw: %llu", &v[0], &v[1], &v[2], &v[3]) != 4)
		return;
	if (t->have_base) {
		c->rd_bytes = v[0] - t->rd_bytes;
		c->wr_bytes = v[1] - t->wr_bytes;
		c->rd_calls = v[2] - t->rd_calls;
		c->wr_calls = v[3] - t->wr_calls;
	}
	t->rd_bytes = v[0];
	t->wr_bytes = v[1];
	t->rd_calls = v[2];
	t->wr_calls = v[3];
}

/* Of the switches, how many the thread asked for. */
static bool read_voluntary(const struct watched_thread *t, uint64_t *voluntary)
{
	char path[80], buf[4096];
	snprintf(path, sizeof path, "/proc/%d/task/%d/status", t->pid, t->tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, buf, sizeof buf - 1);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = 0;
	const char *line = strstr(buf, "\nvoluntary_ctxt_switches:");
	if (!line)
		return false;
	*voluntary = strtoull(line + strlen("\nvoluntary_ctxt_switches:"), NULL, 10);
	return true;
}

void observe_counts(struct user_backend *b, struct watched_thread *t, uint64_t now_ns)
{
	struct schedstat s;
	if (read_schedstat(b, t, &s))
		return;
	struct event ev = {.kind = EV_COUNTS, .time_ns = now_ns, .counts = {.tid = t->tid}};
	uint64_t voluntary = 0;
	read_io(b, t, &ev.counts);
	bool have = read_voluntary(t, &voluntary);
	if (t->have_base) {
		ev.counts.on_cpu_ns = s.on_cpu_ns - t->told_on_cpu_ns;
		ev.counts.run_queue_ns = s.run_queue_ns - t->told_run_queue_ns;
		uint64_t all = s.switches - t->told_switches, v = have ? voluntary - t->told_voluntary : all;
		ev.counts.switches_voluntary = v < all ? v : all;
		ev.counts.switches_involuntary = all - ev.counts.switches_voluntary;
		user_emit(b, &ev);
	}
	t->told_on_cpu_ns = s.on_cpu_ns;
	t->told_run_queue_ns = s.run_queue_ns;
	t->told_switches = s.switches;
	t->told_voluntary = have ? voluntary : t->told_voluntary;
	t->have_base = true;
	t->told_ns = now_ns;
}
