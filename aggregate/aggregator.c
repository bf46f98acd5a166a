/* SPDX-License-Identifier: Apache-2.0
 *
 * Events in: each is accounted once (account.h), counted in one row of the wait graph (rows.h), put on the timeline and into
 * the analysis window, and then forgotten. The path of EV_WAIT is the hot one: no allocation, no hashing of strings.
 */
#include "aggregate/agg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct window_context agg_window_context(struct aggregator *a)
{
	return (struct window_context){&a->tree, &a->channels, &a->sites};
}

static void own_analyze(void *ctx, const struct window *w)
{
	windows_analyze(ctx, w);
}

static void own_fold(void *ctx, int32_t from_pid, int32_t into_pid)
{
	windows_fold(ctx, from_pid, into_pid);
}

static int own_finish(void *ctx, struct profile *p)
{
	return windows_finish(ctx, p);
}

static bool init(struct aggregator *a, const struct aggregator_options *opt)
{
	a->max_rows = opt->max_rows ? opt->max_rows : AGG_MAX_ROWS;
	if (a->max_rows < AGG_MIN_ROWS)
		a->max_rows = AGG_MIN_ROWS;
	a->cpus = opt->cpus;
	a->start_ns = a->now_ns = opt->start_ns;
	a->timeline = (struct timeline){.start_ns = opt->start_ns, .step_ns = TIMELINE_FIRST_STEP_NS};
	if (!tree_init(&a->tree) || !channels_init(&a->channels) || !rows_init(&a->rows) || !cpu_rows_init(&a->cpu) ||
	    !window_buffer_init(&a->window, opt))
		return false;
	window_buffer_start(&a->window, a->start_ns);
	if (opt->windows) {
		a->window.hooks = *opt->windows;
		return true;
	}
	a->own_windows = windows_new();
	a->window.hooks = (struct window_hooks){a->own_windows, own_analyze, own_fold, own_finish};
	return a->own_windows;
}

struct aggregator *aggregator_new(const struct aggregator_options *opt, struct err *err)
{
	static const struct aggregator_options defaults;
	struct aggregator *a = calloc(1, sizeof *a);
	if (a && init(a, opt ? opt : &defaults))
		return a;
	aggregator_free(a);
	err_set(err, -ENOMEM, "aggregate: out of memory; free some or lower the number of rows");
	return NULL;
}

void aggregator_free(struct aggregator *a)
{
	if (!a)
		return;
	tree_fini(&a->tree);
	code_fini(&a->code);
	channels_fini(&a->channels);
	sites_fini(&a->sites);
	rows_fini(&a->rows);
	cpu_rows_fini(&a->cpu);
	window_buffer_fini(&a->window);
	windows_free(a->own_windows);
	free(a);
}

/* ---- processes and threads ---- */

static void end_thread(struct aggregator *a, uint32_t thread, uint64_t time_ns)
{
	struct thread *h = &a->tree.threads[thread];
	if (h->ended)
		return;
	if (h->observed) {
		ticks_close(a, thread, time_ns);
		uint32_t proc = tree_proc(&a->tree, h->proc);
		struct account_step s = account_run_until(&h->account, time_ns);
		timeline_add_step(&a->timeline, &a->tree, proc, WC_NONE, &s, 0);
		a->tree.procs[proc].live_threads--;
	}
	h->ended = true;
	h->ended_ns = h->account.cursor_ns;
	h->end_serial = ++a->tree.n_ended;
	a->tree.ended_threads++;
	window_buffer_thread_end(&a->window, &a->tree, thread);
}

static void end_threads_of(struct aggregator *a, uint32_t proc, uint64_t time_ns)
{
	for (uint32_t i = 1; i < a->tree.n_threads; i++) {
		struct thread *h = &a->tree.threads[i];
		if (h->used && !h->into && !h->ended && tree_proc(&a->tree, h->proc) == proc)
			end_thread(a, i, time_ns);
	}
}

static void end_proc(struct aggregator *a, uint32_t proc, uint64_t time_ns, int32_t status)
{
	struct proc *p = &a->tree.procs[proc];
	if (p->ended)
		return;
	if (p->live_threads)
		end_threads_of(a, proc, time_ns);
	p->ended = true;
	p->ended_ns = time_ns;
	p->exit_status = status;
	a->tree.ended_procs++;
}

