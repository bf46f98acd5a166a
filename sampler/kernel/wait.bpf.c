// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The kernel side of the kernel backend. In: scheduler tracepoints (switch, waking, fork, exec, exit), a clock per CPU.
 * Out: records (records.h) in one ring buffer.
 *
 * The hot path is sched_switch and sched_waking of threads that belong to the observed tree. Membership is task-local storage:
 * a thread without it costs one look-up. No stack is walked here: (thread, ip, sp) at kernel entry names a *site*; the
 * stack's bytes are copied when a site is first seen and for a random sample of waits afterwards, and unwound in user space.
 * Design and measurements: docs/KERNEL_BACKEND.md.
 */
#include <linux/bpf.h>
#include "sampler/kernel/kernel_types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "sampler/kernel/records.h"
#include "sampler/kernel/regs.bpf.h"
#include "sampler/kernel/python.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* ---- what user space sets before loading ---- */
const volatile __u16 sysinfo[SYS_MAX];
const volatile __u32 ring_bytes = 16 << 20;
const volatile __u64 fold_limit_ns = 1000000;	 /* longer preemptions get a record of their own */
const volatile __u64 progress_ns = 10000000;	 /* a thread that never blocks tells its folded values this often */
const volatile __s32 own_tgid = 0;		 /* the profiler: never a member */

struct k_control control = {.sample_period = 64, .first_sight_budget = 1000};
__u32 next_site = 1;

/* ---- maps ---- */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} ring SEC(".maps");

#define SITE_CACHE 8
#define FD_CACHE 4
struct cached_site {
	__u64 ip, sp;
	__u32 id, snapped;
};
struct cached_fd {
	struct file *file;
	struct inode *inode;
	unsigned long ino;
	__u64 key;
	__s32 fd;
	__u32 pad;
};

enum { ST_RUNNING = 0, ST_BLOCKED, ST_RUNNABLE, ST_DEAD };

struct thread_state {
	__u64 t_run, t_out, t_wake;
	__u64 chan, waker_chan;
	__u32 tid, tgid;
	__u8 state, flags, waker_ctx, sampled;
	__s16 nr, waker_nr;
	__u32 waker_tid;
	__u32 site, waker_site, snap, waker_snap;
	__u32 bytes, want;
	__u32 last_woken, spurious;
	__u32 tx_calls, tx_bytes, rx_calls, rx_bytes; /* by send(), recv() and their like since the last record */
	__u32 snap_seq;
	__u32 countdown;
	__u32 fold_count, handoff_count, handoff_tid, fold_ns;
	__u64 t_emit, scratch, py_tstate;
	__u64 rchar, wchar, syscr, syscw; /* at the last record */
	__u64 lost_count, lost_blocked, lost_runq, lost_first, lost_last;
	struct file *waited; /* of the descriptor that it waits on */
	struct cached_site sites[SITE_CACHE];
	struct cached_fd fds[FD_CACHE];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread_state);
} threads SEC(".maps");

struct site_key {
	__u64 ip, sp;
	__u32 tid, pad;
};
struct site_value {
	__u32 id, snapped;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct site_key);
	__type(value, struct site_value);
} sites SEC(".maps");

struct use_key {
	__u64 key;
	__u32 tgid, fd;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct use_key);
	__type(value, __u32);
} uses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u32);
} roots SEC(".maps");

struct scratch {
	struct k_snap snap;
	__u8 stack[K_STACK_PAGES * PAGE_SIZE_];
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* one per CPU, set by user space */
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct k_stats);
} stats SEC(".maps");

static __always_inline struct k_stats *stat(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&stats, &zero);
}

static __always_inline struct thread_state *member(struct task_struct *t)
{
	return bpf_task_storage_get(&threads, t, 0, 0);
}

static __always_inline long task_state(struct task_struct *t)
{
	if (bpf_core_field_exists(t->__state))
		return t->__state;
	return ((struct task_struct___old *)t)->state;
}

static __always_inline __u16 sys_flags(long nr)
{
	return nr >= 0 && nr < SYS_MAX ? sysinfo[nr] : 0;
}

/* ---- sites and snapshots ---- */

/* Finds or numbers the site; *first is set while no snapshot of it exists. */
static __noinline __u32 site_slow(struct thread_state *st, struct cached_site *c, __u64 ip, __u64 sp)
{
	struct site_key k = {.ip = ip, .sp = sp, .tid = st->tid};
	struct site_value *v = bpf_map_lookup_elem(&sites, &k);
	if (v) {
		c->id = v->id;
		c->snapped = v->snapped;
	} else {
		struct site_value fresh = {.id = __sync_fetch_and_add(&next_site, 1)};
		bpf_map_update_elem(&sites, &k, &fresh, BPF_ANY);
		c->id = fresh.id;
		c->snapped = 0;
	}
	c->ip = ip;
	c->sp = sp;
	return c->id;
}

