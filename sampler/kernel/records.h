/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the BPF programs (wait.bpf.c) write into the ring buffer and kernel_backend.c reads. Included by both sides:
 * fixed-width types only, no pointers. Every record starts with `type`.
 */
#ifndef LOCKSTEP_KERNEL_RECORDS_H
#define LOCKSTEP_KERNEL_RECORDS_H

#include <linux/types.h>

enum k_record {
	K_WAIT = 1, /* struct k_wait: one off-CPU period, written when it ends */
	K_SNAP,	    /* struct k_snap + stack bytes */
	K_CHAN,	    /* struct k_chan: a thread of tgid used this object for the first time */
	K_FORK,	    /* struct k_fork */
	K_EXEC,	    /* struct k_exec */
	K_EXIT,	    /* struct k_exit */
	K_SEED,	    /* struct k_seed: a thread that existed at attach */
	K_LOST,	    /* struct k_lost: totals of a thread's records that did not fit */
	K_PY,	    /* struct k_py: Python frames of the snapshot that follows */
};

/* What kind of kernel object a key stands for; the top byte of the key. */
enum k_object {
	K_OBJ_NONE = 0,
	K_OBJ_PIPE,
	K_OBJ_UNIX,
	K_OBJ_INET,   /* TCP or UDP, v4 or v6 */
	K_OBJ_SOCKET, /* another family */
	K_OBJ_ANON,   /* eventfd, epoll, timerfd, ...: told apart by its name in user space */
	K_OBJ_FILE,
	K_OBJ_CHAR, /* terminals and other character devices */
	K_OBJ_MQUEUE,
	K_OBJ_FUTEX, /* key holds the user address; private ones are per process */
	K_OBJ_SYSV_SEM,
	K_OBJ_SYSV_MSG,
};
#define K_KEY(obj, low) (((__u64)(obj) << 56) | ((__u64)(low)&0x00ffffffffffffffULL))
#define K_KEY_OBJ(key) ((unsigned)((key) >> 56))

/* Properties of a system call, by number (rodata table `sysinfo`, filled from syscalls.c). */
#define SYS_FD 0x01	/* the first argument is a file descriptor */
#define SYS_LEN 0x02	/* the third argument is a length in bytes */
#define SYS_IOV 0x04	/* (fd, iovec *, count) */
#define SYS_MSG 0x08	/* (fd, msghdr *, flags) */
#define SYS_POLL 0x10	/* waits for several objects: the waker's object counts */
#define SYS_FUTEX 0x20	/* the first argument is a futex address */
#define SYS_SEM 0x40	/* the first argument is a SysV semaphore id */
#define SYS_MSGQ 0x80	/* the first argument is a SysV queue id */
#define SYS_WRITE 0x100 /* moves data out of the caller */
#define SYS_SEND 0x200	/* moves data, and task I/O accounting does not see it */
#define SYS_RECV 0x400
#define SYS_MAX 512

#define K_WAIT_BLOCKED 0x01   /* else preempted or yielded */
#define K_WAIT_AT_START 0x02  /* began before observation */
#define K_WAIT_AT_END 0x04    /* not over when observation ended */
#define K_WAIT_EXITING 0x08   /* only flushes folded values: the thread ends */
#define K_WAIT_STOPPED 0x10   /* job control or ptrace stop */
#define K_WAIT_UNINTR 0x20    /* TASK_UNINTERRUPTIBLE */
#define K_WAIT_FAULT 0x40     /* not in a system call: page fault or another exception */
#define K_WAIT_PREEMPTED 0x80 /* involuntary */

#define K_CTX_NONE 0
#define K_CTX_TASK 1
#define K_CTX_SOFTIRQ 2
#define K_CTX_HARDIRQ 3
#define K_CTX_KTHREAD 4

struct k_wait {
	__u32 type, tid;
	__u64 t_out, t_wake, t_run;
	__u64 chan, waker_chan;
	__u32 waker_tid;
	__s16 nr, waker_nr;
	__u8 flags, waker_ctx;
	__u16 spurious; /* woken, but nothing to read was there when it ran */
	__u32 site, waker_site;
	__u32 snap, waker_snap;
	__u32 bytes, want;
	__u32 rd_calls, rd_bytes, wr_calls, wr_bytes;
	__u32 fold_count, handoff_count, handoff_tid, fold_ns;
};

#define K_SNAP_WAIT 1
#define K_SNAP_WAKER 2
#define K_SNAP_CPU 3
#define K_REGS 33 /* DWARF numbering; x86-64 uses 17, aarch64 33 */
#define K_KSTACK 48
#define K_STACK_PAGES 9
#define K_STACK_MAX 32768
struct k_snap {
	__u32 type, why;
	__u32 tid, tgid;   /* whose stack */
	__u32 for_tid;	   /* K_SNAP_WAKER: whose wait it belongs to */
	__u32 seq;	   /* equals k_wait.snap / waker_snap */
	__u64 time;
	__u32 cpu, user_mode; /* K_SNAP_CPU: whether user code ran */
	__u32 len;	   /* stack bytes that follow */
	__u32 n_kernel;
	__u64 futex; /* K_SNAP_WAIT in futex(): its address */
	__u64 regs[K_REGS];
	__u64 kstack[K_KSTACK];
	/* followed by len bytes of stack, from regs' sp on */
};

#define K_PY_MAX 64
struct k_py {
	__u32 type, tid;
	__u32 n, pad; /* pairs (code object, instruction pointer), youngest first */
	__u64 pairs[2 * K_PY_MAX];
};

struct k_chan {
	__u32 type, obj;
	__u64 key;
	__u64 time;
	__u32 tid, tgid;
	__s32 fd;
	__u32 f_mode; /* 1 read, 2 write */
	__u64 ino, peer_ino;
	__u32 dev;
	__u32 capacity_bytes;
	__u16 family, sock_type, state, lport, rport, path_len;
	__u32 protocol;
	__u8 laddr[16], raddr[16];
	char path[108];
};

struct k_fork {
	__u32 type;
	__u32 tid, tgid, ppid, parent_tid;
	__u32 pad;
	__u64 time;
	char comm[16];
};

#define K_ARGS 1024
struct k_exec {
	__u32 type;
	__u32 tgid, old_tid, ppid;
	__u64 time;
	char comm[16];
	char filename[256];
	__u32 args_len, args_total;
	char args[K_ARGS];
};

struct k_exit {
	__u32 type;
	__u32 tid, tgid;
	__s32 code;
	__u64 time;
	__u32 live_threads; /* of the group, this one included; 1: the process ends */
	__u32 pad;
};

struct k_seed {
	__u32 type;
	__u32 tid, tgid, ppid;
	__u64 time;
	char comm[16];
	__u64 regs[K_REGS];
	__u32 blocked;
	__s32 nr;
	__u32 site, snap;
};

struct k_lost {
	__u32 type, tid;
	__u64 time;
	__u64 first_out, last_run;
	__u64 blocked_ns, run_queue_ns;
	__u64 count;
};

struct k_stats { /* one per CPU */
	__u64 lost_events, lost_stacks, snapshots, waits, samples;
};

/* Tunables that user space changes while running (.bss/.data of the object). */
struct k_control {
	__u32 sample_period; /* mean number of waits between two stack samples of a thread; 0: none */
	__u32 first_sight_budget; /* first-sight snapshots still allowed in this poll interval */
};

#endif
