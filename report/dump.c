/* SPDX-License-Identifier: Apache-2.0 */
#include "report/dump.h"

#include "report/frames.h"
#include "report/sanitize.h"
#include "report/textout.h"
#include "report/units.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* All that is known of one thread at this moment. */
struct moment {
	const struct thread_row *thread;
	const struct dump_thread *extra; /* NULL: no look could be taken */
	const struct wait_row *wait;	 /* NULL: it runs, or nothing is known */
	const struct channel_row *channel;
};

static struct moment moment_of(const struct dump *d, const struct thread_row *t)
{
	struct moment m = {.thread = t};
	for (size_t i = 0; i < d->n_threads && !m.extra; i++)
		if (d->threads[i].tid == t->tid)
			m.extra = &d->threads[i];
	for (size_t i = 0; i < d->profile->n_waits && !m.wait; i++)
		if (d->profile->waits[i].tid == t->tid)
			m.wait = &d->profile->waits[i];
	if (m.wait && m.wait->channel)
		m.channel = profile_channel(d->profile, m.wait->channel);
	return m;
}

static const char *state_name(const struct moment *m)
{
	if (m->extra && m->extra->running)
		return "running";
	return m->wait ? wait_class_name(m->wait->cls) : "unknown";
}

/* Who holds the other end: the process whose end is not the waiter's, or the lock's holder. */
static int32_t waits_for_pid(const struct dump *d, const struct moment *m)
{
	if (m->extra && m->extra->holder_tid)
		for (size_t i = 0; i < d->profile->n_threads; i++)
			if (d->profile->threads[i].tid == m->extra->holder_tid)
				return d->profile->threads[i].pid;
	for (size_t i = 0; m->channel && i < m->channel->n_ends; i++)
		if (m->channel->ends[i].pid != m->thread->pid)
			return m->channel->ends[i].pid;
	return 0;
}

static const char *comm_of(const struct profile *p, int32_t pid)
{
	const struct process_row *r = profile_process(p, pid);
	return r && r->comm ? r->comm : "?";
}

/* ---- text ---- */

static void text_frame(const struct profile *p, const struct frame_line *l, FILE *out)
{
	char name[512], place[512] = "";
	const struct frame_row *f = frames_at(p, l->frame_ix);
	if (l->kind == FRAME_FOLDED) {
		fprintf(out, "      ... %u frames\n", l->n_folded);
		return;
	}
	if (l->kind == FRAME_TRUNCATED || !f) {
		fputs("      ... (not read)\n", out);
		return;
	}
	sanitize(name, sizeof name, f->function);
	if (f->file && f->line) {
		char file[400];
		sanitize(file, sizeof file, f->file);
		snprintf(place, sizeof place, "%s:%u", file, f->line);
	} else {
		sanitize(place, sizeof place, frames_basename(f->module));
	}
	fprintf(out, "      %s  %s\n", name, place);
}

static void text_thread(const struct dump *d, const struct moment *m, const struct textout *t)
{
	FILE *out = t->out;
	char comm[64], channel[300];
	sanitize(comm, sizeof comm, m->thread->comm);
	textout_style(t, STYLE_BOLD);
	fprintf(out, "  thread %d %s", m->thread->tid, comm);
	textout_style(t, STYLE_NONE);
	fprintf(out, ": %s", state_name(m));
	if (m->extra && m->extra->in_state_ns)
		fprintf(out, " for %s", unit_ns(m->extra->in_state_ns).s);
	if (m->channel) {
		sanitize(channel, sizeof channel, m->channel->name);
		fprintf(out, " on %s", channel);
	}
	int32_t pid = waits_for_pid(d, m);
	if (pid && m->extra && m->extra->holder_tid) {
		fprintf(out, ", held by thread %d", m->extra->holder_tid);
	} else if (pid) {
		sanitize(comm, sizeof comm, comm_of(d->profile, pid));
		fprintf(out, ", waits for %s (pid %d)", comm, pid);
	}
	fputc('\n', out);
	if (!m->wait)
		return;
	struct frame_line lines[FRAME_LINES_MAX];
	unsigned n = frames_trim(d->profile, m->wait->stack_ix, 0, lines);
	for (unsigned i = 0; i < n; i++)
		text_frame(d->profile, &lines[i], out);
}

