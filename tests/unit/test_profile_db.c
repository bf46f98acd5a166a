/* SPDX-License-Identifier: Apache-2.0
 *
 * The profile file: what is saved is what is loaded; files appear whole or not at all; mistakes get one clear line; the
 * documentation tells exactly the columns that exist.
 */
#include "aggregate/profile_db.h"
#include "tests/unit/profile_db_sample.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[64], path[128];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_profile_db.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/p.db", dir);
	return 0;
}

static unsigned entries(bool remove_them)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		n++;
		if (remove_them && unlinkat(dirfd(d), e->d_name, 0) != 0)
			unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
	}
	closedir(d);
	return n;
}

static int teardown(void **state)
{
	(void)state;
	entries(true);
	rmdir(dir);
	return 0;
}

static void save(const struct profile *p)
{
	struct err err = {0};

	if (profile_save(p, path, &err) != 0)
		fail_msg("%s", err.msg);
}

static struct profile *load(void)
{
	struct err err = {0};
	struct profile *p = NULL;

	if (profile_load(&p, path, &err) != 0)
		fail_msg("%s", err.msg);
	return p;
}

static void write_file(const void *data, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_int_equal(fwrite(data, 1, n, f), n);
	fclose(f);
}

static uint8_t *read_file(size_t *n)
{
	static uint8_t buf[8 << 20];
	FILE *f = fopen(path, "r");

	*n = fread(buf, 1, sizeof buf, f);
	fclose(f);
	return buf;
}

/* Expects `path` to be refused with a single line that contains `says`. */
static void refused(int code, const char *says)
{
	struct err err = {0};
	struct profile *p = NULL;

	assert_int_equal(profile_load(&p, path, &err), code);
	assert_null(p);
	if (!strstr(err.msg, says))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, says);
	assert_null(strchr(err.msg, '\n'));
}

/* --- round trip --- */

static void test_random_profiles_come_back_as_they_were(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct profile *p = sample_profile(seed, seed % 7);
		struct profile *q;
		const char *where;
		save(p);
		q = load();
		where = sample_difference(p, q);
		if (where)
			fail_msg("seed %llu: %s differs", (unsigned long long)seed, where);
		profile_free(p);
		profile_free(q);
	}
}

/* By hand, so that a wrong descriptor cannot agree with itself. */
static void test_fields_come_back_under_their_own_names(void **state)
{
	struct profile *p = profile_new(), *q;
	char *argv[] = {(char *)"sh", (char *)"", (char *)"\x1b[31m\xff", NULL};
	struct process_row proc = {.pid = 7,
				   .ppid = 1,
				   .in_tree = true,
				   .runtime = RT_JAVA,
				   .comm = (char *)"\xff\x1b]0;x",
				   .cmdline = argv,
				   .n_siblings = 3,
				   .exit_status = -1,
				   .ledger = {.on_cpu_ns = 5, .blocked_ns[WC_POLL] = 9, .idle_ns = 2}};
	struct stack_row stack = {0};
	struct channel_row channel = {.id = 4, .kind = CH_UDP, .name = (char *)"127.0.0.1:53", .remote = true};
	struct edge_row edge = {
		.waiter_pid = 7, .waker_pid = 8, .cls = WC_TCP_READ, .waker_stack_ix = IX_NONE, .confidence = CONF_HIGH};
	struct finding f = {
		.id = 1, .kind = FIND_N_PLUS_ONE, .also = 1 << FIND_LOCKSTEP, .share_of_wall = 0.25, .round_trips_per_s = -1};

	(void)state;
	hist_add(&edge.hist, 1000, 3);
	size_hist_add(&edge.bytes, 200, 5);
	p->meta.start_ns = 10, p->meta.end_ns = 20;
	p->processes = &proc, p->n_processes = 1;
	p->stacks = &stack, p->n_stacks = 1;
	p->channels = &channel, p->n_channels = 1;
	p->edges = &edge, p->n_edges = 1;
	p->findings = &f, p->n_findings = 1;
	save(p);
	q = load();
	assert_int_equal(q->meta.exit_status, -1);
	assert_string_equal(q->meta.host, "");
	assert_string_equal(q->processes[0].comm, "\xff\x1b]0;x");
	assert_string_equal(q->processes[0].cmdline[2], "\x1b[31m\xff");
	assert_null(q->processes[0].cmdline[3]);
	assert_int_equal(q->processes[0].runtime, RT_JAVA);
	assert_int_equal(q->processes[0].n_siblings, 3);
	assert_int_equal(q->processes[0].ledger.blocked_ns[WC_POLL], 9);
	assert_int_equal(q->processes[0].ledger.on_cpu_ns, 5);
	assert_int_equal(q->channels[0].kind, CH_UDP);
	assert_true(q->channels[0].remote);
	assert_int_equal(q->edges[0].waker_stack_ix, IX_NONE);
	assert_int_equal(q->edges[0].waiter_stack_ix, 0);
	assert_int_equal(hist_total(&q->edges[0].hist), 3);
	assert_true(size_hist_quantile(&q->edges[0].bytes, 0.5) == 200);
	assert_int_equal(q->edges[0].bytes.total_bytes, 1000);
	assert_int_equal(q->findings[0].also, 1 << FIND_LOCKSTEP);
	assert_int_equal(q->findings[0].kind, FIND_N_PLUS_ONE);
	profile_free(q);
	free(p);
}

