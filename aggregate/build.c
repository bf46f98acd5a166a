/* SPDX-License-Identifier: Apache-2.0
 *
 * A profile out of the aggregator's tables: who (processes, threads, channels) and when (timeline); what they waited for is
 * build_graph.c's. All bounds hold already: compaction comes first.
 */
#include "aggregate/agg.h"
#include "aggregate/findings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A gap that no record covers yet is taken as a wait still going on when it is longer than this and no on-CPU sample fell
 * into it (two periods of the default 99 Hz). */
#define OPEN_WAIT_NS 20000000ull

int32_t build_pid(const struct aggregator *a, uint32_t proc)
{
	return proc ? a->tree.procs[tree_proc(&a->tree, proc)].row_pid : 0;
}

/* Threads that were never introduced have a placeholder without a pid; their tid is the best name there is. */
static int32_t pid_of_thread(const struct aggregator *a, const struct thread *h)
{
	int32_t pid = build_pid(a, h->proc);
	return pid ? pid : h->tid;
}

void build_thread_ids(const struct aggregator *a, uint32_t thread, bool is_proc, int32_t *pid, int32_t *tid)
{
	if (is_proc) {
		*pid = build_pid(a, thread);
		*tid = 0;
		return;
	}
	const struct thread *h = &a->tree.threads[tree_thread(&a->tree, thread)];
	*pid = pid_of_thread(a, h);
	*tid = h->tid;
}

struct account build_account(const struct aggregator *a, const struct thread *h, uint64_t end_ns)
{
	struct account now = h->account;
	if (h->ended || a->ended || end_ns <= now.cursor_ns)
		return now;
	uint64_t gap = end_ns - now.cursor_ns;
	if (!a->sampled || h->samples || gap < OPEN_WAIT_NS) {
		account_run_until(&now, end_ns);
		return now;
	}
	now.ledger.blocked_ns[WC_OTHER] += gap;
	now.ledger.waits++;
	now.cursor_ns = end_ns;
	return now;
}

/* ---- processes ---- */

static char **split_cmdline(const char *cmdline, size_t len)
{
	size_t n = 0, used = 0;
	for (size_t i = 0; i < len; i++)
		n += cmdline[i] == '\0';
	char **argv = calloc(n + 2, sizeof *argv);
	for (size_t at = 0; argv && at < len; at += strlen(cmdline + at) + 1) {
		argv[used] = strdup(cmdline + at);
		if (!argv[used++])
			break;
	}
	return argv;
}

static int fill_process(struct build *b, uint32_t ix, struct process_row *row)
{
	const struct aggregator *a = b->a;
	const struct proc *p = &a->tree.procs[ix];
	*row = (struct process_row){
	    .pid = p->row_pid,
	    .ppid = p->parent ? build_pid(a, p->parent) : p->ppid,
	    .in_tree = p->in_tree,
	    .runtime = p->runtime,
	    .started_ns = p->started_ns > a->start_ns ? p->started_ns : a->start_ns,
	    .ended_ns = p->ended ? p->ended_ns : 0,
	    .exit_status = p->exit_status,
	    .n_threads = p->n_threads,
	    .peak_threads = p->peak_threads,
	    .n_siblings = p->n_siblings,
	    .rd_calls = p->rd_calls,
	    .rd_bytes = p->rd_bytes,
	    .wr_calls = p->wr_calls,
	    .wr_bytes = p->wr_bytes,
	    .spawn_ns = p->spawn_ns,
	    .comm = strndup(p->comm, sizeof p->comm),
	    .exe = strdup(code_text(&a->code, p->exe)),
	    .cmdline = p->cmdline ? split_cmdline(p->cmdline, p->cmdline_len) : NULL,
	};
	return row->comm && row->exe && (row->cmdline || !p->cmdline) ? 0 : -ENOMEM;
}

/* Whether a process has a row: a placeholder that nothing was ever seen of has none. */
static bool shown(const struct proc *p)
{
	return p->used && !p->into && (p->introduced || p->n_threads) && (p->row_pid || p->n_threads);
}

static int compare_processes(const void *x, const void *y)
{
	const struct process_row *a = x, *b = y;
	if (a->in_tree != b->in_tree)
		return a->in_tree ? -1 : 1;
	if (a->started_ns != b->started_ns)
		return a->started_ns < b->started_ns ? -1 : 1;
	return a->pid < b->pid ? -1 : a->pid > b->pid;
}

