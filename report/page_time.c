/* SPDX-License-Identifier: Apache-2.0
 *
 * The page's timeline, critical path, excerpt of single waits, and source lines. In: the view; out: JSON parts
 * (report/page.h). */
#include "report/page.h"
#include "report/source.h"
#include "report/view_lines.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Columns of the timeline: finer ones than a screen has pixels for are merged. */
#define TIMELINE_STEPS 480

struct cell {
	uint64_t cpu, queue, blocked, top_blocked;
	uint8_t cls; /* with most blocked time among the merged */
};

static void fill_cells(const struct page *x, uint32_t merge, uint32_t n_steps, struct cell *cells)
{
	const struct profile *p = x->v->p;

	for (size_t i = 0; i < p->n_intervals; i++) {
		const struct interval_row *r = &p->intervals[i];
		uint32_t g = view_group_of(x->v, r->pid);
		if (g == IX_NONE)
			continue;
		struct cell *c = &cells[(size_t)g * n_steps + r->index / merge];
		c->cpu += r->on_cpu_ns;
		c->queue += r->run_queue_ns;
		c->blocked += r->blocked_ns;
		if (r->blocked_ns > c->top_blocked) {
			c->top_blocked = r->blocked_ns;
			c->cls = r->top_class;
		}
	}
}

static void put_lane(struct page *x, uint32_t g, const struct cell *cells, uint32_t n_steps, uint64_t step, const char *sep)
{
	fprintf(x->out, "%s[%u,[", sep, g);
	for (uint32_t i = 0; i < n_steps; i++) { /* per mille of the step; four numbers a cell */
		const struct cell *c = &cells[i];
		fprintf(x->out, "%s%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%u", i ? "," : "", c->cpu * 1000 / step,
			c->queue * 1000 / step, c->blocked * 1000 / step, c->cls);
	}
	fputs("]]", x->out);
}

/* {step, n, lanes: [[group, [cpu, queue, blocked, class]*n]]} */
void page_put_timeline(struct page *x)
{
	const struct profile *p = x->v->p;
	uint32_t last = 0, merge = 1;
	const char *sep = "\n";

	for (size_t i = 0; i < p->n_intervals; i++)
		last = p->intervals[i].index > last ? p->intervals[i].index : last;
	while (last / merge + 1 > TIMELINE_STEPS)
		merge++;
	uint32_t n = p->n_intervals ? last / merge + 1 : 0;
	uint64_t step = p->timeline_step_ns ? p->timeline_step_ns * merge : 1;
	struct cell *cells = calloc(x->v->n_groups * (size_t)n + 1, sizeof *cells);
	x->failed |= !cells;
	fprintf(x->out, "\"timeline\":{\"step\":%" PRIu64 ",\"n\":%u,\"lanes\":[", step, n);
	if (cells)
		fill_cells(x, merge, n, cells);
	for (uint32_t g = 0; cells && n && g < x->v->n_groups; g++)
		if (x->v->groups[g].lead->in_tree) {
			put_lane(x, g, cells + (size_t)g * n, n, step, sep);
			sep = ",\n";
		}
	fputs("]}", x->out);
	free(cells);
}

/* [group, kind, class, channel, node, count, ns]; kinds by name */
void page_put_critical(struct page *x)
{
	const struct profile *p = x->v->p;
	const char *sep = "\n";

	fputs("\"critical\":[", x->out);
	for (size_t i = 0; i < p->n_critical; i++) {
		const struct critical_row *r = &p->critical[i];
		uint32_t g = view_group_of(x->v, r->pid);
		fprintf(x->out, "%s[%lld,%u,%u,%u,%u,%" PRIu64 ",%" PRIu64 "]", sep, g == IX_NONE ? -1LL : (long long)g,
			(unsigned)r->kind, (unsigned)r->cls, r->channel, page_stack(x, 0, r->stack_ix), r->count, r->ns);
		sep = ",\n";
	}
	fputs("],\n\"blame_kinds\":[", x->out);
	for (unsigned k = 0; k < BLAME_COUNT; k++)
		fprintf(x->out, "%s\"%s\"", k ? "," : "", blame_kind_name((enum blame_kind)k));
	fputc(']', x->out);
}

