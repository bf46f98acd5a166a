/* SPDX-License-Identifier: Apache-2.0
 *
 * How sure a change is. In: a value per run of either side; out: effect, interval, probability.
 *
 * Mann-Whitney's rank test, exact, with the Hodges-Lehmann estimate and its interval from the same distribution (Lehmann,
 * Nonparametrics, 1975, ch. 2): nothing is assumed of how times are distributed, one outlying run moves nothing, and with the five
 * runs a side that people can afford the probabilities are right. Bootstrapped intervals were the alternative: they resample five
 * values, are too narrow for so few, and cry wolf. The ratio is taken on logarithms, since noise of times is multiplicative.
 *
 * Drift: where the runs were interleaved in blocks (A B B A), each block's mean is taken out first (Hodges and Lehmann's aligned
 * ranks, 1962): what the machine did to the whole block hits both sides alike.
 */
#include "aggregate/diff.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Above this the normal approximation is off by less than 0.003. */
#define EXACT_MAX 20

/* P(U <= u) for all u of n and m values without ties: the largest of all is one of n with probability n/(n+m), and then exceeds m
 * values: P(n,m,u) = n/(n+m) P(n-1,m,u-m) + m/(n+m) P(n,m-1,u). */
static int exact_cdf(struct diff_null *null)
{
	unsigned n = null->n, m = null->m, width = n * m + 1;
	double *row = calloc((size_t)(m + 1) * width, sizeof *row);

	if (!row)
		return -ENOMEM;
	for (unsigned j = 0; j <= m; j++)
		row[(size_t)j * width] = 1;
	for (unsigned i = 1; i <= n; i++) {
		for (unsigned j = 1; j <= m; j++) {
			double *cur = row + (size_t)j * width, *left = cur - width;
			for (unsigned k = i * j + 1; k-- > 0;)
				cur[k] = (k >= j ? cur[k - j] * i : 0) / (i + j) + left[k] * j / (i + j);
		}
	}
	for (unsigned k = 0; k < width; k++)
		null->cdf[k] = row[(size_t)m * width + k] + (k ? null->cdf[k - 1] : 0);
	free(row);
	return 0;
}

int diff_null_init(struct diff_null *null, size_t n, size_t m)
{
	memset(null, 0, sizeof *null);
	null->n = (unsigned)n;
	null->m = (unsigned)m;
	if (n > 0 && m > 0 && n <= EXACT_MAX && m <= EXACT_MAX) {
		null->cdf = malloc((n * m + 1) * sizeof *null->cdf);
		if (!null->cdf || exact_cdf(null) != 0) {
			diff_null_fini(null);
			return -ENOMEM;
		}
	}
	/* Largest k with P(U <= k - 1) <= alpha; 0: too few runs for an interval. */
	while (null->rank < n * m / 2 && diff_mann_whitney(null, (double)null->rank) <= DIFF_ALPHA)
		null->rank++;
	return 0;
}

void diff_null_fini(struct diff_null *null)
{
	free(null->cdf);
	null->cdf = NULL;
}

double diff_mann_whitney(const struct diff_null *null, double u)
{
	double n = null->n, m = null->m, mean = n * m / 2, sd = sqrt(n * m * (n + m + 1) / 12);

	if (n == 0 || m == 0 || u >= n * m)
		return 1;
	if (null->cdf) /* ties make halves: rounded up, so never too sure */
		return null->cdf[(size_t)ceil(u)];
	return 0.5 * erfc(-(u + 0.5 - mean) / sd / M_SQRT2);
}

double diff_fisher(unsigned in_base, unsigned n, unsigned in_new, unsigned m)
{
	unsigned have = in_base + in_new;
	double p = 0;

	for (unsigned k = in_new; k <= m && k <= have; k++)
		if (have - k <= n)
			p += exp(lgamma(m + 1) - lgamma(k + 1) - lgamma(m - k + 1) + lgamma(n + 1) - lgamma(have - k + 1) -
				 lgamma(n - (have - k) + 1) - lgamma(n + m + 1) + lgamma(have + 1) + lgamma(n + m - have + 1));
	return p > 1 ? 1 : p;
}

static int cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* Of sorted values. */
static double median(const double *v, size_t n)
{
	if (n == 0)
		return 0;
	double lo = v[(n - 1) / 2], hi = v[n / 2];
	return lo == hi ? lo : isinf(lo) && isinf(hi) ? 0 : (lo + hi) / 2; /* infinities: logarithms of 0 */
}

static double median_of(const double *v, size_t n, double *scratch)
{
	memcpy(scratch, v, n * sizeof *v);
	qsort(scratch, n, sizeof *scratch, cmp_double);
	return median(scratch, n);
}

/* Takes each block's mean out of its logarithms, where the block has as many runs of either side (else the sides' difference
 * would go with it). logs: n of base, then m of new. */
static void remove_drift(double *logs, size_t n, size_t m, const uint32_t *blocks)
{
	double whole = 0;

	for (size_t i = 0; i < n + m; i++) {
		if (!blocks[i] || !isfinite(logs[i]))
			return;
		whole += logs[i] / (double)(n + m);
	}
	for (size_t i = 0; i < n + m; i++) {
		double sum = 0;
		size_t in_base = 0, in_new = 0, k;
		for (k = 0; k < i && blocks[k] != blocks[i]; k++)
			;
		if (k < i) /* done with its first */
			continue;
		for (k = 0; k < n + m; k++)
			if (blocks[k] == blocks[i]) {
				sum += logs[k];
				in_base += k < n;
				in_new += k >= n;
			}
		if (in_base != in_new)
			continue;
		for (k = n + m; k-- > 0;)
			if (blocks[k] == blocks[i])
				logs[k] += whole - sum / (double)(in_base + in_new);
	}
}

/* Differences of logarithms where 0 / 0 is "the same". */
static double log_ratio(double fresh, double base)
{
	return fresh == base ? 0 : fresh - base;
}

int diff_compare(struct diff_stats *out, const struct diff_null *null, const double *base, const double *fresh,
		 const uint32_t *blocks)
{
	size_t n = null->n, m = null->m, n_pairs = n * m, k = null->rank;
	double *logs = malloc((n + m + n_pairs + 1) * sizeof *logs), *pairs, above = 0, below = 0;

	memset(out, 0, sizeof *out);
	if (!logs)
		return -ENOMEM;
	pairs = logs + n + m;
	out->base_median = median_of(base, n, logs);
	out->new_median = median_of(fresh, m, logs);
	for (size_t i = 0; i < n + m; i++)
		logs[i] = log(i < n ? base[i] : fresh[i - n]);
	if (blocks)
		remove_drift(logs, n, m, blocks);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < m; j++) {
			double d = log_ratio(logs[n + j], logs[i]);
			/* Rounding is no order: equal counts stay equal after the drift was taken out. */
			above += d > 1e-9 ? 1 : d < -1e-9 ? 0 : 0.5;
			pairs[i * m + j] = d;
		}
	below = (double)n_pairs - above;
	qsort(pairs, n_pairs, sizeof *pairs, cmp_double);
	out->ratio = n_pairs ? exp(median(pairs, n_pairs)) : 1;
	out->decidable = k > 0;
	out->low = k ? exp(pairs[k - 1]) : NAN;
	out->high = k ? exp(pairs[n_pairs - k]) : NAN;
	/* U counts the pairs that contradict. */
	out->p_more = diff_mann_whitney(null, below);
	out->p_less = diff_mann_whitney(null, above);
	free(logs);
	return 0;
}
