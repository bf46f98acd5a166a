/* SPDX-License-Identifier: Apache-2.0
 *
 * Profile -> file. In: a struct profile; out: one SQLite file. The database is built in memory and serialized, so that SQLite
 * itself never touches the disk: no journal to leave behind, and the file appears in one step (profile_db_file.c). Values are
 * checked on the way out with the reader's own rules: what is written can be read again.
 */
#include "aggregate/profile_db.h"
#include "aggregate/profile_db_schema.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct writer {
	const struct profile *p;
	sqlite3 *db;
	struct err *err;
};

static int sql_failed(const struct writer *w)
{
	int code = sqlite3_errcode(w->db);

	return err_set(w->err, code == SQLITE_NOMEM ? -ENOMEM : -EIO, "build the profile's database: %s", sqlite3_errmsg(w->db));
}

static int execute(const struct writer *w, const char *sql)
{
	return sqlite3_exec(w->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sql_failed(w);
}

static int create_schema(const struct writer *w)
{
	char pragmas[160];
	int rc;

	/* The rows are written once, in order, and nobody else sees them: no journal. 2 KiB pages: small profiles stay small. */
	snprintf(
		pragmas, sizeof pragmas,
		"PRAGMA page_size = 2048; PRAGMA journal_mode = OFF; PRAGMA application_id = %d; PRAGMA user_version = %d; BEGIN",
		PROFILE_DB_APPLICATION_ID, PROFILE_DB_VERSION);
	rc = execute(w, pragmas);
	for (size_t i = 0; rc == 0 && db_tables[i]; i++) {
		char *sql = db_table_create_sql(db_tables[i]);
		rc = sql ? execute(w, sql) : err_set(w->err, -ENOMEM, "build the profile's database: out of memory");
		free(sql);
	}
	for (size_t i = 0; rc == 0 && db_views[i]; i++)
		rc = execute(w, db_views[i]);
	return rc;
}

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
	sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

static void bind_enum_set(sqlite3_stmt *s, int at, const struct db_enum *values, uint32_t set)
{
	char names[512] = "";
	size_t n = 0;

	for (unsigned v = 0; v < values->count && n < sizeof names; v++)
		if (set & UINT32_C(1) << v)
			n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? "," : "", values->name(v));
	sqlite3_bind_text(s, at, names, -1, SQLITE_TRANSIENT);
}

static bool bind_int(const struct writer *w, sqlite3_stmt *s, int at, const struct db_column *c, const void *row)
{
	int64_t v = db_int_get(c, row);

	if (!db_int_legal(c, w->p, v))
		return false;
	if (c->type == DB_ENUM || c->type == DB_ENUM8)
		bind_text(s, at, c->values->name((unsigned)v));
	else if (c->type == DB_ENUM_SET)
		bind_enum_set(s, at, c->values, (uint32_t)v);
	else if (c->type != DB_IX || v != IX_NONE)
		sqlite3_bind_int64(s, at, v);
	return true;
}

/* False: the value is outside what its column may hold. A failed bind shows at the next step. */
static bool bind_column(const struct writer *w, sqlite3_stmt *s, int at, const struct db_column *c, const void *row)
{
	const void *field = (const char *)row + c->offset;
	uint8_t blob[DB_HIST_BLOB_MAX];
	const char *text;
	double f;

	switch (c->type) {
	case DB_F64:
		f = *(const double *)field;
		sqlite3_bind_double(s, at, f);
		return isfinite(f) && f >= c->min_f && f <= c->max_f;
	case DB_DERIVED:
		sqlite3_bind_double(s, at, c->derive(row)); /* NAN becomes NULL */
		return true;
	case DB_TEXT:
	case DB_TEXT_NULL:
		text = *(const char *const *)field;
		bind_text(s, at, text || c->type == DB_TEXT_NULL ? text : "");
		return true;
	case DB_HIST:
		sqlite3_bind_blob(s, at, blob, (int)db_hist_encode(field, blob), SQLITE_TRANSIENT);
		return true;
	case DB_SIZES:
		sqlite3_bind_blob(s, at, blob, (int)db_sizes_encode(field, blob), SQLITE_TRANSIENT);
		return ((const struct size_hist *)field)->n_exact <= SIZE_HIST_EXACT;
	default:
		return bind_int(w, s, at, c, row);
	}
}

