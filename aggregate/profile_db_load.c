/* SPDX-License-Identifier: Apache-2.0
 *
 * File -> profile. In: a path, hostile until proven otherwise; out: a struct profile whose every value is legal, or one sentence.
 *
 * The file is read into memory and opened from there, read-only: no lock, no journal of somebody else is replayed, nothing changes
 * under the reader's feet. Then, in this order: header, application_id and version; SQLite's own hardening (defensive, untrusted
 * schema, limits, a budget of work); quick_check; the tables must be declared exactly as this version declares them, so that no
 * view, generated column or trigger of a stranger is ever evaluated; and each value against its column's range.
 */
#include "aggregate/profile_db.h"
#include "aggregate/profile_db_schema.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct profile *p;
	sqlite3 *db;
	const char *path;
	struct err *err;
	uint64_t steps, max_steps; /* virtual machine work, in thousands of opcodes */
};

/* What SQLite finds wrong may take several lines and quote the file. */
static int is_corrupt(const struct reader *r, const char *what)
{
	char line[256];

	snprintf(line, sizeof line, "%s", what);
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	return err_set(r->err, -EINVAL, "open %s: the profile is corrupt: %s; record it anew", r->path, line);
}

static int sql_failed(const struct reader *r)
{
	if (sqlite3_errcode(r->db) == SQLITE_NOMEM)
		return err_set(r->err, -ENOMEM, "open %s: out of memory", r->path);
	if (sqlite3_errcode(r->db) == SQLITE_INTERRUPT)
		return is_corrupt(r, "reading it does not end");
	return is_corrupt(r, sqlite3_errmsg(r->db));
}

static uint32_t be32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* The 100-byte header (sqlite.org/fileformat.html) answers most mistakes better than SQLite's messages do. */
static int check_header(const struct reader *r, const uint8_t *bytes, size_t n)
{
	uint32_t page, pages, app, version;

	if (n == 0)
		return err_set(r->err, -EINVAL, "open %s: the file is empty; record it anew", r->path);
	if (n < 16 || memcmp(bytes, "SQLite format 3", 16) != 0)
		return err_set(r->err, -EINVAL, "open %s: not a lockstep profile; give a file made by `lockstep record`",
			       r->path);
	if (n < 512)
		return err_set(r->err, -EINVAL, "open %s: the profile is truncated to %zu bytes; record it anew", r->path, n);
	app = be32(bytes + 68);
	version = be32(bytes + 60);
	if (app != PROFILE_DB_APPLICATION_ID)
		return err_set(r->err, -EINVAL,
			       "open %s: an SQLite database, but not a lockstep profile; give a file made by `lockstep record`",
			       r->path);
	if (version > PROFILE_DB_VERSION)
		return err_set(r->err, -EPROTONOSUPPORT,
			       "open %s: written by a newer lockstep (format %u, this one reads %d); upgrade lockstep", r->path,
			       version, PROFILE_DB_VERSION);
	if (version < PROFILE_DB_VERSION)
		return err_set(r->err, -EPROTONOSUPPORT,
			       "open %s: written by another lockstep (format %u, this one reads %d); record it anew", r->path,
			       version, PROFILE_DB_VERSION);
	if (bytes[18] == 2 || bytes[19] == 2)
		return err_set(r->err, -EINVAL,
			       "open %s: the profile is in WAL mode; run sqlite3 FILE 'PRAGMA journal_mode = DELETE'", r->path);
	page = (uint32_t)bytes[16] << 8 | bytes[17];
	page = page == 1 ? 65536 : page;
	pages = be32(bytes + 28);
	if ((uint64_t)page * pages > n)
		return err_set(r->err, -EINVAL, "open %s: the profile is truncated to %zu of %llu bytes; record it anew", r->path,
			       n, (unsigned long long)page * pages);
	return 0;
}

static int on_progress(void *ctx)
{
	struct reader *r = ctx;
	return ++r->steps > r->max_steps;
}

