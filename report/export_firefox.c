/* SPDX-License-Identifier: Apache-2.0
 *
 * The Firefox Profiler's processed profile, version 55 of its format (docs-developer/CHANGELOG-formats.md in
 * firefox-devtools/profiler; its front end upgrades older versions itself). In: a profile; out: for every process or group of
 * siblings a thread on-CPU and a thread of waits; weights are milliseconds ("tracing-ms"), categories are the kinds of time. A
 * profile keeps sums, not single samples, so each distinct stack stands once, at the place in time where the sums before it
 * end. That front end's own upgraders took the golden files from 55 to 70 (run by hand, not by the tests). */
#include "report/report.h"
#include "report/frames.h"
#include "report/strtab.h"
#include "report/text.h"
#include "report/source.h"
#include "report/view.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Indexes into meta.categories: two for code, then one per wait class. */
enum { CATEGORY_USER = 0, CATEGORY_KERNEL, CATEGORY_WAITS };

struct node {
	uint32_t frame; /* of this thread's frame table */
	int64_t prefix; /* -1: none */
};

struct ff {
	const struct view *v;
	FILE *out;
	struct strtab strings;
	/* per thread */
	uint32_t *frame_of; /* profile frame -> this thread's frame, IX_NONE: not yet */
	uint32_t *frames;   /* this thread's frame -> profile frame; classes of waits stand behind the profile's frames */
	size_t n_frames;
	struct node *nodes;
	size_t n_nodes, cap_nodes;
	/* (prefix, frame) -> node, open addressing */
	uint32_t *slots;
	size_t n_slots;
	bool failed;
};

static void put(struct ff *x, json_t *j)
{
	if (!j || json_dumpf(j, x->out, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12)))
		x->failed = true;
	json_decref(j);
}

static void put_str(struct ff *x, const char *s)
{
	put(x, json_string(s));
}

/* ---- the stack table: a tree of (prefix, frame) ---- */

static size_t slot_of(const struct ff *x, int64_t prefix, uint32_t frame)
{
	uint64_t h = ((uint64_t)(prefix + 1) * 0x9e3779b97f4a7c15ull) ^ ((uint64_t)frame * 0xc2b2ae3d27d4eb4full);
	size_t i = (size_t)(h >> 17) & (x->n_slots - 1);

	while (x->slots[i] != IX_NONE && (x->nodes[x->slots[i]].prefix != prefix || x->nodes[x->slots[i]].frame != frame))
		i = (i + 1) & (x->n_slots - 1);
	return i;
}

static bool grow(struct ff *x)
{
	size_t cap = x->cap_nodes ? x->cap_nodes * 2 : 1024;
	struct node *nodes = realloc(x->nodes, cap * sizeof *nodes);
	uint32_t *slots = nodes ? malloc(cap * 2 * sizeof *slots) : NULL;

	if (nodes)
		x->nodes = nodes;
	if (!slots) {
		x->failed = true;
		return false;
	}
	free(x->slots);
	x->slots = slots;
	x->n_slots = cap * 2;
	x->cap_nodes = cap;
	memset(slots, 0xff, x->n_slots * sizeof *slots);
	for (size_t i = 0; i < x->n_nodes; i++)
		x->slots[slot_of(x, x->nodes[i].prefix, x->nodes[i].frame)] = (uint32_t)i;
	return true;
}

static int64_t node(struct ff *x, int64_t prefix, uint32_t profile_frame)
{
	if (x->frame_of[profile_frame] == IX_NONE) {
		x->frame_of[profile_frame] = (uint32_t)x->n_frames;
		x->frames[x->n_frames++] = profile_frame;
	}
	if (x->n_nodes == x->cap_nodes && !grow(x))
		return prefix;
	uint32_t frame = x->frame_of[profile_frame];
	size_t slot = slot_of(x, prefix, frame);
	if (x->slots[slot] == IX_NONE) {
		x->slots[slot] = (uint32_t)x->n_nodes;
		x->nodes[x->n_nodes++] = (struct node){frame, prefix};
	}
	return x->slots[slot];
}

