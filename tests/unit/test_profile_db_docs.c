/* SPDX-License-Identifier: Apache-2.0
 *
 * docs/PROFILE.md tells exactly the tables, columns, types, units and views that a profile file has, in their order.
 */
#include "aggregate/profile_db.h"
#include "tests/unit/profile_db_sample.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

static char path[64];

static int setup(void **state)
{
	struct profile *p = sample_profile(8, 6);
	struct err err = {0};
	int fd, rc;

	(void)state;
	/* A reused PID: two processes bear it. */
	p->processes = realloc(p->processes, (p->n_processes + 1) * sizeof *p->processes);
	p->processes[p->n_processes++] = (struct process_row){.pid = p->processes[0].pid};
	p->edges[0].waiter_pid = p->waits[0].pid = p->cpu[0].pid = p->processes[0].pid;
	strcpy(path, "/tmp/test_profile_db_docs.XXXXXX");
	fd = mkstemp(path);
	close(fd);
	rc = profile_save(p, path, &err);
	profile_free(p);
	return rc;
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

/* What the file has, in the notation of the docs: "### `t`\n`col` TYPE unit\n..." */
static void describe_tables(FILE *out)
{
	for (size_t i = 0; db_tables[i]; i++) {
		const struct db_table *t = db_tables[i];
		const char *keys[2];
		unsigned n = db_table_keys(t, keys);
		fprintf(out, "### `%s`\n", t->name);
		for (unsigned k = 0; k < n; k++)
			fprintf(out, "`%s` %s %s\n", keys[k], strcmp(keys[k], "class") ? "INTEGER" : "TEXT",
				strcmp(keys[k], "class") ? "index" : "name");
		for (size_t c = 0; c < t->n_columns; c++)
			fprintf(out, "`%s` %s %s\n", t->columns[c].name, db_column_sql_type(&t->columns[c]), t->columns[c].unit);
	}
}

static void describe_views(sqlite3 *db, FILE *out)
{
	sqlite3_stmt *views, *s;

	assert_int_equal(sqlite3_prepare_v2(db, "SELECT name FROM sqlite_schema WHERE type = 'view'", -1, &views, NULL),
			 SQLITE_OK);
	while (sqlite3_step(views) == SQLITE_ROW) {
		char sql[128];
		const char *name = (const char *)sqlite3_column_text(views, 0);
		fprintf(out, "### `%s` (view)\n", name);
		snprintf(sql, sizeof sql, "SELECT * FROM %s", name);
		assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
		for (int c = 0; c < sqlite3_column_count(s); c++)
			fprintf(out, "`%s`\n", sqlite3_column_name(s, c));
		sqlite3_finalize(s);
	}
	sqlite3_finalize(views);
}

/* The cells of "| a | b | c |", trimmed; returns their number. */
static unsigned cells(char *line, char *out[], unsigned max)
{
	unsigned n = 0;

	for (char *c = strtok(line + 1, "|\n"); c && n < max; c = strtok(NULL, "|\n")) {
		size_t len;
		while (*c == ' ')
			c++;
		len = strlen(c);
		while (len && c[len - 1] == ' ')
			c[--len] = 0;
		out[n++] = c;
	}
	return n;
}

static void describe_docs(FILE *in, FILE *out)
{
	char line[1024], *cell[6];

	while (fgets(line, sizeof line, in)) {
		if (strncmp(line, "### `", 5) == 0) {
			fputs(line, out);
		} else if (strncmp(line, "| `", 3) == 0) {
			unsigned n = cells(line, cell, 6);
			if (n >= 4)
				fprintf(out, "%s %s %s\n", cell[0], cell[1], cell[2]);
			else
				fprintf(out, "%s\n", cell[0]);
		}
	}
}

static void test_docs_list_exactly_what_the_file_has(void **state)
{
	char *have = NULL, *told = NULL, *h, *t;
	size_t n;
	sqlite3 *db;
	FILE *out = open_memstream(&have, &n), *docs = fopen(SOURCE_DIR "/docs/PROFILE.md", "r");

	(void)state;
	assert_non_null(docs);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	describe_tables(out);
	describe_views(db, out);
	fclose(out);
	out = open_memstream(&told, &n);
	describe_docs(docs, out);
	fclose(out);
	fclose(docs);
	sqlite3_close(db);
	for (h = have, t = told; *h || *t;) {
		size_t a = strcspn(h, "\n"), b = strcspn(t, "\n");
		if (a != b || memcmp(h, t, a) != 0)
			fail_msg("the file has \"%.*s\", docs/PROFILE.md says \"%.*s\"", (int)a, h, (int)b, t);
		h += a + (h[a] != 0);
		t += b + (t[b] != 0);
	}
	free(have);
	free(told);
}

/* Runs each indented SELECT of the docs against a real file. */
static void test_example_queries_run(void **state)
{
	FILE *docs = fopen(SOURCE_DIR "/docs/PROFILE.md", "r");
	char line[1024], *msg = NULL;
	unsigned n = 0;
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	while (fgets(line, sizeof line, docs)) {
		if (strncmp(line, "    SELECT", 10) != 0)
			continue;
		n++;
		if (sqlite3_exec(db, line, NULL, NULL, &msg) != SQLITE_OK)
			fail_msg("%s%s", line, msg);
	}
	assert_true(n >= 5);
	fclose(docs);
	sqlite3_close(db);
}

static int64_t query(const char *sql)
{
	sqlite3 *db;
	sqlite3_stmt *s;
	int64_t v;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(s), SQLITE_ROW);
	v = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return v;
}

