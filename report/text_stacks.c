/* SPDX-License-Identifier: Apache-2.0
 *
 * Hot stacks, on-CPU and off-CPU, per process. In: the view; out: a few trimmed stacks, leaf first, with the time each holds. A
 * stack is shown when it holds a visible part of the run, so that healthy processes stay short. */
#include "report/frames.h"
#include "report/text.h"
#include "report/units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STACKS_PER_GROUP 3
#define STACK_LINES 9
/* Shares of the run below which a stack, or a whole process, is not worth a reader's time. */
#define STACK_MIN_SHARE 0.02
#define GROUP_MIN_SHARE 0.05

int report_finish(FILE *out, struct err *err)
{
	if (fflush(out) || ferror(out)) {
		int e = errno ? errno : EIO;
		return err_set(err, -e, "write the report: %s; check the space and permissions of its destination", strerror(e));
	}
	return 0;
}

void text_frame(const struct profile *p, const struct frame_line *l, char *fn, size_t fn_size, char *where, size_t where_size)
{
	const struct frame_row *f = l->kind == FRAME_LINE || l->kind == FRAME_KERNEL ? frames_at(p, l->frame_ix) : NULL;
	const char *name = f && f->function && *f->function ? f->function : "[unknown]";

	where[0] = '\0';
	if (l->kind == FRAME_TRUNCATED) {
		snprintf(fn, fn_size, "… (deeper frames were not captured)");
	} else if (l->kind == FRAME_FOLDED) {
		snprintf(fn, fn_size, "… %u frame%s", l->n_folded, l->n_folded == 1 ? "" : "s");
	} else if (l->kind == FRAME_KERNEL) {
		snprintf(fn, fn_size, "%s", name);
		snprintf(where, where_size, "[kernel]");
	} else {
		snprintf(fn, fn_size, "%s", name);
		if (f && frames_is_libc(f))
			snprintf(where, where_size, "%s", frames_basename(f->module));
		else if (f && f->file && f->line)
			snprintf(where, where_size, "%s:%u", f->file, f->line);
		else if (f && f->file)
			snprintf(where, where_size, "%s", f->file);
		else if (f && f->module)
			snprintf(where, where_size, "%s", frames_basename(f->module));
	}
}

static void stack_lines(const struct textout *t, const struct view *v, uint32_t stack_ix)
{
	struct frame_line lines[FRAME_LINES_MAX];
	unsigned n = frames_trim(v->p, stack_ix, STACK_LINES, lines), fn_w = (t->width - 7) * 11 / 20;
	char fn[512], where[1100];

	for (unsigned i = 0; i < n; i++) {
		text_frame(v->p, &lines[i], fn, sizeof fn, where, sizeof where);
		fputs("      ", t->out);
		if (lines[i].kind != FRAME_LINE)
			textout_style(t, STYLE_DIM);
		textout_cell(t, fn, fn_w, *where ? CELL_LEFT : CELL_LAST);
		if (*where) {
			fputc(' ', t->out);
			textout_cell(t, where, t->width - 7 - fn_w, CELL_PATH_LAST);
		}
		if (lines[i].kind != FRAME_LINE)
			textout_style(t, STYLE_NONE);
		fputc('\n', t->out);
	}
	if (n == 0)
		fputs("      (no stack)\n", t->out);
}

/* "pipe_read 84 %, 8.40 s in 1.1 M waits"; of several processes: the mean of each. */
static void one_stack(const struct textout *t, const struct view *v, const struct view_hot *h, bool several)
{
	const struct view_group *g = &v->groups[h->group];
	double each = g->n_rows ? (double)h->ns / g->n_rows : (double)h->ns;
	struct unit_text share = unit_percent(each / (double)v->wall_ns), time = unit_ns(each);
	const char *est = h->is_cpu || h->estimated ? "~" : "", *of_each = several || g->n_rows > 1 ? " each" : "";
	double count = g->n_rows ? (double)h->count / g->n_rows : (double)h->count;
	char line[256];

	if (h->is_cpu)
		snprintf(line, sizeof line, "on-CPU ~%s, ~%s%s (%s sample%s)", share.s, time.s, of_each, unit_count(count).s,
			 count == 1 ? "" : "s");
	else if (h->in_progress == h->count && h->count)
		snprintf(line, sizeof line, "%s %s%s, %s%s%s so far: still waiting at the end", wait_class_name(h->cls), est,
			 share.s, est, time.s, of_each);
	else
		snprintf(line, sizeof line, "%s %s%s, %s%s in %s wait%s%s", wait_class_name(h->cls), est, share.s, est, time.s,
			 unit_count(count).s, count == 1 ? "" : "s", of_each);
	fputs("    ", t->out);
	textout_style(t, h->is_cpu ? STYLE_GOOD : STYLE_ALERT);
	fputs(line, t->out);
	textout_style(t, STYLE_NONE);
	fputc('\n', t->out);
	stack_lines(t, v, h->stack_ix);
}

