/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregate/channels.h"

#include <stdlib.h>
#include <string.h>

/* Ends kept per channel: a listening socket of a thousand workers has that many; more do not tell more. */
#define MAX_ENDS 4096

bool channels_init(struct channels *c)
{
	*c = (struct channels){.n = 1};
	c->list = array_reserve(NULL, 1, &c->capacity, sizeof *c->list);
	if (c->list)
		c->list[0] = (struct chan){0};
	return c->list;
}

void channels_fini(struct channels *c)
{
	for (size_t i = 1; c->list && i < c->n; i++) {
		free(c->list[i].name);
		free(c->list[i].ends);
	}
	free(c->list);
	free(c->free_list);
	intmap_fini(&c->by_id);
	*c = (struct channels){0};
}

static uint32_t slot(struct channels *c)
{
	if (c->n_free)
		return c->free_list[--c->n_free];
	struct chan *moved = array_reserve(c->list, c->n, &c->capacity, sizeof *moved);
	if (!moved)
		return 0;
	c->list = moved;
	return (uint32_t)c->n++;
}

uint32_t channels_of_id(struct channels *c, uint32_t id)
{
	if (!id)
		return 0;
	uint32_t ix = intmap_get(&c->by_id, id);
	if (ix != INTMAP_NONE) {
		while (c->list[ix].into)
			ix = c->list[ix].into;
		return ix;
	}
	ix = slot(c);
	if (!ix)
		return 0;
	c->list[ix] = (struct chan){.id = id, .n_folded = 1};
	if (!intmap_put(&c->by_id, id, ix)) {
		channels_release(c, ix);
		return 0;
	}
	return ix;
}

bool channels_describe(struct channels *c, const struct ev_channel *ev)
{
	uint32_t ix = channels_of_id(c, ev->id);
	if (!ix)
		return false;
	struct chan *ch = &c->list[ix];
	if (ch->n_folded > 1)
		return true; /* it stands for many: the first one's description holds */
	if (ev->name && (!ch->name || strcmp(ch->name, ev->name) != 0)) {
		char *name = strdup(ev->name);
		if (!name)
			return false;
		free(ch->name);
		ch->name = name;
	}
	ch->kind = ev->kind;
	ch->remote = ev->remote;
	if (ev->capacity_bytes)
		ch->capacity_bytes = ev->capacity_bytes;
	return true;
}

bool channels_add_end(struct channels *c, uint32_t channel, const struct chan_end *end)
{
	struct chan *ch = &c->list[channel];
	for (size_t i = 0; i < ch->n_ends; i++)
		if (ch->ends[i].proc == end->proc && ch->ends[i].fd == end->fd) {
			ch->ends[i].role |= end->role;
			return true;
		}
	if (ch->n_ends >= MAX_ENDS)
		return true;
	struct chan_end *moved = array_reserve(ch->ends, ch->n_ends, &ch->ends_capacity, sizeof *moved);
	if (!moved)
		return false;
	ch->ends = moved;
	ch->ends[ch->n_ends++] = *end;
	return true;
}

void channels_release(struct channels *c, uint32_t channel)
{
	struct chan *ch = &c->list[channel];
	free(ch->name);
	free(ch->ends);
	if (intmap_get(&c->by_id, ch->id) == channel)
		intmap_remove(&c->by_id, ch->id);
	*ch = (struct chan){0};
	uint32_t *moved = array_reserve(c->free_list, c->n_free, &c->free_capacity, sizeof *moved);
	if (!moved)
		return;
	c->free_list = moved;
	c->free_list[c->n_free++] = channel;
}

size_t channels_used(const struct channels *c)
{
	return c->n - 1 - c->n_free;
}

bool channel_holds(const struct chan *c, const struct tree *t, uint32_t proc, unsigned *n_fds)
{
	unsigned n = 0;
	for (size_t i = 0; i < c->n_ends; i++)
		n += tree_proc(t, c->ends[i].proc) == proc;
	if (n_fds)
		*n_fds = n;
	return n;
}

/* Which role the other end of a wait must have. */
static unsigned other_role(enum wait_class cls)
{
	switch (cls) {
	case WC_PIPE_READ:
		return END_WRITER;
	case WC_PIPE_WRITE:
		return END_READER;
	default:
		return END_BOTH;
	}
}

uint32_t channel_other_end(const struct chan *c, const struct tree *t, uint32_t waiter, enum wait_class cls)
{
	uint32_t other = 0;
	if (c->remote || cls == WC_ACCEPT)
		return 0;
	for (size_t i = 0; i < c->n_ends; i++) {
		uint32_t proc = tree_proc(t, c->ends[i].proc);
		if (proc == waiter || !(c->ends[i].role & other_role(cls)))
			continue;
		if (other && other != proc)
			return 0;
		other = proc;
	}
	return other;
}

static bool held_by_others(const struct chan *c, const struct tree *t, uint32_t proc)
{
	for (size_t i = 0; i < c->n_ends; i++)
		if (tree_proc(t, c->ends[i].proc) != proc)
			return true;
	return false;
}

bool channel_softirq_peer(const struct chan *c, const struct tree *t, uint32_t waiter, uint32_t waker)
{
	unsigned fds;
	if (c->remote)
		return false;
	/* A short-lived connection's other end may never be told (nobody waited there). On loopback the receive path runs in the
	 * sender's own context, so the task below it is believed as long as no process is known that it would contradict. */
	if (!channel_holds(c, t, waker, &fds))
		return waker != waiter && (c->kind == CH_TCP || c->kind == CH_UDP) && !held_by_others(c, t, waiter);
	if (waker != waiter)
		return true;
	/* Within one process: only when it holds both ends and nobody else holds any. */
	return fds >= 2 && fds == c->n_ends;
}
