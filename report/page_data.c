/* SPDX-License-Identifier: Apache-2.0
 *
 * The page's rows: processes, channels, edges, waits, stacks, findings. In: the view; out: JSON arrays of arrays (the order of
 * the fields stands above each writer; web/src/model.js reads the same order). Times are ns. */
#include "report/page.h"
#include "report/sanitize.h"
#include "report/text.h"
#include "report/view_lines.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void page_put_string(struct page *x, const char *harmless)
{
	fputc('"', x->out);
	for (const char *c = harmless; *c; c++)
		if (*c == '"' || *c == '\\')
			fprintf(x->out, "\\%c", *c);
		else if (*c == '<') /* neither "</script" nor "<!--" may appear */
			fputs("\\u003c", x->out);
		else
			fputc(*c, x->out);
	fputc('"', x->out);
}

static void put_clean(struct page *x, const char *raw)
{
	char *s = sanitize_dup(raw);

	x->failed |= !s;
	page_put_string(x, s ? s : "");
	free(s);
}

static void put_raw(struct page *x, const char *name, const char *raw)
{
	fprintf(x->out, ",\"%s\":", name);
	put_clean(x, raw);
}

static void put_number(struct page *x, double v)
{
	if (!isfinite(v))
		v = 0;
	fprintf(x->out, v == (double)(int64_t)v ? "%.0f" : "%.9g", v);
}

static void put_meta_of(struct page *x, const struct view *v)
{
	const struct profile_meta *m = &v->p->meta;
	char buf[2048];

	fprintf(x->out,
		"{\"wall\":%" PRIu64 ",\"window\":%" PRIu64 ",\"total\":%" PRIu64 ",\"cpus\":%u,\"hz\":%u,\"lost_share\":",
		v->wall_ns, m->window_ns, v->total_ns, m->cpus, m->frequency_hz);
	put_number(x, v->lost_share);
	put_raw(x, "version", m->version);
	put_raw(x, "host", m->host);
	put_raw(x, "kernel", m->kernel);
	put_raw(x, "arch", m->arch);
	put_raw(x, "backend", m->backend);
	put_raw(x, "costs", m->backend_costs);
	put_raw(x, "started", m->started_at);
	text_target(v->p, buf, sizeof buf);
	put_raw(x, "target", buf);
	text_run_facts(v, buf, sizeof buf);
	put_raw(x, "facts", buf);
	if (text_losses(v, buf, sizeof buf))
		put_raw(x, "losses", buf);
	if (text_windows(v, buf, sizeof buf))
		put_raw(x, "windows", buf);
	if (text_estimates(v, buf, sizeof buf))
		put_raw(x, "estimates", buf);
	fprintf(x->out, ",\"pid\":%d}", (int)v->pid);
}

void page_put_meta(struct page *x)
{
	char sentence[1024];

	fputs("\"meta\":", x->out);
	put_meta_of(x, x->v);
	if (x->base) {
		fputs(",\n\"base\":", x->out);
		put_meta_of(x, x->base);
	}
	view_healthy_sentence(x->v, sentence, sizeof sentence);
	put_raw(x, "summary", sentence);
	fputs(",\n\"classes\":[", x->out);
	for (unsigned c = 0; c < WC_COUNT; c++)
		fprintf(x->out, "%s\"%s\"", c ? "," : "", wait_class_name((enum wait_class)c));
	fputc(']', x->out);
}

/* Waits of a group that was not seen waiting, and a peer that is nobody, are -1. */
static long long or_minus(uint32_t ix)
{
	return ix == IX_NONE ? -1 : (long long)ix;
}

/* {name, comm, cmd, exe, runtime, pids, n, threads, tree, cpu, queue, blocked: {class: ns}, idle, lost, waits, peer, peer_ns,
 * started, ended,
 *  wait (words), est, left (waits in progress), rd, wr} */
