/* SPDX-License-Identifier: Apache-2.0
 *
 * "Did you mean": in: a word and the words that exist; out: the one probably meant.
 */
#include "cli/suggest.h"

#include <string.h>

#define MAX_WORD 32

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;
	return m < c ? m : c;
}

/* Optimal string alignment distance (Damerau-Levenshtein without overlapping edits). */
static size_t distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	size_t d[MAX_WORD + 1][MAX_WORD + 1];

	if (n > MAX_WORD || m > MAX_WORD)
		return MAX_WORD;
	for (size_t i = 0; i <= n; i++)
		d[i][0] = i;
	for (size_t j = 0; j <= m; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= n; i++)
		for (size_t j = 1; j <= m; j++) {
			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < d[i][j])
				d[i][j] = d[i - 2][j - 2] + 1;
		}
	return d[n][m];
}

const char *suggest(const char *word, const char *const *candidates)
{
	size_t limit = strlen(word) / 3;
	limit = limit < 1 ? 1 : limit > 3 ? 3 : limit;
	const char *best = NULL;
	size_t best_distance = limit + 1;

	for (; *candidates; candidates++) {
		size_t d = distance(word, *candidates);
		if (d < best_distance) {
			best = *candidates;
			best_distance = d;
		}
	}
	return best;
}
