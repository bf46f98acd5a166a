/* SPDX-License-Identifier: Apache-2.0
 *
 * A stack as a person reads it: kernel frames folded into one line, start-up code and interpreter internals left out, the
 * middle of a deep one cut with a count. In: an interned stack; out: a few lines that point at frames. What is folded is said.
 */
#ifndef LOCKSTEP_FRAMES_H
#define LOCKSTEP_FRAMES_H

#include "aggregate/profile.h"

enum frame_line_kind {
	FRAME_LINE = 0,	 /* one frame */
	FRAME_KERNEL,	 /* n_folded kernel frames; frame_ix is the one that says what the kernel does */
	FRAME_FOLDED,	 /* n_folded frames left out here */
	FRAME_TRUNCATED, /* the stack goes on, but was not captured */
};
struct frame_line {
	enum frame_line_kind kind;
	uint32_t frame_ix;
	uint32_t n_folded;
};

#define FRAME_LINES_MAX 64
/* Fills lines (room for FRAME_LINES_MAX), leaf first, at most max_lines (>= 4; 0: FRAME_LINES_MAX); returns their number. 0 for
 * the empty stack. stack_ix out of range reads as empty. */
unsigned frames_trim(const struct profile *p, uint32_t stack_ix, unsigned max_lines, struct frame_line *lines);

/* The frame that answers "where in my code": the innermost with a source line outside the kernel and the C library, else the
 * innermost of those, else the leaf. NULL for an empty stack. */
const struct frame_row *frames_site(const struct profile *p, uint32_t stack_ix);

/* The C library and the loader: their frames tell how a program waits, not where in it. */
bool frames_is_libc(const struct frame_row *f);

/* The last path component, "" for NULL. */
const char *frames_basename(const char *path);

/* The frame at ix of the profile, or NULL when the index is out of range. */
const struct frame_row *frames_at(const struct profile *p, uint32_t frame_ix);

#endif
