/* SPDX-License-Identifier: Apache-2.0
 *
 * Which processes and threads there are. In: /proc; out: EV_PROCESS, EV_THREAD and their ends.
 *
 * The births of a tick cost nothing when there are none: the last field of /proc/loadavg is the youngest id of the PID
 * namespace. When it moved, only the ids in between are looked at. What was born and has been reaped between two ticks is missed and counted.
 */
#include "sampler/user/user_internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* exec and renaming are looked for this often; in a young process, which forked to exec, at every look. */
#define CHECK_NS 100000000ull
#define YOUNG_NS 200000000ull
#define MAX_BIRTHS 65536 /* ids looked at in one tick: beyond that (a wrap of the id counter, a storm) all of /proc is read */

struct task_stat {
	char comm[16];
	char state;
	int32_t ppid;
};

static ssize_t read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, buf, size - 1);
	int e = n < 0 ? -errno : 0;
	close(fd);
	if (n < 0)
		return e;
	buf[n] = 0;
	return n;
}

/* /proc/ID/stat: "pid (comm) state ppid ..."; comm may hold anything, so the last ')' ends it. */
static bool read_stat(int32_t id, struct task_stat *out)
{
	char path[48], buf[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", id);
	if (read_file(path, buf, sizeof buf) <= 0)
		return false;
	char *open = strchr(buf, '('), *close = strrchr(buf, ')');
	if (!open || !close || close < open || sscanf(close + 1, " %c %d", &out->state, &out->ppid) != 2)
		return false;
	size_t n = close - open - 1;
	if (n >= sizeof out->comm)
		n = sizeof out->comm - 1;
	memcpy(out->comm, open + 1, n);
	out->comm[n] = 0;
	return true;
}

static int32_t read_tgid(int32_t id)
{
	char path[48], buf[1024];
	snprintf(path, sizeof path, "/proc/%d/status", id);
	if (read_file(path, buf, sizeof buf) <= 0)
		return 0;
	const char *line = strstr(buf, "\nTgid:");
	return line ? atoi(line + 6) : 0;
}

static struct watched_process *find_process(struct user_backend *b, int32_t pid)
{
	struct watched_process *p;
	HASH_FIND_INT(b->processes, &pid, p);
	return p;
}

static struct watched_thread *find_thread(struct user_backend *b, int32_t tid)
{
	struct watched_thread *t;
	HASH_FIND_INT(b->threads, &tid, t);
	return t;
}

/* ---- names ---- */

static void tell_process(struct user_backend *b, const struct watched_process *p, enum process_reason why, uint64_t now_ns)
{
	char path[64], exe[PATH_MAX] = "", *cmdline = malloc(65536);
	snprintf(path, sizeof path, "/proc/%d/exe", p->pid);
	ssize_t n = readlink(path, exe, sizeof exe - 1);
	exe[n > 0 ? n : 0] = 0;
	snprintf(path, sizeof path, "/proc/%d/cmdline", p->pid);
	ssize_t len = cmdline ? read_file(path, cmdline, 65536) : 0;
	struct event ev = {.kind = EV_PROCESS,
			   .time_ns = now_ns,
			   .process = {.pid = p->pid,
				       .ppid = p->ppid,
				       .in_tree = true,
				       .reason = why,
				       .runtime = p->runtime,
				       .comm = p->comm,
				       .exe = exe,
				       .cmdline = len > 0 ? cmdline : NULL,
				       .cmdline_len = len > 0 ? (size_t)len : 0}};
	user_emit(b, &ev);
	free(cmdline);
}

/* Device and inode of the program, mixed; 0 when it cannot be read (another user's process). */
static uint64_t exe_id(int32_t pid)
{
	char path[48];
	struct stat st;
	snprintf(path, sizeof path, "/proc/%d/exe", pid);
	return stat(path, &st) == 0 ? st.st_dev * 0x9e3779b97f4a7c15ull ^ st.st_ino : 0;
}

static void look_inside(struct user_backend *b, struct watched_process *p)
{
	stack_table_mappings_changed(b->stacks);
	p->exe_id = exe_id(p->pid);
	p->denied = address_space_scan(p->as, NULL) == -EACCES || !p->exe_id;
	p->runtime = p->denied ? RT_NATIVE : runtimes_process(b->runtimes, p->pid, p->as);
	p->n_gil_words = 0;
}

void tree_check_process(struct user_backend *b, struct watched_process *p, uint64_t now_ns)
{
	if (now_ns - p->checked_ns < CHECK_NS && now_ns - p->seen_ns > YOUNG_NS)
		return;
	p->checked_ns = now_ns;
	char path[48], comm[64];
	snprintf(path, sizeof path, "/proc/%d/comm", p->pid);
	ssize_t n = read_file(path, comm, sizeof comm);
	if (n <= 0)
		return;
	comm[strcspn(comm, "\n")] = 0;
	bool renamed = strncmp(comm, p->comm, sizeof p->comm - 1) != 0, exec = exe_id(p->pid) != p->exe_id;
	if (!renamed && !exec) {
		enum runtime_kind kind = p->denied ? p->runtime : runtimes_process(b->runtimes, p->pid, p->as);
		if (kind == p->runtime)
			return;
		p->runtime = kind;
	}
	snprintf(p->comm, sizeof p->comm, "%.15s", comm);
	if (exec) {
		address_space_reset(p->as, now_ns);
		runtimes_exec(b->runtimes, p->pid);
		look_inside(b, p);
	}
	tell_process(b, p, exec ? PROC_EXEC : PROC_RENAMED, now_ns);
}

/* ---- threads ---- */

static int open_task_file(struct user_backend *b, int32_t pid, int32_t tid, const char *name)
{
	char path[80];
	if (b->open_fds >= b->max_fds)
		return -1;
	snprintf(path, sizeof path, "/proc/%d/task/%d/%s", pid, tid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == EACCES || errno == EPERM ? -2 : -1;
	b->open_fds++;
	return fd;
}

static void close_task_file(struct user_backend *b, int fd)
{
	if (fd < 0)
		return;
	close(fd);
	b->open_fds--;
}

/* born: under our eyes, so that its counters began at nought; else what they say already is not ours. */
static void add_thread(struct user_backend *b, struct watched_process *p, int32_t tid, const char *comm, bool born, uint64_t now_ns)
{
	struct watched_thread *t = find_thread(b, tid);
	if (t && t->pid == p->pid)
		return;
	if (t)
		tree_thread_gone(b, t, now_ns);
	t = calloc(1, sizeof *t);
	if (!t)
		return;
	t->tid = tid;
	t->pid = p->pid;
	t->process = p;
	t->schedstat_fd = open_task_file(b, p->pid, tid, "schedstat");
	t->syscall_fd = open_task_file(b, p->pid, tid, "syscall");
	t->io_fd = -1;
	t->tick_ns = t->told_ns = now_ns;
	t->have_base = born;
	HASH_ADD_INT(b->threads, tid, t);
	p->n_threads++;
	struct event ev = {.kind = EV_THREAD, .time_ns = now_ns, .thread = {.pid = p->pid, .tid = tid, .comm = comm}};
	user_emit(b, &ev);
	if (!born && !b->moment)
		observe_counts(b, t, now_ns);
}

static void add_threads_of(struct user_backend *b, struct watched_process *p, bool born, uint64_t now_ns)
{
	char path[48], comm[64];
	snprintf(path, sizeof path, "/proc/%d/task", p->pid);
	DIR *d = opendir(path);
	if (!d)
		return;
	struct dirent *e;
	while ((e = readdir(d))) {
		int32_t tid = atoi(e->d_name);
		if (tid <= 0 || find_thread(b, tid))
			continue;
		char file[80];
		snprintf(file, sizeof file, "/proc/%d/task/%d/comm", p->pid, tid);
		if (read_file(file, comm, sizeof comm) <= 0)
			continue;
		comm[strcspn(comm, "\n")] = 0;
		add_thread(b, p, tid, comm, born, now_ns);
	}
	closedir(d);
}

static void process_gone(struct user_backend *b, struct watched_process *p, uint64_t now_ns)
{
	struct event ev = {.kind = EV_PROCESS_EXIT, .time_ns = now_ns, .process_exit = {.pid = p->pid, .status = -1}};
	user_emit(b, &ev);
	runtimes_exit(b->runtimes, p->pid);
	stack_table_mappings_changed(b->stacks);
	HASH_DEL(b->processes, p);
	address_space_free(p->as);
	free(p);
}

static void drop_thread(struct user_backend *b, struct watched_thread *t)
{
	oncpu_close(b, t);
	close_task_file(b, t->schedstat_fd);
	close_task_file(b, t->syscall_fd);
	close_task_file(b, t->io_fd);
	HASH_DEL(b->threads, t);
	free(t);
}

void tree_thread_gone(struct user_backend *b, struct watched_thread *t, uint64_t now_ns)
{
	struct watched_process *p = t->process;
	oncpu_drain(b, t);
	struct event ev = {.kind = EV_THREAD_EXIT, .time_ns = now_ns, .thread_exit = {.pid = t->pid, .tid = t->tid}};
	user_emit(b, &ev);
	runtimes_thread_exit(b->runtimes, t->pid, t->tid);
	drop_thread(b, t);
	if (--p->n_threads == 0)
		process_gone(b, p, now_ns);
}

void tree_free(struct user_backend *b)
{
	struct watched_thread *t, *ttmp;
	HASH_ITER(hh, b->threads, t, ttmp)
	{
		drop_thread(b, t);
	}
	struct watched_process *p, *ptmp;
	HASH_ITER(hh, b->processes, p, ptmp)
	{
		HASH_DEL(b->processes, p);
		address_space_free(p->as);
		free(p);
	}
}

/* ---- processes ---- */

static struct watched_process *add_process(struct user_backend *b, int32_t pid, const struct task_stat *st, bool born, uint64_t now_ns)
{
	struct watched_process *p = find_process(b, pid);
	if (p)
		return p;
	p = calloc(1, sizeof *p);
	if (!p || !(p->as = address_space_new(b->objects, pid))) {
		free(p);
		return NULL;
	}
	p->pid = pid;
	p->ppid = st->ppid;
	p->seen_ns = p->checked_ns = now_ns;
	snprintf(p->comm, sizeof p->comm, "%s", st->comm);
	if (born)
		runtimes_fork(b->runtimes, p->ppid, pid); /* names read of the parent serve the child */
	look_inside(b, p);
	HASH_ADD_INT(b->processes, pid, p);
	tell_process(b, p, born ? PROC_FORK : PROC_SEEN, now_ns);
	add_threads_of(b, p, born, now_ns);
	if (!p->n_threads) /* gone already, or a zombie without a thread to look at */
		process_gone(b, p, now_ns);
	return find_process(b, pid);
}

struct proc_entry {
	int32_t pid;
	bool member;
	struct task_stat st;
};

static int by_pid(const void *a, const void *b)
{
	const struct proc_entry *x = a, *y = b;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static struct proc_entry *read_all(size_t *n)
{
	size_t capacity = 1024;
	struct proc_entry *all = malloc(capacity * sizeof *all);
	DIR *d = opendir("/proc");
	struct dirent *e;
	*n = 0;
	while (all && d && (e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		if (*n == capacity) {
			struct proc_entry *more = realloc(all, 2 * capacity * sizeof *all);
			if (!more)
				break;
			all = more;
			capacity *= 2;
		}
		struct proc_entry *p = &all[*n];
		*p = (struct proc_entry){.pid = atoi(e->d_name)};
		*n += read_stat(p->pid, &p->st);
	}
	if (d)
		closedir(d);
	if (all)
		qsort(all, *n, sizeof *all, by_pid);
	return all;
}

static bool is_root(const int32_t *roots, size_t n_roots, int32_t pid)
{
	for (size_t i = 0; i < n_roots; i++)
		if (roots[i] == pid)
			return true;
	return false;
}

/* Marks and adds every process with a member for a parent, until a pass finds none (a child may have a smaller id than its parent). */
static void add_descendants(struct user_backend *b, struct proc_entry *all, size_t n, const int32_t *roots, size_t n_roots, bool born,
			    uint64_t now_ns)
{
	bool more = true;
	while (more) {
		more = false;
		for (size_t i = 0; i < n; i++) {
			if (all[i].member || all[i].pid == b->own_pid)
				continue;
			if (!find_process(b, all[i].pid) && !is_root(roots, n_roots, all[i].pid) && !find_process(b, all[i].st.ppid))
				continue;
			all[i].member = more = true;
			add_process(b, all[i].pid, &all[i].st, born, now_ns);
		}
	}
}

static int32_t youngest_id(struct user_backend *b)
{
	char buf[128];
	ssize_t n = pread(b->loadavg_fd, buf, sizeof buf - 1, 0);
	if (n <= 0)
		return 0;
	buf[n] = 0;
	const char *last = strrchr(buf, ' ');
	return last ? atoi(last + 1) : 0;
}

int tree_find_all(struct user_backend *b, const int32_t *roots, size_t n, uint64_t now_ns)
{
	b->last_pid = youngest_id(b);
	size_t n_all;
	struct proc_entry *all = read_all(&n_all);
	if (!all)
		return -ENOMEM;
	add_descendants(b, all, n_all, roots, n, false, now_ns);
	free(all);
	return (int)HASH_COUNT(b->processes);
}

static void look_at_birth(struct user_backend *b, int32_t id, uint64_t now_ns)
{
	struct task_stat st;
	if (find_thread(b, id))
		return;
	if (!read_stat(id, &st)) {
		b->counters.missed_processes++;
		return;
	}
	int32_t tgid = read_tgid(id);
	struct watched_process *p = tgid ? find_process(b, tgid) : NULL;
	if (p)
		add_thread(b, p, id, st.comm, true, now_ns);
	else if (tgid == id && st.state != 'Z' && find_process(b, st.ppid))
		add_process(b, id, &st, true, now_ns);
	else if (tgid == id && st.state == 'Z' && find_process(b, st.ppid))
		b->counters.missed_processes++;
}

void tree_find_new(struct user_backend *b, uint64_t now_ns)
{
	int32_t youngest = youngest_id(b), from = b->last_pid;
	if (youngest == from)
		return;
	b->last_pid = youngest;
	if (youngest < from || youngest - from > MAX_BIRTHS) {
		size_t n;
		struct proc_entry *all = read_all(&n);
		if (all)
			add_descendants(b, all, n, NULL, 0, true, now_ns);
		free(all);
		return;
	}
	for (int32_t id = from + 1; id <= youngest; id++)
		look_at_birth(b, id, now_ns);
}
