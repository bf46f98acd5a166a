/* SPDX-License-Identifier: Apache-2.0
 *
 * Disk wait: the way of the run goes through a device (fsync, fdatasync, reads). In: critical rows that end at a disk, wait rows
 * (exact counts, p50). A request-response pair whose price is the flush is this, not lock-step, so its peers are named too.
 */
#include "aggregate/finding_rules.h"

#include <string.h>

/* Group commit and larger reads divide the number of device waits; by how much is the user's choice. The predicted range is
 * for 32 to 64 at a time. */
#define GROUPED_LOW 32
#define GROUPED_HIGH 64

/* A group shares the wake-ups and system calls around the device wait too; of the time besides it this much is left. */
#define REST_LOW 0.6
#define REST_HIGH 0.2

/* A wait or two, however long, are a start or an accident. */
#define FEW 3
#define MANY 20

/* Every process of the role that waits for a device, and what of the way that is. */
struct disk {
	const struct process_info *lead;
	double path;	/* share of the critical path */
	uint64_t count; /* exact, whole run */
	double blocked_ns;
	struct hist hist;
	const struct wait_row *top;
	double victims; /* others' waiting because of it, share of windows */
};

static bool is_disk(enum wait_class cls)
{
	return cls == WC_FILE_IO || cls == WC_PAGE_FAULT;
}

static void add_waits(const struct finding_context *c, struct disk *d)
{
	for (size_t i = 0; i < c->p->n_waits; i++) {
		const struct wait_row *w = &c->p->waits[i];
		const struct process_info *p = is_disk(w->cls) ? finding_process(c, w->pid) : NULL;
		if (!p || !finding_siblings(p, d->lead))
			continue;
		d->count += w->count;
		d->blocked_ns += (double)(w->blocked_ns + w->idle_ns);
		hist_merge(&d->hist, &w->hist);
		if (!d->top || w->blocked_ns + w->idle_ns > d->top->blocked_ns + d->top->idle_ns)
			d->top = w;
	}
}

static bool flushes(const struct finding_context *c, uint32_t stack_ix)
{
	const struct stack_row *s = stack_ix < c->p->n_stacks ? &c->p->stacks[stack_ix] : NULL;
	for (uint32_t i = 0; s && i < s->n; i++) {
		const char *fn = s->frame_ix[i] < c->p->n_frames ? c->p->frames[s->frame_ix[i]].function : NULL;
		if (fn && (strstr(fn, "sync") || strstr(fn, "Sync") || strstr(fn, "flush")))
			return true;
	}
	return false;
}

/* Whoever waits for it is part of the story, as the one that would gain. */
static void add_victims(struct finding_context *c, struct finding *f, int32_t pid)
{
	int32_t victims[8];
	unsigned n = finding_victims(c, BLAME_DISK, pid, victims, 8);
	for (unsigned i = 0; i < n && i < 8; i++)
		finding_add_pid(c, f, victims[i]);
}

static void tell(struct finding_context *c, const struct disk *d)
{
	struct finding *f = finding_new(c, FIND_DISK_WAIT);
	if (!f)
		return;
	int32_t pid = d->lead->row->pid;
	finding_weigh(c, f, d->top->estimated, d->count);
	f->share_of_wall = d->path;
	finding_add_pid(c, f, pid);
	add_victims(c, f, pid);
	finding_add_channel(c, f, d->top->channel);
	finding_add_evidence(c, f, "waits for the disk here", d->top->pid, d->top->stack_ix);
	double rest = 1 - d->path;
	finding_predict(c, f, 1 / (rest * REST_LOW + d->path / GROUPED_LOW), 1 / (rest * REST_HIGH + d->path / GROUPED_HIGH));
	bool flush = flushes(c, d->top->stack_ix);
	char name[FINDING_NAME], n[32], p50[32], site[FINDING_SITE];
	const struct channel_row *ch = profile_channel(c->p, d->top->channel);
	finding_say(c, &f->title, "%s waits for the disk: %s %s a second of %s each are %.0f %% of the run%s", finding_name(c, pid, name),
		    finding_count((double)d->count * 1e9 / c->wall_ns, n), flush ? "flushes" : "device waits",
		    finding_duration(hist_total(&d->hist) ? hist_quantile(&d->hist, 0.5) : d->blocked_ns / (double)d->count, p50),
		    100 * d->path, d->victims > 0.05 ? ", and others wait for it" : "");
	finding_say(c, &f->where, "%s, on %s", *finding_site(c, d->top->stack_ix, site) ? site : "unknown code",
		    ch && ch->name && *ch->name ? ch->name : "an unknown file");
	finding_say(c, &f->advice, "%s: %.1f to %.1f times as fast",
		    flush ? "Flush once for a group of records (group commit) instead of for each one"
			  : "Read more at a time, read ahead, or keep it in memory",
		    f->speedup_low, f->speedup_high);
}

static void run(struct finding_context *c)
{
	for (size_t i = 0; i < c->p->n_processes; i++) {
		struct disk d = {.lead = &c->processes[i]};
		if (d.lead->lead != i || !d.lead->row->in_tree)
			continue;
		d.path = finding_critical(c, BLAME_DISK, d.lead->row->pid);
		for (size_t j = i; j != SIZE_MAX; j = c->processes[j].next)
			d.victims += c->window_ns > 0 ? c->processes[j].blamed_ns[BLAME_DISK] / c->window_ns : 0;
		if (d.path < FINDING_MIN_GAIN / 2)
			continue;
		add_waits(c, &d);
		d.path *= finding_ramp((double)d.count, FEW, MANY);
		if (d.top && d.count && d.path > 0)
			tell(c, &d);
	}
}

const struct finding_rule finding_disk_wait = {FIND_DISK_WAIT, run};
