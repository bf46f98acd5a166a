/* SPDX-License-Identifier: Apache-2.0
 *
 * Line tables and the splice. Lines: every code object of a few library modules, at every instruction, against the
 * interpreter's own answer, for each interpreter at hand. Splice: hand-made stacks, and random ones that must lose no frame
 * and keep both orders.
 */
#include "sampler/runtime/java.h"
#include "sampler/runtime/python.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Prints, per code object: "code FIRST_LINE HEX" and the line of each instruction. */
static const char lines_program[] = "import dis, sys, types, ast, threading, argparse, collections, inspect, random, typing\n"
				    "v = sys.version_info[:2]\n"
				    "def codes(c):\n"
				    "    yield c\n"
				    "    for k in c.co_consts:\n"
				    "        if isinstance(k, types.CodeType): yield from codes(k)\n"
				    "def expected(c):\n"
				    "    n = len(c.co_code)\n"
				    "    lines = [c.co_firstlineno] * n\n"
				    "    if v >= (3, 10):\n"
				    "        lines = [0] * n\n"
				    "        for s, e, l in c.co_lines():\n"
				    "            for i in range(s, min(e, n)): lines[i] = l or 0\n"
				    "    else:\n"
				    "        for s, l in dis.findlinestarts(c):\n"
				    "            for i in range(s, n): lines[i] = l\n"
				    "    return lines\n"
				    "for m in (ast, threading, argparse, collections, inspect, random, typing):\n"
				    "    src = open(m.__file__, encoding='utf-8').read()\n"
				    "    for c in codes(compile(src, m.__file__, 'exec')):\n"
				    "        t = c.co_lnotab if v < (3, 10) else c.co_linetable\n"
				    "        print('code', c.co_firstlineno, t.hex() or '-')\n"
				    "        l = expected(c)\n"
				    "        for i in range(0, len(l), 2): print(i, l[i])\n";

static unsigned hex_bytes(const char *hex, uint8_t *out, unsigned max)
{
	unsigned n = 0, b;

	for (; n < max && sscanf(hex + 2 * n, "%2x", &b) == 1; n++)
		out[n] = (uint8_t)b;
	return n;
}

static void check_lines(const char *python)
{
	static char line[1 << 20], hex[1 << 20];
	static uint8_t table[1 << 19];
	unsigned n_table = 0, first = 0, codes = 0, wrong = 0, minor = 0;
	enum python_lines kind = PYTHON_LOCATIONS;
	unsigned long checked = 0;
	char command[8192];
	FILE *f;

	snprintf(command, sizeof command, "%s -c 'import sys; print(sys.version_info[1])'", python);
	f = popen(command, "r");
	assert_int_equal(fscanf(f, "%u", &minor), 1);
	pclose(f);
	if (minor < 8)
		return;
	kind = minor < 10 ? PYTHON_LNOTAB : minor == 10 ? PYTHON_LINETABLE_310 : PYTHON_LOCATIONS;
	snprintf(command, sizeof command, "%s -c \"%s\"", python, lines_program);
	f = popen(command, "r");
	while (fgets(line, sizeof line, f)) {
		long offset;
		unsigned want;
		if (sscanf(line, "code %u %1048575s", &first, hex) == 2) {
			n_table = hex[0] == '-' ? 0 : hex_bytes(hex, table, sizeof table);
			codes++;
		} else if (sscanf(line, "%ld %u", &offset, &want) == 2) {
			checked++;
			if (python_line(kind, table, n_table, first, offset) != want)
				wrong++;
		}
	}
	assert_int_equal(pclose(f), 0);
	print_message("%s: %u code objects, %lu instructions, %u wrong\n", python, codes, checked, wrong);
	assert_true(codes > 300);
	assert_int_equal(wrong, 0);
}

static void test_lines_equal_those_that_the_interpreter_tells(void **state)
{
	char pattern[4096];
	glob_t g;

	(void)state;
	glob("/usr/bin/python3", 0, NULL, &g);
	snprintf(pattern, sizeof pattern, "%s/.pyenv/versions/3.*/bin/python3", getenv("HOME") ? getenv("HOME") : "/nowhere");
	glob(pattern, GLOB_APPEND, NULL, &g);
	if (!g.gl_pathc)
		skip();
	for (size_t i = 0; i < g.gl_pathc; i++)
		check_lines(g.gl_pathv[i]);
	globfree(&g);
}