static __always_inline struct cached_site *site_of(struct thread_state *st, struct pt_regs *regs)
{
	__u64 ip = REG_IP(regs), sp = REG_SP(regs);
	struct cached_site *c = &st->sites[(ip ^ (ip >> 5) ^ (sp >> 4)) & (SITE_CACHE - 1)];
	if (c->ip != ip || c->sp != sp)
		site_slow(st, c, ip, sp);
	return c;
}

static __always_inline void site_mark_snapped(struct thread_state *st, struct cached_site *c)
{
	struct site_key k = {.ip = c->ip, .sp = c->sp, .tid = st->tid};
	struct site_value v = {.id = c->id, .snapped = 1};
	c->snapped = 1;
	bpf_map_update_elem(&sites, &k, &v, BPF_ANY);
}

/* ---- Python frames: since 3.11 they leave no trace in the C stack's depth, and only this moment has them ---- */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct python_offsets);
} python SEC(".maps");
__u32 python_processes = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* one per CPU, set by user space */
	__type(key, __u32);
	__type(value, struct k_py);
} python_scratch SEC(".maps");

static __noinline void tell_python(struct thread_state *st, struct task_struct *t)
{
	__u32 tgid = st->tgid, cpu = bpf_get_smp_processor_id();
	struct python_offsets *o = bpf_map_lookup_elem(&python, &tgid);
	struct k_py *r = bpf_map_lookup_elem(&python_scratch, &cpu);
	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop) || !o || !r)
		return;
	__u64 tp = THREAD_POINTER(t);
	if (!st->py_tstate || !py_tstate_holds(o, st->py_tstate, tp, st->tid))
		st->py_tstate = py_tstate(o, tp, st->tid);
	if (!st->py_tstate)
		return;
	__u32 n = py_walk(o, st->py_tstate, r);
	if (!n)
		return;
	if (n > K_PY_MAX)
		n = K_PY_MAX;
	r->type = K_PY;
	r->tid = st->tid;
	r->n = n;
	__u32 len = sizeof(*r) - sizeof(r->pairs) + n * 16;
	if (len > sizeof(*r))
		len = sizeof(*r);
	bpf_ringbuf_output(&ring, r, len, BPF_RB_NO_WAKEUP);
}

struct snap_request {
	__u64 time, futex;
	__u32 why, tid, tgid, for_tid, seq, user_mode;
};

/* Copies the current task's user registers and stack into the ring. Must run on the task itself: its memory is current.
 * Returns whether it went in. */
static __noinline int snapshot(void *ctx, struct pt_regs *regs, const struct snap_request *head)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct k_stats *ks = stat();
	struct scratch *s = bpf_map_lookup_elem(&scratch, &cpu);
	if (!s || !ks)
		return 0;
	/* waits come first: snapshots only use the first half of the ring */
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > ring_bytes / 2) {
		ks->lost_stacks++;
		return 0;
	}
	struct k_snap *o = &s->snap;
	o->type = K_SNAP;
	o->why = head->why;
	o->tid = head->tid;
	o->tgid = head->tgid;
	o->for_tid = head->for_tid;
	o->seq = head->seq;
	o->time = head->time;
	o->futex = head->futex;
	o->cpu = cpu;
	o->user_mode = head->user_mode;
	regs_copy(regs, o->regs);
	long kn = 0;
	if (!head->user_mode)
		kn = bpf_get_stack(ctx, o->kstack, sizeof(o->kstack), 0);
	o->n_kernel = kn > 0 ? (__u32)kn / 8 : 0;

	__u64 p = REG_SP(regs);
	__u32 off = 0, n = PAGE_SIZE_ - (p & (PAGE_SIZE_ - 1));
	for (int i = 0; i < K_STACK_PAGES; i++) {
		if (off > K_STACK_MAX)
			break;
		if (n > PAGE_SIZE_)
			n = PAGE_SIZE_;
		if (bpf_probe_read_user(s->stack + off, n, (void *)p))
			break;
		off += n;
		p += n;
		n = PAGE_SIZE_;
	}
	if (off > sizeof(s->stack))
		off = sizeof(s->stack);
	o->len = off;
	if (bpf_ringbuf_output(&ring, s, sizeof(struct k_snap) + off, BPF_RB_NO_WAKEUP)) {
		ks->lost_stacks++;
		return 0;
	}
	ks->snapshots++;
	return 1;
}

static __always_inline int first_sight_allowed(struct cached_site *c)
{
	if (c->snapped || !control.first_sight_budget)
		return 0;
	control.first_sight_budget--; /* racy by design: a budget, not a count */
	return 1;
}

/* ---- kernel objects behind file descriptors ---- */

