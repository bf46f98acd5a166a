/* SPDX-License-Identifier: Apache-2.0
 *
 * The runtimes of all observed processes. In: processes, threads, stacks as backends meet them; out: merged stacks through
 * the provider that recognised the process. This file knows processes and their lives, providers know runtimes.
 *
 * A process is looked at when it is first asked for. An answer "native" is doubted: a program maps its interpreter a moment
 * after exec, and an embedded one starts at any time; so it is asked anew after 2 ms, 8 ms, ... 8 s, or at once when a
 * mapping looks interesting.
 */
#include "sampler/runtime/provider.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uthash.h>

static const struct runtime_provider *const providers[] = {&runtime_python, &runtime_java, NULL};

#define FIRST_DOUBT_NS 2000000ull
#define LAST_DOUBT_NS 8000000000ull
#define MAX_GONE 256 /* processes whose names are kept after their end */

struct thread_hint { /* what the last walk of a thread read */
	pid_t tid;
	struct target_hint hint;
	UT_hash_handle hh;
};

struct proc {
	pid_t pid;
	const struct runtime_provider *provider; /* NULL: native */
	void *state;
	uint64_t since_ns; /* exec: stacks from before it belong to what the process was */
	uint64_t asked_ns, doubt_ns;
	char notice[512];
	struct thread_hint *hints;
	struct proc *older; /* in the list of those gone */
	UT_hash_handle hh;
};

struct runtimes {
	struct runtimes_options opt;
	struct runtime_env env;
	struct runtimes_counters counters;
	struct proc *procs;
	struct proc *gone; /* newest first */
	unsigned n_gone;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct runtimes *runtimes_new(const struct runtimes_options *opt)
{
	struct runtimes *rt = calloc(1, sizeof *rt);

	if (!rt)
		return NULL;
	rt->opt = *opt;
	rt->env.opt = &rt->opt;
	rt->env.counters = &rt->counters;
	rt->env.memory = target_memory_new(opt->read, opt->read_ctx);
	rt->env.pcs = malloc(RUNTIME_MAX_NATIVE * sizeof *rt->env.pcs);
	rt->env.sps = malloc(RUNTIME_MAX_NATIVE * sizeof *rt->env.sps);
	if (!rt->env.memory || !rt->env.pcs || !rt->env.sps) {
		runtimes_free(rt);
		return NULL;
	}
	return rt;
}

static void hints_free(struct proc *p)
{
	struct thread_hint *h, *next;

	HASH_ITER(hh, p->hints, h, next)
	{
		HASH_DEL(p->hints, h);
		free(h);
	}
}

static void proc_free(struct proc *p)
{
	hints_free(p);
	if (p->provider)
		p->provider->detach(p->state);
	free(p);
}

void runtimes_free(struct runtimes *rt)
{
	struct proc *p, *next;

	if (!rt)
		return;
	HASH_ITER(hh, rt->procs, p, next)
	{
		HASH_DEL(rt->procs, p);
		proc_free(p);
	}
	for (p = rt->gone; p; p = next) {
		next = p->older;
		proc_free(p);
	}
	target_memory_free(rt->env.memory);
	free(rt->env.pcs);
	free(rt->env.sps);
	for (unsigned i = 0; i < RT_COUNT; i++)
		free(rt->env.scratch[i]);
	free(rt);
}

static struct proc *proc_find(struct runtimes *rt, pid_t pid)
{
	struct proc *p;

	HASH_FIND_INT(rt->procs, &pid, p);
	return p;
}

static struct proc *proc_add(struct runtimes *rt, pid_t pid)
{
	struct proc *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->pid = pid;
	p->doubt_ns = FIRST_DOUBT_NS;
	HASH_ADD_INT(rt->procs, pid, p);
	return p;
}

/* Keeps the names of a process that is no more, under its pid. */
static void proc_bury(struct runtimes *rt, struct proc *p)
{
	HASH_DEL(rt->procs, p);
	hints_free(p);
	if (!p->provider) {
		proc_free(p);
		return;
	}
	p->older = rt->gone;
	rt->gone = p;
	if (++rt->n_gone > MAX_GONE) {
		struct proc **last = &rt->gone;
		while ((*last)->older)
			last = &(*last)->older;
		proc_free(*last);
		*last = NULL;
		rt->n_gone--;
	}
}

static struct proc *gone_find(struct runtimes *rt, pid_t pid)
{
	struct proc *p = rt->gone;

