/* SPDX-License-Identifier: Apache-2.0
 *
 * Which PyThreadState is a thread's. In: the interpreter list of the process; out: thread states by tid, cached. A scan of
 * all states is needed when a thread is met first or an interpreter was added; after that one word per walk confirms the
 * cached answer.
 *
 * 3.11+ keeps the native id; before, thread_id is pthread_self(), and the thread library keeps the tid in its control block: at
 * 720 in glibc's struct pthread (x86-64), at 48 in musl's (read, not verified). Both are ids in the thread's own PID namespace.
 */
#include "sampler/runtime/python.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define MAX_STATES 4   /* of one thread: one per interpreter that it has entered */
#define MAX_SCAN 65536 /* thread states of one interpreter */
#define MAX_INTERPRETERS 256
#define GLIBC_TID 720
#define MUSL_TID 48

struct state {
	uint64_t addr, thread_id;
};

struct entry {
	pid_t ns_tid;
	struct state states[MAX_STATES];
	unsigned n;
	unsigned wait, backoff; /* without a state: walks until the next scan */
	UT_hash_handle hh;
};

struct ns_name { /* tid as we see it -> as its own namespace does */
	pid_t tid, ns_tid;
	UT_hash_handle hh;
};

struct python_threads {
	struct entry *entries;
	struct ns_name *names;
	uint64_t head;
};

static void entries_clear(struct python_threads *t)
{
	struct entry *e, *next;

	HASH_ITER(hh, t->entries, e, next)
	{
		HASH_DEL(t->entries, e);
		free(e);
	}
}

void python_threads_free(struct python_threads *t)
{
	struct ns_name *n, *next;

	if (!t)
		return;
	entries_clear(t);
	HASH_ITER(hh, t->names, n, next)
	{
		HASH_DEL(t->names, n);
		free(n);
	}
	free(t);
}

static pid_t ns_tid_of(struct python_process *p, pid_t tid)
{
	struct ns_name *n;

	if (!p->foreign_pids)
		return tid;
	HASH_FIND_INT(p->threads->names, &tid, n);
	if (n)
		return n->ns_tid;
	n = calloc(1, sizeof *n);
	if (!n)
		return runtime_ns_tid(p->pid, tid);
	n->tid = tid;
	n->ns_tid = runtime_ns_tid(p->pid, tid);
	HASH_ADD_INT(p->threads->names, tid, n);
	return n->ns_tid;
}

/* Thread ids lie below the kernel's PID_MAX_LIMIT. */
static bool plausible(uint32_t tid)
{
	return tid > 0 && tid <= 4u << 20;
}

static pid_t state_ns_tid(struct python_process *p, struct target_memory *m, uint64_t state, uint64_t thread_id)
{
	uint32_t tid;

	if (p->layout.walk.ts_native_id) {
		tid = target_u32(m, state + p->layout.walk.ts_native_id);
		if (plausible(tid))
			return (pid_t)tid;
	}
	tid = target_u32(m, thread_id + GLIBC_TID);
	if (plausible(tid))
		return (pid_t)tid;
	tid = target_u32(m, thread_id + MUSL_TID);
	return plausible(tid) ? (pid_t)tid : 0;
}

static void entry_add(struct python_threads *t, pid_t ns_tid, struct state s)
{
	struct entry *e;

	HASH_FIND_INT(t->entries, &ns_tid, e);
	if (!e) {
		e = calloc(1, sizeof *e);
		if (!e)
			return;
		e->ns_tid = ns_tid;
		HASH_ADD_INT(t->entries, ns_tid, e);
	}
	for (unsigned i = 0; i < e->n; i++)
		if (e->states[i].addr == s.addr)
			return; /* a cycle in the list */
	if (e->n < MAX_STATES && s.addr)
		e->states[e->n++] = s;
}

/* Notices a cycle in a list of pointers (R. P. Brent, 1980): a mark that jumps to where we are after 1, 2, 4, 8, ... steps. */
struct cycle {
	uint64_t mark;
	unsigned steps, limit;
};

static bool cycle_met(struct cycle *c, uint64_t at)
{
	if (at == c->mark)
		return true;
	if (c->steps++ >= c->limit) {
		c->mark = at;
		c->limit = 2 * c->limit + 1;
		c->steps = 0;
	}
	return false;
}

