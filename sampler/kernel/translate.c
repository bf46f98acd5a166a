/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of the BPF programs -> events. The hot one is K_WAIT: two table look-ups, no allocation.
 */
#include "sampler/kernel/kernel_internal.h"
#include "sampler/waits/syscalls.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- channels ---- */

/* What an anonymous inode is, by its name in /proc. */
static enum channel_kind anon_kind(int32_t pid, int32_t fd, char *name, size_t size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
	ssize_t n = readlink(path, name, size - 1);
	if (n <= 0) {
		snprintf(name, size, "fd %d of %d", fd, pid);
		return CH_NONE;
	}
	name[n] = 0;
	if (strcmp(name, "anon_inode:[eventfd]") == 0)
		return CH_EVENTFD;
	if (strcmp(name, "anon_inode:[eventpoll]") == 0)
		return CH_EPOLL;
	if (strcmp(name, "anon_inode:[timerfd]") == 0)
		return CH_TIMER;
	return CH_NONE;
}

struct object_entry {
	uint64_t key;
	uint32_t channel;
	uint8_t object; /* enum fd_object */
	UT_hash_handle hh;
};

static enum fd_object object_of_anon(const char *name)
{
	return strcmp(name, "anon_inode:[eventfd]") == 0    ? FDO_EVENTFD
	       : strcmp(name, "anon_inode:[timerfd]") == 0  ? FDO_TIMERFD
	       : strcmp(name, "anon_inode:[signalfd]") == 0 ? FDO_SIGNALFD
							    : FDO_ANON;
}

static uint32_t channel_of_inet(struct kernel_backend *b, const struct k_chan *r)
{
	struct inet_end local = {.port = r->lport}, remote = {.port = r->rport};
	memcpy(local.addr, r->laddr, 16);
	memcpy(remote.addr, r->raddr, 16);
	enum { AF_INET6_ = 10, TCP_LISTEN_ = 10, DGRAM = 2, PROTO_UDP = 17 };
	bool udp = r->sock_type == DGRAM || r->protocol == PROTO_UDP;
	return channels_inet(b->channels, r->family == AF_INET6_, udp, &local, &remote, r->ino, !udp && r->state == TCP_LISTEN_,
			     r->capacity_bytes);
}

static uint32_t channel_of_unix(struct kernel_backend *b, const struct k_chan *r)
{
	char path[120];
	size_t n = r->path_len < sizeof r->path ? r->path_len : sizeof r->path;
	memcpy(path, r->path, n);
	path[n] = 0;
	if (n && !path[0]) /* abstract: shown as ss(8) and /proc/net/unix do */
		path[0] = '@';
	for (size_t i = 0; i + 1 < n; i++)
		if (!path[i])
			path[i] = '@';
	const char *type = r->sock_type == 2 ? "(dgram)" : r->sock_type == 5 ? "(seqpacket)" : "";
	enum { STREAM = 1, SEQPACKET = 5 };
	if (!n && !r->peer_ino && (r->sock_type == STREAM || r->sock_type == SEQPACKET)) {
		/* not connected yet: no identity worth keeping. One channel for all of the process's attempts */
		char name[48];
		snprintf(name, sizeof name, "unix, connecting from %u", r->tgid);
		return channels_other(b->channels, CH_UNIX, r->tgid, name);
	}
	return channels_unix(b->channels, r->ino, r->peer_ino, path, type, r->capacity_bytes);
}

