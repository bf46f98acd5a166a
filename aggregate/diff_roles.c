/* SPDX-License-Identifier: Apache-2.0
 *
 * Roles: which process of one run is "the same" as which of another, though PIDs differ. In: process rows of all runs; out: one
 * list of roles, and each row's role.
 *
 * A role is the path of command names from the root of the tree: "sh/pipeline/worker". Siblings of one command are one role with a
 * count, so four workers compare with eight. What is left on both sides after that was renamed: under the same parent, first by
 * name without version and variant words, then when one is left on either side, then in order of birth when as many are left.
 */
#include "aggregate/diff_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Naming and renaming compare each with each; trees of so many different commands are told by their paths as they are. */
#define MANY_ROLES 2000

const struct diff_run *diff_run_at(const struct diff *d, size_t run)
{
	return run < d->n_base ? &d->base[run] : &d->fresh[run - d->n_base];
}

static int cmp_by_pid(const void *a, const void *b, void *ctx)
{
	const struct process_row *rows = ctx;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	if (rows[x].pid != rows[y].pid)
		return rows[x].pid < rows[y].pid ? -1 : 1;
	return x < y ? -1 : x > y;
}

uint32_t diff_row_of_pid(const struct diff_builder *b, size_t run, int32_t pid)
{
	const struct profile *p = diff_run_at(b->d, run)->profile;
	size_t lo = 0, hi = p->n_processes;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (p->processes[b->by_pid[run][mid]].pid < pid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->n_processes && p->processes[b->by_pid[run][lo]].pid == pid ? b->by_pid[run][lo] : IX_NONE;
}

uint32_t diff_role_of_pid(const struct diff_builder *b, size_t run, int32_t pid)
{
	uint32_t row = pid > 0 ? diff_row_of_pid(b, run, pid) : IX_NONE;

	return row == IX_NONE ? DIFF_ANY : b->role_of[run][row];
}

/* --- one run's tree -> roles --- */

/* While roles are built: which children a parent has, found by (parent, command, outside). */
struct tree {
	struct intern keys; /* "parent/outside/command" -> role, same numbering as d->roles */
};

static uint32_t add_role(struct diff_builder *b, struct tree *t, uint32_t parent, const char *command, bool outside)
{
	struct diff *d = b->d;
	struct diff_role *grown;
	char *key = NULL;
	uint32_t ix;

	if (asprintf(&key, "%u/%d/%s", parent, outside, command) < 0)
		return DIFF_ANY;
	ix = intern_add(&t->keys, key);
	free(key);
	if (ix == DIFF_ANY || ix < d->n_roles)
		return ix;
	grown = realloc(d->roles, (d->n_roles + 1) * sizeof *d->roles);
	if (!grown)
		return DIFF_ANY;
	d->roles = grown;
	d->roles[ix] = (struct diff_role){.command = strdup(command), .parent = parent, .outside = outside};
	d->n_roles++;
	return d->roles[ix].command ? ix : DIFF_ANY;
}

/* Parents first; a PPID that was reused may form a circle, hence the depth. */
static uint32_t role_of_row(struct diff_builder *b, struct tree *t, size_t run, uint32_t row, unsigned depth)
{
	const struct process_row *p = &diff_run_at(b->d, run)->profile->processes[row];
	uint32_t parent_row, parent = DIFF_ANY;
	char *command;

	if (b->role_of[run][row] != DIFF_ANY || depth > 64)
		return b->role_of[run][row];
	parent_row = p->in_tree && p->ppid > 0 ? diff_row_of_pid(b, run, p->ppid) : IX_NONE;
	if (parent_row != IX_NONE && parent_row != row && diff_run_at(b->d, run)->profile->processes[parent_row].in_tree)
		parent = role_of_row(b, t, run, parent_row, depth + 1);
	command = diff_command_name(p);
	if (command)
		b->role_of[run][row] = add_role(b, t, parent, command, !p->in_tree);
	free(command);
	if (b->role_of[run][row] == DIFF_ANY)
		b->out_of_memory = true;
	return b->role_of[run][row];
}

static bool index_run(struct diff_builder *b, size_t run)
{
	const struct profile *p = diff_run_at(b->d, run)->profile;
	size_t n = p->n_processes + 1;

	b->role_of[run] = malloc(n * sizeof **b->role_of);
	b->by_pid[run] = malloc(n * sizeof **b->by_pid);
	if (!b->role_of[run] || !b->by_pid[run])
		return false;
	for (uint32_t i = 0; i < p->n_processes; i++) {
		b->role_of[run][i] = DIFF_ANY;
		b->by_pid[run][i] = i;
	}
	qsort_r(b->by_pid[run], p->n_processes, sizeof **b->by_pid, cmp_by_pid, p->processes);
	return true;
}

/* --- renamed --- */

struct presence {
	bool base, fresh;
	uint64_t born; /* in the first run that has it, after that run's start */
};

static struct presence *find_presence(const struct diff_builder *b)
{
	struct presence *at = calloc(b->d->n_roles + 1, sizeof *at);

	for (size_t run = 0; at && run < b->d->n_base + b->d->n_new; run++) {
		const struct profile *p = diff_run_at(b->d, run)->profile;
		for (size_t i = 0; i < p->n_processes; i++) {
			struct presence *pr = &at[b->role_of[run][i]];
			if (!pr->base && !pr->fresh)
				pr->born = p->processes[i].started_ns - p->meta.start_ns;
			if (run < b->d->n_base)
				pr->base = true;
			else
				pr->fresh = true;
		}
	}
	return at;
}

/* The new side's processes of role `from` become role `to`; children of `from` move below `to`. */
static void merge_role(struct diff_builder *b, struct presence *at, uint32_t from, uint32_t to)
{
	struct diff *d = b->d;

	for (size_t run = d->n_base; run < d->n_base + d->n_new; run++)
		for (size_t i = 0; i < diff_run_at(d, run)->profile->n_processes; i++)
			if (b->role_of[run][i] == from)
				b->role_of[run][i] = to;
	free(d->roles[to].new_path);
	d->roles[to].new_path = strdup(d->roles[from].command); /* a command yet, a path in the end */
	b->out_of_memory |= !d->roles[to].new_path;
	at[to].fresh = true;
	at[from].fresh = false;
	for (uint32_t r = 0; r < d->n_roles; r++)
		if (d->roles[r].parent == from)
			d->roles[r].parent = to;
	/* Children that both have under one name are one role now. */
	for (uint32_t r = 0; r < d->n_roles; r++)
		for (uint32_t s = 0; s < d->n_roles; s++)
			if (r != s && d->roles[r].parent == to && d->roles[s].parent == to && at[r].fresh && !at[r].base &&
			    at[s].base && !at[s].fresh && strcmp(d->roles[r].command, d->roles[s].command) == 0) {
				merge_role(b, at, r, s);
				free(d->roles[s].new_path);
				d->roles[s].new_path = NULL;
			}
}

static bool is_left(const struct diff_builder *b, const struct presence *at, uint32_t r, uint32_t parent, bool base)
{
	return b->d->roles[r].parent == parent && !b->d->roles[r].outside && at[r].base == base && at[r].fresh != base;
}

static bool same_stem(const char *a, const char *b)
{
	char *x = diff_command_stem(a), *y = diff_command_stem(b);
	bool same = x && y && *x && strcmp(x, y) == 0;

	free(x);
	free(y);
	return same;
}

static uint32_t oldest_left(const struct diff_builder *b, const struct presence *at, uint32_t parent, bool base, size_t *n)
{
	uint32_t best = DIFF_ANY;

	*n = 0;
	for (uint32_t r = 0; r < b->d->n_roles; r++)
		if (is_left(b, at, r, parent, base)) {
			++*n;
			if (best == DIFF_ANY || at[r].born < at[best].born)
				best = r;
		}
	return best;
}

static void match_children(struct diff_builder *b, struct presence *at, uint32_t parent)
{
	size_t n_base, n_new;
	uint32_t from, to;

	for (uint32_t r = 0; r < b->d->n_roles; r++)
		for (uint32_t s = 0; s < b->d->n_roles; s++)
			if (is_left(b, at, r, parent, false) && is_left(b, at, s, parent, true) &&
			    same_stem(b->d->roles[r].command, b->d->roles[s].command))
				merge_role(b, at, r, s);
	for (;;) {
		to = oldest_left(b, at, parent, true, &n_base);
		from = oldest_left(b, at, parent, false, &n_new);
		if (n_base == 0 || n_base != n_new)
			break;
		merge_role(b, at, from, to);
	}
}

static int match_renamed(struct diff_builder *b)
{
	struct presence *at = find_presence(b);
	bool *done = calloc(b->d->n_roles + 1, sizeof *done);

	if (at && done) {
		match_children(b, at, DIFF_ANY);
		/* Parents before children: a child's parent is known to both sides only then. */
		for (bool more = true; more;) {
			more = false;
			for (uint32_t r = 0; r < b->d->n_roles; r++) {
				uint32_t up = b->d->roles[r].parent;
				if (done[r] || !at[r].base || !at[r].fresh || (up != DIFF_ANY && !done[up]))
					continue;
				done[r] = more = true;
				match_children(b, at, r);
			}
		}
	}
	if (!at || !done)
		b->out_of_memory = true;
	free(at);
	free(done);
	return b->out_of_memory ? -ENOMEM : 0;
}

/* --- names and counts --- */

static char *path_of(const struct diff *d, uint32_t role, bool fresh, unsigned depth)
{
	const struct diff_role *r = &d->roles[role];
	const char *command = fresh && r->new_path ? r->new_path : r->command;
	char *up = r->parent != DIFF_ANY && depth < 64 ? path_of(d, r->parent, fresh, depth + 1) : NULL, *path = NULL;
	int n = up ? asprintf(&path, "%s/%s", up, command) : asprintf(&path, "%s", command);

	free(up);
	return n < 0 ? NULL : path;
}

/* The last component if it is unique, else as much of the path as makes it so. */
static char *short_name(const struct diff *d, uint32_t role)
{
	const char *path = d->roles[role].path, *at = path + strlen(path);

	if (d->n_roles > MANY_ROLES)
		return strdup(path);
	while (at > path) {
		bool unique = true;
		for (--at; at > path && at[-1] != '/'; at--)
			;
		for (uint32_t r = 0; r < d->n_roles && unique; r++) {
			size_t n = strlen(d->roles[r].path), m = strlen(at);
			if (r != role && n >= m && strcmp(d->roles[r].path + n - m, at) == 0 &&
			    (n == m || d->roles[r].path[n - m - 1] == '/') && (d->roles[r].n_base || d->roles[r].n_new))
				unique = false;
		}
		if (unique)
			break;
	}
	/* A root that is also a suffix of its child's path has no shorter name than its own. */
	return strdup(at);
}

static int cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median_count(const struct diff_builder *b, uint32_t role, size_t first, size_t n, double *scratch)
{
	for (size_t k = 0; k < n; k++) {
		const struct profile *p = diff_run_at(b->d, first + k)->profile;
		scratch[k] = 0;
		for (size_t i = 0; i < p->n_processes; i++)
			if (b->role_of[first + k][i] == role)
				scratch[k] += p->processes[i].n_siblings ? p->processes[i].n_siblings : 1;
	}
	qsort(scratch, n, sizeof *scratch, cmp_double);
	/* The larger middle: what half of the runs have exists. */
	return n ? scratch[n / 2] : 0;
}

static void name_roles(struct diff_builder *b)
{
	struct diff *d = b->d;
	double *scratch = malloc((d->n_base + d->n_new + 1) * sizeof *scratch);
	char **fresh = calloc(d->n_roles + 1, sizeof *fresh);

	for (uint32_t r = 0; scratch && fresh && r < d->n_roles; r++) {
		d->roles[r].path = path_of(d, r, false, 0);
		fresh[r] = path_of(d, r, true, 0);
		d->roles[r].n_base = median_count(b, r, 0, d->n_base, scratch);
		d->roles[r].n_new = median_count(b, r, d->n_base, d->n_new, scratch);
		b->out_of_memory |= !d->roles[r].path || !fresh[r];
	}
	b->out_of_memory |= !scratch || !fresh;
	for (uint32_t r = 0; !b->out_of_memory && r < d->n_roles; r++) {
		free(d->roles[r].new_path);
		d->roles[r].new_path = strcmp(fresh[r], d->roles[r].path) ? fresh[r] : NULL;
		if (d->roles[r].new_path)
			fresh[r] = NULL;
		d->roles[r].name = short_name(d, r);
		b->out_of_memory |= !d->roles[r].name;
	}
	for (uint32_t r = 0; fresh && r < d->n_roles; r++)
		free(fresh[r]);
	free(fresh);
	free(scratch);
}

int diff_roles_build(struct diff_builder *b)
{
	size_t n_runs = b->d->n_base + b->d->n_new;
	struct tree t = {0};

	b->role_of = calloc(n_runs, sizeof *b->role_of);
	b->by_pid = calloc(n_runs, sizeof *b->by_pid);
	if (!b->role_of || !b->by_pid)
		return -ENOMEM;
	for (size_t run = 0; run < n_runs && !b->out_of_memory; run++) {
		if (!index_run(b, run))
			b->out_of_memory = true;
		for (uint32_t i = 0; !b->out_of_memory && i < diff_run_at(b->d, run)->profile->n_processes; i++)
			role_of_row(b, &t, run, i, 0);
	}
	intern_fini(&t.keys);
	if (!b->out_of_memory && (b->d->n_roles > MANY_ROLES || match_renamed(b) == 0))
		name_roles(b);
	return b->out_of_memory ? -ENOMEM : 0;
}
