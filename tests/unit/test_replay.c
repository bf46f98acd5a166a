/* SPDX-License-Identifier: Apache-2.0
 *
 * The replay format: what is written can be read, what makes no sense is told with its line, nothing crashes the reader. */
#include "aggregate/aggregator.h"
#include "sampler/replay/format.h"
#include "sampler/replay/recorder.h"
#include "sampler/replay/replay.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t seed = 88172645463325252ull;

static uint64_t draw(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

static char *print(const struct event *ev)
{
	char *text;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	replay_print(out, ev);
	fclose(out);
	return text;
}

/* Text with bytes that need care. */
static const char *hostile(char *buf, size_t size)
{
	size_t n = draw(size);
	for (size_t i = 0; i < n; i++)
		buf[i] = (char)(draw(4) ? 'a' + draw(26) : 1 + draw(255));
	buf[n] = '\0';
	return buf;
}

struct texts {
	char a[64], b[64], c[64], d[64];
	uint32_t ids[20];
	struct source_frame frames[3];
};

static void random_wait(struct ev_wait *w)
{
	*w = (struct ev_wait){
		.tid = (int32_t)draw(1u << 22),
		.cls = (uint8_t)draw(WC_COUNT),
		.waker_ctx = (uint8_t)draw(4),
		.at_start = draw(2),
		.in_progress = draw(2),
		.preempted = draw(2),
		.lost = draw(2),
		.t_wake = draw(1ull << 62),
		.t_run = draw(1ull << 62),
		.waker_tid = (int32_t)draw(1u << 22),
		.lost_count = (uint32_t)draw(UINT32_MAX),
		.channel = (uint32_t)draw(UINT32_MAX),
		.site = (uint32_t)draw(1000),
		.stack = (uint32_t)draw(3),
		.waker_site = (uint32_t)draw(1000),
		.waker_stack = (uint32_t)draw(1000),
		.bytes = (uint32_t)draw(UINT32_MAX),
		.want_bytes = (uint32_t)draw(2),
		.rd_calls = (uint32_t)draw(UINT32_MAX),
		.rd_bytes = (uint32_t)draw(UINT32_MAX),
		.wr_calls = (uint32_t)draw(2),
		.wr_bytes = (uint32_t)draw(UINT32_MAX),
		.folded_count = (uint32_t)draw(9),
		.handoff_count = (uint32_t)draw(9),
		.folded_ns = draw(1ull << 40),
		.handoff_tid = (int32_t)draw(1u << 22),
	};
}

static struct event random_event(struct texts *t)
{
	struct event ev = {.kind = 1 + draw(EV_END), .time_ns = draw(1ull << 62)};
	switch (ev.kind) {
	case EV_PROCESS:
		ev.process = (struct ev_process){.pid = (int32_t)draw(1u << 22),
						 .ppid = (int32_t)draw(1u << 22),
						 .in_tree = draw(2),
						 .reason = draw(4),
						 .runtime = draw(RT_COUNT),
						 .comm = hostile(t->a, 16),
						 .exe = hostile(t->b, 60)};
		if (draw(2)) {
			memcpy(t->c, "sh\0-c\0x y\0", 10);
			ev.process.cmdline = t->c;
			ev.process.cmdline_len = 10;
		}
		break;
	case EV_THREAD:
		ev.thread = (struct ev_thread){(int32_t)draw(1u << 22), (int32_t)draw(1u << 22), hostile(t->a, 16)};
		break;
	case EV_THREAD_EXIT:
		ev.thread_exit = (struct ev_thread_exit){(int32_t)draw(1u << 22), (int32_t)draw(1u << 22)};
		break;
	case EV_PROCESS_EXIT:
		ev.process_exit = (struct ev_process_exit){(int32_t)draw(1u << 22), (int32_t)draw(70000) - 1};
		break;
	case EV_WAIT:
		random_wait(&ev.wait);
		break;
	case EV_SAMPLE:
		ev.sample = (struct ev_sample){(int32_t)draw(1u << 22), (uint32_t)draw(64), (uint32_t)draw(99),
					       (uint32_t)draw(UINT32_MAX), draw(2)};
		break;
	case EV_TICK:
		ev.tick = (struct ev_tick){
			(int32_t)draw(1u << 22),    1 + draw(3),	(uint8_t)draw(WC_COUNT), draw(2),
			(uint32_t)draw(UINT32_MAX), (uint32_t)draw(99), (uint32_t)draw(99),	 (int32_t)draw(1u << 22)};
		break;
	case EV_COUNTS:
		ev.counts = (struct ev_counts){(int32_t)draw(1u << 22), draw(1ull << 50), draw(1ull << 50),
					       draw(UINT64_MAX),	draw(9),	  draw(9),
					       draw(UINT64_MAX),	draw(9),	  draw(9)};
		break;
	case EV_CHANNEL:
		ev.channel = (struct ev_channel){(uint32_t)draw(UINT32_MAX), draw(CH_COUNT), hostile(t->a, 60), draw(1 << 20),
						 draw(2)};
		break;
	case EV_CHANNEL_END:
		ev.channel_end = (struct ev_channel_end){(uint32_t)draw(UINT32_MAX), (int32_t)draw(1u << 22),
							 (int32_t)draw(99) - 1, 1 + draw(3)};
		break;
	case EV_FRAME:
		t->frames[0] = (struct source_frame){hostile(t->a, 60), draw(2) ? hostile(t->b, 60) : NULL,
						     (uint32_t)draw(UINT32_MAX), hostile(t->c, 60), draw(LANG_COUNT)};
		t->frames[1] = (struct source_frame){"inlined", NULL, 0, "", LANG_NATIVE};
		t->frames[2] = (struct source_frame){hostile(t->d, 60), "x.c", 7, "/bin/x", LANG_PYTHON};
		ev.frame = (struct ev_frame){(uint32_t)draw(UINT32_MAX), 1 + draw(3), t->frames};
		break;
	case EV_STACK:
		for (size_t i = 0; i < 20; i++)
			t->ids[i] = (uint32_t)draw(UINT32_MAX);
		ev.stack = (struct ev_stack){(uint32_t)draw(UINT32_MAX), draw(2), draw(21), t->ids};
		break;
	case EV_LOST:
		ev.lost = (struct ev_lost){draw(UINT64_MAX), draw(9)};
		break;
	case EV_END:
		break;
	}
	return ev;
}

static void test_what_is_written_is_read_back(void **state)
{
	(void)state;
	struct replay_scratch scratch = {0};
	for (int i = 0; i < 20000; i++) {
		struct texts t;
		struct event ev = random_event(&t), back;
		struct err err = {""};
		char *text = print(&ev), *line = strdup(text);
		if (replay_parse(line, &back, &scratch, &err) != 1)
			fail_msg("%s: %s", err.msg, text);
		char *again = print(&back);
		assert_string_equal(text, again);
		for (const char *c = text; *c; c++) /* plain text, whatever the names are */
			assert_true((*c >= ' ' && *c < 0x7f) || (*c == '\n' && !c[1]));
		if (ev.kind == EV_WAIT)
			assert_memory_equal(&ev.wait, &back.wait, offsetof(struct ev_wait, t_wake));
		if (ev.kind == EV_PROCESS && ev.process.cmdline) {
			assert_int_equal(back.process.cmdline_len, 10);
			assert_memory_equal(back.process.cmdline, "sh\0-c\0x y", 10);
		}
		free(text);
		free(line);
		free(again);
	}
	replay_scratch_fini(&scratch);
}

static void test_fields_arrive_as_written_by_hand(void **state)
{
	(void)state;
	struct replay_scratch s = {0};
	struct event ev;
	char wait[] =
		"  wait 1000 tid=7\tclass=unix_read wake=1500 waker=8 ctx=task channel=3 bytes=200 in_progress preempted=0\n";
	assert_int_equal(replay_parse(wait, &ev, &s, NULL), 1);
	assert_int_equal(ev.kind, EV_WAIT);
	assert_int_equal(ev.time_ns, 1000);
	assert_int_equal(ev.wait.tid, 7);
	assert_int_equal(ev.wait.cls, WC_UNIX_READ);
	assert_int_equal(ev.wait.t_wake, 1500);
	assert_int_equal(ev.wait.t_run, 1500); /* absent: when it was woken */
	assert_int_equal(ev.wait.waker_tid, 8);
	assert_int_equal(ev.wait.waker_ctx, WAKER_TASK);
	assert_int_equal(ev.wait.channel, 3);
	assert_int_equal(ev.wait.bytes, 200);
	assert_true(ev.wait.in_progress && !ev.wait.preempted && !ev.wait.at_start);
	char frame[] = "frame 0 id=4 fn=std::f%28%29 file=/a%20b.c line=3 fn=g module=/bin/x lang=js";
	assert_int_equal(replay_parse(frame, &ev, &s, NULL), 1);
	assert_int_equal(ev.frame.n, 2);
	assert_string_equal(ev.frame.frames[0].function, "std::f()");
	assert_string_equal(ev.frame.frames[0].file, "/a b.c");
	assert_int_equal(ev.frame.frames[0].line, 3);
	assert_null(ev.frame.frames[1].file);
	assert_string_equal(ev.frame.frames[1].module, "/bin/x");
	assert_int_equal(ev.frame.frames[1].language, LANG_JS);
	char stack[] = "stack 0 id=9 frames=4,5,4294967295 truncated";
	assert_int_equal(replay_parse(stack, &ev, &s, NULL), 1);
	assert_int_equal(ev.stack.n, 3);
	assert_int_equal(ev.stack.frames[2], UINT32_MAX);
	assert_true(ev.stack.truncated);
	char process[] = "process 5 pid=4";
	assert_int_equal(replay_parse(process, &ev, &s, NULL), 1);
	assert_true(ev.process.in_tree);
	assert_string_equal(ev.process.comm, "");
	assert_null(ev.process.cmdline);
	char comment[] = "  # nothing", empty[] = " \n";
	assert_int_equal(replay_parse(comment, &ev, &s, NULL), 0);
	assert_int_equal(replay_parse(empty, &ev, &s, NULL), 0);
	replay_scratch_fini(&s);
}

static void test_nonsense_is_refused_with_a_reason(void **state)
{
	(void)state;
	static const struct {
		const char *line, *why;
	} bad[] = {
		{"wiat 5 tid=1", "unknown kind"},
		{"wait", "bad time"},
		{"wait soon", "bad time"},
		{"wait -5", "bad time"},
		{"wait 4611686018427387905", "bad time"},
		{"wait 5 tid=x", "\"tid\""},
		{"wait 5 tid=99999999999", "\"tid\""},
		{"wait 5 tid=", "\"tid\""},
		{"wait 5 class=pipe", "\"class\""},
		{"wait 5 lost=2", "\"lost\""},
		{"wait 5 color=red", "unknown key \"color\""},
		{"wait 5 \x1b[31m=1", "unknown key \"\""},
		{"process 5 comm=%4", "\"comm\""},
		{"process 5 comm=%zz", "\"comm\""},
		{"process 5 cmdline=%", "\"cmdline\""},
		{"tick 5 tid=1", "\"state\""},
		{"frame 5 id=1", "\"fn\""},
		{"frame 5 id=1 line=5", "\"line\""},
		{"frame 5 id=1 fn=f lang=cobol", "\"lang\""},
		{"stack 5 id=1 frames=1,,2", "\"frames\""},
		{"stack 5 id=1 frames=1,-2", "\"frames\""},
		{"channel 5 id=1 kind=wormhole", "\"kind\""},
		{"sample 5 kernel=maybe", "\"kernel\""},
	};
	struct replay_scratch s = {0};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct event ev;
		struct err err = {""};
		char *line = strdup(bad[i].line);
		assert_int_equal(replay_parse(line, &ev, &s, &err), -EINVAL);
		if (!strstr(err.msg, bad[i].why))
			fail_msg("\"%s\" was refused with: %s", bad[i].line, err.msg);
		for (const char *c = err.msg; *c; c++)
			assert_true(*c >= ' ' && *c < 0x7f);
		free(line);
	}
	replay_scratch_fini(&s);
}