static void test_values_that_could_not_be_read_again_are_not_written(void **state)
{
	struct profile *p = sample_profile(3, 3);
	struct err err = {0};

	(void)state;
	p->waits[0].stack_ix = (uint32_t)p->n_stacks;
	assert_int_equal(profile_save(p, path, &err), -ERANGE);
	assert_non_null(strstr(err.msg, "waits.stack_ix"));
	p->waits[0].stack_ix = 0;
	p->edges[0].count = UINT64_MAX;
	assert_int_equal(profile_save(p, path, &err), -ERANGE);
	assert_non_null(strstr(err.msg, "edges.count"));
	p->edges[0].count = 0;
	p->findings[0].share_of_wall = (double)NAN;
	assert_int_equal(profile_save(p, path, &err), -ERANGE);
	assert_int_equal(entries(false), 0);
	profile_free(p);
}

/* Only alignment gaps may lie between columns: a field without a column would be lost in the file. */
static void test_every_field_of_every_row_has_a_column(void **state)
{
	static const size_t sizes[] = {[DB_I32] = 4,
				       [DB_U32] = 4,
				       [DB_U64] = 8,
				       [DB_BOOL] = 1,
				       [DB_F64] = 8,
				       [DB_ENUM] = 4,
				       [DB_ENUM8] = 1,
				       [DB_IX] = 4,
				       [DB_ENUM_SET] = 4,
				       [DB_TEXT] = 8,
				       [DB_TEXT_NULL] = 8,
				       [DB_HIST] = sizeof(struct hist),
				       [DB_SIZES] = sizeof(struct size_hist),
				       [DB_DERIVED] = 0};
	char used[4096];

	(void)state;
	for (size_t i = 0; db_tables[i]; i++) {
		const struct db_table *t = db_tables[i];
		size_t gap = 0;
		if (t->shape == DB_ONE)
			continue;
		memset(used, 0, sizeof used);
		for (size_t c = 0; c < t->n_columns; c++)
			memset(used + t->columns[c].offset, 1, sizes[t->columns[c].type]);
		for (size_t k = 0; db_tables[k]; k++) {
			const struct db_table *child = db_tables[k];
			if (child->parent != t)
				continue;
			memset(used + child->rows_at, 1,
			       child->shape == DB_CLASSES ? sizeof(uint64_t) * WC_COUNT : sizeof(void *));
			if (child->shape == DB_ARRAY)
				memset(used + child->count_at, 1, child->count_size);
		}
		for (size_t b = 0; b <= t->row_size; b++) {
			if (b < t->row_size && !used[b]) {
				gap++;
				continue;
			}
			/* Padding ends at a multiple of 4 or 8 and is shorter than that. */
			if (gap >= 8 || (gap >= 4 && b % 8 != 0))
				fail_msg("%s: %zu bytes before offset %zu have no column in profile_db_schema.c", t->name, gap,
					 b);
			gap = 0;
		}
	}
}

static void test_profile_of_many_rows_stays_small(void **state)
{
	struct profile *p = sample_profile(5, 6);
	struct stat st;
	size_t n = 2000;

	(void)state;
	/* What a busy run has: 2,000 waits and edges with full histograms. */
	p->edges = realloc(p->edges, n * sizeof *p->edges);
	p->waits = realloc(p->waits, n * sizeof *p->waits);
	for (size_t i = 0; i < n; i++) {
		memset(&p->edges[i], 0, sizeof p->edges[i]);
		memset(&p->waits[i], 0, sizeof p->waits[i]);
		for (unsigned k = 0; k < 400; k++) {
			hist_add(&p->edges[i].hist, 1000 + k * k, 100);
			hist_add(&p->waits[i].hist, 1000 + k * k, 100);
			size_hist_add(&p->edges[i].bytes, k * 100, 3);
		}
	}
	p->n_edges = p->n_waits = n;
	save(p);
	assert_int_equal(stat(path, &st), 0);
	assert_in_range(st.st_size, 1, 2 << 20);
	profile_free(p);
}

