/* SPDX-License-Identifier: Apache-2.0
 *
 * The walkers' contract: what a walk gives when memory, registers, frames or rules run out, and how runtimes take part. The
 * targets (targets/unwind_blocked.c) block in a known stack. That the rules are right is test_unwind_oracle.c's business.
 */
#include "sampler/symbols/symbols.h"
#include "tests/unit/test_unwind_oracle.h"

#include <fcntl.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__x86_64__)
#define REG_PC 16
#define REG_SP 7
#define REG_FP 6
#else
#define REG_PC 32
#define REG_SP 31
#define REG_FP 29
#endif

#define FRAMES 64

/* ---- targets ---- */

struct target {
	pid_t pid;
	struct object_cache *cache;
	struct address_space *as;
	struct unwind_regs regs;
	struct unwind_memory mem;
	uint8_t stack[64 * 1024];
	uint64_t pcs[FRAMES], sps[FRAMES];
	size_t n;
	enum unwind_end end;
};

static void unwind_target(struct target *t, const struct unwind_provider *p)
{
	t->n = unwind_stack_with(t->as, UNWIND_NOW, &t->regs, &t->mem, p, t->pcs, t->sps, FRAMES, &t->end);
}

static void wait_blocked(pid_t pid)
{
	char path[64], text[64] = "";
	snprintf(path, sizeof path, "/proc/%d/syscall", (int)pid);
	while (strncmp(text, "0 ", 2) != 0 && strncmp(text, "63 ", 3) != 0) { /* read: x86-64, aarch64 */
		int fd = open(path, O_RDONLY);
		ssize_t n = read(fd, text, sizeof text - 1);
		assert_true(n > 0);
		text[n] = 0;
		close(fd);
	}
}

static char default_program[64], debug_frame_program[64]; /* "": no compiler */

/* Runs a target until it blocks under main -> target_outer -> (mode) -> target_inner -> target_leaf -> read, and stops it. */
static struct target *start_program(const char *program, const char *mode)
{
	static struct target t;
	int fds[2];
	char c;
	if (!program[0])
		skip();
	memset(&t, 0, sizeof t);
	assert_int_equal(pipe(fds), 0);
	t.pid = fork();
	assert_true(t.pid >= 0);
	if (t.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody behind */
		dup2(fds[1], 9);
		close(fds[0]);
		close(fds[1]);
		execl(program, program, mode, NULL);
		_exit(127);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 0); /* descriptor 9 was closed */
	close(fds[0]);
	wait_blocked(t.pid);
	t.cache = object_cache_new();
	t.as = address_space_new(t.cache, t.pid);
	assert_int_equal(address_space_scan(t.as, NULL), 0);
	assert_true(oracle_capture(t.pid, &t.regs, t.stack, sizeof t.stack, &t.mem));
	return &t;
}

static struct target *target_start(const char *mode)
{
	return start_program(default_program, mode ? mode : "none");
}

static void target_stop(struct target *t)
{
	kill(t->pid, SIGKILL);
	waitpid(t->pid, NULL, 0);
	address_space_free(t->as);
	object_cache_free(t->cache);
}

/* Index of the frame in the named function of this program, FRAMES when absent. */
static size_t frame_of(struct target *t, const char *function)
{
	for (size_t i = 0; i < t->n; i++) {
		struct code_location at;
		uint64_t vaddr, size;
		if (!address_space_locate(t->as, UNWIND_NOW, t->pcs[i], i > 0, &at) || !at.object)
			continue;
		if (object_find_symbol(at.object, function, &vaddr, &size) == 0 && at.vaddr >= vaddr && at.vaddr < vaddr + size)
			return i;
	}
	return FRAMES;
}

static void assert_whole_stack(struct target *t)
{
	size_t leaf = frame_of(t, "target_leaf");
	assert_int_equal(t->end, UNWIND_DONE);
	assert_int_equal(leaf, 1);
	assert_int_equal(frame_of(t, "target_inner"), 2);
	assert_in_range(frame_of(t, "target_outer"), 3, 4);
	assert_in_range(frame_of(t, "main"), 4, 5);
	assert_int_equal(frame_of(t, "_start"), t->n - 1);
}