/* Limits after sqlite.org/security.html, "untrusted SQLite database files". */
static int open_hardened(struct reader *r, uint8_t *bytes, size_t n)
{
	static const struct {
		int id, value;
	} limits[] = {
		{SQLITE_LIMIT_LENGTH, DB_MAX_CELL}, {SQLITE_LIMIT_SQL_LENGTH, 1 << 20}, {SQLITE_LIMIT_COLUMN, 100},
		{SQLITE_LIMIT_EXPR_DEPTH, 50},	    {SQLITE_LIMIT_COMPOUND_SELECT, 5},	{SQLITE_LIMIT_VDBE_OP, 25000},
		{SQLITE_LIMIT_FUNCTION_ARG, 8},	    {SQLITE_LIMIT_ATTACHED, 0},		{SQLITE_LIMIT_TRIGGER_DEPTH, 5},
	};

	if (sqlite3_open_v2(":memory:", &r->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK)
		return sql_failed(r);
	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
		sqlite3_limit(r->db, limits[i].id, limits[i].value);
	sqlite3_db_config(r->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(r->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(r->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(r->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	sqlite3_db_config(r->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
	/* A page cannot hold more cells than bytes, and a cell costs some hundred opcodes: what needs more goes in circles. */
	r->max_steps = 10000 + n;
	sqlite3_progress_handler(r->db, 1000, on_progress, r);
	if (sqlite3_deserialize(r->db, "main", bytes, (sqlite3_int64)n, (sqlite3_int64)n, SQLITE_DESERIALIZE_READONLY) !=
	    SQLITE_OK)
		return sql_failed(r);
	return sqlite3_exec(r->db, "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY", NULL, NULL, NULL) == SQLITE_OK
		       ? 0
		       : sql_failed(r);
}

static int check_pages(const struct reader *r)
{
	sqlite3_stmt *s = NULL;
	int rc = 0, step;

	if (sqlite3_prepare_v2(r->db, "PRAGMA quick_check(1)", -1, &s, NULL) != SQLITE_OK)
		return sql_failed(r);
	step = sqlite3_step(s);
	if (step != SQLITE_ROW)
		rc = sql_failed(r);
	else if (strcmp((const char *)sqlite3_column_text(s, 0), "ok") != 0)
		rc = is_corrupt(r, (const char *)sqlite3_column_text(s, 0));
	sqlite3_finalize(s);
	return rc;
}

static int check_declared(const struct reader *r, const struct db_table *t)
{
	sqlite3_stmt *s = NULL;
	char *want = db_table_create_sql(t);
	char what[160];
	int rc = 0, step;

	if (!want)
		return err_set(r->err, -ENOMEM, "open %s: out of memory", r->path);
	if (sqlite3_prepare_v2(r->db, "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", -1, &s, NULL) !=
	    SQLITE_OK) {
		rc = sql_failed(r);
		goto out;
	}
	sqlite3_bind_text(s, 1, t->name, -1, SQLITE_STATIC);
	step = sqlite3_step(s);
	snprintf(what, sizeof what, "table %s is not as format %d has it", t->name, PROFILE_DB_VERSION);
	if (step == SQLITE_ROW) {
		const char *have = (const char *)sqlite3_column_text(s, 0);
		if (!have || strcmp(have, want) != 0)
			rc = is_corrupt(r, what);
	} else {
		rc = step == SQLITE_DONE ? is_corrupt(r, what) : sql_failed(r);
	}
out:
	sqlite3_finalize(s);
	free(want);
	return rc;
}

/* --- values --- */

/* NULL and *bad: not a text, or one that a C string cannot hold. */
static char *take_text(sqlite3_stmt *s, int at, bool *bad)
{
	const char *text;
	char *copy;

	if (sqlite3_column_type(s, at) != SQLITE_TEXT) {
		*bad = true;
		return NULL;
	}
	text = (const char *)sqlite3_column_text(s, at);
	if (!text || strlen(text) != (size_t)sqlite3_column_bytes(s, at)) {
		*bad = true;
		return NULL;
	}
	copy = strdup(text);
	*bad = !copy;
	return copy;
}

/* -1: no such name. */
static int64_t enum_parse(const struct db_enum *values, const char *name, size_t n)
{
	for (unsigned v = 0; v < values->count; v++)
		if (strlen(values->name(v)) == n && memcmp(values->name(v), name, n) == 0)
			return v;
	return -1;
}

static int64_t enum_set_parse(const struct db_enum *values, const char *names)
{
	int64_t set = 0;

	while (*names) {
		size_t n = strcspn(names, ",");
		int64_t v = enum_parse(values, names, n);
		if (v < 0)
			return -1;
		set |= INT64_C(1) << v;
		names += n + (names[n] == ',');
	}
	return set;
}

static bool take_int(const struct reader *r, sqlite3_stmt *s, int at, const struct db_column *c, void *row)
{
	int type = sqlite3_column_type(s, at);
	const char *text;
	int64_t v;

	if (c->values) {
		text = type == SQLITE_TEXT ? (const char *)sqlite3_column_text(s, at) : NULL;
		if (!text)
			return false;
		v = c->type == DB_ENUM_SET ? enum_set_parse(c->values, text) : enum_parse(c->values, text, strlen(text));
	} else if (c->type == DB_IX && type == SQLITE_NULL) {
		v = IX_NONE;
	} else {
		if (type != SQLITE_INTEGER)
			return false;
		v = sqlite3_column_int64(s, at);
		if (c->type == DB_IX && v == IX_NONE)
			return false;
	}
	if (!db_int_legal(c, r->p, v))
		return false;
	db_int_set(c, row, v);
	return true;
}

static bool take_blob(sqlite3_stmt *s, int at, const struct db_column *c, void *field)
{
	const void *blob;
	size_t n;

	if (sqlite3_column_type(s, at) != SQLITE_BLOB)
		return false;
	blob = sqlite3_column_blob(s, at);
	n = (size_t)sqlite3_column_bytes(s, at);
	return (c->type == DB_HIST ? db_hist_decode(field, blob, n) : db_sizes_decode(field, blob, n)) == 0;
}

static bool take_column(const struct reader *r, sqlite3_stmt *s, int at, const struct db_column *c, void *row)
{
	void *field = (char *)row + c->offset;
	bool bad = false;
	double f;

	switch (c->type) {
	case DB_DERIVED:
		return true;
	case DB_F64:
		if (sqlite3_column_type(s, at) != SQLITE_FLOAT && sqlite3_column_type(s, at) != SQLITE_INTEGER)
			return false;
		f = sqlite3_column_double(s, at);
		*(double *)field = f;
		return isfinite(f) && f >= c->min_f && f <= c->max_f;
	case DB_TEXT_NULL:
		if (sqlite3_column_type(s, at) == SQLITE_NULL)
			return true;
		/* fall through */
	case DB_TEXT:
		*(char **)field = take_text(s, at, &bad);
		return !bad;
	case DB_HIST:
	case DB_SIZES:
		return take_blob(s, at, c, field);
	default:
		return take_int(r, s, at, c, row);
	}
}

/* --- rows --- */

/* Where the next row goes. Rows come ordered by parent and number, so one growing array is open at a time. */
struct place {
	void *parent;
	size_t parent_ix, n, capacity;
};

static void set_count(const struct db_table *t, void *parent, size_t n)
{
	char *at = (char *)parent + t->count_at;

	if (t->shape != DB_ARRAY)
		return;
	if (t->count_size == sizeof(uint32_t))
		*(uint32_t *)at = (uint32_t)n;
	else
		*(size_t *)at = n;
}

/* Room for row n, zeroed; an argv keeps its terminating NULL at all times. */
static int make_room(const struct db_table *t, struct place *to)
{
	size_t spare = t->shape == DB_ARGV, capacity = to->capacity ? to->capacity * 2 : 4;
	char **array = (char **)((char *)to->parent + t->rows_at), *grown;

	if (t->shape == DB_ONE || t->shape == DB_CLASSES || to->n + spare < to->capacity)
		return 0;
	grown = realloc(*array, capacity * t->row_size);
	if (!grown)
		return -ENOMEM;
	memset(grown + to->capacity * t->row_size, 0, (capacity - to->capacity) * t->row_size);
	*array = grown;
	to->capacity = capacity;
	return 0;
}

/* Which row this is, by its key columns: *ix. False: a gap, a double, a parent that does not exist. */
static bool take_key(const struct reader *r, const struct db_table *t, sqlite3_stmt *s, struct place *to, size_t *ix)
{
	int at = 0;

	if (t->parent) {
		int64_t parent_ix = sqlite3_column_int64(s, at);
		if (sqlite3_column_type(s, at++) != SQLITE_INTEGER || parent_ix < 0 ||
		    parent_ix >= (int64_t)db_parents_count(t, r->p))
			return false;
		if (!to->parent || (size_t)parent_ix != to->parent_ix)
			*to = (struct place){.parent = db_parent_at(t, r->p, (size_t)parent_ix), .parent_ix = (size_t)parent_ix};
	} else if (!to->parent) {
		to->parent = r->p;
	}
	*ix = to->n;
	if (t->shape == DB_ONE)
		return to->n == 0;
	if (t->shape == DB_CLASSES) {
		const char *name = (const char *)sqlite3_column_text(s, at);
		*ix = name ? wait_class_parse(name) : WC_COUNT;
		return *ix < WC_COUNT;
	}
	return sqlite3_column_type(s, at) == SQLITE_INTEGER && sqlite3_column_int64(s, at) == (int64_t)to->n;
}

static int bad_value(const struct reader *r, const struct db_table *t, const char *column, size_t ix)
{
	char what[160];

	snprintf(what, sizeof what, "%s.%s of row %zu holds no legal value", t->name, column, ix);
	return is_corrupt(r, what);
}

static int take_row(const struct reader *r, const struct db_table *t, sqlite3_stmt *s, struct place *to)
{
	const char *keys[2];
	unsigned n_keys = db_table_keys(t, keys);
	size_t ix;
	void *row;

	if (!take_key(r, t, s, to, &ix))
		return bad_value(r, t, n_keys ? keys[n_keys - 1] : "rows", to->n);
	if (to->n >= db_table_max_rows(t))
		return err_set(r->err, -E2BIG, "open %s: more than %u rows of %s", r->path, db_table_max_rows(t), t->name);
	if (make_room(t, to) != 0)
		return err_set(r->err, -ENOMEM, "open %s: out of memory", r->path);
	row = db_rows_at(t, to->parent, ix);
	/* Counted first, so that profile_free() releases a row that turns out bad. */
	set_count(t, to->parent, ++to->n);
	for (size_t c = 0; c < t->n_columns; c++)
		if (!take_column(r, s, (int)(n_keys + c), &t->columns[c], row))
			return bad_value(r, t, t->columns[c].name, ix);
	return 0;
}

static char *select_sql(const struct db_table *t)
{
	const char *keys[2];
	unsigned n_keys = db_table_keys(t, keys);
	sqlite3_str *sql = sqlite3_str_new(NULL);

	sqlite3_str_appendall(sql, "SELECT ");
	for (unsigned i = 0; i < n_keys; i++)
		sqlite3_str_appendf(sql, "%s, ", keys[i]);
	for (size_t i = 0; i < t->n_columns; i++)
		sqlite3_str_appendf(sql, "%s%s", i ? ", " : "", t->columns[i].name);
	sqlite3_str_appendf(sql, " FROM main.%s NOT INDEXED", t->name);
	if (n_keys)
		sqlite3_str_appendf(sql, " ORDER BY %s", keys[0]);
	if (n_keys == 2)
		sqlite3_str_appendf(sql, ", %s", keys[1]);
	return sqlite3_str_finish(sql);
}

static int load_table(const struct reader *r, const struct db_table *t)
{
	struct place to = {0};
	sqlite3_stmt *s = NULL;
	char *sql = select_sql(t);
	int rc = 0, step;

	if (!sql)
		return err_set(r->err, -ENOMEM, "open %s: out of memory", r->path);
	if (sqlite3_prepare_v2(r->db, sql, -1, &s, NULL) != SQLITE_OK) {
		rc = sql_failed(r);
		goto out;
	}
	while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW)
		rc = take_row(r, t, s, &to);
	if (rc == 0 && step != SQLITE_DONE)
		rc = sql_failed(r);
	else if (rc == 0 && t->shape == DB_ONE && to.n == 0)
		rc = is_corrupt(r, "table meta is empty");
out:
	sqlite3_finalize(s);
	sqlite3_free(sql);
	return rc;
}

static int load_tables(struct reader *r)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && db_tables[i]; i++)
		rc = check_declared(r, db_tables[i]);
	for (size_t i = 0; rc == 0 && db_tables[i]; i++)
		rc = load_table(r, db_tables[i]);
	if (rc == 0 && r->p->meta.end_ns < r->p->meta.start_ns)
		rc = is_corrupt(r, "it ends before it starts");
	return rc;
}

int profile_load(struct profile **out, const char *path, struct err *err)
{
	struct reader r = {.path = path, .err = err};
	uint8_t *bytes = NULL;
	size_t n = 0;
	int rc = db_file_read(path, &bytes, &n, err);

	if (rc != 0)
		return rc;
	rc = check_header(&r, bytes, n);
	if (rc != 0)
		goto out;
	r.p = profile_new();
	if (!r.p) {
		rc = err_set(err, -ENOMEM, "open %s: out of memory", path);
		goto out;
	}
	rc = open_hardened(&r, bytes, n);
	if (rc == 0)
		rc = check_pages(&r);
	if (rc == 0)
		rc = load_tables(&r);
out:
	sqlite3_close(r.db);
	free(bytes);
	if (rc == 0)
		*out = r.p;
	else
		profile_free(r.p);
	return rc;
}
