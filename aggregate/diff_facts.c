/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles -> facts. In: runs and their roles; out: one row per metric, dimensions and run, not normalised. Where a metric is
 * known exactly for a process and only in proportion below it (CPU time by stack, from samples), the parts are scaled to the
 * exact sum, so that every grouping of the facts adds up to what the ledger says.
 */
#include "aggregate/diff_internal.h"
#include "aggregate/finding_rules.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STACK_FRAMES 24 /* call sites told per stack: deeper ones are the same for all */

/* One run while its facts are made. */
struct run {
	struct diff_builder *b;
	uint32_t ix;
	const struct profile *p;
	struct diff_key *sites; /* per stack row: function and stack, DIFF_ANY when not yet or unknown */
	bool *site_known;
	const struct channel_row **channels; /* by id */
};

static const struct diff_key no_key = {DIFF_ANY, DIFF_ANY, DIFF_ANY, DIFF_ANY, DIFF_ANY, DIFF_ANY};

static void add(struct run *r, unsigned metric, const struct diff_key *key, double value)
{
	struct diff *d = r->b->d;

	if (value == 0)
		return;
	if (d->n_facts == r->b->facts_capacity) {
		size_t capacity = d->n_facts ? d->n_facts * 2 : 1024;
		struct diff_fact *grown = realloc(d->facts, capacity * sizeof *grown);
		if (!grown) {
			r->b->out_of_memory = true;
			return;
		}
		d->facts = grown;
		r->b->facts_capacity = capacity;
	}
	d->facts[d->n_facts++] = (struct diff_fact){.metric = metric, .run = r->ix, .key = *key, .value = value};
}

/* --- stacks and functions --- */

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path ? path : "";
}

/* Identity of a frame across versions: no line, since lines move when a file is edited. */
static uint32_t add_function(struct run *r, const struct frame_row *f, bool in_kernel)
{
	struct diff *d = r->b->d;
	struct diff_function *grown;
	char *key = NULL, *where = NULL;
	uint32_t ix;
	int n;

	if (asprintf(&key, "%d%s\n%s", in_kernel, f->function, f->file ? base_name(f->file) : base_name(f->module)) < 0)
		return DIFF_ANY;
	ix = intern_add(&r->b->functions, key);
	free(key);
	if (ix == DIFF_ANY || ix < d->n_functions)
		return ix;
	grown = realloc(d->functions, (d->n_functions + 1) * sizeof *grown);
	if (!grown)
		return DIFF_ANY;
	d->functions = grown;
	if (f->file && f->line)
		n = asprintf(&where, "%s:%u", base_name(f->file), f->line);
	else
		n = asprintf(&where, "%s", base_name(f->file ? f->file : f->module));
	d->functions[ix] =
		(struct diff_function){.name = strdup(f->function), .where = n < 0 ? NULL : where, .in_kernel = in_kernel};
	if (!d->functions[ix].name || !d->functions[ix].where)
		r->b->out_of_memory = true;
	d->n_functions++;
	return ix;
}

/* "leaf < caller < main": functions only. Kernel frames are one: which they are differs from wait to wait. */
static uint32_t add_stack(struct run *r, const struct stack_row *s)
{
	char text[4096];
	size_t n = 0;
	bool kernel = false;

	for (uint32_t i = 0, told = 0; i < s->n && told < STACK_FRAMES; i++) {
		const struct frame_row *f = &r->p->frames[s->frame_ix[i]];
		int w;
		if (f->language == LANG_KERNEL && kernel)
			continue;
		kernel = f->language == LANG_KERNEL;
		w = snprintf(text + n, sizeof text - n, "%s%s", told ? " < " : "", kernel ? DIFF_KERNEL_FRAME : f->function);
		if (w < 0 || (size_t)w >= sizeof text - n)
			break; /* a cut stack is one of its own */
		n += (size_t)w;
		told++;
	}
	text[n] = 0;
	return intern_add(&r->b->stacks, text);
}

