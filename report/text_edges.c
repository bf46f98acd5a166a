/* SPDX-License-Identifier: Apache-2.0
 *
 * Who waits on whom, in the text report. In: the view; out: a row per pair and channel. The arrow says how sure the pair is. */
#include "report/sanitize.h"
#include "report/text.h"
#include "report/units.h"

#include <string.h>

void text_end_name(const struct view *v, const struct view_edge *e, bool waker, char *dst, size_t size)
{
	uint32_t g = waker ? e->waker : e->waiter;
	char name[128];

	if (g == IX_NONE && e->channel && e->channel->remote)
		snprintf(dst, size, "%s", e->channel->name ? e->channel->name : "remote");
	else if (g == IX_NONE)
		snprintf(dst, size, "%s",
			 e->cls == WC_SLEEP				   ? "timer"
			 : e->cls == WC_FILE_IO || e->cls == WC_PAGE_FAULT ? "disk"
									   : "(unknown)");
	else {
		view_group_name(v, g, name, sizeof name);
		if (v->groups[g].n_processes > 1)
			snprintf(dst, size, "%s", name);
		else
			snprintf(dst, size, "%s %d", name, (int)v->groups[g].pid);
	}
}

void text_channel_name(const struct view_edge *e, char *dst, size_t size)
{
	if (e->channel && e->channel->remote && e->waker == IX_NONE && e->n_channels == 1)
		snprintf(dst, size, "%s", channel_kind_name(e->channel->kind)); /* its name is already the waker's */
	else if (!e->channel)
		snprintf(dst, size, "%s", wait_class_name(e->cls));
	else if (e->n_channels > 1)
		snprintf(dst, size, "%u x %s", e->n_channels, channel_kind_name(e->channel->kind));
	else
		snprintf(dst, size, "%s",
			 e->channel->name && *e->channel->name ? e->channel->name : channel_kind_name(e->channel->kind));
}

void text_group_cell(const struct textout *t, const struct view *v, uint32_t group, unsigned columns, bool last)
{
	char name[256], clean[600], pid[16] = "";

	view_group_name(v, group, name, sizeof name);
	unsigned digits =
		v->groups[group].n_processes > 1 ? 0 : (unsigned)snprintf(pid, sizeof pid, " %d", (int)v->groups[group].pid);
	sanitize(clean, sizeof clean, name);
	unsigned cols = text_columns(clean), room = columns > digits ? columns - digits : 0;
	textout_cell(t, name, cols < room ? cols : room, CELL_LAST);
	fputs(pid, t->out);
	if (!last && cols < room)
		fprintf(t->out, "%*s", (int)(room - cols), "");
}

static void end_cell(const struct textout *t, const struct view *v, const struct view_edge *e, bool waker, unsigned columns)
{
	uint32_t g = waker ? e->waker : e->waiter;
	char name[256];

	if (g != IX_NONE) {
		text_group_cell(t, v, g, columns, false);
		return;
	}
	text_end_name(v, e, waker, name, sizeof name);
	textout_cell(t, name, columns, CELL_LEFT);
}

/* "pipe:[562019]" as "pipe 562019": the number is what tells two apart, and columns are scarce. */
static void compact_channel(char *name)
{
	char *open = strstr(name, ":["), *close = name + strlen(name) - 1;

	if (open && *close == ']') {
		*close = '\0';
		*open = ' ';
		memmove(open + 1, open + 2, strlen(open + 2) + 1);
	}
}

/* Rows below this share of the run are told by their number only, unless there are no others. */
#define EDGE_MIN_SHARE 0.005

static void edge_line(const struct textout *t, const struct view *v, const struct view_edge *e, unsigned end_w,
		      unsigned channel_w)
{
	char buf[256], pc[40];
	const char *est = e->estimated ? "~" : "";

	end_cell(t, v, e, false, end_w);
	fputs(e->confidence == CONF_HIGH ? " -> " : e->confidence == CONF_MEDIUM ? " -? " : " ?? ", t->out);
	end_cell(t, v, e, true, end_w);
	fputc(' ', t->out);
	text_channel_name(e, buf, sizeof buf);
	if (e->channel && e->channel->kind == CH_CHILD)
		snprintf(buf, sizeof buf, "child exit"); /* its name tells the waiter again */
	compact_channel(buf);
	textout_cell(t, buf, channel_w, CELL_PATH);
	textout_cell(t, unit_per_s((double)e->count / ((double)v->wall_ns / 1e9)).s, 8, CELL_RIGHT);
	snprintf(pc, sizeof pc, "%s%s", est, unit_tight(unit_percent((double)e->blocked_ns / (double)v->wall_ns)).s);
	textout_cell(t, pc, 8, CELL_RIGHT);
	bool has_hist = hist_total(&e->hist) > 0;
	textout_cell(t, has_hist ? unit_tight(unit_ns(hist_quantile(&e->hist, 0.5))).s : "-", 7, CELL_RIGHT);
	textout_cell(t, has_hist ? unit_tight(unit_ns(hist_quantile(&e->hist, 0.99))).s : "-", 7, CELL_RIGHT);
	textout_cell(t, e->bytes.total_count ? unit_tight(unit_bytes(size_hist_quantile(&e->bytes, 0.5))).s : "-", 7, CELL_RIGHT);
	fputc('\n', t->out);
}

void text_edges(const struct textout *t, const struct view *v, unsigned top)
{
	unsigned spare = t->width > 80 ? t->width - 80 : 0, end_w = 13 + spare / 3, channel_w = 12 + spare - 2 * (spare / 3);
	size_t shown = 0;
	bool unsure = false;

	if (v->n_edges == 0)
		return;
	while (shown < v->n_edges && shown < top && !v->edges[shown].idle &&
	       (shown == 0 || (double)v->edges[shown].blocked_ns >= EDGE_MIN_SHARE * (double)v->wall_ns))
		shown++;
	textout_heading(t, "WHO WAITS ON WHOM", "blocked: % of the run; size: median message");
	textout_style(t, STYLE_DIM);
	fprintf(t->out, "%-*s    %-*s %-*s%8s%8s%7s%7s%7s\n", (int)end_w, "waiter", (int)end_w, "waker", (int)channel_w,
		"channel", "waits/s", "blocked", "p50", "p99", "size");
	textout_style(t, STYLE_NONE);
	for (size_t i = 0; i < shown; i++) {
		edge_line(t, v, &v->edges[i], end_w, channel_w);
		unsure |= v->edges[i].confidence != CONF_HIGH;
	}
	if (v->n_edges > shown)
		fprintf(t->out,
			shown < top ? "… and %zu more, idle or below 1 %% of the run\n" : "… and %zu more (--top shows more)\n",
			v->n_edges - shown);
	if (unsure) {
		textout_style(t, STYLE_DIM);
		textout_wrap(t, "", 0, "-? only one end of the channel confirms the pair   ?? a guess");
		textout_style(t, STYLE_NONE);
	}
}
