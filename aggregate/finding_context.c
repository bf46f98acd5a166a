/* SPDX-License-Identifier: Apache-2.0
 *
 * Look-ups that the rules share, made once per run of the rules: processes by pid, their roles, their CPU split into user and
 * kernel time, and edges summed to conversations. All of it is O(rows log rows).
 */
#include "aggregate/finding_rules.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int cmp_pid(const void *a, const void *b, void *ctx)
{
	const struct process_row *rows = ctx;
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	if (rows[x].pid != rows[y].pid)
		return rows[x].pid < rows[y].pid ? -1 : 1;
	return x < y ? -1 : x > y;
}

const struct process_info *finding_process(const struct finding_context *c, int32_t pid)
{
	size_t lo = 0, hi = c->p->n_processes;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (c->p->processes[c->by_pid[mid]].pid < pid)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < c->p->n_processes && c->p->processes[c->by_pid[lo]].pid == pid)
		return &c->processes[c->by_pid[lo]];
	return NULL;
}

double finding_ramp(double x, double lo, double hi)
{
	double r = (x - lo) / (hi - lo);
	return r < 0 ? 0 : r > 1 ? 1 : r;
}

/* Wall time during which something of the tree lived: a wrapped command starts a little after the observation. */
static double tree_life(const struct profile *p)
{
	const struct profile_meta *m = &p->meta;
	uint64_t from = m->end_ns, to = m->start_ns;
	for (size_t i = 0; i < p->n_processes; i++) {
		const struct process_row *r = &p->processes[i];
		uint64_t end = r->ended_ns ? r->ended_ns : m->end_ns;
		if (!r->in_tree)
			continue;
		from = r->started_ns < from ? r->started_ns : from;
		to = end > to ? end : to;
	}
	from = from > m->start_ns ? from : m->start_ns;
	to = to < m->end_ns ? to : m->end_ns;
	return to > from ? (double)(to - from) : 0;
}

static void measure_lifetime(struct finding_context *c, struct process_info *i)
{
	const struct profile_meta *m = &c->p->meta;
	uint64_t from = i->row->started_ns > m->start_ns ? i->row->started_ns : m->start_ns;
	uint64_t to = i->row->ended_ns && i->row->ended_ns < m->end_ns ? i->row->ended_ns : m->end_ns;
	i->lifetime_ns = to > from ? (double)(to - from) : 0;
}

/* A sample that falls on the way into or out of the kernel is told as the C library's wrapper: the system call's price too. */
bool finding_is_system_call(const struct frame_row *f)
{
	static const char *const names[] = {"read",  "write",	"send",	 "recv",     "sendto",	   "recvfrom",	 "sendmsg",   "recvmsg",
					    "poll",  "ppoll",	"select", "pselect", "epoll_wait", "epoll_pwait", "syscall",   "futex",
					    "readv", "writev",	"pread64", "pwrite64", "__read",	   "__write",	 "accept",    "accept4",
					    "connect", "close", "nanosleep", "clock_nanosleep", "fsync", "fdatasync", "__send", "__recv"};
	if (f->language == LANG_KERNEL)
		return true;
	if (f->language != LANG_NATIVE || !f->module || !strstr(f->module, "libc") || !f->function)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(f->function, names[i]) == 0)
			return true;
	return strstr(f->function, "futex") || strstr(f->function, "lll_lock");
}

/* Splits on-CPU time by where the samples' leaves lie; without samples the split is unknown: both parts 0. */
static void split_cpu(struct finding_context *c)
{
	const struct profile *p = c->p;
	uint64_t *kernel = calloc(p->n_processes + 1, sizeof(*kernel));
	for (size_t i = 0; i < p->n_cpu && kernel; i++) {
		struct process_info *info = (struct process_info *)finding_process(c, p->cpu[i].pid);
		uint32_t s = p->cpu[i].stack_ix;
		if (!info)
			continue;
		info->samples += p->cpu[i].samples;
		if (info->top_cpu == SIZE_MAX || p->cpu[i].samples > p->cpu[info->top_cpu].samples)
			info->top_cpu = i;
		if (s < p->n_stacks && p->stacks[s].n && p->stacks[s].frame_ix[0] < p->n_frames &&
		    finding_is_system_call(&p->frames[p->stacks[s].frame_ix[0]]))
			kernel[info - c->processes] += p->cpu[i].samples;
	}
	for (size_t i = 0; i < p->n_processes && kernel; i++) {
		struct process_info *info = &c->processes[i];
		double share = info->samples ? (double)kernel[i] / (double)info->samples : 0;
		if (info->samples) {
			info->kernel_ns = share * (double)info->row->ledger.on_cpu_ns;
			info->user_ns = (double)info->row->ledger.on_cpu_ns - info->kernel_ns;
		}
	}
	if (!kernel)
		c->out_of_memory = true;
	free(kernel);
}