static int64_t stack_node(struct ff *x, const struct view_hot *h)
{
	const struct profile *p = x->v->p;
	const struct stack_row *s = h->stack_ix < p->n_stacks ? &p->stacks[h->stack_ix] : NULL;
	int64_t at = -1;

	if (!h->is_cpu)
		at = node(x, at, (uint32_t)p->n_frames + (uint32_t)h->cls);
	for (uint32_t i = s ? s->n : 0; i-- > 0;)
		if (s->frame_ix[i] < p->n_frames)
			at = node(x, at, s->frame_ix[i]);
	return at;
}

/* ---- tables ---- */

static void column_fill(struct ff *x, const char *name, const char *value, size_t n)
{
	fprintf(x->out, ",\"%s\":[", name);
	for (size_t i = 0; i < n; i++)
		fprintf(x->out, "%s%s", i ? "," : "", value);
	fputc(']', x->out);
}

#define COLUMN(x, name, n, ...)                                                                                                  \
	do {                                                                                                                     \
		fprintf((x)->out, ",\"%s\":[", name);                                                                            \
		for (size_t i = 0; i < (n); i++) {                                                                               \
			if (i)                                                                                                   \
				fputc(',', (x)->out);                                                                            \
			__VA_ARGS__;                                                                                             \
		}                                                                                                                \
		fputc(']', (x)->out);                                                                                            \
	} while (0)

static const struct frame_row *frame_at(const struct ff *x, size_t i)
{
	return x->frames[i] < x->v->p->n_frames ? &x->v->p->frames[x->frames[i]] : NULL;
}

static unsigned category_of(const struct ff *x, size_t i)
{
	const struct frame_row *f = frame_at(x, i);

	if (!f)
		return CATEGORY_WAITS + (x->frames[i] - (unsigned)x->v->p->n_frames);
	return f->language == LANG_KERNEL ? CATEGORY_KERNEL : CATEGORY_USER;
}

static void put_name_index(struct ff *x, size_t i)
{
	const struct frame_row *f = frame_at(x, i);
	char cls[64];

	snprintf(cls, sizeof cls, "[%s]", wait_class_name((enum wait_class)(category_of(x, i) - CATEGORY_WAITS)));
	fprintf(x->out, "%u", strtab_add(&x->strings, !f ? cls : f->function && *f->function ? f->function : "[unknown]"));
}

static void put_file_index(struct ff *x, size_t i)
{
	const struct frame_row *f = frame_at(x, i);

	if (f && f->file)
		fprintf(x->out, "%u", strtab_add(&x->strings, f->file));
	else
		fputs("null", x->out);
}

static void put_line(struct ff *x, size_t i)
{
	const struct frame_row *f = frame_at(x, i);

	if (f && f->line)
		fprintf(x->out, "%u", f->line);
	else
		fputs("null", x->out);
}

static void put_is_js(struct ff *x, size_t i)
{
	const struct frame_row *f = frame_at(x, i);

	fputs(f && f->language == LANG_JS ? "true" : "false", x->out);
}

