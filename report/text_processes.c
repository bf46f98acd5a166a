/* SPDX-License-Identifier: Apache-2.0
 *
 * The process table of the text report. In: the view; out: a row per process or group of siblings, with its time as a bar that
 * reads without colours. */
#include "report/text.h"
#include "report/units.h"

#include <string.h>

/* One letter per family of waits: a bar must be readable without colours. */
static const struct {
	char letter;
	const char *name, *sgr;
} families[] = {
	{'#', "on-CPU", "42;30"},    {'=', "run-queue", "43;30"}, {'p', "pipe", "44;37"},  {'u', "unix socket", "44;37"},
	{'t', "tcp", "46;30"},	     {'e', "poll", "46;30"},	  {'f', "futex", "45;37"}, {'l', "lock", "45;37"},
	{'g', "GIL", "45;37"},	     {'s', "sleep", "47;30"},	  {'c', "child", "47;30"}, {'d', "disk", "41;37"},
	{'q', "ipc queue", "44;37"}, {'o', "other", "47;30"},	  {'?', "lost", "41;37"},  {'.', "idle", "2"},
};
enum {
	FAM_CPU,
	FAM_QUEUE,
	FAM_PIPE,
	FAM_UNIX,
	FAM_TCP,
	FAM_POLL,
	FAM_FUTEX,
	FAM_LOCK,
	FAM_GIL,
	FAM_SLEEP,
	FAM_CHILD,
	FAM_DISK,
	FAM_IPC,
	FAM_OTHER,
	FAM_LOST,
	FAM_IDLE,
	FAM_COUNT
};

static unsigned family_of(enum wait_class c)
{
	static const uint8_t map[WC_COUNT] = {
		[WC_NONE] = FAM_QUEUE,	    [WC_PIPE_READ] = FAM_PIPE, [WC_PIPE_WRITE] = FAM_PIPE, [WC_UNIX_READ] = FAM_UNIX,
		[WC_UNIX_WRITE] = FAM_UNIX, [WC_TCP_READ] = FAM_TCP,   [WC_TCP_WRITE] = FAM_TCP,   [WC_TCP_CONNECT] = FAM_TCP,
		[WC_ACCEPT] = FAM_TCP,	    [WC_POLL] = FAM_POLL,      [WC_FUTEX] = FAM_FUTEX,	   [WC_LOCK] = FAM_LOCK,
		[WC_GIL] = FAM_GIL,	    [WC_SLEEP] = FAM_SLEEP,    [WC_CHILD] = FAM_CHILD,	   [WC_FILE_IO] = FAM_DISK,
		[WC_PAGE_FAULT] = FAM_DISK, [WC_IPC_QUEUE] = FAM_IPC,  [WC_SIGNAL] = FAM_OTHER,	   [WC_STOPPED] = FAM_OTHER,
		[WC_OTHER] = FAM_OTHER,
	};
	return (unsigned)c < WC_COUNT ? map[c] : FAM_OTHER;
}

/* Idle time fills only the gap that the rest leaves to the run's length: thirty idle pool threads must not hide what the others
 * do. */
static void family_sums(const struct ledger *l, uint64_t wall_ns, uint64_t ns[FAM_COUNT])
{
	uint64_t active = 0;

	memset(ns, 0, FAM_COUNT * sizeof *ns);
	ns[FAM_CPU] = l->on_cpu_ns;
	ns[FAM_QUEUE] = l->run_queue_ns;
	for (unsigned c = 1; c < WC_COUNT; c++)
		ns[family_of((enum wait_class)c)] += l->blocked_ns[c];
	ns[FAM_LOST] = l->lost_ns;
	for (unsigned f = 0; f < FAM_IDLE; f++)
		active += ns[f];
	ns[FAM_IDLE] = active >= wall_ns ? 0 : l->idle_ns < wall_ns - active ? l->idle_ns : wall_ns - active;
}

/* Largest remainders: the bar has exactly `columns` characters, and no part over half a column vanishes. */
static void bar_counts(const uint64_t ns[FAM_COUNT], unsigned columns, unsigned counts[FAM_COUNT])
{
	double total = 0, rest[FAM_COUNT];
	unsigned given = 0;

	for (unsigned f = 0; f < FAM_COUNT; f++)
		total += (double)ns[f];
	for (unsigned f = 0; f < FAM_COUNT; f++) {
		double want = total > 0 ? (double)ns[f] / total * columns : 0;
		counts[f] = (unsigned)want;
		rest[f] = want - counts[f];
		given += counts[f];
	}
	while (total > 0 && given < columns) {
		unsigned best = 0;
		for (unsigned f = 1; f < FAM_COUNT; f++)
			if (rest[f] > rest[best])
				best = f;
		counts[best]++;
		rest[best] = -1;
		given++;
	}
}

static void bar(const struct textout *t, const struct ledger *l, uint64_t wall_ns, unsigned columns, bool used[FAM_COUNT])
{
	uint64_t ns[FAM_COUNT];
	unsigned counts[FAM_COUNT], drawn = 0;

	family_sums(l, wall_ns, ns);
	bar_counts(ns, columns, counts);
	for (unsigned f = 0; f < FAM_COUNT; f++) {
		used[f] |= counts[f] > 0;
		if (counts[f] && t->color)
			fprintf(t->out, "\x1b[%sm", families[f].sgr);
		for (unsigned i = 0; i < counts[f]; i++, drawn++)
			fputc(families[f].letter, t->out);
		if (counts[f] && t->color)
			fputs("\x1b[0m", t->out);
	}
	fprintf(t->out, "%*s", (int)(columns - drawn), "");
}

