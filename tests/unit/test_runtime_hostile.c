/* SPDX-License-Identifier: Apache-2.0
 *
 * Bad days: memory that lies. A fake process whose every word is made up (pointers that form cycles, huge lengths, torn and
 * absent pages) is walked in all ways that the providers know; what counts is that every walk ends, within bounds, with
 * nothing read or written outside of our own buffers (the Sanitize build says so), and that the truth is told from an honest
 * fake.
 */
#include "sampler/runtime/java.h"
#include "sampler/runtime/python.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- made-up memory: a function of the address, so that it is the same at each look ---- */
struct liar {
	uint64_t seed;
	unsigned pages;	   /* pointers lead into that many pages from BASE on: few make cycles */
	unsigned absent;   /* of 16 pages so many cannot be read */
	unsigned pointers; /* of 16 words so many are pointers */
};
#define BASE 0x10000000ull

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

static uint64_t word_at(const struct liar *l, uint64_t addr)
{
	uint64_t h = mix(addr / 8 ^ l->seed);

	if (h % 16 < l->pointers)
		return BASE + mix(h) % ((uint64_t)l->pages * 4096) / 8 * 8;
	switch (h / 16 % 4) {
	case 0:
		return mix(h) % 200; /* lengths, tids, flags */
	case 1:
		return 0;
	case 2:
		return mix(h);
	default:
		return 0x0101010101010101ull * (mix(h) % 256); /* text, bytes that repeat */
	}
}

static ssize_t liar_read(void *ctx, pid_t pid, uint64_t addr, void *buf, size_t len)
{
	const struct liar *l = ctx;
	uint8_t *out = buf;

	(void)pid;
	for (size_t i = 0; i < len; i++) {
		uint64_t w = word_at(l, (addr + i) & ~7ull);
		if ((i == 0 || (addr + i) % 4096 == 0) && mix((addr + i) / 4096 ^ ~l->seed) % 16 < l->absent)
			return i ? (ssize_t)i : -EFAULT;
		out[i] = (uint8_t)(w >> 8 * ((addr + i) & 7));
	}
	return (ssize_t)len;
}

static uint32_t count_frames(void *ctx, const struct source_frame *f)
{
	unsigned *n = ctx;

	assert_true(strlen(f->function) < 8192);
	return ++*n;
}

static struct liar random_liar(void)
{
	static const unsigned pages[] = {1, 2, 8, 64, 100000};

	return (struct liar){.seed = mix((uint64_t)rand()),
			     .pages = pages[rand() % 5],
			     .absent = (unsigned)rand() % 6,
			     .pointers = (unsigned)rand() % 17};
}

static void check_python(struct runtime_env *env, uint32_t version)
{
	struct python_process p = {
		.pid = 1, .layout = *python_layout_known(version), .codes = python_codes_new(NULL), .n_eval = 1};
	static uint64_t pairs[2 * PYTHON_MAX_FRAMES];
	struct runtime_wait wait;
	char text[256];
	bool cut;

	p.layout.walk.runtime = BASE;
	for (unsigned i = 0; i < 4; i++) {
		pid_t tid = (pid_t)(1 + rand() % 200);
		size_t n = python_walk(&p, env->memory, tid, pairs, 1 + (size_t)rand() % PYTHON_MAX_FRAMES, &cut);
		assert_true(n <= PYTHON_MAX_FRAMES);
		python_codes_verify(&p, env, pairs, n);
		for (size_t k = 0; k < n && k < 50; k++)
			python_resolve(&p, env, pairs[2 * k] & ~PYTHON_PAIR_MASK, pairs[2 * k + 1]);
		python_note_label(&p, pairs, n);
		python_wait(&p, env, tid, BASE + (uint64_t)rand() % 4096, &wait);
		for (size_t len = 8; len <= sizeof text; len += 31) {
			ssize_t got = python_string(env->memory, &p.layout, BASE + (uint64_t)rand() % 65536, text, len);
			assert_true(got < (ssize_t)len);
		}
		python_thread_forget(&p, tid);
	}
	python_threads_free(p.threads);
	python_codes_free(p.codes);
}