static int cmp_talk(const void *a, const void *b)
{
	const struct talk *x = a, *y = b;
	if (x->pid[0] != y->pid[0])
		return x->pid[0] < y->pid[0] ? -1 : 1;
	return x->pid[1] < y->pid[1] ? -1 : x->pid[1] > y->pid[1];
}

const struct talk *finding_talk(const struct finding_context *c, int32_t a, int32_t b)
{
	struct talk key = {.pid = {a < b ? a : b, a < b ? b : a}};
	return c->n_talks ? bsearch(&key, c->talks, c->n_talks, sizeof(*c->talks), cmp_talk) : NULL;
}

static void add_edge(struct talk *t, const struct edge_row *e, size_t ix)
{
	struct talk_side *s = &t->side[e->waiter_pid == t->pid[1]];
	s->count += e->count;
	s->blocked_ns += e->blocked_ns;
	s->run_queue_ns += e->run_queue_ns;
	if ((unsigned)e->cls < WC_COUNT)
		s->by_class[e->cls] += e->count;
	size_hist_merge(&s->bytes, &e->bytes);
	hist_merge(&s->hist, &e->hist);
	if (s->top_edge == SIZE_MAX || e->count > s->top_count) {
		s->top_edge = ix;
		s->top_count = e->count;
	}
	if (e->confidence < t->confidence)
		t->confidence = e->confidence;
	t->estimated |= e->estimated;
}

static bool is_talk(const struct edge_row *e)
{
	return e->waker_pid > 0 && e->waiter_pid != e->waker_pid;
}

struct pid_pair {
	int32_t pid[2];
};

static int cmp_pid_pair(const void *a, const void *b)
{
	const struct pid_pair *x = a, *y = b;
	if (x->pid[0] != y->pid[0])
		return x->pid[0] < y->pid[0] ? -1 : 1;
	return x->pid[1] < y->pid[1] ? -1 : x->pid[1] > y->pid[1];
}

/* All pairs that waited for each other, ascending and unique; those that only the windows saw (all turns were hand-offs, say)
 * included. */
static struct pid_pair *list_pairs(const struct profile *p, size_t *n_out)
{
	struct pid_pair *pairs = calloc(p->n_edges + p->n_pairs + 1, sizeof(*pairs));
	size_t n = 0, unique = 0;
	for (size_t i = 0; i < p->n_edges && pairs; i++) {
		const struct edge_row *e = &p->edges[i];
		bool up = e->waiter_pid < e->waker_pid;
		if (is_talk(e))
			pairs[n++] = (struct pid_pair){{up ? e->waiter_pid : e->waker_pid, up ? e->waker_pid : e->waiter_pid}};
	}
	for (size_t i = 0; i < p->n_pairs && pairs; i++)
		pairs[n++] = (struct pid_pair){{p->pairs[i].pid_a, p->pairs[i].pid_b}};
	if (n)
		qsort(pairs, n, sizeof(*pairs), cmp_pid_pair);
	for (size_t i = 0; i < n; i++)
		if (!unique || cmp_pid_pair(&pairs[unique - 1], &pairs[i]) != 0)
			pairs[unique++] = pairs[i];
	*n_out = unique;
	return pairs;
}

static void init_talk(const struct finding_context *c, struct talk *t, struct pid_pair pair)
{
	const struct process_info *a = finding_process(c, pair.pid[0]), *b = finding_process(c, pair.pid[1]);
	t->pid[0] = pair.pid[0];
	t->pid[1] = pair.pid[1];
	t->in_tree = a && b && a->row->in_tree && b->row->in_tree;
	t->side[0].top_edge = t->side[1].top_edge = SIZE_MAX;
	t->confidence = CONF_HIGH;
}