/* Joining must neither lose nor double rows. */
static void test_views_have_a_row_for_each_row(void **state)
{
	(void)state;
	assert_int_equal(query("SELECT (SELECT count(*) FROM waits_named) - (SELECT count(*) FROM waits)"), 0);
	assert_int_equal(query("SELECT (SELECT count(*) FROM edges_named) - (SELECT count(*) FROM edges)"), 0);
	assert_int_equal(query("SELECT (SELECT count(*) FROM hot_named) - (SELECT count(*) FROM cpu)"), 0);
	assert_int_equal(query("SELECT (SELECT count(*) FROM stacks_named) - (SELECT count(*) FROM stacks)"), 0);
	assert_int_equal(query("SELECT (SELECT count(*) FROM findings_named) - (SELECT count(*) FROM findings)"), 0);
	assert_int_equal(query("SELECT (SELECT count(*) FROM processes_named) - (SELECT count(*) FROM processes WHERE in_tree)"),
			 0);
}

static void test_derived_columns_say_what_the_histograms_say(void **state)
{
	struct profile *p = profile_new();
	struct edge_row e = {.waiter_stack_ix = IX_NONE, .waker_stack_ix = IX_NONE};
	struct process_row proc = {.ledger.blocked_ns = {[WC_POLL] = 4, [WC_FUTEX] = 5}};
	struct err err = {0};

	(void)state;
	size_hist_add(&e.bytes, 200, 7);
	hist_add(&e.hist, 1 << 20, 7);
	p->edges = &e, p->n_edges = 1;
	p->processes = &proc, p->n_processes = 1;
	assert_int_equal(profile_save(p, path, &err), 0);
	assert_int_equal(query("SELECT bytes_p99 FROM edges"), 200);
	assert_in_range(query("SELECT p50_ns FROM edges"), 1 << 20, (1 << 20) * 5 / 4);
	assert_int_equal(query("SELECT blocked_ns FROM processes"), 9);
	assert_int_equal(query("SELECT sum(blocked_ns) FROM process_blocked"), 9);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_docs_list_exactly_what_the_file_has),
		cmocka_unit_test(test_example_queries_run),
		cmocka_unit_test(test_views_have_a_row_for_each_row),
		cmocka_unit_test(test_derived_columns_say_what_the_histograms_say),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
