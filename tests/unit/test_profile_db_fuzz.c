/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile profile files: thousands of seeded mutations of a real file, of its bytes and of its values. Whatever loads holds only
 * legal values; whatever does not says so in one line. Meant to run under the Sanitize build type.
 */
#include "aggregate/profile_db.h"
#include "tests/unit/profile_db_sample.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

static uint8_t *original, *mutant;
static size_t size;
static char path[64]; /* of a file in memory: no disk is worn */
static int fd;

static int setup(void **state)
{
	struct profile *p = sample_profile(21, 6);
	struct err err = {0};
	char tmp[] = "/tmp/test_profile_db_fuzz.XXXXXX";
	FILE *f;

	(void)state;
	close(mkstemp(tmp));
	if (profile_save(p, tmp, &err) != 0)
		return -1;
	profile_free(p);
	f = fopen(tmp, "r");
	fseek(f, 0, SEEK_END);
	size = (size_t)ftell(f);
	rewind(f);
	original = malloc(size);
	mutant = malloc(size);
	if (fread(original, 1, size, f) != size)
		return -1;
	fclose(f);
	unlink(tmp);
	fd = memfd_create("mutant", 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(original);
	free(mutant);
	close(fd);
	return 0;
}

static void put(const uint8_t *bytes, size_t n)
{
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, bytes, n, 0), n);
}

static bool column_legal(const struct db_column *c, const struct profile *p, const void *row)
{
	const void *field = (const char *)row + c->offset;
	double f;

	switch (c->type) {
	case DB_DERIVED:
	case DB_HIST:
		return true;
	case DB_SIZES:
		return ((const struct size_hist *)field)->n_exact <= SIZE_HIST_EXACT;
	case DB_TEXT:
		return *(char *const *)field && strlen(*(char *const *)field) <= DB_MAX_CELL;
	case DB_TEXT_NULL:
		return !*(char *const *)field || strlen(*(char *const *)field) <= DB_MAX_CELL;
	case DB_F64:
		f = *(const double *)field;
		return isfinite(f) && f >= c->min_f && f <= c->max_f;
	default:
		return db_int_legal(c, p, db_int_get(c, row));
	}
}

/* Reads every value of a loaded profile. */
static void check_legal(const struct profile *p)
{
	for (size_t i = 0; db_tables[i]; i++)
		for (size_t k = 0; k < db_parents_count(db_tables[i], p); k++) {
			const struct db_table *t = db_tables[i];
			const void *parent = db_parent_at(t, p, k);
			for (size_t r = 0; r < db_rows_count(t, parent); r++)
				for (size_t c = 0; c < t->n_columns; c++)
					if (!column_legal(&t->columns[c], p, db_rows_at(t, parent, r)))
						fail_msg("%s.%s holds an illegal value", t->name, t->columns[c].name);
		}
}

/* 1: it loaded (and is legal). */
static int try_load(void)
{
	struct profile *p = NULL;
	struct err err = {0};
	int rc = profile_load(&p, path, &err);

	if (rc == 0) {
		check_legal(p);
		profile_free(p);
		return 1;
	}
	assert_true(rc < 0);
	assert_true(err.msg[0] != 0);
	assert_null(strchr(err.msg, '\n'));
	return 0;
}

static void mutate_bytes(void)
{
	static const uint8_t interesting[] = {0, 1, 0x7f, 0x80, 0xff, 2, 4, 5, 10, 13};

	for (uint64_t n = 1 + sample_below(8); n > 0; n--) {
		size_t at = sample_below(sample_below(3) ? size : 4096);
		switch (sample_below(4)) {
		case 0:
			mutant[at] ^= (uint8_t)(1 << sample_below(8));
			break;
		case 1:
			mutant[at] = interesting[sample_below(sizeof interesting)];
			break;
		case 2:
			memset(mutant + at, (int)sample_below(256), sample_below(size - at < 64 ? size - at : 64) + 1);
			break;
		default: /* a piece of the file at another place: pages that point to each other, cells of another table */
			memcpy(mutant + at, original + sample_below(size / 2),
			       sample_below(size - at < 2048 ? size - at : 2048) + 1);
			break;
		}
	}
}

static void test_mutated_bytes_never_crash_and_never_load_as_nonsense(void **state)
{
	unsigned loaded = 0;

	(void)state;
	for (unsigned seed = 1; seed <= 4000; seed++) {
		size_t n = size;
		sample_seed = seed * 0x9e3779b97f4a7c15u;
		memcpy(mutant, original, size);
		mutate_bytes();
		if (sample_below(16) == 0)
			n = sample_below(size);
		/* Leave most headers whole, else nothing behind them is reached. */
		if (sample_below(8))
			memcpy(mutant, original, n < 100 ? n : 100);
		put(mutant, n);
		loaded += (unsigned)try_load();
	}
	/* Were none loaded, then the mutations never got beyond the page checks. */
	assert_in_range(loaded, 40, 3960);
}

