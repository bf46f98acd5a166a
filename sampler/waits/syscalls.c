/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler/waits/syscalls.h"

#include "sampler/kernel/records.h"

#include <sys/syscall.h>

struct syscall_row {
	unsigned char category;
	unsigned short flags;
};

/* System calls that wait, or that wake others with a message. Numbers differ per architecture and older calls do not exist on newer
 * ones: hence the #ifdefs. */
static const struct syscall_row rows[SYS_MAX] = {
	[SYS_read] = {CAT_READ, SYS_FD | SYS_LEN},
	[SYS_pread64] = {CAT_READ, SYS_FD | SYS_LEN},
	[SYS_readv] = {CAT_READ, SYS_FD | SYS_IOV},
	[SYS_preadv] = {CAT_READ, SYS_FD | SYS_IOV},
	[SYS_preadv2] = {CAT_READ, SYS_FD | SYS_IOV},
	[SYS_recvfrom] = {CAT_READ, SYS_FD | SYS_LEN | SYS_RECV},
	[SYS_recvmsg] = {CAT_READ, SYS_FD | SYS_MSG | SYS_RECV},
	[SYS_recvmmsg] = {CAT_READ, SYS_FD | SYS_RECV},
	[SYS_getdents64] = {CAT_FILE, SYS_FD},
	[SYS_write] = {CAT_WRITE, SYS_FD | SYS_LEN | SYS_WRITE},
	[SYS_pwrite64] = {CAT_WRITE, SYS_FD | SYS_LEN | SYS_WRITE},
	[SYS_writev] = {CAT_WRITE, SYS_FD | SYS_IOV | SYS_WRITE},
	[SYS_pwritev] = {CAT_WRITE, SYS_FD | SYS_IOV | SYS_WRITE},
	[SYS_pwritev2] = {CAT_WRITE, SYS_FD | SYS_IOV | SYS_WRITE},
	[SYS_sendto] = {CAT_WRITE, SYS_FD | SYS_LEN | SYS_WRITE | SYS_SEND},
	[SYS_sendmsg] = {CAT_WRITE, SYS_FD | SYS_MSG | SYS_WRITE | SYS_SEND},
	[SYS_sendmmsg] = {CAT_WRITE, SYS_FD | SYS_WRITE | SYS_SEND},
	[SYS_sendfile] = {CAT_WRITE, SYS_FD | SYS_WRITE},
	[SYS_splice] = {CAT_READ, SYS_FD},
	[SYS_tee] = {CAT_READ, SYS_FD},
	[SYS_vmsplice] = {CAT_WRITE, SYS_FD | SYS_WRITE},
	[SYS_copy_file_range] = {CAT_FILE, SYS_FD},
	[SYS_shutdown] = {CAT_OTHER, SYS_FD | SYS_WRITE},
	[SYS_close] = {CAT_FILE, SYS_FD},
	[SYS_ioctl] = {CAT_OTHER, SYS_FD},
	[SYS_accept] = {CAT_ACCEPT, SYS_FD},
	[SYS_accept4] = {CAT_ACCEPT, SYS_FD},
	[SYS_connect] = {CAT_CONNECT, SYS_FD | SYS_WRITE},
	[SYS_ppoll] = {CAT_POLL, SYS_POLL},
	[SYS_pselect6] = {CAT_POLL, SYS_POLL},
	[SYS_epoll_pwait] = {CAT_POLL, SYS_POLL | SYS_FD},
	[SYS_futex] = {CAT_FUTEX, SYS_FUTEX},
	[SYS_nanosleep] = {CAT_SLEEP, 0},
	[SYS_clock_nanosleep] = {CAT_SLEEP, 0},
	[SYS_wait4] = {CAT_CHILD, 0},
	[SYS_waitid] = {CAT_CHILD, 0},
	[SYS_clone] = {CAT_CHILD, 0},
	[SYS_clone3] = {CAT_CHILD, 0},
	[SYS_semop] = {CAT_IPC, SYS_SEM},
	[SYS_semtimedop] = {CAT_IPC, SYS_SEM},
	[SYS_semctl] = {CAT_IPC, SYS_SEM},
	[SYS_msgrcv] = {CAT_IPC, SYS_MSGQ | SYS_LEN},
	[SYS_msgsnd] = {CAT_IPC, SYS_MSGQ | SYS_LEN | SYS_WRITE},
	[SYS_mq_timedreceive] = {CAT_IPC, SYS_FD | SYS_LEN},
	[SYS_mq_timedsend] = {CAT_IPC, SYS_FD | SYS_LEN | SYS_WRITE},
	[SYS_rt_sigtimedwait] = {CAT_SIGNAL, 0},
	[SYS_rt_sigsuspend] = {CAT_SIGNAL, 0},
	[SYS_flock] = {CAT_LOCK, SYS_FD},
	[SYS_fcntl] = {CAT_FCNTL, SYS_FD},
	[SYS_fsync] = {CAT_FILE, SYS_FD},
	[SYS_fdatasync] = {CAT_FILE, SYS_FD},
	[SYS_sync_file_range] = {CAT_FILE, SYS_FD},
	[SYS_fallocate] = {CAT_FILE, SYS_FD},
	[SYS_ftruncate] = {CAT_FILE, SYS_FD},
	[SYS_readahead] = {CAT_FILE, SYS_FD},
	[SYS_fstat] = {CAT_FILE, SYS_FD},
	[SYS_sync] = {CAT_FILE, 0},
	[SYS_syncfs] = {CAT_FILE, SYS_FD},
	[SYS_msync] = {CAT_FILE, 0},
	[SYS_openat] = {CAT_FILE, 0},
	[SYS_unlinkat] = {CAT_FILE, 0},
	[SYS_renameat2] = {CAT_FILE, 0},
	[SYS_mkdirat] = {CAT_FILE, 0},
	[SYS_faccessat] = {CAT_FILE, 0},
	[SYS_statx] = {CAT_FILE, 0},
	[SYS_truncate] = {CAT_FILE, 0},
	[SYS_execve] = {CAT_FILE, 0},
	[SYS_execveat] = {CAT_FILE, 0},
#ifdef SYS_openat2
	[SYS_openat2] = {CAT_FILE, 0},
#endif
#ifdef SYS_futex_waitv
	[SYS_futex_waitv] = {CAT_FUTEX, 0},
#endif
#ifdef SYS_epoll_pwait2
	[SYS_epoll_pwait2] = {CAT_POLL, SYS_POLL | SYS_FD},
#endif
	/* no numbers of their own in glibc 2.36's headers; the same on every architecture */
	[455] = {CAT_FUTEX, SYS_FUTEX}, /* futex_wait */
	[454] = {CAT_OTHER, SYS_FUTEX}, /* futex_wake */
	[456] = {CAT_FUTEX, SYS_FUTEX}, /* futex_requeue */
#ifdef SYS_poll
	[SYS_poll] = {CAT_POLL, SYS_POLL},
#endif
#ifdef SYS_select
	[SYS_select] = {CAT_POLL, SYS_POLL},
#endif
#ifdef SYS_epoll_wait
	[SYS_epoll_wait] = {CAT_POLL, SYS_POLL | SYS_FD},
#endif
#ifdef SYS_pause
	[SYS_pause] = {CAT_SIGNAL, 0},
#endif
#ifdef SYS_fork
	[SYS_fork] = {CAT_CHILD, 0},
#endif
#ifdef SYS_vfork
	[SYS_vfork] = {CAT_CHILD, 0},
#endif
#ifdef SYS_open
	[SYS_open] = {CAT_FILE, 0},
#endif
#ifdef SYS_stat
	[SYS_stat] = {CAT_FILE, 0},
	[SYS_lstat] = {CAT_FILE, 0},
	[SYS_access] = {CAT_FILE, 0},
	[SYS_rename] = {CAT_FILE, 0},
	[SYS_unlink] = {CAT_FILE, 0},
	[SYS_mkdir] = {CAT_FILE, 0},
	[SYS_creat] = {CAT_FILE, 0},
#endif
#ifdef SYS_newfstatat
	[SYS_newfstatat] = {CAT_FILE, 0},
#endif
#ifdef SYS_getdents
	[SYS_getdents] = {CAT_FILE, SYS_FD},
#endif
};