static void scan_interpreter(struct python_process *p, struct target_memory *m, uint64_t interp)
{
	const struct python_offsets *o = &p->layout.walk;
	struct state s = {target_u64(m, interp + o->interp_threads), 0};
	struct cycle cycle = {0};

	for (unsigned left = MAX_SCAN; s.addr && left; left--) {
		pid_t ns_tid;
		if (cycle_met(&cycle, s.addr))
			break;
		s.thread_id = target_u64(m, s.addr + o->ts_thread_id);
		ns_tid = state_ns_tid(p, m, s.addr, s.thread_id);
		if (ns_tid)
			entry_add(p->threads, ns_tid, s);
		s.addr = target_u64(m, s.addr + o->ts_next);
	}
}

/* Reads all interpreters' thread lists anew; bounded, whatever the memory says. */
static void scan(struct python_process *p, struct target_memory *m)
{
	const struct python_offsets *o = &p->layout.walk;
	struct cycle cycle = {0};
	uint64_t interp;

	entries_clear(p->threads);
	p->threads->head = target_u64(m, o->runtime + o->runtime_interp_head);
	interp = p->threads->head;
	for (unsigned left = MAX_INTERPRETERS; interp && left && !cycle_met(&cycle, interp); left--) {
		scan_interpreter(p, m, interp);
		interp = target_u64(m, interp + o->interp_next);
	}
}

static bool entry_valid(struct python_process *p, struct target_memory *m, const struct entry *e)
{
	for (unsigned i = 0; i < e->n; i++) {
		uint64_t id = target_u64(m, e->states[i].addr + p->layout.walk.ts_thread_id);
		if (!id || id != e->states[i].thread_id)
			return false;
	}
	return true;
}

/* Whether what is cached of a thread answers for it now. */
static bool entry_fresh(struct python_process *p, struct target_memory *m, struct entry *e)
{
	if (!e)
		return false;
	if (e->n)
		return target_u64(m, p->layout.walk.runtime + p->layout.walk.runtime_interp_head) == p->threads->head &&
		       entry_valid(p, m, e);
	return e->wait-- > 0;
}

size_t python_thread_states(struct python_process *p, struct target_memory *m, pid_t tid, uint64_t *states, size_t max)
{
	unsigned backoff;
	struct entry *e;
	pid_t ns_tid;
	size_t n = 0;

	if (!p->threads && !(p->threads = calloc(1, sizeof *p->threads)))
		return 0;
	ns_tid = ns_tid_of(p, tid);
	HASH_FIND_INT(p->threads->entries, &ns_tid, e);
	if (!entry_fresh(p, m, e)) {
		backoff = e && !e->n ? e->backoff : 0;
		scan(p, m);
		HASH_FIND_INT(p->threads->entries, &ns_tid, e);
		if (!e) { /* no Python thread (yet): remember that */
			entry_add(p->threads, ns_tid, (struct state){0, 0});
			HASH_FIND_INT(p->threads->entries, &ns_tid, e);
			if (!e)
				return 0;
			e->backoff = backoff < 64 ? backoff * 2 + 1 : 64;
			e->wait = e->backoff;
		}
	}
	for (; n < e->n && n < max; n++)
		states[n] = e->states[n].addr;
	return n;
}

void python_thread_forget(struct python_process *p, pid_t tid)
{
	struct ns_name *name;
	struct entry *e;
	pid_t ns_tid = tid;

	if (!p->threads)
		return;
	HASH_FIND_INT(p->threads->names, &tid, name);
	if (name) {
		ns_tid = name->ns_tid;
		HASH_DEL(p->threads->names, name);
		free(name);
	}
	HASH_FIND_INT(p->threads->entries, &ns_tid, e);
	if (e) {
		HASH_DEL(p->threads->entries, e);
		free(e);
	}
}

pid_t python_state_tid(struct python_process *p, struct target_memory *m, uint64_t state)
{
	pid_t ns_tid = state_ns_tid(p, m, state, target_u64(m, state + p->layout.walk.ts_thread_id));
	return p->foreign_pids && ns_tid ? runtime_host_tid(p->pid, ns_tid) : ns_tid;
}
