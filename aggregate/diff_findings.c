/* SPDX-License-Identifier: Apache-2.0
 *
 * Findings that appeared or vanished. In: each run's findings and roles; out: one row per kind and set of roles, with the number of
 * runs of either side that have it, and how likely such a difference is by chance (Fisher's exact test).
 */
#include "aggregate/diff_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int cmp_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

/* "7:2,5" and "worker, hub": kind and roles, each once, in the order of the roles. */
static int describe(const struct diff_builder *b, size_t run, const struct finding *f, char **key, char **names)
{
	uint32_t *roles = malloc((f->n_pids + 1) * sizeof *roles);
	size_t n = 0, key_size, names_size;
	FILE *k = open_memstream(key, &key_size), *s = open_memstream(names, &names_size);
	bool failed = !roles || !k || !s;

	for (size_t i = 0; !failed && i < f->n_pids; i++) {
		roles[n] = diff_role_of_pid(b, run, f->pids[i]);
		n += roles[n] != DIFF_ANY;
	}
	if (!failed) {
		qsort(roles, n, sizeof *roles, cmp_u32);
		fprintf(k, "%d:", f->kind);
	}
	for (size_t i = 0, told = 0; !failed && i < n; i++) {
		if (i && roles[i] == roles[i - 1])
			continue;
		fprintf(k, "%u,", roles[i]);
		fprintf(s, "%s%s", told++ ? ", " : "", b->d->roles[roles[i]].name);
	}
	if (k)
		failed |= fclose(k) != 0;
	if (s)
		failed |= fclose(s) != 0;
	free(roles);
	return failed ? -ENOMEM : 0;
}

static int count_finding(struct diff_builder *b, struct intern *keys, size_t run, const struct finding *f, size_t *last_run)
{
	struct diff *d = b->d;
	struct diff_finding *row, *grown;
	char *key = NULL, *names = NULL;
	uint32_t ix = DIFF_ANY;

	if (describe(b, run, f, &key, &names) == 0)
		ix = intern_add(keys, key);
	if (ix != DIFF_ANY && ix == d->n_findings) {
		grown = realloc(d->findings, (d->n_findings + 1) * sizeof *grown);
		if (grown) {
			d->findings = grown;
			d->findings[d->n_findings++] = (struct diff_finding){.kind = f->kind, .roles = names};
			last_run[ix] = SIZE_MAX;
			names = NULL;
		}
	}
	free(key);
	free(names);
	if (ix == DIFF_ANY || ix >= d->n_findings)
		return -ENOMEM;
	row = &d->findings[ix];
	row->title = f->title;
	row->where = f->where;
	if (last_run[ix] != run) { /* twice in one run is once */
		last_run[ix] = run;
		row->in_base += run < d->n_base;
		row->in_new += run >= d->n_base;
	}
	return 0;
}

static void judge_finding(const struct diff *d, struct diff_finding *f)
{
	unsigned n = (unsigned)d->n_base, m = (unsigned)d->n_new;
	bool more = f->in_new * n >= f->in_base * m;

	f->p = more ? diff_fisher(f->in_base, n, f->in_new, m) : diff_fisher(f->in_new, m, f->in_base, n);
	if (n == 1 && m == 1) {
		f->appeared = !f->in_base;
		f->vanished = !f->in_new;
	} else if (f->p <= DIFF_ALPHA) {
		f->appeared = more;
		f->vanished = !more;
	}
}

int diff_findings_build(struct diff_builder *b)
{
	size_t n_runs = b->d->n_base + b->d->n_new, n = 0, *last_run;
	struct intern keys = {0};
	int rc = 0;

	for (size_t run = 0; run < n_runs; run++)
		n += diff_run_at(b->d, run)->profile->n_findings;
	last_run = malloc((n + 1) * sizeof *last_run);
	if (!last_run)
		return -ENOMEM;
	for (size_t run = 0; run < n_runs && rc == 0; run++) {
		const struct profile *p = diff_run_at(b->d, run)->profile;
		for (size_t i = 0; i < p->n_findings && rc == 0; i++)
			rc = count_finding(b, &keys, run, &p->findings[i], last_run);
	}
	for (size_t i = 0; i < b->d->n_findings; i++)
		judge_finding(b->d, &b->d->findings[i]);
	intern_fini(&keys);
	free(last_run);
	return rc;
}
