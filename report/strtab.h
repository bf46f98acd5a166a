/* SPDX-License-Identifier: Apache-2.0
 *
 * A table of distinct harmless strings, by number: what pprof, the Firefox profile and the page index their names by.
 */
#ifndef LOCKSTEP_STRTAB_H
#define LOCKSTEP_STRTAB_H

#include <stddef.h>
#include <stdint.h>

struct strtab {
	char **list; /* neutralised (report/sanitize.h); list[0] is "" */
	size_t n;
	void *hash;
	int failed; /* out of memory at some time: check once at the end */
};

void strtab_init(struct strtab *t);
void strtab_free(struct strtab *t);
/* The number of raw's harmless form; NULL and "" are 0. */
uint32_t strtab_add(struct strtab *t, const char *raw);

#endif
