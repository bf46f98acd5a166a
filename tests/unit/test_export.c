/* SPDX-License-Identifier: Apache-2.0
 *
 * The exports: golden files of the text formats; of the binary ones, every field is walked. Other tools open them in tests/e2e
 * and tests/browser. With LOCKSTEP_FIXTURES=DIR the fixtures are saved there as profile files, for those. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <zlib.h>

#include "aggregate/profile_db.h"
#include "report/protobuf.h"
#include "report/report.h"
#include "report/strtab.h"
#include "report/view.h"
#include "report_fixtures.h"
#include "report_golden.h"

typedef int (*export_fn)(const struct profile *p, const struct export_options *opt, FILE *out, struct err *err);

struct job {
	export_fn fn;
	const struct profile *p;
	struct export_options opt;
	int r;
	struct err err;
};

static void fill_export(void *ctx, FILE *out)
{
	struct job *j = ctx;
	j->r = j->fn(j->p, &j->opt, out, &j->err);
}

static char *run_export(export_fn fn, const struct profile *p, enum export_kind kind, int32_t pid, size_t *len)
{
	struct job j = {fn, p, {kind, pid}, -1, {""}};
	char *s = golden_capture(fill_export, &j, len);

	assert_string_equal(j.err.msg, "");
	assert_int_equal(j.r, 0);
	return s;
}

static void each_golden(export_fn fn, const char *suffix)
{
	static struct profile *(*const make[])(void) = {fix_lockstep, fix_hostile, fix_empty};
	static const char *const names[] = {"lockstep", "hostile", "empty"};

	for (size_t i = 0; i < 3; i++) {
		struct profile *p = make[i]();
		char name[64];
		size_t len;
		char *s = run_export(fn, p, EXPORT_ALL, 0, &len);

		snprintf(name, sizeof name, "%s.%s", names[i], suffix);
		golden_compare(name, s, len);
		free(s);
		profile_free(p);
	}
}

static void test_folded_equals_its_golden_files(void **state)
{
	(void)state;
	each_golden(export_folded, "folded");
}

static void test_speedscope_equals_its_golden_files(void **state)
{
	(void)state;
	each_golden(export_speedscope, "speedscope.json");
}

static void test_firefox_equals_its_golden_files(void **state)
{
	(void)state;
	each_golden(export_firefox, "firefox.json");
}

/* Time by kind, as the view has it: what every format must carry. */
static uint64_t view_ns(const struct profile *p, enum export_kind kind)
{
	struct view *v;
	struct err err = {""};
	uint64_t ns = 0;

	assert_int_equal(view_new(p, NULL, &v, &err), 0);
	for (size_t i = 0; i < v->n_hot; i++)
		if (kind & (v->hot[i].is_cpu ? EXPORT_CPU : EXPORT_WAIT))
			ns += v->hot[i].ns;
	view_free(v);
	return ns;
}

static void test_folded_lines_carry_all_time_and_parse_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_FIXTURES; i++) {
		struct profile *p = fixtures[i].make();
		size_t len;
		char *s = run_export(export_folded, p, EXPORT_ALL, 0, &len), *save = NULL;
		uint64_t us = 0;

		for (char *line = strtok_r(s, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
			char *space = strrchr(line, ' '), *end;
			assert_non_null(space);
			assert_ptr_equal(strchr(line, ' '), space); /* one space: before the weight */
			us += strtoull(space + 1, &end, 10);
			assert_int_equal(*end, 0);
		}
		assert_int_equal(us, view_ns(p, EXPORT_ALL) / 1000);
		free(s);
		profile_free(p);
	}
}

static void test_kind_and_pid_filter_what_is_exported(void **state)
{
	(void)state;
	struct profile *p = fix_lockstep();
	size_t len;
	char *s = run_export(export_folded, p, EXPORT_CPU, 0, &len);
	assert_null(strstr(s, "[pipe_read]"));
	assert_non_null(strstr(s, "[on-cpu]"));
	free(s);
	s = run_export(export_folded, p, EXPORT_WAIT, 4102, &len);
	assert_null(strstr(s, "[on-cpu]"));
	assert_null(strstr(s, "ping-4101"));
	assert_non_null(strstr(s, "pong-4102;[pipe_read]"));
	free(s);
	profile_free(p);
}