/* Lines of all kinds, mutated: the reader takes or refuses each, and what it takes can be printed and aggregated. */
static void test_mutated_lines_never_crash(void **state)
{
	(void)state;
	struct replay_scratch s = {0};
	struct aggregator *a = aggregator_new(NULL, NULL);
	unsigned taken = 0;
	for (int i = 0; i < 60000; i++) {
		struct texts t;
		struct event ev = random_event(&t), back;
		ev.time_ns %= 1000000000;
		char *text = print(&ev);
		size_t n = strlen(text);
		for (uint64_t k = 0, m = draw(4); k < m && n; k++) {
			size_t at = draw(n);
			switch (draw(4)) {
			case 0:
				text[at] = (char)(1 + draw(255));
				break;
			case 1:
				text[at] = "0123456789=%, ,"[draw(15)];
				break;
			case 2:
				memmove(text + at, text + at + 1, n - at);
				n--;
				break;
			default:
				text[at] = '\0';
				n = at;
			}
		}
		if (replay_parse(text, &back, &s, NULL) == 1) {
			char *again = print(&back);
			assert_true(strchr(again, '\n') == again + strlen(again) - 1);
			free(again);
			taken++;
			if (back.kind != EV_END)
				aggregator_event(a, &back);
		}
		free(text);
	}
	assert_true(taken > 20000);
	struct profile *p = NULL;
	assert_int_equal(aggregator_profile(a, &p, NULL), 0);
	profile_free(p);
	aggregator_free(a);
	replay_scratch_fini(&s);
}

