/* SPDX-License-Identifier: Apache-2.0
 *
 * pprof: profile.proto (github.com/google/pprof), gzip'ed. In: a profile; out: sample types cpu, blocked and count; labels pid,
 * comm, class, channel and peer, so that `go tool pprof -tagfocus` and -tagroot can ask by them. The peer of a wait is the
 * process that ended most of the time of this waiter's waits on this channel from this stack. */
#include "report/report.h"
#include "report/frames.h"
#include "report/protobuf.h"
#include "report/source.h"
#include "report/strtab.h"
#include "report/text.h"
#include "report/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Field numbers of profile.proto. */
enum {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE,
	PROFILE_MAPPING,
	PROFILE_LOCATION,
	PROFILE_FUNCTION,
	PROFILE_STRING_TABLE,
	PROFILE_DURATION_NANOS = 10,
	PROFILE_PERIOD_TYPE,
	PROFILE_PERIOD,
	PROFILE_COMMENT,
	PROFILE_DEFAULT_SAMPLE_TYPE,
	PROFILE_TIME_NANOS = 9
};
enum { SAMPLE_LOCATION_ID = 1, SAMPLE_VALUE, SAMPLE_LABEL };
enum { LABEL_KEY = 1, LABEL_STR, LABEL_NUM };
enum {
	MAPPING_ID = 1,
	MAPPING_FILENAME = 5,
	MAPPING_HAS_FUNCTIONS = 7,
	MAPPING_HAS_FILENAMES,
	MAPPING_HAS_LINES,
	MAPPING_HAS_INLINE
};
enum { LOCATION_ID = 1, LOCATION_MAPPING_ID, LOCATION_ADDRESS, LOCATION_LINE };
enum { LINE_FUNCTION_ID = 1, LINE_LINE };
enum { FUNCTION_ID = 1, FUNCTION_NAME, FUNCTION_SYSTEM_NAME, FUNCTION_FILENAME };

struct pprof {
	const struct view *v;
	struct pb out;
	struct strtab strings;
	uint32_t *mapping_of; /* per string: mapping id of the module of that name, 0: none yet */
	size_t n_mapping_of;
	uint32_t n_mappings;
	uint8_t *used; /* per frame: a sample refers to it */
};

static void value_type(struct pprof *x, uint32_t field, const char *type, const char *unit)
{
	struct pb b = {0};

	pb_varint(&b, 1, strtab_add(&x->strings, type));
	pb_varint(&b, 2, strtab_add(&x->strings, unit));
	pb_message(&x->out, field, &b);
	pb_free(&b);
}

static void label_str(struct pprof *x, struct pb *sample, const char *key, const char *value)
{
	struct pb b = {0};

	if (!value || !*value)
		return;
	pb_varint(&b, LABEL_KEY, strtab_add(&x->strings, key));
	pb_varint(&b, LABEL_STR, strtab_add(&x->strings, value));
	pb_message(sample, SAMPLE_LABEL, &b);
	pb_free(&b);
}

static void label_num(struct pprof *x, struct pb *sample, const char *key, uint64_t value)
{
	struct pb b = {0};

	pb_varint(&b, LABEL_KEY, strtab_add(&x->strings, key));
	pb_varint(&b, LABEL_NUM, value);
	pb_message(sample, SAMPLE_LABEL, &b);
	pb_free(&b);
}

/* Begins a sample: its locations and values. Location ids are frame indexes + 1. */
static void sample_begin(struct pprof *x, struct pb *b, uint32_t stack_ix, uint64_t cpu, uint64_t blocked, uint64_t count)
{
	const struct profile *p = x->v->p;
	const struct stack_row *s = stack_ix < p->n_stacks ? &p->stacks[stack_ix] : NULL;
	uint64_t *ids = malloc(((s ? s->n : 0) + 1) * sizeof *ids), values[3] = {cpu, blocked, count};
	size_t n = 0;

	b->failed |= !ids;
	for (uint32_t i = 0; ids && s && i < s->n; i++)
		if (s->frame_ix[i] < p->n_frames) {
			x->used[s->frame_ix[i]] = 1;
			ids[n++] = s->frame_ix[i] + 1;
		}
	pb_packed(b, SAMPLE_LOCATION_ID, ids, n);
	pb_packed(b, SAMPLE_VALUE, values, 3);
	free(ids);
}

static void sample_end(struct pprof *x, struct pb *b, int32_t pid)
{
	const struct process_row *r = view_process(x->v, pid);

	label_num(x, b, "pid", (uint64_t)pid);
	label_str(x, b, "comm", r ? r->comm : NULL);
	pb_message(&x->out, PROFILE_SAMPLE, b);
	pb_free(b);
}

