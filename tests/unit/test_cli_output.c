/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include "aggregate/profile_db.h"
#include "cli/terminal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_cli_output.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static const char *in_dir(const char *name)
{
	static char path[4][128];
	static unsigned turn;
	char *p = path[turn++ % 4];
	snprintf(p, sizeof path[0], "%s/%s", dir, name);
	return p;
}

static void put(const char *name, const void *bytes, size_t n)
{
	FILE *f = fopen(in_dir(name), "w");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

static int teardown(void **state)
{
	(void)state;
	static const char *const names[] = {"new.db", "old.db", "other.db", "text", "empty", "link.db", "short", "out"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unlink(in_dir(names[i]));
	return rmdir(dir);
}

static int check(const char *path, struct err *err)
{
	char *resolved = NULL;
	int rc = output_check_profile(path, &resolved, err);
	assert_true((rc == 0) == (resolved != NULL));
	free(resolved);
	return rc;
}

static void put_database(const char *name, uint32_t id)
{
	uint8_t h[100] = "SQLite format 3";
	for (int i = 0; i < 4; i++)
		h[68 + i] = (uint8_t)(id >> (24 - 8 * i));
	put(name, h, sizeof h);
}

static void test_only_profiles_and_empty_files_are_replaced(void **state)
{
	(void)state;
	struct err err = {""};
	put_database("old.db", PROFILE_DB_APPLICATION_ID);
	put_database("other.db", 0x12345678);
	put("text", "hello\n", 6);
	put("short", "SQLite format 3", 16);
	put("empty", "", 0);
	assert_int_equal(check(in_dir("new.db"), &err), 0);
	assert_int_equal(check(in_dir("old.db"), &err), 0);
	assert_int_equal(check(in_dir("empty"), &err), 0);
	assert_int_equal(check(in_dir("other.db"), &err), -EEXIST);
	assert_non_null(strstr(err.msg, "no lockstep profile"));
	assert_int_equal(check(in_dir("text"), &err), -EEXIST);
	assert_int_equal(check(in_dir("short"), &err), -EEXIST);
	assert_int_equal(access(in_dir("new.db"), F_OK), -1); /* nothing was created by looking */
}

static void test_what_is_no_file_is_refused(void **state)
{
	(void)state;
	struct err err = {""};
	assert_int_equal(check(dir, &err), -EISDIR);
	assert_int_equal(check("/dev/null", &err), -EEXIST);
	assert_non_null(strstr(err.msg, "regular file"));
	assert_int_equal(check("", &err), -ENOENT);
	assert_int_equal(check(in_dir("no/such/folder.db"), &err), -ENOENT);
	put("text", "hello\n", 6);
	assert_int_equal(check(in_dir("text/x.db"), &err), -ENOTDIR);
}

static void test_a_link_is_followed(void **state)
{
	(void)state;
	struct err err = {""};
	char *resolved = NULL;
	put_database("old.db", PROFILE_DB_APPLICATION_ID);
	assert_int_equal(symlink(in_dir("old.db"), in_dir("link.db")), 0);
	assert_int_equal(output_check_profile(in_dir("link.db"), &resolved, &err), 0);
	assert_string_equal(resolved, in_dir("old.db"));
	free(resolved);
}

static void test_text_may_go_to_anything_writable(void **state)
{
	(void)state;
	struct err err = {""};
	assert_int_equal(output_check_text("/dev/null", &err), 0);
	assert_int_equal(output_check_text(in_dir("text"), &err), 0);
	assert_int_equal(access(in_dir("text"), F_OK), -1);
	assert_int_equal(output_check_text(dir, &err), -EISDIR);
	assert_int_equal(output_check_text(in_dir("no/such/text"), &err), -ENOENT);
	assert_int_equal(output_check_text("", &err), -ENOENT);
}

static void test_a_full_device_is_told_at_the_close(void **state)
{
	(void)state;
	struct err err = {""};
	FILE *out = output_open("/dev/full", &err);
	assert_non_null(out);
	fputs("some text", out);
	assert_int_equal(output_close(out, "/dev/full", &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "/dev/full"));
	out = output_open(in_dir("out"), &err);
	fputs("some text", out);
	assert_int_equal(output_close(out, "out", &err), 0);
	assert_null(output_open(in_dir("no/such/out"), &err));
	assert_ptr_equal(output_open(NULL, &err), stdout);
	assert_ptr_equal(output_open("-", &err), stdout);
}

static void test_colour_and_width_of_what_is_no_terminal(void **state)
{
	(void)state;
	FILE *f = fopen("/dev/null", "w");
	setenv("TERM", "xterm", 1);
	unsetenv("NO_COLOR");
	assert_false(terminal_color(f, NULL));
	assert_false(terminal_color(f, "auto"));
	assert_false(terminal_color(f, "never"));
	assert_true(terminal_color(f, "always"));
	assert_int_equal(terminal_width(f), 80);
	fclose(f);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_only_profiles_and_empty_files_are_replaced),
		T(test_what_is_no_file_is_refused),
		T(test_a_link_is_followed),
		T(test_text_may_go_to_anything_writable),
		T(test_a_full_device_is_told_at_the_close),
		T(test_colour_and_width_of_what_is_no_terminal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