static void on_chan(struct kernel_backend *b, const struct k_chan *r)
{
	char name[4096] = "";
	struct object_entry *o;
	uint32_t id = 0;
	enum fd_object object = FDO_UNKNOWN;
	switch (r->obj) {
	case K_OBJ_PIPE:
		object = FDO_PIPE;
		/* pipefs has device number 0:N; a FIFO lives on a real file system and has a name */
		anon_kind(r->tgid, r->fd, name, sizeof name);
		id = channels_pipe(b->channels, r->ino, r->dev, name[0] == '/' ? name : NULL, r->capacity_bytes);
		break;
	case K_OBJ_UNIX:
		object = FDO_UNIX;
		id = channel_of_unix(b, r);
		break;
	case K_OBJ_INET:
		object = FDO_INET;
		id = channel_of_inet(b, r);
		break;
	case K_OBJ_FILE:
		object = FDO_FILE;
		anon_kind(r->tgid, r->fd, name, sizeof name);
		id = channels_file(b->channels, r->dev, r->ino, name);
		break;
	case K_OBJ_MQUEUE:
		object = FDO_QUEUE;
		anon_kind(r->tgid, r->fd, name, sizeof name);
		id = channels_other(b->channels, CH_POSIX, r->key, name);
		break;
	case K_OBJ_CHAR:
		object = FDO_CHAR;
		anon_kind(r->tgid, r->fd, name, sizeof name);
		id = channels_other(b->channels, CH_FILE, r->key, name);
		break;
	case K_OBJ_ANON: {
		enum channel_kind k = anon_kind(r->tgid, r->fd, name, sizeof name);
		object = object_of_anon(name);
		id = channels_other(b->channels, k, r->key, name);
		break;
	}
	default:
		anon_kind(r->tgid, r->fd, name, sizeof name);
		id = channels_other(b->channels, CH_NONE, r->key, name);
		break;
	}
	HASH_FIND(hh, b->objects_by_key, &r->key, sizeof r->key, o);
	if (!o && (o = calloc(1, sizeof *o))) {
		o->key = r->key;
		HASH_ADD(hh, b->objects_by_key, key, sizeof o->key, o);
	}
	if (!o)
		return;
	if (o->channel != id)
		b->channel_epoch++; /* a reused number means another channel now: threads forget their cached ids */
	o->channel = id;
	o->object = object;
	enum end_role role = r->obj != K_OBJ_PIPE ? END_BOTH : r->f_mode == 1 ? END_READER : r->f_mode == 2 ? END_WRITER : END_BOTH;
	if (r->obj == K_OBJ_PIPE || r->obj == K_OBJ_UNIX || r->obj == K_OBJ_INET || r->obj == K_OBJ_MQUEUE || object == FDO_EVENTFD)
		channels_end(b->channels, id, r->tgid, r->fd, role);
}

void translate_forget_objects(struct kernel_backend *b, bool all)
{
	struct object_entry *o, *tmp;
	b->channel_epoch++;
	HASH_ITER(hh, b->objects_by_key, o, tmp)
	{
		if (!all && channels_known(b->channels, o->channel))
			continue;
		HASH_DEL(b->objects_by_key, o);
		free(o);
	}
}

static const struct object_entry *object_entry(struct kernel_backend *b, uint64_t key)
{
	struct object_entry *o;
	HASH_FIND(hh, b->objects_by_key, &key, sizeof key, o);
	return o;
}

static enum fd_object fd_object_of_key(struct kernel_backend *b, uint64_t key)
{
	switch (K_KEY_OBJ(key)) {
	case K_OBJ_PIPE:
		return FDO_PIPE;
	case K_OBJ_UNIX:
		return FDO_UNIX;
	case K_OBJ_INET:
		return FDO_INET;
	case K_OBJ_FILE:
		return FDO_FILE;
	case K_OBJ_CHAR:
		return FDO_CHAR;
	case K_OBJ_MQUEUE:
		return FDO_QUEUE;
	case K_OBJ_ANON: {
		const struct object_entry *o = object_entry(b, key);
		return o ? (enum fd_object)o->object : FDO_ANON;
	}
	case K_OBJ_SOCKET: {
		/* keyed before its family was known */
		const struct object_entry *o = object_entry(b, key);
		return o ? (enum fd_object)o->object : FDO_UNKNOWN;
	}
	default:
		return FDO_UNKNOWN;
	}
}

static uint32_t channel_slow(struct kernel_backend *b, const struct tracked_thread *th, uint64_t key, bool shared_futex)
{
	switch (K_KEY_OBJ(key)) {
	case K_OBJ_FUTEX: {
		uint64_t addr = key & 0x00ffffffffffffffULL;
		return shared_futex ? channels_futex_shared(b->channels, th->pid, addr) : channels_futex_private(b->channels, th->pid, addr);
	}
	case K_OBJ_SYSV_SEM:
		return channels_sysv(b->channels, false, (int32_t)key);
	case K_OBJ_SYSV_MSG:
		return channels_sysv(b->channels, true, (int32_t)key);
	default: {
		const struct object_entry *o = object_entry(b, key);
		return o ? o->channel : 0;
	}
	}
}