/* The edge of this waiter, channel and stack with most blocked time, from edges sorted by those. */
static int cmp_edge_site(const void *pa, const void *pb_)
{
	const struct edge_row *a = *(const struct edge_row *const *)pa, *b = *(const struct edge_row *const *)pb_;

	if (a->waiter_pid != b->waiter_pid)
		return a->waiter_pid < b->waiter_pid ? -1 : 1;
	if (a->channel != b->channel)
		return a->channel < b->channel ? -1 : 1;
	if (a->waiter_stack_ix != b->waiter_stack_ix)
		return a->waiter_stack_ix < b->waiter_stack_ix ? -1 : 1;
	return a->blocked_ns > b->blocked_ns ? -1 : a->blocked_ns < b->blocked_ns;
}

static const struct edge_row *find_edge(const struct edge_row *const *edges, size_t n, const struct wait_row *w)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct edge_row *e = edges[mid];
		bool less = e->waiter_pid != w->pid    ? e->waiter_pid < w->pid
			    : e->channel != w->channel ? e->channel < w->channel
						       : e->waiter_stack_ix < w->stack_ix;
		if (less)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < n && edges[lo]->waiter_pid == w->pid && edges[lo]->channel == w->channel &&
	    edges[lo]->waiter_stack_ix == w->stack_ix)
		return edges[lo];
	return NULL;
}

static int wait_samples(struct pprof *x)
{
	const struct profile *p = x->v->p;
	const struct edge_row **edges = malloc((p->n_edges + 1) * sizeof *edges);
	char peer[64];

	if (!edges)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_edges; i++)
		edges[i] = &p->edges[i];
	qsort(edges, p->n_edges, sizeof *edges, cmp_edge_site);
	for (size_t i = 0; i < p->n_waits; i++) {
		const struct wait_row *w = &p->waits[i];
		const struct channel_row *ch = view_channel(x->v, w->channel);
		const struct edge_row *e = find_edge(edges, p->n_edges, w);
		struct pb b = {0};

		if ((x->v->pid && w->pid != x->v->pid) || w->cls == WC_NONE || w->blocked_ns == 0)
			continue;
		sample_begin(x, &b, w->stack_ix, 0, w->blocked_ns, w->count);
		label_str(x, &b, "class", wait_class_name(w->cls));
		label_str(x, &b, "channel", ch ? ch->name : NULL);
		if (e && e->waker_pid) {
			const struct process_row *r = view_process(x->v, e->waker_pid);
			snprintf(peer, sizeof peer, "%s-%d", r && r->comm ? r->comm : "pid", (int)e->waker_pid);
			label_str(x, &b, "peer", peer);
		} else if (ch && ch->remote) {
			label_str(x, &b, "peer", ch->name);
		}
		sample_end(x, &b, w->pid);
	}
	free(edges);
	return 0;
}

static void cpu_samples(struct pprof *x)
{
	const struct profile *p = x->v->p;

	for (size_t i = 0; i < p->n_cpu; i++) {
		struct pb b = {0};
		if ((x->v->pid && p->cpu[i].pid != x->v->pid) || p->cpu[i].est_ns == 0)
			continue;
		sample_begin(x, &b, p->cpu[i].stack_ix, p->cpu[i].est_ns, 0, p->cpu[i].samples);
		label_str(x, &b, "class", "on_cpu");
		sample_end(x, &b, p->cpu[i].pid);
	}
}

/* One mapping per module. Addresses are not in a profile (symbols are resolved while the target lives), so mappings only name
 * modules. */
static uint32_t mapping(struct pprof *x, const char *module)
{
	uint32_t name = strtab_add(&x->strings, module);

	if (name >= x->n_mapping_of) {
		size_t n = x->strings.n + 1024;
		uint32_t *m = realloc(x->mapping_of, n * sizeof *m);
		if (!m) {
			x->out.failed = true;
			return 0;
		}
		memset(m + x->n_mapping_of, 0, (n - x->n_mapping_of) * sizeof *m);
		x->mapping_of = m;
		x->n_mapping_of = n;
	}
	if (name && !x->mapping_of[name]) {
		struct pb b = {0};
		x->mapping_of[name] = ++x->n_mappings;
		pb_varint(&b, MAPPING_ID, x->n_mappings);
		pb_varint(&b, MAPPING_FILENAME, name);
		pb_varint(&b, MAPPING_HAS_FUNCTIONS, 1);
		pb_varint(&b, MAPPING_HAS_FILENAMES, 1);
		pb_varint(&b, MAPPING_HAS_LINES, 1);
		pb_varint(&b, MAPPING_HAS_INLINE, 1);
		pb_message(&x->out, PROFILE_MAPPING, &b);
		pb_free(&b);
	}
	return name ? x->mapping_of[name] : 0;
}

