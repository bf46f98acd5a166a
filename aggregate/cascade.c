/* SPDX-License-Identifier: Apache-2.0
 *
 * See cascade.h. After wPerf's cascaded re-distribution (OSDI'18), made to conserve time: every slice of a wait is charged exactly
 * once, to the first thread on the chain that ran, was runnable, or waited for something that is no thread.
 */
#include "aggregate/cascade.h"
#include "aggregate/windows_load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Slices visited per window: a wait over thousands of another's waits makes thousands of slices at each level. Beyond the
 * budget the chain is cut where it stands (cut_ns tells), so that the cost stays linear in the waits. */
#define SLICES_PER_WAIT 64
#define SLICES_BASE 4096
#define SLICES_ONE_WAIT 2048

#define MAX_BLAMES 8192
#define MAX_IDLES 16384

struct walk {
	struct cascade *c;
	const struct wgraph *g;
	int32_t waiter_pid;
	uint32_t path[CASCADE_DEPTH + 1]; /* threads from the waiter on */
	unsigned depth;
	int64_t budget, left; /* for the wait at hand; for the window */
	/* of the wait at hand: led to a process of the tree that worked, or to a device or another host; to the waiter's own */
	uint64_t working_ns, own_working_ns;
};

void cascade_init(struct cascade *c)
{
	memset(c, 0, sizeof(*c));
	row_table_init(&c->blames, sizeof(struct blame_row), offsetof(struct blame_row, count), MAX_BLAMES);
	row_table_init(&c->idles, sizeof(struct idle_row), offsetof(struct idle_row, blocked_ns), MAX_IDLES);
}

void cascade_fini(struct cascade *c)
{
	row_table_fini(&c->blames);
	row_table_fini(&c->idles);
	free(c->awaited);
}

void blame_row_merge(void *into, const void *from)
{
	((struct blame_row *)into)->count += ((const struct blame_row *)from)->count;
	((struct blame_row *)into)->ns += ((const struct blame_row *)from)->ns;
}

void idle_row_merge(void *into, const void *from)
{
	((struct idle_row *)into)->blocked_ns += ((const struct idle_row *)from)->blocked_ns;
	((struct idle_row *)into)->idle_ns += ((const struct idle_row *)from)->idle_ns;
}

static int32_t pid_of(const struct wgraph *g, uint32_t thread)
{
	return g->w->threads[thread].pid;
}

/* When the table is full, what is new goes to the blamed process without its wait, then to nobody: never lost. */
static void charge(struct walk *k, int32_t pid, enum blame_kind kind, const struct window_wait *w, uint32_t channel, uint64_t ns)
{
	struct blame_row key;
	memset(&key, 0, sizeof(key));
	key.waiter_pid = k->waiter_pid;
	key.pid = pid;
	key.kind = kind;
	key.channel = channel;
	if (w) {
		key.cls = w->cls;
		key.channel = w->channel;
		key.stack_ix = w->stack;
	}
	if (kind == BLAME_RUN || kind == BLAME_RUN_QUEUE || kind == BLAME_DISK || kind == BLAME_REMOTE)
		*(pid == k->waiter_pid ? &k->own_working_ns : &k->working_ns) += ns;
	struct blame_row *row = row_table_get(&k->c->blames, &key);
	if (!row) {
		key.stack_ix = key.channel = 0;
		row = row_table_get(&k->c->blames, &key);
	}
	if (!row) {
		memset(&key, 0, sizeof(key));
		key.kind = BLAME_UNKNOWN;
		row = row_table_get(&k->c->blames, &key);
	}
	if (row) {
		row->count++;
		row->ns += ns;
	}
}

static const enum blame_kind end_to_blame[] = {
	[END_TASK] = BLAME_UNKNOWN, [END_TIMER] = BLAME_TIMER,	   [END_DISK] = BLAME_DISK,	  [END_REMOTE] = BLAME_REMOTE,
	[END_OUTSIDE] = BLAME_OUTSIDE, [END_UNKNOWN] = BLAME_UNKNOWN, [END_NOBODY] = BLAME_RUN_QUEUE,
};

static bool in_path(const struct walk *k, uint32_t thread)
{
	for (unsigned i = 0; i <= k->depth; i++)
		if (k->path[i] == thread)
			return true;
	return false;
}