static void test_python_walks_of_hostile_memory_end(void **state)
{
	(void)state;
	srand(3);
	for (unsigned round = 0; round < 120; round++) {
		struct liar liar = random_liar();
		struct runtimes_counters counters = {0};
		unsigned frames = 0;
		struct runtimes_options opt = {.intern = count_frames, .ctx = &frames};
		struct runtime_env env = {.opt = &opt, .memory = target_memory_new(liar_read, &liar), .counters = &counters};
		struct python_layout layout;
		struct err err;
		target_memory_begin(env.memory, 1, NULL);
		for (uint32_t v = 0x0308; v <= 0x030c; v++)
			check_python(&env, v);
		python_layout_read(env.memory, BASE, &layout, &err);
		target_memory_free(env.memory);
	}
}

/* ---- self-descriptions ---- */
struct image {
	uint8_t bytes[8192];
};

static ssize_t image_read(void *ctx, pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct image *im = ctx;

	(void)pid;
	if (addr < BASE || addr >= BASE + sizeof im->bytes)
		return -EFAULT;
	if (len > BASE + sizeof im->bytes - addr)
		len = BASE + sizeof im->bytes - addr;
	memcpy(buf, im->bytes + (addr - BASE), len);
	return (ssize_t)len;
}

static int describe(uint64_t version, uint64_t free_threaded, uint64_t offset, struct python_layout *out, struct err *err)
{
	static struct image im;
	struct target_memory *m = target_memory_new(image_read, &im);
	uint64_t words[96] = {0};
	int rc;

	memcpy(words, "xdebugpy", 8);
	words[1] = version << 16;
	words[2] = free_threaded;
	for (unsigned i = 3; i < 96; i++)
		words[i] = i == 34 ? offset : 8ull * i;
	memcpy(im.bytes, words, sizeof words);
	target_memory_begin(m, 1, NULL);
	rc = python_layout_read(m, BASE, out, err);
	target_memory_free(m);
	return rc;
}

static void test_unknown_and_free_threaded_versions_are_refused_with_a_sentence(void **state)
{
	struct python_layout l;
	struct err err;

	(void)state;
	assert_int_equal(describe(0x030d, 0, 0, &l, &err), 0);
	assert_int_equal(l.walk.ts_frame, 8 * 23);
	assert_int_equal(describe(0x030e, 0, 0, &l, &err), 0);
	assert_int_equal(l.walk.ts_frame, 8 * 26);
	assert_int_equal(describe(0x030f, 0, 0, &l, &err), -ENOTSUP);
	assert_string_equal(err.msg, "Python 3.15 is not known: native stacks only");
	assert_int_equal(describe(0x030d, 1, 0, &l, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "free-threaded"));
	assert_int_equal(describe(0x030e, 0, 1ull << 40, &l, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "impossible"));
}