static int compare_threads(const void *x, const void *y)
{
	const struct thread_row *a = x, *b = y;
	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	if (a->started_ns != b->started_ns)
		return a->started_ns < b->started_ns ? -1 : 1;
	return a->tid < b->tid ? -1 : a->tid > b->tid;
}

static int build_threads(struct build *b, uint32_t *row_of_proc)
{
	struct profile *p = b->p;
	const struct tree *t = &b->a->tree;
	p->threads = calloc(t->n_threads, sizeof *p->threads);
	if (!p->threads)
		return -ENOMEM;
	for (size_t i = 1; i < t->n_threads; i++) {
		const struct thread *h = &t->threads[i];
		uint32_t proc = h->used ? tree_proc(t, h->proc) : 0;
		if (!h->used || h->into || !h->observed || !t->procs[proc].in_tree)
			continue;
		struct account account = build_account(b->a, h, b->end_ns);
		struct thread_row *row = &p->threads[p->n_threads++];
		*row = (struct thread_row){
		    .pid = pid_of_thread(b->a, h),
		    .tid = h->tid,
		    .comm = strndup(h->comm, sizeof h->comm),
		    .started_ns = h->started_ns,
		    .ended_ns = h->ended ? h->ended_ns : 0,
		    .n_siblings = h->n_siblings,
		    .observed_ns = h->observed_ns + account.cursor_ns - account.started_ns,
		    .ledger = account.ledger,
		};
		if (!row->comm)
			return -ENOMEM;
		struct process_row *process = &p->processes[row_of_proc[proc]];
		if (!process->pid)
			process->pid = row->pid;
		process->observed_ns += row->observed_ns;
		ledger_merge(&process->ledger, &row->ledger);
	}
	return 0;
}

static int build_processes(struct build *b)
{
	struct profile *p = b->p;
	const struct tree *t = &b->a->tree;
	uint32_t *row_of_proc = calloc(t->n_procs, sizeof *row_of_proc);
	p->processes = calloc(t->n_procs, sizeof *p->processes);
	int rc = row_of_proc && p->processes ? 0 : -ENOMEM;
	for (uint32_t i = 1; !rc && i < t->n_procs; i++) {
		if (!shown(&t->procs[i]))
			continue;
		row_of_proc[i] = (uint32_t)p->n_processes++;
		rc = fill_process(b, i, &p->processes[row_of_proc[i]]);
	}
	if (!rc)
		rc = build_threads(b, row_of_proc);
	free(row_of_proc);
	if (rc)
		return rc;
	qsort(p->processes, p->n_processes, sizeof *p->processes, compare_processes);
	qsort(p->threads, p->n_threads, sizeof *p->threads, compare_threads);
	return 0;
}

/* ---- channels ---- */

static int fill_channel(struct build *b, const struct chan *c, struct channel_row *row)
{
	*row = (struct channel_row){
	    .id = c->id,
	    .kind = c->kind,
	    .name = strdup(c->name ? c->name : channel_kind_name(c->kind)),
	    .capacity_bytes = c->capacity_bytes,
	    .remote = c->remote,
	    .ends = calloc(c->n_ends + 1, sizeof *row->ends),
	};
	if (!row->name || !row->ends)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_ends; i++) {
		int32_t pid = build_pid(b->a, c->ends[i].proc);
		if (pid)
			row->ends[row->n_ends++] = (struct channel_end){pid, c->ends[i].fd, c->ends[i].role};
	}
	return 0;
}

static int compare_channels(const void *x, const void *y)
{
	const struct channel_row *a = x, *b = y;
	return a->id < b->id ? -1 : a->id > b->id;
}

static int build_channels(struct build *b)
{
	const struct channels *c = &b->a->channels;
	b->p->channels = calloc(c->n, sizeof *b->p->channels);
	if (!b->p->channels)
		return -ENOMEM;
	for (size_t i = 1; i < c->n; i++) {
		if (!c->list[i].id || c->list[i].into)
			continue;
		int rc = fill_channel(b, &c->list[i], &b->p->channels[b->p->n_channels++]);
		if (rc)
			return rc;
	}
	qsort(b->p->channels, b->p->n_channels, sizeof *b->p->channels, compare_channels);
	return 0;
}

/* ---- timeline ---- */

