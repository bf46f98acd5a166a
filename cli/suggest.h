/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LOCKSTEP_SUGGEST_H
#define LOCKSTEP_SUGGEST_H

#include <stddef.h>

/* The candidate nearest to `word` by optimal string alignment distance (insert, delete, replace, swap neighbours), when it is
 * near enough to be a slip of the fingers: at most a third of the word, at least 1 and at most 3. NULL: none.
 * candidates: NULL-terminated; the result is one of them. */
const char *suggest(const char *word, const char *const *candidates);

#endif