static void put_group(struct page *x, uint32_t gi)
{
	const struct view_group *g = &x->v->groups[gi];
	const struct profile *p = x->v->p;
	char buf[512];
	uint64_t start = p->meta.start_ns, rd = 0, wr = 0;
	const char *sep = "";

	view_group_name(x->v, gi, buf, sizeof buf);
	fprintf(x->out, "{\"n\":%" PRIu64 ",\"threads\":%" PRIu64 ",\"tree\":%d,\"est\":%d", g->n_processes, g->n_threads,
		g->lead->in_tree, g->estimated);
	put_raw(x, "name", buf);
	put_raw(x, "comm", g->lead->comm);
	put_raw(x, "exe", g->lead->exe);
	put_raw(x, "runtime", runtime_kind_name(g->lead->runtime));
	text_waiting_for(x->v, g, false, buf, sizeof buf);
	put_raw(x, "wait", buf);
	fputs(",\"cmd\":[", x->out);
	for (char **a = g->lead->cmdline; a && *a; a++) {
		fputs(a == g->lead->cmdline ? "" : ",", x->out);
		put_clean(x, *a);
	}
	fputs("],\"pids\":[", x->out);
	for (uint32_t m = 0; m < g->n_rows; m++) {
		const struct process_row *r = &p->processes[x->v->members[g->first + m]];
		fprintf(x->out, "%s%d", m ? "," : "", (int)r->pid);
		rd += r->rd_bytes;
		wr += r->wr_bytes;
	}
	fprintf(x->out,
		"],\"ppid\":%d,\"cpu\":%" PRIu64 ",\"queue\":%" PRIu64 ",\"idle\":%" PRIu64 ",\"lost\":%" PRIu64
		",\"waits\":%" PRIu64 ",\"left\":%" PRIu64,
		(int)g->lead->ppid, g->ledger.on_cpu_ns, g->ledger.run_queue_ns, g->ledger.idle_ns, g->ledger.lost_ns,
		g->ledger.waits, g->in_progress);
	fprintf(x->out,
		",\"rd\":%" PRIu64 ",\"wr\":%" PRIu64 ",\"started\":%" PRIu64 ",\"ended\":%" PRIu64
		",\"peer\":%lld,\"peer_ns\":%" PRIu64 ",\"blocked\":{",
		rd, wr, g->started_ns > start ? g->started_ns - start : 0, g->ended_ns > start ? g->ended_ns - start : 0,
		or_minus(g->top_peer), g->top_peer_ns);
	for (unsigned c = 1; c < WC_COUNT; c++)
		if (g->ledger.blocked_ns[c]) {
			fprintf(x->out, "%s\"%u\":%" PRIu64, sep, c, g->ledger.blocked_ns[c]);
			sep = ",";
		}
	fputs("}}", x->out);
}

void page_put_groups(struct page *x)
{
	fputs("\"groups\":[", x->out);
	for (uint32_t g = 0; g < x->v->n_groups; g++) {
		fputs(g ? ",\n" : "\n", x->out);
		put_group(x, g);
	}
	fputc(']', x->out);
}

/* [id, kind, name, capacity, remote, [[pid, role, fd]..]] */
void page_put_channels(struct page *x)
{
	const struct profile *p = x->v->p;

	fputs("\"channels\":[", x->out);
	for (size_t i = 0; i < p->n_channels; i++) {
		const struct channel_row *c = &p->channels[i];
		fprintf(x->out, "%s[%u,%u,%u,%" PRIu64 ",%d,[", i ? ",\n" : "\n", c->id,
			page_string(x, channel_kind_name(c->kind)), page_string(x, c->name), c->capacity_bytes, c->remote);
		for (size_t k = 0; k < c->n_ends; k++)
			fprintf(x->out, "%s[%d,%u,%d]", k ? "," : "", (int)c->ends[k].pid, (unsigned)c->ends[k].role,
				(int)c->ends[k].fd);
		fputs("]]", x->out);
	}
	fputc(']', x->out);
}

/* [waiter, waker, class, channel id, channels, count, blocked, queue, irq, p50, p99 (-1: unknown), bytes p50, p99 (-1),
 * confidence, est, channel name,
 *  waiter node, waker node, idle] */
void page_put_edges(struct page *x)
{
	char name[256];

	fputs("\"edges\":[", x->out);
	for (size_t i = 0; i < x->v->n_edges; i++) {
		const struct view_edge *e = &x->v->edges[i];
		bool h = hist_total(&e->hist) > 0, b = e->bytes.total_count > 0;
		fprintf(x->out, "%s[%u,%lld,%u,%u,%u,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64, i ? ",\n" : "\n", e->waiter,
			or_minus(e->waker), (unsigned)e->cls, e->channel ? e->channel->id : 0, e->n_channels, e->count,
			e->blocked_ns, e->run_queue_ns, e->n_irq);
		text_channel_name(e, name, sizeof name);
		if (e->waker == IX_NONE && e->channel && e->channel->remote && e->n_channels == 1)
			snprintf(name, sizeof name, "%s", e->channel->name ? e->channel->name : "remote");
		fprintf(x->out, ",%.0f,%.0f,%.0f,%.0f,%u,%d,%u,%u,%u,%d]", h ? hist_quantile(&e->hist, 0.5) : -1,
			h ? hist_quantile(&e->hist, 0.99) : -1, b ? size_hist_quantile(&e->bytes, 0.5) : -1,
			b ? size_hist_quantile(&e->bytes, 0.99) : -1, (unsigned)e->confidence, e->estimated, page_string(x, name),
			page_stack(x, 0, e->waiter_stack_ix), page_stack(x, 0, e->waker_stack_ix), e->idle);
	}
	fputc(']', x->out);
}

