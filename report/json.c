/* SPDX-License-Identifier: Apache-2.0
 *
 * The JSON report, schema "lockstep-report/1" (fields are only ever added). In: a profile; out: one JSON object. Rows are built
 * with jansson and written one at a time, one per line: memory stays that of a row however many stacks there are, and two
 * reports diff well. */
#include "report/report.h"
#include "report/sanitize.h"
#include "report/text.h"
#include "report/view.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct json_writer {
	FILE *out;
	bool first; /* of the current array */
	bool no_memory;
};

/* ---- values ---- */

static json_t *text(const char *raw)
{
	char *s = sanitize_dup(raw);
	json_t *j = s ? json_string(s) : NULL;

	free(s);
	return j;
}

static json_t *text_or_null(const char *raw)
{
	return raw ? text(raw) : json_null();
}

static json_t *seconds(uint64_t ns)
{
	return json_real((double)ns / 1e9);
}

static json_t *text_list(char *const *list)
{
	json_t *a = json_array();

	for (; list && *list; list++)
		json_array_append_new(a, text(*list));
	return a;
}

static json_t *int_list(const int32_t *v, size_t n)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, json_integer(v[i]));
	return a;
}

/* p50_us, p99_us or null. */
static void set_quantiles(json_t *o, const struct hist *h)
{
	bool has = hist_total(h) > 0;

	json_object_set_new(o, "p50_us", has ? json_real(hist_quantile(h, 0.5) / 1000) : json_null());
	json_object_set_new(o, "p99_us", has ? json_real(hist_quantile(h, 0.99) / 1000) : json_null());
}

static json_t *byte_quantiles(double p50, double p99, bool known)
{
	json_t *o;

	if (!known)
		return json_null();
	o = json_object();
	json_object_set_new(o, "p50", json_real(p50));
	json_object_set_new(o, "p99", json_real(p99));
	return o;
}

/* ---- writing ---- */

static void key(struct json_writer *w, const char *name, bool first)
{
	fprintf(w->out, "%s\n\"%s\":", first ? "{" : ",", name);
}

static void value(struct json_writer *w, json_t *j)
{
	if (!j || json_dumpf(j, w->out, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12)))
		w->no_memory |= !ferror(w->out);
	json_decref(j);
}

static void array_begin(struct json_writer *w, const char *name)
{
	key(w, name, false);
	fputc('[', w->out);
	w->first = true;
}

static void row(struct json_writer *w, json_t *j)
{
	fputs(w->first ? "\n" : ",\n", w->out);
	w->first = false;
	value(w, j);
}

static void array_end(struct json_writer *w)
{
	fputc(']', w->out);
}

/* ---- the parts ---- */

static json_t *meta(const struct view *v)
{
	const struct profile_meta *m = &v->p->meta;
	json_t *o = json_object(), *lost = json_object();

	json_object_set_new(o, "version", text(m->version));
	json_object_set_new(o, "host", text(m->host));
	json_object_set_new(o, "kernel", text(m->kernel));
	json_object_set_new(o, "arch", text(m->arch));
	json_object_set_new(o, "cpus", json_integer(m->cpus));
	json_object_set_new(o, "backend", text(m->backend));
	json_object_set_new(o, "backend_costs", text_or_null(m->backend_costs));
	json_object_set_new(o, "command", m->command ? text_list(m->command) : json_null());
	json_object_set_new(o, "root_pids", int_list(m->root_pids, m->n_root_pids));
	json_object_set_new(o, "started_at", text(m->started_at));
	json_object_set_new(o, "duration_s", seconds(v->wall_ns));
	json_object_set_new(o, "exit_status", m->exit_status >= 0 ? json_integer(m->exit_status) : json_null());
	json_object_set_new(o, "frequency_hz", json_integer(m->frequency_hz));
	json_object_set_new(o, "analysed_s", seconds(m->window_ns));
	json_object_set_new(lost, "events", json_integer((json_int_t)m->lost_events));
	json_object_set_new(lost, "stacks", json_integer((json_int_t)m->lost_stacks));
	json_object_set_new(lost, "share_of_time", json_real(v->lost_share));
	json_object_set_new(o, "lost", lost);
	return o;
}

