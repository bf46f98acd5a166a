/* SPDX-License-Identifier: Apache-2.0
 *
 * Source lines beside their figures. In: a path that a profile names; out: single lines of text. The profile may come from a
 * stranger: only regular files that look like source code are opened, so that a report which is mailed on cannot be made to carry
 * somebody's keys.
 */
#ifndef LOCKSTEP_SOURCE_H
#define LOCKSTEP_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source {
	char *text;	 /* the file, newlines replaced by NUL; NULL: not readable */
	uint32_t *start; /* offset of each line; line n (from 1) at start[n - 1] */
	uint32_t n_lines;
	bool newer; /* changed after `recorded_s`: the lines may not be those that ran */
};

/* Reads path; recorded_s: seconds since the epoch when the recording began, 0 unknown. Always leaves a valid struct; text is
 * NULL when the file cannot or must not be read. Files above 4 MiB are not read. */
void source_read(struct source *s, const char *path, int64_t recorded_s);
void source_free(struct source *s);
/* Line n without its newline, raw bytes; NULL when there is none. */
const char *source_line(const struct source *s, uint32_t line);

/* RFC 3339 in UTC ("2026-03-01T09:30:00Z") as seconds since the epoch; 0 when it is none. */
int64_t source_recorded_at(const char *rfc3339);

#endif
