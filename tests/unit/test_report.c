/* SPDX-License-Identifier: Apache-2.0
 *
 * The reports over profiles built in memory: golden files, and what must hold for any of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>

#include "report/report.h"
#include "report/sanitize.h"
#include "report/view.h"
#include "report_fixtures.h"
#include "report_golden.h"

typedef int (*report_fn)(const struct profile *p, const struct report_options *opt, FILE *out, struct err *err);

struct job {
	report_fn fn;
	const struct profile *p;
	struct report_options opt;
	int r;
	struct err err;
};

static void fill_report(void *ctx, FILE *out)
{
	struct job *j = ctx;
	j->r = j->fn(j->p, &j->opt, out, &j->err);
}

static char *run_report(report_fn fn, const struct profile *p, struct report_options opt, size_t *len)
{
	struct job j = {fn, p, opt, -1, {""}};
	char *s = golden_capture(fill_report, &j, len);

	assert_string_equal(j.err.msg, "");
	assert_int_equal(j.r, 0);
	return s;
}

static void each_golden(report_fn fn, const char *suffix)
{
	for (size_t i = 0; i < N_FIXTURES; i++) {
		struct profile *p = fixtures[i].make();
		char name[64];
		size_t len;
		char *s = run_report(fn, p, (struct report_options){0}, &len);

		snprintf(name, sizeof name, "%s.%s", fixtures[i].name, suffix);
		golden_compare(name, s, len);
		free(s);
		profile_free(p);
	}
}

static void test_text_equals_its_golden_files(void **state)
{
	(void)state;
	each_golden(report_text, "txt");
}

static void test_json_equals_its_golden_files(void **state)
{
	(void)state;
	each_golden(report_json, "json");
}

static void test_markdown_equals_its_golden_files(void **state)
{
	(void)state;
	each_golden(report_markdown, "md");
}

static void check_line_widths(const char *s, unsigned width)
{
	while (*s) {
		const char *nl = strchr(s, '\n');
		char line[4096];
		size_t n = nl ? (size_t)(nl - s) : strlen(s);
		assert_true(n < sizeof line);
		memcpy(line, s, n);
		line[n] = '\0';
		if (text_columns(line) > width)
			fail_msg("wider than %u: %s", width, line);
		s += n + (nl != NULL);
	}
}

static void test_no_line_is_wider_than_asked_for(void **state)
{
	static const unsigned widths[] = {60, 80, 100, 132, 200};

	(void)state;
	for (size_t i = 0; i < N_FIXTURES; i++) {
		struct profile *p = fixtures[i].make();
		for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
			size_t len;
			char *s = run_report(report_text, p, (struct report_options){.width = widths[w]}, &len);
			check_line_widths(s, widths[w] < 80 ? 80 : widths[w]);
			free(s);
		}
		profile_free(p);
	}
}

/* No byte of the target's reaches the output unless harmless: no controls but newline, valid UTF-8, no bidi. */
static void check_harmless(const char *s, size_t len)
{
	char *copy = malloc(len * 6 + 1);

	for (size_t i = 0; i < len; i++)
		assert_true((unsigned char)s[i] >= 0x20 || s[i] == '\n');
	for (const char *line = s; line < s + len;) {
		const char *nl = memchr(line, '\n', (size_t)(s + len - line));
		size_t n = nl ? (size_t)(nl - line) : (size_t)(s + len - line);
		sanitize_n(copy, len * 6 + 1, line, n);
		assert_int_equal(strlen(copy), n); /* nothing left to neutralise */
		assert_memory_equal(copy, line, n);
		line += n + (nl != NULL);
	}
	free(copy);
}

static void test_hostile_names_are_neutralised_in_every_output(void **state)
{
	static const report_fn all[] = {report_text, report_json, report_markdown};

	(void)state;
	struct profile *p = fix_hostile();
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		size_t len;
		char *s = run_report(all[i], p, (struct report_options){0}, &len);
		check_harmless(s, len);
		free(s);
	}
	profile_free(p);
}

static void test_markdown_has_no_html_and_no_second_fence_from_the_target(void **state)
{
	(void)state;
	struct profile *p = fix_hostile();
	size_t len;
	char *s = run_report(report_markdown, p, (struct report_options){0}, &len);

	assert_null(strstr(s, "<script"));
	assert_null(strstr(s, "<img"));
	const char *graph = strstr(s, "```mermaid");
	assert_non_null(graph);
	assert_null(strstr(graph, "click A \"")); /* no quote of the target's ends a label */
	assert_non_null(strstr(graph, "#34;#93;#59;click")); /* it reads as an entity instead */
	profile_free(p);
	free(s);
}