static void find_site(struct run *r, uint32_t stack_ix)
{
	struct finding_context c = {.p = (struct profile *)r->p};
	const struct stack_row *s = &r->p->stacks[stack_ix];
	bool in_kernel = r->p->frames[s->frame_ix[0]].language == LANG_KERNEL;
	uint32_t frame = finding_user_frame(&c, stack_ix);

	if (frame >= r->p->n_frames)
		frame = s->frame_ix[0];
	r->sites[stack_ix] = no_key;
	r->sites[stack_ix].function = add_function(r, &r->p->frames[frame], in_kernel);
	r->sites[stack_ix].stack = add_stack(r, s);
	if (r->sites[stack_ix].function == DIFF_ANY || r->sites[stack_ix].stack == DIFF_ANY)
		r->b->out_of_memory = true;
	r->site_known[stack_ix] = true;
}

static void set_site(struct run *r, struct diff_key *key, uint32_t stack_ix)
{
	if (stack_ix >= r->p->n_stacks || r->p->stacks[stack_ix].n == 0)
		return;
	if (!r->site_known[stack_ix])
		find_site(r, stack_ix);
	key->function = r->sites[stack_ix].function;
	key->stack = r->sites[stack_ix].stack;
}

/* --- processes --- */

/* CPU time: samples say where, the ledger says how much. */
static void add_cpu(struct run *r)
{
	double *est = calloc(r->p->n_processes + 1, sizeof *est);

	if (!est) {
		r->b->out_of_memory = true;
		return;
	}
	for (size_t i = 0; i < r->p->n_cpu; i++) {
		uint32_t row = diff_row_of_pid(r->b, r->ix, r->p->cpu[i].pid);
		if (row != IX_NONE)
			est[row] += (double)r->p->cpu[i].est_ns;
	}
	for (size_t k = 0; k < r->p->n_processes; k++) {
		struct diff_key key = no_key;
		key.process = r->b->role_of[r->ix][k];
		if (r->p->processes[k].in_tree && est[k] == 0)
			add(r, DIFF_CPU, &key, (double)r->p->processes[k].ledger.on_cpu_ns);
	}
	for (size_t i = 0; i < r->p->n_cpu; i++) {
		uint32_t row = diff_row_of_pid(r->b, r->ix, r->p->cpu[i].pid);
		struct diff_key key = no_key;
		double ns;
		if (row == IX_NONE || !r->p->processes[row].in_tree || est[row] == 0)
			continue;
		key.process = r->b->role_of[r->ix][row];
		set_site(r, &key, r->p->cpu[i].stack_ix);
		ns = (double)r->p->cpu[i].est_ns / est[row] * (double)r->p->processes[row].ledger.on_cpu_ns;
		add(r, DIFF_CPU, &key, ns);
		if (key.function != DIFF_ANY && !r->b->d->functions[key.function].in_kernel)
			add(r, DIFF_USER_CPU, &key, ns);
	}
	free(est);
}

static void add_processes(struct run *r)
{
	for (size_t k = 0; k < r->p->n_processes; k++) {
		const struct process_row *p = &r->p->processes[k];
		struct diff_key key = no_key;
		if (!p->in_tree)
			continue;
		key.process = r->b->role_of[r->ix][k];
		add(r, DIFF_PROCESSES, &key, p->n_siblings ? p->n_siblings : 1);
		add(r, DIFF_RUN_QUEUE, &key, (double)p->ledger.run_queue_ns);
		add(r, DIFF_SWITCHES, &key, (double)(p->ledger.waits + p->ledger.preemptions));
		add(r, DIFF_MESSAGES, &key, (double)p->wr_calls);
		add(r, DIFF_BYTES, &key, (double)p->wr_bytes);
		add(r, DIFF_READS, &key, (double)p->rd_calls);
	}
}

