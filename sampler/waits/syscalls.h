/* SPDX-License-Identifier: Apache-2.0
 *
 * What a system call waits for. In: its number and the kind of object behind it; out: a wait class. Shared by the
 * backends: numbers are the running architecture's.
 */
#ifndef LOCKSTEP_SYSCALLS_H
#define LOCKSTEP_SYSCALLS_H

#include "sampler/event.h"

enum syscall_category {
	CAT_OTHER = 0,
	CAT_READ,
	CAT_WRITE,
	CAT_ACCEPT,
	CAT_CONNECT,
	CAT_POLL,
	CAT_FUTEX,
	CAT_SLEEP,
	CAT_CHILD,
	CAT_IPC, /* SysV and POSIX queues, SysV semaphores */
	CAT_SIGNAL,
	CAT_LOCK, /* flock */
	CAT_FCNTL, /* LOCK on a file */
	CAT_FILE, /* fsync, open, stat and others that wait for a file system */
};

/* What a descriptor may be, as far as the wait class depends on it. */
enum fd_object { FDO_UNKNOWN = 0, FDO_PIPE, FDO_UNIX, FDO_INET, FDO_FILE, FDO_CHAR, FDO_EVENTFD, FDO_TIMERFD, FDO_SIGNALFD, FDO_QUEUE, FDO_ANON };

enum syscall_category syscall_category(long nr);
/* SYS_* bits of sampler/kernel/records.h: where the arguments hold a descriptor, a length, a futex. */
unsigned syscall_flags(long nr);
/* The class of a wait in this category on this object. */
enum wait_class syscall_wait_class(enum syscall_category c, enum fd_object o);

#endif