static json_t *wait_json(const struct view_wait *w)
{
	json_t *o = json_object();

	json_object_set_new(o, "class", json_string(wait_class_name(w->cls)));
	json_object_set_new(o, "channel_id", w->channel ? json_integer(w->channel) : json_null());
	json_object_set_new(o, "count", json_integer((json_int_t)w->count));
	json_object_set_new(o, "blocked_s", seconds(w->blocked_ns));
	set_quantiles(o, &w->hist);
	json_object_set_new(o, "idle_s", seconds(w->idle_ns));
	json_object_set_new(o, "run_queue_s", seconds(w->run_queue_ns));
	json_object_set_new(o, "in_progress", json_integer((json_int_t)w->in_progress));
	json_object_set_new(o, "estimated", json_boolean(w->estimated));
	return o;
}

static json_t *process_waits(const struct view *v, int32_t pid)
{
	json_t *a = json_array();
	size_t lo = 0, hi = v->n_waits;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (v->waits[mid].pid < pid)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < v->n_waits && v->waits[lo].pid == pid; lo++)
		json_array_append_new(a, wait_json(&v->waits[lo]));
	return a;
}

/* Times before the start (a process older than the recording) read as 0. */
static json_t *since_start(const struct view *v, uint64_t ns)
{
	uint64_t start = v->p->meta.start_ns;

	return seconds(ns > start ? ns - start : 0);
}

static json_t *process_json(const struct view *v, const struct process_row *r)
{
	json_t *o = json_object();
	uint64_t blocked = 0;

	for (unsigned c = 0; c < WC_COUNT; c++)
		blocked += r->ledger.blocked_ns[c];
	json_object_set_new(o, "pid", json_integer(r->pid));
	json_object_set_new(o, "ppid", json_integer(r->ppid));
	json_object_set_new(o, "comm", text(r->comm));
	json_object_set_new(o, "cmdline", text_list(r->cmdline));
	json_object_set_new(o, "exe", text(r->exe));
	json_object_set_new(o, "runtime", json_string(runtime_kind_name(r->runtime)));
	json_object_set_new(o, "in_tree", json_boolean(r->in_tree));
	json_object_set_new(o, "siblings", json_integer(r->n_siblings ? r->n_siblings : 1));
	json_object_set_new(o, "started_s", since_start(v, r->started_ns));
	json_object_set_new(o, "ended_s", r->ended_ns ? since_start(v, r->ended_ns) : json_null());
	json_object_set_new(o, "threads", json_integer(r->n_threads));
	json_object_set_new(o, "on_cpu_s", seconds(r->ledger.on_cpu_ns));
	json_object_set_new(o, "run_queue_s", seconds(r->ledger.run_queue_ns));
	json_object_set_new(o, "blocked_s", seconds(blocked));
	json_object_set_new(o, "idle_s", seconds(r->ledger.idle_ns));
	json_object_set_new(o, "lost_s", seconds(r->ledger.lost_ns));
	json_object_set_new(o, "wait_count", json_integer((json_int_t)r->ledger.waits));
	json_object_set_new(o, "preemptions", json_integer((json_int_t)r->ledger.preemptions));
	json_object_set_new(o, "waits", process_waits(v, r->pid));
	return o;
}

static json_t *channel_json(const struct channel_row *c)
{
	static const char *const roles[] = {"both", "reader", "writer", "both"};
	json_t *o = json_object(), *ends = json_array();

	for (size_t i = 0; i < c->n_ends; i++) {
		json_t *e = json_object();
		json_object_set_new(e, "pid", json_integer(c->ends[i].pid));
		json_object_set_new(e, "role", json_string(roles[c->ends[i].role & 3]));
		json_object_set_new(e, "fd", c->ends[i].fd >= 0 ? json_integer(c->ends[i].fd) : json_null());
		json_array_append_new(ends, e);
	}
	json_object_set_new(o, "id", json_integer(c->id));
	json_object_set_new(o, "kind", json_string(channel_kind_name(c->kind)));
	json_object_set_new(o, "name", text(c->name));
	json_object_set_new(o, "capacity_bytes", c->capacity_bytes ? json_integer((json_int_t)c->capacity_bytes) : json_null());
	json_object_set_new(o, "remote", json_boolean(c->remote));
	json_object_set_new(o, "ends", ends);
	return o;
}

static const char *confidence_name(enum confidence c)
{
	return c == CONF_HIGH ? "high" : c == CONF_MEDIUM ? "medium" : "low";
}