/* Edges by call site, for the chain of waiter's and waker's stacks: [waiter, waker, class, waiter node, waker node, blocked] */
void page_put_sites(struct page *x)
{
	const char *sep = "\n";

	fputs("\"sites\":[", x->out);
	for (size_t i = 0; i < x->v->p->n_edges; i++) {
		const struct edge_row *e = &x->v->p->edges[i];
		uint32_t waiter = view_group_of(x->v, e->waiter_pid),
			 waker = e->waker_pid ? view_group_of(x->v, e->waker_pid) : IX_NONE;
		if (waiter == IX_NONE || !e->blocked_ns || (x->v->pid && e->waiter_pid != x->v->pid))
			continue;
		fprintf(x->out, "%s[%u,%lld,%u,%u,%u,%" PRIu64 "]", sep, waiter, or_minus(waker), (unsigned)e->cls,
			page_stack(x, 0, e->waiter_stack_ix), page_stack(x, 0, e->waker_stack_ix), e->blocked_ns);
		sep = ",\n";
	}
	fputc(']', x->out);
}

/* [group, pid, class, channel, count, blocked, idle, queue, p50, p99 (-1), in progress, est] */
void page_put_waits(struct page *x)
{
	fputs("\"waits\":[", x->out);
	for (size_t i = 0; i < x->v->n_waits; i++) {
		const struct view_wait *w = &x->v->waits[i];
		bool h = hist_total(&w->hist) > 0;
		fprintf(x->out, "%s[%u,%d,%u,%u,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.0f,%.0f,%" PRIu64 ",%d]",
			i ? ",\n" : "\n", w->group, (int)w->pid, (unsigned)w->cls, w->channel, w->count, w->blocked_ns,
			w->idle_ns, w->run_queue_ns, h ? hist_quantile(&w->hist, 0.5) : -1,
			h ? hist_quantile(&w->hist, 0.99) : -1, w->in_progress, w->estimated);
	}
	fputc(']', x->out);
}

static void put_hot_of(struct page *x, const struct view *v, unsigned which)
{
	for (size_t i = 0; i < v->n_hot; i++) {
		const struct view_hot *h = &v->hot[i];
		fprintf(x->out, "%s[%u,%d,%u,%" PRIu64 ",%" PRIu64 "]", i ? ",\n" : "\n", h->group, h->is_cpu ? 0 : (int)h->cls,
			page_stack(x, which, h->stack_ix), h->ns, h->count);
	}
}

/* [group, class (0: on-CPU), node, ns, count]; of the base profile likewise, its groups told by name */
void page_put_hot(struct page *x)
{
	char name[160];

	fputs("\"hot\":[", x->out);
	put_hot_of(x, x->v, 0);
	fputc(']', x->out);
	if (!x->base)
		return;
	fputs(",\n\"base_hot\":[", x->out);
	put_hot_of(x, x->base, 1);
	fputs("],\n\"base_groups\":[", x->out);
	for (uint32_t g = 0; g < x->base->n_groups; g++) {
		snprintf(name, sizeof name, "%s", x->base->groups[g].lead->comm ? x->base->groups[g].lead->comm : "");
		fprintf(x->out, "%s%u", g ? "," : "", page_string(x, name));
	}
	fputc(']', x->out);
}

/* The stack as the text report shows it: [[function, where, kind (0: a frame, 1: folded or kernel)]], leaf first. */
static void put_trimmed(struct page *x, uint32_t stack_ix)
{
	struct frame_line lines[FRAME_LINES_MAX];
	unsigned n = frames_trim(x->v->p, stack_ix, 16, lines);
	char fn[512], where[1100];

	fputs(",\"lines\":[", x->out);
	for (unsigned i = 0; i < n; i++) {
		text_frame(x->v->p, &lines[i], fn, sizeof fn, where, sizeof where);
		fputs(i ? ",[" : "[", x->out);
		put_clean(x, fn);
		fputc(',', x->out);
		put_clean(x, where);
		fprintf(x->out, ",%d]", lines[i].kind != FRAME_LINE);
	}
	fputc(']', x->out);
}

