/* SPDX-License-Identifier: Apache-2.0
 *
 * The statistics of diff against counting by hand, and against their promises on random data.
 */
#include "aggregate/diff.h"
#include "tests/unit/diff_fixtures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void close_to(double a, double b, double within)
{
	if (!(fabs(a - b) <= within))
		fail_msg("%.9g is not %.9g", a, b);
}

static struct diff_stats compare(const double *base, size_t n, const double *fresh, size_t m, const uint32_t *blocks)
{
	struct diff_null null;
	struct diff_stats s;

	assert_int_equal(diff_null_init(&null, n, m), 0);
	assert_int_equal(diff_compare(&s, &null, base, fresh, blocks), 0);
	diff_null_fini(&null);
	return s;
}

/* Number of ways to choose which n of n+m ranks are the first sample's, with U <= u: every subset, counted. */
static double by_counting(unsigned n, unsigned m, unsigned u)
{
	unsigned all = 0, hits = 0;

	for (unsigned set = 0; set < 1u << (n + m); set++) {
		unsigned pairs = 0;
		if ((unsigned)__builtin_popcount(set) != n)
			continue;
		for (unsigned i = 0; i < n + m; i++)
			for (unsigned j = 0; j < i; j++)
				pairs += set >> i & 1 && !(set >> j & 1);
		all++;
		hits += pairs <= u;
	}
	return (double)hits / all;
}

static void test_mann_whitney_is_what_counting_all_orders_says(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 6; n++)
		for (unsigned m = 1; m <= 6; m++) {
			struct diff_null null;
			assert_int_equal(diff_null_init(&null, n, m), 0);
			for (unsigned u = 0; u <= n * m; u++)
				close_to(diff_mann_whitney(&null, u), by_counting(n, m, u), 1e-12);
			diff_null_fini(&null);
		}
}

static void test_normal_approximation_continues_the_exact_one(void **state)
{
	struct diff_null exact, approximate = {.n = 20, .m = 20};

	(void)state;
	assert_int_equal(diff_null_init(&exact, 20, 20), 0);
	for (unsigned u = 100; u <= 300; u += 10)
		close_to(diff_mann_whitney(&approximate, u), diff_mann_whitney(&exact, u), 0.003);
	diff_null_fini(&exact);
}

static void test_four_runs_a_side_can_decide_and_three_cannot(void **state)
{
	static const size_t rank[] = {[1] = 0, [2] = 0, [3] = 0, [4] = 1, [5] = 3};

	(void)state;
	for (size_t n = 1; n <= 5; n++) {
		struct diff_null null;
		diff_null_init(&null, n, n);
		assert_int_equal(null.rank, rank[n]);
		diff_null_fini(&null);
	}
}

static void test_fisher_is_what_the_hypergeometric_says(void **state)
{
	(void)state;
	close_to(diff_fisher(0, 5, 5, 5), 1.0 / 252, 1e-9);
	close_to(diff_fisher(0, 5, 4, 5), 5.0 / 210, 1e-9); /* C(5,4) C(5,0) / C(10,4) */
	close_to(diff_fisher(3, 5, 3, 5), 0.738095238, 1e-6);
	close_to(diff_fisher(0, 5, 0, 5), 1, 1e-9);
}

static void test_a_factor_is_found_and_is_the_same_seen_from_the_other_side(void **state)
{
	double base[5], fresh[5];

	(void)state;
	for (unsigned trial = 0; trial < 200; trial++) {
		double factor = exp(2 * fixture_normal()), scale = exp(5 * fixture_normal());
		struct diff_stats s, back;
		for (unsigned i = 0; i < 5; i++) {
			base[i] = scale * exp(0.01 * fixture_normal());
			fresh[i] = factor * base[i];
		}
		s = compare(base, 5, fresh, 5, NULL);
		close_to(s.ratio / factor, 1, 1e-9);
		assert_true(s.low <= s.ratio && s.ratio <= s.high);
		back = compare(fresh, 5, base, 5, NULL);
		close_to(back.ratio * s.ratio, 1, 1e-9);
		close_to(back.p_more, s.p_less, 1e-12);
	}
}

static void test_zeros_are_values(void **state)
{
	const double none[4] = {0}, some[4] = {1, 2, 3, 4};

	(void)state;
	assert_true(compare(none, 4, none, 4, NULL).ratio == 1);
	assert_true(isinf(compare(none, 4, some, 4, NULL).ratio));
	assert_true(compare(none, 4, some, 4, NULL).p_more < 0.02);
	assert_true(compare(some, 4, none, 4, NULL).ratio == 0);
	assert_true(compare(none, 4, none, 4, NULL).p_more > 0.3);
}