static const char *const values[] = {
	"NULL",
	"-1",
	"0",
	"1",
	"2147483648",
	"4294967295",
	"4294967296",
	"-2147483649",
	"9223372036854775807",
	"1e308",
	"-1.5",
	"1.9e19",
	"''",
	"'nonsense'",
	"'lockstep'",
	"'lockstep,lockstep'",
	"x'ffffffffffffffffffff'",
	"x'00'",
	"x'0000'",
	"x'a400'",
	"x'0d'",
	"x'80'",
	"'a' || char(0)",
	"zeroblob(3000)",
	"9e999",
	"-9e999",
};

static void try_value(sqlite3 *db, const struct db_table *t, const char *column, const char *value)
{
	char sql[256];
	unsigned char *bytes;
	sqlite3_int64 n;

	sqlite3_exec(db, "SAVEPOINT s", NULL, NULL, NULL);
	snprintf(sql, sizeof sql, "UPDATE OR IGNORE %s SET %s = %s", t->name, column, value);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK) {
		bytes = sqlite3_serialize(db, "main", &n, 0);
		put(bytes, (size_t)n);
		sqlite3_free(bytes);
		try_load();
	}
	sqlite3_exec(db, "ROLLBACK TO s", NULL, NULL, NULL);
}

/* Well-formed files with wrong values: half of the kinds of nonsense in each column, the other half in its neighbour. */
static void test_wrong_values_in_any_column_never_crash_and_never_load_as_nonsense(void **state)
{
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	memcpy(mutant, original, size);
	assert_int_equal(sqlite3_deserialize(db, "main", mutant, (sqlite3_int64)size, (sqlite3_int64)size, 0), SQLITE_OK);
	sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
	for (size_t i = 0; db_tables[i]; i++) {
		const char *keys[2];
		unsigned n_keys = db_table_keys(db_tables[i], keys);
		for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
			for (unsigned k = 0; k < n_keys; k++)
				try_value(db, db_tables[i], keys[k], values[v]);
			for (size_t c = v % 2; c < db_tables[i]->n_columns; c += 2)
				try_value(db, db_tables[i], db_tables[i]->columns[c].name, values[v]);
		}
	}
	sqlite3_close(db);
}

/* Value by value: what must not load. */
static void test_each_kind_of_wrong_value_is_refused(void **state)
{
	static const struct {
		const char *column, *value;
	} wrong[] = {
		{"waits SET stack_ix", "1000"},
		{"waits SET stack_ix", "-1"},
		{"waits SET stack_ix", "4294967295"},
		{"waits SET class", "'nonsense'"},
		{"waits SET class", "7"},
		{"waits SET estimated", "2"},
		{"waits SET count", "-1"},
		{"waits SET count", "'many'"},
		{"waits SET hist", "x'a401'"},
		{"waits SET hist", "x'0000'"},
		{"waits SET hist", "'text'"},
		{"edges SET sizes", "x'0d'"},
		{"processes SET comm", "x'41'"},
		{"processes SET pid", "2147483648"},
		{"findings SET also", "'nonsense'"},
		{"findings SET share_of_wall", "9e999"},
		{"findings SET confidence", "''"},
		{"stack_frames SET frame_ix", "99"},
		{"intervals SET interval", "1048576"},
		{"process_blocked SET class", "'idle'"},
		{"meta SET cpus", "-2"},
		{"channel_ends SET channel_ix", "channel_ix + 1000"},
	};
	sqlite3 *db;
	unsigned char *bytes;
	sqlite3_int64 n;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		char sql[256];
		assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
		memcpy(mutant, original, size);
		sqlite3_deserialize(db, "main", mutant, (sqlite3_int64)size, (sqlite3_int64)size, 0);
		snprintf(sql, sizeof sql, "UPDATE OR IGNORE %s = %s", wrong[i].column, wrong[i].value);
		assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
		bytes = sqlite3_serialize(db, "main", &n, 0);
		put(bytes, (size_t)n);
		sqlite3_free(bytes);
		sqlite3_close(db);
		if (try_load())
			fail_msg("loads after UPDATE %s = %s", wrong[i].column, wrong[i].value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mutated_bytes_never_crash_and_never_load_as_nonsense),
		cmocka_unit_test(test_wrong_values_in_any_column_never_crash_and_never_load_as_nonsense),
		cmocka_unit_test(test_each_kind_of_wrong_value_is_refused),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
