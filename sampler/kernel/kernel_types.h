/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The kernel types that the programs touch, hand-written instead of a generated vmlinux.h: 150 lines that can be read,
 * no dependence on the build machine's kernel. preserve_access_index makes every field offset a CO-RE relocation, so the order and
 * completeness of the fields here do not matter; a field that a kernel lacks is guarded by bpf_core_field_exists.
 */
#ifndef LOCKSTEP_KERNEL_TYPES_H
#define LOCKSTEP_KERNEL_TYPES_H

#include <linux/types.h>
#include <stdbool.h>

typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct path;
struct task_io_accounting {
	u64 rchar, wchar, syscr, syscw;
};

struct super_block {
	__u32 s_dev;
	unsigned long s_magic;
};

struct pipe_inode_info {
	unsigned int ring_size, max_usage;
};

struct inode {
	unsigned short i_mode;
	unsigned long i_ino;
	struct super_block *i_sb;
	struct pipe_inode_info *i_pipe;
};

struct file {
	struct inode *f_inode;
	void *private_data;
	unsigned int f_mode;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__u32 skc_daddr, skc_rcv_saddr;
	__u16 skc_dport, skc_num;
	unsigned short skc_family;
	unsigned char skc_state;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
};

struct sk_buff_head {
	u32 qlen;
};

struct socket;
struct sock {
	struct sock_common __sk_common;
	struct sk_buff_head sk_receive_queue;
	struct socket *sk_socket;
	u16 sk_type, sk_protocol;
	int sk_sndbuf, sk_rcvbuf;
};

struct socket {
	short type;
	struct file *file;
	struct sock *sk;
};

struct sockaddr_un {
	unsigned short sun_family;
	char sun_path[108];
};

struct unix_address {
	int len;
	struct sockaddr_un name[0];
};

struct unix_sock {
	struct sock sk;
	struct unix_address *addr;
	struct sock *peer;
};

struct mm_struct {
	unsigned long arg_start, arg_end;
};

struct signal_struct {
	int nr_threads;
	int group_exit_code;
};

#if defined(__TARGET_ARCH_x86)
struct thread_struct {
	unsigned long fsbase;
};
#endif

struct task_struct {
#if defined(__TARGET_ARCH_x86)
	struct thread_struct thread;
#endif
	unsigned int __state;
	void *stack;
	unsigned int flags;
	int on_cpu;
	int pid, tgid;
	int exit_code;
	struct task_struct *real_parent, *group_leader;
	struct mm_struct *mm;
	struct files_struct *files;
	struct signal_struct *signal;
	char comm[16];
	struct task_io_accounting ioac;
};

struct linux_binprm {
	const char *filename;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	u64 regs[31], sp, pc, pstate;
};
struct pt_regs {
	union {
		struct user_pt_regs user_regs;
		struct {
			u64 regs[31], sp, pc, pstate;
		};
	};
	u64 orig_x0;
	int syscallno;
};
#endif

struct bpf_perf_event_data_kern {
	struct pt_regs *regs;
};

struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id, seq_num;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop

/* the name before 5.14 */
struct task_struct___old {
	long state;
} __attribute__((preserve_access_index));

#define PF_KTHREAD 0x00200000
#define PF_EXITING 0x00000004
#define S_IFMT 00170000
#define S_IFSOCK 0140000
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFDIR 0040000
#define S_IFCHR 0020000
#define S_IFIFO 0010000
#define MQUEUE_MAGIC 0x19800202
#define TASK_STOPPED_TRACED 0x000c
#define TASK_UNINTERRUPTIBLE 0x0002
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define PAGE_SIZE_ 4096UL

#endif
