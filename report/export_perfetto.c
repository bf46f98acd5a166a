/* SPDX-License-Identifier: Apache-2.0
 *
 * A Perfetto trace (protos/perfetto/trace in github.com/google/perfetto; field numbers below). In: a profile; out, on one time
 * axis from 0:
 *   [0, duration)      per process two counters, on-CPU and blocked, in percent of one CPU, from the timeline's intervals
 *   from duration on   the excerpts: every wait of a few windows, exactly; per thread the slices running, runnable and the
 *                      wait's class, and a flow from the waker to whom it woke. A profile does not tell where in the run an excerpt lay, so
 *                      they stand behind each other, each under a slice that names it. */
#include "report/report.h"
#include "report/frames.h"
#include "report/protobuf.h"
#include "report/sanitize.h"
#include "report/text.h"
#include "report/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TRACE_PACKET = 1 };
enum { PACKET_TIMESTAMP = 8, PACKET_SEQUENCE_ID = 10, PACKET_TRACK_EVENT = 11, PACKET_TRACK_DESCRIPTOR = 60 };
enum { TRACK_UUID = 1, TRACK_NAME = 2, TRACK_PROCESS = 3, TRACK_THREAD = 4, TRACK_PARENT_UUID = 5, TRACK_COUNTER = 8 };
enum { PROCESS_PID = 1, PROCESS_CMDLINE = 2, PROCESS_NAME = 6 };
enum { THREAD_PID = 1, THREAD_TID = 2, THREAD_NAME = 5 };
enum { COUNTER_UNIT_NAME = 6 };
enum {
	EVENT_ANNOTATION = 4,
	EVENT_TYPE = 9,
	EVENT_TRACK_UUID = 11,
	EVENT_CATEGORY = 22,
	EVENT_NAME = 23,
	EVENT_DOUBLE_VALUE = 44,
	EVENT_FLOW = 47,
	EVENT_FLOW_END = 48
};
enum { TYPE_BEGIN = 1, TYPE_END = 2, TYPE_INSTANT = 3, TYPE_COUNTER = 4 };
enum { ANNOTATION_UINT = 3, ANNOTATION_STRING = 6, ANNOTATION_NAME = 10 };

#define UUID_PROCESS (1ull << 40)
#define UUID_THREAD (2ull << 40)
#define UUID_CPU (3ull << 40)
#define UUID_BLOCKED (4ull << 40)
#define UUID_EXCERPTS (5ull << 40)
#define GAP_NS 1000000ull /* between excerpts */

struct perfetto {
	const struct view *v;
	FILE *out;
	struct pb packet, part, sub;
	uint64_t next_flow;
};

static void flush_packet(struct perfetto *x)
{
	struct pb head = {0};

	pb_message(&head, TRACE_PACKET, &x->packet);
	x->packet.failed |= head.failed;
	fwrite(head.data, 1, head.len, x->out);
	pb_free(&head);
	pb_reset(&x->packet);
}

static void put_text(struct pb *b, uint32_t field, const char *raw)
{
	char buf[512];

	sanitize(buf, sizeof buf, raw);
	pb_string(b, field, buf);
}

/* ---- descriptors ---- */

static void descriptor_end(struct perfetto *x)
{
	pb_varint(&x->packet, PACKET_SEQUENCE_ID, 1);
	pb_message(&x->packet, PACKET_TRACK_DESCRIPTOR, &x->part);
	pb_reset(&x->part);
	flush_packet(x);
}

static void process_track(struct perfetto *x, const struct process_row *r)
{
	pb_reset(&x->sub);
	pb_varint(&x->sub, PROCESS_PID, (uint64_t)r->pid);
	for (char **a = r->cmdline; a && *a; a++)
		put_text(&x->sub, PROCESS_CMDLINE, *a);
	put_text(&x->sub, PROCESS_NAME, r->comm);
	pb_varint(&x->part, TRACK_UUID, UUID_PROCESS | (uint32_t)r->pid);
	pb_message(&x->part, TRACK_PROCESS, &x->sub);
	descriptor_end(x);
}

static void counter_track(struct perfetto *x, uint64_t uuid, int32_t pid, const char *name)
{
	pb_reset(&x->sub);
	pb_string(&x->sub, COUNTER_UNIT_NAME, "%");
	pb_varint(&x->part, TRACK_UUID, uuid | (uint32_t)pid);
	pb_varint(&x->part, TRACK_PARENT_UUID, UUID_PROCESS | (uint32_t)pid);
	pb_string(&x->part, TRACK_NAME, name);
	pb_message(&x->part, TRACK_COUNTER, &x->sub);
	descriptor_end(x);
}