static int insert_row(const struct writer *w, const struct db_table *t, sqlite3_stmt *s, size_t parent_ix, size_t i,
		      const void *row)
{
	int at = 1;

	sqlite3_clear_bindings(s);
	if (t->parent)
		sqlite3_bind_int64(s, at++, (int64_t)parent_ix);
	if (t->shape == DB_CLASSES)
		bind_text(s, at++, wait_class_name((enum wait_class)i));
	else if (t->shape != DB_ONE)
		sqlite3_bind_int64(s, at++, (int64_t)i);
	for (size_t c = 0; c < t->n_columns; c++)
		if (!bind_column(w, s, at++, &t->columns[c], row))
			return err_set(w->err, -ERANGE, "write the profile: %s.%s of row %zu is out of range", t->name,
				       t->columns[c].name, i);
	if (sqlite3_step(s) != SQLITE_DONE)
		return sql_failed(w);
	sqlite3_reset(s);
	return 0;
}

static int insert_rows(const struct writer *w, const struct db_table *t, sqlite3_stmt *s)
{
	size_t n_parents = db_parents_count(t, w->p);
	int rc = 0;

	for (size_t p = 0; p < n_parents; p++) {
		const void *parent = db_parent_at(t, w->p, p);
		size_t n = db_rows_count(t, parent);
		if (n > db_table_max_rows(t))
			return err_set(w->err, -E2BIG, "write the profile: %zu rows of %s are more than %u", n, t->name,
				       db_table_max_rows(t));
		for (size_t i = 0; rc == 0 && i < n; i++) {
			const void *row = db_rows_at(t, parent, i);
			if (t->shape != DB_CLASSES || *(const uint64_t *)row)
				rc = insert_row(w, t, s, p, i, row);
		}
	}
	return rc;
}

static int write_table(const struct writer *w, const struct db_table *t)
{
	const char *keys[2];
	sqlite3_str *sql = sqlite3_str_new(w->db);
	sqlite3_stmt *s = NULL;
	char *text;
	int rc;

	sqlite3_str_appendf(sql, "INSERT INTO %s VALUES (?", t->name);
	for (size_t i = 1; i < db_table_keys(t, keys) + t->n_columns; i++)
		sqlite3_str_appendall(sql, ",?");
	sqlite3_str_appendall(sql, ")");
	text = sqlite3_str_finish(sql);
	if (!text)
		return err_set(w->err, -ENOMEM, "build the profile's database: out of memory");
	rc = sqlite3_prepare_v2(w->db, text, -1, &s, NULL) == SQLITE_OK ? insert_rows(w, t, s) : sql_failed(w);
	sqlite3_finalize(s);
	sqlite3_free(text);
	return rc;
}

int profile_save(const struct profile *p, const char *path, struct err *err)
{
	struct writer w = {.p = p, .err = err};
	unsigned char *bytes = NULL;
	sqlite3_int64 n = 0;
	int rc;

	if (p->meta.end_ns < p->meta.start_ns)
		return err_set(err, -ERANGE, "write the profile: it ends before it starts");
	if (sqlite3_open_v2(":memory:", &w.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK) {
		rc = sql_failed(&w);
		goto out;
	}
	sqlite3_limit(w.db, SQLITE_LIMIT_LENGTH, DB_MAX_CELL);
	rc = create_schema(&w);
	for (size_t i = 0; rc == 0 && db_tables[i]; i++)
		rc = write_table(&w, db_tables[i]);
	if (rc == 0)
		rc = execute(&w, "COMMIT");
	if (rc != 0)
		goto out;
	bytes = sqlite3_serialize(w.db, "main", &n, 0);
	if (!bytes)
		rc = err_set(err, -ENOMEM, "build the profile's database: out of memory");
	else
		rc = db_file_write(path, bytes, (size_t)n, err);
out:
	sqlite3_free(bytes);
	sqlite3_close(w.db);
	return rc;
}