static void test_hostile_line_tables_end(void **state)
{
	uint8_t bytes[256];

	(void)state;
	srand(7);
	for (unsigned round = 0; round < 20000; round++) {
		size_t n = (size_t)rand() % sizeof bytes;
		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)rand();
		for (int kind = PYTHON_LNOTAB; kind <= PYTHON_LOCATIONS; kind++)
			python_line((enum python_lines)kind, bytes, n, 1, rand() % 1024 - 2);
		java_line(bytes, n, rand() % 256, rand() % 2);
	}
}

static void test_unsigned5_decodes_both_encodings(void **state)
{
	const uint8_t old[] = {0x05, 0xc0, 0x00, 0xff, 0x01}, new[] = {0x06, 0xc0, 0x01};
	size_t at = 0;

	(void)state;
	assert_int_equal(java_unsigned5(old, sizeof old, &at, 0), 5);
	assert_int_equal(java_unsigned5(old, sizeof old, &at, 0), 192);
	assert_int_equal(java_unsigned5(old, sizeof old, &at, 0), 255 + (1 << 6));
	assert_int_equal(at, 5);
	at = 0;
	assert_int_equal(java_unsigned5(new, sizeof new, &at, 1), 5);
	assert_int_equal(java_unsigned5(new, sizeof new, &at, 1), 191);
}

/* ---- the splice ---- */
#define EVAL 0x1000ull /* pcs in [EVAL, EVAL + 0x100) are eval frames */
static const struct python_range eval_range = {EVAL, EVAL + 0x100};

struct spliced {
	struct python_merged out[64];
	size_t n;
	bool unmerged;
};

static struct spliced splice(const uint64_t *pcs, const uint64_t *sps, size_t n, bool truncated, const uint64_t *pairs,
			     size_t n_pairs)
{
	struct python_native native = {pcs, sps, n, truncated};
	struct spliced s;

	s.n = python_merge(&eval_range, 1, &native, pairs, n_pairs, false, s.out, 64, &s.unmerged);
	return s;
}

#define PY(i) (SIZE_MAX - (i))
/* want: a native index, or PY(pair). */
static void expect(const struct spliced *s, const size_t *want, size_t n)
{
	assert_int_equal(s->n, n);
	for (size_t i = 0; i < n; i++) {
		if (want[i] > 1000)
			assert_int_equal(s->out[i].pair, SIZE_MAX - want[i]);
		else
			assert_int_equal(s->out[i].native, want[i]);
	}
}

static void test_frames_that_share_a_c_frame_stand_together(void **state)
{
	/* 3.11: read <- eval (b, a) <- map <- eval (main) */
	const uint64_t pcs[] = {0x10, EVAL + 8, 0x20, EVAL + 9, 0x30}, sps[] = {100, 200, 300, 400, 0};
	const uint64_t pairs[] = {0x100, 1, 0x200 | PYTHON_PAIR_ENTRY, 2, 0x300 | PYTHON_PAIR_ENTRY, 3};
	const size_t want[] = {0, PY(0), PY(1), 2, PY(2), 4};

	(void)state;
	struct spliced s = splice(pcs, sps, 5, false, pairs, 3);
	assert_false(s.unmerged);
	expect(&s, want, 6);
}

static void test_a_return_address_at_the_end_of_the_function_belongs_to_it(void **state)
{
	/* A call that never returns may be the function's last instruction; the ip itself is no return address. */
	const uint64_t pcs[] = {EVAL + 0x100, EVAL + 0x100, 0x30}, sps[] = {100, 200, 0};
	const uint64_t pairs[] = {0x100 | PYTHON_PAIR_ENTRY, 1};
	const size_t want[] = {0, PY(0), 2};

	(void)state;
	struct spliced s = splice(pcs, sps, 3, false, pairs, 1);
	assert_false(s.unmerged);
	expect(&s, want, 3);
}