static uint32_t channel_of(struct kernel_backend *b, struct tracked_thread *th, uint64_t key, bool shared_futex)
{
	if (!key)
		return 0;
	if (th->channel_epoch != b->channel_epoch) {
		memset(th->channels, 0, sizeof th->channels);
		th->channel_epoch = b->channel_epoch;
	}
	uint64_t k = key ^ shared_futex;
	unsigned slot = (k ^ (k >> 6)) % CHANNEL_CACHE;
	if (th->channels[slot].key == k)
		return th->channels[slot].id;
	uint32_t id = channel_slow(b, th, key, shared_futex);
	if (id) {
		th->channels[slot].key = k;
		th->channels[slot].id = id;
	}
	return id;
}

/* ---- waits ---- */

static bool is_gil_word(const struct tracked_process *p, uint64_t addr)
{
	for (uint32_t i = 0; i < p->n_gil_words; i++)
		if (p->gil_words[i] == addr)
			return true;
	return false;
}

static enum wait_class class_of(struct kernel_backend *b, const struct tracked_thread *th, const struct k_wait *r)
{
	if (!(r->flags & K_WAIT_BLOCKED))
		return WC_NONE;
	if (r->flags & K_WAIT_STOPPED)
		return WC_STOPPED;
	if (r->flags & K_WAIT_FAULT)
		return WC_PAGE_FAULT;
	if (K_KEY_OBJ(r->chan) == K_OBJ_FUTEX) {
		const struct tracked_process *p = tracked_process(&b->tracked, th->pid);
		if (p && p->n_gil_words && is_gil_word(p, r->chan & 0x00ffffffffffffffULL))
			return WC_GIL;
	}
	return syscall_wait_class(syscall_category(r->nr), fd_object_of_key(b, r->chan));
}

static const uint8_t waker_contexts[] = {
    [K_CTX_NONE] = WAKER_NONE, [K_CTX_TASK] = WAKER_TASK,	[K_CTX_SOFTIRQ] = WAKER_SOFTIRQ,
    [K_CTX_HARDIRQ] = WAKER_HARDIRQ, [K_CTX_KTHREAD] = WAKER_HARDIRQ,
};

static void tell_thread(struct kernel_backend *b, const struct tracked_thread *th, const char *comm, uint64_t time_ns)
{
	struct event ev = {.kind = EV_THREAD, .time_ns = time_ns, .thread = {.pid = th->pid, .tid = th->tid, .comm = comm}};
	emit(b, &ev);
}

/* Cuts the period at the end of observation. Returns false when it began after it. */
static bool clip_to_end(const struct kernel_backend *b, struct event *ev)
{
	if (!b->end_ns)
		return true;
	if (ev->time_ns >= b->end_ns)
		return false;
	struct ev_wait *w = &ev->wait;
	if (w->t_run > b->end_ns) {
		w->t_run = b->end_ns;
		w->in_progress = 1;
	}
	if (w->t_wake > b->end_ns)
		w->t_wake = b->end_ns;
	return true;
}

/* A member whose birth was not told, because the record did not fit into the ring: taken from /proc, from now on. */
static struct tracked_thread *recover_thread(struct kernel_backend *b, int32_t tid, uint64_t time_ns)
{
	if (tracked_ended(&b->tracked, tid))
		return NULL;
	int32_t pid = processes_tgid_of(tid);
	struct tracked_process *p = pid ? tracked_process(&b->tracked, pid) : NULL;
	if (pid && !p)
		p = processes_seen(b, pid, 0, "", time_ns);
	struct tracked_thread *th = p ? tracked_thread_add(&b->tracked, tid, pid) : NULL;
	if (!th)
		return NULL;
	p->live_threads++;
	tell_thread(b, th, p->comm, time_ns);
	return th;
}

/* An interrupt above a sending task: the loopback's receive path when the waiter waits for a socket of the network, else a timer or a
 * disk that happened to interrupt it. */
