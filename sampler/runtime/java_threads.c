/* SPDX-License-Identifier: Apache-2.0
 *
 * Java threads: the JavaThread of a tid, what it waits for, which threads are the VM's own. In: the VM's thread list (copied
 * on every change and published by one pointer, so an unchanged pointer means an unchanged list); out: addresses, roles,
 * monitors.
 *
 * Contended monitors: a thread that waits to enter says so in _current_pending_monitor, one in Object.wait in
 * _current_waiting_monitor. The owner of a monitor is a JavaThread, or an address within its owner's stack (a lock that was
 * inflated while held, up to 21), or, since 24, the owner's _monitor_owner_id.
 */
#include "sampler/runtime/java.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#define MAX_THREADS 100000
#define ANONYMOUS_OWNER 1 /* ObjectMonitor::ANONYMOUS_OWNER */

struct java_thread {
	pid_t ns_tid;
	uint64_t addr;
	UT_hash_handle hh;
};

void java_threads_free(struct java_process *p)
{
	struct java_thread *t, *next;

	HASH_ITER(hh, p->threads, t, next)
	{
		HASH_DEL(p->threads, t);
		free(t);
	}
	p->thread_list_seen = 0;
}

static pid_t ns_tid_of_thread(struct java_process *p, struct target_memory *m, uint64_t jthread)
{
	int32_t at = p->layout.thread_osthread >= 0 ? p->layout.thread_osthread : p->layout.jthread_osthread;
	uint64_t os = target_u64(m, jthread + (uint32_t)at);

	return os ? (pid_t)target_u32(m, os + (uint32_t)p->layout.os_thread_id) : 0;
}

static void scan(struct java_process *p, struct target_memory *m, uint64_t list)
{
	uint32_t n = target_u32(m, list + (uint32_t)p->layout.list_length);
	uint64_t array = target_u64(m, list + (uint32_t)p->layout.list_threads);

	java_threads_free(p);
	for (uint32_t i = 0; i < n && i < MAX_THREADS; i++) {
		uint64_t addr = target_u64(m, array + 8ull * i);
		pid_t ns_tid = addr ? ns_tid_of_thread(p, m, addr) : 0;
		struct java_thread *t;
		if (ns_tid <= 0)
			continue;
		HASH_FIND_INT(p->threads, &ns_tid, t);
		if (t)
			continue;
		t = calloc(1, sizeof *t);
		if (!t)
			return;
		t->ns_tid = ns_tid;
		t->addr = addr;
		HASH_ADD_INT(p->threads, ns_tid, t);
	}
	p->thread_list_seen = list;
}

uint64_t java_thread_of(struct java_process *p, struct target_memory *m, pid_t tid)
{
	pid_t ns_tid = p->foreign_pids ? runtime_ns_tid(p->pid, tid) : tid;
	uint64_t list = target_u64(m, p->layout.thread_list);
	struct java_thread *t;

	if (!list)
		return 0;
	if (list == p->thread_list_seen) {
		HASH_FIND_INT(p->threads, &ns_tid, t);
		if (!t)
			return 0;
		if (ns_tid_of_thread(p, m, t->addr) == ns_tid)
			return t->addr;
	}
	scan(p, m, list);
	HASH_FIND_INT(p->threads, &ns_tid, t);
	return t ? t->addr : 0;
}

pid_t java_thread_tid(struct java_process *p, struct target_memory *m, uint64_t jthread)
{
	pid_t ns_tid = ns_tid_of_thread(p, m, jthread);

	return p->foreign_pids ? runtime_host_tid(p->pid, ns_tid) : ns_tid;
}

void java_thread_forget(struct java_process *p, pid_t tid)
{
	(void)tid;
	p->thread_list_seen = 0; /* the list has changed or will */
}

/* The VM's own threads by the names that it gives them, cut to 15 characters by the kernel. */
static enum runtime_role role_by_name(const char *comm)
{
	static const struct {
		const char *prefix;
		enum runtime_role role;
	} names[] = {
		{"GC Thread", RUNTIME_ROLE_GC},
		{"G1 ", RUNTIME_ROLE_GC},
		{"ParGC", RUNTIME_ROLE_GC},
		{"Gang worker", RUNTIME_ROLE_GC},
		{"CMS ", RUNTIME_ROLE_GC},
		{"ZDriver", RUNTIME_ROLE_GC},
		{"ZWorker", RUNTIME_ROLE_GC},
		{"ZStat", RUNTIME_ROLE_GC},
		{"ZDirector", RUNTIME_ROLE_GC},
		{"ZUncommitter", RUNTIME_ROLE_GC},
		{"ZUnmapper", RUNTIME_ROLE_GC},
		{"XDriver", RUNTIME_ROLE_GC},
		{"Shenandoah", RUNTIME_ROLE_GC},
		{"C1 Compiler", RUNTIME_ROLE_COMPILER},
		{"C2 Compiler", RUNTIME_ROLE_COMPILER},
		{"JVMCI", RUNTIME_ROLE_COMPILER},
		{"Sweeper", RUNTIME_ROLE_COMPILER},
		{"VM Thread", RUNTIME_ROLE_VM},
		{"VM Periodic", RUNTIME_ROLE_VM},
		{"VMThread", RUNTIME_ROLE_VM},
		{"Signal Dispatch", RUNTIME_ROLE_VM},
		{"Service Thread", RUNTIME_ROLE_VM},
		{"Monitor Deflati", RUNTIME_ROLE_VM},
		{"Notification Th", RUNTIME_ROLE_VM},
		{"Reference Handl", RUNTIME_ROLE_VM},
		{"Finalizer", RUNTIME_ROLE_VM},
		{"Common-Cleaner", RUNTIME_ROLE_VM},
		{"Attach Listener", RUNTIME_ROLE_VM},
		{"JFR ", RUNTIME_ROLE_VM},
		{"WatcherThread", RUNTIME_ROLE_VM},
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strncmp(comm, names[i].prefix, strlen(names[i].prefix)) == 0)
			return names[i].role;
	return RUNTIME_ROLE_APP;
}