static void test_equal_counts_are_no_change(void **state)
{
	const double same[5] = {7, 7, 7, 7, 7};
	const uint32_t blocks[10] = {1, 1, 2, 2, 3, 1, 1, 2, 2, 3};
	struct diff_stats s = compare(same, 5, same, 5, blocks);

	(void)state;
	assert_true(s.ratio == 1 && s.p_more > 0.3 && s.p_less > 0.3);
}

static void test_one_outlying_run_changes_no_verdict(void **state)
{
	const double base[5] = {100, 101, 99, 100, 100}, wild[5] = {101, 100, 5000, 99, 100};
	struct diff_stats s = compare(base, 5, wild, 5, NULL);

	(void)state;
	assert_true(s.p_more > DIFF_ALPHA);
	close_to(s.ratio, 1, 0.011);
}

/* Times grow by a quarter while the runs go on: A B B A A B B A A B. */
static void test_drift_is_taken_out_where_blocks_are_known(void **state)
{
	static const unsigned side[10] = {0, 1, 1, 0, 0, 1, 1, 0, 0, 1};
	double v[2][5];
	uint32_t blocks[10];
	size_t n[2] = {0, 0};

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		blocks[side[i] * 5 + n[side[i]]] = i / 4 + 1;
		v[side[i]][n[side[i]]++] = 100 * (1 + 0.028 * i) * (side[i] ? 1.1 : 1);
	}
	assert_true(compare(v[0], 5, v[1], 5, NULL).p_more > DIFF_ALPHA);
	assert_true(compare(v[0], 5, v[1], 5, blocks).p_more <= DIFF_ALPHA);
	close_to(compare(v[0], 5, v[1], 5, blocks).ratio, 1.1, 0.03);
}

/* Blocks that hold one side only would swallow the difference. */
static void test_unbalanced_blocks_are_left_alone(void **state)
{
	const double base[4] = {100, 101, 102, 103}, fresh[4] = {200, 201, 202, 203};
	const uint32_t blocks[8] = {1, 1, 1, 1, 2, 2, 2, 2};

	(void)state;
	close_to(compare(base, 4, fresh, 4, blocks).ratio, 2, 0.05);
}

/* The promise of the verdict: noise of any shape alone looks like growth in at most DIFF_ALPHA of comparisons. */
static void test_noise_alone_rarely_looks_like_change(void **state)
{
	const unsigned trials = 20000;
	struct diff_null null;
	unsigned alarms = 0;

	(void)state;
	diff_null_init(&null, 5, 5);
	for (unsigned t = 0; t < trials; t++) {
		double v[10];
		struct diff_stats s;
		for (unsigned i = 0; i < 10; i++) /* now and then a run is disturbed for long */
			v[i] = exp(0.05 * fixture_normal()) * (fixture_uniform() < 0.1 ? 3 : 1);
		diff_compare(&s, &null, v, v + 5, NULL);
		alarms += s.p_more <= DIFF_ALPHA;
	}
	diff_null_fini(&null);
	assert_in_range(alarms, trials / 200, (unsigned)(trials * (DIFF_ALPHA + 0.002)));
}

/* And the interval holds the true factor in 1 - 2 alpha of them. */
static void test_the_interval_covers_the_true_factor(void **state)
{
	const unsigned trials = 5000;
	struct diff_null null;
	unsigned covered = 0;

	(void)state;
	diff_null_init(&null, 5, 5);
	for (unsigned t = 0; t < trials; t++) {
		double v[10];
		struct diff_stats s;
		for (unsigned i = 0; i < 10; i++)
			v[i] = exp(0.05 * fixture_normal()) * (i >= 5 ? 1.3 : 1);
		diff_compare(&s, &null, v, v + 5, NULL);
		covered += s.low <= 1.3 && 1.3 <= s.high;
	}
	diff_null_fini(&null);
	assert_true(covered >= (1 - 2 * DIFF_ALPHA - 0.01) * trials);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mann_whitney_is_what_counting_all_orders_says),
		cmocka_unit_test(test_normal_approximation_continues_the_exact_one),
		cmocka_unit_test(test_four_runs_a_side_can_decide_and_three_cannot),
		cmocka_unit_test(test_fisher_is_what_the_hypergeometric_says),
		cmocka_unit_test(test_a_factor_is_found_and_is_the_same_seen_from_the_other_side),
		cmocka_unit_test(test_zeros_are_values),
		cmocka_unit_test(test_equal_counts_are_no_change),
		cmocka_unit_test(test_one_outlying_run_changes_no_verdict),
		cmocka_unit_test(test_drift_is_taken_out_where_blocks_are_known),
		cmocka_unit_test(test_unbalanced_blocks_are_left_alone),
		cmocka_unit_test(test_noise_alone_rarely_looks_like_change),
		cmocka_unit_test(test_the_interval_covers_the_true_factor),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