/* ---- Java ---- */
/* As JDK 17 and 25 describe themselves; only their sizes matter here. */
static struct java_layout java_layout(bool new)
{
	struct java_layout l = {.code_heaps = BASE,
				.thread_list = BASE + 8,
				.call_stub_return = BASE + 16,
				.vm_major = BASE + 24,
				.array_len = 0,
				.array_data = 8,
				.heap_memory = 0,
				.heap_segmap = 120,
				.heap_log2 = 256,
				.space_low = 16,
				.space_low_boundary = 0,
				.space_high_boundary = 8,
				.blob_name = 96,
				.blob_size = 12,
				.blob_frame_complete = 20,
				.blob_frame_size = 28,
				.blob_code_begin = 32,
				.blob_code_end = 40,
				.blob_code_offset = new ? 36 : -1,
				.blob_data_offset = 40,
				.blob_mutable = 16,
				.blob_relocation_size = 28,
				.nm_method_compiled = 112,
				.nm_method = new ? 80 : -1,
				.nm_scopes_data_begin = 120,
				.nm_deopt_begin = 128,
				.nm_deopt_offset = 176,
				.nm_orig_pc = 300,
				.nm_metadata = 260,
				.nm_scopes_pcs = 268,
				.nm_dependencies = 272,
				.nm_immutable = new ? 96 : -1,
				.nm_scopes_data = 200,
				.nm_compile_id = 304,
				.pc_offset = 0,
				.pc_scope = 4,
				.method_const = 8,
				.const_constants = 8,
				.const_flags = 28,
				.const_flags_flags = 28,
				.const_code_size = 32,
				.const_name = 34,
				.pool_holder = 24,
				.pool_source = 54,
				.klass_source = -1,
				.klass_name = 24,
				.symbol_length = 4,
				.symbol_body = 6,
				.list_length = 4,
				.list_threads = 16,
				.thread_osthread = 560,
				.jthread_osthread = -1,
				.os_thread_id = 208,
				.anchor = 656,
				.anchor_sp = 0,
				.anchor_pc = 8,
				.anchor_fp = 16,
				.pending_monitor = 776,
				.waiting_monitor = 792,
				.stack_base = 592,
				.stack_size = 600,
				.monitor_owner_id = 1312,
				.monitor_owner = 64,
				.monitor_object = 8,
				.lock_stack = new ? 2000 : -1,
				.lock_stack_top = 0,
				.lock_stack_base = 16,
				.const_size = 48,
				.pool_size = 72,
				.pc_size = 16,
				.block_size = 16,
				.owner_is_tid = new,
				.version = new ? 25 : 17};

	return l;
}

static uint64_t hostile_symbol(void *ctx, const char *name)
{
	(void)ctx;
	return BASE + mix(strlen(name)) % 4096;
}

static void check_java(struct runtime_env *env, bool new)
{
	struct java_process p = {.pid = 1, .layout = java_layout(new), .walk = 1};
	struct runtime_wait wait;
	const uint32_t *ids;

	java_heaps_read(&p, env->memory);
	/* An honest heap in lying memory, so that the walk comes as far as it can. */
	if (!p.n_heaps || rand() % 2) {
		p.heaps[0] = (struct java_heap){BASE, BASE + (1u << 20), BASE, 7};
		p.n_heaps = 1;
	}
	for (unsigned i = 0; i < 30; i++) {
		uint64_t pc = p.heaps[0].low + (uint64_t)rand() % (1u << 20);
		const struct java_blob *b = java_blob_at(&p, env->memory, pc);
		struct java_blob made = {.addr = pc,
					 .kind = JAVA_COMPILED,
					 .code_begin = pc & ~255ull,
					 .scopes_pcs = BASE + (uint64_t)rand() % 4096,
					 .scopes_data = BASE + 4096,
					 .metadata = BASE + 8192,
					 .method = BASE};
		struct java_scope scopes[200];
		made.scopes_pcs_end = made.scopes_pcs + (uint64_t)rand() % 100000;
		if (b) {
			java_compiled_ids(&p, env, pc, i & 1, &ids);
			java_blobs_verify(&p, env->memory, &pc, 1);
		}
		size_t n = java_scopes(&p, env->memory, &made, pc, i & 1, scopes, 200);
		assert_true(n <= 200);
		for (size_t k = 0; k < n; k++)
			java_method_id(&p, env, scopes[k].method, scopes[k].bci);
		java_bci(&p, env->memory, BASE + (uint64_t)rand() % 65536, BASE);
		java_wait(&p, env, 1 + rand() % 200, &wait);
	}
	java_code_free(&p);
	java_methods_free(&p);
	java_threads_free(&p);
}