static bool one_sided(enum wait_class cls)
{
	switch (cls) {
	case WC_PIPE_READ:
	case WC_PIPE_WRITE:
	case WC_UNIX_READ:
	case WC_UNIX_WRITE:
	case WC_TCP_READ:
	case WC_TCP_WRITE:
	case WC_ACCEPT:
		return true;
	default:
		return false;
	}
}

/* A waker that itself waited for the same thing a moment ago (a writer that wakes the next writer) is a fellow victim: the wait
 * belongs to whoever ended the fellow's wait. Returns the thread to follow. */
static uint32_t past_fellows(const struct wgraph *g, uint32_t wait)
{
	const struct window_wait *w = &g->w->waits[wait];
	uint32_t by = g->waker[wait];
	for (unsigned hops = 0; hops < CASCADE_DEPTH && one_sided(w->cls) && w->channel; hops++) {
		uint32_t last = wgraph_wait_at(g, by, w->t_wake);
		if (last == WG_NONE || g->end[last] != END_TASK || g->w->waits[last].channel != w->channel ||
		    g->w->waits[last].cls != w->cls || g->w->waits[last].t_run > w->t_wake)
			break;
		by = g->waker[last];
	}
	return by == w->thread ? g->waker[wait] : by;
}

/* It ran, up to its wait `next`; but for the short preemptions that are told as a sum with that wait. */
static void charge_run(struct walk *k, uint32_t thread, size_t next, uint32_t channel, uint64_t ns)
{
	uint64_t folded = wgraph_folded_part(k->g, thread, next, ns);
	int32_t pid = pid_of(k->g, thread);
	if (folded)
		charge(k, pid, BLAME_RUN_QUEUE, NULL, channel, folded);
	if (ns > folded)
		charge(k, pid, BLAME_RUN, NULL, channel, ns - folded);
}

static void blame_thread(struct walk *k, uint32_t thread, uint64_t from, uint64_t to, uint32_t channel);

/* Charges [from, to) of a wait of `thread`: further down the chain where a thread of the tree ended it, else here. */
static void blame_wait(struct walk *k, uint32_t thread, uint32_t wait, uint64_t from, uint64_t to)
{
	const struct wgraph *g = k->g;
	const struct window_wait *w = &g->w->waits[wait];
	if (g->end[wait] != END_TASK) {
		charge(k, pid_of(g, thread), end_to_blame[g->end[wait]], w, w->channel, to - from);
		return;
	}
	uint32_t next = past_fellows(g, wait);
	if (k->depth < CASCADE_DEPTH && !in_path(k, next) && k->budget > 0) {
		k->path[++k->depth] = next;
		blame_thread(k, next, from, to, w->channel);
		k->depth--;
		return;
	}
	if (k->depth >= CASCADE_DEPTH || k->budget <= 0)
		k->c->cut_ns += to - from;
	charge(k, pid_of(g, thread), BLAME_UNKNOWN, w, w->channel, to - from);
}

/* Cuts [from, to) at the thread's own boundaries and charges each slice by what it did then. */
static void blame_thread(struct walk *k, uint32_t thread, uint64_t from, uint64_t to, uint32_t channel)
{
	const struct wgraph *g = k->g;
	const struct window_thread *t = &g->w->threads[thread];
	if (!t->in_tree) {
		charge(k, t->pid, BLAME_OUTSIDE, NULL, channel, to - from);
		return;
	}
	if (from < t->from_ns && from < to) { /* not born yet: whoever ran then may have been about to fork it */
		uint64_t birth = t->from_ns < to ? t->from_ns : to;
		uint32_t other = wgraph_runner_at(g, birth, thread);
		charge(k, other == WG_NONE ? t->pid : pid_of(g, other), other == WG_NONE ? BLAME_UNKNOWN : BLAME_RUN, NULL, channel,
		       birth - from);
		from = birth;
	}
	size_t end = t->first + t->n;
	uint32_t at = wgraph_wait_at(g, thread, from);
	size_t i = at == WG_NONE ? t->first : at;
	while (from < to) {
		k->budget--;
		const struct window_wait *w = i < end ? &g->w->waits[i] : NULL;
		if (w && w->t_run <= from) {
			i++; /* it ran after this wait: on to the next one's start */
			w = i < end ? &g->w->waits[i] : NULL;
		}
		uint64_t next = !w ? to : w->t_out > from ? w->t_out : w->t_wake > from ? w->t_wake : w->t_run;
		if (next > to)
			next = to;
		if (!w) {
			uint64_t known = g->run_end[thread] > from ? g->run_end[thread] : from;
			known = known < to ? known : to;
			if (known > from)
				charge_run(k, thread, i, channel, known - from);
			if (to > known)
				charge(k, t->pid, BLAME_UNKNOWN, NULL, channel, to - known);
		} else if (from < w->t_out) {
			charge_run(k, thread, i, channel, next - from);
		} else if (from < w->t_wake) {
			k->c->awaited[i] += next - from;
			blame_wait(k, thread, (uint32_t)i, from, next);
		} else if (next > from) {
			charge(k, t->pid, BLAME_RUN_QUEUE, NULL, channel, next - from);
		}
		from = next;
	}
}