/* --- files that are refused --- */

static void test_what_is_no_profile_is_named(void **state)
{
	struct err err = {0};
	sqlite3 *db;

	(void)state;
	refused(-ENOENT, "No such file");
	assert_int_equal(mkdir(path, 0700), 0);
	refused(-EISDIR, "a directory");
	rmdir(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	refused(-EINVAL, "not a regular file");
	unlink(path);
	write_file("", 0);
	refused(-EINVAL, "empty");
	write_file("SELECT", 6);
	refused(-EINVAL, "not a lockstep profile");
	write_file("SQLite format 3\0rest", 20);
	refused(-EINVAL, "truncated");
	unlink(path);
	sqlite3_open(path, &db);
	sqlite3_exec(db, "CREATE TABLE t(a)", NULL, NULL, NULL);
	sqlite3_close(db);
	refused(-EINVAL, "an SQLite database, but not a lockstep profile");
	assert_int_equal(err.msg[0], 0);
}

static void alter(const char *sql)
{
	sqlite3 *db;
	char *msg = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
	if (sqlite3_exec(db, sql, NULL, NULL, &msg) != SQLITE_OK)
		fail_msg("%s: %s", sql, msg);
	sqlite3_close(db);
}

static void test_other_versions_truncated_and_altered_files_are_refused(void **state)
{
	struct profile *p = sample_profile(9, 5);
	size_t n;
	uint8_t *bytes;

	(void)state;
	save(p);
	alter("PRAGMA user_version = 99");
	refused(-EPROTONOSUPPORT, "newer lockstep (format 99");
	alter("PRAGMA user_version = 0");
	refused(-EPROTONOSUPPORT, "another lockstep (format 0");
	save(p);
	bytes = read_file(&n);
	write_file(bytes, n / 2);
	refused(-EINVAL, "truncated");
	memset(bytes + n / 2, 0x5a, 5000);
	write_file(bytes, n);
	refused(-EINVAL, "corrupt");
	save(p);
	alter("DROP TABLE waits");
	refused(-EINVAL, "table waits");
	save(p);
	alter("ALTER TABLE edges ADD COLUMN extra");
	refused(-EINVAL, "table edges");
	save(p);
	alter("DROP TABLE pairs; CREATE VIEW pairs AS SELECT 1");
	refused(-EINVAL, "table pairs");
	save(p);
	alter("DELETE FROM meta");
	refused(-EINVAL, "meta is empty");
	save(p);
	alter("DELETE FROM frames WHERE ix = 0");
	refused(-EINVAL, "frames.ix");
	save(p);
	alter("UPDATE meta SET start_ns = end_ns + 1");
	refused(-EINVAL, "ends before it starts");
	save(p);
	alter("PRAGMA journal_mode = WAL");
	refused(-EINVAL, "WAL");
	profile_free(p);
}

/* People may add to their file what lockstep does not read. */
static void test_additions_by_its_owner_do_no_harm(void **state)
{
	struct profile *p = sample_profile(9, 5), *q;

	(void)state;
	save(p);
	alter("CREATE INDEX by_pid ON edges(waiter_pid); CREATE TABLE notes(t); INSERT INTO notes VALUES ('slow on Tuesdays')");
	q = load();
	assert_null(sample_difference(p, q));
	profile_free(p);
	profile_free(q);
}

static void test_text_with_a_nul_inside_is_refused(void **state)
{
	struct profile *p = sample_profile(9, 5);

	(void)state;
	save(p);
	alter("UPDATE processes SET comm = 'a' || char(0) || 'b'");
	refused(-EINVAL, "processes.comm");
	profile_free(p);
}

/* --- writing --- */

static void test_existing_profile_is_replaced_and_nothing_else_appears(void **state)
{
	struct profile *p = sample_profile(1, 3), *q = sample_profile(2, 3), *back;

	(void)state;
	save(p);
	save(q);
	back = load();
	assert_null(sample_difference(q, back));
	assert_int_equal(entries(false), 1);
	profile_free(p);
	profile_free(q);
	profile_free(back);
}

static void test_leftovers_of_dead_writers_are_removed_and_of_live_ones_kept(void **state)
{
	struct profile *p = sample_profile(1, 3);
	char dead[256], alive[256];
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	snprintf(dead, sizeof dead, "%s/.p.db.tmp.%d", dir, (int)pid);
	snprintf(alive, sizeof alive, "%s/.p.db.tmp.%d", dir, (int)getppid());
	close(creat(dead, 0600));
	close(creat(alive, 0600));
	save(p);
	assert_int_equal(access(dead, F_OK), -1);
	assert_int_equal(access(alive, F_OK), 0);
	profile_free(p);
}

static void *drain(void *arg)
{
	char buf[4096];
	int fd = open(path, O_RDONLY);

	while (read(fd, buf, sizeof buf) > 0)
		*(size_t *)arg += 1;
	close(fd);
	return NULL;
}

static void test_what_is_no_regular_file_is_written_to_and_not_replaced(void **state)
{
	struct profile *p = sample_profile(1, 3);
	struct stat st;
	pthread_t reader;
	size_t reads = 0;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	pthread_create(&reader, NULL, drain, &reads);
	save(p);
	pthread_join(reader, NULL);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_true(reads > 0);
	profile_free(p);
}

static void test_symlink_stays_one(void **state)
{
	struct profile *p = sample_profile(1, 3), *q;
	char link[160];
	struct stat st;
	struct err err = {0};

	(void)state;
	save(p);
	snprintf(link, sizeof link, "%s/link", dir);
	assert_int_equal(symlink("p.db", link), 0);
	profile_free(p);
	p = sample_profile(2, 3);
	assert_int_equal(profile_save(p, link, &err), 0);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	q = load();
	assert_null(sample_difference(p, q));
	profile_free(p);
	profile_free(q);
}

static void test_unwritable_targets_are_named(void **state)
{
	struct profile *p = sample_profile(1, 3);
	struct err err = {0};
	char missing[160];

	(void)state;
	snprintf(missing, sizeof missing, "%s/no/such/p.db", dir);
	assert_int_equal(profile_save(p, missing, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "No such file"));
	assert_int_equal(profile_save(p, dir, &err), -EISDIR);
	assert_int_equal(profile_save(p, "/dev/full", &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "No space left"));
	profile_free(p);
}

/* A limit on file sizes fails write() midway, as a full disk does, and needs no privilege. */
static void test_failed_write_leaves_the_old_file(void **state)
{
	struct profile *p = sample_profile(1, 3), *q = sample_profile(2, 6), *back;
	struct rlimit old, small = {8192, RLIM_INFINITY};
	struct err err = {0};

	(void)state;
	save(p);
	getrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, SIG_IGN);
	small.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_equal(profile_save(q, path, &err), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
	back = load();
	assert_null(sample_difference(p, back));
	assert_int_equal(entries(false), 1);
	profile_free(p);
	profile_free(q);
	profile_free(back);
}

/* In a child with a mount namespace of its own; 77: not allowed here. */
static int save_on_full_disk(void)
{
	struct profile *p = sample_profile(2, 6);
	struct err err = {0};

	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=16k") != 0)
		return 77;
	if (profile_save(p, path, &err) != -ENOSPC || !strstr(err.msg, "free some space"))
		return 1;
	return entries(false) == 0 ? 0 : 2;
}

static void test_full_disk_is_named_and_leaves_no_file(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(save_on_full_disk());
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("SKIP: no privilege to mount a small tmpfs\n");
		skip();
	}
	assert_int_equal(status, 0);
}