/* Locations and functions of the frames in use: one each per frame; pprof merges equal functions by name itself. */
static void locations(struct pprof *x)
{
	const struct profile *p = x->v->p;
	struct pb line = {0}, loc = {0}, fn = {0};

	for (size_t i = 0; i < p->n_frames; i++) {
		const struct frame_row *f = &p->frames[i];
		if (!x->used[i])
			continue;
		pb_reset(&line);
		pb_varint(&line, LINE_FUNCTION_ID, i + 1);
		pb_varint(&line, LINE_LINE, f->line);
		pb_reset(&loc);
		pb_varint(&loc, LOCATION_ID, i + 1);
		pb_varint(&loc, LOCATION_MAPPING_ID, mapping(x, f->module));
		pb_message(&loc, LOCATION_LINE, &line);
		pb_message(&x->out, PROFILE_LOCATION, &loc);
		uint32_t name = strtab_add(&x->strings, f->function && *f->function ? f->function : "[unknown]");
		pb_reset(&fn);
		pb_varint(&fn, FUNCTION_ID, i + 1);
		pb_varint(&fn, FUNCTION_NAME, name);
		pb_varint(&fn, FUNCTION_SYSTEM_NAME, name);
		pb_varint(&fn, FUNCTION_FILENAME, strtab_add(&x->strings, f->file));
		pb_message(&x->out, PROFILE_FUNCTION, &fn);
	}
	x->out.failed |= line.failed || loc.failed || fn.failed;
	pb_free(&line);
	pb_free(&loc);
	pb_free(&fn);
}

static void header(struct pprof *x, enum export_kind kind)
{
	char target[1500];
	const struct profile_meta *m = &x->v->p->meta;

	value_type(x, PROFILE_SAMPLE_TYPE, "cpu", "nanoseconds");
	value_type(x, PROFILE_SAMPLE_TYPE, "blocked", "nanoseconds");
	value_type(x, PROFILE_SAMPLE_TYPE, "count", "count");
	pb_varint(&x->out, PROFILE_TIME_NANOS, (uint64_t)source_recorded_at(m->started_at) * 1000000000ull);
	pb_varint(&x->out, PROFILE_DURATION_NANOS, x->v->wall_ns);
	if (m->frequency_hz) {
		value_type(x, PROFILE_PERIOD_TYPE, "cpu", "nanoseconds");
		pb_varint(&x->out, PROFILE_PERIOD, 1000000000ull / m->frequency_hz);
	}
	text_target(x->v->p, target, sizeof target);
	pb_varint(&x->out, PROFILE_COMMENT, strtab_add(&x->strings, target));
	pb_varint(&x->out, PROFILE_DEFAULT_SAMPLE_TYPE, strtab_add(&x->strings, kind == EXPORT_CPU ? "cpu" : "blocked"));
}

static int write_gzip(const struct pb *b, FILE *out)
{
	z_stream z = {0};
	uint8_t buf[65536];
	int r;

	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	size_t left = b->len;
	z.next_in = b->data;
	do {
		if (z.avail_in == 0) {
			z.avail_in = left > 1u << 30 ? 1u << 30 : (uInt)left;
			left -= z.avail_in;
		}
		z.next_out = buf;
		z.avail_out = sizeof buf;
		r = deflate(&z, left ? Z_NO_FLUSH : Z_FINISH);
		fwrite(buf, 1, sizeof buf - z.avail_out, out);
	} while (r == Z_OK && !ferror(out));
	deflateEnd(&z);
	return 0;
}

int export_pprof(const struct profile *p, const struct export_options *opt, FILE *out, struct err *err)
{
	struct pprof x = {0};
	struct view *v;
	int r = view_new(p, &(struct view_options){.pid = opt->pid}, &v, err);

	if (r)
		return r;
	x.v = v;
	x.used = calloc(p->n_frames + 1, 1);
	strtab_init(&x.strings);
	if (x.used) {
		header(&x, opt->kind);
		if (opt->kind & EXPORT_CPU)
			cpu_samples(&x);
		if (opt->kind & EXPORT_WAIT)
			r = wait_samples(&x);
		locations(&x);
	}
	for (size_t i = 0; i < x.strings.n; i++)
		pb_string(&x.out, PROFILE_STRING_TABLE, x.strings.list[i]);
	if (!r && (!x.used || x.out.failed || x.strings.failed))
		r = -ENOMEM;
	if (!r)
		r = write_gzip(&x.out, out);
	pb_free(&x.out);
	strtab_free(&x.strings);
	free(x.mapping_of);
	free(x.used);
	view_free(v);
	return r ? err_set(err, r, "export pprof: out of memory; try --pid") : report_finish(out, err);
}