/* A new process under an old pid. */
static uint32_t reuse_pid(struct aggregator *a, uint32_t old, int32_t pid, uint64_t time_ns)
{
	int32_t old_pid = a->tree.procs[old].row_pid, renamed;
	uint32_t ix = tree_proc_new(&a->tree, pid, time_ns, &renamed);
	if (renamed && a->window.hooks.fold)
		a->window.hooks.fold(a->window.hooks.ctx, old_pid, renamed);
	return ix;
}

/* The process that an EV_PROCESS speaks of: the bearer of the pid, or a new one when the pid was reused. */
static uint32_t process_of_event(struct aggregator *a, const struct ev_process *ev, uint64_t time_ns)
{
	uint32_t ix = tree_proc_of_pid(&a->tree, ev->pid, time_ns);
	const struct proc *p = &a->tree.procs[ix];
	bool fresh = ev->reason == PROC_FORK || ev->reason == PROC_SEEN;
	bool reused = ix && p->introduced && fresh && (p->ended || (ev->reason == PROC_FORK && time_ns > p->started_ns));
	if (!reused)
		return ix;
	end_proc(a, ix, time_ns, -1);
	return reuse_pid(a, ix, ev->pid, time_ns);
}

static void set_cmdline(struct aggregator *a, struct proc *p, const struct ev_process *ev)
{
	if (!ev->cmdline ||
	    (p->cmdline && p->cmdline_len == ev->cmdline_len && !memcmp(p->cmdline, ev->cmdline, ev->cmdline_len)))
		return;
	char *copy = malloc(ev->cmdline_len + 1);
	if (!copy) {
		a->rejected++;
		return;
	}
	memcpy(copy, ev->cmdline, ev->cmdline_len);
	copy[ev->cmdline_len] = '\0';
	free(p->cmdline);
	p->cmdline = copy;
	p->cmdline_len = ev->cmdline_len;
}

static void copy_comm(char out[16], const char *comm)
{
	if (comm) {
		memset(out, 0, 16);
		memcpy(out, comm, strnlen(comm, 15));
	}
}

/* After exec the process's only thread bears its name too. */
static void rename_main_thread(struct aggregator *a, int32_t pid, const char *comm)
{
	uint32_t ix = intmap_get(&a->tree.by_tid, (uint32_t)pid);
	if (ix != INTMAP_NONE && !a->tree.threads[ix].ended && !a->tree.threads[ix].into)
		copy_comm(a->tree.threads[ix].comm, comm);
}

static void on_process(struct aggregator *a, const struct event *ev)
{
	const struct ev_process *e = &ev->process;
	uint32_t ix = e->pid > 0 ? process_of_event(a, e, ev->time_ns) : 0;
	if (!ix) {
		a->rejected++;
		return;
	}
	if (!a->tree.procs[ix].parent && e->ppid > 0 && e->ppid != e->pid) {
		uint32_t parent = intmap_get(&a->tree.by_pid, (uint32_t)e->ppid);
		a->tree.procs[ix].parent = parent == INTMAP_NONE ? 0 : tree_proc(&a->tree, parent);
	}
	struct proc *p = &a->tree.procs[ix];
	if (!p->introduced) {
		p->introduced = true;
		p->ppid = e->ppid;
		p->in_tree = e->in_tree;
		if (ev->time_ns < p->started_ns)
			p->started_ns = ev->time_ns;
		a->tree.outside_procs += !e->in_tree;
	} else if (e->in_tree && !p->in_tree) {
		p->in_tree = true; /* it was known from outside, and now belongs */
		a->tree.outside_procs--;
	}
	if (e->reason == PROC_FORK) {
		p->forked = true;
		p->forked_at = ev->time_ns;
	} else if (e->reason == PROC_EXEC && p->forked) {
		p->forked = false;
		p->spawn_ns += ev->time_ns > p->forked_at ? ev->time_ns - p->forked_at : 0;
	}
	p->runtime = e->runtime;
	copy_comm(p->comm, e->comm);
	if (e->reason == PROC_EXEC)
		rename_main_thread(a, e->pid, e->comm);
	if (e->exe && *e->exe)
		p->exe = code_string(&a->code, e->exe);
	set_cmdline(a, p, e);
}