/* ---- plain walks ---- */

static void test_stack_without_frame_pointers_is_whole(void **state)
{
	(void)state;
	struct target *t = target_start(NULL);
	unwind_target(t, NULL);
	assert_whole_stack(t);
	target_stop(t);
}

static void test_stack_is_whole_when_only_pc_and_sp_are_known(void **state)
{
	(void)state;
	struct target *t = target_start(NULL);
	t->regs.valid = 1ull << REG_PC | 1ull << REG_SP;
	for (int i = 0; i < 33; i++)
		if (!(t->regs.valid >> i & 1))
			t->regs.r[i] = 0xdeadbeef;
	unwind_target(t, NULL);
	assert_whole_stack(t);
	target_stop(t);
}

static void test_a_rule_that_needs_an_unknown_register_ends_the_walk(void **state)
{
	(void)state;
	struct target *t = target_start("dynamic");
	unwind_target(t, NULL);
	assert_whole_stack(t);
	t->regs.valid = 1ull << REG_PC | 1ull << REG_SP;
	unwind_target(t, NULL);
	assert_int_equal(t->end, UNWIND_NO_RULE);
	assert_int_equal(t->n, 4);
	assert_int_equal(frame_of(t, "target_dynamic"), 3);
	target_stop(t);
}

static void test_memory_of_the_live_process_serves_without_a_snapshot(void **state)
{
	(void)state;
	struct target *t = target_start(NULL);
	t->mem = (struct unwind_memory){.pid = t->pid};
	unwind_target(t, NULL);
	assert_whole_stack(t);
	target_stop(t);
}

static void test_cfa_of_each_frame_lies_above_its_return_address(void **state)
{
	(void)state;
	struct target *t = target_start(NULL);
	unwind_target(t, NULL);
	for (size_t i = 0; i + 1 < t->n; i++) {
		uint64_t ra;
		assert_true(i == 0 || t->sps[i] > t->sps[i - 1]);
#if defined(__x86_64__)
		assert_true(unwind_memory_read(&t->mem, t->sps[i] - 8, &ra, 8));
		assert_int_equal(ra, t->pcs[i + 1]);
#else
		(void)ra;
#endif
	}
	assert_int_equal(t->sps[t->n - 1], 0);
	target_stop(t);
}

static void test_a_cut_snapshot_is_told_as_truncated(void **state)
{
	(void)state;
	struct target *t = target_start(NULL);
	uint64_t whole[FRAMES];
	unwind_target(t, NULL);
	size_t n = t->n;
	memcpy(whole, t->pcs, sizeof whole);
	t->mem.stack_len = t->sps[3] - t->mem.stack_addr;
	unwind_target(t, NULL);
	assert_int_equal(t->end, UNWIND_TRUNCATED);
	assert_in_range(t->n, 4, n - 1);
	assert_memory_equal(t->pcs, whole, t->n * sizeof *whole);
	target_stop(t);
}

static void test_no_room_for_frames_is_told_as_truncated(void **state)
{
	(void)state;
	struct target *t = target_start(NULL);
	enum unwind_end end;
	uint64_t pcs[4] = {0, 0, 0, 77};
	assert_int_equal(unwind_stack(t->as, UNWIND_NOW, &t->regs, &t->mem, pcs, NULL, 3, &end), 3);
	assert_int_equal(end, UNWIND_TRUNCATED);
	assert_int_equal(pcs[3], 77);
	assert_int_equal(unwind_stack(t->as, UNWIND_NOW, &t->regs, &t->mem, pcs, NULL, 0, &end), 0);
	target_stop(t);
}

static void test_unknown_pc_gives_nothing_and_a_wild_pc_itself(void **state)
{
	(void)state;
	struct target *t = target_start(NULL);
	t->regs.r[REG_PC] = 0x1000;
	unwind_target(t, NULL);
	assert_int_equal(t->n, 1);
	assert_int_equal(t->end, UNWIND_NO_RULE);
	t->regs.valid &= ~(1ull << REG_PC);
	unwind_target(t, NULL);
	assert_int_equal(t->n, 0);
	assert_int_equal(t->end, UNWIND_NO_RULE);
	target_stop(t);
}

