/* SPDX-License-Identifier: Apache-2.0
 *
 * Golden files: the output of one function against a file of tests/golden. With LOCKSTEP_UPDATE_GOLDEN=1
 * (tests/golden/update.sh) the files are written instead, to be reviewed as a diff. Needs cmocka.h included before.
 */
#ifndef REPORT_GOLDEN_H
#define REPORT_GOLDEN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The whole stream as memory; fill(ctx, out) writes it. */
static inline char *golden_capture(void (*fill)(void *ctx, FILE *out), void *ctx, size_t *len)
{
	char *buf = NULL;
	FILE *out = open_memstream(&buf, len);

	fill(ctx, out);
	fclose(out);
	return buf;
}

static inline void golden_compare(const char *name, const char *got, size_t len)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof path, "%s/tests/golden/%s", SOURCE_DIR, name);
	if (getenv("LOCKSTEP_UPDATE_GOLDEN")) {
		f = fopen(path, "w");
		assert_non_null(f);
		assert_int_equal(fwrite(got, 1, len, f), len);
		fclose(f);
		return;
	}
	f = fopen(path, "r");
	if (!f)
		fail_msg("%s is missing: run tests/golden/update.sh and review it", path);
	char *want = malloc(len + 2);
	size_t n = fread(want, 1, len + 1, f);
	fclose(f);
	if (n != len || memcmp(want, got, len) != 0)
		fail_msg("%s differs from the output:\n%.*s\n-- run tests/golden/update.sh and review the diff", name, (int)len,
			 got);
	free(want);
}

#endif
