/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregate/hist.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_every_bucket_starts_where_the_one_before_ends(void **state)
{
	(void)state;
	for (unsigned b = 0; b < HIST_BUCKETS; b++) {
		assert_int_equal(hist_bucket(hist_bucket_low(b)), b);
		if (b + 1 < HIST_BUCKETS)
			assert_int_equal(hist_bucket(hist_bucket_low(b + 1) - 1), b);
	}
	assert_int_equal(hist_bucket_low(HIST_BUCKETS), 1ull << 42);
}

static void test_values_beyond_the_range_fall_into_the_last_bucket(void **state)
{
	(void)state;
	assert_int_equal(hist_bucket(1ull << 42), HIST_BUCKETS - 1);
	assert_int_equal(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1);
}

static void test_quantile_is_within_half_a_bucket(void **state)
{
	(void)state;
	for (uint64_t v = 1; v < 1ull << 41; v = v * 3 + 1) {
		struct hist h = {0};
		hist_add(&h, v, 1000);
		double q = hist_quantile(&h, 0.5);
		assert_true(fabs(q - (double)v) <= 0.125 * (double)v + 0.5);
	}
}

static void test_quantile_of_a_uniform_spread(void **state)
{
	(void)state;
	struct hist h = {0};
	for (unsigned v = 1; v <= 100000; v++)
		hist_add(&h, v, 1);
	assert_true(fabs(hist_quantile(&h, 0.5) - 50000) < 500);
	assert_true(fabs(hist_quantile(&h, 0.99) - 99000) < 0.125 * 99000); /* the last bucket is half empty */
	assert_true(hist_quantile(&h, 0) >= 1 && hist_quantile(&h, 0) < 2);
	assert_true(hist_quantile(&h, 1) >= 100000);
}

static void test_empty_and_nan_are_zero(void **state)
{
	(void)state;
	struct hist h = {0};
	struct size_hist s = {0};
	assert_true(hist_quantile(&h, 0.5) == 0);
	assert_true(size_hist_quantile(&s, 0.5) == 0);
	hist_add(&h, 3, 1);
	assert_true(hist_quantile(&h, NAN) == 3);
}

static void test_counts_saturate(void **state)
{
	(void)state;
	struct hist h = {0}, g = {0};
	hist_add(&h, 9, UINT32_MAX);
	hist_add(&h, 9, 5);
	assert_int_equal(h.n[hist_bucket(9)], UINT32_MAX);
	hist_merge(&g, &h);
	hist_merge(&g, &h);
	assert_int_equal(g.n[hist_bucket(9)], UINT32_MAX);
}

static void test_few_sizes_are_exact(void **state)
{
	(void)state;
	struct size_hist s = {0};
	size_hist_add(&s, 200, 990);
	size_hist_add(&s, 4097, 10);
	assert_true(size_hist_quantile(&s, 0.5) == 200);
	assert_true(size_hist_quantile(&s, 0.99) == 200);
	assert_true(size_hist_quantile(&s, 0.995) == 4097);
	assert_int_equal(s.total_count, 1000);
	assert_int_equal(s.total_bytes, 990 * 200 + 10 * 4097);
}

static void test_many_sizes_fall_back_to_octaves_and_keep_the_totals(void **state)
{
	(void)state;
	struct size_hist s = {0}, merged = {0};
	uint64_t bytes = 0;
	for (uint32_t v = 1; v <= 10000; v++) {
		size_hist_add(&s, v, 2);
		bytes += 2ull * v;
	}
	assert_int_equal(s.n_exact, SIZE_HIST_EXACT);
	double q = size_hist_quantile(&s, 0.5);
	assert_true(q > 2500 && q < 10000);
	size_hist_merge(&merged, &s);
	size_hist_merge(&merged, &s);
	assert_int_equal(merged.total_count, 40000);
	assert_int_equal(merged.total_bytes, 2 * bytes);
	assert_true(fabs(size_hist_quantile(&merged, 0.5) - q) < 1);
}

static void test_the_largest_size_has_a_bucket(void **state)
{
	(void)state;
	struct size_hist s = {0};
	for (uint32_t v = 0; v < SIZE_HIST_EXACT; v++)
		size_hist_add(&s, v, 1);
	size_hist_add(&s, UINT32_MAX, 1);
	assert_int_equal(s.log2[32], 1);
	assert_true(size_hist_quantile(&s, 1) >= 2147483648.0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_bucket_starts_where_the_one_before_ends),
	    cmocka_unit_test(test_values_beyond_the_range_fall_into_the_last_bucket),
	    cmocka_unit_test(test_quantile_is_within_half_a_bucket),
	    cmocka_unit_test(test_quantile_of_a_uniform_spread),
	    cmocka_unit_test(test_empty_and_nan_are_zero),
	    cmocka_unit_test(test_counts_saturate),
	    cmocka_unit_test(test_few_sizes_are_exact),
	    cmocka_unit_test(test_many_sizes_fall_back_to_octaves_and_keep_the_totals),
	    cmocka_unit_test(test_the_largest_size_has_a_bucket),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