static bool interrupt_is_peer(struct kernel_backend *b, const struct k_wait *r)
{
	return fd_object_of_key(b, r->chan) == FDO_INET || (r->waker_chan && fd_object_of_key(b, r->waker_chan) == FDO_INET);
}

static void on_wait(struct kernel_backend *b, const struct k_wait *r)
{
	struct tracked_thread *th = tracked_thread(&b->tracked, r->tid);
	if (!th && !(th = recover_thread(b, r->tid, r->t_out)))
		return;
	b->n_waits++;
	if (th->start_pending) {
		/* the wrapped command waited for us: its life under observation begins now */
		const struct tracked_process *p = tracked_process(&b->tracked, th->pid);
		th->start_pending = false;
		tell_thread(b, th, p ? p->comm : "", r->t_run);
		return;
	}
	bool may_be_peer = r->waker_ctx == K_CTX_TASK || (r->waker_ctx == K_CTX_SOFTIRQ && interrupt_is_peer(b, r));
	if (r->waker_tid && may_be_peer && !tracked_thread(&b->tracked, r->waker_tid) &&
	    !tracked_ended(&b->tracked, r->waker_tid))
		processes_outside(b, r->waker_tid, r->t_wake);
	struct event ev;
	ev.kind = EV_WAIT;
	ev.time_ns = r->t_out;
	struct ev_wait *w = &ev.wait;
	memset(w, 0, sizeof *w);
	w->tid = r->tid;
	w->cls = class_of(b, th, r);
	w->waker_ctx = waker_contexts[r->waker_ctx <= K_CTX_KTHREAD ? r->waker_ctx : 0];
	w->waker_tid = r->waker_tid;
	if (w->waker_ctx == WAKER_SOFTIRQ && !interrupt_is_peer(b, r)) {
		w->waker_ctx = WAKER_HARDIRQ;
		w->waker_tid = 0;
	}
	w->at_start = !!(r->flags & K_WAIT_AT_START);
	w->in_progress = (r->flags & K_WAIT_AT_END) && (r->flags & K_WAIT_BLOCKED);
	w->preempted = !(r->flags & K_WAIT_BLOCKED) && r->nr != SYS_sched_yield;
	w->spurious = r->spurious && w->cls == WC_UNIX_READ;
	w->t_wake = r->t_wake;
	w->t_run = r->t_run;
	bool shared = K_KEY_OBJ(r->chan) == K_OBJ_FUTEX && !(r->want & FUTEX_PRIVATE_FLAG);
	uint64_t key = r->waker_chan && syscall_category(r->nr) == CAT_POLL ? r->waker_chan : r->chan;
	w->channel = w->cls == WC_CHILD ? channels_child(b->channels, th->pid) : channel_of(b, th, key, shared);
	w->site = r->site;
	w->waker_site = r->waker_site;
	if (r->snap && r->snap == th->snap_seq)
		w->stack = th->snap_stack;
	if (r->waker_snap && r->waker_snap == th->waker_seq)
		w->waker_stack = th->waker_stack;
	if (w->cls == WC_UNIX_READ && w->waker_ctx == WAKER_TASK) {
		/* woken by a peer that made room by reading: the message comes from where its last one came from */
		if (syscall_category(r->waker_nr) == CAT_READ) {
			w->waker_site = th->writer_site;
			w->waker_stack = 0;
		} else {
			th->writer_site = r->waker_site;
		}
	}
	w->bytes = r->bytes;
	w->want_bytes = K_KEY_OBJ(r->chan) == K_OBJ_FUTEX ? 0 : r->want;
	w->rd_calls = r->rd_calls;
	w->rd_bytes = r->rd_bytes;
	w->wr_calls = r->wr_calls;
	w->wr_bytes = r->wr_bytes;
	w->folded_count = r->fold_count;
	w->folded_ns = r->fold_ns;
	w->handoff_count = r->handoff_count;
	w->handoff_tid = r->handoff_tid;
	if (clip_to_end(b, &ev))
		emit(b, &ev);
}

