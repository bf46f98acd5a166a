/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums of evidence that several rules ask for. In: rows of the profile; out: shares and the rows that matter most.
 */
#include "aggregate/finding_rules.h"

#include <stdio.h>
#include <string.h>

/* Fewer samples than this do not tell where the time goes. */
#define MIN_SAMPLES 20

static double share(double x, double of)
{
	return of > 0 ? x / of : 0;
}

double finding_critical(const struct finding_context *c, enum blame_kind kind, int32_t pid)
{
	double ns = 0;
	const struct process_info *p = pid ? finding_process(c, pid) : NULL;
	if (p) {
		for (size_t i = p->lead; i != SIZE_MAX; i = c->processes[i].next)
			ns += c->processes[i].critical_ns[kind];
	} else if (!pid) {
		for (size_t i = 0; i < c->p->n_critical; i++)
			ns += c->p->critical[i].kind == kind ? (double)c->p->critical[i].ns : 0;
	}
	ns = share(ns, c->path_ns);
	return ns < 1 ? ns : 1;
}

double finding_parallelism(const struct finding_context *c)
{
	double sum = 0, time = 0;
	for (size_t i = 0; i < c->p->n_parallel; i++) {
		if (!c->p->parallel[i].n)
			continue;
		sum += (double)c->p->parallel[i].n * (double)c->p->parallel[i].ns;
		time += (double)c->p->parallel[i].ns;
	}
	return share(sum, time);
}

double finding_busy(const struct finding_context *c, int32_t pid)
{
	const struct process_info *i = finding_process(c, pid);
	return i && i->load ? share((double)i->load->run_ns, c->window_ns) : 0;
}

double finding_next_busiest(const struct finding_context *c, int32_t pid)
{
	double most = 0;
	for (size_t i = 0; i < c->p->n_loads; i++) {
		const struct load_row *l = &c->p->loads[i];
		const struct process_info *p = l->pid != pid ? finding_process(c, l->pid) : NULL;
		if (p && p->row->in_tree && share((double)l->run_ns, c->window_ns) > most)
			most = share((double)l->run_ns, c->window_ns);
	}
	return most;
}

/* Blame rows are a few thousand, grouped by nothing: one pass per question; victims are told apart by a small list. */
#define MAX_VICTIMS 64
unsigned finding_victims(const struct finding_context *c, enum blame_kind kind, int32_t pid, int32_t *victims, unsigned max)
{
	int32_t seen[MAX_VICTIMS];
	double ns[MAX_VICTIMS];
	unsigned n = 0, found = 0;
	for (size_t i = 0; i < c->p->n_blames; i++) {
		const struct blame_row *b = &c->p->blames[i];
		if (b->kind != kind || b->pid != pid || b->waiter_pid == pid)
			continue;
		unsigned j = 0;
		while (j < n && seen[j] != b->waiter_pid)
			j++;
		if (j == n && n < MAX_VICTIMS) {
			seen[j] = b->waiter_pid;
			ns[n++] = 0;
		}
		if (j < n)
			ns[j] += (double)b->ns;
	}
	for (unsigned j = 0; j < n; j++)
		if (ns[j] > 0.05 * c->window_ns) {
			if (found < max)
				victims[found] = seen[j];
			found++;
		}
	return found;
}