/* How much of a wait led to work that it was waiting for. Waiting for children and for connections is what parents and
 * servers are for; a thread that waits for another one of its process to have a job for it is at leisure. */
static uint64_t working_time(const struct walk *k, size_t wait)
{
	const struct wgraph *g = k->g;
	enum wait_class cls = g->w->waits[wait].cls;
	if (cls == WC_CHILD || cls == WC_ACCEPT)
		return 0;
	bool hand_off = (cls == WC_FUTEX || cls == WC_POLL || cls == WC_IPC_QUEUE) && g->end[wait] == END_TASK &&
			pid_of(g, g->waker[wait]) == k->waiter_pid && !windows_is_lock(g, wait);
	return k->working_ns + (hand_off ? 0 : k->own_working_ns);
}

/* Idle: led to nobody that worked, and lay on nobody's way. */
static void note_idle(struct cascade *c, const struct wgraph *g, size_t wait, uint64_t working_ns)
{
	const struct window_wait *w = &g->w->waits[wait];
	uint64_t blocked = w->t_wake - w->t_out, busy = working_ns > c->awaited[wait] ? working_ns : c->awaited[wait];
	struct idle_row key;
	memset(&key, 0, sizeof(key));
	key.pid = pid_of(g, w->thread);
	key.tid = g->w->threads[w->thread].tid;
	key.channel = w->channel;
	key.cls = w->cls;
	struct idle_row *row = row_table_get(&c->idles, &key);
	if (!row)
		return; /* stays blocked: the cautious side */
	row->blocked_ns += blocked;
	row->idle_ns += busy < blocked ? blocked - busy : 0;
}

int cascade_add(struct cascade *c, const struct wgraph *g)
{
	size_t n = g->w->n;
	if (n > c->cap_waits) {
		free(c->awaited);
		c->awaited = malloc(2 * n * sizeof(*c->awaited));
		c->cap_waits = c->awaited ? n : 0;
	}
	if (n && !c->awaited)
		return -ENOMEM;
	uint64_t *working = c->awaited ? c->awaited + c->cap_waits : NULL;
	if (n)
		memset(c->awaited, 0, n * sizeof(*c->awaited));
	struct walk k = {.c = c, .g = g, .left = (int64_t)(SLICES_PER_WAIT * n + SLICES_BASE)};
	for (uint32_t i = 0; i < n; i++) {
		const struct window_wait *w = &g->w->waits[i];
		if (w->t_wake <= w->t_out || w->cls == WC_NONE)
			continue;
		k.waiter_pid = pid_of(g, w->thread);
		k.depth = 0;
		k.path[0] = w->thread;
		k.working_ns = k.own_working_ns = 0;
		c->blocked_ns += w->t_wake - w->t_out;
		int64_t budget = k.budget = k.left < SLICES_ONE_WAIT ? k.left : SLICES_ONE_WAIT;
		blame_wait(&k, w->thread, i, w->t_out, w->t_wake);
		k.left -= budget - k.budget;
		working[i] = working_time(&k, i);
	}
	for (uint32_t i = 0; i < n; i++)
		if (g->w->waits[i].t_wake > g->w->waits[i].t_out && g->w->waits[i].cls != WC_NONE)
			note_idle(c, g, i, working[i]);
	return 0;
}