static void on_lost(struct kernel_backend *b, const struct k_lost *r)
{
	struct tracked_thread *th = tracked_thread(&b->tracked, r->tid);
	if (!th)
		return;
	struct event ev = {.kind = EV_WAIT,
			   .time_ns = r->first_out,
			   .wait = {.tid = r->tid,
				    .cls = WC_OTHER,
				    .lost = 1,
				    .lost_count = r->count > UINT32_MAX ? UINT32_MAX : (uint32_t)r->count,
				    .t_wake = r->first_out + r->blocked_ns,
				    .t_run = r->first_out + r->blocked_ns + r->run_queue_ns}};
	emit(b, &ev);
}

/* ---- stacks ---- */

static uint32_t stack_id(struct kernel_backend *b, const struct tracked_process *p, const struct runtime_thread *t, const uint64_t *kernel,
			 uint32_t n_kernel)
{
	struct runtime_frame *frames = b->frames;
	uint32_t *ids = b->ids;
	struct runtime_stack_info info = {0};
	size_t n, nf;

	n = stack_table_kernel(b->stacks, kernel, n_kernel < K_KSTACK ? n_kernel : K_KSTACK, ids, b->fn, b->ctx);
	nf = runtime_stack(b->runtimes, t, frames, MAX_FRAMES, &info);
	for (size_t i = 0; i < nf; i++)
		ids[n++] = frames[i].id ? frames[i].id : stack_table_native(b->stacks, p->as, t->time_ns, frames[i].pc, i > 0);
	return stack_table_stack(b->stacks, ids, n, info.truncated, b->fn, b->ctx);
}

static void regs_from_record(struct unwind_regs *regs, const uint64_t *from)
{
	memcpy(regs->r, from, sizeof regs->r);
#if defined(__x86_64__)
	regs->valid = (1ULL << 17) - 1;
#else
	regs->valid = (1ULL << K_REGS) - 1;
#endif
}
#if defined(__x86_64__)
#define REGNO_SP 7
#else
#define REGNO_SP 31
#endif

/* A Python process is told to the kernel program as soon as it is recognised, so that the next samples bring its frames. */
static void refresh_runtime(struct kernel_backend *b, struct tracked_process *p, uint64_t time_ns)
{
	enum runtime_kind kind = runtimes_process(b->runtimes, p->pid, p->as);
	if (kind != p->runtime) {
		p->runtime = kind;
		struct event ev = {.kind = EV_PROCESS,
				   .time_ns = time_ns,
				   .process = {.pid = p->pid,
					       .ppid = p->ppid,
					       .in_tree = true,
					       .reason = PROC_RENAMED,
					       .runtime = kind,
					       .comm = p->comm,
					       .exe = p->exe ? p->exe : "",
					       .cmdline = p->cmdline,
					       .cmdline_len = p->cmdline_len}};
		emit(b, &ev);
	}
	struct python_offsets po;
	if (kind == RT_PYTHON && !p->told_python && runtimes_python_offsets(b->runtimes, p->pid, &po))
		p->told_python = bpf_session_python(b->bpf, p->pid, &po) == 0;
}

/* Asks once per futex word whether it belongs to the interpreter's lock. */
static void learn_gil_word(struct kernel_backend *b, struct tracked_process *p, const struct runtime_thread *t, uint64_t futex_addr)
{
	struct runtime_wait rw;
	if (!futex_addr || is_gil_word(p, futex_addr) || p->n_gil_words == sizeof p->gil_words / sizeof *p->gil_words)
		return;
	if (runtime_wait(b->runtimes, t, futex_addr, &rw) && rw.cls == WC_GIL)
		p->gil_words[p->n_gil_words++] = futex_addr;
}