enum syscall_category syscall_category(long nr)
{
	return nr >= 0 && nr < SYS_MAX ? (enum syscall_category)rows[nr].category : CAT_OTHER;
}

unsigned syscall_flags(long nr)
{
	return nr >= 0 && nr < SYS_MAX ? rows[nr].flags : 0;
}

static enum wait_class read_class(enum fd_object o)
{
	switch (o) {
	case FDO_PIPE:
		return WC_PIPE_READ;
	case FDO_UNIX:
		return WC_UNIX_READ;
	case FDO_INET:
		return WC_TCP_READ;
	case FDO_FILE:
		return WC_FILE_IO;
	case FDO_EVENTFD:
	case FDO_QUEUE:
		return WC_IPC_QUEUE;
	case FDO_TIMERFD:
		return WC_SLEEP;
	case FDO_SIGNALFD:
		return WC_SIGNAL;
	default:
		return WC_OTHER; /* terminals, inotify, ... */
	}
}

static enum wait_class write_class(enum fd_object o)
{
	switch (o) {
	case FDO_PIPE:
		return WC_PIPE_WRITE;
	case FDO_UNIX:
		return WC_UNIX_WRITE;
	case FDO_INET:
		return WC_TCP_WRITE;
	case FDO_FILE:
		return WC_FILE_IO;
	case FDO_EVENTFD:
	case FDO_QUEUE:
		return WC_IPC_QUEUE;
	default:
		return WC_OTHER;
	}
}

enum wait_class syscall_wait_class(enum syscall_category c, enum fd_object o)
{
	switch (c) {
	case CAT_READ:
		return read_class(o);
	case CAT_WRITE:
		return write_class(o);
	case CAT_ACCEPT:
		return WC_ACCEPT;
	case CAT_CONNECT:
		return o == FDO_UNIX ? WC_UNIX_WRITE : WC_TCP_CONNECT;
	case CAT_POLL:
		return WC_POLL;
	case CAT_FUTEX:
		return WC_FUTEX;
	case CAT_SLEEP:
		return WC_SLEEP;
	case CAT_CHILD:
		return WC_CHILD;
	case CAT_IPC:
		return WC_IPC_QUEUE;
	case CAT_SIGNAL:
		return WC_SIGNAL;
	case CAT_LOCK:
		return WC_LOCK;
	case CAT_FCNTL:
		return o == FDO_PIPE ? WC_OTHER : WC_LOCK;
	case CAT_FILE:
		/* closing or duplicating a pipe or socket waits for no disk */
		return o == FDO_UNKNOWN || o == FDO_FILE ? WC_FILE_IO : WC_OTHER;
	case CAT_OTHER:
		break;
	}
	return WC_OTHER;
}