static void test_colour_adds_escapes_and_nothing_else(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_FIXTURES; i++) {
		struct profile *p = fixtures[i].make();
		size_t plain_len, color_len, n = 0;
		char *plain = run_report(report_text, p, (struct report_options){0}, &plain_len);
		char *color = run_report(report_text, p, (struct report_options){.color = true}, &color_len);

		for (size_t k = 0; k < color_len; k++)
			if (color[k] == '\x1b') {
				while (color[k] != 'm')
					k++;
			} else {
				color[n++] = color[k];
			}
		assert_int_equal(n, plain_len);
		assert_memory_equal(color, plain, n);
		free(plain);
		free(color);
		profile_free(p);
	}
}

/* The contract's fields: "name:type", type of s(tring) i(nteger) r(eal) b(ool) a(rray) o(bject); '?' may be null. */
static void check_object(json_t *o, const char *const *fields)
{
	assert_true(json_is_object(o));
	for (; *fields; fields++) {
		char name[64];
		const char *colon = strchr(*fields, ':');
		memcpy(name, *fields, (size_t)(colon - *fields));
		name[colon - *fields] = '\0';
		json_t *v = json_object_get(o, name);
		bool ok = v && ((colon[2] == '?' && json_is_null(v)) || (colon[1] == 's' && json_is_string(v)) || (colon[1] == 'i' && json_is_integer(v)) ||
				(colon[1] == 'r' && json_is_number(v)) || (colon[1] == 'b' && json_is_boolean(v)) ||
				(colon[1] == 'a' && json_is_array(v)) || (colon[1] == 'o' && json_is_object(v)));
		if (!ok)
			fail_msg("field %s is missing or of the wrong type", *fields);
	}
}
#define FIELDS(...) (const char *const[]){__VA_ARGS__, NULL}

static void check_array(json_t *root, const char *name, const char *const *fields)
{
	json_t *a = json_object_get(root, name), *row;
	size_t i;

	assert_true(json_is_array(a));
	json_array_foreach(a, i, row) check_object(row, fields);
}

static void check_stack_index(json_t *root, json_t *ix)
{
	assert_true(json_integer_value(ix) >= 0 && (size_t)json_integer_value(ix) < json_array_size(json_object_get(root, "stacks")));
}

static void check_json(json_t *root)
{
	json_t *row, *sub;
	size_t i, k;

	check_object(root, FIELDS("schema:s", "meta:o", "processes:a", "channels:a", "edges:a", "findings:a", "stacks:a", "hot:a"));
	assert_string_equal(json_string_value(json_object_get(root, "schema")), "lockstep-report/1");
	check_object(json_object_get(root, "meta"), FIELDS("version:s", "host:s", "kernel:s", "arch:s", "cpus:i", "backend:s", "command:a?", "root_pids:a",
							   "started_at:s", "duration_s:r", "exit_status:i?", "lost:o"));
	check_object(json_object_get(json_object_get(root, "meta"), "lost"), FIELDS("events:i", "stacks:i", "share_of_time:r"));
	check_array(root, "processes", FIELDS("pid:i", "ppid:i", "comm:s", "cmdline:a", "exe:s", "runtime:s", "in_tree:b", "started_s:r", "ended_s:r?",
					      "threads:i", "on_cpu_s:r", "run_queue_s:r", "blocked_s:r", "idle_s:r", "waits:a"));
	json_array_foreach(json_object_get(root, "processes"), i, row)
		check_array(row, "waits", FIELDS("class:s", "channel_id:i?", "count:i", "blocked_s:r", "p50_us:r?", "p99_us:r?"));
	check_array(root, "channels", FIELDS("id:i", "kind:s", "name:s", "capacity_bytes:i?", "ends:a"));
	check_array(root, "edges", FIELDS("waiter_pid:i", "waker_pid:i?", "channel_id:i?", "count:i", "rate_per_s:r", "blocked_s:r", "p50_us:r?",
					  "p99_us:r?", "message_bytes:o?", "confidence:s", "waiter_stack:i", "waker_stack:i"));
	check_array(root, "findings", FIELDS("id:i", "kind:s", "title:s", "pids:a", "channel_ids:a", "share_of_wall:r", "round_trips_per_s:r?",
					     "message_bytes:o?", "predicted_speedup:o?", "confidence:s", "advice:s", "estimated:b", "also:a", "evidence:a"));
	check_array(root, "hot", FIELDS("pid:i", "kind:s", "class:s?", "seconds:r", "count:i", "stack:i"));
	json_array_foreach(json_object_get(root, "stacks"), i, row)
		json_array_foreach(row, k, sub) check_object(sub, FIELDS("function:s", "file:s?", "line:i?", "module:s", "language:s"));
	json_array_foreach(json_object_get(root, "edges"), i, row) {
		check_stack_index(root, json_object_get(row, "waiter_stack"));
		check_stack_index(root, json_object_get(row, "waker_stack"));
	}
	json_array_foreach(json_object_get(root, "hot"), i, row) check_stack_index(root, json_object_get(row, "stack"));
}