/* A thread was first met by its tid alone, under a placeholder process; now the real one is known. */
static void adopt(struct aggregator *a, struct thread *h, uint32_t proc)
{
	uint32_t placeholder = tree_proc(&a->tree, h->proc);
	if (placeholder == proc)
		return;
	struct proc *from = &a->tree.procs[placeholder], *to = &a->tree.procs[proc];
	h->proc = proc;
	if (from->n_siblings > 1)
		return; /* by now it stands for many unknown ones: nothing of this thread can be told apart */
	to->n_threads += from->n_threads;
	to->live_threads += from->live_threads;
	if (to->live_threads > to->peak_threads)
		to->peak_threads = to->live_threads;
	if (from->started_ns < to->started_ns)
		to->started_ns = from->started_ns;
	to->rd_calls += from->rd_calls;
	to->rd_bytes += from->rd_bytes;
	to->wr_calls += from->wr_calls;
	to->wr_bytes += from->wr_bytes;
	timeline_fold(&a->timeline, &a->tree, placeholder, proc);
	from->into = proc;
}

static void on_thread(struct aggregator *a, const struct event *ev)
{
	const struct ev_thread *e = &ev->thread;
	uint32_t proc = e->pid > 0 && e->tid > 0 ? tree_proc_of_pid(&a->tree, e->pid, ev->time_ns) : 0;
	if (proc && a->tree.procs[proc].ended && ev->time_ns >= a->tree.procs[proc].ended_ns)
		proc = reuse_pid(a, proc, e->pid, ev->time_ns);
	if (!proc) {
		a->rejected++;
		return;
	}
	uint32_t old = intmap_get(&a->tree.by_tid, (uint32_t)e->tid), ix = old == INTMAP_NONE ? 0 : tree_thread(&a->tree, old);
	const struct thread *had = &a->tree.threads[ix];
	bool other = ix && had->introduced && tree_proc(&a->tree, had->proc) != proc;
	uint32_t again = ix && ix == old && had->ended && had->n_siblings == 1 && !other ? ix : 0;
	if (other)
		end_thread(a, ix, ev->time_ns);
	if (!ix || had->ended)
		ix = tree_thread_new(&a->tree, e->tid, proc, ev->time_ns);
	if (!ix) {
		a->rejected++;
		return;
	}
	if (again)
		tree_fold_thread(&a->tree, again, ix);
	a->last_thread = 0;
	struct thread *h = &a->tree.threads[ix];
	adopt(a, h, proc);
	copy_comm(h->comm, e->comm);
	bool first = !h->introduced;
	h->introduced = true;
	if (!a->tree.procs[proc].in_tree)
		return;
	if (!h->observed) {
		tree_observe(&a->tree, ix, ev->time_ns);
	} else if (first && ev->time_ns < h->account.started_ns) {
		timeline_add(&a->timeline, &a->tree, proc, TIMELINE_ON_CPU, WC_NONE, ev->time_ns, h->account.started_ns);
		account_backdate(&h->account, ev->time_ns);
		h->started_ns = ev->time_ns;
	}
}

static void on_thread_exit(struct aggregator *a, const struct event *ev)
{
	uint32_t ix = intmap_get(&a->tree.by_tid, (uint32_t)ev->thread_exit.tid);
	if (ix != INTMAP_NONE)
		end_thread(a, tree_thread(&a->tree, ix), ev->time_ns);
}

static void on_process_exit(struct aggregator *a, const struct event *ev)
{
	uint32_t ix = intmap_get(&a->tree.by_pid, (uint32_t)ev->process_exit.pid);
	if (ix != INTMAP_NONE)
		end_proc(a, tree_proc(&a->tree, ix), ev->time_ns, ev->process_exit.status);
}

/* ---- waits ---- */

/* The thread of a tid; the last one asked for is the one asked for next more often than not. */
static uint32_t thread_of(struct aggregator *a, int32_t tid, uint64_t time_ns)
{
	if (a->last_thread && a->last_tid == tid)
		return a->last_thread;
	uint32_t ix = tid > 0 ? tree_thread_of_tid(&a->tree, tid, time_ns) : 0;
	a->last_tid = tid;
	a->last_thread = ix;
	return ix;
}

/* The thread that an event of its own speaks of, observed. A record that starts after the thread's end is of a new bearer of
 * its tid, whose introduction is still to come. */