static void test_speedscope_weights_sum_up_and_indexes_are_in_range(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_FIXTURES; i++) {
		struct profile *p = fixtures[i].make();
		size_t len, k, m, f;
		json_error_t e;
		json_t *prof, *w, *sample, *frame;
		char *s = run_export(export_speedscope, p, EXPORT_ALL, 0, &len);
		json_t *root = json_loadb(s, len, JSON_REJECT_DUPLICATES, &e);
		uint64_t ns = 0;

		assert_non_null(root);
		size_t n_frames = json_array_size(json_object_get(json_object_get(root, "shared"), "frames"));
		json_array_foreach(json_object_get(root, "profiles"), k, prof)
		{
			json_t *samples = json_object_get(prof, "samples"), *weights = json_object_get(prof, "weights");
			uint64_t sum = 0;
			assert_int_equal(json_array_size(samples), json_array_size(weights));
			json_array_foreach(weights, m, w) sum += (uint64_t)json_integer_value(w);
			assert_int_equal(sum, json_integer_value(json_object_get(prof, "endValue")));
			json_array_foreach(samples, m, sample) json_array_foreach(sample, f, frame)
				assert_in_range(json_integer_value(frame), 0, n_frames - 1);
			ns += sum;
		}
		assert_int_equal(ns, view_ns(p, EXPORT_ALL));
		json_decref(root);
		free(s);
		profile_free(p);
	}
}

/* ---- Firefox: the tables' shape, by the format's documentation ---- */

static size_t check_table(json_t *owner, const char *name, const char *const *columns)
{
	json_t *t = json_object_get(owner, name), *len = json_object_get(t, "length");

	assert_true(json_is_integer(len));
	for (; *columns; columns++) {
		json_t *c = json_object_get(t, *columns);
		if (!json_is_array(c) || json_array_size(c) != (size_t)json_integer_value(len))
			fail_msg("%s.%s is missing or not of the table's length", name, *columns);
	}
	return (size_t)json_integer_value(len);
}
#define COLUMNS(...)                                                                                                             \
	(const char *const[])                                                                                                    \
	{                                                                                                                        \
		__VA_ARGS__, NULL                                                                                                \
	}

static void check_indexes(json_t *owner, const char *table, const char *column, size_t limit)
{
	json_t *c = json_object_get(json_object_get(owner, table), column), *v;
	size_t i;

	json_array_foreach(c, i, v) if (!json_is_null(v))
		assert_true(json_integer_value(v) >= 0 && (size_t)json_integer_value(v) < limit);
}

static void check_firefox_thread(json_t *t, size_t n_categories, double *ms)
{
	size_t i;
	json_t *w, *prefix;
	size_t strings = json_array_size(json_object_get(t, "stringArray"));
	size_t samples = check_table(t, "samples", COLUMNS("stack", "time", "weight"));
	size_t stacks = check_table(t, "stackTable", COLUMNS("frame", "prefix"));
	size_t frames = check_table(t, "frameTable",
				    COLUMNS("address", "inlineDepth", "category", "subcategory", "func", "nativeSymbol",
					    "innerWindowID", "line", "column"));
	size_t funcs = check_table(
		t, "funcTable", COLUMNS("name", "isJS", "relevantForJS", "resource", "fileName", "lineNumber", "columnNumber"));

	check_table(t, "markers", COLUMNS("data", "name", "startTime", "endTime", "phase", "category"));
	check_table(t, "resourceTable", COLUMNS("lib", "name", "host", "type"));
	check_table(t, "nativeSymbols", COLUMNS("libIndex", "address", "name", "functionSize"));
	assert_true(samples > 0);
	assert_true(json_is_string(json_object_get(t, "pid")));
	check_indexes(t, "samples", "stack", stacks);
	check_indexes(t, "stackTable", "frame", frames);
	check_indexes(t, "frameTable", "func", funcs);
	check_indexes(t, "frameTable", "category", n_categories);
	check_indexes(t, "funcTable", "name", strings);
	check_indexes(t, "funcTable", "fileName", strings);
	json_array_foreach(json_object_get(json_object_get(t, "stackTable"), "prefix"), i, prefix)
		assert_true(json_is_null(prefix) || (size_t)json_integer_value(prefix) < i); /* parents stand before children */
	json_array_foreach(json_object_get(json_object_get(t, "samples"), "weight"), i, w) *ms += json_number_value(w);
}