/* ---- the backend and the recorder ---- */

struct seen {
	unsigned n, ends;
	uint64_t end_ns;
	int32_t last_tid;
};

static void see(void *ctx, const struct event *ev)
{
	struct seen *s = ctx;
	s->n++;
	if (ev->kind == EV_WAIT)
		s->last_tid = ev->wait.tid;
	if (ev->kind == EV_END) {
		s->ends++;
		s->end_ns = ev->time_ns;
	}
}

static void write_file(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "w");
	fwrite(bytes, 1, n, f);
	fclose(f);
}

/* Drains all of a file. Returns what the last drain returned. */
static int replay(const char *path, struct seen *seen, struct err *err)
{
	struct backend *b = NULL;
	struct backend_options opt = {.replay_path = path};
	*seen = (struct seen){0};
	int rc = backend_replay.open(&b, &opt, err);
	if (rc)
		return rc;
	while (backend_replay.alive(b) && (rc = backend_replay.drain(b, see, seen, err)) >= 0)
		assert_true(rc <= 4096 && backend_replay.poll_ms(b) == 0);
	assert_int_equal(backend_replay.finish(b, see, seen, err), 0);
	backend_replay.close(b);
	return rc;
}

static char path[] = "/tmp/test_replay_XXXXXX";

static void test_a_stream_without_end_ends_at_its_latest_time(void **state)
{
	(void)state;
	static const char text[] = "wait 100 tid=1 class=sleep wake=900 run=950\nthread 500 tid=2";
	struct seen seen;
	write_file(path, text, sizeof text - 1);
	assert_true(replay(path, &seen, NULL) >= 0);
	assert_int_equal(seen.n, 3);
	assert_int_equal(seen.ends, 1);
	assert_int_equal(seen.end_ns, 950);
}