static void thread_track(struct perfetto *x, int32_t pid, int32_t tid, const char *name)
{
	pb_reset(&x->sub);
	pb_varint(&x->sub, THREAD_PID, (uint64_t)pid);
	pb_varint(&x->sub, THREAD_TID, (uint64_t)tid);
	put_text(&x->sub, THREAD_NAME, name);
	pb_varint(&x->part, TRACK_UUID, UUID_THREAD | (uint32_t)tid);
	pb_varint(&x->part, TRACK_PARENT_UUID, UUID_PROCESS | (uint32_t)pid);
	pb_message(&x->part, TRACK_THREAD, &x->sub);
	descriptor_end(x);
}

/* ---- events ---- */

static void event_begin(struct perfetto *x, unsigned type, uint64_t track)
{
	pb_reset(&x->part);
	pb_varint(&x->part, EVENT_TYPE, type);
	pb_varint(&x->part, EVENT_TRACK_UUID, track);
}

static void event_end(struct perfetto *x, uint64_t at_ns)
{
	pb_varint(&x->packet, PACKET_TIMESTAMP, at_ns);
	pb_varint(&x->packet, PACKET_SEQUENCE_ID, 1);
	pb_message(&x->packet, PACKET_TRACK_EVENT, &x->part);
	pb_reset(&x->part);
	flush_packet(x);
}

static void annotate(struct perfetto *x, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	pb_reset(&x->sub);
	pb_string(&x->sub, ANNOTATION_NAME, name);
	put_text(&x->sub, ANNOTATION_STRING, value);
	pb_message(&x->part, EVENT_ANNOTATION, &x->sub);
}

static void annotate_number(struct perfetto *x, const char *name, uint64_t value)
{
	pb_reset(&x->sub);
	pb_string(&x->sub, ANNOTATION_NAME, name);
	pb_varint(&x->sub, ANNOTATION_UINT, value);
	pb_message(&x->part, EVENT_ANNOTATION, &x->sub);
}

static void slice_end(struct perfetto *x, uint64_t track, uint64_t at_ns)
{
	event_begin(x, TYPE_END, track);
	event_end(x, at_ns);
}

static void plain_slice(struct perfetto *x, uint64_t track, const char *name, const char *category, uint64_t from_ns,
			uint64_t to_ns, uint64_t flow)
{
	if (to_ns <= from_ns)
		return;
	event_begin(x, TYPE_BEGIN, track);
	pb_string(&x->part, EVENT_CATEGORY, category);
	put_text(&x->part, EVENT_NAME, name);
	if (flow)
		pb_fixed64(&x->part, EVENT_FLOW_END, flow);
	event_end(x, from_ns);
	slice_end(x, track, to_ns);
}

static void counters(struct perfetto *x)
{
	const struct profile *p = x->v->p;
	double step = p->timeline_step_ns ? (double)p->timeline_step_ns : 1;

	for (size_t i = 0; i < p->n_intervals; i++) {
		const struct interval_row *r = &p->intervals[i];
		if (view_group_of(x->v, r->pid) == IX_NONE || (x->v->pid && r->pid != x->v->pid))
			continue;
		event_begin(x, TYPE_COUNTER, UUID_CPU | (uint32_t)r->pid);
		pb_double(&x->part, EVENT_DOUBLE_VALUE, (double)r->on_cpu_ns / step * 100);
		event_end(x, (uint64_t)r->index * p->timeline_step_ns);
		event_begin(x, TYPE_COUNTER, UUID_BLOCKED | (uint32_t)r->pid);
		pb_double(&x->part, EVENT_DOUBLE_VALUE, (double)r->blocked_ns / step * 100);
		event_end(x, (uint64_t)r->index * p->timeline_step_ns);
	}
}

static void wait_slice(struct perfetto *x, const struct trace_row *r, uint64_t base)
{
	uint64_t track = UUID_THREAD | (uint32_t)r->tid;
	const struct channel_row *ch = view_channel(x->v, r->channel);
	const struct frame_row *f = frames_site(x->v->p, r->stack_ix);
	char site[300];

	if (r->wake_ns > r->out_ns) {
		event_begin(x, TYPE_BEGIN, track);
		pb_string(&x->part, EVENT_CATEGORY, "wait");
		pb_string(&x->part, EVENT_NAME, wait_class_name(r->cls));
		annotate(x, "channel", ch ? ch->name : NULL);
		if (f && f->function) {
			snprintf(site, sizeof site, f->file && f->line ? "%s (%s:%u)" : "%s", f->function,
				 frames_basename(f->file), f->line);
			annotate(x, "at", site);
		}
		annotate(x, "ended by", blame_kind_name(r->end));
		if (r->bytes)
			annotate_number(x, "message bytes", r->bytes);
		event_end(x, base + r->out_ns);
		slice_end(x, track, base + r->wake_ns);
	}
	uint64_t flow = r->waker_tid && r->run_ns > r->wake_ns ? ++x->next_flow : 0;
	if (flow) {
		event_begin(x, TYPE_INSTANT, UUID_THREAD | (uint32_t)r->waker_tid);
		pb_string(&x->part, EVENT_CATEGORY, "wake");
		pb_string(&x->part, EVENT_NAME, "wake");
		pb_fixed64(&x->part, EVENT_FLOW, flow);
		event_end(x, base + r->wake_ns);
	}
	plain_slice(x, track, "runnable", "runnable", base + r->wake_ns, base + r->run_ns, flow);
}