uint32_t agg_observed_thread(struct aggregator *a, int32_t tid, uint64_t time_ns)
{
	uint32_t ix = thread_of(a, tid, time_ns);
	if (!ix)
		return 0;
	struct thread *h = &a->tree.threads[ix];
	if (h->ended && h->account.cursor_ns <= time_ns && !a->ended) {
		intmap_remove(&a->tree.by_tid, (uint32_t)tid);
		a->tree.epoch++;
		a->last_thread = 0;
		ix = thread_of(a, tid, time_ns);
	}
	if (ix && !a->tree.threads[ix].ended)
		tree_observe(&a->tree, ix, time_ns);
	return ix;
}

/* The thread of a tid that has to do with this one: mostly the same as last time. */
static uint32_t peer_of(struct aggregator *a, uint32_t thread, int32_t tid, uint64_t time_ns)
{
	struct thread *h = &a->tree.threads[thread];
	if (h->peer_tid == tid && h->peer_epoch == a->tree.epoch)
		return h->peer;
	uint32_t peer = tree_thread_of_tid(&a->tree, tid, time_ns);
	h = &a->tree.threads[thread]; /* it may have moved */
	h->peer_tid = tid;
	h->peer = peer;
	h->peer_epoch = a->tree.epoch;
	return peer;
}

/* The thread that may have woken: none for what comes from a timer or a disk. Softirqs deliver for a peer on loopback only, so
 * there must be a channel; whether the task below is that peer is judged when the ends are known. */
static uint32_t waker_of(struct aggregator *a, uint32_t thread, const struct ev_wait *w, uint64_t time_ns)
{
	if (w->waker_tid <= 0 || (w->waker_ctx != WAKER_TASK && w->waker_ctx != WAKER_SOFTIRQ))
		return 0;
	if (w->waker_ctx == WAKER_SOFTIRQ && (!w->channel || w->cls == WC_SLEEP))
		return 0;
	return peer_of(a, thread, w->waker_tid, time_ns);
}

static struct row_key key_of(struct aggregator *a, uint32_t thread, uint32_t waker, const struct ev_wait *w)
{
	struct row_key k = {.thread = thread, .cls = w->cls, .channel = channels_of_id(&a->channels, w->channel)};
	k.site = w->site ? w->site : w->stack;
	if (!w->site)
		k.flags |= ROW_SITE_IS_STACK;
	if (waker) {
		k.waker = a->tree.threads[waker].proc;
		k.waker_site = w->waker_site ? w->waker_site : w->waker_stack;
		if (w->waker_ctx == WAKER_SOFTIRQ)
			k.flags |= ROW_SOFTIRQ;
	}
	if (!waker || !w->waker_site)
		k.flags |= ROW_WAKER_SITE_IS_STACK;
	return k;
}

/* The row of a wait. Under pressure (more distinct rows come than compaction can keep up with: a thousand pool threads that wake
 * each other make a million pairs of sites) a key that has no row yet gets a coarser one, but for one in 64: so a row that
 * is hot gets its own soon, and the others cost no more than a look-up. */
static struct row *row_of(struct aggregator *a, struct thread *h, struct row_key *key)
{
	if (h->last_row && row_key_equal(&a->rows.rows[h->last_row].key, key))
		return &a->rows.rows[h->last_row];
	uint32_t ix = a->pressure ? rows_get(&a->rows, key) : 0;
	if (!ix) {
		if (a->pressure && ++a->misses % PRESSURE_ADMITS)
			row_key_coarsen(a, key, a->pressure - 1);
		ix = rows_find(&a->rows, key);
	}
	h->last_row = ix;
	return ix ? &a->rows.rows[ix] : NULL;
}

static void count_row(struct row *row, const struct ev_wait *w, const struct account_step *s, bool whole_time)
{
	uint64_t blocked = s->wake - s->out, run_queue = s->run - s->wake;
	if (!w->spurious) {
		row_add_duration(row, w->cls == WC_NONE ? run_queue : blocked, 1);
		row->count++;
	}
	row->blocked_ns += blocked;
	row->run_queue_ns += run_queue;
	row->in_progress += w->in_progress;
	row->n_irq += w->waker_ctx == WAKER_HARDIRQ || w->waker_ctx == WAKER_SOFTIRQ;
	if (whole_time)
		row->idle_ns += blocked;
	if (w->bytes && w->waker_ctx != WAKER_HARDIRQ && w->waker_ctx != WAKER_NONE)
		row_add_bytes(row, w->bytes, 1);
}