static void test_marks_find_an_eval_frame_outside_of_the_known_code(void **state)
{
	/* 3.12: the second eval frame's pc is in a .cold part that no symbol tells; its mark at 350 lies in it. */
	const uint64_t pcs[] = {0x10, EVAL + 8, 0x20, 0x9999, 0x30}, sps[] = {100, 200, 300, 400, 0};
	const uint64_t pairs[] = {0x100, 1, PYTHON_PAIR_SHIM, 150, 0x300, 3, PYTHON_PAIR_SHIM, 350};
	const size_t want[] = {0, PY(0), 2, PY(2), 4};

	(void)state;
	struct spliced s = splice(pcs, sps, 5, false, pairs, 4);
	assert_false(s.unmerged);
	expect(&s, want, 5);
}

static void test_a_thread_states_base_mark_is_no_frame(void **state)
{
	const uint64_t pcs[] = {0x10, EVAL + 8, 0x30}, sps[] = {100, 200, 0};
	const uint64_t pairs[] = {0x100, 1, PYTHON_PAIR_SHIM, 150, PYTHON_PAIR_SHIM, 0x7f0000000000};
	const size_t want[] = {0, PY(0), 2};

	(void)state;
	struct spliced s = splice(pcs, sps, 3, false, pairs, 3);
	assert_false(s.unmerged);
	expect(&s, want, 3);
}

static void test_a_mismatch_loses_nothing_and_says_so(void **state)
{
	const uint64_t pcs[] = {0x10, EVAL + 8, 0x30}, sps[] = {100, 200, 0};
	const uint64_t pairs[] = {0x100 | PYTHON_PAIR_ENTRY, 1, 0x200 | PYTHON_PAIR_ENTRY, 2};
	const size_t want[] = {0, PY(0), PY(1), 2};

	(void)state;
	struct spliced s = splice(pcs, sps, 3, false, pairs, 2);
	assert_true(s.unmerged);
	expect(&s, want, 4);
	s = splice(pcs, sps, 3, true, pairs, 2); /* the native stack was cut: no surprise */
	assert_false(s.unmerged);
	s = splice(pcs, sps, 3, false, pairs, 0);
	assert_true(s.unmerged);
	assert_int_equal(s.n, 3);
}

/* Random stacks: every Python frame once, in order; every native frame in order, eval frames at most dropped. */
static void test_any_splice_keeps_all_frames_in_order(void **state)
{
	(void)state;
	srand(11);
	for (unsigned round = 0; round < 50000; round++) {
		uint64_t pcs[16], sps[16], pairs[32];
		size_t n = 1 + (size_t)rand() % 15, n_pairs = (size_t)rand() % 16, python = 0, real = 0, last_native = 0,
		       last_pair = 0;
		for (size_t i = 0; i < n; i++) {
			pcs[i] = rand() % 2 ? EVAL + 8 : 0x10;
			sps[i] = i + 1 < n || rand() % 2 ? 100 * (i + 1) : 0;
		}
		for (size_t i = 0; i < n_pairs; i++) {
			int flags = rand() % 4;
			pairs[2 * i] = 0x100 | (flags == 1 ? PYTHON_PAIR_ENTRY : flags == 2 ? PYTHON_PAIR_SHIM : 0);
			pairs[2 * i + 1] = (uint64_t)rand() % 1700;
			real += flags != 2;
		}
		struct spliced s = splice(pcs, rand() % 4 ? sps : NULL, n, rand() % 2, pairs, n_pairs);
		for (size_t i = 0; i < s.n; i++) {
			if (s.out[i].pair != SIZE_MAX) {
				assert_true(!python || s.out[i].pair > last_pair);
				last_pair = s.out[i].pair;
				python++;
			} else {
				assert_true(i == 0 || s.out[i].native >= last_native);
				last_native = s.out[i].native;
			}
		}
		assert_int_equal(python, real);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_equal_those_that_the_interpreter_tells),
		cmocka_unit_test(test_hostile_line_tables_end),
		cmocka_unit_test(test_unsigned5_decodes_both_encodings),
		cmocka_unit_test(test_frames_that_share_a_c_frame_stand_together),
		cmocka_unit_test(test_a_return_address_at_the_end_of_the_function_belongs_to_it),
		cmocka_unit_test(test_marks_find_an_eval_frame_outside_of_the_known_code),
		cmocka_unit_test(test_a_thread_states_base_mark_is_no_frame),
		cmocka_unit_test(test_a_mismatch_loses_nothing_and_says_so),
		cmocka_unit_test(test_any_splice_keeps_all_frames_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