static void test_wild_stack_pointer_ends_the_walk(void **state)
{
	(void)state;
	struct target *t = target_start(NULL);
	t->regs.r[REG_SP] = 0x10;
	t->mem.pid = t->pid;
	unwind_target(t, NULL);
	assert_int_equal(t->n, 1);
	assert_int_equal(t->end, UNWIND_BAD_MEMORY);
	target_stop(t);
}

static void test_walks_repeat_after_the_caches_are_warm_and_for_older_times(void **state)
{
	(void)state;
	struct target *t = target_start(NULL);
	uint64_t first[FRAMES];
	unwind_target(t, NULL);
	size_t n = t->n;
	memcpy(first, t->pcs, sizeof first);
	/* A mapping from the future makes the time of the walk an older one: another path through the caches. */
	address_space_map(
		t->as,
		&(struct mapping_info){.start = 0x10000, .end = 0x11000, .since_ns = 1000, .path = "//anon", .executable = true});
	for (uint64_t time = 500; time <= 2000; time += 500) {
		t->n = unwind_stack(t->as, time, &t->regs, &t->mem, t->pcs, NULL, FRAMES, &t->end);
		assert_int_equal(t->n, n);
		assert_memory_equal(t->pcs, first, n * sizeof *first);
	}
	target_stop(t);
}

/* ---- code without a file ---- */

#if defined(__x86_64__)

static bool is_generated(struct target *t, uint64_t pc)
{
	struct code_location at;
	return address_space_locate(t->as, UNWIND_NOW, pc, true, &at) && strcmp(at.module, "[anon]") == 0;
}

static void test_anonymous_code_is_stepped_by_frame_pointer(void **state)
{
	(void)state;
	struct target *t = target_start("frame-pointer");
	unwind_target(t, NULL);
	assert_whole_stack(t);
	assert_true(is_generated(t, t->pcs[3]));
	target_stop(t);
}

static void test_anonymous_code_without_frame_pointer_ends_the_walk(void **state)
{
	(void)state;
	struct target *t = target_start("no-frame-pointer");
	unwind_target(t, NULL);
	assert_int_equal(t->n, 4);
	assert_true(is_generated(t, t->pcs[3]));
	assert_int_equal(frame_of(t, "target_outer"), FRAMES);
	target_stop(t);
}

struct runtime {
	enum unwind_step answer;
	uint64_t advance;
	size_t asked;
	uint64_t last_pc;
};

static enum unwind_step step_jit(void *ctx, uint64_t *pc, uint64_t *sp, uint64_t *fp, const struct unwind_memory *mem)
{
	struct runtime *r = ctx;
	r->asked++;
	r->last_pc = *pc;
	if (r->answer != UNWIND_STEP_OK)
		return r->answer;
	assert_true(unwind_memory_read(mem, *sp + 32, fp, 8));
	assert_true(unwind_memory_read(mem, *sp + 40, pc, 8));
	*sp += r->advance;
	return UNWIND_STEP_OK;
}

static void test_provider_steps_its_frames_and_native_unwinding_goes_on(void **state)
{
	(void)state;
	struct target *t = target_start("no-frame-pointer");
	struct runtime r = {UNWIND_STEP_OK, 48, 0, 0};
	unwind_target(t, &(struct unwind_provider){.ctx = &r, .step = step_jit});
	assert_whole_stack(t);
	assert_int_equal(r.asked, 1);
	assert_int_equal(r.last_pc, t->pcs[3]);
	target_stop(t);
}