static void test_firefox_tables_are_whole_and_carry_all_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_FIXTURES; i++) {
		struct profile *p = fixtures[i].make();
		size_t len, k;
		json_error_t e;
		json_t *t;
		double ms = 0;
		char *s = run_export(export_firefox, p, EXPORT_ALL, 0, &len);
		json_t *root = json_loadb(s, len, JSON_REJECT_DUPLICATES, &e);

		if (!root)
			fail_msg("%s: %s", fixtures[i].name, e.text);
		json_t *meta = json_object_get(root, "meta");
		assert_int_equal(json_integer_value(json_object_get(meta, "preprocessedProfileVersion")), 55);
		json_array_foreach(json_object_get(root, "threads"), k, t)
			check_firefox_thread(t, json_array_size(json_object_get(meta, "categories")), &ms);
		assert_true(ms - (double)view_ns(p, EXPORT_ALL) / 1e6 < 0.001 &&
			    ms - (double)view_ns(p, EXPORT_ALL) / 1e6 > -0.001);
		json_decref(root);
		free(s);
		profile_free(p);
	}
}

/* ---- protobuf: a reader of the wire format, to check what the writer says ---- */

struct field {
	uint32_t number;
	unsigned wire;
	uint64_t value;	     /* varint, fixed64; length of data */
	const uint8_t *data; /* of length-delimited ones */
};

static uint64_t read_varint(const uint8_t **at, const uint8_t *end)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		assert_true(*at < end);
		uint8_t b = *(*at)++;
		v |= (uint64_t)(b & 0x7f) << (shift < 64 ? shift : 63);
		if (!(b & 0x80))
			return v;
	}
	fail_msg("varint too long");
	return 0;
}

static bool next_field(const uint8_t **at, const uint8_t *end, struct field *f)
{
	if (*at == end)
		return false;
	uint64_t tag = read_varint(at, end);
	f->number = (uint32_t)(tag >> 3);
	f->wire = tag & 7;
	f->data = NULL;
	if (f->wire == 0) {
		f->value = read_varint(at, end);
	} else if (f->wire == 1) {
		assert_true(end - *at >= 8);
		f->value = 0;
		for (unsigned i = 0; i < 8; i++)
			f->value |= (uint64_t)(*at)[i] << (8 * i);
		*at += 8;
	} else {
		assert_int_equal(f->wire, 2);
		f->value = read_varint(at, end);
		assert_true((uint64_t)(end - *at) >= f->value);
		f->data = *at;
		*at += f->value;
	}
	return true;
}

static void test_protobuf_writes_what_a_reader_reads(void **state)
{
	static const uint64_t values[] = {0, 1, 127, 128, 300, UINT32_MAX, (uint64_t)-1, 1ull << 63};
	struct pb b = {0}, sub = {0};
	struct field f;

	(void)state;
	for (size_t i = 0; i < 8; i++)
		pb_varint(&b, (uint32_t)i + 1, values[i]);
	pb_fixed64(&b, 99, 0x0123456789abcdefull);
	pb_string(&sub, 1, "caf\xc3\xa9");
	pb_message(&b, 5000, &sub);
	pb_packed(&b, 3, values, 8);
	const uint8_t *at = b.data, *end = b.data + b.len;
	for (size_t i = 0; i < 8; i++) {
		assert_true(next_field(&at, end, &f));
		assert_int_equal(f.number, i + 1);
		assert_true(f.value == values[i]);
	}
	assert_true(next_field(&at, end, &f));
	assert_true(f.number == 99 && f.wire == 1 && f.value == 0x0123456789abcdefull);
	assert_true(next_field(&at, end, &f));
	assert_true(f.number == 5000 && f.value == 7);
	assert_memory_equal(f.data + 2, "caf\xc3\xa9", 5);
	assert_true(next_field(&at, end, &f));
	const uint8_t *p = f.data;
	for (size_t i = 0; i < 8; i++)
		assert_true(read_varint(&p, f.data + f.value) == values[i]);
	assert_false(next_field(&at, end, &f));
	pb_free(&b);
	pb_free(&sub);
}

