/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregate/tree.h"

#include <stdlib.h>
#include <string.h>

/* Linux never gives out pids above PID_MAX_LIMIT (4 * 1024 * 1024 on 64 bits). */
#define FIRST_IMPOSSIBLE_PID (4 * 1024 * 1024 + 1)

/* A number that no process or thread can have: what bore a number that is borne again goes under such a one. */
static int32_t impossible_id(struct tree *t)
{
	return (int32_t)(FIRST_IMPOSSIBLE_PID + t->reused_pids++ % (INT32_MAX - FIRST_IMPOSSIBLE_PID));
}

bool tree_init(struct tree *t)
{
	*t = (struct tree){.n_procs = 1, .n_threads = 1};
	t->procs = array_reserve(NULL, 1, &t->procs_capacity, sizeof *t->procs);
	t->threads = array_reserve(NULL, 1, &t->threads_capacity, sizeof *t->threads);
	if (!t->procs || !t->threads)
		return false;
	t->procs[0] = (struct proc){0};
	t->threads[0] = (struct thread){0};
	return true;
}

void tree_fini(struct tree *t)
{
	for (size_t i = 1; i < t->n_procs; i++) {
		free(t->procs[i].cmdline);
		free(t->procs[i].cells);
	}
	for (size_t i = 1; i < t->n_threads; i++)
		ticks_free(t->threads[i].ticks);
	free(t->procs);
	free(t->threads);
	free(t->free_procs);
	free(t->free_threads);
	intmap_fini(&t->by_pid);
	intmap_fini(&t->by_tid);
	*t = (struct tree){0};
}

uint32_t tree_proc(const struct tree *t, uint32_t proc)
{
	while (t->procs[proc].into)
		proc = t->procs[proc].into;
	return proc;
}

uint32_t tree_thread(const struct tree *t, uint32_t thread)
{
	while (t->threads[thread].into)
		thread = t->threads[thread].into;
	return thread;
}

static uint32_t proc_slot(struct tree *t)
{
	if (t->n_free_procs)
		return t->free_procs[--t->n_free_procs];
	struct proc *moved = array_reserve(t->procs, t->n_procs, &t->procs_capacity, sizeof *moved);
	if (!moved)
		return 0;
	t->procs = moved;
	return (uint32_t)t->n_procs++;
}

static uint32_t thread_slot(struct tree *t)
{
	if (t->n_free_threads)
		return t->free_threads[--t->n_free_threads];
	struct thread *moved = array_reserve(t->threads, t->n_threads, &t->threads_capacity, sizeof *moved);
	if (!moved)
		return 0;
	t->threads = moved;
	return (uint32_t)t->n_threads++;
}

/* pid 0: a placeholder that no pid leads to. */
static uint32_t new_proc(struct tree *t, int32_t pid, uint64_t time_ns)
{
	uint32_t ix = proc_slot(t);
	if (!ix)
		return 0;
	t->procs[ix] = (struct proc){.pid = pid,
				     .row_pid = pid,
				     .used = true,
				     .in_tree = true,
				     .started_ns = time_ns,
				     .exit_status = -1,
				     .n_siblings = 1};
	if (pid && !intmap_put(&t->by_pid, (uint32_t)pid, ix)) {
		tree_release_proc(t, ix);
		return 0;
	}
	return ix;
}

uint32_t tree_proc_of_pid(struct tree *t, int32_t pid, uint64_t time_ns)
{
	uint32_t ix = intmap_get(&t->by_pid, (uint32_t)pid);
	return ix != INTMAP_NONE ? tree_proc(t, ix) : new_proc(t, pid, time_ns);
}

uint32_t tree_proc_new(struct tree *t, int32_t pid, uint64_t time_ns, int32_t *renamed_pid)
{
	*renamed_pid = 0;
	uint32_t old = intmap_get(&t->by_pid, (uint32_t)pid);
	if (old != INTMAP_NONE) {
		struct proc *p = &t->procs[tree_proc(t, old)];
		if (p->row_pid == pid) {
			p->row_pid = impossible_id(t);
			*renamed_pid = p->row_pid;
		}
	}
	return new_proc(t, pid, time_ns);
}

