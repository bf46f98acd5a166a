/* SPDX-License-Identifier: Apache-2.0
 *
 * In: hot stacks; out: own and total time of each source line. Frames are first mapped to lines (many frames share one), then
 * each stack is walked once, with a stamp per line so that recursion counts once. */
#include "report/view_lines.h"
#include "report/frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CMP(a, b) (((a) > (b)) - ((a) < (b)))

struct frame_line_key {
	const struct frame_row *f;
	uint32_t frame_ix;
};

static int cmp_frame_line(const void *pa, const void *pb)
{
	const struct frame_line_key *a = pa, *b = pb;
	int c = strcmp(a->f->file, b->f->file);

	if (!c)
		c = CMP(a->f->line, b->f->line);
	return c ? c : CMP(a->frame_ix, b->frame_ix);
}

struct line_index {
	uint32_t *line_of; /* per frame: row, IX_NONE: no source line */
	uint32_t *stamp;   /* per row: the last stack that counted it */
	struct line_row *rows;
	size_t n;
};

static void index_free(struct line_index *x)
{
	free(x->line_of);
	free(x->stamp);
	free(x->rows);
}

static int index_frames(const struct profile *p, struct line_index *x)
{
	struct frame_line_key *keys = calloc(p->n_frames + 1, sizeof *keys);
	size_t n = 0;

	*x = (struct line_index){malloc((p->n_frames + 1) * sizeof *x->line_of), NULL, calloc(p->n_frames + 1, sizeof *x->rows),
				 0};
	if (!keys || !x->line_of || !x->rows) {
		free(keys);
		return -ENOMEM;
	}
	for (size_t i = 0; i < p->n_frames; i++) {
		const struct frame_row *f = &p->frames[i];
		x->line_of[i] = IX_NONE;
		if (f->file && f->line && f->language != LANG_KERNEL && !frames_is_libc(f))
			keys[n++] = (struct frame_line_key){f, (uint32_t)i};
	}
	qsort(keys, n, sizeof *keys, cmp_frame_line);
	for (size_t i = 0; i < n; i++) {
		const struct frame_row *f = keys[i].f, *last = i ? keys[i - 1].f : NULL;
		if (!last || last->line != f->line || strcmp(last->file, f->file) != 0)
			x->rows[x->n++] = (struct line_row){f->file, f->line, f->function ? f->function : "", 0, 0};
		x->line_of[keys[i].frame_ix] = (uint32_t)x->n - 1;
	}
	free(keys);
	x->stamp = calloc(x->n + 1, sizeof *x->stamp);
	return x->stamp ? 0 : -ENOMEM;
}

static void count_stack(const struct profile *p, struct line_index *x, const struct view_hot *h, uint32_t stamp,
			struct line_table *out)
{
	const struct stack_row *s = h->stack_ix < p->n_stacks ? &p->stacks[h->stack_ix] : NULL;
	bool own = false;

	out->ns += h->ns;
	for (uint32_t i = 0; s && i < s->n; i++) {
		uint32_t line = s->frame_ix[i] < p->n_frames ? x->line_of[s->frame_ix[i]] : IX_NONE;
		if (line == IX_NONE)
			continue;
		if (!own)
			x->rows[line].own_ns += h->ns;
		own = true;
		if (x->stamp[line] != stamp)
			x->rows[line].total_ns += h->ns;
		x->stamp[line] = stamp;
	}
	if (!own)
		out->unlined_ns += h->ns;
}

struct file_rank {
	const char *file;
	uint64_t own_ns;
};

static int cmp_rank_name(const void *pa, const void *pb)
{
	const struct file_rank *a = pa, *b = pb;

	return strcmp(a->file, b->file);
}

static int cmp_rank_own(const void *pa, const void *pb)
{
	const struct file_rank *a = pa, *b = pb;
	int c = CMP(b->own_ns, a->own_ns);

	return c ? c : strcmp(a->file, b->file);
}

/* Rows stand by file name and line already; files are put in the order of their own time. */
static int order_files(struct line_table *t)
{
	struct file_rank *ranks = calloc(t->n + 1, sizeof *ranks);
	struct line_row *rows = malloc((t->n + 1) * sizeof *rows);
	size_t n_ranks = 0, n = 0;

	if (!ranks || !rows) {
		free(ranks);
		free(rows);
		return -ENOMEM;
	}
	for (size_t i = 0; i < t->n; i++) {
		if (!n_ranks || cmp_rank_name(&ranks[n_ranks - 1], &(struct file_rank){t->rows[i].file, 0}) != 0)
			ranks[n_ranks++].file = t->rows[i].file;
		ranks[n_ranks - 1].own_ns += t->rows[i].own_ns;
	}
	qsort(ranks, n_ranks, sizeof *ranks, cmp_rank_own);
	for (size_t r = 0; r < n_ranks; r++)
		for (size_t i = 0; i < t->n; i++)
			if (strcmp(t->rows[i].file, ranks[r].file) == 0)
				rows[n++] = t->rows[i];
	free(ranks);
	free(t->rows);
	t->rows = rows;
	return 0;
}

int view_lines(const struct view *v, uint32_t group, enum wait_class cls, struct line_table *out)
{
	struct line_index x;
	int r = index_frames(v->p, &x);

	memset(out, 0, sizeof *out);
	for (size_t i = 0; !r && i < v->n_hot; i++) {
		const struct view_hot *h = &v->hot[i];
		if (group != IX_NONE && h->group != group)
			continue;
		if (cls == WC_NONE ? h->is_cpu : !h->is_cpu && (cls == WC_COUNT || cls == h->cls))
			count_stack(v->p, &x, h, (uint32_t)i + 1, out);
	}
	if (!r) {
		for (size_t i = 0; i < x.n; i++)
			if (x.rows[i].total_ns)
				x.rows[out->n++] = x.rows[i];
		out->rows = x.rows;
		x.rows = NULL;
		r = order_files(out);
	}
	index_free(&x);
	return r;
}

void line_table_free(struct line_table *t)
{
	free(t->rows);
	memset(t, 0, sizeof *t);
}

static bool eligible(const struct view *v, const struct view_group *g)
{
	return v->pid ? g->pid == v->pid : g->lead->in_tree;
}

uint32_t view_hot_process(const struct view *v)
{
	uint32_t best = IX_NONE;

	for (uint32_t g = 0; g < v->n_groups; g++)
		if (eligible(v, &v->groups[g]) && v->groups[g].ledger.on_cpu_ns &&
		    (best == IX_NONE || v->groups[g].ledger.on_cpu_ns > v->groups[best].ledger.on_cpu_ns))
			best = g;
	return best;
}

uint32_t view_hot_wait(const struct view *v, enum wait_class *cls)
{
	uint32_t best = IX_NONE;

	for (uint32_t g = 0; g < v->n_groups; g++)
		if (eligible(v, &v->groups[g]) && v->groups[g].top_cls_ns &&
		    (best == IX_NONE || v->groups[g].top_cls_ns > v->groups[best].top_cls_ns))
			best = g;
	if (best != IX_NONE)
		*cls = v->groups[best].top_cls;
	return best;
}
