/* SPDX-License-Identifier: Apache-2.0
 *
 * A diff, made and released. In: runs of two sides; out: struct diff. The steps: is it fair, who is who, the facts, what changed.
 */
#include "aggregate/diff_internal.h"

#include <errno.h>
#include <stdlib.h>

static int build(struct diff_builder *b, const struct diff_options *opt, struct err *err)
{
	struct diff *d = b->d;
	size_t n_runs = d->n_base + d->n_new;
	int rc;

	if (d->n_base == 0 || d->n_new == 0)
		return err_set(err, -EINVAL, "diff: each side needs a profile at least");
	d->blocks = calloc(n_runs, sizeof *d->blocks);
	if (!d->blocks || diff_null_init(&d->null, d->n_base, d->n_new) != 0)
		return err_set(err, -ENOMEM, "diff: out of memory");
	for (size_t i = 0; i < n_runs; i++)
		d->blocks[i] = diff_run_at(d, i)->block;
	rc = diff_fair_check(d, opt, err);
	if (rc != 0)
		return rc;
	rc = diff_roles_build(b);
	if (rc == 0)
		rc = diff_facts_build(b);
	if (rc == 0)
		rc = diff_changes_build(d);
	if (rc == 0)
		rc = diff_findings_build(b);
	return rc == 0 ? 0 : err_set(err, rc, "diff: out of memory");
}

static void builder_fini(struct diff_builder *b)
{
	for (size_t i = 0; i < b->d->n_base + b->d->n_new; i++) {
		if (b->role_of)
			free(b->role_of[i]);
		if (b->by_pid)
			free(b->by_pid[i]);
	}
	free(b->role_of);
	free(b->by_pid);
	intern_fini(&b->functions);
	intern_fini(&b->stacks);
}

int diff_new(struct diff **out, const struct diff_run *base, size_t n_base, const struct diff_run *fresh, size_t n_new,
	     const struct diff_options *opt, struct err *err)
{
	struct diff_builder b = {.d = calloc(1, sizeof(struct diff))};
	int rc;

	if (!b.d)
		return err_set(err, -ENOMEM, "diff: out of memory");
	*b.d = (struct diff){.base = base, .n_base = n_base, .fresh = fresh, .n_new = n_new};
	rc = build(&b, opt, err);
	builder_fini(&b);
	if (rc == 0)
		*out = b.d;
	else
		diff_free(b.d);
	return rc;
}

static void free_verdict(struct diff_verdict *v)
{
	free(v->why);
	diff_series_free(v->hits, v->n_hits);
	free(v->findings);
	if (v->has_closest)
		free(v->closest.base);
}

void diff_free(struct diff *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_roles; i++) {
		free(d->roles[i].name);
		free(d->roles[i].command);
		free(d->roles[i].path);
		free(d->roles[i].new_path);
	}
	for (size_t i = 0; i < d->n_functions; i++) {
		free(d->functions[i].name);
		free(d->functions[i].where);
	}
	for (size_t i = 0; i < d->n_stacks; i++)
		free(d->stacks[i]);
	for (size_t i = 0; i < d->n_notes; i++)
		free(d->notes[i]);
	for (unsigned m = 0; m < DIFF_METRIC_COUNT; m++)
		free(d->unfair[m]);
	for (size_t i = 0; i < d->n_findings; i++)
		free(d->findings[i].roles);
	for (size_t i = 0; i < d->n_verdicts; i++)
		free_verdict(&d->verdicts[i]);
	diff_series_free(d->changes, d->n_changes);
	diff_null_fini(&d->null);
	free(d->blocks);
	free(d->roles);
	free(d->functions);
	free(d->stacks);
	free(d->notes);
	free(d->findings);
	free(d->verdicts);
	free(d->facts);
	free(d);
}