static void test_nothing_is_read_after_the_end(void **state)
{
	(void)state;
	static const char text[] = "end 100\nwait 200 tid=1\n";
	struct seen seen;
	write_file(path, text, sizeof text - 1);
	assert_true(replay(path, &seen, NULL) >= 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.end_ns, 100);
}

static void test_a_bad_line_is_told_with_file_and_number(void **state)
{
	(void)state;
	static const char text[] = "# one\n\nwait 1 tid=3\nwait 2 tid=bad\nwait 3 tid=4\n",
			  with_nul[] = "wait 1 tid=3\nwa\0it 5\n";
	struct seen seen;
	struct err err;
	char want[64];
	write_file(path, text, sizeof text - 1);
	assert_int_equal(replay(path, &seen, &err), -EINVAL);
	snprintf(want, sizeof want, "%s:4: ", path);
	assert_non_null(strstr(err.msg, want));
	assert_int_equal(seen.last_tid, 3); /* what came before was handed out, and an end */
	assert_int_equal(seen.ends, 1);
	write_file(path, with_nul, sizeof with_nul - 1);
	assert_int_equal(replay(path, &seen, &err), -EINVAL);
	snprintf(want, sizeof want, "%s:2: ", path);
	assert_non_null(strstr(err.msg, want));
}