static void put_tables(struct ff *x)
{
	size_t n = x->n_frames;

	fprintf(x->out, ",\n\"frameTable\":{\"length\":%zu", n);
	column_fill(x, "address", "-1", n);
	column_fill(x, "inlineDepth", "0", n);
	COLUMN(x, "category", n, fprintf(x->out, "%u", category_of(x, i)));
	column_fill(x, "subcategory", "0", n);
	COLUMN(x, "func", n, fprintf(x->out, "%zu", i));
	column_fill(x, "nativeSymbol", "null", n);
	column_fill(x, "innerWindowID", "null", n);
	COLUMN(x, "line", n, put_line(x, i));
	column_fill(x, "column", "null", n);
	fprintf(x->out, "},\n\"funcTable\":{\"length\":%zu", n);
	COLUMN(x, "name", n, put_name_index(x, i));
	COLUMN(x, "isJS", n, put_is_js(x, i));
	column_fill(x, "relevantForJS", "false", n);
	column_fill(x, "resource", "-1", n);
	COLUMN(x, "fileName", n, put_file_index(x, i));
	column_fill(x, "lineNumber", "null", n);
	column_fill(x, "columnNumber", "null", n);
	fprintf(x->out, "},\n\"stackTable\":{\"length\":%zu", x->n_nodes);
	COLUMN(x, "frame", x->n_nodes, fprintf(x->out, "%u", x->nodes[i].frame));
	COLUMN(x, "prefix", x->n_nodes, if (x->nodes[i].prefix < 0) fputs("null", x->out);
	       else fprintf(x->out, "%lld", (long long)x->nodes[i].prefix));
	fputs("},\n\"nativeSymbols\":{\"length\":0,\"libIndex\":[],\"address\":[],\"name\":[],\"functionSize\":[]},"
	      "\n\"resourceTable\":{\"length\":0,\"lib\":[],\"name\":[],\"host\":[],\"type\":[]},"
	      "\n\"markers\":{\"length\":0,\"data\":[],\"name\":[],\"startTime\":[],\"endTime\":[],\"phase\":[],\"category\":[]}",
	      x->out);
}

static void put_samples(struct ff *x, const struct view_hot *rows, size_t n, bool cpu)
{
	const char *sep = "";
	size_t count = 0;
	double at = 0;

	fputs(",\n\"samples\":{\"weightType\":\"tracing-ms\",\"stack\":[", x->out);
	for (size_t i = 0; i < n; i++)
		if (rows[i].is_cpu == cpu && rows[i].ns) {
			int64_t s = stack_node(x, &rows[i]);
			fprintf(x->out, s < 0 ? "%snull" : "%s%lld", sep, (long long)s);
			sep = ",";
			count++;
		}
	fputs("],\"time\":[", x->out);
	sep = "";
	for (size_t i = 0; i < n; i++)
		if (rows[i].is_cpu == cpu && rows[i].ns) {
			fprintf(x->out, "%s%.6f", sep, at);
			at += (double)rows[i].ns / 1e6;
			sep = ",";
		}
	fputs("],\"weight\":[", x->out);
	sep = "";
	for (size_t i = 0; i < n; i++)
		if (rows[i].is_cpu == cpu && rows[i].ns) {
			fprintf(x->out, "%s%.6f", sep, (double)rows[i].ns / 1e6);
			sep = ",";
		}
	fprintf(x->out, "],\"length\":%zu}", count);
}

static bool has_kind(const struct view_hot *rows, size_t n, bool cpu)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].is_cpu == cpu && rows[i].ns)
			return true;
	return false;
}

static void thread_reset(struct ff *x)
{
	memset(x->frame_of, 0xff, (x->v->p->n_frames + WC_COUNT) * sizeof *x->frame_of);
	x->n_frames = x->n_nodes = 0;
	if (x->n_slots)
		memset(x->slots, 0xff, x->n_slots * sizeof *x->slots);
	strtab_free(&x->strings);
	strtab_init(&x->strings);
}

static void put_thread(struct ff *x, const struct view_hot *rows, size_t n, bool cpu, bool *any)
{
	const struct view_group *g = &x->v->groups[rows[0].group];
	char name[160], title[200];

	if (!has_kind(rows, n, cpu))
		return;
	thread_reset(x);
	view_group_name(x->v, rows[0].group, name, sizeof name);
	snprintf(title, sizeof title, "%s: %s", name, cpu ? "on-CPU" : "waiting");
	fprintf(x->out,
		"%s\n{\"processType\":\"default\",\"processStartupTime\":0,\"processShutdownTime\":null,\"registerTime\":0,"
		"\"unregisterTime\":null,"
		"\"pausedRanges\":[],\"showMarkersInTimeline\":true,\"name\":",
		*any ? "," : "");
	*any = true;
	uint32_t title_ix = strtab_add(&x->strings, title), name_ix = strtab_add(&x->strings, name);
	put_str(x, x->strings.list[title_ix]);
	fputs(",\"processName\":", x->out);
	put_str(x, x->strings.list[name_ix]);
	fprintf(x->out, ",\"isMainThread\":%s,\"pid\":\"%d\",\"tid\":\"%d%s\"", cpu ? "true" : "false", (int)g->pid, (int)g->pid,
		cpu ? "" : "-waits");
	put_samples(x, rows, n, cpu);
	put_tables(x);
	fputs(",\n\"stringArray\":[", x->out);
	for (size_t i = 0; i < x->strings.n; i++) {
		if (i)
			fputc(',', x->out);
		put_str(x, x->strings.list[i]);
	}
	fputs("]}", x->out);
	x->failed |= x->strings.failed;
}