/* The stacks of one group that are worth showing: waits first, then on-CPU. */
struct shown {
	struct view_hot hot[2 * STACKS_PER_GROUP];
	unsigned n;
	uint32_t group;
};

/* What a stack is without its kernel frames: a hundred samples in one system call differ there only. */
static uint64_t user_hash(const struct profile *p, uint32_t stack_ix)
{
	const struct stack_row *s = stack_ix < p->n_stacks ? &p->stacks[stack_ix] : NULL;
	uint64_t h = 14695981039346656037ull;

	for (uint32_t i = 0; s && i < s->n; i++) {
		const struct frame_row *f = frames_at(p, s->frame_ix[i]);
		if (!f || f->language != LANG_KERNEL)
			h = (h ^ (s->frame_ix[i] + 1)) * 1099511628211ull;
	}
	return h;
}

struct merged {
	uint64_t hash, most; /* most: of the single stack that stands for them */
	struct view_hot hot;
};

#define CMP(a, b) (((a) > (b)) - ((a) < (b)))

static int cmp_merged(const void *pa, const void *pb)
{
	const struct merged *a = pa, *b = pb;
	int c = CMP(a->hot.cls, b->hot.cls);

	if (!c)
		c = CMP(a->hash, b->hash);
	if (!c)
		c = CMP(b->hot.ns, a->hot.ns);
	return c ? c : CMP(a->hot.stack_ix, b->hot.stack_ix);
}

static int cmp_merged_time(const void *pa, const void *pb)
{
	const struct merged *a = pa, *b = pb;
	int c = CMP(b->hot.ns, a->hot.ns);

	return c ? c : cmp_merged(a, b);
}

/* The stacks first..end of one kind, equal ones (but for kernel frames) in one. Returns how many; 0 too when out of memory. */
static size_t merge_stacks(const struct view *v, size_t first, size_t end, bool cpu, struct merged **out)
{
	struct merged *m = malloc((end - first + 1) * sizeof *m);
	size_t n = 0, kept = 0;

	for (size_t i = first; m && i < end; i++)
		if (v->hot[i].is_cpu == cpu && v->hot[i].ns)
			m[n++] = (struct merged){user_hash(v->p, v->hot[i].stack_ix), v->hot[i].ns, v->hot[i]};
	if (n)
		qsort(m, n, sizeof *m, cmp_merged);
	for (size_t i = 0; i < n; i++) {
		struct merged *last = kept ? &m[kept - 1] : NULL;
		if (!last || last->hash != m[i].hash || last->hot.cls != m[i].hot.cls) {
			m[kept++] = m[i];
			continue;
		}
		last->hot.ns += m[i].hot.ns;
		last->hot.count += m[i].hot.count;
		last->hot.in_progress += m[i].hot.in_progress;
		last->hot.estimated |= m[i].hot.estimated;
	}
	if (kept)
		qsort(m, kept, sizeof *m, cmp_merged_time);
	*out = m;
	return kept;
}

static void pick_kind(const struct view *v, size_t first, size_t end, bool cpu, struct shown *s)
{
	double least = (v->pid ? 0.005 : STACK_MIN_SHARE) * (double)v->wall_ns * v->groups[s->group].n_rows;
	struct merged *m;
	size_t n = merge_stacks(v, first, end, cpu, &m);

	for (size_t i = 0; i < n && i < STACKS_PER_GROUP && (double)m[i].hot.ns >= least; i++)
		s->hot[s->n++] = m[i].hot;
	free(m);
}