static json_t *edge_json(const struct view *v, const struct edge_row *e)
{
	json_t *o = json_object();

	json_object_set_new(o, "waiter_pid", json_integer(e->waiter_pid));
	json_object_set_new(o, "waker_pid", e->waker_pid ? json_integer(e->waker_pid) : json_null());
	json_object_set_new(o, "channel_id", e->channel ? json_integer(e->channel) : json_null());
	json_object_set_new(o, "class", json_string(wait_class_name(e->cls)));
	json_object_set_new(o, "count", json_integer((json_int_t)e->count));
	json_object_set_new(o, "rate_per_s", json_real((double)e->count / ((double)v->wall_ns / 1e9)));
	json_object_set_new(o, "blocked_s", seconds(e->blocked_ns));
	json_object_set_new(o, "run_queue_s", seconds(e->run_queue_ns));
	set_quantiles(o, &e->hist);
	json_object_set_new(o, "message_bytes",
			    byte_quantiles(size_hist_quantile(&e->bytes, 0.5), size_hist_quantile(&e->bytes, 0.99),
					   e->bytes.total_count > 0));
	json_object_set_new(o, "confidence", json_string(confidence_name(e->confidence)));
	json_object_set_new(o, "estimated", json_boolean(e->estimated));
	json_object_set_new(o, "waiter_stack", json_integer(e->waiter_stack_ix));
	json_object_set_new(o, "waker_stack", json_integer(e->waker_stack_ix));
	return o;
}

static json_t *evidence_json(const struct finding *f)
{
	json_t *a = json_array();

	for (size_t i = 0; i < f->n_evidence; i++) {
		json_t *o = json_object();
		json_object_set_new(o, "label", text(f->evidence[i].label));
		json_object_set_new(o, "pid", json_integer(f->evidence[i].pid));
		json_object_set_new(o, "stack", json_integer(f->evidence[i].stack_ix));
		json_array_append_new(a, o);
	}
	return a;
}

static json_t *finding_json(const struct finding *f)
{
	json_t *o = json_object(), *channels = json_array(), *also = json_array(), *speedup = json_null();

	for (size_t i = 0; i < f->n_channels; i++)
		json_array_append_new(channels, json_integer(f->channels[i]));
	for (unsigned k = 0; k < FIND_COUNT; k++)
		if (f->also & (1u << k) && k != (unsigned)f->kind)
			json_array_append_new(also, json_string(finding_kind_name((enum finding_kind)k)));
	if (f->speedup_high > 0) {
		speedup = json_object();
		json_object_set_new(speedup, "low", json_real(f->speedup_low));
		json_object_set_new(speedup, "high", json_real(f->speedup_high));
	}
	json_object_set_new(o, "id", json_integer(f->id));
	json_object_set_new(o, "kind", json_string(finding_kind_name(f->kind)));
	json_object_set_new(o, "title", text(f->title));
	json_object_set_new(o, "where", text(f->where));
	json_object_set_new(o, "pids", int_list(f->pids, f->n_pids));
	json_object_set_new(o, "channel_ids", channels);
	json_object_set_new(o, "share_of_wall", json_real(f->share_of_wall));
	json_object_set_new(o, "round_trips_per_s", f->round_trips_per_s >= 0 ? json_real(f->round_trips_per_s) : json_null());
	json_object_set_new(o, "message_bytes", byte_quantiles(f->bytes_p50, f->bytes_p99, f->bytes_p50 >= 0));
	json_object_set_new(o, "predicted_speedup", speedup);
	json_object_set_new(o, "confidence", json_string(confidence_name(f->confidence)));
	json_object_set_new(o, "advice", text(f->advice));
	json_object_set_new(o, "estimated", json_boolean(f->estimated));
	json_object_set_new(o, "also", also);
	json_object_set_new(o, "evidence", evidence_json(f));
	return o;
}

static json_t *frame_json(const struct frame_row *f)
{
	json_t *o = json_object();

	json_object_set_new(o, "function", text(f->function ? f->function : "[unknown]"));
	json_object_set_new(o, "file", text_or_null(f->file));
	json_object_set_new(o, "line", f->line ? json_integer(f->line) : json_null());
	json_object_set_new(o, "module", text(f->module));
	json_object_set_new(o, "language", json_string(frame_language_name(f->language)));
	return o;
}

static json_t *stack_json(const struct profile *p, const struct stack_row *s)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < s->n; i++)
		if (s->frame_ix[i] < p->n_frames)
			json_array_append_new(a, frame_json(&p->frames[s->frame_ix[i]]));
	return a;
}