static void count_samples(struct aggregator *a, struct row *row, uint32_t thread, uint32_t waker, const struct ev_wait *w,
			  const struct account_step *s)
{
	struct row_sample sample = {w->stack, waker ? w->waker_stack : 0, 1, s->wake - s->out, s->run - s->wake};
	if (!sample.stack && !sample.waker_stack)
		return;
	if (!(row->key.flags & ROW_SITE_IS_STACK) || !(row->key.flags & ROW_WAKER_SITE_IS_STACK))
		row_add_sample(row, &sample);
	sample.waker_stack = 0;
	if (w->stack && w->site && !sites_add_wait(&a->sites, w->site, thread, &sample))
		a->rejected++;
	sample.stack = w->waker_stack;
	if (waker && w->waker_stack && w->waker_site && !sites_add_wake(&a->sites, w->waker_site, waker, &sample))
		a->rejected++;
}

static void count_io(struct proc *p, const struct ev_wait *w)
{
	p->rd_calls += w->rd_calls;
	p->rd_bytes += w->rd_bytes;
	p->wr_calls += w->wr_calls;
	p->wr_bytes += w->wr_bytes;
}

/* A wait as it can be accounted: *w points to *fixed where something had to be put right. */
static void put_right(const struct thread *h, const struct ev_wait **w, struct ev_wait *fixed)
{
	bool late = h->ended && (*w)->t_run > h->account.cursor_ns; /* told after the thread's time was closed */
	if ((*w)->cls < WC_COUNT && !late)
		return;
	*fixed = **w;
	*w = fixed;
	if (fixed->cls >= WC_COUNT)
		fixed->cls = WC_OTHER;
	if (late)
		fixed->t_run = h->account.cursor_ns;
}

static void on_wait(struct aggregator *a, const struct event *ev)
{
	const struct ev_wait *w = &ev->wait;
	struct ev_wait fixed;
	uint32_t thread = agg_observed_thread(a, w->tid, ev->time_ns), waker = thread ? waker_of(a, thread, w, ev->time_ns) : 0;
	if (!thread) {
		a->rejected++;
		return;
	}
	struct thread *h = &a->tree.threads[thread];
	put_right(h, &w, &fixed);
	struct account_step s = account_wait(&h->account, ev->time_ns, w);
	uint32_t proc = tree_proc(&a->tree, h->proc);
	count_io(&a->tree.procs[proc], w);
	if (w->lost)
		return; /* known as a sum only: the account keeps it for the next gap */
	h->exact = true;
	h->folded_count += w->folded_count;
	h->folded_ns += s.gap_run_queue_ns;
	h->samples = 0;
	timeline_add_step(&a->timeline, &a->tree, proc, w->cls, &s, 1);

	/* Waiting before we came and after we left: nobody waits for that. */
	bool whole_time = w->at_start && w->in_progress;
	if (whole_time) {
		h->account.ledger.blocked_ns[w->cls] -= s.wake - s.out;
		h->account.ledger.idle_ns += s.wake - s.out;
	}
	struct row_key key = key_of(a, thread, waker, w);
	struct row *row = row_of(a, h, &key);
	if (row) {
		count_row(row, w, &s, whole_time);
		if (w->stack || w->waker_stack)
			count_samples(a, row, thread, waker, w, &s);
	} else {
		a->rejected++;
	}
	uint32_t handoff = w->handoff_count && w->handoff_tid > 0 ? peer_of(a, thread, w->handoff_tid, ev->time_ns) : 0;
	window_buffer_wait(&a->window, &a->tree, thread, &s, w, waker, handoff);
}

static void on_sample(struct aggregator *a, const struct event *ev)
{
	const struct ev_sample *e = &ev->sample;
	uint32_t ix = agg_observed_thread(a, e->tid, ev->time_ns);
	struct cpu_key key = {.thread = ix, .stack = e->stack};
	struct cpu_count *c = ix ? cpu_rows_find(&a->cpu, &key) : NULL;
	if (!c) {
		a->rejected++;
		return;
	}
	c->samples++;
	c->est_ns += e->period_ns;
	a->sampled = true;
	a->tree.threads[ix].samples++;
	window_buffer_sample(&a->window, &a->tree, ix, ev->time_ns);
}