static void test_kill_at_any_moment_leaves_no_file_or_a_valid_one(void **state)
{
	struct profile *p = sample_profile(4, 5), *back;

	(void)state;
	sample_seed = 77;
	for (unsigned round = 0; round < 100; round++) {
		pid_t pid;
		if (round % 2)
			unlink(path);
		pid = fork();
		if (pid == 0)
			for (;;)
				profile_save(p, path, NULL);
		usleep((useconds_t)sample_below(8000)); /* the moment is the input of this test, not a synchronisation */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		if (access(path, F_OK) != 0)
			continue;
		back = load();
		assert_null(sample_difference(p, back));
		profile_free(back);
	}
	save(p);
	assert_int_equal(entries(false), 1);
	profile_free(p);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_random_profiles_come_back_as_they_were),
		T(test_fields_come_back_under_their_own_names),
		T(test_values_that_could_not_be_read_again_are_not_written),
		T(test_every_field_of_every_row_has_a_column),
		T(test_profile_of_many_rows_stays_small),
		T(test_what_is_no_profile_is_named),
		T(test_other_versions_truncated_and_altered_files_are_refused),
		T(test_additions_by_its_owner_do_no_harm),
		T(test_text_with_a_nul_inside_is_refused),
		T(test_existing_profile_is_replaced_and_nothing_else_appears),
		T(test_leftovers_of_dead_writers_are_removed_and_of_live_ones_kept),
		T(test_what_is_no_regular_file_is_written_to_and_not_replaced),
		T(test_symlink_stays_one),
		T(test_unwritable_targets_are_named),
		T(test_failed_write_leaves_the_old_file),
		T(test_full_disk_is_named_and_leaves_no_file),
		T(test_kill_at_any_moment_leaves_no_file_or_a_valid_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