static __always_inline void describe_inet(struct k_chan *r, struct sock *sk)
{
	r->lport = BPF_CORE_READ(sk, __sk_common.skc_num);
	r->rport = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (r->family == AF_INET) {
		__u32 a = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		__builtin_memcpy(r->laddr, &a, 4);
		a = BPF_CORE_READ(sk, __sk_common.skc_daddr);
		__builtin_memcpy(r->raddr, &a, 4);
	} else if (bpf_core_field_exists(sk->__sk_common.skc_v6_daddr)) {
		BPF_CORE_READ_INTO(&r->laddr, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&r->raddr, sk, __sk_common.skc_v6_daddr);
	}
}

static __always_inline void describe_unix(struct k_chan *r, struct sock *sk)
{
	struct unix_sock *u = (struct unix_sock *)sk;
	struct sock *peer = BPF_CORE_READ(u, peer);
	if (peer)
		r->peer_ino = BPF_CORE_READ(peer, sk_socket, file, f_inode, i_ino);
	struct unix_address *a = BPF_CORE_READ(u, addr);
	if (!a && peer) /* the accepting end bears no name of its own when it was connected to by a socketpair */
		a = BPF_CORE_READ((struct unix_sock *)peer, addr);
	if (!a)
		return;
	int len = BPF_CORE_READ(a, len) - 2;
	if (len <= 0)
		return;
	if (len > (int)sizeof(r->path))
		len = sizeof(r->path);
	if (!bpf_probe_read_kernel(r->path, len, (char *)a + bpf_core_field_offset(a->name) + 2))
		r->path_len = len;
}

static __always_inline void describe_socket(struct k_chan *r, struct file *file)
{
	struct socket *sock = BPF_CORE_READ(file, private_data);
	struct sock *sk = BPF_CORE_READ(sock, sk);
	r->sock_type = BPF_CORE_READ(sock, type);
	r->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	r->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	r->protocol = BPF_CORE_READ(sk, sk_protocol);
	r->capacity_bytes = BPF_CORE_READ(sk, sk_sndbuf);
	if (r->family == AF_UNIX) {
		r->obj = K_OBJ_UNIX;
		describe_unix(r, sk);
	} else if (r->family == AF_INET || r->family == AF_INET6) {
		r->obj = K_OBJ_INET;
		describe_inet(r, sk);
	} else {
		r->obj = K_OBJ_SOCKET;
	}
}

static __always_inline unsigned object_of_mode(unsigned short mode)
{
	switch (mode & S_IFMT) {
	case S_IFIFO:
		return K_OBJ_PIPE;
	case S_IFSOCK:
		return K_OBJ_SOCKET;
	case S_IFCHR:
		return K_OBJ_CHAR;
	case S_IFREG:
	case S_IFDIR:
	case S_IFBLK:
		return K_OBJ_FILE;
	default:
		return K_OBJ_ANON;
	}
}

/* First use of this object through this fd by this process (as far as remembered): describes it to user space. */
static __noinline __u64 object_slow(struct thread_state *st, struct cached_fd *c, int fd, struct file *file, struct inode *inode)
{
	unsigned short mode = BPF_CORE_READ(inode, i_mode);
	unsigned long ino = BPF_CORE_READ(inode, i_ino);
	unsigned obj = object_of_mode(mode);
	__u32 dev = BPF_CORE_READ(inode, i_sb, s_dev);
	__u64 key;

	if (obj == K_OBJ_FILE && BPF_CORE_READ(inode, i_sb, s_magic) == MQUEUE_MAGIC)
		obj = K_OBJ_MQUEUE;
	if (obj == K_OBJ_ANON)
		key = K_KEY(obj, (unsigned long)BPF_CORE_READ(file, private_data));
	else if (obj == K_OBJ_FILE || obj == K_OBJ_CHAR || obj == K_OBJ_MQUEUE)
		key = K_KEY(obj, (((__u64)dev << 36) ^ ino));
	else
		key = K_KEY(obj, ino);

	int cacheable = 1;
	struct use_key uk = {.key = key, .tgid = st->tgid, .fd = fd};
	if (!bpf_map_lookup_elem(&uses, &uk)) {
		struct k_chan *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
		if (!r)
			return key;
		__builtin_memset(r, 0, sizeof(*r));
		r->type = K_CHAN;
		r->obj = obj;
		r->key = key;
		r->time = bpf_ktime_get_ns();
		r->tid = st->tid;
		r->tgid = st->tgid;
		r->fd = fd;
		r->f_mode = BPF_CORE_READ(file, f_mode) & 3;
		r->ino = ino;
		r->dev = dev;
		if (obj == K_OBJ_PIPE)
			r->capacity_bytes = BPF_CORE_READ(inode, i_pipe, max_usage) * PAGE_SIZE_;
		else if (obj == K_OBJ_SOCKET)
			describe_socket(r, file);
		/* an unconnected stream socket is told again once it knows its peer (state 10: TCP_LISTEN) */
		if ((r->obj == K_OBJ_INET && !r->rport && r->state != 10 && r->sock_type == 1) ||
		    (r->obj == K_OBJ_UNIX && !r->peer_ino && r->state != 10 && r->sock_type != 2))
			cacheable = 0;
		bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
		if (cacheable) {
			__u32 one = 1;
			bpf_map_update_elem(&uses, &uk, &one, BPF_ANY);
		}
	}
	if (cacheable) {
		c->file = file;
		c->inode = inode;
		c->ino = ino;
		c->key = key;
		c->fd = fd;
	}
	return key;
}

