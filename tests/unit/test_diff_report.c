/* SPDX-License-Identifier: Apache-2.0
 *
 * The diff's outputs: each is well-formed whatever the target is called, and says what the others say.
 */
#include "report/diff_report.h"
#include "report/diff_words.h"
#include "tests/unit/diff_fixtures.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *const rules[] = {"messages{process=*} > 10%", "cpu{process=*} > 300%", "cpu{process=nobody} > 5%",
				    "new_finding", NULL};
static const struct report_options options = {.width = 80};
static const struct export_options all = {.kind = EXPORT_ALL};

static void judged(struct fixture *f, const struct spec *base, const struct spec *fresh)
{
	fixture_make(f, 5, base, fresh);
	assert_int_equal(fixture_diff(f), 0);
	assert_int_equal(fixture_judge(f, rules), 0);
}

typedef int (*writer)(const struct diff *d, const struct report_options *opt, FILE *out, struct err *err);

static char *text_of(writer w, const struct diff *d)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	struct err err = {""};

	assert_int_equal(w(d, &options, out, &err), 0);
	fclose(out);
	return text;
}

static int folded(const struct diff *d, const struct report_options *opt, FILE *out, struct err *err)
{
	(void)opt;
	return report_diff_folded(d, &all, out, err);
}

static const writer writers[] = {report_diff_text, report_diff_json, report_diff_markdown, report_diff_junit, folded};

static void test_all_formats_tell_the_verdict(void **state)
{
	struct spec s = fixture_base;
	struct fixture f;
	char *text;
	json_t *j;

	(void)state;
	s.queries = 2;
	s.finding = true;
	judged(&f, &fixture_base, &s);
	text = text_of(report_diff_text, f.d);
	assert_int_equal(strncmp(text, "FAILED: server <-> store over unix: round trips per", 50), 0);
	assert_non_null(strstr(text, " FAILED     messages{process=*} > 10%"));
	assert_non_null(strstr(text, " passed     cpu{process=*} > 300%"));
	assert_non_null(strstr(text, " not judged cpu{process=nobody} > 5%"));
	assert_non_null(strstr(text, "server and store take turns"));
	free(text);
	text = text_of(report_diff_json, f.d);
	j = json_loads(text, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(j, "schema")), "lockstep-diff/1");
	assert_string_equal(json_string_value(json_object_get(j, "outcome")), "failed");
	assert_string_equal(json_string_value(json_object_get(j, "verdict")), words_verdict(f.d).s);
	assert_int_equal(json_array_size(json_object_get(j, "rules")), 4);
	json_decref(j);
	free(text);
	text = text_of(report_diff_markdown, f.d);
	assert_non_null(strstr(text, ":x: FAILED: server &lt;-&gt; store over unix"));
	free(text);
	text = text_of(report_diff_junit, f.d);
	assert_non_null(strstr(text, "tests=\"4\" failures=\"2\" errors=\"1\""));
	free(text);
	fixture_free(&f);
}

static void test_folded_lines_go_from_the_root_to_the_leaf(void **state)
{
	struct fixture f;
	char *text;

	(void)state;
	judged(&f, &fixture_base, &fixture_base);
	text = text_of(folded, f.d);
	assert_non_null(strstr(text, "server;serve;parse_record "));
	assert_non_null(strstr(text, "server;serve;with_lock;[kernel];[futex] "));
	free(text);
	fixture_free(&f);
}

static void test_hostile_names_are_harmless(void **state)
{
	struct spec s = fixture_base;
	struct fixture f;

	(void)state;
	s.client = "a\x1b[2J\xff<b>|`;\"& c";
	judged(&f, &s, &s);
	for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) {
		char *text = text_of(writers[i], f.d);
		for (const unsigned char *c = (const unsigned char *)text; *c; c++)
			if ((*c < ' ' && *c != '\n') || *c == 0x7f || *c == 0xff)
				fail_msg("byte %02x in format %zu", *c, i);
		assert_null(strstr(text, i == 3 ? "<b>" : "\x1b"));
		if (i == 2)
			assert_null(strstr(text, "<b>"));
		free(text);
	}
	fixture_free(&f);
}

/* A comment may have 65,536 characters, however many processes there are. */
static void test_markdown_stays_small(void **state)
{
	struct spec a = fixture_base, b = fixture_base;
	struct fixture f;
	char *text;

	(void)state;
	b.queries = 3;
	judged(&f, &a, &b);
	text = text_of(report_diff_markdown, f.d);
	assert_in_range(strlen(text), 100, 20000);
	free(text);
	fixture_free(&f);
}

static void test_a_full_disk_is_an_error(void **state)
{
	struct fixture f;

	(void)state;
	judged(&f, &fixture_base, &fixture_base);
	for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) {
		FILE *full = fopen("/dev/full", "w");
		struct err err = {""};
		assert_true(writers[i](f.d, &options, full, &err) < 0);
		assert_true(err.msg[0] != 0);
		fclose(full);
	}
	fixture_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_formats_tell_the_verdict),
		cmocka_unit_test(test_folded_lines_go_from_the_root_to_the_leaf),
		cmocka_unit_test(test_hostile_names_are_harmless),
		cmocka_unit_test(test_markdown_stays_small),
		cmocka_unit_test(test_a_full_disk_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