static void test_json_has_the_contracts_fields(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_FIXTURES; i++) {
		struct profile *p = fixtures[i].make();
		size_t len;
		json_error_t e;
		char *s = run_report(report_json, p, (struct report_options){0}, &len);
		json_t *root = json_loadb(s, len, JSON_REJECT_DUPLICATES, &e);

		if (!root)
			fail_msg("%s: not JSON: %s", fixtures[i].name, e.text);
		check_json(root);
		json_decref(root);
		free(s);
		profile_free(p);
	}
}

static void test_siblings_are_one_row_and_ring_members_are_not(void **state)
{
	struct view *v;
	struct err err = {""};

	(void)state;
	struct profile *p = fix_siblings();
	assert_int_equal(view_new(p, NULL, &v, &err), 0);
	assert_int_equal(v->n_groups, 4); /* sh, true x5000, manager, worker x30 */
	uint32_t w = view_group_of(v, 110);
	assert_int_equal(v->groups[w].n_processes, 30);
	assert_int_equal(v->groups[view_group_of(v, 60)].n_processes, 5000);
	assert_int_equal(v->edges[0].n_channels, 30);
	view_free(v);
	profile_free(p);

	p = fix_ring();
	assert_int_equal(view_new(p, NULL, &v, &err), 0);
	assert_int_equal(v->n_groups, 4);
	view_free(v);
	profile_free(p);
}

static void test_view_conserves_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_FIXTURES; i++) {
		struct profile *p = fixtures[i].make();
		struct view *v;
		struct err err = {""};
		uint64_t ledgers = 0, groups = 0, edges = 0, rows = 0, waits = 0, wait_rows = 0, hot = 0;

		assert_int_equal(view_new(p, NULL, &v, &err), 0);
		for (size_t k = 0; k < p->n_processes; k++)
			ledgers += ledger_sum(&p->processes[k].ledger);
		for (size_t k = 0; k < v->n_groups; k++)
			groups += v->groups[k].thread_ns;
		for (size_t k = 0; k < p->n_edges; k++)
			rows += p->edges[k].blocked_ns;
		for (size_t k = 0; k < v->n_edges; k++)
			edges += v->edges[k].blocked_ns;
		for (size_t k = 0; k < p->n_waits; k++)
			wait_rows += p->waits[k].blocked_ns;
		for (size_t k = 0; k < v->n_waits; k++)
			waits += v->waits[k].blocked_ns;
		for (size_t k = 0; k < v->n_hot; k++)
			hot += v->hot[k].is_cpu ? 0 : v->hot[k].ns;
		assert_int_equal(groups, ledgers);
		assert_int_equal(edges, rows);
		assert_int_equal(waits, wait_rows);
		assert_int_equal(hot, wait_rows);
		view_free(v);
		profile_free(p);
	}
}

static void test_pid_filter_keeps_the_process_and_its_neighbours(void **state)
{
	struct view *v;
	struct err err = {""};

	(void)state;
	struct profile *p = fix_ring();
	assert_int_equal(view_new(p, &(struct view_options){.pid = 702}, &v, &err), 0);
	assert_int_equal(v->n_groups, 3);
	for (size_t i = 0; i < v->n_edges; i++) {
		int32_t a = v->groups[v->edges[i].waiter].pid, b = v->groups[v->edges[i].waker].pid;
		assert_true(a == 702 || b == 702);
	}
	for (size_t i = 0; i < v->n_hot; i++)
		assert_int_equal(v->groups[v->hot[i].group].pid, 702);
	view_free(v);
	assert_int_equal(view_new(p, &(struct view_options){.pid = 4}, &v, &err), -ESRCH);
	assert_non_null(strstr(err.msg, "no process 4"));
	profile_free(p);
}