static bool trace_wanted(const struct view *v, const struct trace_row *r)
{
	return !v->pid || r->pid == v->pid;
}

static int cmp_trace(const void *pa, const void *pb_)
{
	const struct trace_row *a = *(const struct trace_row *const *)pa, *b = *(const struct trace_row *const *)pb_;

	if (a->window != b->window)
		return a->window < b->window ? -1 : 1;
	if (a->tid != b->tid)
		return a->tid < b->tid ? -1 : 1;
	return a->out_ns < b->out_ns ? -1 : a->out_ns > b->out_ns;
}

static const char *thread_name(const struct profile *p, int32_t tid)
{
	for (size_t i = 0; i < p->n_threads; i++)
		if (p->threads[i].tid == tid)
			return p->threads[i].comm;
	return NULL;
}

/* One thread's rows of one window, in time order. */
static void thread_slices(struct perfetto *x, const struct trace_row *const *rows, size_t n, uint64_t base)
{
	for (size_t i = 0; i < n; i++) {
		wait_slice(x, rows[i], base);
		if (i + 1 < n)
			plain_slice(x, UUID_THREAD | (uint32_t)rows[i]->tid, "running", "running", base + rows[i]->run_ns,
				    base + rows[i + 1]->out_ns, 0);
	}
}

static int excerpts(struct perfetto *x)
{
	const struct profile *p = x->v->p;
	const struct trace_row **rows = malloc((p->n_trace + 1) * sizeof *rows);
	uint64_t base = x->v->wall_ns + GAP_NS;
	size_t n = 0;
	char name[64];

	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_trace; i++)
		if (trace_wanted(x->v, &p->trace[i]))
			rows[n++] = &p->trace[i];
	qsort(rows, n, sizeof *rows, cmp_trace);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || rows[i]->tid != rows[i - 1]->tid || rows[i]->window != rows[i - 1]->window)
			thread_track(x, rows[i]->pid, rows[i]->tid,
				     thread_name(p, rows[i]->tid)); /* again per window: the same track */
	for (size_t first = 0, end; first < n; first = end) {
		uint64_t length = 0;
		for (end = first; end < n && rows[end]->window == rows[first]->window; end++)
			length = rows[end]->run_ns > length ? rows[end]->run_ns : length;
		snprintf(name, sizeof name, "excerpt %u: every wait", rows[first]->window + 1);
		plain_slice(x, UUID_EXCERPTS, name, "excerpt", base, base + length + 1, 0);
		for (size_t i = first, j; i < end; i = j) {
			for (j = i; j < end && rows[j]->tid == rows[i]->tid; j++)
				;
			thread_slices(x, rows + i, j - i, base);
		}
		base += length + GAP_NS;
	}
	free(rows);
	return 0;
}

int export_perfetto(const struct profile *p, const struct export_options *opt, FILE *out, struct err *err)
{
	struct perfetto x = {.out = out};
	struct view *v;
	int r = view_new(p, &(struct view_options){.pid = opt->pid}, &v, err);

	if (r)
		return r;
	x.v = v;
	for (size_t i = 0; i < p->n_processes; i++) {
		const struct process_row *row = &p->processes[i];
		if (view_group_of(v, row->pid) == IX_NONE)
			continue;
		process_track(&x, row);
		counter_track(&x, UUID_CPU, row->pid, "on-CPU");
		counter_track(&x, UUID_BLOCKED, row->pid, "blocked");
	}
	pb_varint(&x.part, TRACK_UUID, UUID_EXCERPTS);
	pb_string(&x.part, TRACK_NAME, "lockstep excerpts");
	descriptor_end(&x);
	counters(&x);
	r = excerpts(&x);
	if (!r && (x.packet.failed || x.part.failed || x.sub.failed))
		r = -ENOMEM;
	pb_free(&x.packet);
	pb_free(&x.part);
	pb_free(&x.sub);
	view_free(v);
	return r ? err_set(err, r, "export perfetto: out of memory; try --pid") : report_finish(out, err);
}