/* The object behind an fd of a task that is on this CPU now. The cache is checked by file, inode and inode number:
 * all three are reused by the kernel's allocators, together they are not. */
static __always_inline __u64 object_of(struct thread_state *st, struct task_struct *t, unsigned long fd)
{
	struct files_struct *files = t->files;
	if (!files)
		return 0;
	struct fdtable *fdt = files->fdt;
	if (!fdt || fd >= fdt->max_fds)
		return 0;
	struct file *file = NULL;
	struct inode *inode = NULL;
	unsigned long ino = 0;
	bpf_probe_read_kernel(&file, sizeof(file), fdt->fd + fd);
	if (!file)
		return 0;
	st->waited = file;
	bpf_core_read(&inode, sizeof(inode), &file->f_inode);
	bpf_core_read(&ino, sizeof(ino), &inode->i_ino);
	struct cached_fd *c = &st->fds[fd & (FD_CACHE - 1)];
	if (c->file == file && c->inode == inode && c->ino == ino && c->fd == (__s32)fd)
		return c->key;
	return object_slow(st, c, fd, file, inode);
}

/* What the thread waits on, from its system call. */
static __always_inline __u64 waited_object(struct thread_state *st, struct task_struct *t, struct pt_regs *regs, __u16 f)
{
	if (f & SYS_FD)
		return object_of(st, t, REG_ARG0(regs));
	if (f & SYS_FUTEX)
		return K_KEY(K_OBJ_FUTEX, REG_ARG0(regs));
	if (f & SYS_SEM)
		return K_KEY(K_OBJ_SYSV_SEM, REG_ARG0(regs));
	if (f & SYS_MSGQ)
		return K_KEY(K_OBJ_SYSV_MSG, REG_ARG0(regs));
	return 0;
}

struct user_iovec {
	__u64 base, len;
};
#define MAX_IOV 8
static __noinline __u32 iov_bytes(__u64 iov, __u64 count)
{
	__u64 sum = 0;
	for (int i = 0; i < MAX_IOV; i++) {
		struct user_iovec v;
		if (i >= count || bpf_probe_read_user(&v, sizeof(v), (void *)(iov + i * sizeof(v))))
			break;
		sum += v.len;
	}
	return sum > 0xffffffff ? 0xffffffff : sum;
}

/* How many bytes the current task's system call moves, by its arguments. */
static __always_inline __u32 message_bytes(struct pt_regs *regs, __u16 f)
{
	if (f & SYS_LEN) {
		__u64 n = REG_ARG2(regs);
		return n > 0xffffffff ? 0xffffffff : n;
	}
	if (f & SYS_IOV)
		return iov_bytes(REG_ARG1(regs), REG_ARG2(regs));
	if (f & SYS_MSG) {
		struct {
			__u64 name, namelen, iov, iovlen;
		} h;
		if (!bpf_probe_read_user(&h, sizeof(h), (void *)REG_ARG1(regs)))
			return iov_bytes(h.iov, h.iovlen);
	}
	return 0;
}

/* ---- records ---- */

static __noinline void count_lost(struct thread_state *st, __u64 blocked, __u64 runq, __u64 last)
{
	struct k_stats *ks = stat();
	if (ks)
		ks->lost_events++;
	if (!st->lost_count)
		st->lost_first = st->t_out;
	st->lost_count++;
	st->lost_blocked += blocked;
	st->lost_runq += runq;
	st->lost_last = last;
}

static __noinline void tell_lost(struct thread_state *st, __u64 now)
{
	struct k_lost *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r)
		return;
	r->type = K_LOST;
	r->tid = st->tid;
	r->time = now;
	r->first_out = st->lost_first;
	r->last_run = st->lost_last;
	r->blocked_ns = st->lost_blocked;
	r->run_queue_ns = st->lost_runq;
	r->count = st->lost_count;
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	st->lost_count = st->lost_blocked = st->lost_runq = 0;
}

