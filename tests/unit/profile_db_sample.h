/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles for the tests of the profile file: random ones, made column by column from the descriptors, so that a new row type is
 * covered the moment it is declared; and the comparison of two profiles in the same way.
 */
#ifndef LOCKSTEP_PROFILE_DB_SAMPLE_H
#define LOCKSTEP_PROFILE_DB_SAMPLE_H

#include "aggregate/profile_db_schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t sample_seed = 1;

static inline uint64_t sample_random(void)
{
	sample_seed ^= sample_seed << 13;
	sample_seed ^= sample_seed >> 7;
	sample_seed ^= sample_seed << 17;
	return sample_seed;
}

static inline uint64_t sample_below(uint64_t n)
{
	return sample_random() % n;
}

/* Raw bytes, hostile ones included, but no NUL. */
static inline char *sample_text(void)
{
	size_t n = sample_below(20);
	char *s = malloc(n + 1);

	for (size_t i = 0; i < n; i++)
		s[i] = (char)(1 + sample_below(255));
	s[n] = 0;
	return s;
}

static inline int64_t sample_int(const struct db_column *c, const struct profile *p)
{
	switch (c->type) {
	case DB_I32:
		return (int32_t)sample_random();
	case DB_BOOL:
		return (int64_t)sample_below(2);
	case DB_ENUM:
	case DB_ENUM8:
		return (int64_t)sample_below(c->values->count);
	case DB_ENUM_SET:
		return (int64_t)sample_below(UINT64_C(1) << c->values->count);
	case DB_IX:
		return sample_below(4) ? (int64_t)sample_below(db_rows_count(c->ref, p)) : IX_NONE;
	case DB_U64:
		return (int64_t)sample_below(sample_below(2) ? 1000000 : DB_MAX_U64);
	default:
		return (int64_t)sample_below(c->max ? (uint64_t)c->max + 1 : UINT64_C(1) << 32);
	}
}

static inline void sample_column(const struct db_column *c, const struct profile *p, void *row)
{
	void *field = (char *)row + c->offset;

	switch (c->type) {
	case DB_DERIVED:
		break;
	case DB_F64:
		*(double *)field = c->min_f + (c->max_f - c->min_f) * (double)sample_below(1000) / 1000;
		break;
	case DB_TEXT_NULL:
		if (sample_below(3) == 0)
			break;
		/* fall through */
	case DB_TEXT:
		*(char **)field = sample_text();
		break;
	case DB_HIST:
		for (uint64_t n = sample_below(10); n > 0; n--)
			((struct hist *)field)->n[sample_below(HIST_BUCKETS)] = (uint32_t)sample_random();
		break;
	case DB_SIZES:
		memset(field, 0, sizeof(struct size_hist));
		for (uint64_t n = sample_below(20); n > 0; n--)
			size_hist_add(field, (uint32_t)sample_below(100000), 1 + sample_below(1000));
		break;
	default:
		db_int_set(c, row, sample_int(c, p));
		break;
	}
}

static inline void sample_rows(const struct db_table *t, const struct profile *p, void *parent, size_t n)
{
	if (t->shape == DB_CLASSES) {
		for (size_t i = 0; i < n; i++)
			*(uint64_t *)db_rows_at(t, parent, sample_below(WC_COUNT)) = sample_below(DB_MAX_U64);
		return;
	}
	if (t->shape == DB_ONE) {
		n = 1;
	} else {
		/* An argv without arguments is NULL after loading: the file tells "unknown" and "none" alike. */
		void *rows = n || t->shape == DB_ARRAY ? calloc(n + 1, t->row_size) : NULL;
		memcpy((char *)parent + t->rows_at, &rows, sizeof rows);
		if (t->shape == DB_ARRAY && t->count_size == sizeof(uint32_t))
			*(uint32_t *)((char *)parent + t->count_at) = (uint32_t)n;
		else if (t->shape == DB_ARRAY)
			*(size_t *)((char *)parent + t->count_at) = n;
	}
	for (size_t i = 0; i < n; i++)
		for (size_t c = 0; c < t->n_columns; c++)
			sample_column(&t->columns[c], p, db_rows_at(t, parent, i));
}

/* Up to max_rows rows in each table; at least one, so that each column is exercised, unless max_rows is 0. */
static inline struct profile *sample_profile(uint64_t seed, size_t max_rows)
{
	struct profile *p = profile_new();

	sample_seed = seed * 0x9e3779b97f4a7c15u + 1;
	for (size_t i = 0; db_tables[i]; i++)
		for (size_t k = 0; k < db_parents_count(db_tables[i], p); k++)
			sample_rows(db_tables[i], p, db_parent_at(db_tables[i], p, k), max_rows ? 1 + sample_below(max_rows) : 0);
	if (p->meta.end_ns < p->meta.start_ns) {
		uint64_t t = p->meta.start_ns;
		p->meta.start_ns = p->meta.end_ns;
		p->meta.end_ns = t;
	}
	return p;
}

static inline bool sample_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static inline bool sample_same_column(const struct db_column *c, const void *a, const void *b)
{
	const void *fa = (const char *)a + c->offset, *fb = (const char *)b + c->offset;
	const struct size_hist *sa = fa, *sb = fb;

	switch (c->type) {
	case DB_DERIVED:
		return true;
	case DB_F64:
		return *(const double *)fa == *(const double *)fb;
	case DB_TEXT:
	case DB_TEXT_NULL:
		return sample_same_text(*(char *const *)fa, *(char *const *)fb);
	case DB_HIST:
		return memcmp(fa, fb, sizeof(struct hist)) == 0;
	case DB_SIZES: /* unused exact slots may hold anything */
		if (sa->n_exact != sb->n_exact || memcmp(sa->log2, sb->log2, sizeof sa->log2) != 0)
			return false;
		for (uint32_t i = 0; i < sa->n_exact; i++)
			if (sa->exact[i].value != sb->exact[i].value || sa->exact[i].count != sb->exact[i].count)
				return false;
		return true;
	default:
		return db_int_get(c, a) == db_int_get(c, b);
	}
}

/* NULL when equal, else the name of the first table or "table.column" that differs (static buffer). */
static inline const char *sample_difference(const struct profile *a, const struct profile *b)
{
	static char where[128];

	for (size_t i = 0; db_tables[i]; i++) {
		const struct db_table *t = db_tables[i];
		snprintf(where, sizeof where, "%s", t->name);
		if (db_parents_count(t, a) != db_parents_count(t, b))
			return where;
		for (size_t k = 0; k < db_parents_count(t, a); k++) {
			const void *pa = db_parent_at(t, a, k), *pb = db_parent_at(t, b, k);
			size_t n = db_rows_count(t, pa);
			if (n != db_rows_count(t, pb))
				return where;
			for (size_t r = 0; r < n; r++)
				for (size_t c = 0; c < t->n_columns; c++)
					if (!sample_same_column(&t->columns[c], db_rows_at(t, pa, r), db_rows_at(t, pb, r))) {
						snprintf(where, sizeof where, "%s.%s", t->name, t->columns[c].name);
						return where;
					}
		}
	}
	return NULL;
}

#endif
