/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be asked of a descriptor: SQL types and statements, where the rows lie in memory, integers by offset. In: a table or
 * column of profile_db_schema.c and a profile; out: pointers and values. The only code that does arithmetic with offsets.
 */
#include "aggregate/profile_db_schema.h"

#include <stdio.h>
#include <stdlib.h>

const char *db_column_sql_type(const struct db_column *c)
{
	switch (c->type) {
	case DB_F64:
	case DB_DERIVED:
		return "REAL";
	case DB_ENUM:
	case DB_ENUM8:
	case DB_ENUM_SET:
	case DB_TEXT:
	case DB_TEXT_NULL:
		return "TEXT";
	case DB_HIST:
	case DB_SIZES:
		return "BLOB";
	default:
		return "INTEGER";
	}
}

bool db_column_nullable(const struct db_column *c)
{
	return c->type == DB_IX || c->type == DB_TEXT_NULL || c->type == DB_DERIVED;
}

unsigned db_table_keys(const struct db_table *t, const char *keys[2])
{
	unsigned n = 0;

	if (t->shape == DB_ONE)
		return 0;
	if (t->parent)
		keys[n++] = t->parent_key;
	keys[n++] = t->shape == DB_CLASSES ? "class" : t->parent ? "ord" : "ix";
	return n;
}

uint32_t db_table_max_rows(const struct db_table *t)
{
	return t->max_rows ? t->max_rows : 1 << 20;
}

char *db_table_create_sql(const struct db_table *t)
{
	const char *keys[2];
	unsigned n_keys = db_table_keys(t, keys);
	char *sql = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&sql, &size);

	if (!f)
		return NULL;
	fprintf(f, "CREATE TABLE %s (", t->name);
	if (n_keys == 1)
		fprintf(f, "%s INTEGER PRIMARY KEY, ", keys[0]);
	else if (n_keys == 2)
		fprintf(f, "%s INTEGER NOT NULL, %s %s NOT NULL, ", keys[0], keys[1],
			t->shape == DB_CLASSES ? "TEXT" : "INTEGER");
	for (size_t i = 0; i < t->n_columns; i++) {
		const struct db_column *c = &t->columns[i];
		fprintf(f, "%s%s %s%s", i ? ", " : "", c->name, db_column_sql_type(c), db_column_nullable(c) ? "" : " NOT NULL");
	}
	if (n_keys == 2)
		fprintf(f, ", PRIMARY KEY (%s, %s)) WITHOUT ROWID", keys[0], keys[1]);
	else
		fprintf(f, ")");
	if (fclose(f) != 0) {
		free(sql);
		return NULL;
	}
	return sql;
}

static void *member(const void *base, size_t offset)
{
	return (char *)base + offset;
}

size_t db_rows_count(const struct db_table *t, const void *parent)
{
	const char *const *argv;
	size_t n = 0;

	switch (t->shape) {
	case DB_ONE:
		return 1;
	case DB_CLASSES:
		return WC_COUNT;
	case DB_ARGV:
		argv = *(const char *const *const *)member(parent, t->rows_at);
		while (argv && argv[n])
			n++;
		return n;
	case DB_ARRAY:
		break;
	}
	if (t->count_size == sizeof(uint32_t))
		return *(uint32_t *)member(parent, t->count_at);
	return *(size_t *)member(parent, t->count_at);
}

void *db_rows_at(const struct db_table *t, const void *parent, size_t i)
{
	char *first = member(parent, t->rows_at);

	if (t->shape == DB_ARRAY || t->shape == DB_ARGV)
		first = *(char **)first;
	return first + i * t->row_size;
}

size_t db_parents_count(const struct db_table *t, const struct profile *p)
{
	return t->parent ? db_rows_count(t->parent, p) : 1;
}

void *db_parent_at(const struct db_table *t, const struct profile *p, size_t i)
{
	return t->parent ? db_rows_at(t->parent, p, i) : (void *)p;
}

/* --- integers --- */

int64_t db_int_get(const struct db_column *c, const void *row)
{
	const void *at = member(row, c->offset);

	switch (c->type) {
	case DB_I32:
		return *(const int32_t *)at;
	case DB_BOOL:
		return *(const bool *)at;
	case DB_ENUM8:
		return *(const uint8_t *)at;
	case DB_U64:
		return *(const uint64_t *)at > INT64_MAX ? -1 : (int64_t) * (const uint64_t *)at;
	default:
		return *(const uint32_t *)at;
	}
}

void db_int_set(const struct db_column *c, void *row, int64_t v)
{
	void *at = member(row, c->offset);

	switch (c->type) {
	case DB_I32:
		*(int32_t *)at = (int32_t)v;
		break;
	case DB_BOOL:
		*(bool *)at = v != 0;
		break;
	case DB_ENUM8:
		*(uint8_t *)at = (uint8_t)v;
		break;
	case DB_U64:
		*(uint64_t *)at = (uint64_t)v;
		break;
	default:
		*(uint32_t *)at = (uint32_t)v;
		break;
	}
}

bool db_int_legal(const struct db_column *c, const struct profile *p, int64_t v)
{
	if (c->type == DB_I32)
		return v >= INT32_MIN && v <= INT32_MAX;
	if (v < 0 || (c->max && v > c->max))
		return false;
	switch (c->type) {
	case DB_U64:
		return v <= (int64_t)DB_MAX_U64;
	case DB_BOOL:
		return v <= 1;
	case DB_ENUM:
	case DB_ENUM8:
		return v < c->values->count;
	case DB_ENUM_SET:
		return v < INT64_C(1) << c->values->count;
	case DB_IX:
		return v == IX_NONE || v < (int64_t)db_rows_count(c->ref, p);
	default:
		return v <= UINT32_MAX;
	}
}