/* Writes the thread's off-CPU period [t_out, now] with everything folded since the last record. */
static __always_inline void tell_wait(struct thread_state *st, struct task_struct *t, __u64 t_wake, __u64 now, __u8 flags)
{
	if (st->lost_count)
		tell_lost(st, now);
	struct k_wait *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		/* folded preemptions stay for the next record; only this period is lost */
		count_lost(st, t_wake - st->t_out, now - t_wake, now);
		return;
	}
	r->type = K_WAIT;
	r->tid = st->tid;
	r->t_out = st->t_out;
	r->t_wake = t_wake;
	r->t_run = now;
	r->chan = st->chan;
	r->waker_chan = st->waker_chan;
	r->waker_tid = st->waker_tid;
	r->nr = st->nr;
	r->waker_nr = st->waker_nr;
	r->flags = flags;
	r->waker_ctx = st->waker_ctx;
	r->spurious = st->spurious;
	st->spurious = 0;
	r->site = st->site;
	r->waker_site = st->waker_site;
	r->snap = st->snap;
	r->waker_snap = st->waker_snap;
	r->bytes = st->bytes;
	r->want = st->want;
	__u64 v = t->ioac.syscr;
	r->rd_calls = v - st->syscr + st->rx_calls;
	st->rx_calls = 0;
	st->syscr = v;
	v = t->ioac.rchar;
	r->rd_bytes = v - st->rchar + st->rx_bytes;
	st->rx_bytes = 0;
	st->rchar = v;
	v = t->ioac.syscw;
	r->wr_calls = v - st->syscw + st->tx_calls;
	st->tx_calls = 0;
	st->syscw = v;
	v = t->ioac.wchar;
	r->wr_bytes = v - st->wchar + st->tx_bytes;
	st->tx_bytes = 0;
	st->wchar = v;
	r->fold_count = st->fold_count;
	r->handoff_count = st->handoff_count;
	r->handoff_tid = st->handoff_tid;
	r->fold_ns = st->fold_ns;
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	st->fold_count = st->handoff_count = st->fold_ns = 0;
	st->t_emit = now;
}

static __always_inline void forget_waker(struct thread_state *st)
{
	st->waker_tid = 0;
	st->waker_ctx = K_CTX_NONE;
	st->waker_nr = -1;
	st->waker_site = st->waker_snap = 0;
	st->waker_chan = 0;
	st->bytes = 0;
}

/* ---- leaving the CPU ---- */

static __always_inline void leave_blocked(void *ctx, struct thread_state *st, struct task_struct *t, long state, __u64 now)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(t);
	long nr = REG_NR(regs);
	__u16 f = sys_flags(nr);

	st->state = ST_BLOCKED;
	st->flags = K_WAIT_BLOCKED;
	if (state & TASK_STOPPED_TRACED)
		st->flags |= K_WAIT_STOPPED;
	if (state & TASK_UNINTERRUPTIBLE)
		st->flags |= K_WAIT_UNINTR;
	if (nr < 0)
		st->flags |= K_WAIT_FAULT;
	st->nr = nr;
	st->chan = waited_object(st, t, regs, f);
	st->want = f & (SYS_LEN | SYS_FUTEX) ? (__u32)(f & SYS_FUTEX ? REG_ARG1(regs) : REG_ARG2(regs)) : 0;
	if (st->t_wake < st->t_run) /* an older wake-up: not of this wait (one that races with this switch is younger than t_run) */
		forget_waker(st);

	struct cached_site *c = site_of(st, regs);
	st->site = c->id;
	st->snap = 0;
	st->sampled = 0;
	if (st->countdown)
		st->countdown--;
	int sample = st->countdown == 0 && control.sample_period;
	if (sample) {
		st->countdown = 1 + bpf_get_prandom_u32() % (2 * control.sample_period);
		st->sampled = 1;
	}
	if (sample || first_sight_allowed(c)) {
		struct snap_request head = {.why = K_SNAP_WAIT, .tid = st->tid, .tgid = st->tgid, .for_tid = st->tid, .time = now};
		head.seq = ++st->snap_seq;
		if (f & SYS_FUTEX)
			head.futex = REG_ARG0(regs);
		if (python_processes)
			tell_python(st, t);
		if (snapshot(ctx, regs, &head)) {
			st->snap = head.seq;
			if (!c->snapped)
				site_mark_snapped(st, c);
		}
	}
}

/* Both directions of a local socket share one wait queue: a peer that reads makes room, and so wakes readers too. Such a thread finds
 * nothing and blocks again in the same call, unless a message came in the meantime. */
static __noinline __u32 woke_for_nothing(struct thread_state *st)
{
	struct file *file = st->waited;
	struct socket *sock = BPF_CORE_READ(file, private_data);
	struct sock *sk = BPF_CORE_READ(sock, sk);
	return BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX && BPF_CORE_READ(sk, sk_receive_queue.qlen) == 0;
}