static int cmp_channel(const void *a, const void *b)
{
	const struct channel_row *x = *(const struct channel_row *const *)a, *y = *(const struct channel_row *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static uint32_t kind_of(const struct run *r, uint32_t channel)
{
	struct channel_row key = {.id = channel};
	const struct channel_row *k = &key, **c;

	c = channel ? bsearch(&k, r->channels, r->p->n_channels, sizeof *r->channels, cmp_channel) : NULL;
	return c ? (uint32_t)(*c)->kind : CH_NONE;
}

static bool in_tree(const struct run *r, uint32_t role)
{
	return role != DIFF_ANY && !r->b->d->roles[role].outside;
}

static void add_waits(struct run *r)
{
	for (size_t i = 0; i < r->p->n_waits; i++) {
		const struct wait_row *w = &r->p->waits[i];
		struct diff_key key = no_key;
		key.process = diff_role_of_pid(r->b, r->ix, w->pid);
		if (!in_tree(r, key.process) || w->cls == WC_NONE)
			continue;
		key.cls = w->cls;
		key.channel = kind_of(r, w->channel);
		set_site(r, &key, w->stack_ix);
		add(r, DIFF_WAITS, &key, (double)w->count);
		add(r, DIFF_BLOCKED, &key, (double)w->blocked_ns);
		add(r, DIFF_IDLE, &key, (double)w->idle_ns);
		r->b->d->estimated |= w->estimated;
	}
}

static double window_scale(const struct run *r)
{
	double wall = (double)(r->p->meta.end_ns - r->p->meta.start_ns);

	return r->p->meta.window_ns ? wall / (double)r->p->meta.window_ns : 0;
}

static void add_critical(struct run *r)
{
	double scale = window_scale(r);

	for (size_t i = 0; i < r->p->n_critical; i++) {
		const struct critical_row *c = &r->p->critical[i];
		struct diff_key key = no_key;
		key.process = diff_role_of_pid(r->b, r->ix, c->pid);
		key.cls = c->cls;
		if (c->kind != BLAME_RUN && c->kind != BLAME_RUN_QUEUE) {
			key.channel = kind_of(r, c->channel);
			set_site(r, &key, c->stack_ix);
		}
		add(r, DIFF_CRITICAL, &key, (double)c->ns * scale);
	}
}

/* --- pairs of processes --- */

/* One unordered pair of PIDs, and how often each waited for the other. */
struct pair {
	int32_t a, b; /* a < b */
	uint32_t role_a, role_b, channel;
	double a_waits, b_waits, heaviest;
};

static int cmp_edge(const void *x, const void *y, void *ctx)
{
	const struct edge_row *rows = ctx, *e = &rows[*(const size_t *)x], *f = &rows[*(const size_t *)y];
	int32_t e_lo = e->waiter_pid < e->waker_pid ? e->waiter_pid : e->waker_pid;
	int32_t f_lo = f->waiter_pid < f->waker_pid ? f->waiter_pid : f->waker_pid;
	int32_t e_hi = e->waiter_pid < e->waker_pid ? e->waker_pid : e->waiter_pid;
	int32_t f_hi = f->waiter_pid < f->waker_pid ? f->waker_pid : f->waiter_pid;

	if (e_lo != f_lo)
		return e_lo < f_lo ? -1 : 1;
	return e_hi < f_hi ? -1 : e_hi > f_hi;
}

/* A writer that waits for room waits for no answer. */
static bool waits_for_answer(const struct edge_row *e)
{
	return e->cls != WC_PIPE_WRITE && e->cls != WC_UNIX_WRITE && e->cls != WC_TCP_WRITE;
}

/* On one CPU a process is often preempted by the peer that it has just woken, and finds the answer when it runs again: a hand-off
 * is a round trip without a wait. They are known within the analysed windows only. */
static void add_hand_offs(const struct run *r, struct pair *pair)
{
	double scale = window_scale(r);

	for (size_t i = 0; i < r->p->n_pairs; i++) {
		const struct pair_row *p = &r->p->pairs[i];
		if (p->pid_a != pair->a || p->pid_b != pair->b)
			continue;
		pair->a_waits += (double)p->a_hands_b * scale;
		pair->b_waits += (double)p->b_hands_a * scale;
	}
}

/* Both sides wait for the other now and then: a conversation. A stream's reader waits too, but its writer for no answer. */
static void end_pair(struct run *r, struct pair *pair)
{
	struct diff_key key = no_key;
	double less, more;

	if (!pair->heaviest || !in_tree(r, pair->role_a) || !in_tree(r, pair->role_b))
		return;
	add_hand_offs(r, pair);
	less = pair->a_waits < pair->b_waits ? pair->a_waits : pair->b_waits;
	more = pair->a_waits < pair->b_waits ? pair->b_waits : pair->a_waits;
	if (less < 0.01 * more)
		return;
	key.process = pair->role_a < pair->role_b ? pair->role_a : pair->role_b;
	key.peer = pair->role_a < pair->role_b ? pair->role_b : pair->role_a;
	key.channel = pair->channel;
	add(r, DIFF_ROUND_TRIPS, &key, more);
}

static void add_edge(struct run *r, const struct edge_row *e, uint32_t waiter, uint32_t waker)
{
	struct diff_key key = no_key;

	key.process = waiter;
	key.peer = waker;
	key.cls = e->cls;
	key.channel = kind_of(r, e->channel);
	set_site(r, &key, e->waiter_stack_ix);
	if (in_tree(r, waiter)) {
		add(r, FACT_WAITS_ON, &key, (double)e->count);
		add(r, FACT_BLOCKED_ON, &key, (double)e->blocked_ns);
	}
	key.process = waker;
	key.peer = waiter;
	key.function = key.stack = DIFF_ANY;
	set_site(r, &key, e->waker_stack_ix);
	if (in_tree(r, waker)) {
		add(r, FACT_MESSAGES_TO, &key, (double)e->bytes.total_count);
		add(r, FACT_BYTES_TO, &key, (double)e->bytes.total_bytes);
	}
}

static void add_edges(struct run *r)
{
	size_t *order = malloc((r->p->n_edges + 1) * sizeof *order);
	struct pair pair = {0};

	if (!order) {
		r->b->out_of_memory = true;
		return;
	}
	for (size_t i = 0; i < r->p->n_edges; i++)
		order[i] = i;
	qsort_r(order, r->p->n_edges, sizeof *order, cmp_edge, r->p->edges);
	for (size_t i = 0; i < r->p->n_edges; i++) {
		const struct edge_row *e = &r->p->edges[order[i]];
		int32_t lo = e->waiter_pid < e->waker_pid ? e->waiter_pid : e->waker_pid;
		int32_t hi = e->waiter_pid < e->waker_pid ? e->waker_pid : e->waiter_pid;
		uint32_t waiter = diff_role_of_pid(r->b, r->ix, e->waiter_pid),
			 waker = diff_role_of_pid(r->b, r->ix, e->waker_pid);
		add_edge(r, e, waiter, waker);
		if (e->waiter_pid == e->waker_pid || !waits_for_answer(e))
			continue;
		if (lo != pair.a || hi != pair.b) {
			end_pair(r, &pair);
			pair = (struct pair){.a = lo, .b = hi, .channel = CH_NONE};
			pair.role_a = lo == e->waiter_pid ? waiter : waker;
			pair.role_b = lo == e->waiter_pid ? waker : waiter;
		}
		*(lo == e->waiter_pid ? &pair.a_waits : &pair.b_waits) += (double)e->count;
		if ((double)e->count > pair.heaviest) {
			pair.heaviest = (double)e->count;
			pair.channel = kind_of(r, e->channel);
		}
	}
	end_pair(r, &pair);
	free(order);
}

static void add_run(struct run *r)
{
	struct diff_key key = no_key;

	r->sites = malloc((r->p->n_stacks + 1) * sizeof *r->sites);
	r->site_known = calloc(r->p->n_stacks + 1, sizeof *r->site_known);
	r->channels = malloc((r->p->n_channels + 1) * sizeof *r->channels);
	if (!r->sites || !r->site_known || !r->channels) {
		r->b->out_of_memory = true;
	} else {
		for (size_t i = 0; i < r->p->n_channels; i++)
			r->channels[i] = &r->p->channels[i];
		qsort(r->channels, r->p->n_channels, sizeof *r->channels, cmp_channel);
		add(r, DIFF_WALL, &key, (double)(r->p->meta.end_ns - r->p->meta.start_ns));
		add_processes(r);
		add_cpu(r);
		add_waits(r);
		add_critical(r);
		add_edges(r);
	}
	free(r->sites);
	free(r->site_known);
	free(r->channels);
}

int diff_facts_build(struct diff_builder *b)
{
	for (uint32_t i = 0; i < b->d->n_base + b->d->n_new && !b->out_of_memory; i++) {
		struct run r = {.b = b, .ix = i, .p = diff_run_at(b->d, i)->profile};
		add_run(&r);
	}
	b->d->stacks = b->stacks.strings;
	b->d->n_stacks = b->stacks.n;
	b->stacks.strings = NULL;
	return b->out_of_memory ? -ENOMEM : 0;
}