static int gather_talks(struct finding_context *c)
{
	const struct profile *p = c->p;
	struct pid_pair *pairs = list_pairs(p, &c->n_talks);
	c->talks = pairs ? calloc(c->n_talks + 1, sizeof(*c->talks)) : NULL;
	if (!c->talks) {
		free(pairs);
		c->n_talks = 0;
		return -ENOMEM;
	}
	for (size_t i = 0; i < c->n_talks; i++)
		init_talk(c, &c->talks[i], pairs[i]);
	free(pairs);
	for (size_t i = 0; i < p->n_edges; i++)
		if (is_talk(&p->edges[i]))
			add_edge((struct talk *)finding_talk(c, p->edges[i].waiter_pid, p->edges[i].waker_pid), &p->edges[i], i);
	for (size_t i = 0; i < p->n_pairs; i++)
		((struct talk *)finding_talk(c, p->pairs[i].pid_a, p->pairs[i].pid_b))->pair = &p->pairs[i];
	return 0;
}

/* What ended at each process: of the critical path, and of others' waits. */
static void sum_paths(struct finding_context *c)
{
	for (size_t i = 0; i < c->p->n_critical; i++) {
		const struct critical_row *r = &c->p->critical[i];
		struct process_info *info = (struct process_info *)finding_process(c, r->pid);
		if (info && (unsigned)r->kind < BLAME_COUNT)
			info->critical_ns[r->kind] += (double)r->ns;
	}
	for (size_t i = 0; i < c->p->n_blames; i++) {
		const struct blame_row *b = &c->p->blames[i];
		struct process_info *info = (struct process_info *)finding_process(c, b->pid);
		if (info && (unsigned)b->kind < BLAME_COUNT && b->waiter_pid != b->pid)
			info->blamed_ns[b->kind] += (double)b->ns;
	}
}

double finding_own_demand(const struct finding_context *c)
{
	return finding_ramp(c->demand / (c->p->meta.cpus ? c->p->meta.cpus : 1), 1.05, 1.5);
}

/* Run-queue time on the critical path is others' doing when the tree wants no more CPUs than there are and the delays are long
 * (wake-ups take microseconds). The rest of the path then tells the program's own shares. */
#define WAKEUP_NS 2e4
#define KEPT_OUT_NS 2e5
static void measure_path(struct finding_context *c)
{
	double out = 0;
	for (size_t i = 0; i < c->p->n_processes; i++) {
		const struct process_row *r = &c->p->processes[i];
		c->demand += r->in_tree && c->wall_ns > 0 ? (double)(r->ledger.on_cpu_ns + r->ledger.run_queue_ns) / c->wall_ns : 0;
	}
	for (size_t i = 0; i < c->p->n_critical; i++) {
		const struct critical_row *r = &c->p->critical[i];
		if (r->kind == BLAME_RUN_QUEUE && r->count)
			out += (double)r->ns * finding_ramp(log10((double)r->ns / (double)r->count + 1), log10(WAKEUP_NS), log10(KEPT_OUT_NS));
	}
	c->path_ns = c->window_ns - out * (1 - finding_own_demand(c));
	if (c->path_ns < 0.02 * c->window_ns)
		c->path_ns = 0.02 * c->window_ns;
}

int finding_context_init(struct finding_context *c, struct profile *p)
{
	memset(c, 0, sizeof(*c));
	c->p = p;
	c->wall_ns = tree_life(p);
	c->window_ns = (double)p->meta.window_ns < c->wall_ns ? (double)p->meta.window_ns : c->wall_ns;
	c->processes = calloc(p->n_processes + 1, sizeof(*c->processes));
	c->by_pid = calloc(p->n_processes + 1, sizeof(*c->by_pid));
	if (!c->processes || !c->by_pid)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_processes; i++) {
		c->by_pid[i] = i;
		c->processes[i].row = &p->processes[i];
		c->processes[i].top_cpu = SIZE_MAX;
		measure_lifetime(c, &c->processes[i]);
	}
	qsort_r(c->by_pid, p->n_processes, sizeof(*c->by_pid), cmp_pid, p->processes);
	split_cpu(c);
	for (size_t i = 0; i < p->n_loads; i++) {
		struct process_info *info = (struct process_info *)finding_process(c, p->loads[i].pid);
		if (info)
			info->load = &p->loads[i];
	}
	sum_paths(c);
	measure_path(c);
	return gather_talks(c) || finding_group(c) || c->out_of_memory ? -ENOMEM : 0;
}

void finding_context_fini(struct finding_context *c)
{
	free(c->processes);
	free(c->by_pid);
	free(c->talks);
	free(c->gain);
	memset(c, 0, sizeof(*c));
}