static __always_inline void enter(struct thread_state *st, struct task_struct *t, __u64 now)
{
	if (st->state == ST_BLOCKED) {
		/* a wake-up that raced with the switch-out is stamped a little before it */
		if (K_KEY_OBJ(st->chan) == K_OBJ_SOCKET && st->waker_ctx == K_CTX_TASK && st->waker_nr >= 0 &&
		    (sys_flags(st->waker_nr) & (SYS_FD | SYS_WRITE)) == SYS_FD && !(sys_flags(st->nr) & SYS_WRITE))
			st->spurious = woke_for_nothing(st);
		__u64 wake = st->waker_ctx == K_CTX_NONE ? now : st->t_wake < st->t_out ? st->t_out : st->t_wake;
		tell_wait(st, t, wake, now, st->flags);
	} else if (st->state == ST_RUNNABLE) {
		__u64 d = now - st->t_out;
		if (d > fold_limit_ns || now - st->t_emit > progress_ns || st->fold_ns > 0x70000000) {
			forget_waker(st);
			st->chan = 0;
			st->snap = st->site = 0;
			st->nr = -1;
			st->want = 0;
			tell_wait(st, t, st->t_out, now, K_WAIT_PREEMPTED);
		} else {
			st->fold_count++;
			st->fold_ns += d;
		}
	}
	if (st->state != ST_DEAD)
		st->state = ST_RUNNING;
	st->t_run = now;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	struct thread_state *out = NULL, *in = NULL;
	if (!(prev->flags & PF_KTHREAD))
		out = member(prev);
	if (!(next->flags & PF_KTHREAD))
		in = member(next);
	/* two tests, kept apart: or-ing the two pointers would not pass the verifier */
	if (!out) {
		barrier_var(out);
		if (!in)
			return 0;
	}
	__u64 now = bpf_ktime_get_ns();
	if (out && out->state != ST_DEAD) {
		long state = preempt ? 0 : task_state(prev);
		out->t_out = now;
		if (state) {
			leave_blocked(ctx, out, prev, state, now);
		} else {
			out->state = ST_RUNNABLE;
			if (out->last_woken == (__u32)next->pid) {
				out->handoff_count++;
				out->handoff_tid = next->pid;
			}
		}
		out->last_woken = 0;
	}
	if (in)
		enter(in, next, now);
	return 0;
}

/* ---- waking ---- */

/* Whether the waker ran as a task or in an interrupt above it. The preempt count would say it, but is not readable on every
 * kernel (it needs KALLSYMS_ALL). Two facts do as well: an interrupt that hit user mode leaves no system call number, and one that
 * hit the kernel runs on its CPU's interrupt stack, so that the tracepoint's argument block (ctx) is not on the task's.
 * Interrupts above a sending task include the loopback's receive path: user space believes them where the channel agrees. */
#define THREAD_SIZE_MAX 16384
static __always_inline __u8 waking_context(void *ctx, struct task_struct *waker, struct thread_state *st, long nr, __u16 f)
{
	if (waker->flags & PF_KTHREAD)
		return K_CTX_KTHREAD;
	if (nr < 0)
		return K_CTX_HARDIRQ;
	*(void *volatile *)&st->scratch = ctx; /* through memory: the verifier lets no pointer be subtracted */
	if (*(volatile __u64 *)&st->scratch - (__u64)waker->stack < THREAD_SIZE_MAX)
		return K_CTX_TASK;
	return f & SYS_WRITE ? K_CTX_SOFTIRQ : K_CTX_HARDIRQ;
}

/* Per CPU, in place of the state that a waker outside the tree does not have: its descriptor cache. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct thread_state);
} outsider SEC(".maps");

static __always_inline __u64 object_of_outsider(struct task_struct *waker, unsigned long fd)
{
	__u32 zero = 0;
	struct thread_state *o = bpf_map_lookup_elem(&outsider, &zero);
	if (!o)
		return 0;
	o->tid = waker->pid;
	o->tgid = waker->tgid;
	return object_of(o, waker, fd);
}

SEC("tp_btf/sched_waking")
int BPF_PROG(on_waking, struct task_struct *p)
{
	if (p->flags & PF_KTHREAD)
		return 0;
	struct thread_state *st = member(p);
	if (!st || st->state == ST_DEAD)
		return 0;
	struct task_struct *waker = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(waker);
	long nr = REG_NR(regs);
	__u16 f = sys_flags(nr);

	st->t_wake = bpf_ktime_get_ns();
	forget_waker(st);
	st->waker_ctx = waking_context(ctx, waker, st, nr, f);
	if (st->waker_ctx != K_CTX_TASK && st->waker_ctx != K_CTX_SOFTIRQ)
		return 0;
	st->waker_tid = waker->pid;
	st->waker_nr = nr;
	if (f & SYS_WRITE)
		st->bytes = message_bytes(regs, f);

	struct thread_state *w = member(waker);
	if (!w) {
		if ((f & SYS_FD) && (sys_flags(st->nr) & SYS_POLL))
			st->waker_chan = object_of_outsider(waker, REG_ARG0(regs));
		return 0;
	}
	w->last_woken = p->pid;
	if ((f & SYS_FD) && (sys_flags(st->nr) & SYS_POLL)) {
		struct file *own = w->waited;
		st->waker_chan = object_of(w, waker, REG_ARG0(regs));
		w->waited = own;
	}
	struct cached_site *c = site_of(w, regs);
	st->waker_site = c->id;
	if (st->sampled || first_sight_allowed(c)) {
		struct snap_request head = {.why = K_SNAP_WAKER, .tid = w->tid, .tgid = w->tgid, .for_tid = st->tid, .time = st->t_wake};
		head.seq = ++st->snap_seq;
		if (python_processes)
			tell_python(w, waker);
		if (snapshot(ctx, regs, &head)) {
			st->waker_snap = head.seq;
			if (!c->snapped)
				site_mark_snapped(w, c);
		}
	}
	return 0;
}

/* ---- messages that task I/O accounting does not count: send(), recv() and their like ---- */

