/* SPDX-License-Identifier: Apache-2.0
 *
 * The profile as a value: making, releasing, looking up. Who fills it: aggregator (build_*.c) and profile_db.
 */
#include "aggregate/profile.h"

#include <stdlib.h>

struct profile *profile_new(void)
{
	struct profile *p = calloc(1, sizeof *p);
	if (p)
		p->meta.exit_status = -1;
	return p;
}

static void free_strings(char **list)
{
	if (!list)
		return;
	for (char **s = list; *s; s++)
		free(*s);
	free(list);
}

static void free_meta(struct profile_meta *m)
{
	free(m->version);
	free(m->host);
	free(m->kernel);
	free(m->arch);
	free(m->backend);
	free(m->backend_costs);
	free_strings(m->command);
	free(m->root_pids);
	free(m->started_at);
}

static void free_finding(struct finding *f)
{
	free(f->title);
	free(f->where);
	free(f->advice);
	free(f->pids);
	free(f->channels);
	for (size_t i = 0; i < f->n_evidence; i++)
		free(f->evidence[i].label);
	free(f->evidence);
}

void profile_free(struct profile *p)
{
	if (!p)
		return;
	free_meta(&p->meta);
	for (size_t i = 0; i < p->n_processes; i++) {
		free(p->processes[i].comm);
		free(p->processes[i].exe);
		free_strings(p->processes[i].cmdline);
	}
	for (size_t i = 0; i < p->n_threads; i++)
		free(p->threads[i].comm);
	for (size_t i = 0; i < p->n_channels; i++) {
		free(p->channels[i].name);
		free(p->channels[i].ends);
	}
	for (size_t i = 0; i < p->n_frames; i++) {
		free(p->frames[i].function);
		free(p->frames[i].file);
		free(p->frames[i].module);
	}
	for (size_t i = 0; i < p->n_stacks; i++)
		free(p->stacks[i].frame_ix);
	for (size_t i = 0; i < p->n_findings; i++)
		free_finding(&p->findings[i]);
	free(p->processes);
	free(p->threads);
	free(p->channels);
	free(p->frames);
	free(p->stacks);
	free(p->waits);
	free(p->cpu);
	free(p->edges);
	free(p->pairs);
	free(p->blames);
	free(p->critical);
	free(p->hops);
	free(p->flows);
	free(p->loads);
	free(p->parallel);
	free(p->trace);
	free(p->intervals);
	free(p->findings);
	free(p);
}

const struct process_row *profile_process(const struct profile *p, int32_t pid)
{
	for (size_t i = 0; i < p->n_processes; i++)
		if (p->processes[i].pid == pid)
			return &p->processes[i];
	return NULL;
}

const struct channel_row *profile_channel(const struct profile *p, uint32_t id)
{
	for (size_t i = 0; i < p->n_channels; i++)
		if (p->channels[i].id == id)
			return &p->channels[i];
	return NULL;
}

uint64_t ledger_sum(const struct ledger *l)
{
	uint64_t sum = l->on_cpu_ns + l->run_queue_ns + l->idle_ns + l->lost_ns;
	for (unsigned c = 0; c < WC_COUNT; c++)
		sum += l->blocked_ns[c];
	return sum;
}

void ledger_merge(struct ledger *into, const struct ledger *from)
{
	into->on_cpu_ns += from->on_cpu_ns;
	into->run_queue_ns += from->run_queue_ns;
	for (unsigned c = 0; c < WC_COUNT; c++)
		into->blocked_ns[c] += from->blocked_ns[c];
	into->idle_ns += from->idle_ns;
	into->lost_ns += from->lost_ns;
	into->waits += from->waits;
	into->preemptions += from->preemptions;
}

static void move_to_idle(struct ledger *l, enum wait_class cls, uint64_t ns)
{
	if (ns > l->blocked_ns[cls]) /* a loaded profile may be inconsistent: never wrap */
		ns = l->blocked_ns[cls];
	l->blocked_ns[cls] -= ns;
	l->idle_ns += ns;
}

uint64_t profile_mark_idle(struct profile *p, size_t wait_ix, uint64_t ns)
{
	if (wait_ix >= p->n_waits)
		return 0;
	struct wait_row *w = &p->waits[wait_ix];
	if ((unsigned)w->cls >= WC_COUNT)
		return 0;
	if (ns > w->blocked_ns)
		ns = w->blocked_ns;
	w->blocked_ns -= ns;
	w->idle_ns += ns;
	for (size_t i = 0; i < p->n_processes; i++)
		if (p->processes[i].pid == w->pid)
			move_to_idle(&p->processes[i].ledger, w->cls, ns);
	for (size_t i = 0; i < p->n_threads; i++)
		if (p->threads[i].pid == w->pid && p->threads[i].tid == w->tid)
			move_to_idle(&p->threads[i].ledger, w->cls, ns);
	return ns;
}

static const char *const finding_kind_names[FIND_COUNT] = {
    [FIND_LOCKSTEP] = "lockstep",           [FIND_CHATTY_HUB] = "chatty_hub",       [FIND_BACKPRESSURE] = "backpressure",
    [FIND_SLOW_CONSUMER] = "slow_consumer", [FIND_SLOW_PRODUCER] = "slow_producer", [FIND_SERIAL_PROCESS] = "serial_process",
    [FIND_SINGLE_SERVER] = "single_server", [FIND_N_PLUS_ONE] = "n_plus_one",       [FIND_LOCK_CONVOY] = "lock_convoy",
    [FIND_DISK_WAIT] = "disk_wait",         [FIND_SELF_PACED] = "self_paced",       [FIND_PROCESS_CHURN] = "process_churn",
    [FIND_RUN_QUEUE] = "run_queue",         [FIND_HOT_LINE] = "hot_line",
};

const char *finding_kind_name(enum finding_kind k)
{
	return (unsigned)k < FIND_COUNT ? finding_kind_names[k] : "unknown";
}

static const char *const blame_kind_names[BLAME_COUNT] = {"run", "run_queue", "timer", "disk", "remote", "outside", "unknown"};

const char *blame_kind_name(enum blame_kind k)
{
	return (unsigned)k < BLAME_COUNT ? blame_kind_names[k] : "unknown";
}