uint32_t tree_thread_new(struct tree *t, int32_t tid, uint32_t proc, uint64_t time_ns)
{
	uint32_t ix = thread_slot(t), old = intmap_get(&t->by_tid, (uint32_t)tid);
	t->epoch++;
	if (!ix)
		return 0;
	/* A row that stands for many ended threads goes under the tid of one of them: no longer, once that is borne again. */
	struct thread *row = old == INTMAP_NONE ? NULL : &t->threads[tree_thread(t, old)];
	if (row && row->n_siblings > 1 && row->tid == tid)
		row->tid = impossible_id(t);
	t->threads[ix] = (struct thread){.tid = tid, .proc = proc, .used = true, .n_siblings = 1};
	account_start(&t->threads[ix].account, time_ns);
	if (!intmap_put(&t->by_tid, (uint32_t)tid, ix)) {
		tree_release_thread(t, ix);
		return 0;
	}
	return ix;
}

uint32_t tree_thread_of_tid(struct tree *t, int32_t tid, uint64_t time_ns)
{
	uint32_t ix = intmap_get(&t->by_tid, (uint32_t)tid);
	if (ix != INTMAP_NONE)
		return tree_thread(t, ix);
	uint32_t proc = new_proc(t, 0, time_ns);
	if (!proc)
		return 0;
	ix = tree_thread_new(t, tid, proc, time_ns);
	if (!ix)
		tree_release_proc(t, proc);
	return ix;
}

void tree_observe(struct tree *t, uint32_t thread, uint64_t time_ns)
{
	struct thread *h = &t->threads[thread];
	if (h->observed)
		return;
	h->observed = true;
	h->started_ns = time_ns;
	account_start(&h->account, time_ns);
	struct proc *p = &t->procs[tree_proc(t, h->proc)];
	p->n_threads++;
	p->live_threads++;
	if (p->live_threads > p->peak_threads)
		p->peak_threads = p->live_threads;
	if (time_ns < p->started_ns)
		p->started_ns = time_ns;
}

uint64_t tree_observed_ns(const struct thread *h)
{
	return h->observed_ns + (h->account.cursor_ns - h->account.started_ns);
}

void tree_release_proc(struct tree *t, uint32_t proc)
{
	struct proc *p = &t->procs[proc];
	free(p->cmdline);
	free(p->cells);
	if (p->pid && intmap_get(&t->by_pid, (uint32_t)p->pid) == proc)
		intmap_remove(&t->by_pid, (uint32_t)p->pid);
	*p = (struct proc){0};
	uint32_t *moved = array_reserve(t->free_procs, t->n_free_procs, &t->free_procs_capacity, sizeof *moved);
	if (!moved)
		return; /* the slot stays unused: a leak of one slot, when memory is out anyway */
	t->free_procs = moved;
	t->free_procs[t->n_free_procs++] = proc;
}

void tree_release_thread(struct tree *t, uint32_t thread)
{
	struct thread *h = &t->threads[thread];
	ticks_free(h->ticks);
	t->epoch++;
	if (intmap_get(&t->by_tid, (uint32_t)h->tid) == thread)
		intmap_remove(&t->by_tid, (uint32_t)h->tid);
	*h = (struct thread){0};
	uint32_t *moved = array_reserve(t->free_threads, t->n_free_threads, &t->free_threads_capacity, sizeof *moved);
	if (!moved)
		return;
	t->free_threads = moved;
	t->free_threads[t->n_free_threads++] = thread;
}

void tree_fold_thread(struct tree *t, uint32_t from, uint32_t into)
{
	struct thread *f = &t->threads[from], *i = &t->threads[into];
	ledger_merge(&i->account.ledger, &f->account.ledger);
	i->observed_ns += tree_observed_ns(f);
	i->folded_count += f->folded_count;
	i->folded_ns += f->folded_ns;
	i->n_siblings += f->n_siblings;
	if (f->started_ns < i->started_ns)
		i->started_ns = f->started_ns;
	if (f->ended_ns > i->ended_ns)
		i->ended_ns = f->ended_ns;
	f->into = into;
}