static void test_a_full_disk_is_reported(void **state)
{
	struct err err = {""};

	(void)state;
	FILE *full = fopen("/dev/full", "w");
	if (!full)
		skip();
	struct profile *p = fix_siblings();
	assert_int_equal(report_text(p, &(struct report_options){0}, full, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "No space left"));
	fclose(full);
	profile_free(p);
}

static void check_sanitized(const char *in, size_t len, const char *want)
{
	char buf[256];

	sanitize_n(buf, sizeof buf, in, len);
	assert_string_equal(buf, want);
}
#define SAN(in, want) check_sanitized(in, sizeof(in) - 1, want)

static void test_sanitize_makes_every_hostile_class_visible(void **state)
{
	(void)state;
	SAN("plain caf\xc3\xa9 \xe6\xbc\xa2", "plain caf\xc3\xa9 \xe6\xbc\xa2");
	SAN("\x1b[31m", "\\x1b[31m");
	SAN("a\nb\tc\rd\x7f", "a\\nb\\tc\\rd\\x7f");
	SAN("\xc2\x9b" "31m", "\\u009b31m");		  /* C1: an 8-bit CSI */
	SAN("\xe2\x80\xae\xe2\x81\xa6", "\\u202e\\u2066"); /* bidi */
	SAN("\xe2\x80\x8b\xef\xbb\xbf", "\\u200b\\ufeff");  /* invisible */
	SAN("\xff\xc0\x80\xed\xa0\x80", "\\xff\\xc0\\x80\\xed\\xa0\\x80"); /* invalid, overlong, surrogate */
	SAN("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");   /* above U+10FFFF */
	SAN("\xe2\x82", "\\xe2\\x82");			  /* cut short */
	SAN("e\xcc\x81\xcc\x81\xcc\x81\xcc\x81", "e\xcc\x81\xcc\x81\\u0301\\u0301");
	SAN("\xf3\xa0\x80\xa1", "\\ue0021"); /* a tag character */
}

static void test_sanitize_cuts_at_whole_characters(void **state)
{
	char buf[6];

	(void)state;
	assert_int_equal(sanitize(buf, sizeof buf, "abc\xc3\xa9\xc3\xa9"), 5);
	assert_string_equal(buf, "abc\xc3\xa9");
	assert_int_equal(sanitize(buf, sizeof buf, "ab\x1bz"), 2);
	assert_string_equal(buf, "ab");
	assert_int_equal(sanitize(buf, 0, "abc"), 0);
	assert_int_equal(sanitize(buf, sizeof buf, NULL), 0);
	assert_string_equal(buf, "");
}

/* Any bytes: valid, idempotent, and of no terminal's concern. */
static void test_sanitize_is_idempotent_on_random_bytes(void **state)
{
	uint32_t seed = 12345;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		char in[24], once[256], twice[256];
		for (size_t i = 0; i < sizeof in; i++) {
			seed = seed * 1664525u + 1013904223u;
			/* half the bytes from the ranges in which UTF-8's cases lie */
			in[i] = (char)(seed >> 24 & 1 ? 0x80 + (seed >> 16 & 0x7f) : seed >> 16);
		}
		sanitize_n(once, sizeof once, in, sizeof in);
		sanitize(twice, sizeof twice, once);
		assert_string_equal(once, twice);
		for (const char *c = once; *c; c++)
			assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_equals_its_golden_files),
		cmocka_unit_test(test_json_equals_its_golden_files),
		cmocka_unit_test(test_markdown_equals_its_golden_files),
		cmocka_unit_test(test_no_line_is_wider_than_asked_for),
		cmocka_unit_test(test_hostile_names_are_neutralised_in_every_output),
		cmocka_unit_test(test_markdown_has_no_html_and_no_second_fence_from_the_target),
		cmocka_unit_test(test_colour_adds_escapes_and_nothing_else),
		cmocka_unit_test(test_json_has_the_contracts_fields),
		cmocka_unit_test(test_siblings_are_one_row_and_ring_members_are_not),
		cmocka_unit_test(test_view_conserves_time),
		cmocka_unit_test(test_pid_filter_keeps_the_process_and_its_neighbours),
		cmocka_unit_test(test_a_full_disk_is_reported),
		cmocka_unit_test(test_sanitize_makes_every_hostile_class_visible),
		cmocka_unit_test(test_sanitize_cuts_at_whole_characters),
		cmocka_unit_test(test_sanitize_is_idempotent_on_random_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
