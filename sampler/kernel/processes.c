/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of processes as the kernel backend tells it: names, address spaces, runtimes. In: fork, exec and exit records, mapping
 * events, /proc for what existed before; out: EV_PROCESS, EV_PROCESS_EXIT.
 */
#include "sampler/kernel/kernel_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- names ---- */

static void tell(struct kernel_backend *b, const struct tracked_process *p, enum process_reason why, uint64_t time_ns)
{
	struct event ev = {.kind = EV_PROCESS,
			   .time_ns = time_ns,
			   .process = {.pid = p->pid,
				       .ppid = p->ppid,
				       .in_tree = true,
				       .reason = why,
				       .runtime = p->runtime,
				       .comm = p->comm,
				       .exe = p->exe ? p->exe : "",
				       .cmdline = p->cmdline,
				       .cmdline_len = p->cmdline_len}};
	emit(b, &ev);
}

static char *read_link(const char *path)
{
	char buf[PATH_MAX];
	ssize_t n = readlink(path, buf, sizeof buf - 1);
	if (n <= 0)
		return NULL;
	buf[n] = 0;
	return strdup(buf);
}

/* Reads a small file whole, bounded; *len is set. NULL when gone or empty. */
static char *read_small(const char *path, size_t *len)
{
	enum { MAX = 64 * 1024 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	char *buf = malloc(MAX);
	ssize_t n = buf ? read(fd, buf, MAX) : -1;
	close(fd);
	if (n <= 0) {
		free(buf);
		return NULL;
	}
	*len = n;
	return buf;
}

static void set_names_from_proc(struct tracked_process *p)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/exe", p->pid);
	char *exe = read_link(path);
	if (exe) {
		free(p->exe);
		p->exe = exe;
	}
	snprintf(path, sizeof path, "/proc/%d/cmdline", p->pid);
	size_t n = 0;
	char *cmdline = read_small(path, &n);
	if (cmdline) {
		free(p->cmdline);
		p->cmdline = cmdline;
		p->cmdline_len = n;
	}
}

/* ---- mapping events ---- */

/* Mapping events reach us before the fork record of their process may have been read. They wait here; most belong to processes that are
 * none of ours and age out. */
#define BACKLOG_MAX 8192
#define BACKLOG_AGE_NS 5000000000ULL

struct backlog_entry {
	struct mmap_event ev; /* ev.path is ours */
};
struct mapping_backlog {
	struct backlog_entry entries[BACKLOG_MAX];
	size_t n;
};

struct mapping_backlog *mapping_backlog_new(void)
{
	return calloc(1, sizeof(struct mapping_backlog));
}

void mapping_backlog_free(struct mapping_backlog *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++)
		free((char *)m->entries[i].ev.path);
	free(m);
}

static void backlog_expire(struct mapping_backlog *m, uint64_t now)
{
	size_t keep = 0;
	/* when full of young ones the oldest quarter goes: a process that forked that long ago is known by now */
	size_t drop = m->n == BACKLOG_MAX ? BACKLOG_MAX / 4 : 0;
	for (size_t i = 0; i < m->n; i++) {
		if (i < drop || m->entries[i].ev.time_ns + BACKLOG_AGE_NS < now)
			free((char *)m->entries[i].ev.path);
		else
			m->entries[keep++] = m->entries[i];
	}
	m->n = keep;
}

static void backlog_add(struct mapping_backlog *m, const struct mmap_event *ev)
{
	if (m->n == BACKLOG_MAX)
		backlog_expire(m, ev->time_ns);
	char *path = strdup(ev->path);
	if (!path)
		return;
	m->entries[m->n].ev = *ev;
	m->entries[m->n++].ev.path = path;
}

static void python_forget(struct kernel_backend *b, struct tracked_process *p)
{
	if (p->told_python)
		bpf_session_python(b->bpf, p->pid, NULL);
	p->told_python = false;
	p->n_gil_words = 0;
}

