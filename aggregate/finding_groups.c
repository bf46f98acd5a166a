/* SPDX-License-Identifier: Apache-2.0
 *
 * "Siblings are one": which processes play the same role. In: processes and conversations; out: a group number per process.
 * Roles start from the command (name, program, parent, first argument without its numbers) and are then refined by position:
 * two processes stay in one group while they wait for, and are awaited by, the same groups (colour refinement, as for graph
 * isomorphism). So thirty equal workers are one role, and the five stages that one program forked are five.
 */
#include "aggregate/finding_rules.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 4

/* A peer that accounts for less than this share of a process's waits says nothing about its role. */
#define MINOR_SHARE 0.02

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0xff51afd7ed558ccdu;
	return h ^ (h >> 32);
}

/* Servers write what they are doing into their command line ("postgres: bench [local] SELECT"): digits vary, and so does all from
 * the first bracket on. */
static uint64_t mix_text(uint64_t h, const char *s)
{
	for (; s && *s && *s != '[' && *s != '('; s++)
		if (!isdigit((unsigned char)*s))
			h = mix(h, (unsigned char)*s);
	return mix(h, 256);
}

static uint64_t command_colour(const struct process_row *p)
{
	uint64_t h = mix(1, (uint64_t)(uint32_t)p->ppid);
	h = mix_text(h, p->comm);
	h = mix_text(h, p->exe);
	return mix_text(h, p->cmdline ? p->cmdline[0] : NULL);
}

struct link {
	size_t process;
	uint64_t colour;
};

static int cmp_link(const void *a, const void *b)
{
	const struct link *x = a, *y = b;
	if (x->process != y->process)
		return x->process < y->process ? -1 : 1;
	return x->colour < y->colour ? -1 : x->colour > y->colour;
}

static bool writes(const struct talk_side *s)
{
	return 2 * (s->by_class[WC_PIPE_WRITE] + s->by_class[WC_UNIX_WRITE] + s->by_class[WC_TCP_WRITE]) > s->count;
}

/* One link per process and direction of each conversation that matters to it. */
static size_t list_links(const struct finding_context *c, const uint64_t *colour, const uint64_t *total, struct link *links)
{
	size_t n = 0;
	for (size_t i = 0; i < c->n_talks; i++) {
		const struct talk *t = &c->talks[i];
		for (unsigned side = 0; side < 2; side++) {
			const struct talk_side *s = &t->side[side];
			const struct process_info *me = finding_process(c, t->pid[side]), *peer = finding_process(c, t->pid[!side]);
			if (!me || !peer || !s->count)
				continue;
			size_t m = (size_t)(me - c->processes), p = (size_t)(peer - c->processes);
			if ((double)s->count >= MINOR_SHARE * (double)total[m])
				links[n++] = (struct link){m, mix(colour[p], 2 + writes(s))};
			if ((double)s->count >= MINOR_SHARE * (double)total[p])
				links[n++] = (struct link){p, mix(colour[m], 4 + writes(s))};
		}
	}
	qsort(links, n, sizeof(*links), cmp_link);
	return n;
}

static void refine(const struct finding_context *c, uint64_t *colour, const uint64_t *total, struct link *links)
{
	size_t n = list_links(c, colour, total, links);
	for (size_t i = 0; i < n; i++) /* equal links count once: thirty workers or twenty-nine, the hub is a hub */
		if (!i || cmp_link(&links[i - 1], &links[i]) != 0)
			colour[links[i].process] = mix(colour[links[i].process], links[i].colour);
}

static int cmp_group(const void *a, const void *b, void *ctx)
{
	const struct process_info *p = ctx;
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	if (p[x].group != p[y].group)
		return p[x].group < p[y].group ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* Chains the members of each role, in the order of the profile's rows. */
static bool chain_roles(struct finding_context *c)
{
	size_t n = c->p->n_processes, *order = calloc(n + 1, sizeof(*order));
	for (size_t i = 0; i < n && order; i++)
		order[i] = i;
	if (order)
		qsort_r(order, n, sizeof(*order), cmp_group, c->processes);
	for (size_t i = 0, lead = 0; i < n && order; i++) {
		struct process_info *p = &c->processes[order[i]];
		bool first = !i || c->processes[order[i - 1]].group != p->group;
		lead = first ? order[i] : lead;
		p->lead = lead;
		p->next = SIZE_MAX;
		if (!first)
			c->processes[order[i - 1]].next = order[i];
		c->processes[lead].role_size += p->row->n_siblings > 1 ? p->row->n_siblings : 1;
	}
	for (size_t i = 0; i < n && order; i++)
		c->processes[i].role_size = c->processes[c->processes[i].lead].role_size;
	free(order);
	return order != NULL;
}

int finding_group(struct finding_context *c)
{
	size_t n = c->p->n_processes;
	uint64_t *colour = calloc(n + 1, sizeof(*colour)), *total = calloc(n + 1, sizeof(*total));
	struct link *links = calloc(4 * c->n_talks + 1, sizeof(*links));
	bool ok = colour && total && links;
	for (size_t i = 0; i < n && ok; i++)
		colour[i] = c->processes[i].command = command_colour(&c->p->processes[i]);
	for (size_t i = 0; i < c->n_talks && ok; i++)
		for (unsigned side = 0; side < 2; side++)
			for (unsigned who = 0; who < 2; who++) {
				const struct process_info *p = finding_process(c, c->talks[i].pid[who]);
				if (p)
					total[p - c->processes] += c->talks[i].side[side].count;
			}
	for (unsigned round = 0; round < ROUNDS && ok && c->n_talks; round++)
		refine(c, colour, total, links);
	for (size_t i = 0; i < n && ok; i++)
		c->processes[i].group = colour[i];
	ok = ok && chain_roles(c);
	free(colour);
	free(total);
	free(links);
	return ok ? 0 : -1;
}
