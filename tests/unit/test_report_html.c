/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTML report as bytes: what must hold before a browser sees it (tests/browser looks at it in one). With
 * LOCKSTEP_FIXTURES=DIR the fixtures' pages are written there, for those tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>

#include "report/report.h"
#include "report/view.h"
#include "report_fixtures.h"
#include "report_golden.h"

struct job {
	const struct profile *p;
	struct report_html_options opt;
};

static void fill_html(void *ctx, FILE *out)
{
	struct job *j = ctx;
	struct err err = {""};
	if (report_html(j->p, &j->opt, out, &err))
		fail_msg("%s", err.msg);
}

static char *page_of(const struct profile *p, struct report_html_options opt, size_t *len)
{
	return golden_capture(fill_html, &(struct job){p, opt}, len);
}

/* The data that stands in the page. */
static json_t *data_of(const char *page)
{
	const char *begin = strstr(page, "id=\"profile\">"), *end;
	json_error_t e;

	assert_non_null(begin);
	begin += strlen("id=\"profile\">");
	end = strstr(begin, "</script>");
	assert_non_null(end);
	json_t *j = json_loadb(begin, (size_t)(end - begin), JSON_REJECT_DUPLICATES, &e);
	if (!j)
		fail_msg("%s at %d", e.text, e.position);
	return j;
}

static void save_page(const char *name, const char *page, size_t len)
{
	char path[512];

	if (!getenv("LOCKSTEP_FIXTURES"))
		return;
	snprintf(path, sizeof path, "%s/%s.html", getenv("LOCKSTEP_FIXTURES"), name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fwrite(page, 1, len, f);
	fclose(f);
}

static size_t count_of(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *c = text; (c = strstr(c, what)); c += strlen(what))
		n++;
	return n;
}

static json_int_t at(json_t *row, size_t i)
{
	return json_integer_value(json_array_get(row, i));
}

static void test_every_index_of_the_pages_data_is_in_range(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_FIXTURES; i++) {
		struct profile *p = fixtures[i].make();
		size_t len, k;
		char *page = page_of(p, (struct report_html_options){0}, &len);
		json_t *j = data_of(page), *row;
		json_int_t groups = (json_int_t)json_array_size(json_object_get(j, "groups"));
		json_t *nodes = json_object_get(j, "nodes"), *parent = json_object_get(nodes, "parent"),
		       *frame = json_object_get(nodes, "frame");
		json_int_t n_nodes = (json_int_t)json_array_size(parent),
			   n_frames = (json_int_t)json_array_size(json_object_get(j, "frames")) / 5;
		json_int_t n_strings = (json_int_t)json_array_size(json_object_get(j, "strings"));

		assert_int_equal(json_array_size(frame), n_nodes);
		for (k = 1; (json_int_t)k < n_nodes; k++) {
			assert_in_range(at(parent, k), 0, k - 1);
			assert_in_range(at(frame, k), 0, n_frames - 1);
		}
		json_array_foreach(json_object_get(j, "frames"), k,
				   row) if (k % 5 != 2 && k % 5 != 4) /* neither the line nor the language */
			assert_in_range(json_integer_value(row), 0, n_strings - 1);
		json_array_foreach(json_object_get(j, "hot"), k, row)
		{
			assert_in_range(at(row, 0), 0, groups - 1);
			assert_in_range(at(row, 2), 0, n_nodes - 1);
		}
		json_array_foreach(json_object_get(j, "edges"), k, row)
		{
			assert_in_range(at(row, 0), 0, groups - 1);
			assert_true(at(row, 1) >= -1 && at(row, 1) < groups);
			assert_in_range(at(row, 15), 0, n_strings - 1);
		}
		save_page(fixtures[i].name, page, len);
		json_decref(j);
		free(page);
		profile_free(p);
	}
}

static void test_the_page_carries_the_views_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_FIXTURES; i++) {
		struct profile *p = fixtures[i].make();
		size_t len, k;
		char *page = page_of(p, (struct report_html_options){0}, &len);
		json_t *j = data_of(page), *row;
		struct view *v;
		struct err err = {""};
		uint64_t hot = 0, want = 0;

		json_array_foreach(json_object_get(j, "hot"), k, row) hot += (uint64_t)at(row, 3);
		assert_int_equal(view_new(p, NULL, &v, &err), 0);
		for (k = 0; k < v->n_hot; k++)
			want += v->hot[k].ns;
		assert_int_equal(hot, want);
		view_free(v);
		json_decref(j);
		free(page);
		profile_free(p);
	}
}

/* Whatever the target is called, the page has the elements that we wrote and no others. */
static void test_hostile_names_add_no_element_and_no_reference(void **state)
{
	(void)state;
	struct profile *plain = fix_lockstep(), *hostile = fix_hostile();
	size_t len;
	char *a = page_of(plain, (struct report_html_options){0}, &len),
	     *b = page_of(hostile, (struct report_html_options){0}, &len);
	static const char *const marks[] = {"<script", "</script", "<img", "<iframe",	       "<link",
					    "<meta",   "<style",   "<!--", "onerror=alert(1)>"};

	for (size_t i = 0; i + 1 < sizeof marks / sizeof *marks; i++)
		assert_int_equal(count_of(a, marks[i]), count_of(b, marks[i]));
	assert_null(strstr(b, "\x1b"));
	assert_null(strstr(b, "\xe2\x80\xae"));
	assert_non_null(strstr(b, "default-src 'none'"));
	assert_null(strstr(b, " src=\"http"));
	assert_null(strstr(b, " href=\"http"));
	free(a);
	free(b);
	profile_free(plain);
	profile_free(hostile);
}

static void test_two_profiles_share_one_tree(void **state)
{
	(void)state;
	struct profile *p = fix_lockstep(), *base = fix_ring();
	size_t len, k;
	char *page = page_of(p, (struct report_html_options){.base = base}, &len);
	json_t *j = data_of(page), *row;
	uint64_t ns = 0;

	json_array_foreach(json_object_get(j, "base_hot"), k, row)
	{
		ns += (uint64_t)at(row, 3);
		assert_in_range(at(row, 0), 0, json_array_size(json_object_get(j, "base_groups")) - 1);
		assert_in_range(at(row, 2), 0, json_array_size(json_object_get(json_object_get(j, "nodes"), "parent")) - 1);
	}
	assert_int_equal(ns, 3 * 4800 * MS); /* the idle wait of the parent has no blocked time */
	save_page("diff", page, len);
	json_decref(j);
	free(page);
	profile_free(p);
	profile_free(base);
}

static void test_a_page_is_small(void **state)
{
	(void)state;
	struct profile *p = fix_lockstep();
	size_t len;
	char *page = page_of(p, (struct report_html_options){0}, &len);

	assert_in_range(len, 1, 1 << 20);
	free(page);
	profile_free(p);
}

/* A big one for the browser's measurements: 200 processes, 50,000 distinct stacks. Only written on request. */
static void test_big_page(void **state)
{
	(void)state;
	if (!getenv("LOCKSTEP_FIXTURES"))
		skip();
	struct profile *p = fix_big(200, 50000);
	size_t len;
	char *page = page_of(p, (struct report_html_options){0}, &len);

	save_page("big", page, len);
	free(page);
	profile_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_index_of_the_pages_data_is_in_range),
		cmocka_unit_test(test_the_page_carries_the_views_time),
		cmocka_unit_test(test_hostile_names_add_no_element_and_no_reference),
		cmocka_unit_test(test_two_profiles_share_one_tree),
		cmocka_unit_test(test_a_page_is_small),
		cmocka_unit_test(test_big_page),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
