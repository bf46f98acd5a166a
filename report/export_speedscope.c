/* SPDX-License-Identifier: Apache-2.0
 *
 * speedscope's own format (speedscope.app/file-format-schema.json). In: a profile; out: for every process or group of siblings
 * one sampled profile on-CPU and one of waits, in which the outermost frame names the class of the wait; unit nanoseconds.
 * Samples have no order in time: each distinct stack stands once, with its sum. */
#include "report/report.h"
#include "report/frames.h"
#include "report/sanitize.h"
#include "report/text.h"
#include "report/view.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void put_string(FILE *out, const char *raw)
{
	char *s = sanitize_dup(raw);
	json_t *j = s ? json_string(s) : NULL;

	if (j)
		json_dumpf(j, out, JSON_ENCODE_ANY);
	else
		fputs("\"\"", out);
	json_decref(j);
	free(s);
}

/* Shared frames: first the classes of waits, then the profile's own. */
static void put_frames(const struct profile *p, FILE *out)
{
	char name[64];

	fputs("\"shared\":{\"frames\":[", out);
	for (unsigned c = 0; c < WC_COUNT; c++) {
		snprintf(name, sizeof name, "[%s]", wait_class_name((enum wait_class)c));
		fputs(c ? ",\n{\"name\":" : "\n{\"name\":", out);
		put_string(out, name);
		fputc('}', out);
	}
	for (size_t i = 0; i < p->n_frames; i++) {
		const struct frame_row *f = &p->frames[i];
		fputs(",\n{\"name\":", out);
		put_string(out, f->function && *f->function ? f->function : "[unknown]");
		if (f->file || f->module) {
			fputs(",\"file\":", out);
			put_string(out, f->file ? f->file : f->module);
		}
		if (f->line)
			fprintf(out, ",\"line\":%u", f->line);
		fputc('}', out);
	}
	fputs("]}", out);
}

static bool in_kind(const struct view_hot *h, bool cpu)
{
	return h->is_cpu == cpu && h->ns > 0;
}

static void put_sample(const struct profile *p, const struct view_hot *h, FILE *out)
{
	const struct stack_row *s = h->stack_ix < p->n_stacks ? &p->stacks[h->stack_ix] : NULL;
	const char *sep = "";

	fputc('[', out);
	if (!h->is_cpu) {
		fprintf(out, "%u", (unsigned)h->cls);
		sep = ",";
	}
	for (uint32_t i = s ? s->n : 0; i-- > 0;)
		if (s->frame_ix[i] < p->n_frames) {
			fprintf(out, "%s%u", sep, s->frame_ix[i] + WC_COUNT);
			sep = ",";
		}
	fputc(']', out);
}

/* The stacks first..end of one group and kind; nothing when it has none. */
static void put_profile(const struct view *v, size_t first, size_t end, bool cpu, bool *any, FILE *out)
{
	char name[160], title[240];
	uint64_t sum = 0;
	const char *sep = "";

	for (size_t i = first; i < end; i++)
		sum += in_kind(&v->hot[i], cpu) ? v->hot[i].ns : 0;
	if (!sum)
		return;
	view_group_name(v, v->hot[first].group, name, sizeof name);
	snprintf(title, sizeof title, "%s (pid %d): %s", name, (int)v->groups[v->hot[first].group].pid,
		 cpu ? "on-CPU" : "waiting");
	fprintf(out, "%s\n{\"type\":\"sampled\",\"name\":", *any ? "," : "");
	*any = true;
	put_string(out, title);
	fprintf(out, ",\"unit\":\"nanoseconds\",\"startValue\":0,\"endValue\":%llu,\"samples\":[", (unsigned long long)sum);
	for (size_t i = first; i < end; i++)
		if (in_kind(&v->hot[i], cpu)) {
			fputs(sep, out);
			put_sample(v->p, &v->hot[i], out);
			sep = ",";
		}
	fputs("],\"weights\":[", out);
	sep = "";
	for (size_t i = first; i < end; i++)
		if (in_kind(&v->hot[i], cpu)) {
			fprintf(out, "%s%llu", sep, (unsigned long long)v->hot[i].ns);
			sep = ",";
		}
	fputs("]}", out);
}

int export_speedscope(const struct profile *p, const struct export_options *opt, FILE *out, struct err *err)
{
	char target[1500];
	bool any = false;
	struct view *v;
	int r = view_new(p, &(struct view_options){.pid = opt->pid}, &v, err);

	if (r)
		return r;
	text_target(p, target, sizeof target);
	fputs("{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\n\"exporter\":\"lockstep\",\n\"name\":", out);
	put_string(out, target);
	fputs(",\n", out);
	put_frames(p, out);
	fputs(",\n\"profiles\":[", out);
	for (size_t first = 0, end; first < v->n_hot; first = end) {
		for (end = first; end < v->n_hot && v->hot[end].group == v->hot[first].group; end++)
			;
		if (opt->kind & EXPORT_WAIT)
			put_profile(v, first, end, false, &any, out);
		if (opt->kind & EXPORT_CPU)
			put_profile(v, first, end, true, &any, out);
	}
	fputs("]}\n", out);
	view_free(v);
	return report_finish(out, err);
}
