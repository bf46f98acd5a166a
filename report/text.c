/* SPDX-License-Identifier: Apache-2.0
 *
 * The text report: header and verdict here, then processes, who waits on whom and hot stacks (text_*.c). In: a profile; out:
 * what a person reads in a terminal or a log. 80 columns unless told otherwise; wider ones go to names and places, never to more
 * columns. */
#include "report/report.h"
#include "report/text.h"
#include "report/textout.h"
#include "report/units.h"
#include "report/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* argv as one line; joined by spaces, quoted where a space would mislead. */
static void join_command(char *const *argv, char *dst, size_t size)
{
	size_t used = 0;

	dst[0] = '\0';
	for (; argv && *argv && used + 8 < size; argv++) {
		bool quote = **argv == '\0' || strpbrk(*argv, " \t\n'\"") != NULL;
		int n = snprintf(dst + used, size - used, "%s%s%s%s", used ? " " : "", quote ? "'" : "", *argv, quote ? "'" : "");
		used += n < 0 ? 0 : (size_t)n;
	}
}

void text_target(const struct profile *p, char *dst, size_t size)
{
	size_t used;

	if (p->meta.command && p->meta.command[0]) {
		join_command(p->meta.command, dst, size);
		return;
	}
	used = (size_t)snprintf(dst, size, "attached to pid");
	for (size_t i = 0; i < p->meta.n_root_pids && used + 14 < size; i++)
		used += (size_t)snprintf(dst + used, size - used, "%s%d", i ? ", " : " ", (int)p->meta.root_pids[i]);
	if (p->meta.n_root_pids == 0)
		snprintf(dst, size, "an unknown target");
}

void text_run_facts(const struct view *v, char *dst, size_t size)
{
	const struct profile_meta *m = &v->p->meta;
	uint64_t processes = 0, threads = 0;
	char exit_text[40] = "";

	for (size_t g = 0; g < v->n_groups; g++)
		if (v->groups[g].lead->in_tree) {
			processes += v->groups[g].n_processes;
			threads += v->groups[g].n_threads;
		}
	if (m->command && m->exit_status >= 0)
		snprintf(exit_text, sizeof exit_text, ", exit status %d", (int)m->exit_status);
	snprintf(dst, size, "%s, %u CPU%s, %llu process%s, %llu thread%s, backend %s%s", unit_ns((double)v->wall_ns).s, m->cpus,
		 m->cpus == 1 ? "" : "s", (unsigned long long)processes, processes == 1 ? "" : "es", (unsigned long long)threads,
		 threads == 1 ? "" : "s", m->backend ? m->backend : "unknown", exit_text);
}

bool text_losses(const struct view *v, char *dst, size_t size)
{
	const struct profile_meta *m = &v->p->meta;

	if (m->lost_events == 0 && m->lost_stacks == 0 && m->lost_ns == 0)
		return false;
	size_t used = 0;
	dst[0] = '\0';
	if (m->lost_events || m->lost_ns)
		used = (size_t)snprintf(
			dst, size,
			"lost: %s wait records (%s of thread time: sums stay exact, their stacks and peers are missing)",
			unit_count((double)m->lost_events).s, unit_percent(v->lost_share).s);
	if (m->lost_stacks && used < size)
		snprintf(dst + used, size - used, "%s%s stacks (their waits count, under no place)",
			 used ? ", " : "lost: ", unit_count((double)m->lost_stacks).s);
	return true;
}

bool text_windows(const struct view *v, char *dst, size_t size)
{
	double share = (double)v->p->meta.window_ns / (double)v->wall_ns;

	if (v->p->meta.window_ns == 0 || share >= 0.9)
		return false;
	snprintf(dst, size, "findings rest on analysed windows that cover %s of the run; the tables cover all of it",
		 unit_percent(share).s);
	return true;
}

bool text_estimates(const struct view *v, char *dst, size_t size)
{
	bool any = false;

	for (size_t g = 0; g < v->n_groups; g++)
		any |= v->groups[g].estimated;
	if (any)
		snprintf(dst, size, "~ marks estimates: waits were sampled at %u Hz, not measured one by one",
			 v->p->meta.frequency_hz);
	return any;
}

