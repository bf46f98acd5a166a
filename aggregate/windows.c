/* SPDX-License-Identifier: Apache-2.0
 *
 * The default window analysis: builds each window's graph once and hands it to the analyses that keep sums; puts the sums
 * into a profile. In: struct window; out: pair rows and, in their own files, cascade, critical path, flow, load, trace.
 */
#include "aggregate/alternation.h"
#include "aggregate/profile.h"
#include "aggregate/window.h"
#include "aggregate/windows_graph.h"
#include "aggregate/windows_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pending_fold {
	int32_t from, into;
};

struct windows {
	struct wgraph graph;
	struct alternation alternation;
	/* renames not yet applied: rows are renamed in batches, for thousands of short-lived children come and go */
	struct pending_fold *folds;
	size_t n_folds, cap_folds;
	bool failed; /* out of memory once: what is there is still true, but windows are missing */
};

struct windows *windows_new(void)
{
	struct windows *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	wgraph_init(&s->graph);
	alternation_init(&s->alternation);
	return s;
}

void windows_free(struct windows *s)
{
	if (!s)
		return;
	wgraph_fini(&s->graph);
	alternation_fini(&s->alternation);
	free(s->folds);
	free(s);
}

static int32_t renamed(const struct windows *s, int32_t pid)
{
	for (size_t i = 0; i < s->n_folds; i++) /* in the order of the calls: a row may be folded twice */
		if (s->folds[i].from == pid)
			pid = s->folds[i].into;
	return pid;
}

static int rename_pair(void *ctx, void *row)
{
	struct pair_row *p = row;
	int32_t a = renamed(ctx, p->pid_a), b = renamed(ctx, p->pid_b);
	if (a == p->pid_a && b == p->pid_b)
		return 0;
	p->pid_a = a;
	p->pid_b = b;
	if (a > b)
		pair_row_swap(p);
	return 1;
}

static void apply_folds(struct windows *s)
{
	if (!s->n_folds)
		return;
	row_table_rekey(&s->alternation.pairs, rename_pair, pair_row_merge, s);
	s->n_folds = 0;
}

void windows_fold(struct windows *s, int32_t from_pid, int32_t into_pid)
{
	if (s->n_folds == s->cap_folds) {
		size_t cap = s->cap_folds ? 2 * s->cap_folds : 64;
		struct pending_fold *f = realloc(s->folds, cap * sizeof(*f));
		if (!f) { /* rows stay under a pid that the profile does not tell: finish drops them */
			s->failed = true;
			return;
		}
		s->folds = f;
		s->cap_folds = cap;
	}
	s->folds[s->n_folds++] = (struct pending_fold){from_pid, into_pid};
}

void windows_analyze(struct windows *s, const struct window *w)
{
	apply_folds(s); /* a pid may be in use again by now */
	if (wgraph_build(&s->graph, w) || alternation_add(&s->alternation, &s->graph))
		s->failed = true;
}

static void *copy_rows(const struct row_table *t, size_t *n)
{
	void *rows = calloc(t->n ? t->n : 1, t->row_size);
	*n = 0;
	if (rows && t->n) {
		memcpy(rows, t->rows, t->n * t->row_size);
		*n = t->n;
	}
	return rows;
}

int windows_finish(struct windows *s, struct profile *p)
{
	apply_folds(s);
	p->pairs = copy_rows(&s->alternation.pairs, &p->n_pairs);
	return p->pairs ? 0 : -ENOMEM;
}