/* Tracepoints of 6.3 and newer: programs that only use pipes and files do not pay for them. read() and write() on a socket are counted by the kernel already. */
static __always_inline void count_message(int len, __u16 flag)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct thread_state *st = member(t);
	if (!st || len < 0)
		return;
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(t);
	if (!(sys_flags(REG_NR(regs)) & flag))
		return;
	if (flag == SYS_SEND) {
		st->tx_calls++;
		st->tx_bytes += len;
	} else {
		st->rx_calls++;
		st->rx_bytes += len;
	}
}

SEC("?tp_btf/sock_send_length")
int BPF_PROG(on_send, struct sock *sk, int ret, int flags)
{
	count_message(ret, SYS_SEND);
	return 0;
}

SEC("?tp_btf/sock_recv_length")
int BPF_PROG(on_receive, struct sock *sk, int ret, int flags)
{
	count_message(ret, SYS_RECV);
	return 0;
}

/* ---- births, new images, deaths ---- */

static __always_inline struct thread_state *enroll(struct task_struct *t, __u64 now)
{
	struct thread_state *st = bpf_task_storage_get(&threads, t, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!st)
		return NULL;
	st->tid = t->pid;
	st->tgid = t->tgid;
	st->nr = st->waker_nr = -1;
	st->t_emit = st->t_out = st->t_wake = st->t_run = now;
	st->countdown = 1 + bpf_get_prandom_u32() % (2 * (control.sample_period | 1));
	st->syscr = t->ioac.syscr;
	st->syscw = t->ioac.syscw;
	st->rchar = t->ioac.rchar;
	st->wchar = t->ioac.wchar;
	return st;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct thread_state *pst = member(parent);
	if (!pst)
		return 0;
	__u64 now = bpf_ktime_get_ns();
	struct thread_state *st = enroll(child, now);
	struct k_fork *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (r) {
		r->type = K_FORK;
		r->tid = child->pid;
		r->tgid = child->tgid;
		r->ppid = parent->tgid;
		r->parent_tid = parent->pid;
		r->pad = 0;
		r->time = now;
		bpf_probe_read_kernel(r->comm, sizeof(r->comm), child->comm);
		bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	} else {
		struct k_stats *ks = stat();
		if (ks)
			ks->lost_events++;
	}
	if (st)
		st->state = ST_RUNNABLE; /* its first run-queue time begins now */
	__u32 from = parent->tgid, to = child->tgid;
	if (python_processes && from != to) { /* a forked interpreter is the same one until it execs: its first waits have frames too */
		struct python_offsets *o = bpf_map_lookup_elem(&python, &from);
		if (o && !bpf_map_update_elem(&python, &to, o, BPF_ANY))
			__sync_fetch_and_add(&python_processes, 1);
	}
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *t, int old_pid, struct linux_binprm *bprm)
{
	struct thread_state *st = member(t);
	if (!st)
		return 0;
	st->tid = t->pid;
	/* the address space is new: (ip, sp) mean something else now, and close-on-exec files are gone */
	st->py_tstate = 0;
	__builtin_memset(st->sites, 0, sizeof(st->sites));
	__builtin_memset(st->fds, 0, sizeof(st->fds));
	struct k_exec *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		struct k_stats *ks = stat();
		if (ks)
			ks->lost_events++;
		return 0;
	}
	r->type = K_EXEC;
	r->tgid = t->tgid;
	r->old_tid = old_pid;
	r->ppid = t->real_parent->tgid;
	r->time = bpf_ktime_get_ns();
	bpf_probe_read_kernel(r->comm, sizeof(r->comm), t->comm);
	r->filename[0] = 0;
	bpf_probe_read_kernel_str(r->filename, sizeof(r->filename), bprm->filename);
	r->args_len = r->args_total = 0;
	struct mm_struct *mm = t->mm;
	if (mm) {
		__u64 a = mm->arg_start, n = mm->arg_end - a;
		r->args_total = n;
		if (n > K_ARGS)
			n = K_ARGS;
		if (n && !bpf_probe_read_user(r->args, n, (void *)a))
			r->args_len = n;
	}
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *t)
{
	struct thread_state *st = member(t);
	if (!st || st->state == ST_DEAD)
		return 0;
	__u64 now = bpf_ktime_get_ns();
	st->t_out = now;
	forget_waker(st);
	st->chan = 0;
	st->snap = st->site = 0;
	st->want = 0;
	tell_wait(st, t, now, now, K_WAIT_EXITING);
	st->state = ST_DEAD;
	struct k_exit *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		struct k_stats *ks = stat();
		if (ks)
			ks->lost_events++;
		return 0;
	}
	r->type = K_EXIT;
	r->tid = st->tid;
	r->tgid = st->tgid;
	r->time = now;
	r->code = t->exit_code;
	r->live_threads = t->signal->nr_threads;
	r->pad = 0;
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}