static void test_an_endless_line_is_refused(void **state)
{
	(void)state;
	size_t n = 3u << 20;
	char *line = malloc(n);
	struct seen seen;
	struct err err;
	memset(line, 'x', n);
	write_file(path, line, n);
	free(line);
	assert_int_equal(replay(path, &seen, &err), -EINVAL);
	assert_non_null(strstr(err.msg, ":1: the line is too long"));
}

static void test_files_that_cannot_be_read_are_named(void **state)
{
	(void)state;
	struct seen seen;
	struct err err;
	assert_int_equal(replay("/nonexistent/file", &seen, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/nonexistent/file"));
	assert_int_equal(replay("/tmp", &seen, &err), -EIO); /* a folder opens, but does not read */
	assert_int_equal(replay(NULL, &seen, &err), -EINVAL);
}

static void test_what_the_recorder_wrote_the_backend_hands_out(void **state)
{
	(void)state;
	struct replay_recorder *r;
	struct seen seen;
	assert_int_equal(replay_recorder_open(&r, path, NULL), 0);
	for (int i = 0; i < 10000; i++) {
		struct event ev = {
			.kind = EV_WAIT, .time_ns = 1000 + i, .wait = {.tid = 1 + i, .t_wake = 1001 + i, .t_run = 1002 + i}};
		replay_recorder_event(r, &ev);
	}
	struct event end = {.kind = EV_END, .time_ns = 77777};
	replay_recorder_event(r, &end);
	assert_int_equal(replay_recorder_close(r, NULL), 0);
	assert_true(replay(path, &seen, NULL) >= 0);
	assert_int_equal(seen.n, 10001);
	assert_int_equal(seen.last_tid, 10000);
	assert_int_equal(seen.end_ns, 77777);
}

static void test_a_full_disk_is_told_when_the_recording_closes(void **state)
{
	(void)state;
	struct replay_recorder *r;
	struct err err = {""};
	if (access("/dev/full", W_OK))
		skip();
	assert_int_equal(replay_recorder_open(&r, "/dev/full", &err), 0);
	struct event end = {.kind = EV_END, .time_ns = 1};
	replay_recorder_event(r, &end);
	assert_int_equal(replay_recorder_close(r, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "/dev/full"));
	assert_int_equal(replay_recorder_close(NULL, NULL), 0);
	assert_int_equal(replay_recorder_open(&r, "/nonexistent/file", &err), -ENOENT);
}

static void test_a_replay_is_chosen_by_name_only(void **state)
{
	(void)state;
	const struct backend_ops *ops = NULL;
	struct backend_probe probe;
	struct err err = {""};
	assert_int_equal(backend_choose("replay", &ops, &probe, &err), 0);
	assert_ptr_equal(ops, &backend_replay);
	assert_true(probe.usable);
	assert_int_equal(backend_choose("relpay", &ops, &probe, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "replay"));
	assert_non_null(strstr(err.msg, "kernel"));
	ops = NULL;
	if (backend_choose("auto", &ops, &probe, &err) == 0)
		assert_ptr_not_equal(ops, &backend_replay);
	else
		assert_true(err.msg[0]);
}

static int make_file(void **state)
{
	(void)state;
	int fd = mkstemp(path);
	return fd < 0 || close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read_back),
		cmocka_unit_test(test_fields_arrive_as_written_by_hand),
		cmocka_unit_test(test_nonsense_is_refused_with_a_reason),
		cmocka_unit_test(test_mutated_lines_never_crash),
		cmocka_unit_test(test_a_stream_without_end_ends_at_its_latest_time),
		cmocka_unit_test(test_nothing_is_read_after_the_end),
		cmocka_unit_test(test_a_bad_line_is_told_with_file_and_number),
		cmocka_unit_test(test_an_endless_line_is_refused),
		cmocka_unit_test(test_files_that_cannot_be_read_are_named),
		cmocka_unit_test(test_what_the_recorder_wrote_the_backend_hands_out),
		cmocka_unit_test(test_a_replay_is_chosen_by_name_only),
		cmocka_unit_test(test_a_full_disk_is_told_when_the_recording_closes),
	};
	return cmocka_run_group_tests(tests, make_file, remove_file);
}