static json_t *hot_json(const struct view *v, const struct view_hot *h)
{
	json_t *o = json_object();

	json_object_set_new(o, "pid", json_integer(v->groups[h->group].pid));
	json_object_set_new(o, "kind", json_string(h->is_cpu ? "cpu" : "wait"));
	json_object_set_new(o, "class", h->is_cpu ? json_null() : json_string(wait_class_name(h->cls)));
	json_object_set_new(o, "seconds", seconds(h->ns));
	json_object_set_new(o, "count", json_integer((json_int_t)h->count));
	json_object_set_new(o, "stack", json_integer(h->stack_ix));
	json_object_set_new(o, "estimated", json_boolean(h->estimated));
	json_object_set_new(o, "in_progress", json_integer((json_int_t)h->in_progress));
	return o;
}

static void processes(struct json_writer *w, const struct view *v, size_t top)
{
	array_begin(w, "processes");
	for (size_t g = 0; g < v->n_groups && g < top; g++)
		for (uint32_t m = 0; m < v->groups[g].n_rows; m++)
			row(w, process_json(v, &v->p->processes[v->members[v->groups[g].first + m]]));
	array_end(w);
}

static bool edge_shown(const struct view *v, const struct edge_row *e)
{
	return !v->pid || e->waiter_pid == v->pid || e->waker_pid == v->pid;
}

static int cmp_edge_blocked(const void *pa, const void *pb)
{
	const struct edge_row *a = *(const struct edge_row *const *)pa, *b = *(const struct edge_row *const *)pb;

	if (a->blocked_ns != b->blocked_ns)
		return a->blocked_ns < b->blocked_ns ? 1 : -1;
	return a < b ? -1 : a > b;
}

static void edges(struct json_writer *w, const struct view *v, size_t top)
{
	const struct edge_row **rows = calloc(v->p->n_edges + 1, sizeof *rows);
	size_t n = 0;

	w->no_memory |= !rows;
	for (size_t i = 0; rows && i < v->p->n_edges; i++)
		if (edge_shown(v, &v->p->edges[i]))
			rows[n++] = &v->p->edges[i];
	if (n)
		qsort(rows, n, sizeof *rows, cmp_edge_blocked);
	array_begin(w, "edges");
	for (size_t i = 0; i < n && i < top; i++)
		row(w, edge_json(v, rows[i]));
	array_end(w);
	free(rows);
}

static void hot(struct json_writer *w, const struct view *v, size_t top)
{
	size_t of_group = 0;

	array_begin(w, "hot");
	for (size_t i = 0; i < v->n_hot; i++) {
		of_group = i && v->hot[i].group == v->hot[i - 1].group ? of_group + 1 : 0;
		if (of_group < top && v->hot[i].group < top)
			row(w, hot_json(v, &v->hot[i]));
	}
	array_end(w);
}

int report_json(const struct profile *p, const struct report_options *opt, FILE *out, struct err *err)
{
	struct json_writer w = {out, true, false};
	size_t top = opt->top ? opt->top : SIZE_MAX; /* a program asks for all unless it says otherwise */
	char sentence[1024];
	struct view *v;
	int r = view_new(p, &(struct view_options){.pid = opt->pid}, &v, err);

	if (r)
		return r;
	key(&w, "schema", true);
	fputs("\"lockstep-report/1\"", out);
	key(&w, "meta", false);
	value(&w, meta(v));
	key(&w, "summary", false);
	view_healthy_sentence(v, sentence, sizeof sentence);
	value(&w, text(v->n_findings ? v->findings[0]->title : sentence));
	processes(&w, v, top);
	array_begin(&w, "channels");
	for (size_t i = 0; i < p->n_channels; i++)
		row(&w, channel_json(&p->channels[i]));
	array_end(&w);
	edges(&w, v, top);
	array_begin(&w, "findings");
	for (size_t i = 0; i < v->n_findings && i < top; i++)
		row(&w, finding_json(v->findings[i]));
	array_end(&w);
	array_begin(&w, "stacks");
	for (size_t i = 0; i < p->n_stacks; i++)
		row(&w, stack_json(p, &p->stacks[i]));
	array_end(&w);
	hot(&w, v, top);
	fputs("}\n", out);
	view_free(v);
	if (w.no_memory && !ferror(out))
		return err_set(err, -ENOMEM, "report --json: out of memory; try --pid or --top");
	return report_finish(out, err);
}