	while (p && p->pid != pid)
		p = p->older;
	return p;
}

static void ask(struct runtimes *rt, struct proc *p, struct address_space *as)
{
	struct err err = {0};
	int rc;

	target_memory_begin(rt->env.memory, p->pid, NULL);
	for (unsigned i = 0; providers[i]; i++) {
		rc = providers[i]->attach(&rt->env, p->pid, as, &p->state, &err);
		if (rc == 0) {
			p->provider = providers[i];
			p->notice[0] = 0;
			return;
		}
		if (rc == -ENOTSUP) {
			snprintf(p->notice, sizeof p->notice, "%s", err.msg);
			return;
		}
	}
}

static struct proc *proc_get(struct runtimes *rt, pid_t pid, struct address_space *as)
{
	struct proc *p = proc_find(rt, pid);
	uint64_t now;

	if (p && p->provider)
		return p;
	if (!p && !(p = proc_add(rt, pid)))
		return NULL;
	now = now_ns();
	if (p->asked_ns && now - p->asked_ns < p->doubt_ns)
		return p;
	if (p->asked_ns) {
		if (p->notice[0])
			return p;
		p->doubt_ns = p->doubt_ns * 4 < LAST_DOUBT_NS ? p->doubt_ns * 4 : LAST_DOUBT_NS;
		address_space_scan(as, NULL);
	}
	p->asked_ns = now;
	ask(rt, p, as);
	return p;
}

enum runtime_kind runtimes_process(struct runtimes *rt, pid_t pid, struct address_space *as)
{
	struct proc *p = proc_get(rt, pid, as);

	return p && p->provider ? p->provider->kind : RT_NATIVE;
}

void runtimes_mapped(struct runtimes *rt, pid_t pid, const char *path)
{
	struct proc *p = proc_find(rt, pid);
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	if (!p || p->provider)
		return;
	for (unsigned i = 0; providers[i]; i++)
		if (providers[i]->file_matters(name)) {
			p->asked_ns = 0;
			p->doubt_ns = FIRST_DOUBT_NS;
			p->notice[0] = 0;
		}
}

void runtimes_fork(struct runtimes *rt, pid_t parent, pid_t child)
{
	struct proc *from = proc_find(rt, parent), *p = proc_find(rt, child);

	if (p)
		proc_bury(rt, p);
	if (!from || !from->provider || !from->provider->fork)
		return;
	p = proc_add(rt, child);
	if (!p)
		return;
	p->state = from->provider->fork(from->state, child);
	if (p->state)
		p->provider = from->provider;
}

void runtimes_exec(struct runtimes *rt, pid_t pid)
{
	struct proc *p = proc_find(rt, pid);

	if (p)
		proc_bury(rt, p);
	p = proc_add(rt, pid);
	if (p)
		p->since_ns = now_ns();
}

void runtimes_exit(struct runtimes *rt, pid_t pid)
{
	struct proc *p = proc_find(rt, pid);

	if (p)
		proc_bury(rt, p);
}

void runtimes_thread_exit(struct runtimes *rt, pid_t pid, pid_t tid)
{
	struct proc *p = proc_find(rt, pid);

	struct thread_hint *h;

	if (!p)
		return;
	HASH_FIND_INT(p->hints, &tid, h);
	if (h) {
		HASH_DEL(p->hints, h);
		free(h);
	}
	if (p->provider && p->provider->thread_exit)
		p->provider->thread_exit(p->state, tid);
}

const char *runtimes_notice(struct runtimes *rt, pid_t pid)
{
	struct proc *p = proc_find(rt, pid);

	return p && p->notice[0] ? p->notice : NULL;
}

bool runtimes_python_offsets(struct runtimes *rt, pid_t pid, struct python_offsets *out)
{
	struct proc *p = proc_find(rt, pid);

	return p && p->provider == &runtime_python && python_state_offsets(p->state, out);
}

static size_t native_stack(struct runtimes *rt, const struct runtime_thread *t, struct runtime_frame *out, size_t max,
			   struct runtime_stack_info *info)
{
	size_t n = unwind_stack(t->as, t->time_ns, t->regs, t->mem, rt->env.pcs, NULL,
				max < RUNTIME_MAX_NATIVE ? max : RUNTIME_MAX_NATIVE, &info->end);

