/* SPDX-License-Identifier: Apache-2.0
 *
 * The reports over profiles built in memory: golden files, and what must hold for any of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report/report.h"
#include "report/sanitize.h"
#include "report/source.h"
#include "report/view.h"
#include "report/view_lines.h"
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

/* A profile whose lines point into a file that is there. */
static struct profile *with_source(void)
{
	struct profile *p = fix_profile(4 * SEC, fix_argv("./member", NULL), 20);

	fix_process(p, 20, 1, "member", NULL);
	fix_process(p, 21, 20, "feeder", NULL);
	uint32_t in_list = fix_stack(p, "find|tests/golden/source_sample.c:6", "count|tests/golden/source_sample.c:17",
				     "main|tests/golden/source_sample.c:26", NULL);
	uint32_t in_count = fix_stack(p, "count|tests/golden/source_sample.c:16", "main|tests/golden/source_sample.c:26", NULL);
	uint32_t lib = fix_stack(p, "memcpy||/lib/libc.so.6", NULL);
	uint32_t rd = fix_stack(p, "read||/lib/libc.so.6", "next|tests/golden/not_there.c:5",
				"main|tests/golden/source_sample.c:25", NULL);
	fix_cpu(p, 20, in_list, 3000 * MS);
	fix_cpu(p, 20, in_count, 500 * MS);
	fix_cpu(p, 20, lib, 100 * MS);
	fix_wait(p, 21, WC_PIPE_READ, 0, rd, 1000, 2 * SEC, 0);
	return p;
}

struct lines_job {
	const struct profile *p;
	struct report_lines_options opt;
};

static void fill_lines(void *ctx, FILE *out)
{
	struct lines_job *j = ctx;
	struct err err = {""};
	assert_int_equal(report_lines(j->p, &j->opt, out, &err), 0);
}

static void check_lines(struct profile *p, struct report_lines_options opt, const char *golden)
{
	struct lines_job j = {p, opt};
	size_t len;
	char *s = golden_capture(fill_lines, &j, &len);

	golden_compare(golden, s, len);
	free(s);
	profile_free(p);
}

static void test_lines_equal_their_golden_files(void **state)
{
	(void)state;
	assert_int_equal(chdir(SOURCE_DIR), 0);
	struct profile *p = with_source();
	free(p->meta.started_at);
	p->meta.started_at = strdup("2200-01-01T00:00:00Z"); /* later than the file's own time */
	check_lines(p, (struct report_lines_options){0}, "lines.txt");
	check_lines(with_source(), (struct report_lines_options){.no_source = true, .pid = 20, .width = 100},
		    "lines-no-source.txt");
	check_lines(fix_empty(), (struct report_lines_options){0}, "lines-empty.txt");
	check_lines(fix_hostile(), (struct report_lines_options){0}, "lines-hostile.txt");
}

static void test_lines_count_recursion_once_and_conserve_time(void **state)
{
	struct view *v;
	struct err err = {""};
	struct line_table t;
	uint64_t own = 0;

	(void)state;
	struct profile *p = fix_profile(SEC, NULL, 5);
	fix_process(p, 5, 1, "rec", NULL);
	fix_cpu(p, 5, fix_stack(p, "f|a.c:1", "g|a.c:2", "f|a.c:1", "g|a.c:2", "main|a.c:9", NULL), 700);
	fix_cpu(p, 5, fix_stack(p, "g|a.c:2", "main|a.c:9", NULL), 300);
	fix_cpu(p, 5, fix_stack(p, "x||lib.so", NULL), 50);
	assert_int_equal(view_new(p, NULL, &v, &err), 0);
	assert_int_equal(view_lines(v, 0, WC_NONE, &t), 0);
	assert_int_equal(t.n, 3);
	for (size_t i = 0; i < t.n; i++) {
		own += t.rows[i].own_ns;
		assert_int_equal(t.rows[i].total_ns, t.rows[i].line == 1 ? 700 : 1000);
	}
	assert_int_equal(own + t.unlined_ns, t.ns);
	assert_int_equal(t.unlined_ns, 50);
	line_table_free(&t);
	view_free(v);
	profile_free(p);
}

