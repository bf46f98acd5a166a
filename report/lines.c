/* SPDX-License-Identifier: Apache-2.0
 *
 * The line report: for the process with most on-CPU time and for the longest wait, each source line's own and total share, with
 * the source beside it where it can be read. In: a profile; out: text. Lines stand in the file's order, as in an annotated
 * listing: neighbours of a loop stay neighbours. */
#include "report/report.h"
#include "report/source.h"
#include "report/text.h"
#include "report/units.h"
#include "report/view_lines.h"

#include <string.h>

/* Share of the table's time below which a line is left out. */
#define LINE_MIN_SHARE 0.005

struct lines_out {
	struct textout t;
	const struct view *v;
	bool source;
	int64_t recorded_s;
	unsigned top; /* lines per file */
};

static bool wanted(const struct line_table *lt, const struct line_row *r)
{
	return (double)r->total_ns >= LINE_MIN_SHARE * (double)lt->ns;
}

static void one_line(const struct lines_out *o, const struct line_table *lt, const struct line_row *r, const struct source *src)
{
	char buf[64];
	const char *text = source_line(src, r->line);
	unsigned text_w = o->t.width - 25;

	fputs("  ", o->t.out);
	textout_cell(&o->t, r->own_ns ? unit_tight(unit_percent((double)r->own_ns / (double)lt->ns)).s : "-", 6, CELL_RIGHT);
	textout_cell(&o->t, unit_tight(unit_percent((double)r->total_ns / (double)lt->ns)).s, 7, CELL_RIGHT);
	snprintf(buf, sizeof buf, "%u", r->line);
	textout_cell(&o->t, buf, 7, CELL_RIGHT);
	fputs("  ", o->t.out);
	if (text) {
		char flat[512];
		size_t n = 0;
		for (; *text && n + 9 < sizeof flat; text++) { /* tabs would break the columns, and read as "\t" */
			if (*text == '\t')
				do
					flat[n++] = ' ';
				while (n % 4);
			else
				flat[n++] = *text;
		}
		flat[n] = '\0';
		textout_cell(&o->t, flat, text_w, CELL_LAST);
	} else {
		textout_style(&o->t, STYLE_DIM);
		char in[300];
		snprintf(in, sizeof in, "in %s", r->function);
		textout_cell(&o->t, in, text_w, CELL_LAST);
		textout_style(&o->t, STYLE_NONE);
	}
	fputc('\n', o->t.out);
}

/* The rows first..end of one file: the `top` with most total time, in line order. */
static void one_file(const struct lines_out *o, const struct line_table *lt, size_t first, size_t end)
{
	struct source src = {0};
	uint64_t least = 0;
	unsigned shown = 0, hidden = 0;

	for (size_t i = first; i < end; i++)
		shown += wanted(lt, &lt->rows[i]);
	if (!shown)
		return;
	while (shown > o->top) { /* raise the bar until the rest fits; equal ones go together */
		uint64_t next = UINT64_MAX;
		for (size_t i = first; i < end; i++)
			if (lt->rows[i].total_ns > least && lt->rows[i].total_ns < next)
				next = lt->rows[i].total_ns;
		if (next == UINT64_MAX)
			break;
		least = next;
		shown = 0;
		for (size_t i = first; i < end; i++)
			shown += wanted(lt, &lt->rows[i]) && lt->rows[i].total_ns > least;
	}
	if (o->source)
		source_read(&src, lt->rows[first].file, o->recorded_s);
	fputc('\n', o->t.out);
	textout_style(&o->t, STYLE_BOLD);
	textout_cell(&o->t, lt->rows[first].file, o->t.width, CELL_PATH_LAST);
	textout_style(&o->t, STYLE_NONE);
	fputc('\n', o->t.out);
	if (o->source && !src.text)
		fputs("  (the source cannot be read here: function names stand in)\n", o->t.out);
	if (src.newer)
		fputs("  (changed after the recording: the text may not be what ran)\n", o->t.out);
	textout_style(&o->t, STYLE_DIM);
	fputs("     own  total   line\n", o->t.out);
	textout_style(&o->t, STYLE_NONE);
	for (size_t i = first; i < end; i++)
		if (wanted(lt, &lt->rows[i]) && (shown == 0 || lt->rows[i].total_ns > least))
			one_line(o, lt, &lt->rows[i], &src);
		else
			hidden++;
	if (hidden)
		fprintf(o->t.out, "  … %u line%s with less time\n", hidden, hidden == 1 ? "" : "s");
	source_free(&src);
}

#define FILES_MAX 8

static int one_table(const struct lines_out *o, uint32_t g, enum wait_class cls, struct err *err)
{
	struct line_table lt;
	char name[128], line[300];
	int r = view_lines(o->v, g, cls, &lt);
	size_t first = 0, end;
	unsigned files = 0;

	if (r)
		return err_set(err, r, "report --lines: out of memory");
	view_group_name(o->v, g, name, sizeof name);
	snprintf(line, sizeof line, "%s (pid %d): %s, %s%s, %s%s of the run", name, (int)o->v->groups[g].pid,
		 cls == WC_NONE ? "on-CPU" : wait_class_name(cls), cls == WC_NONE || o->v->groups[g].estimated ? "~" : "",
		 unit_ns((double)lt.ns).s, cls == WC_NONE || o->v->groups[g].estimated ? "~" : "",
		 unit_percent((double)lt.ns / (double)o->v->wall_ns).s);
	textout_heading(&o->t, cls == WC_NONE ? "WHERE IT COMPUTES" : "WHERE IT WAITS", NULL);
	textout_wrap(&o->t, "", 2, line);
	for (; first < lt.n && files < FILES_MAX; first = end, files++) {
		for (end = first + 1; end < lt.n && strcmp(lt.rows[end].file, lt.rows[first].file) == 0; end++)
			;
		one_file(o, &lt, first, end);
	}
	if (first < lt.n)
		fprintf(o->t.out, "\n… and more files with less time\n");
	if (lt.unlined_ns && lt.ns)
		fprintf(o->t.out, "%s%s of this time is in stacks without source lines (no debug information).\n",
			lt.n ? "\n" : "", unit_percent((double)lt.unlined_ns / (double)lt.ns).s);
	line_table_free(&lt);
	return 0;
}

int report_lines(const struct profile *p, const struct report_lines_options *opt, FILE *out, struct err *err)
{
	struct view *v;
	enum wait_class cls = WC_NONE;
	int r = view_new(p, &(struct view_options){.pid = opt->pid}, &v, err);

	if (r)
		return r;
	struct lines_out o = {{out,
			       opt->width >= 60 ? opt->width
			       : opt->width	? 60
						: 80,
			       opt->color},
			      v,
			      !opt->no_source,
			      source_recorded_at(p->meta.started_at),
			      opt->top ? opt->top : 20};
	uint32_t hot = view_hot_process(v), waiting = view_hot_wait(v, &cls);

	textout_wrap(&o.t, "", 0,
		     "own: the innermost source line of a stack (outside the C library); total: the line is anywhere in it. "
		     "Shares are of each table's time.");
	if (hot != IX_NONE)
		r = one_table(&o, hot, WC_NONE, err);
	if (!r && waiting != IX_NONE)
		r = one_table(&o, waiting, cls, err);
	if (!r && hot == IX_NONE && waiting == IX_NONE)
		fputs("\nNo time was spent computing or waiting for anything: there is no line to show.\n", out);
	view_free(v);
	return r ? r : report_finish(out, err);
}