	for (size_t i = 0; i < n; i++)
		out[i] = (struct runtime_frame){rt->env.pcs[i], 0};
	info->truncated = info->end != UNWIND_DONE;
	return n;
}

/* The process as it was at the time of the stack. */
static struct proc *proc_at(struct runtimes *rt, const struct runtime_thread *t)
{
	struct proc *p = proc_find(rt, t->pid);

	if ((!p || (p->since_ns && t->time_ns < p->since_ns)) && t->snapshot) {
		struct proc *was = gone_find(rt, t->pid);
		if (was)
			return was;
	}
	return proc_get(rt, t->pid, t->as);
}

static struct thread_hint *hint_of(struct proc *p, pid_t tid)
{
	struct thread_hint *h;

	HASH_FIND_INT(p->hints, &tid, h);
	if (h || !(h = calloc(1, sizeof *h)))
		return h;
	h->tid = tid;
	HASH_ADD_INT(p->hints, tid, h);
	return h;
}

/* One walk through the provider, with what the thread's last walk looked at fetched ahead. */
static size_t managed_stack(struct runtimes *rt, struct proc *p, const struct runtime_thread *t, struct runtime_frame *out,
			    size_t max, struct runtime_stack_info *info)
{
	struct thread_hint *h = t->mem->pid > 0 ? hint_of(p, t->tid) : NULL;
	uint64_t failures = target_memory_failures(rt->env.memory);
	size_t n;

	target_memory_begin(rt->env.memory, t->mem->pid, t->mem);
	if (h)
		target_memory_expect(rt->env.memory, &h->hint);
	n = p->provider->stack(p->state, &rt->env, t, out, max, info);
	if (h)
		target_memory_learn(rt->env.memory, &h->hint);
	rt->counters.torn_reads += target_memory_failures(rt->env.memory) - failures;
	rt->counters.unmerged += info->unmerged;
	target_memory_begin(rt->env.memory, 0, NULL); /* the snapshot was borrowed */
	return n;
}

size_t runtime_stack(struct runtimes *rt, const struct runtime_thread *t, struct runtime_frame *out, size_t max,
		     struct runtime_stack_info *info)
{
	struct runtime_stack_info ignored;
	struct proc *p = proc_at(rt, t);
	size_t n = 0;

	if (!info)
		info = &ignored;
	memset(info, 0, sizeof *info);
	rt->counters.walks++;
	if (p && p->provider)
		n = managed_stack(rt, p, t, out, max, info);
	return n ? n : native_stack(rt, t, out, max, info);
}

bool runtime_wait(struct runtimes *rt, const struct runtime_thread *t, uint64_t futex_addr, struct runtime_wait *out)
{
	struct proc *p = proc_get(rt, t->pid, t->as);

	if (!p || !p->provider || !p->provider->wait)
		return false;
	target_memory_begin(rt->env.memory, t->pid, NULL);
	return p->provider->wait(p->state, &rt->env, t, futex_addr, out);
}

bool runtime_thread_info(struct runtimes *rt, pid_t pid, pid_t tid, struct runtime_thread_info *out)
{
	struct proc *p = proc_find(rt, pid);

	if (!p || !p->provider || !p->provider->thread_info)
		return false;
	memset(out, 0, sizeof *out);
	target_memory_begin(rt->env.memory, pid, NULL);
	return p->provider->thread_info(p->state, &rt->env, tid, out);
}

bool runtimes_label(struct runtimes *rt, pid_t pid, struct address_space *as, char *buf, size_t len)
{
	struct proc *p = proc_get(rt, pid, as);

	if (!p || !p->provider || !p->provider->label)
		return false;
	target_memory_begin(rt->env.memory, pid, NULL);
	return p->provider->label(p->state, &rt->env, as, buf, len);
}

void runtimes_counters(const struct runtimes *rt, struct runtimes_counters *out)
{
	*out = rt->counters;
}