static int compare_intervals(const void *x, const void *y)
{
	const struct interval_row *a = x, *b = y;
	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static int build_timeline(struct build *b)
{
	struct profile *p = b->p;
	const struct tree *t = &b->a->tree;
	p->timeline_step_ns = b->a->timeline.step_ns;
	p->intervals = calloc(b->a->timeline.n_cells + 1, sizeof *p->intervals);
	if (!p->intervals)
		return -ENOMEM;
	for (size_t i = 1; i < t->n_procs; i++) {
		const struct proc *q = &t->procs[i];
		for (uint32_t k = 0; shown(q) && q->row_pid && k < q->n_cells; k++) {
			const struct timeline_cell *c = &q->cells[k];
			if (!c->on_cpu_ns && !c->run_queue_ns && !c->blocked_ns && !c->waits)
				continue;
			p->intervals[p->n_intervals++] = (struct interval_row){
			    .index = q->first_cell + k,
			    .pid = q->row_pid,
			    .on_cpu_ns = c->on_cpu_ns,
			    .run_queue_ns = c->run_queue_ns,
			    .blocked_ns = c->blocked_ns,
			    .waits = c->waits,
			    .top_class = c->vote_class,
			};
		}
	}
	qsort(p->intervals, p->n_intervals, sizeof *p->intervals, compare_intervals);
	return 0;
}

/* ---- the whole ---- */

static void fill_meta(struct build *b)
{
	const struct aggregator *a = b->a;
	struct profile_meta *m = &b->p->meta;
	m->cpus = a->cpus;
	m->start_ns = a->start_ns;
	m->end_ns = b->end_ns;
	m->lost_events = a->lost_events + a->rejected;
	m->lost_stacks = a->lost_stacks;
	m->n_events = a->n_events;
	m->window_ns = a->window.covered_ns;
	for (size_t i = 0; i < b->p->n_threads; i++)
		m->lost_ns += b->p->threads[i].ledger.lost_ns;
}

/* The window hooks speak in the event stream's ids. */
static void translate_ids(struct build *b, uint32_t *channel, uint32_t *stack_ix)
{
	if (channel && *channel) {
		uint32_t ix = channels_of_id(&b->a->channels, *channel);
		*channel = b->a->channels.list[ix].id;
	}
	if (stack_ix)
		*stack_ix = code_export_stack(&b->code, *stack_ix);
}

static int finish_windows(struct build *b)
{
	struct profile *p = b->p;
	const struct window_hooks *h = &b->a->window.hooks;
	int rc = h->finish ? h->finish(h->ctx, p) : 0;
	if (rc)
		return rc;
	for (size_t i = 0; i < p->n_blames; i++)
		translate_ids(b, &p->blames[i].channel, &p->blames[i].stack_ix);
	for (size_t i = 0; i < p->n_critical; i++)
		translate_ids(b, &p->critical[i].channel, &p->critical[i].stack_ix);
	for (size_t i = 0; i < p->n_hops; i++)
		translate_ids(b, &p->hops[i].channel, NULL);
	for (size_t i = 0; i < p->n_flows; i++)
		translate_ids(b, &p->flows[i].channel, NULL);
	for (size_t i = 0; i < p->n_trace; i++)
		translate_ids(b, &p->trace[i].channel, &p->trace[i].stack_ix);
	build_sampled_pairs(p);
	return 0;
}

static int build(struct build *b)
{
	code_export_begin(&b->code, &b->a->code, b->p);
	int rc = build_processes(b);
	if (!rc)
		rc = build_channels(b);
	if (!rc)
		rc = build_graph(b);
	if (!rc)
		rc = build_timeline(b);
	if (!rc)
		fill_meta(b);
	if (!rc)
		rc = finish_windows(b);
	code_export_end(&b->code);
	if (!rc && b->code.failed)
		rc = -ENOMEM;
	return rc ? rc : findings_run(b->p);
}

int aggregator_profile(struct aggregator *a, struct profile **out, struct err *err)
{
	compact(a, a->now_ns);
	struct build b = {.a = a, .p = profile_new(), .end_ns = a->now_ns};
	int rc = b.p ? build(&b) : -ENOMEM;
	if (rc) {
		profile_free(b.p);
		return err_set(err, rc, "build the profile: %s; free some memory", strerror(-rc));
	}
	*out = b.p;
	return 0;
}