static void on_snap(struct kernel_backend *b, const struct k_snap *r, size_t len)
{
	if (len < sizeof *r + r->len)
		return;
	bool have_python = b->py_tid == r->tid && b->py_n;
	struct tracked_process *p = tracked_process(&b->tracked, r->tgid);
	struct tracked_thread *th = tracked_thread(&b->tracked, r->why == K_SNAP_WAKER ? (int32_t)r->for_tid : (int32_t)r->tid);
	if (!p || !th)
		return;
	processes_update_mappings(b);
	refresh_runtime(b, p, r->time);
	struct unwind_regs regs;
	regs_from_record(&regs, (const uint64_t *)r->regs);
	/* pid: names of managed frames are read from the live process; frames beyond the copied bytes are old ones, which move seldom */
	struct unwind_memory mem = {
	    .stack = (const uint8_t *)(r + 1), .stack_addr = regs.r[REGNO_SP], .stack_len = r->len, .pid = (pid_t)r->tgid};
	struct runtime_thread t = {.pid = r->tgid,
				   .tid = r->tid,
				   .as = p->as,
				   .time_ns = r->time,
				   .regs = &regs,
				   .mem = &mem,
				   .snapshot = true,
				   .python_pairs = have_python ? b->py_pairs : NULL,
				   .n_python_pairs = have_python ? b->py_n : 0,
				   .python_truncated = have_python && b->py_n == K_PY_MAX};
	if (p->runtime == RT_PYTHON && r->why == K_SNAP_WAIT && r->futex)
		learn_gil_word(b, p, &t, r->futex);
	uint32_t id = stack_id(b, p, &t, (const uint64_t *)r->kstack, r->n_kernel);
	b->py_n = 0;
	if (r->why == K_SNAP_WAIT) {
		th->snap_seq = r->seq;
		th->snap_stack = id;
	} else if (r->why == K_SNAP_WAKER) {
		th->waker_seq = r->seq;
		th->waker_stack = id;
	} else if (!b->end_ns || r->time < b->end_ns) {
		struct event ev = {
		    .kind = EV_SAMPLE,
		    .time_ns = r->time,
		    .sample = {.tid = r->tid, .cpu = r->cpu, .stack = id, .period_ns = b->period_ns, .in_kernel = !r->user_mode}};
		emit(b, &ev);
	}
}

static void on_python(struct kernel_backend *b, const struct k_py *r, size_t len)
{
	size_t head = sizeof *r - sizeof r->pairs;
	b->py_tid = r->tid;
	b->py_n = r->n <= K_PY_MAX && len >= head + r->n * 16 ? r->n : 0;
	memcpy(b->py_pairs, r->pairs, b->py_n * 16);
}

/* ---- life ---- */

/* The stack of a thread that was blocked when we came, read from outside. Its registers prove afterwards that it did not move. */
static void seed_stack(struct kernel_backend *b, struct tracked_process *p, struct tracked_thread *th, const struct k_seed *r)
{
	enum { CHUNK = 16384 };
	uint8_t buf[CHUNK];
	struct unwind_regs regs;
	regs_from_record(&regs, (const uint64_t *)r->regs);
	uint64_t sp = regs.r[REGNO_SP];
	/* in page-aligned pieces: one absent page fails a whole read */
	size_t got = 0;
	while (got < CHUNK) {
		size_t n = 4096 - ((sp + got) & 4095);
		if (n > CHUNK - got)
			n = CHUNK - got;
		struct iovec l = {buf + got, n}, rv = {(void *)(uintptr_t)(sp + got), n};
		if (process_vm_readv(r->tgid, &l, 1, &rv, 1, 0) != (ssize_t)n)
			break;
		got += n;
	}
	struct unwind_memory mem = {.stack = buf, .stack_addr = sp, .stack_len = got, .pid = r->tgid};
	struct runtime_thread t = {.pid = r->tgid, .tid = r->tid, .as = p->as, .time_ns = UNWIND_NOW, .regs = &regs, .mem = &mem};
	uint32_t id = stack_id(b, p, &t, NULL, 0);
	char path[64], line[256];
	snprintf(path, sizeof path, "/proc/%u/task/%u/syscall", r->tgid, r->tid);
	FILE *f = fopen(path, "re");
	uint64_t now_sp = 0, now_pc = 0;
	if (f && fgets(line, sizeof line, f)) {
		/* "nr a0 a1 a2 a3 a4 a5 sp pc", or "-1 sp pc", or "running" */
		unsigned long long a, c;
		char *last = strrchr(line, ' ');
		if (last && last > line) {
			*last = 0;
			char *prev = strrchr(line, ' ');
			if (prev && sscanf(prev, "%llx", &a) == 1 && sscanf(last + 1, "%llx", &c) == 1) {
				now_sp = a;
				now_pc = c;
			}
		}
	}
	if (f)
		fclose(f);
	(void)now_pc;
	if (now_sp == sp) {
		th->snap_seq = r->snap;
		th->snap_stack = id;
	}
}

