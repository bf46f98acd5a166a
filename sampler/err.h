/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors as values. A fallible function returns 0 or -errno and takes `struct err *err` last; whoever knows the
 * context writes the sentence once ("what failed: why; what to do"), callers pass it up, cli/ prints it.
 */
#ifndef LOCKSTEP_ERR_H
#define LOCKSTEP_ERR_H

struct err {
	char msg[512]; /* one line, no trailing newline, no program name; "" when nothing was said */
};

/* Writes the sentence into err (may be NULL) and returns `code` (a negative errno), so that
 * `return err_set(err, -ENOENT, "open %s: %s; give an existing file", ...)` reads as one statement.
 * Longer sentences are cut. An err that already holds a sentence is overwritten. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
