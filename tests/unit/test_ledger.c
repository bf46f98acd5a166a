/* SPDX-License-Identifier: Apache-2.0
 *
 * One thread's time: every nanosecond counted once, whatever is told. */
#include "aggregate/account.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct ev_wait wait_of(enum wait_class cls, uint64_t wake, uint64_t run)
{
	return (struct ev_wait){.tid = 1, .cls = cls, .t_wake = wake, .t_run = run};
}

static void assert_conserved(const struct account *a)
{
	assert_int_equal(ledger_sum(&a->ledger), a->cursor_ns - a->started_ns);
}

static void test_a_plain_wait_splits_into_run_blocked_and_run_queue(void **state)
{
	(void)state;
	struct account a;
	account_start(&a, 1000);
	struct ev_wait w = wait_of(WC_PIPE_READ, 1500, 1520);
	struct account_step s = account_wait(&a, 1100, &w);
	assert_int_equal(a.ledger.on_cpu_ns, 100);
	assert_int_equal(a.ledger.blocked_ns[WC_PIPE_READ], 400);
	assert_int_equal(a.ledger.run_queue_ns, 20);
	assert_int_equal(a.ledger.waits, 1);
	assert_int_equal(s.out, 1100);
	assert_int_equal(s.run, 1520);
	assert_conserved(&a);
}

static void test_wakeup_before_switch_out_is_run_queue_time_only(void **state)
{
	(void)state;
	struct account a;
	account_start(&a, 1000);
	struct ev_wait w = wait_of(WC_FUTEX, 1050, 1130); /* woken before it left the CPU */
	account_wait(&a, 1100, &w);
	assert_int_equal(a.ledger.blocked_ns[WC_FUTEX], 0);
	assert_int_equal(a.ledger.run_queue_ns, 30);
	assert_int_equal(a.ledger.on_cpu_ns, 100);
	assert_conserved(&a);
}

static void test_wake_after_run_is_cut(void **state)
{
	(void)state;
	struct account a;
	account_start(&a, 0);
	struct ev_wait w = wait_of(WC_FUTEX, 900, 800);
	account_wait(&a, 500, &w);
	assert_int_equal(a.ledger.blocked_ns[WC_FUTEX], 300);
	assert_int_equal(a.ledger.run_queue_ns, 0);
	assert_conserved(&a);
}

static void test_a_wait_told_twice_counts_once(void **state)
{
	(void)state;
	struct account a;
	account_start(&a, 0);
	struct ev_wait w = wait_of(WC_SLEEP, 300, 310);
	account_wait(&a, 100, &w);
	account_wait(&a, 100, &w);
	assert_int_equal(a.ledger.blocked_ns[WC_SLEEP], 200);
	assert_int_equal(a.cursor_ns, 310);
	assert_conserved(&a);
}

static void test_overlapping_waits_are_cut_at_the_cursor(void **state)
{
	(void)state;
	struct account a;
	account_start(&a, 0);
	struct ev_wait w = wait_of(WC_SLEEP, 300, 300), v = wait_of(WC_FUTEX, 400, 450);
	account_wait(&a, 100, &w);
	account_wait(&a, 200, &v); /* claims [200, 400), of which [200, 300) is taken */
	assert_int_equal(a.ledger.blocked_ns[WC_SLEEP], 200);
	assert_int_equal(a.ledger.blocked_ns[WC_FUTEX], 100);
	assert_int_equal(a.ledger.run_queue_ns, 50);
	assert_conserved(&a);
}

static void test_folded_preemptions_come_out_of_the_running_time(void **state)
{
	(void)state;
	struct account a;
	account_start(&a, 0);
	struct ev_wait w = wait_of(WC_PIPE_READ, 2000, 2000);
	w.folded_count = 3;
	w.folded_ns = 250;
	account_wait(&a, 1000, &w);
	assert_int_equal(a.ledger.on_cpu_ns, 750);
	assert_int_equal(a.ledger.run_queue_ns, 250);
	assert_int_equal(a.ledger.preemptions, 3);
	assert_conserved(&a);
}

static void test_more_folded_time_than_gap_is_cut(void **state)
{
	(void)state;
	struct account a;
	account_start(&a, 0);
	struct ev_wait w = wait_of(WC_PIPE_READ, 200, 200);
	w.folded_ns = 5000;
	account_wait(&a, 100, &w);
	assert_int_equal(a.ledger.on_cpu_ns, 0);
	assert_int_equal(a.ledger.run_queue_ns, 100);
	assert_conserved(&a);
}