static void test_java_walks_of_hostile_memory_end(void **state)
{
	(void)state;
	srand(5);
	for (unsigned round = 0; round < 60; round++) {
		struct liar liar = random_liar();
		struct runtimes_counters counters = {0};
		unsigned frames = 0;
		struct runtimes_options opt = {.intern = count_frames, .ctx = &frames};
		struct runtime_env env = {.opt = &opt, .memory = target_memory_new(liar_read, &liar), .counters = &counters};
		struct java_layout layout;
		struct err err;
		target_memory_begin(env.memory, 1, NULL);
		check_java(&env, round & 1);
		java_layout_read(env.memory, hostile_symbol, NULL, &layout, &err);
		target_memory_free(env.memory);
	}
}

static uint64_t no_symbol(void *ctx, const char *name)
{
	(void)ctx;
	(void)name;
	return 0;
}

static void test_a_vm_that_does_not_describe_itself_is_refused_with_a_sentence(void **state)
{
	struct image im = {{0}};
	struct target_memory *m = target_memory_new(image_read, &im);
	struct java_layout l;
	struct err err = {0};

	(void)state;
	target_memory_begin(m, 1, NULL);
	assert_int_equal(java_layout_read(m, no_symbol, NULL, &l, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "does not describe"));
	target_memory_free(m);
}

/* ---- strings ---- */
static ssize_t read_str(const char *text, unsigned kind, bool ascii, size_t chars, uint64_t length, char *out, size_t len)
{
	static struct image im;
	struct target_memory *m = target_memory_new(image_read, &im);
	const struct python_layout *l = python_layout_known(0x030b);
	uint32_t state = kind << 2 | 1u << 5 | (ascii ? 1u << 6 : 0);
	ssize_t n;

	memset(&im, 0, sizeof im);
	memcpy(im.bytes + 16, &length, 8);
	memcpy(im.bytes + 32, &state, 4);
	memcpy(im.bytes + (ascii ? 48 : 72), text, chars * kind);
	target_memory_begin(m, 1, NULL);
	n = python_string(m, l, BASE, out, len);
	target_memory_free(m);
	return n;
}

static void test_strings_become_utf8_and_are_cut_visibly(void **state)
{
	char out[64];

	(void)state;
	assert_int_equal(read_str("main", 1, true, 4, 4, out, sizeof out), 4);
	assert_string_equal(out, "main");
	read_str("na\xefve", 1, false, 5, 5, out, sizeof out);
	assert_string_equal(out, "na\xc3\xafve");
	read_str("\x70\x65\x87\x5b", 2, false, 2, 2, out, sizeof out); /* U+6570 U+5B87 */
	assert_string_equal(out, "\xe6\x95\xb0\xe5\xae\x87");
	read_str("\x00\xdc", 2, false, 1, 1, out, sizeof out); /* a lone surrogate */
	assert_string_equal(out, "\xef\xbf\xbd");
	read_str("\x00\xf6\x01\x00", 4, false, 1, 1, out, sizeof out);
	assert_string_equal(out, "\xf0\x9f\x98\x80");
	read_str("abcdefghijklmnopqrst", 1, true, 20, 20, out, 16);
	assert_string_equal(out, "abcdefghi\xe2\x80\xa6");
	assert_true(read_str("x", 1, true, 1, 1ull << 40, out, sizeof out) < 0); /* impossible length */
	assert_true(read_str("xyz", 3, true, 1, 1, out, sizeof out) < 0);	 /* impossible kind */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_python_walks_of_hostile_memory_end),
		cmocka_unit_test(test_unknown_and_free_threaded_versions_are_refused_with_a_sentence),
		cmocka_unit_test(test_java_walks_of_hostile_memory_end),
		cmocka_unit_test(test_a_vm_that_does_not_describe_itself_is_refused_with_a_sentence),
		cmocka_unit_test(test_strings_become_utf8_and_are_cut_visibly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