static void apply_mapping(struct kernel_backend *b, struct tracked_process *p, const struct mmap_event *ev)
{
	stack_table_mappings_changed(b->stacks);
	if (ev->kind == ME_EXEC) {
		address_space_reset(p->as, ev->time_ns);
		runtimes_exec(b->runtimes, p->pid);
		python_forget(b, p);
	} else if (ev->kind == ME_MAP) {
		struct mapping_info m = {.start = ev->start,
					 .end = ev->end,
					 .file_offset = ev->file_offset,
					 .since_ns = ev->time_ns,
					 .dev_major = ev->dev_major,
					 .dev_minor = ev->dev_minor,
					 .inode = ev->inode,
					 .path = ev->path,
					 .executable = true};
		address_space_map(p->as, &m);
		runtimes_mapped(b->runtimes, p->pid, ev->path);
	} else if (ev->pid == ev->tid && strncmp(p->comm, ev->path, sizeof p->comm) != 0) {
		snprintf(p->comm, sizeof p->comm, "%s", ev->path);
		tell(b, p, PROC_RENAMED, ev->time_ns);
	}
}

static void backlog_apply(struct kernel_backend *b, struct tracked_process *p)
{
	struct mapping_backlog *m = b->backlog;
	size_t keep = 0;
	for (size_t i = 0; i < m->n; i++) {
		if (m->entries[i].ev.pid == p->pid) {
			apply_mapping(b, p, &m->entries[i].ev);
			free((char *)m->entries[i].ev.path);
		} else {
			m->entries[keep++] = m->entries[i];
		}
	}
	m->n = keep;
}

static void on_mapping(void *ctx, const struct mmap_event *ev)
{
	struct kernel_backend *b = ctx;
	struct tracked_process *p = tracked_process(&b->tracked, ev->pid);
	if (p)
		apply_mapping(b, p, ev);
	else
		backlog_add(b->backlog, ev);
}

void processes_update_mappings(struct kernel_backend *b)
{
	mmap_events_drain(b->mmaps, on_mapping, b);
}

/* ---- life ---- */

struct tracked_process *processes_seen(struct kernel_backend *b, int32_t pid, int32_t ppid, const char *comm, uint64_t time_ns)
{
	struct tracked_process *p = tracked_process_add(&b->tracked, pid);
	if (!p)
		return NULL;
	p->as = address_space_new(b->objects, pid);
	if (!p->as) {
		tracked_process_remove(&b->tracked, p);
		return NULL;
	}
	p->ppid = ppid;
	p->status = -1;
	snprintf(p->comm, sizeof p->comm, "%s", comm);
	set_names_from_proc(p);
	address_space_scan(p->as, NULL); /* gone already: what it left unnamed is shown so */
	p->runtime = runtimes_process(b->runtimes, pid, p->as);
	tell(b, p, PROC_SEEN, time_ns);
	return p;
}

struct tracked_process *processes_forked(struct kernel_backend *b, const struct k_fork *r)
{
	struct tracked_process *parent = tracked_process(&b->tracked, r->ppid), *p = tracked_process(&b->tracked, r->tgid);
	if (p) /* the id came back and the old one's exit record was lost */
		processes_exited(b, p->pid, r->time, -1);
	if (!parent)
		return processes_seen(b, r->tgid, r->ppid, r->comm, r->time);
	p = tracked_process_add(&b->tracked, r->tgid);
	if (!p)
		return NULL;
	p->as = address_space_fork(parent->as, r->tgid);
	if (!p->as) {
		tracked_process_remove(&b->tracked, p);
		return NULL;
	}
	p->ppid = r->ppid;
	p->status = -1;
	snprintf(p->comm, sizeof p->comm, "%s", r->comm);
	p->exe = parent->exe ? strdup(parent->exe) : NULL;
	p->cmdline = parent->cmdline ? malloc(parent->cmdline_len) : NULL;
	if (p->cmdline)
		memcpy(p->cmdline, parent->cmdline, p->cmdline_len = parent->cmdline_len);
	p->runtime = parent->runtime;
	p->told_python = parent->told_python; /* the program copied the parent's offsets */
	runtimes_fork(b->runtimes, r->ppid, r->tgid);
	tell(b, p, PROC_FORK, r->time);
	backlog_apply(b, p);
	return p;
}