static void header(const struct textout *t, const struct view *v)
{
	const struct profile_meta *m = &v->p->meta;
	char line[2048], target[1500];

	text_target(v->p, target, sizeof target);
	snprintf(line, sizeof line, "lockstep%s%s: %s", m->version && *m->version ? " " : "", m->version ? m->version : "",
		 target);
	textout_style(t, STYLE_BOLD);
	textout_wrap(t, "", 2, line);
	textout_style(t, STYLE_NONE);
	text_run_facts(v, line, sizeof line);
	textout_wrap(t, "", 2, line);
	snprintf(line, sizeof line, "%s%s%s %s, %s", m->host ? m->host : "", m->host && *m->host ? ", " : "",
		 m->kernel ? m->kernel : "", m->arch ? m->arch : "", m->started_at ? m->started_at : "");
	textout_wrap(t, "", 2, line);
	textout_style(t, STYLE_DIM);
	if (m->backend_costs && *m->backend_costs)
		textout_wrap(t, "", 2, m->backend_costs);
	if (text_estimates(v, line, sizeof line))
		textout_wrap(t, "", 2, line);
	if (text_windows(v, line, sizeof line))
		textout_wrap(t, "", 2, line);
	textout_style(t, STYLE_NONE);
	if (text_losses(v, line, sizeof line)) {
		textout_style(t, STYLE_ALERT);
		textout_wrap(t, "", 2, line);
		textout_style(t, STYLE_NONE);
	}
	if (v->pid) {
		snprintf(line, sizeof line, "only pid %d and whom it talks with", (int)v->pid);
		textout_wrap(t, "", 2, line);
	}
}

void text_finding_tags(const struct finding *f, char *dst, size_t size)
{
	static const char *const words[] = {"low", "medium", "high"};
	size_t used = (size_t)snprintf(dst, size, "[%s", finding_kind_name(f->kind));

	for (unsigned k = 0; k < FIND_COUNT && used < size; k++)
		if (f->also & (1u << k) && k != (unsigned)f->kind)
			used += (size_t)snprintf(dst + used, size - used, ", %s", finding_kind_name((enum finding_kind)k));
	if (used < size && f->confidence < CONF_HIGH)
		used += (size_t)snprintf(dst + used, size - used, "; %s confidence", words[f->confidence]);
	if (used < size && f->estimated)
		used += (size_t)snprintf(dst + used, size - used, "; ~ estimated");
	if (used < size)
		snprintf(dst + used, size - used, "]");
}

static void one_finding(const struct textout *t, const struct finding *f, unsigned rank)
{
	char first[16], tags[160], sentence[2048];

	text_finding_tags(f, tags, sizeof tags);
	snprintf(sentence, sizeof sentence, "%s %s", f->title ? f->title : finding_kind_name(f->kind), tags);
	snprintf(first, sizeof first, "%2u. ", rank);
	textout_style(t, STYLE_BOLD);
	textout_wrap(t, first, 4, sentence);
	textout_style(t, STYLE_NONE);
	if (f->where && *f->where)
		textout_wrap(t, "    where: ", 11, f->where);
	if (f->advice && *f->advice)
		textout_wrap(t, "    do:    ", 11, f->advice);
}

static void verdict(const struct textout *t, const struct view *v, unsigned top)
{
	char sentence[1024];

	textout_heading(t, "VERDICT", NULL);
	if (v->n_findings == 0) {
		view_healthy_sentence(v, sentence, sizeof sentence);
		textout_style(t, STYLE_GOOD);
		textout_wrap(t, "", 0, sentence);
		textout_style(t, STYLE_NONE);
		return;
	}
	for (size_t i = 0; i < v->n_findings && i < top; i++)
		one_finding(t, v->findings[i], (unsigned)i + 1);
	if (v->n_findings > top)
		fprintf(t->out, "    … and %zu more (--top %zu shows them)\n", v->n_findings - top, v->n_findings);
}

int report_text(const struct profile *p, const struct report_options *opt, FILE *out, struct err *err)
{
	struct textout t = {out, opt->width ? opt->width : 80, opt->color};
	unsigned top = opt->top ? opt->top : 10;
	struct view *v;
	int r = view_new(p, &(struct view_options){.pid = opt->pid}, &v, err);

	if (r)
		return r;
	if (t.width < 60)
		t.width = 60;
	header(&t, v);
	verdict(&t, v, top);
	text_processes(&t, v, top);
	text_edges(&t, v, top);
	text_stacks(&t, v, top);
	view_free(v);
	return report_finish(out, err);
}
