/* SPDX-License-Identifier: Apache-2.0
 *
 * The unit of work read off a profile: so many writes (or reads) were done. In: a profile and "write:pipe"; out: a number.
 */
#include "aggregate/diff.h"

#include <errno.h>
#include <string.h>

int diff_work_parse(struct diff_work *w, const char *spec, struct err *err)
{
	size_t n = strcspn(spec, ":");

	*w = (struct diff_work){.kind = CH_NONE};
	if (n == 5 && strncmp(spec, "write", 5) == 0)
		w->reads = false;
	else if (n == 4 && strncmp(spec, "read", 4) == 0)
		w->reads = true;
	else
		return err_set(err, -EINVAL, "'%s': the call must be write or read, as in write:pipe", spec);
	if (!spec[n])
		return 0;
	for (unsigned k = CH_NONE + 1; k < CH_COUNT; k++)
		if (strcmp(channel_kind_name((enum channel_kind)k), spec + n + 1) == 0) {
			w->kind = (enum channel_kind)k;
			return 0;
		}
	return err_set(err, -EINVAL, "'%s': unknown kind of channel '%s'; such as pipe, unix, tcp", spec, spec + n + 1);
}

static enum channel_kind kind_of(const struct profile *p, uint32_t channel)
{
	const struct channel_row *c = channel ? profile_channel(p, channel) : NULL;

	return c ? c->kind : CH_NONE;
}

/* Calls are counted per process, exactly, whatever the descriptor. Which part went over a kind of channel is told by the messages
 * that woke somebody: all of it for a process that talks over one kind. */
static double share_of_kind(const struct profile *p, const struct diff_work *w, int32_t pid)
{
	double of_kind = 0, all = 0;

	for (size_t i = 0; i < p->n_edges; i++) {
		const struct edge_row *e = &p->edges[i];
		enum channel_kind k;
		if ((w->reads ? e->waiter_pid : e->waker_pid) != pid || !e->bytes.total_count)
			continue;
		k = kind_of(p, e->channel);
		all += (double)e->bytes.total_count;
		if (k == w->kind || (w->kind == CH_TCP && k == CH_UDP))
			of_kind += (double)e->bytes.total_count;
	}
	return all > 0 ? of_kind / all : 0;
}

double diff_work_of(const struct profile *p, const struct diff_work *w)
{
	double sum = 0;

	for (size_t i = 0; i < p->n_processes; i++) {
		const struct process_row *row = &p->processes[i];
		double calls = (double)(w->reads ? row->rd_calls : row->wr_calls);
		if (row->in_tree && calls > 0)
			sum += w->kind == CH_NONE ? calls : calls * share_of_kind(p, w, row->pid);
	}
	return sum;
}