static void test_provider_may_end_the_walk_decline_or_fail_to_advance(void **state)
{
	(void)state;
	struct target *t = target_start("no-frame-pointer");
	struct runtime end = {UNWIND_STEP_END, 0, 0, 0}, decline = {UNWIND_STEP_NOT_MINE, 0, 0, 0},
		       stuck = {UNWIND_STEP_OK, 0, 0, 0};
	unwind_target(t, &(struct unwind_provider){.ctx = &end, .step = step_jit});
	assert_int_equal(t->end, UNWIND_DONE);
	assert_int_equal(t->n, 4);
	unwind_target(t, &(struct unwind_provider){.ctx = &decline, .step = step_jit});
	assert_int_equal(decline.asked, 1);
	assert_int_equal(t->n, 4); /* rbp is 0 */
	unwind_target(t, &(struct unwind_provider){.ctx = &stuck, .step = step_jit});
	assert_int_equal(t->end, UNWIND_NO_RULE);
	assert_int_equal(t->n, 4);
	target_stop(t);
}

static void test_provider_claims_parts_of_a_file(void **state)
{
	(void)state;
	struct target *t = target_start(NULL);
	struct runtime r = {UNWIND_STEP_END, 0, 0, 0};
	unwind_target(t, NULL);
	size_t inner = frame_of(t, "target_inner");
	struct unwind_region region = {t->pcs[inner] - 1, t->pcs[inner]}; /* a return address is looked up at its call */
	unwind_target(t, &(struct unwind_provider){.ctx = &r, .step = step_jit, .regions = &region, .n_regions = 1});
	assert_int_equal(r.asked, 1);
	assert_int_equal(t->n, inner + 1);
	assert_int_equal(t->end, UNWIND_DONE);
	target_stop(t);
}

#endif

/* ---- files with .debug_frame only ---- */

static void test_debug_frame_serves_where_there_is_no_eh_frame(void **state)
{
	(void)state;
	struct target *t = start_program(debug_frame_program, "none");
	unwind_target(t, NULL);
	assert_whole_stack(t);
	target_stop(t);
}

static int build_targets(void **state)
{
	(void)state;
	if (!target_build("cc", "-O2 -fomit-frame-pointer", "unwind_blocked.c", default_program) ||
	    !target_build("cc", "-O2 -g -fomit-frame-pointer -fno-unwind-tables -fno-asynchronous-unwind-tables",
			  "unwind_blocked.c", debug_frame_program)) {
		print_message("no working cc: nothing is tested\n");
		default_program[0] = debug_frame_program[0] = 0;
	}
	return 0;
}

static int remove_targets(void **state)
{
	(void)state;
	if (default_program[0])
		target_remove(default_program);
	if (debug_frame_program[0])
		target_remove(debug_frame_program);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stack_without_frame_pointers_is_whole),
		cmocka_unit_test(test_stack_is_whole_when_only_pc_and_sp_are_known),
		cmocka_unit_test(test_a_rule_that_needs_an_unknown_register_ends_the_walk),
		cmocka_unit_test(test_memory_of_the_live_process_serves_without_a_snapshot),
		cmocka_unit_test(test_cfa_of_each_frame_lies_above_its_return_address),
		cmocka_unit_test(test_a_cut_snapshot_is_told_as_truncated),
		cmocka_unit_test(test_no_room_for_frames_is_told_as_truncated),
		cmocka_unit_test(test_unknown_pc_gives_nothing_and_a_wild_pc_itself),
		cmocka_unit_test(test_wild_stack_pointer_ends_the_walk),
		cmocka_unit_test(test_walks_repeat_after_the_caches_are_warm_and_for_older_times),
#if defined(__x86_64__)
		cmocka_unit_test(test_anonymous_code_is_stepped_by_frame_pointer),
		cmocka_unit_test(test_anonymous_code_without_frame_pointer_ends_the_walk),
		cmocka_unit_test(test_provider_steps_its_frames_and_native_unwinding_goes_on),
		cmocka_unit_test(test_provider_may_end_the_walk_decline_or_fail_to_advance),
		cmocka_unit_test(test_provider_claims_parts_of_a_file),
#endif
		cmocka_unit_test(test_debug_frame_serves_where_there_is_no_eh_frame),
	};
	return cmocka_run_group_tests(tests, build_targets, remove_targets);
}