static void text_process(const struct dump *d, const struct process_row *p, const struct textout *t)
{
	char comm[64], arg[256];
	sanitize(comm, sizeof comm, p->comm);
	textout_style(t, STYLE_HEAD);
	fprintf(t->out, "\n%s (pid %d, parent %d) %s", comm, p->pid, p->ppid, runtime_kind_name(p->runtime));
	textout_style(t, STYLE_NONE);
	for (size_t i = 0; p->cmdline && p->cmdline[i] && i < 8; i++) {
		sanitize(arg, sizeof arg, p->cmdline[i]);
		fprintf(t->out, "%s%s", i ? " " : ": ", arg);
	}
	fputc('\n', t->out);
	for (size_t i = 0; i < d->profile->n_threads; i++)
		if (d->profile->threads[i].pid == p->pid) {
			struct moment m = moment_of(d, &d->profile->threads[i]);
			text_thread(d, &m, t);
		}
}

int report_dump_text(const struct dump *d, const struct report_options *opt, FILE *out, struct err *err)
{
	const struct profile *p = d->profile;
	struct textout t = {.out = out, .width = opt->width ? opt->width : 80, .color = opt->color};
	fprintf(out, "%zu processes, %zu threads, looked at in %.1f ms; nothing was stopped\n", p->n_processes, p->n_threads, d->took_ms);
	for (size_t i = 0; i < p->n_processes; i++)
		if (p->processes[i].in_tree && (!opt->pid || p->processes[i].pid == opt->pid))
			text_process(d, &p->processes[i], &t);
	return ferror(out) ? err_set(err, -EIO, "write the dump: %s", strerror(errno)) : 0;
}

/* ---- JSON ---- */

static json_t *clean_string(const char *s)
{
	char *c = s ? sanitize_dup(s) : NULL;
	json_t *j = c ? json_string(c) : json_null();
	free(c);
	return j;
}

static json_t *json_stack(const struct profile *p, uint32_t stack_ix)
{
	json_t *a = json_array();
	const struct stack_row *s = stack_ix < p->n_stacks ? &p->stacks[stack_ix] : NULL;
	for (uint32_t i = 0; s && i < s->n; i++) {
		const struct frame_row *f = frames_at(p, s->frame_ix[i]);
		if (f)
			json_array_append_new(a, json_pack("{s:o,s:o,s:o,s:o,s:s}", "function", clean_string(f->function), "file",
							   clean_string(f->file), "line", f->line ? json_integer(f->line) : json_null(),
							   "module", clean_string(f->module), "language",
							   frame_language_name(f->language)));
	}
	return a;
}

static json_t *json_thread(const struct dump *d, const struct moment *m)
{
	int32_t pid = waits_for_pid(d, m);
	bool timed = m->extra && m->extra->in_state_ns, held = m->extra && m->extra->holder_tid;
	return json_pack("{s:i,s:o,s:s,s:o,s:o,s:o,s:o,s:o}", "tid", m->thread->tid, "comm", clean_string(m->thread->comm), "state",
			 state_name(m), "in_state_s", timed ? json_real(m->extra->in_state_ns / 1e9) : json_null(), "channel",
			 m->channel ? clean_string(m->channel->name) : json_null(), "waits_for_pid", pid ? json_integer(pid) : json_null(),
			 "held_by_tid", held ? json_integer(m->extra->holder_tid) : json_null(), "stack",
			 json_stack(d->profile, m->wait ? m->wait->stack_ix : 0));
}

int report_dump_json(const struct dump *d, const struct report_options *opt, FILE *out, struct err *err)
{
	const struct profile *p = d->profile;
	json_t *processes = json_array();
	for (size_t i = 0; i < p->n_processes; i++) {
		const struct process_row *r = &p->processes[i];
		if (!r->in_tree || (opt->pid && r->pid != opt->pid))
			continue;
		json_t *threads = json_array(), *cmdline = json_array();
		for (size_t k = 0; r->cmdline && r->cmdline[k]; k++)
			json_array_append_new(cmdline, clean_string(r->cmdline[k]));
		for (size_t k = 0; k < p->n_threads; k++)
			if (p->threads[k].pid == r->pid) {
				struct moment m = moment_of(d, &p->threads[k]);
				json_array_append_new(threads, json_thread(d, &m));
			}
		json_array_append_new(processes, json_pack("{s:i,s:i,s:o,s:s,s:o,s:o}", "pid", r->pid, "ppid", r->ppid, "comm",
							   clean_string(r->comm), "runtime", runtime_kind_name(r->runtime), "cmdline",
							   cmdline, "threads", threads));
	}
	json_t *root = json_pack("{s:s,s:f,s:o}", "schema", "lockstep-dump/1", "took_ms", d->took_ms, "processes", processes);
	int rc = root ? json_dumpf(root, out, JSON_INDENT(1)) : -1;
	json_decref(root);
	fputc('\n', out);
	return rc || ferror(out) ? err_set(err, -EIO, "write the dump: %s", strerror(errno)) : 0;
}