/* A profile from a stranger names files; only source code may be shown. */
static void test_only_regular_source_files_are_read(void **state)
{
	static const char *const refused[] = {"/etc/passwd", "/dev/zero", "/proc/self/environ", "/root/.ssh/id_rsa", "/tmp", "",
					      NULL};
	struct source s;
	char dir[] = "/tmp/lockstep-src-XXXXXX", path[64];

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		source_read(&s, refused[i], 0);
		assert_null(s.text);
		assert_null(source_line(&s, 1));
		source_free(&s);
	}
	source_read(&s, NULL, 0);
	assert_null(s.text);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/fifo.c", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	source_read(&s, path, 0); /* must not hang */
	assert_null(s.text);
	remove(path);
	snprintf(path, sizeof path, "%s/a.c", dir);
	FILE *f = fopen(path, "w");
	fputs("one\ntwo", f);
	fclose(f);
	source_read(&s, path, 1);
	assert_string_equal(source_line(&s, 1), "one");
	assert_string_equal(source_line(&s, 2), "two");
	assert_null(source_line(&s, 3));
	assert_null(source_line(&s, 0));
	assert_true(s.newer);
	source_free(&s);
	remove(path);
	remove(dir);
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
	assert_null(strstr(graph, "click A \""));	     /* no quote of the target's ends a label */
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
		bool ok = v && ((colon[2] == '?' && json_is_null(v)) || (colon[1] == 's' && json_is_string(v)) ||
				(colon[1] == 'i' && json_is_integer(v)) || (colon[1] == 'r' && json_is_number(v)) ||
				(colon[1] == 'b' && json_is_boolean(v)) || (colon[1] == 'a' && json_is_array(v)) ||
				(colon[1] == 'o' && json_is_object(v)));
		if (!ok)
			fail_msg("field %s is missing or of the wrong type", *fields);
	}
}
#define FIELDS(...)                                                                                                              \
	(const char *const[])                                                                                                    \
	{                                                                                                                        \
		__VA_ARGS__, NULL                                                                                                \
	}

static void check_array(json_t *root, const char *name, const char *const *fields)
{
	json_t *a = json_object_get(root, name), *row;
	size_t i;

	assert_true(json_is_array(a));
	json_array_foreach(a, i, row) check_object(row, fields);
}

static void check_stack_index(json_t *root, json_t *ix)
{
	assert_true(json_integer_value(ix) >= 0 &&
		    (size_t)json_integer_value(ix) < json_array_size(json_object_get(root, "stacks")));
}

static void check_json(json_t *root)
{
	json_t *row, *sub;
	size_t i, k;

	check_object(root,
		     FIELDS("schema:s", "meta:o", "processes:a", "channels:a", "edges:a", "findings:a", "stacks:a", "hot:a"));
	assert_string_equal(json_string_value(json_object_get(root, "schema")), "lockstep-report/1");
	check_object(json_object_get(root, "meta"),
		     FIELDS("version:s", "host:s", "kernel:s", "arch:s", "cpus:i", "backend:s", "command:a?", "root_pids:a",
			    "started_at:s", "duration_s:r", "exit_status:i?", "lost:o"));
	check_object(json_object_get(json_object_get(root, "meta"), "lost"), FIELDS("events:i", "stacks:i", "share_of_time:r"));
	check_array(root, "processes",
		    FIELDS("pid:i", "ppid:i", "comm:s", "cmdline:a", "exe:s", "runtime:s", "in_tree:b", "started_s:r",
			   "ended_s:r?", "threads:i", "on_cpu_s:r", "run_queue_s:r", "blocked_s:r", "idle_s:r", "waits:a"));
	json_array_foreach(json_object_get(root, "processes"), i, row)
		check_array(row, "waits", FIELDS("class:s", "channel_id:i?", "count:i", "blocked_s:r", "p50_us:r?", "p99_us:r?"));
	check_array(root, "channels", FIELDS("id:i", "kind:s", "name:s", "capacity_bytes:i?", "ends:a"));
	check_array(root, "edges",
		    FIELDS("waiter_pid:i", "waker_pid:i?", "channel_id:i?", "count:i", "rate_per_s:r", "blocked_s:r", "p50_us:r?",
			   "p99_us:r?", "message_bytes:o?", "confidence:s", "waiter_stack:i", "waker_stack:i"));
	check_array(root, "findings",
		    FIELDS("id:i", "kind:s", "title:s", "pids:a", "channel_ids:a", "share_of_wall:r", "round_trips_per_s:r?",
			   "message_bytes:o?", "predicted_speedup:o?", "confidence:s", "advice:s", "estimated:b", "also:a",
			   "evidence:a"));
	check_array(root, "hot", FIELDS("pid:i", "kind:s", "class:s?", "seconds:r", "count:i", "stack:i"));
	json_array_foreach(json_object_get(root, "stacks"), i, row) json_array_foreach(row, k, sub)
		check_object(sub, FIELDS("function:s", "file:s?", "line:i?", "module:s", "language:s"));
	json_array_foreach(json_object_get(root, "edges"), i, row)
	{
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
	SAN("\xc2\x9b"
	    "31m",
	    "\\u009b31m");						   /* C1: an 8-bit CSI */
	SAN("\xe2\x80\xae\xe2\x81\xa6", "\\u202e\\u2066");		   /* bidi */
	SAN("\xe2\x80\x8b\xef\xbb\xbf", "\\u200b\\ufeff");		   /* invisible */
	SAN("\xff\xc0\x80\xed\xa0\x80", "\\xff\\xc0\\x80\\xed\\xa0\\x80"); /* invalid, overlong, surrogate */
	SAN("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");		   /* above U+10FFFF */
	SAN("\xe2\x82", "\\xe2\\x82");					   /* cut short */
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
		cmocka_unit_test(test_lines_equal_their_golden_files),
		cmocka_unit_test(test_lines_count_recursion_once_and_conserve_time),
		cmocka_unit_test(test_only_regular_source_files_are_read),
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
