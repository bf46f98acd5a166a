/* SPDX-License-Identifier: Apache-2.0
 *
 * The report for a ticket: findings, tables, and a Mermaid graph of who waits on whom. In: a profile; out: GitHub-flavoured
 * Markdown. The target's text cannot break out: Markdown's and HTML's special characters are escaped in prose, and become
 * numeric entities in the graph's labels. */
#include "report/report.h"
#include "report/sanitize.h"
#include "report/text.h"
#include "report/units.h"

#include <stdlib.h>
#include <string.h>

/* Prose and table cells. */
static void put_md(FILE *out, const char *raw)
{
	char *s = sanitize_dup(raw);

	for (const char *c = s; c && *c; c++)
		if (*c == '<')
			fputs("&lt;", out);
		else if (*c == '>')
			fputs("&gt;", out);
		else if (*c == '&')
			fputs("&amp;", out);
		else if (strchr("\\`*_[]|#~@!", *c))
			fprintf(out, "\\%c", *c);
		else
			fputc(*c, out);
	free(s);
}

/* A Mermaid label between quotes: everything that the graph's grammar or its HTML renderer could take for its own is an
 * entity. */
static void put_mermaid(FILE *out, const char *raw)
{
	char *s = sanitize_dup(raw);

	for (const unsigned char *c = (const unsigned char *)s; c && *c; c++)
		if (*c < 0x80 && !strchr(" -_./:%+,", *c) && !(*c >= '0' && *c <= '9') && !(*c >= 'A' && *c <= 'Z') &&
		    !(*c >= 'a' && *c <= 'z'))
			fprintf(out, "#%u;", *c);
		else
			fputc(*c, out);
	free(s);
}

/* Code in a fence: a line of backticks in a symbol must not close it. */
static void put_code(FILE *out, const char *raw)
{
	char *s = sanitize_dup(raw);

	for (const char *c = s; c && *c; c++)
		fputc(*c == '`' ? '\'' : *c, out);
	free(s);
}

static void header(FILE *out, const struct view *v)
{
	char line[2048];

	fputs("## lockstep: ", out);
	text_target(v->p, line, sizeof line);
	put_md(out, line);
	fputs("\n\n", out);
	text_run_facts(v, line, sizeof line);
	put_md(out, line);
	fputs("\n", out);
	if (text_estimates(v, line, sizeof line)) {
		fputs("\n", out);
		put_md(out, line);
		fputs("\n", out);
	}
	if (text_windows(v, line, sizeof line)) {
		fputs("\n", out);
		put_md(out, line);
		fputs("\n", out);
	}
	if (text_losses(v, line, sizeof line)) {
		fputs("\n**", out);
		put_md(out, line);
		fputs("**\n", out);
	}
}

static void evidence(FILE *out, const struct view *v, const struct finding *f)
{
	struct frame_line lines[FRAME_LINES_MAX];
	char fn[512], where[1100];

	if (f->n_evidence == 0)
		return;
	fputs("\n   <details><summary>evidence</summary>\n\n   ```text\n", out);
	for (size_t i = 0; i < f->n_evidence; i++) {
		const struct evidence *e = &f->evidence[i];
		unsigned n = frames_trim(v->p, e->stack_ix, 12, lines);
		fputs("   ", out);
		put_code(out, e->label);
		fprintf(out, " (pid %d)\n", (int)e->pid);
		for (unsigned k = 0; k < n; k++) {
			text_frame(v->p, &lines[k], fn, sizeof fn, where, sizeof where);
			fputs("       ", out);
			put_code(out, fn);
			fputs(*where ? "  " : "", out);
			put_code(out, where);
			fputc('\n', out);
		}
	}
	fputs("   ```\n\n   </details>\n", out);
}

static void verdict(FILE *out, const struct view *v, size_t top)
{
	char line[1024];

	fputs("\n### Verdict\n\n", out);
	if (v->n_findings == 0) {
		view_healthy_sentence(v, line, sizeof line);
		put_md(out, line);
		fputc('\n', out);
		return;
	}
	for (size_t i = 0; i < v->n_findings && i < top; i++) {
		const struct finding *f = v->findings[i];
		fprintf(out, "%zu. **", i + 1);
		put_md(out, f->title ? f->title : finding_kind_name(f->kind));
		fputs("** ", out);
		text_finding_tags(f, line, sizeof line);
		put_md(out, line);
		fputs("\n   - where: ", out);
		put_md(out, f->where);
		fputs("\n   - do: ", out);
		put_md(out, f->advice);
		fputc('\n', out);
		evidence(out, v, f);
	}
	if (v->n_findings > top)
		fprintf(out, "\n… and %zu more findings.\n", v->n_findings - top);
}