static uint8_t *gunzip(const char *gz, size_t len, size_t *out_len)
{
	size_t cap = 64 << 20;
	uint8_t *out = malloc(cap);
	z_stream z = {.next_in = (uint8_t *)(uintptr_t)gz, .avail_in = (uInt)len, .next_out = out, .avail_out = (uInt)cap};

	assert_int_equal(inflateInit2(&z, 15 + 32), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	*out_len = cap - z.avail_out;
	inflateEnd(&z);
	return out;
}

static void check_pprof(const uint8_t *data, size_t len, uint64_t *cpu_ns, uint64_t *blocked_ns)
{
	const uint8_t *at = data, *end = data + len;
	struct field f, g;
	uint64_t max_string = 0, strings = 0, locations = 0, functions = 0, samples_with_label = 0, samples = 0;
	uint8_t *defined = calloc(1 << 16, 1), *used = calloc(1 << 16, 1);

	while (next_field(&at, end, &f)) {
		const uint8_t *a = f.data, *e = f.data + f.value;
		if (f.number == 6)
			strings++;
		else if (f.number == 5)
			functions++;
		else if (f.number == 4) {
			locations++;
			while (next_field(&a, e, &g))
				if (g.number == 1)
					defined[g.value] = 1;
		} else if (f.number == 2) {
			bool labelled = false;
			samples++;
			while (next_field(&a, e, &g)) {
				const uint8_t *v = g.data;
				if (g.number == 1)
					while (v < g.data + g.value)
						used[read_varint(&v, g.data + g.value)] = 1;
				if (g.number == 2) {
					*cpu_ns += read_varint(&v, g.data + g.value);
					*blocked_ns += read_varint(&v, g.data + g.value);
					read_varint(&v, g.data + g.value);
					assert_ptr_equal(v, g.data + g.value); /* one value per sample type */
				}
				if (g.number == 3) {
					struct field l;
					labelled = true;
					while (next_field(&v, g.data + g.value, &l))
						if (l.number == 1 || l.number == 2)
							max_string = l.value > max_string ? l.value : max_string;
				}
			}
			samples_with_label += labelled;
		}
	}
	assert_int_equal(locations, functions);
	assert_int_equal(samples, samples_with_label);
	assert_true(max_string < strings);
	for (size_t i = 1; i < 1 << 16; i++)
		assert_int_equal(used[i], defined[i]); /* no dangling and no unused location */
	free(defined);
	free(used);
}

static void test_pprof_is_whole_and_carries_all_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_FIXTURES; i++) {
		struct profile *p = fixtures[i].make();
		size_t gz_len, len;
		char *gz = run_export(export_pprof, p, EXPORT_ALL, 0, &gz_len);
		uint8_t *data = gunzip(gz, gz_len, &len);
		uint64_t cpu = 0, blocked = 0;

		check_pprof(data, len, &cpu, &blocked);
		assert_int_equal(cpu, view_ns(p, EXPORT_CPU));
		assert_int_equal(blocked, view_ns(p, EXPORT_WAIT));
		free(data);
		free(gz);
		profile_free(p);
	}
}

/* Per track: slices open and close in time order; every flow that ends has begun. */
static void check_perfetto(const uint8_t *data, size_t len, uint64_t *blocked_ns, size_t *flows)
{
	const uint8_t *at = data, *end = data + len;
	struct field f, g, h;
	static struct {
		uint64_t track, last_ns, opened_ns;
		int depth;
		bool wait;
	} tracks[256];
	uint64_t flow_begin[4096], n_begin = 0;
	size_t n_tracks = 0;

	memset(tracks, 0, sizeof tracks);
	while (next_field(&at, end, &f)) {
		const uint8_t *a = f.data;
		uint64_t ts = 0, type = 0, track = 0, flow_end = 0, flow = 0;
		bool wait = false, event = false;

		assert_int_equal(f.number, 1);
		while (next_field(&a, f.data + f.value, &g)) {
			if (g.number == 8)
				ts = g.value;
			if (g.number != 11)
				continue;
			event = true;
			const uint8_t *b = g.data;
			while (next_field(&b, g.data + g.value, &h)) {
				type = h.number == 9 ? h.value : type;
				track = h.number == 11 ? h.value : track;
				flow = h.number == 47 ? h.value : flow;
				flow_end = h.number == 48 ? h.value : flow_end;
				wait |= h.number == 22 && h.value == 4 && memcmp(h.data, "wait", 4) == 0;
			}
		}
		if (!event || type > 2) {
			if (flow)
				flow_begin[n_begin++] = flow;
			continue;
		}
		size_t t = 0;
		while (t < n_tracks && tracks[t].track != track)
			t++;
		if (t == n_tracks)
			tracks[n_tracks++].track = track;
		assert_true(ts >= tracks[t].last_ns);
		tracks[t].last_ns = ts;
		tracks[t].depth += type == 1 ? 1 : -1;
		assert_in_range(tracks[t].depth, 0, 1);
		if (type == 1) {
			tracks[t].opened_ns = ts;
			tracks[t].wait = wait;
		} else if (tracks[t].wait) {
			*blocked_ns += ts - tracks[t].opened_ns;
		}
		if (flow_end) {
			bool known = false;
			for (size_t i = 0; i < n_begin; i++)
				known |= flow_begin[i] == flow_end;
			assert_true(known);
			++*flows;
		}
	}
	for (size_t t = 0; t < n_tracks; t++)
		assert_int_equal(tracks[t].depth, 0);
}