/* ---- the rest ---- */

static void on_channel_end(struct aggregator *a, const struct event *ev)
{
	const struct ev_channel_end *e = &ev->channel_end;
	uint32_t ch = channels_of_id(&a->channels, e->channel);
	uint32_t proc = e->pid > 0 ? tree_proc_of_pid(&a->tree, e->pid, ev->time_ns) : 0;
	struct chan_end end = {proc, e->fd, e->role};
	if (!ch || !proc || !channels_add_end(&a->channels, ch, &end))
		a->rejected++;
}

static void on_end(struct aggregator *a, uint64_t time_ns)
{
	for (uint32_t i = 1; i < a->tree.n_threads; i++) {
		struct thread *h = &a->tree.threads[i];
		if (!h->used || !h->observed || h->ended || h->into)
			continue;
		ticks_close(a, i, time_ns);
		struct account_step s = account_run_until(&h->account, time_ns);
		timeline_add_step(&a->timeline, &a->tree, tree_proc(&a->tree, h->proc), WC_NONE, &s, 0);
	}
	struct window_context c = agg_window_context(a);
	window_buffer_flush(&a->window, &c, time_ns);
	a->ended = true;
}

static void begin_at(struct aggregator *a, uint64_t time_ns)
{
	a->start_ns = a->now_ns = time_ns;
	a->timeline.start_ns = time_ns;
	window_buffer_start(&a->window, time_ns);
}

/* Everything but definitions; times before the start are moved to it. */
static void on_timed(struct aggregator *a, const struct event *ev)
{
	switch (ev->kind) {
	case EV_PROCESS:
		on_process(a, ev);
		break;
	case EV_THREAD:
		on_thread(a, ev);
		break;
	case EV_THREAD_EXIT:
		on_thread_exit(a, ev);
		break;
	case EV_PROCESS_EXIT:
		on_process_exit(a, ev);
		break;
	case EV_WAIT:
		on_wait(a, ev);
		break;
	case EV_SAMPLE:
		on_sample(a, ev);
		break;
	case EV_TICK:
		ticks_event(a, ev);
		break;
	case EV_COUNTS:
		ticks_counts(a, ev);
		break;
	case EV_CHANNEL_END:
		on_channel_end(a, ev);
		break;
	case EV_END:
		on_end(a, ev->time_ns);
		break;
	default:
		break;
	}
}

/* What may come without a meaningful time, and after the end. True: handled. */
static bool on_definition(struct aggregator *a, const struct event *ev)
{
	switch (ev->kind) {
	case EV_CHANNEL:
		a->rejected += !channels_describe(&a->channels, &ev->channel);
		return true;
	case EV_FRAME:
		a->rejected += !code_frame(&a->code, &ev->frame);
		return true;
	case EV_STACK:
		a->lost_stacks += !code_stack(&a->code, &ev->stack);
		return true;
	case EV_LOST:
		a->lost_events += ev->lost.events;
		a->lost_stacks += ev->lost.stacks;
		return true;
	default:
		return false;
	}
}

void aggregator_event(void *ctx, const struct event *ev)
{
	struct aggregator *a = ctx;
	a->n_events++;
	if (on_definition(a, ev))
		return;
	if (a->ended && ev->kind != EV_PROCESS && ev->kind != EV_CHANNEL_END)
		return;
	if (!a->start_ns)
		begin_at(a, ev->time_ns);
	struct event clamped;
	if (ev->time_ns < a->start_ns) {
		clamped = *ev;
		clamped.time_ns = a->start_ns;
		ev = &clamped;
	}
	on_timed(a, ev);
	uint64_t told = ev->kind == EV_WAIT && ev->wait.t_run > ev->time_ns && !ev->wait.lost ? ev->wait.t_run : ev->time_ns;
	if (told > a->now_ns)
		a->now_ns = told;
	if (a->ended)
		return;
	struct window_context c = {&a->tree, &a->channels, &a->sites};
	window_buffer_advance(&a->window, &c, a->now_ns);
	if (compact_due(a))
		compact(a, a->now_ns);
}
