/* SPDX-License-Identifier: Apache-2.0
 *
 * The layout of the profile file as data: one descriptor per table, one row per column. The writer, the reader, the
 * CREATE statements, the value checks and the test of docs/PROFILE.md all walk these tables; none of them knows a column by name.
 *
 * To add a column:  one line in the table's column list in profile_db_schema.c, one line in docs/PROFILE.md.
 * To add a table:   a column list, a row in db_tables[] (after the tables that it refers to), a section in docs/PROFILE.md,
 *                   and profile_free() releases what the loader fills (arrays, strings: each from malloc).
 * To add an enum:   a name function and a row in db_enums[]. Enums are stored by name, so their order may change.
 * After a release, either one also raises PROFILE_DB_VERSION: the reader wants the layout exactly as its version has it.
 */
#ifndef LOCKSTEP_PROFILE_DB_SCHEMA_H
#define LOCKSTEP_PROFILE_DB_SCHEMA_H

#include "aggregate/profile.h"
#include "sampler/err.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds that hold when writing and when reading, so that whatever is written can be read again. */
#define DB_MAX_U64 (UINT64_C(1) << 60) /* ns: 36 years of thread time; bytes: an exbibyte */
#define DB_MAX_CELL (16 << 20)	       /* bytes of one string or histogram */
#define DB_MAX_FILE (INT64_C(1) << 30) /* bytes of a profile file; a big one has some MB */

enum db_type {
	DB_I32,
	DB_U32,
	DB_U64,
	DB_BOOL,
	DB_F64,
	DB_ENUM,      /* an int-sized enum, stored by name */
	DB_ENUM8,     /* the same in a uint8_t */
	DB_ENUM_SET,  /* a uint32_t of bits (1 << value), stored as "name,name" */
	DB_IX,	      /* a uint32_t index into the table `ref`; IX_NONE is NULL */
	DB_TEXT,      /* char *; NULL is written as "" */
	DB_TEXT_NULL, /* char * that may be NULL */
	DB_HIST,      /* struct hist, as a sparse blob */
	DB_SIZES,     /* the buckets of a struct size_hist, as a sparse blob */
	DB_DERIVED,   /* computed by `derive` for readers with sqlite3; the loader skips it */
};

struct db_table;

struct db_enum {
	const char *(*name)(unsigned value);
	unsigned count; /* values are 0 .. count - 1 */
};

struct db_column {
	const char *name;
	enum db_type type;
	size_t offset;	     /* in the row's struct */
	const char *unit;    /* "ns", "bytes", "count", "" ...: as in docs/PROFILE.md */
	int64_t max;	     /* largest legal integer; 0: the type's own bound */
	double min_f, max_f; /* DB_F64 */
	const struct db_enum *values;
	const struct db_table *ref;
	double (*derive)(const void *row); /* NAN is written as NULL */
};

enum db_shape {
	DB_ONE,	    /* exactly one row: `rows_at` is where its struct lies in the parent */
	DB_ARRAY,   /* pointer at rows_at, number of rows at count_at */
	DB_ARGV,    /* NULL-terminated char ** at rows_at; NULL: no rows */
	DB_CLASSES, /* uint64_t[WC_COUNT] at rows_at; only what is not 0 is a row, its key is the wait class */
};

/* Rows hang off the profile itself (parent NULL, or a DB_ONE table: the profile too) or off each row of a parent DB_ARRAY. */
struct db_table {
	const char *name;
	const struct db_table *parent;
	const char *parent_key; /* "process_ix": the key column of a table with a parent */
	enum db_shape shape;
	size_t rows_at, count_at;
	size_t count_size; /* sizeof the counter: 4 or 8 */
	size_t row_size;
	uint32_t max_rows; /* per parent; 0: the default */
	const struct db_column *columns;
	size_t n_columns;
};

extern const struct db_table *const db_tables[]; /* NULL-terminated; parents and referred tables come first */
extern const char *const db_views[];		 /* CREATE VIEW statements, NULL-terminated */

const char *db_column_sql_type(const struct db_column *c); /* "INTEGER", "TEXT", "REAL", "BLOB" */
bool db_column_nullable(const struct db_column *c);
/* Number of key columns that precede the table's own in CREATE and SELECT: 0 .. 2, with their names. */
unsigned db_table_keys(const struct db_table *t, const char *keys[2]);
uint32_t db_table_max_rows(const struct db_table *t);
/* The CREATE TABLE statement, as sqlite_schema shows it. To be freed; NULL: out of memory. */
char *db_table_create_sql(const struct db_table *t);

/* The rows of `t` that hang off `parent` (the struct profile, or one row of t->parent). */
size_t db_rows_count(const struct db_table *t, const void *parent);
void *db_rows_at(const struct db_table *t, const void *parent, size_t i);
/* The parents of t in p: their number, and the i-th. */
size_t db_parents_count(const struct db_table *t, const struct profile *p);
void *db_parent_at(const struct db_table *t, const struct profile *p, size_t i);

/* An integer column's value, and whether it lies in its legal range. DB_I32 .. DB_IX only. */
int64_t db_int_get(const struct db_column *c, const void *row);
void db_int_set(const struct db_column *c, void *row, int64_t v);
bool db_int_legal(const struct db_column *c, const struct profile *p, int64_t v);

/* Histogram blobs (docs/PROFILE.md, "Histograms"). Encoders return the length, at most DB_HIST_BLOB_MAX;
 * decoders return 0, or -EINVAL for anything that an encoder does not write. */
#define DB_HIST_BLOB_MAX 2048
size_t db_hist_encode(const struct hist *h, uint8_t *out);
int db_hist_decode(struct hist *h, const uint8_t *in, size_t n);
size_t db_sizes_encode(const struct size_hist *h, uint8_t *out);
int db_sizes_decode(struct size_hist *h, const uint8_t *in, size_t n);

/* Whole files. db_file_write replaces `path` atomically; db_file_read takes regular files only, *out is to be freed. */
int db_file_write(const char *path, const void *data, size_t n, struct err *err);
int db_file_read(const char *path, uint8_t **out, size_t *n, struct err *err);

#endif