/* ---- on-CPU samples ---- */

SEC("perf_event")
int on_clock(void *ctx)
{
	struct task_struct *t = bpf_get_current_task_btf();
	if (t->flags & (PF_KTHREAD | PF_EXITING))
		return 0;
	struct thread_state *st = member(t);
	if (!st || st->state == ST_DEAD)
		return 0;
	struct k_stats *ks = stat();
	if (ks)
		ks->samples++;
	struct snap_request head = {.why = K_SNAP_CPU, .tid = st->tid, .tgid = st->tgid, .time = bpf_ktime_get_ns()};
	head.user_mode = PERF_CTX_USER_MODE(ctx);
	if (python_processes)
		tell_python(st, t);
	snapshot(ctx, (struct pt_regs *)bpf_task_pt_regs(t), &head);
	return 0;
}

/* ---- attach and detach: one pass over all tasks ---- */

#define MAX_DEPTH 64
static __always_inline int descends_from_root(struct task_struct *t)
{
	struct task_struct *p = t->group_leader;
	for (int i = 0; i < MAX_DEPTH; i++) {
		__u32 pid = BPF_CORE_READ(p, tgid);
		if (pid == own_tgid || !pid)
			return 0;
		if (bpf_map_lookup_elem(&roots, &pid))
			return 1;
		p = BPF_CORE_READ(p, real_parent);
		if (!p)
			return 0;
	}
	return 0;
}

__u32 seeded = 0;

/* Enrolls the threads of the roots and of all their descendants. Run again until it finds nothing new. */
SEC("iter/task")
int seed(struct bpf_iter__task *ctx)
{
	struct task_struct *t = ctx->task;
	if (!t || t->flags & (PF_KTHREAD | PF_EXITING) || member(t) || !descends_from_root(t))
		return 0;
	__u64 now = bpf_ktime_get_ns();
	struct thread_state *st = enroll(t, now);
	if (!st)
		return 0;
	seeded++;
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(t);
	long state = task_state(t);
	st->state = state ? ST_BLOCKED : t->on_cpu ? ST_RUNNING : ST_RUNNABLE;
	st->site = __sync_fetch_and_add(&next_site, 1);
	if (state) {
		st->nr = REG_NR(regs);
		st->flags = K_WAIT_BLOCKED | K_WAIT_AT_START | (st->nr < 0 ? K_WAIT_FAULT : 0) |
			    (state & TASK_STOPPED_TRACED ? K_WAIT_STOPPED : 0) | (state & TASK_UNINTERRUPTIBLE ? K_WAIT_UNINTR : 0);
	}
	st->snap = ++st->snap_seq;
	struct k_seed *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r)
		return 0;
	r->type = K_SEED;
	r->tid = st->tid;
	r->tgid = st->tgid;
	r->ppid = BPF_CORE_READ(t, real_parent, tgid);
	r->time = now;
	bpf_probe_read_kernel(r->comm, sizeof(r->comm), t->comm);
	regs_copy(regs, r->regs);
	r->blocked = state != 0;
	r->nr = REG_NR(regs);
	r->site = st->site;
	r->snap = st->snap;
	__u16 f = sys_flags(st->nr);
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	if (state)
		st->chan = waited_object(st, t, regs, f);
	return 0;
}

/* Tells what is still going on: waits not yet over, folded values, lost totals. */
SEC("iter/task")
int conclude(struct bpf_iter__task *ctx)
{
	struct task_struct *t = ctx->task;
	if (!t || t->flags & PF_KTHREAD)
		return 0;
	struct thread_state *st = member(t);
	if (!st || st->state == ST_DEAD)
		return 0;
	__u64 now = bpf_ktime_get_ns();
	if (st->state == ST_BLOCKED) {
		int woken = st->waker_ctx != K_CTX_NONE && st->t_wake >= st->t_out;
		tell_wait(st, t, woken ? st->t_wake : now, now, st->flags | K_WAIT_AT_END);
	} else {
		forget_waker(st);
		st->chan = 0;
		st->snap = st->site = 0;
		if (st->state == ST_RUNNING)
			st->t_out = now;
		tell_wait(st, t, st->t_out, now, K_WAIT_PREEMPTED | K_WAIT_AT_END);
	}
	st->state = ST_DEAD;
	return 0;
}