static void processes(FILE *out, const struct view *v, size_t top)
{
	char buf[256];

	if (v->n_groups == 0)
		return;
	fputs("\n### Processes\n\n| pid | name | runtime | CPU | run-queue | blocked | waits/s | mostly waiting for |\n"
	      "|---:|---|---|---:|---:|---:|---:|---|\n",
	      out);
	for (uint32_t i = 0; i < v->n_groups && i < top; i++) {
		const struct view_group *g = &v->groups[i];
		double wall = (double)v->wall_ns;
		fprintf(out, "| %d | ", (int)g->pid);
		view_group_name(v, i, buf, sizeof buf);
		put_md(out, buf);
		fprintf(out, " | %s | %s | %s | %s%s | %s | ", g->lead->in_tree ? runtime_kind_name(g->lead->runtime) : "outside",
			unit_percent((double)g->ledger.on_cpu_ns / wall).s, unit_percent((double)g->ledger.run_queue_ns / wall).s,
			g->estimated ? "\\~" : "", unit_percent((double)g->blocked_ns / wall).s,
			unit_per_s((double)g->ledger.waits / (wall / 1e9)).s);
		text_waiting_for(v, g, false, buf, sizeof buf);
		put_md(out, buf);
		fputs(" |\n", out);
	}
	if (v->n_groups > top)
		fprintf(out, "\n… and %zu more rows.\n", v->n_groups - top);
}

static void edges(FILE *out, const struct view *v, size_t top)
{
	char buf[256];

	if (v->n_edges == 0)
		return;
	fputs("\n### Who waits on whom\n\n| waiter | waker | channel | waits/s | blocked | p50 | p99 | message |\n"
	      "|---|---|---|---:|---:|---:|---:|---:|\n",
	      out);
	for (size_t i = 0; i < v->n_edges && i < top; i++) {
		const struct view_edge *e = &v->edges[i];
		if (e->idle)
			break;
		bool has = hist_total(&e->hist) > 0;
		fputs("| ", out);
		text_end_name(v, e, false, buf, sizeof buf);
		put_md(out, buf);
		fputs(" | ", out);
		text_end_name(v, e, true, buf, sizeof buf);
		put_md(out, buf);
		fputs(e->confidence == CONF_HIGH ? " | " : " (unsure) | ", out);
		text_channel_name(e, buf, sizeof buf);
		put_md(out, buf);
		fprintf(out, " | %s | %s%s | %s | %s | %s |\n", unit_per_s((double)e->count / ((double)v->wall_ns / 1e9)).s,
			e->estimated ? "\\~" : "", unit_percent((double)e->blocked_ns / (double)v->wall_ns).s,
			has ? unit_ns(hist_quantile(&e->hist, 0.5)).s : "-", has ? unit_ns(hist_quantile(&e->hist, 0.99)).s : "-",
			e->bytes.total_count ? unit_bytes(size_hist_quantile(&e->bytes, 0.5)).s : "-");
	}
	size_t shown = 0;
	while (shown < v->n_edges && shown < top && !v->edges[shown].idle)
		shown++;
	if (v->n_edges > shown)
		fprintf(out, "\n… and %zu more, smaller or idle.\n", v->n_edges - shown);
}

static void node(FILE *out, const struct view *v, uint32_t g, uint8_t *done)
{
	char name[160], label[240];

	if (done[g])
		return;
	done[g] = 1;
	view_group_name(v, g, name, sizeof name);
	if (v->groups[g].n_processes > 1)
		snprintf(label, sizeof label, "%s", name);
	else
		snprintf(label, sizeof label, "%s %d", name, (int)v->groups[g].pid);
	fprintf(out, "  g%u[\"", g);
	put_mermaid(out, label);
	fprintf(out, "<br/>CPU %s\"]\n", unit_percent((double)v->groups[g].ledger.on_cpu_ns / (double)v->wall_ns).s);
}

static void graph(FILE *out, const struct view *v, size_t top)
{
	uint8_t *done = calloc(v->n_groups + 1, 1);
	char channel[160];
	size_t drawn = 0;

	for (size_t i = 0; done && i < v->n_edges && drawn < top && !v->edges[i].idle; i++) {
		const struct view_edge *e = &v->edges[i];
		if (e->waker == IX_NONE || e->waker == e->waiter)
			continue;
		if (drawn++ == 0)
			fputs("\n```mermaid\nflowchart LR\n", out);
		node(out, v, e->waiter, done);
		node(out, v, e->waker, done);
		fprintf(out, "  g%u %s|\"", e->waiter, e->confidence == CONF_HIGH ? "-->" : "-.->");
		text_channel_name(e, channel, sizeof channel);
		put_mermaid(out, channel);
		fprintf(out, "<br/>%s, %s\"| g%u\n", unit_rate((double)e->count / ((double)v->wall_ns / 1e9)).s,
			unit_percent((double)e->blocked_ns / (double)v->wall_ns).s, e->waker);
	}
	if (drawn)
		fputs("```\n\nAn arrow goes from the process that waits to the one that wakes it.\n", out);
	free(done);
}

int report_markdown(const struct profile *p, const struct report_options *opt, FILE *out, struct err *err)
{
	size_t top = opt->top ? opt->top : 10;
	struct view *v;
	int r = view_new(p, &(struct view_options){.pid = opt->pid}, &v, err);

	if (r)
		return r;
	header(out, v);
	verdict(out, v, top);
	processes(out, v, top);
	edges(out, v, top);
	graph(out, v, top);
	view_free(v);
	return report_finish(out, err);
}