static void on_seed(struct kernel_backend *b, const struct k_seed *r)
{
	struct tracked_process *p = tracked_process(&b->tracked, r->tgid);
	if (!p)
		p = processes_seen(b, r->tgid, r->ppid, r->comm, r->time);
	if (!p)
		return;
	struct tracked_thread *th = tracked_thread_add(&b->tracked, r->tid, r->tgid);
	if (!th)
		return;
	p->live_threads++;
	refresh_runtime(b, p, r->time);
	if (b->wrapped_pid == (int32_t)r->tgid) {
		th->start_pending = true;
		return;
	}
	tell_thread(b, th, r->comm, r->time);
	if (r->blocked)
		seed_stack(b, p, th, r);
}

static void on_fork(struct kernel_backend *b, const struct k_fork *r)
{
	struct tracked_process *p = r->tid == r->tgid ? processes_forked(b, r) : tracked_process(&b->tracked, r->tgid);
	if (!p)
		return;
	struct tracked_thread *th = tracked_thread_add(&b->tracked, r->tid, r->tgid);
	if (!th)
		return;
	p->live_threads++;
	if (!b->end_ns || r->time < b->end_ns)
		tell_thread(b, th, r->comm, r->time);
}

static void on_exec(struct kernel_backend *b, const struct k_exec *r)
{
	/* a thread other than the leader exec'ed: it takes over the leader's id */
	if (r->old_tid != r->tgid) {
		struct tracked_thread *old = tracked_thread(&b->tracked, r->old_tid);
		if (old) {
			struct event ev = {.kind = EV_THREAD_EXIT, .time_ns = r->time, .thread_exit = {.pid = r->tgid, .tid = old->tid}};
			emit(b, &ev);
			tracked_thread_remove(&b->tracked, old);
		}
		struct tracked_process *p = tracked_process(&b->tracked, r->tgid);
		struct tracked_thread *th = tracked_thread(&b->tracked, r->tgid);
		if (p && !th && (th = tracked_thread_add(&b->tracked, r->tgid, r->tgid)))
			tell_thread(b, th, r->comm, r->time);
	}
	processes_executed(b, r);
}

static void on_exit_record(struct kernel_backend *b, const struct k_exit *r)
{
	struct tracked_thread *th = tracked_thread(&b->tracked, r->tid);
	struct tracked_process *p = tracked_process(&b->tracked, r->tgid);
	uint64_t t = b->end_ns && r->time > b->end_ns ? b->end_ns : r->time;
	if (th) {
		struct event ev = {.kind = EV_THREAD_EXIT, .time_ns = t, .thread_exit = {.pid = r->tgid, .tid = r->tid}};
		emit(b, &ev);
		runtimes_thread_exit(b->runtimes, r->tgid, r->tid);
		tracked_thread_remove(&b->tracked, th);
	}
	if (!p)
		return;
	if (p->live_threads)
		p->live_threads--;
	if (r->tid == r->tgid)
		p->status = r->code;
	if (!p->live_threads)
		processes_exited(b, r->tgid, t, p->status != -1 ? p->status : r->code);
}

int translate_record(void *ctx, void *data, size_t len)
{
	struct kernel_backend *b = ctx;
	const uint32_t *type = data;
	if (len < sizeof *type)
		return 0;
	switch (*type) {
	case K_WAIT:
		on_wait(b, data);
		break;
	case K_SNAP:
		on_snap(b, data, len);
		break;
	case K_PY:
		on_python(b, data, len);
		break;
	case K_CHAN:
		on_chan(b, data);
		break;
	case K_FORK:
		on_fork(b, data);
		break;
	case K_EXEC:
		on_exec(b, data);
		break;
	case K_EXIT:
		on_exit_record(b, data);
		break;
	case K_SEED:
		on_seed(b, data);
		break;
	case K_LOST:
		on_lost(b, data);
		break;
	default:
		break;
	}
	return 0;
}