static void read_comm(pid_t pid, pid_t tid, char *buf, size_t len)
{
	char path[64];
	ssize_t n;
	int fd;

	buf[0] = 0;
	snprintf(path, sizeof path, "/proc/%d/task/%d/comm", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, buf, len - 1);
	close(fd);
	buf[n > 0 ? n : 0] = 0;
	buf[strcspn(buf, "\n")] = 0;
}

/* A name alone proves nothing: an application may call its thread anything. A thread of the thread list is the VM's own only
 * by name and if it is one of those that run Java code or compile; a thread outside of the list is never the application's
 * unless it is a native thread of a library, which has none of the names. */
enum runtime_role java_role(struct java_process *p, struct target_memory *m, pid_t tid, char *name, size_t len)
{
	enum runtime_role role;
	bool listed;

	read_comm(p->pid, tid, name, len);
	role = role_by_name(name);
	listed = java_thread_of(p, m, tid) != 0;
	return role == RUNTIME_ROLE_GC && listed ? RUNTIME_ROLE_APP : role;
}

/* Whether the thread's lock stack holds the object (lightweight locking, 21+): entries from base up to top, an offset in the
 * thread. */
static bool holds_lightly(struct java_process *p, struct target_memory *m, uint64_t jthread, uint64_t oop)
{
	const struct java_layout *l = &p->layout;
	uint32_t base = (uint32_t)(l->lock_stack + l->lock_stack_base), top;

	if (l->lock_stack < 0 || l->lock_stack_top < 0 || l->lock_stack_base < 0)
		return false;
	top = target_u32(m, jthread + (uint32_t)(l->lock_stack + l->lock_stack_top));
	for (uint32_t at = base; at < top && at < base + 64; at += 8)
		if (target_u64(m, jthread + at) == oop)
			return true;
	return false;
}

/* Whether the thread owns a monitor whose _owner is this. oop is set when the monitor does not know its owner itself:
 * inflated by who wants it, while the owner holds it lightly. */
static bool is_owner(struct java_process *p, struct target_memory *m, uint64_t jthread, uint64_t owner, uint64_t oop)
{
	const struct java_layout *l = &p->layout;
	uint64_t base, size;

	if (oop)
		return holds_lightly(p, m, jthread, oop);
	if (l->owner_is_tid)
		return l->monitor_owner_id >= 0 && target_u64(m, jthread + (uint32_t)l->monitor_owner_id) == owner;
	if (jthread == owner)
		return true;
	if (l->stack_base < 0 || l->stack_size < 0)
		return false;
	base = target_u64(m, jthread + (uint32_t)l->stack_base);
	size = target_u64(m, jthread + (uint32_t)l->stack_size);
	return owner < base && owner >= base - size;
}

static pid_t owner_tid(struct java_process *p, struct target_memory *m, uint64_t monitor)
{
	const struct java_layout *l = &p->layout;
	uint64_t owner = l->monitor_owner >= 0 ? target_u64(m, monitor + (uint32_t)l->monitor_owner) : 0, oop = 0;
	struct java_thread *t, *next;

	if (owner == ANONYMOUS_OWNER && l->monitor_object >= 0) {
		uint64_t handle = target_u64(m, monitor + (uint32_t)l->monitor_object);
		oop = handle ? target_u64(m, handle) : 0;
	}
	if (!owner || (owner == ANONYMOUS_OWNER && !oop))
		return 0;
	HASH_ITER(hh, p->threads, t, next)
	if (is_owner(p, m, t->addr, owner, oop))
		return java_thread_tid(p, m, t->addr);
	return 0;
}

bool java_wait(struct java_process *p, struct runtime_env *env, pid_t tid, struct runtime_wait *out)
{
	const struct java_layout *l = &p->layout;
	struct target_memory *m = env->memory;
	uint64_t t = java_thread_of(p, m, tid), monitor = 0;

	if (!t || l->pending_monitor < 0)
		return false;
	memset(out, 0, sizeof *out);
	monitor = target_u64(m, t + (uint32_t)l->pending_monitor);
	if (monitor) {
		out->cls = WC_LOCK;
		out->address = monitor;
		out->holder_tid = owner_tid(p, m, monitor);
		snprintf(out->name, sizeof out->name, "Java monitor");
		return true;
	}
	monitor = l->waiting_monitor >= 0 ? target_u64(m, t + (uint32_t)l->waiting_monitor) : 0;
	if (!monitor)
		return false;
	out->cls = WC_FUTEX;
	out->address = monitor;
	snprintf(out->name, sizeof out->name, "Object.wait");
	return true;
}
