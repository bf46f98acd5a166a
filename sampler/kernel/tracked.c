/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler/kernel/tracked.h"

#include <stdlib.h>

void tracked_fini(struct tracked *t)
{
	struct tracked_process *p, *ptmp;
	HASH_ITER(hh, t->processes, p, ptmp)
	{
		tracked_process_remove(t, p);
	}
	struct tracked_thread *th, *ttmp;
	HASH_ITER(hh, t->threads, th, ttmp)
	{
		tracked_thread_remove(t, th);
	}
	struct outsider *o, *otmp;
	HASH_ITER(hh, t->outsiders, o, otmp)
	{
		HASH_DEL(t->outsiders, o);
		free(o);
	}
}

struct tracked_process *tracked_process(struct tracked *t, int32_t pid)
{
	struct tracked_process *p;
	HASH_FIND_INT(t->processes, &pid, p);
	return p;
}

struct tracked_process *tracked_process_add(struct tracked *t, int32_t pid)
{
	struct tracked_process *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	p->pid = pid;
	HASH_ADD_INT(t->processes, pid, p);
	return p;
}

void tracked_process_remove(struct tracked *t, struct tracked_process *p)
{
	HASH_DEL(t->processes, p);
	address_space_free(p->as);
	free(p->exe);
	free(p->cmdline);
	free(p);
}

struct tracked_thread *tracked_thread_slow(struct tracked *t, int32_t tid)
{
	struct tracked_thread *th;
	HASH_FIND_INT(t->threads, &tid, th);
	if (th)
		t->cache[(uint32_t)tid % THREAD_CACHE] = th;
	return th;
}

struct tracked_thread *tracked_thread_add(struct tracked *t, int32_t tid, int32_t pid)
{
	struct tracked_thread *th = tracked_thread(t, tid);
	if (th) { /* the id came back before we saw the end of the old one */
		tracked_thread_remove(t, th);
	}
	th = calloc(1, sizeof *th);
	if (!th)
		return NULL;
	th->tid = tid;
	th->pid = pid;
	HASH_ADD_INT(t->threads, tid, th);
	return th;
}

void tracked_thread_remove(struct tracked *t, struct tracked_thread *th)
{
	struct tracked_thread **slot = &t->cache[(uint32_t)th->tid % THREAD_CACHE];
	if (*slot == th)
		*slot = NULL;
	t->ended[(uint32_t)th->tid % THREAD_CACHE] = th->tid;
	HASH_DEL(t->threads, th);
	free(th);
}