static void test_perfetto_slices_nest_and_flows_have_both_ends(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_FIXTURES; i++) {
		struct profile *p = fixtures[i].make();
		size_t len, flows = 0, wakes = 0;
		char *s = run_export(export_perfetto, p, EXPORT_ALL, 0, &len);
		uint64_t blocked = 0, want = 0;

		check_perfetto((const uint8_t *)s, len, &blocked, &flows);
		for (size_t k = 0; k < p->n_trace; k++) {
			want += p->trace[k].wake_ns - p->trace[k].out_ns;
			wakes += p->trace[k].waker_tid != 0 && p->trace[k].run_ns > p->trace[k].wake_ns;
		}
		assert_int_equal(blocked, want);
		assert_int_equal(flows, wakes);
		free(s);
		profile_free(p);
	}
}

static void test_strings_are_numbered_once_and_harmless(void **state)
{
	struct strtab t;

	(void)state;
	strtab_init(&t);
	assert_int_equal(strtab_add(&t, NULL), 0);
	assert_int_equal(strtab_add(&t, ""), 0);
	uint32_t a = strtab_add(&t, "a\x1b"), b = strtab_add(&t, "b");
	assert_int_equal(strtab_add(&t, "a\x1b"), a);
	assert_int_not_equal(a, b);
	assert_string_equal(t.list[a], "a\\x1b");
	char name[16];
	for (int i = 0; i < 10000; i++) {
		snprintf(name, sizeof name, "n%d", i % 5000);
		strtab_add(&t, name);
	}
	assert_int_equal(t.n, 5003);
	assert_false(t.failed);
	strtab_free(&t);
}

static void test_a_full_disk_is_reported_by_every_export(void **state)
{
	static const export_fn all[] = {export_folded, export_speedscope, export_pprof, export_perfetto, export_firefox};

	(void)state;
	struct profile *p = fix_siblings();
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		struct err err = {""};
		FILE *full = fopen("/dev/full", "w");
		assert_non_null(full);
		assert_int_equal(all[i](p, &(struct export_options){.kind = EXPORT_ALL}, full, &err), -ENOSPC);
		assert_non_null(strstr(err.msg, "No space left"));
		fclose(full);
	}
	profile_free(p);
}

static void test_fixtures_survive_their_file(void **state)
{
	const char *dir = getenv("LOCKSTEP_FIXTURES");
	char path[512];

	(void)state;
	for (size_t i = 0; i < N_FIXTURES; i++) {
		struct profile *p = fixtures[i].make(), *q = NULL;
		struct err err = {""};
		snprintf(path, sizeof path, "%s/%s.db", dir ? dir : BINARY_DIR "/tests", fixtures[i].name);
		if (profile_save(p, path, &err) || profile_load(&q, path, &err))
			fail_msg("%s: %s", path, err.msg);
		size_t len1, len2;
		char *s1 = run_export(export_speedscope, p, EXPORT_ALL, 0, &len1),
		     *s2 = run_export(export_speedscope, q, EXPORT_ALL, 0, &len2);
		assert_int_equal(len1, len2);
		assert_memory_equal(s1, s2, len1);
		free(s1);
		free(s2);
		profile_free(p);
		profile_free(q);
		if (!dir)
			remove(path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folded_equals_its_golden_files),
		cmocka_unit_test(test_speedscope_equals_its_golden_files),
		cmocka_unit_test(test_firefox_equals_its_golden_files),
		cmocka_unit_test(test_folded_lines_carry_all_time_and_parse_back),
		cmocka_unit_test(test_kind_and_pid_filter_what_is_exported),
		cmocka_unit_test(test_speedscope_weights_sum_up_and_indexes_are_in_range),
		cmocka_unit_test(test_firefox_tables_are_whole_and_carry_all_time),
		cmocka_unit_test(test_protobuf_writes_what_a_reader_reads),
		cmocka_unit_test(test_pprof_is_whole_and_carries_all_time),
		cmocka_unit_test(test_perfetto_slices_nest_and_flows_have_both_ends),
		cmocka_unit_test(test_strings_are_numbered_once_and_harmless),
		cmocka_unit_test(test_a_full_disk_is_reported_by_every_export),
		cmocka_unit_test(test_fixtures_survive_their_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