static void put_meta(struct ff *x)
{
	static const char *const colors[] = {"blue",	  "green",   "purple",	   "orange", "red",
					     "lightblue", "magenta", "lightgreen", "brown"};
	char target[1500];
	const struct profile_meta *m = &x->v->p->meta;

	text_target(x->v->p, target, sizeof target);
	uint32_t ix = strtab_add(&x->strings, target);
	fprintf(x->out,
		"{\"meta\":{\"interval\":%.6f,\"startTime\":%lld,\"processType\":0,\"stackwalk\":1,\"version\":30,"
		"\"preprocessedProfileVersion\":55,"
		"\"symbolicated\":true,\"usesOnlyOneStackType\":true,\"sourceCodeIsNotOnSearchfox\":true,\"debug\":false,"
		"\"markerSchema\":[],"
		"\"extensions\":{\"length\":0,\"baseURL\":[],\"id\":[],\"name\":[]},\"product\":",
		m->frequency_hz ? 1000.0 / m->frequency_hz : 1.0, (long long)source_recorded_at(m->started_at) * 1000);
	put_str(x, x->strings.list[ix]);
	fputs(",\"importedFrom\":\"lockstep\",\"categories\":[{\"name\":\"User\",\"color\":\"yellow\",\"subcategories\":["
	      "\"Other\"]},"
	      "{\"name\":\"Kernel\",\"color\":\"orange\",\"subcategories\":[\"Other\"]}",
	      x->out);
	for (unsigned c = 0; c < WC_COUNT; c++)
		fprintf(x->out, ",{\"name\":\"waiting: %s\",\"color\":\"%s\",\"subcategories\":[\"Other\"]}",
			wait_class_name((enum wait_class)c), colors[c % (sizeof colors / sizeof *colors)]);
	fputs("]},\n\"libs\":[],\"pages\":[],\"counters\":[],\"threads\":[", x->out);
}

int export_firefox(const struct profile *p, const struct export_options *opt, FILE *out, struct err *err)
{
	struct ff x = {.out = out};
	bool any = false;
	struct view *v;
	int r = view_new(p, &(struct view_options){.pid = opt->pid}, &v, err);

	if (r)
		return r;
	x.v = v;
	x.frame_of = malloc((p->n_frames + WC_COUNT) * sizeof *x.frame_of);
	x.frames = malloc((p->n_frames + WC_COUNT) * sizeof *x.frames);
	x.failed = !x.frame_of || !x.frames;
	strtab_init(&x.strings);
	put_meta(&x);
	for (size_t first = 0, end; !x.failed && first < v->n_hot; first = end) {
		for (end = first; end < v->n_hot && v->hot[end].group == v->hot[first].group; end++)
			;
		if (opt->kind & EXPORT_CPU)
			put_thread(&x, v->hot + first, end - first, true, &any);
		if (opt->kind & EXPORT_WAIT)
			put_thread(&x, v->hot + first, end - first, false, &any);
	}
	fputs("]}\n", out);
	bool failed = x.failed || x.strings.failed;
	strtab_free(&x.strings);
	free(x.frame_of);
	free(x.frames);
	free(x.nodes);
	free(x.slots);
	view_free(v);
	return failed && !ferror(out) ? err_set(err, -ENOMEM, "export firefox: out of memory; try --pid")
				      : report_finish(out, err);
}
