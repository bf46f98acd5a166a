/* SPDX-License-Identifier: Apache-2.0
 *
 * Text of the target, made harmless. Process names, command lines, paths and symbols are bytes that somebody else chose:
 * they may hold terminal escapes, control characters, invalid UTF-8, or bidirectional overrides that make a line read as
 * something else. In: any bytes; out: valid UTF-8 without any of those, in which what was neutralised stays visible.
 */
#ifndef LOCKSTEP_SANITIZE_H
#define LOCKSTEP_SANITIZE_H

#include <stddef.h>

/* Copies len bytes of src into dst (size bytes, NUL included) as harmless UTF-8:
 *   C0 controls, DEL and bytes that are no UTF-8 become "\x1b"; newline, tab and return become "\n", "\t", "\r" (two characters);
 *   C1 controls, bidi controls, zero-width and other invisible format characters, line and paragraph separators,
 *   private-use and noncharacters become "\u202e"; more than two combining marks in a row likewise.
 * A NULL src reads as "". Cut at a whole (escaped) character when dst is too small. Returns the length written. */
size_t sanitize_n(char *dst, size_t size, const char *src, size_t len);
size_t sanitize(char *dst, size_t size, const char *src);
/* The same into fresh memory, never cut; NULL when out of memory. The caller frees it. */
char *sanitize_dup(const char *src);

/* Terminal columns of harmless UTF-8: 0 for combining marks, 2 for wide (East Asian, emoji) characters. No locale is
 * consulted. */
unsigned text_columns(const char *s);
/* Bytes of the longest prefix of s that fits into `columns`. */
size_t text_prefix(const char *s, unsigned columns);
/* Bytes to skip so that the rest fits into `columns`. */
size_t text_suffix(const char *s, unsigned columns);

#endif