/* [window, group, pid, tid, class, end, waker tid, channel, node, bytes, out, wake, run] */
void page_put_trace(struct page *x)
{
	const struct profile *p = x->v->p;
	const char *sep = "\n";

	fputs("\"trace\":[", x->out);
	for (size_t i = 0; i < p->n_trace; i++) {
		const struct trace_row *r = &p->trace[i];
		uint32_t g = view_group_of(x->v, r->pid);
		if (g == IX_NONE)
			continue;
		fprintf(x->out, "%s[%u,%u,%d,%d,%u,%u,%d,%u,%u,%u,%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", sep, r->window, g,
			(int)r->pid, (int)r->tid, (unsigned)r->cls, (unsigned)r->end, (int)r->waker_tid, r->channel,
			page_stack(x, 0, r->stack_ix), r->bytes, r->out_ns, r->wake_ns, r->run_ns);
		sep = ",\n";
	}
	fputc(']', x->out);
}

/* ---- source lines ---- */

#define SOURCE_FILES 60
#define SOURCE_CONTEXT 4       /* lines above and below one that has time */
#define SOURCE_MIN_SHARE 0.002 /* of all time of the kind, for a file to be read */

struct wanted {
	const char *file;
	uint32_t *lines;
	size_t n;
};

/* Files with a visible share of on-CPU or waiting time, and their lines. */
static size_t wanted_files(struct page *x, const struct line_table *t, struct wanted *w, size_t n)
{
	for (size_t first = 0, end; first < t->n; first = end) {
		uint64_t most = 0;
		size_t k = 0;
		for (end = first; end < t->n && strcmp(t->rows[end].file, t->rows[first].file) == 0; end++)
			most = t->rows[end].total_ns > most ? t->rows[end].total_ns : most;
		if ((double)most < SOURCE_MIN_SHARE * (double)t->ns)
			continue;
		while (k < n && strcmp(w[k].file, t->rows[first].file) != 0)
			k++;
		if (k == n && n == SOURCE_FILES)
			continue;
		if (k == n)
			w[n++] = (struct wanted){t->rows[first].file, NULL, 0};
		uint32_t *lines = realloc(w[k].lines, (w[k].n + end - first) * sizeof *lines);
		if (!lines) {
			x->failed = true;
			continue;
		}
		w[k].lines = lines;
		for (size_t i = first; i < end; i++)
			lines[w[k].n++] = t->rows[i].line;
	}
	return n;
}

static void put_source(struct page *x, const struct wanted *w, const char **sep)
{
	struct source src;
	uint8_t *show;
	const char *comma = "";

	source_read(&src, w->file, source_recorded_at(x->v->p->meta.started_at));
	show = src.text ? calloc(src.n_lines + 1, 1) : NULL;
	for (size_t i = 0; show && i < w->n; i++)
		for (uint32_t l = w->lines[i] > SOURCE_CONTEXT ? w->lines[i] - SOURCE_CONTEXT : 1;
		     l <= src.n_lines && l <= (uint64_t)w->lines[i] + SOURCE_CONTEXT; l++)
			show[l] = 1;
	if (show) {
		fprintf(x->out, "%s[%u,%d,[", *sep, page_string(x, w->file), src.newer);
		for (uint32_t l = 1; l <= src.n_lines; l++)
			if (show[l]) {
				char flat[512];
				size_t n = 0;
				for (const char *c = source_line(&src, l); *c && n + 9 < sizeof flat; c++)
					if (*c == '\t')
						do
							flat[n++] = ' ';
						while (n % 4);
					else
						flat[n++] = *c;
				flat[n] = '\0';
				fprintf(x->out, "%s%u,%u", comma, l, page_string(x, flat));
				comma = ",";
			}
		fputs("]]", x->out);
		*sep = ",\n";
	}
	free(show);
	source_free(&src);
}

/* [[file, changed since, [line, text, line, text, ...]]] */
void page_put_sources(struct page *x)
{
	struct wanted w[SOURCE_FILES];
	struct line_table t;
	size_t n = 0;
	const char *sep = "\n";

	fputs("\"sources\":[", x->out);
	for (int kind = 0; kind < 2 && !x->no_source; kind++) {
		if (view_lines(x->v, IX_NONE, kind ? WC_COUNT : WC_NONE, &t)) {
			x->failed = true;
			continue;
		}
		n = wanted_files(x, &t, w, n);
		line_table_free(&t);
	}
	for (size_t i = 0; i < n; i++) {
		put_source(x, &w[i], &sep);
		free(w[i].lines);
	}
	fputc(']', x->out);
}