static uint64_t time_of(const struct view *v, size_t first, size_t end)
{
	uint64_t ns = 0;

	for (size_t i = first; i < end; i++)
		ns += v->hot[i].ns;
	return ns;
}

/* Nothing, unless the group holds a share of the run that a reader would ask about. */
static void pick(const struct view *v, size_t first, size_t end, struct shown *s)
{
	*s = (struct shown){.group = v->hot[first].group};
	if (v->pid ? v->groups[s->group].pid != v->pid : (double)time_of(v, first, end) < GROUP_MIN_SHARE * (double)v->wall_ns)
		return;
	pick_kind(v, first, end, false, s);
	pick_kind(v, first, end, true, s);
}

static const char *comm_of(const struct view *v, uint32_t group)
{
	return v->groups[group].lead->comm ? v->groups[group].lead->comm : "";
}

/* The same stacks in the same order, in processes of one name: shown once. */
static bool alike(const struct view *v, const struct shown *a, const struct shown *b)
{
	if (a->n != b->n || strcmp(comm_of(v, a->group), comm_of(v, b->group)) != 0 || v->groups[a->group].n_rows > 1 ||
	    v->groups[b->group].n_rows > 1)
		return false;
	for (unsigned i = 0; i < a->n; i++) {
		double x = (double)a->hot[i].ns, y = (double)b->hot[i].ns;
		if (a->hot[i].is_cpu != b->hot[i].is_cpu || a->hot[i].cls != b->hot[i].cls ||
		    a->hot[i].stack_ix != b->hot[i].stack_ix)
			return false;
		if (x > 1.25 * y || y > 1.25 * x) /* nor may the figures mislead */
			return false;
	}
	return true;
}

static void group_stacks(const struct textout *t, const struct view *v, const struct shown *s, const uint32_t *also,
			 unsigned n_also)
{
	const struct view_group *g = &v->groups[s->group];
	char name[128], head[400];
	size_t used;

	view_group_name(v, s->group, name, sizeof name);
	used = (size_t)snprintf(head, sizeof head, g->n_processes > 1 ? "%s" : "%s (pid %d", name, (int)g->pid);
	for (unsigned i = 0; i < n_also && used + 16 < sizeof head; i++)
		used += (size_t)snprintf(head + used, sizeof head - used, ", %d", (int)v->groups[also[i]].pid);
	snprintf(head + used, sizeof head - used, "%s%s", g->n_processes > 1 ? "" : ")", n_also ? ": alike" : "");
	textout_style(t, STYLE_BOLD);
	textout_wrap(t, "  ", 4, head);
	textout_style(t, STYLE_NONE);
	for (unsigned i = 0; i < s->n; i++)
		one_stack(t, v, &s->hot[i], n_also > 0);
}

#define ALIKE_MAX 16

void text_stacks(const struct textout *t, const struct view *v, unsigned top)
{
	unsigned shown = 0, more = 0, n_also;
	uint32_t also[ALIKE_MAX];
	struct shown s, next;

	for (size_t first = 0, end; first < v->n_hot; first = end) {
		for (end = first; end < v->n_hot && v->hot[end].group == v->hot[first].group; end++)
			;
		pick(v, first, end, &s);
		if (s.n == 0)
			continue;
		if (shown == top) {
			more++;
			continue;
		}
		for (n_also = 0; end < v->n_hot && n_also < ALIKE_MAX;) {
			size_t next_end = end;
			while (next_end < v->n_hot && v->hot[next_end].group == v->hot[end].group)
				next_end++;
			pick(v, end, next_end, &next);
			if (next.n == 0 || !alike(v, &s, &next))
				break;
			also[n_also++] = next.group;
			end = next_end;
		}
		if (shown++ == 0)
			textout_heading(t, "HOT STACKS", "leaf first; % of the run");
		group_stacks(t, v, &s, also, n_also);
	}
	if (more)
		fprintf(t->out, "  … and %u more process%s (--top %u shows them)\n", more, more == 1 ? "" : "es", shown + more);
}