static void put_finding(struct page *x, const struct finding *f)
{
	char tags[200];
	const char *sep = "";

	fprintf(x->out, "{\"id\":%u,\"kind\":\"%s\",\"conf\":%u,\"est\":%d,\"share\":", f->id, finding_kind_name(f->kind),
		(unsigned)f->confidence, f->estimated);
	put_number(x, f->share_of_wall);
	fputs(",\"rate\":", x->out);
	put_number(x, f->round_trips_per_s);
	fputs(",\"bytes\":", x->out);
	put_number(x, f->bytes_p50);
	fputs(",\"low\":", x->out);
	put_number(x, f->speedup_low);
	fputs(",\"high\":", x->out);
	put_number(x, f->speedup_high);
	put_raw(x, "title", f->title ? f->title : finding_kind_name(f->kind));
	put_raw(x, "where", f->where);
	put_raw(x, "advice", f->advice);
	text_finding_tags(f, tags, sizeof tags);
	put_raw(x, "tags", tags);
	fputs(",\"groups\":[", x->out);
	for (size_t i = 0; i < f->n_pids; i++) {
		uint32_t g = view_group_of(x->v, f->pids[i]);
		bool seen = g == IX_NONE;
		for (size_t k = 0; k < i && !seen; k++)
			seen = view_group_of(x->v, f->pids[k]) == g;
		if (!seen) {
			fprintf(x->out, "%s%u", sep, g);
			sep = ",";
		}
	}
	fputs("],\"channels\":[", x->out);
	for (size_t i = 0; i < f->n_channels; i++)
		fprintf(x->out, "%s%u", i ? "," : "", f->channels[i]);
	fputs("],\"evidence\":[", x->out);
	for (size_t i = 0; i < f->n_evidence; i++) {
		fprintf(x->out, "%s{\"pid\":%d,\"group\":%lld,\"node\":%u", i ? "," : "", (int)f->evidence[i].pid,
			or_minus(view_group_of(x->v, f->evidence[i].pid)), page_stack(x, 0, f->evidence[i].stack_ix));
		put_raw(x, "label", f->evidence[i].label);
		put_trimmed(x, f->evidence[i].stack_ix);
		fputc('}', x->out);
	}
	fputs("]}", x->out);
}

void page_put_findings(struct page *x)
{
	fputs("\"findings\":[", x->out);
	for (size_t i = 0; i < x->v->n_findings; i++) {
		fputs(i ? ",\n" : "\n", x->out);
		put_finding(x, x->v->findings[i]);
	}
	fputc(']', x->out);
}

static void put_tables(struct page *x)
{
	fputs("\"frames\":[", x->out);
	for (size_t i = 0; i < x->n_frames; i++) {
		const struct page_frame *f = &x->frames[i];
		fprintf(x->out, "%s%u,%u,%u,%u,%u", i ? "," : "", f->function, f->file, f->line, f->module,
			(unsigned)f->language | (f->libc ? 16u : 0));
	}
	fputs("],\n\"nodes\":{\"parent\":[", x->out);
	for (size_t i = 0; i < x->n_nodes; i++)
		fprintf(x->out, "%s%u", i ? "," : "", x->nodes[i].parent);
	fputs("],\"frame\":[-1", x->out);
	for (size_t i = 1; i < x->n_nodes; i++)
		fprintf(x->out, ",%u", x->nodes[i].frame);
	fputs("]},\n\"languages\":[", x->out);
	for (unsigned l = 0; l < LANG_COUNT; l++)
		fprintf(x->out, "%s\"%s\"", l ? "," : "", frame_language_name((enum frame_language)l));
	fputs("],\n\"strings\":[", x->out);
	for (size_t i = 0; i < x->strings.n; i++) {
		fputs(i ? "," : "", x->out);
		page_put_string(x, x->strings.list[i]);
	}
	fputc(']', x->out);
}

int page_write(struct page *x)
{
	static void (*const parts[])(struct page *) = {page_put_meta,	  page_put_groups,   page_put_channels, page_put_edges,
						       page_put_sites,	  page_put_waits,    page_put_hot,	page_put_findings,
						       page_put_timeline, page_put_critical, page_put_trace,	page_put_sources,
						       put_tables}; /* the tables last: the other parts fill them */

	fputs("{\"schema\":\"lockstep-page/1\"", x->out);
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		fputs(",\n", x->out);
		parts[i](x);
	}
	fputs("}\n", x->out);
	return x->failed || x->strings.failed ? -ENOMEM : 0;
}
