/* SPDX-License-Identifier: Apache-2.0
 *
 * Folded stacks, as flame graph scripts read them: "process;[kind];outermost;...;leaf microseconds". In: a profile; out: a line
 * per distinct stack, sorted, so that two exports diff. Weights are microseconds of thread time for on-CPU and waits alike, so
 * that both kinds may stand in one graph. */
#include "report/report.h"
#include "report/frames.h"
#include "report/sanitize.h"
#include "report/text.h"
#include "report/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One frame: ';' separates frames and the last space the weight, so neither may stand in a name. */
static void put_name(FILE *out, const char *raw, const char *suffix)
{
	char buf[1024];

	sanitize(buf, sizeof buf, raw);
	for (char *c = buf; *c; c++)
		if (*c == ';')
			*c = ':';
		else if (*c == ' ')
			*c = '_';
	fprintf(out, "%s%s", buf, suffix);
}

static const char *frame_suffix(const struct frame_row *f)
{
	/* the annotations of flamegraph.pl's --color=java: kernel, and the runtimes by their name */
	switch (f->language) {
	case LANG_KERNEL:
		return "_[k]";
	case LANG_JAVA:
	case LANG_JS:
		return "_[j]";
	default:
		return "";
	}
}

static void put_line(FILE *out, const struct view *v, const struct view_hot *h)
{
	const struct profile *p = v->p;
	const struct stack_row *s = h->stack_ix < p->n_stacks ? &p->stacks[h->stack_ix] : NULL;
	char name[160], who[200];

	view_group_name(v, h->group, name, sizeof name);
	if (v->groups[h->group].n_processes > 1)
		snprintf(who, sizeof who, "%s", name);
	else
		snprintf(who, sizeof who, "%s-%d", name, (int)v->groups[h->group].pid);
	put_name(out, who, "");
	fprintf(out, ";[%s]", h->is_cpu ? "on-cpu" : wait_class_name(h->cls));
	if (s && s->truncated)
		fputs(";[truncated]", out);
	for (uint32_t i = s ? s->n : 0; i-- > 0;) {
		const struct frame_row *f = frames_at(p, s->frame_ix[i]);
		if (!f)
			continue;
		fputc(';', out);
		put_name(out, f->function && *f->function ? f->function : "[unknown]", frame_suffix(f));
	}
	fprintf(out, " %llu\n", (unsigned long long)(h->ns / 1000));
}

int export_folded(const struct profile *p, const struct export_options *opt, FILE *out, struct err *err)
{
	struct view *v;
	int r = view_new(p, &(struct view_options){.pid = opt->pid}, &v, err);

	if (r)
		return r;
	for (size_t i = 0; i < v->n_hot; i++)
		if (v->hot[i].ns >= 1000 && opt->kind & (v->hot[i].is_cpu ? EXPORT_CPU : EXPORT_WAIT))
			put_line(out, v, &v->hot[i]);
	view_free(v);
	return report_finish(out, err);
}