static void test_lost_waits_are_placed_in_the_next_gap(void **state)
{
	(void)state;
	struct account a;
	account_start(&a, 0);
	struct ev_wait lost = wait_of(WC_OTHER, 60, 80);
	lost.lost = 1;
	lost.lost_count = 7;
	account_wait(&a, 10, &lost);
	assert_int_equal(a.cursor_ns, 0);
	struct ev_wait w = wait_of(WC_SLEEP, 1000, 1000);
	account_wait(&a, 100, &w);
	assert_int_equal(a.ledger.lost_ns, 70);
	assert_int_equal(a.ledger.on_cpu_ns, 30);
	assert_int_equal(a.ledger.waits, 8);
	assert_conserved(&a);
}

static void test_lost_time_beyond_one_gap_goes_into_the_next(void **state)
{
	(void)state;
	struct account a;
	account_start(&a, 0);
	struct ev_wait lost = wait_of(WC_OTHER, 150, 150), w = wait_of(WC_SLEEP, 200, 200);
	lost.lost = 1;
	account_wait(&a, 0, &lost);
	account_wait(&a, 100, &w);
	assert_int_equal(a.ledger.lost_ns, 100);
	account_run_until(&a, 300);
	assert_int_equal(a.ledger.lost_ns, 150);
	assert_int_equal(a.ledger.on_cpu_ns, 50);
	assert_conserved(&a);
}

static void test_backdating_adds_running_time_and_never_takes_any(void **state)
{
	(void)state;
	struct account a;
	account_start(&a, 1000);
	account_backdate(&a, 900);
	assert_int_equal(a.ledger.on_cpu_ns, 100);
	account_backdate(&a, 950);
	assert_int_equal(a.started_ns, 900);
	assert_conserved(&a);
}

static void test_running_until_an_earlier_moment_changes_nothing(void **state)
{
	(void)state;
	struct account a;
	account_start(&a, 1000);
	account_run_until(&a, 500);
	assert_int_equal(a.cursor_ns, 1000);
	assert_int_equal(ledger_sum(&a.ledger), 0);
}

static void test_any_sequence_conserves_time(void **state)
{
	(void)state;
	uint64_t seed = 88172645463325252ull;
	for (int round = 0; round < 2000; round++) {
		struct account a;
		account_start(&a, 1000000);
		for (int i = 0; i < 50; i++) {
			uint64_t r[6];
			for (int k = 0; k < 6; k++) {
				seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
				r[k] = seed;
			}
			struct ev_wait w =
				wait_of(r[0] % WC_COUNT, 1000000 + r[1] % 5000 + i * 500, 1000000 + r[2] % 5000 + i * 500);
			w.folded_ns = r[3] % 3 ? 0 : r[3] % 2000;
			w.lost = r[4] % 17 == 0;
			if (r[4] % 29 == 0)
				account_run_until(&a, 1000000 + r[5] % 30000);
			uint64_t before = a.cursor_ns;
			struct account_step s = account_wait(&a, 1000000 + r[5] % 5000 + i * 500, &w);
			assert_true(s.from == before && s.from <= s.out && s.out <= s.wake && s.wake <= s.run &&
				    s.run == a.cursor_ns);
			assert_true(s.gap_lost_ns + s.gap_run_queue_ns <= s.out - s.from);
			assert_conserved(&a);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_plain_wait_splits_into_run_blocked_and_run_queue),
		cmocka_unit_test(test_wakeup_before_switch_out_is_run_queue_time_only),
		cmocka_unit_test(test_wake_after_run_is_cut),
		cmocka_unit_test(test_a_wait_told_twice_counts_once),
		cmocka_unit_test(test_overlapping_waits_are_cut_at_the_cursor),
		cmocka_unit_test(test_folded_preemptions_come_out_of_the_running_time),
		cmocka_unit_test(test_more_folded_time_than_gap_is_cut),
		cmocka_unit_test(test_lost_waits_are_placed_in_the_next_gap),
		cmocka_unit_test(test_lost_time_beyond_one_gap_goes_into_the_next),
		cmocka_unit_test(test_backdating_adds_running_time_and_never_takes_any),
		cmocka_unit_test(test_running_until_an_earlier_moment_changes_nothing),
		cmocka_unit_test(test_any_sequence_conserves_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