static bool leaf_in_kernel(const struct profile *p, uint32_t stack_ix)
{
	const struct stack_row *s = &p->stacks[stack_ix];
	return s->n && s->frame_ix[0] < p->n_frames && p->frames[s->frame_ix[0]].language == LANG_KERNEL;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_line(const struct frame_row *a, const struct frame_row *b)
{
	return a->line == b->line && same_text(a->file, b->file) && same_text(a->function, b->function);
}

/* A process has few distinct hot lines: the candidates are kept in a short list, the rest cannot be the hottest unless the list
 * overflows with lines of equal weight. */
#define MAX_LINES 256
double finding_hot_line(const struct finding_context *c, int32_t pid, uint32_t *stack_ix, uint32_t *frame_ix)
{
	const struct profile *p = c->p;
	const struct process_info *info = finding_process(c, pid);
	struct {
		uint32_t frame, stack;
		uint64_t samples, most;
	} lines[MAX_LINES];
	size_t n = 0, best = 0;
	if (!info || info->samples < MIN_SAMPLES)
		return 0;
	for (size_t i = 0; i < p->n_cpu; i++) {
		if (p->cpu[i].pid != pid || p->cpu[i].stack_ix >= p->n_stacks || leaf_in_kernel(p, p->cpu[i].stack_ix))
			continue;
		uint32_t f = finding_user_frame(c, p->cpu[i].stack_ix);
		size_t j = 0;
		while (f != IX_NONE && j < n && !same_line(&p->frames[lines[j].frame], &p->frames[f]))
			j++;
		if (f == IX_NONE || j == MAX_LINES)
			continue;
		if (j == n) {
			lines[n].frame = f;
			lines[n].samples = lines[n].most = 0;
			n++;
		}
		lines[j].samples += p->cpu[i].samples;
		if (p->cpu[i].samples >= lines[j].most) {
			lines[j].most = p->cpu[i].samples;
			lines[j].stack = p->cpu[i].stack_ix;
		}
		if (lines[j].samples > lines[best].samples)
			best = j;
	}
	if (!n)
		return 0;
	*stack_ix = lines[best].stack;
	*frame_ix = lines[best].frame;
	return share((double)lines[best].samples, (double)info->samples);
}

uint32_t finding_hot_stack(const struct finding_context *c, int32_t pid)
{
	uint32_t stack = 0, frame;
	if (finding_hot_line(c, pid, &stack, &frame) > 0)
		return stack;
	const struct process_info *info = finding_process(c, pid);
	return info && info->top_cpu != SIZE_MAX ? c->p->cpu[info->top_cpu].stack_ix : 0;
}

double finding_cpu_outside(const struct finding_context *c, int32_t pid, uint32_t frame_ix)
{
	const struct profile *p = c->p;
	const struct process_info *info = finding_process(c, pid);
	if (!info || info->samples < MIN_SAMPLES || frame_ix >= p->n_frames)
		return -1;
	uint64_t outside = 0;
	for (size_t i = 0; i < p->n_cpu; i++) {
		if (p->cpu[i].pid != pid || p->cpu[i].stack_ix >= p->n_stacks)
			continue;
		const struct stack_row *s = &p->stacks[p->cpu[i].stack_ix];
		bool inside = finding_is_system_call(&p->frames[s->n && s->frame_ix[0] < p->n_frames ? s->frame_ix[0] : 0]);
		for (uint32_t j = 0; j < s->n && !inside; j++) {
			const struct frame_row *f = s->frame_ix[j] < p->n_frames ? &p->frames[s->frame_ix[j]] : NULL;
			inside = f && same_text(f->function, p->frames[frame_ix].function) &&
				 same_text(f->file, p->frames[frame_ix].file);
		}
		outside += inside ? 0 : p->cpu[i].samples;
	}
	return share((double)outside, (double)info->samples) * (double)info->row->ledger.on_cpu_ns;
}

const struct wait_row *finding_top_wait(const struct finding_context *c, int32_t pid, enum wait_class cls)
{
	const struct wait_row *best = NULL;
	for (size_t i = 0; i < c->p->n_waits; i++) {
		const struct wait_row *w = &c->p->waits[i];
		if (w->pid != pid || (cls != WC_COUNT && w->cls != cls))
			continue;
		if (!best || w->blocked_ns + w->idle_ns > best->blocked_ns + best->idle_ns)
			best = w;
	}
	return best;
}

char *finding_list(const struct finding_context *c, const int32_t *pids, size_t n, char buf[FINDING_SITE])
{
	char name[FINDING_NAME];
	if (n == 1)
		return snprintf(buf, FINDING_SITE, "%s", finding_name(c, pids[0], name)), buf;
	const struct process_info *i = n ? finding_process(c, pids[0]) : NULL;
	int at = snprintf(buf, FINDING_SITE, "%zu %s (pids", n, i && i->row->comm ? i->row->comm : "processes");
	for (size_t k = 0; k < n && k < 4 && at < FINDING_SITE - 20; k++)
		at += snprintf(buf + at, (size_t)(FINDING_SITE - at), "%s %d", k ? "," : "", pids[k]);
	snprintf(buf + at, (size_t)(FINDING_SITE - at), n > 4 ? ", ...)" : ")");
	return buf;
}