void processes_executed(struct kernel_backend *b, const struct k_exec *r)
{
	struct tracked_process *p = tracked_process(&b->tracked, r->tgid);
	if (!p)
		return;
	processes_update_mappings(b); /* the new image's mappings came before this record */
	snprintf(p->comm, sizeof p->comm, "%s", r->comm);
	free(p->exe);
	p->exe = strndup(r->filename, sizeof r->filename);
	free(p->cmdline);
	p->cmdline = r->args_len ? malloc(r->args_len) : NULL;
	p->cmdline_len = p->cmdline ? r->args_len : 0;
	if (p->cmdline)
		memcpy(p->cmdline, r->args, r->args_len);
	if (r->args_total > r->args_len || r->filename[0] != '/') /* cut, or relative: /proc knows more, while it lives */
		set_names_from_proc(p);
	p->runtime = runtimes_process(b->runtimes, p->pid, p->as);
	tell(b, p, PROC_EXEC, r->time);
}

void processes_exited(struct kernel_backend *b, int32_t pid, uint64_t time_ns, int32_t status)
{
	struct tracked_process *p = tracked_process(&b->tracked, pid);
	if (!p)
		return;
	struct event ev = {.kind = EV_PROCESS_EXIT, .time_ns = time_ns, .process_exit = {.pid = pid, .status = status}};
	emit(b, &ev);
	python_forget(b, p);
	stack_table_mappings_changed(b->stacks); /* its address space goes, and the next may lie at its address */
	runtimes_exit(b->runtimes, pid);
	tracked_process_remove(&b->tracked, p);
}

int32_t processes_tgid_of(int32_t tid)
{
	char path[48], line[128];
	snprintf(path, sizeof path, "/proc/%d/status", tid);
	FILE *f = fopen(path, "re");
	int tgid = 0;
	while (f && !tgid && fgets(line, sizeof line, f))
		sscanf(line, "Tgid: %d", &tgid);
	if (f)
		fclose(f);
	return tgid;
}

void processes_outside(struct kernel_backend *b, int32_t tid, uint64_t time_ns)
{
	struct outsider *o;
	HASH_FIND_INT(b->tracked.outsiders, &tid, o);
	if (o)
		return;
	if (HASH_COUNT(b->tracked.outsiders) >= 65536) { /* forget all rather than grow without bound: they are told again */
		struct outsider *tmp;
		HASH_ITER(hh, b->tracked.outsiders, o, tmp)
		{
			HASH_DEL(b->tracked.outsiders, o);
			free(o);
		}
	}
	o = calloc(1, sizeof *o);
	if (!o)
		return;
	o->tid = tid;
	HASH_ADD_INT(b->tracked.outsiders, tid, o);
	int32_t pid = processes_tgid_of(tid);
	char path[48];
	size_t n = 0, cmdline_len = 0;
	snprintf(path, sizeof path, "/proc/%d/comm", pid);
	char *comm = pid ? read_small(path, &n) : NULL, *cmdline = NULL, *exe = NULL;
	if (comm) {
		comm[n - 1] = 0; /* ends with a newline */
		snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
		cmdline = read_small(path, &cmdline_len);
		snprintf(path, sizeof path, "/proc/%d/exe", pid);
		exe = read_link(path);
	}
	struct event ev = {.kind = EV_PROCESS,
			   .time_ns = time_ns,
			   .process = {.pid = pid ? pid : tid,
				       .in_tree = false,
				       .reason = PROC_SEEN,
				       .comm = comm ? comm : "",
				       .exe = exe ? exe : "",
				       .cmdline = cmdline,
				       .cmdline_len = cmdline_len}};
	emit(b, &ev);
	struct event thread = {.kind = EV_THREAD, .time_ns = time_ns, .thread = {.pid = ev.process.pid, .tid = tid, .comm = ev.process.comm}};
	emit(b, &thread);
	free(comm);
	free(cmdline);
	free(exe);
}