static void legend(const struct textout *t, const bool used[FAM_COUNT])
{
	char line[512] = "time:";

	for (unsigned f = 0; f < FAM_COUNT; f++)
		if (used[f])
			snprintf(line + strlen(line), sizeof line - strlen(line), " %c %s", families[f].letter, families[f].name);
	textout_style(t, STYLE_DIM);
	textout_wrap(t, "", 5, line);
	textout_style(t, STYLE_NONE);
}

static bool mostly_idle(const struct view *v, const struct view_group *g)
{
	return g->blocked_ns < g->ledger.idle_ns && g->blocked_ns * 20 < v->wall_ns;
}

/* One peer ends most of the time that it waits in its foremost class, and that is worth telling. */
static bool waits_for_peer(const struct view *v, const struct view_group *g)
{
	return !mostly_idle(v, g) && g->top_cls_ns * 200 >= v->wall_ns && g->top_peer != IX_NONE &&
	       g->top_peer_ns * 2 > g->top_cls_ns;
}

void text_waiting_for(const struct view *v, const struct view_group *g, bool brief, char *dst, size_t size)
{
	char peer[128], pid[16] = "";

	if (mostly_idle(v, g)) {
		snprintf(dst, size, brief ? "(idle)" : "(idle in %s)", wait_class_name(g->idle_cls));
	} else if (g->top_cls == WC_NONE || g->top_cls_ns * 200 < v->wall_ns) {
		snprintf(dst, size, "-");
	} else if (waits_for_peer(v, g)) {
		const struct view_group *w = &v->groups[g->top_peer];
		view_group_name(v, g->top_peer, peer, sizeof peer);
		if (w->n_processes == 1)
			snprintf(pid, sizeof pid, " %d", (int)w->pid);
		snprintf(dst, size, "%s%s%s%s", brief ? "" : wait_class_name(g->top_cls), brief ? "" : ": ", peer, pid);
	} else {
		snprintf(dst, size, "%s", wait_class_name(g->top_cls));
	}
}

/* Percent for narrow columns: "97%", "<1%", "0%", "~1250%". */
static const char *percent_cell(uint64_t ns, uint64_t wall_ns, bool estimated, char dst[32])
{
	double share = (double)ns / (double)wall_ns;

	snprintf(dst, 32, "%s%s", estimated && share >= 0.005 ? "~" : "", unit_tight(unit_percent(share)).s);
	return dst;
}

struct widths {
	unsigned name, waiting;
	bool brief;
};

static void process_line(const struct textout *t, const struct view *v, uint32_t gi, struct widths w, bool used[FAM_COUNT])
{
	const struct view_group *g = &v->groups[gi];
	char buf[256], pc[32];

	snprintf(buf, sizeof buf, "%d", (int)g->pid);
	textout_cell(t, buf, 7, CELL_RIGHT);
	fputc(' ', t->out);
	view_group_name(v, gi, buf, sizeof buf);
	textout_cell(t, buf, w.name, CELL_LEFT);
	fputc(' ', t->out);
	textout_cell(t, g->lead->in_tree ? runtime_kind_name(g->lead->runtime) : "outside", 7, CELL_LEFT);
	textout_cell(t, percent_cell(g->ledger.on_cpu_ns, v->wall_ns, false, pc), 6, CELL_RIGHT);
	textout_cell(t, percent_cell(g->ledger.run_queue_ns, v->wall_ns, false, pc), 6, CELL_RIGHT);
	textout_cell(t, percent_cell(g->blocked_ns, v->wall_ns, g->estimated, pc), 8, CELL_RIGHT);
	fputc(' ', t->out);
	bar(t, &g->ledger, v->wall_ns, 10, used);
	textout_cell(t, unit_per_s((double)g->ledger.waits / ((double)v->wall_ns / 1e9)).s, 8, CELL_RIGHT);
	fputc(' ', t->out);
	text_waiting_for(v, g, w.brief, buf, sizeof buf);
	if (w.brief && waits_for_peer(v, g))
		text_group_cell(t, v, g->top_peer, w.waiting, true);
	else
		textout_cell(t, buf, w.waiting, CELL_LAST);
	fputc('\n', t->out);
}

void text_processes(const struct textout *t, const struct view *v, unsigned top)
{
	/* pid 7, runtime 7, CPU 6, queue 6, blocked 8, bar 10, waits/s 8 and four spaces take 56 columns */
	unsigned spare = t->width > 80 ? t->width - 80 : 0;
	struct widths w = {13 + spare / 3, 11 + spare - spare / 3, spare < 18};
	bool used[FAM_COUNT] = {false};
	size_t shown = v->n_groups < top ? v->n_groups : top;

	if (v->n_groups == 0)
		return;
	textout_heading(t, "PROCESSES", "% of the run, summed over threads");
	textout_style(t, STYLE_DIM);
	fprintf(t->out, "%7s %-*s %-7s%6s%6s%8s %-10s%8s %s\n", "pid", (int)w.name, "name", "runtime", "CPU", "queue", "blocked",
		"time", "waits/s", w.brief ? "waits for" : "mostly waiting for");
	textout_style(t, STYLE_NONE);
	for (size_t g = 0; g < shown; g++)
		process_line(t, v, (uint32_t)g, w, used);
	if (v->n_groups > shown)
		fprintf(t->out, "        … and %zu more rows (--top %zu shows them)\n", v->n_groups - shown, v->n_groups);
	legend(t, used);
}
