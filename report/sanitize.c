/* SPDX-License-Identifier: Apache-2.0
 *
 * In: bytes of the target; out: harmless UTF-8. Decoding is strict (no overlong forms, surrogates or values above U+10FFFF):
 * a lenient decoder would let an escape through in disguise. */
#include "report/sanitize.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct range {
	uint32_t first, last;
};

/* Invisible or direction-changing (Unicode categories Cc, Cf, Zl, Zp, Co and noncharacters), sorted. */
static const struct range hidden[] = {
	{0x80, 0x9f},	    {0xad, 0xad},	 {0x600, 0x605},   {0x61c, 0x61c},   {0x6dd, 0x6dd},	 {0x70f, 0x70f},
	{0x890, 0x891},	    {0x8e2, 0x8e2},	 {0x115f, 0x1160}, {0x17b4, 0x17b5}, {0x180b, 0x180f},	 {0x200b, 0x200f},
	{0x2028, 0x202e},   {0x2060, 0x206f},	 {0x3164, 0x3164}, {0xe000, 0xf8ff}, {0xfdd0, 0xfdef},	 {0xfe00, 0xfe0f},
	{0xfeff, 0xfeff},   {0xffa0, 0xffa0},	 {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0x110bd, 0x110bd}, {0x1bca0, 0x1bca3},
	{0x1d173, 0x1d17a}, {0xe0000, 0x10ffff},
};
static const struct range combining[] = {
	{0x300, 0x36f}, {0x483, 0x489}, {0x591, 0x5bd}, {0x610, 0x61a},	  {0x64b, 0x65f},   {0x6d6, 0x6dc},   {0x900, 0x902},
	{0xe31, 0xe31}, {0xe34, 0xe3a}, {0xe47, 0xe4e}, {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x20d0, 0x20ff}, {0xfe20, 0xfe2f},
};
static const struct range wide[] = {
	{0x1100, 0x115f}, {0x2e80, 0x303e},   {0x3041, 0x33ff},	  {0x3400, 0x4dbf},   {0x4e00, 0x9fff},
	{0xa000, 0xa4cf}, {0xac00, 0xd7a3},   {0xf900, 0xfaff},	  {0xfe30, 0xfe6f},   {0xff00, 0xff60},
	{0xffe0, 0xffe6}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
};

static bool in_ranges(const struct range *r, size_t n, uint32_t c)
{
	for (size_t i = 0; i < n && c >= r[i].first; i++)
		if (c <= r[i].last)
			return true;
	return false;
}
#define IN(table, c) in_ranges(table, sizeof(table) / sizeof(table)[0], c)

/* One strict UTF-8 character of s; returns its bytes, 0 when invalid. */
static unsigned decode(const unsigned char *s, size_t len, uint32_t *c)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned n = s[0] < 0x80 ? 1 : (s[0] & 0xe0) == 0xc0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : (s[0] & 0xf8) == 0xf0 ? 4 : 0;

	if (n == 0 || n > len)
		return 0;
	*c = n == 1 ? s[0] : s[0] & (0xffu >> (n + 1));
	for (unsigned i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (s[i] & 0x3f);
	}
	if (*c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff))
		return 0;
	return n;
}

/* One input character as its harmless form in out (at most 11 bytes and NUL); returns the bytes consumed. */
static unsigned harmless(const unsigned char *s, size_t len, unsigned *marks, char out[12])
{
	uint32_t c;
	unsigned n = decode(s, len, &c);

	if (n == 0) {
		snprintf(out, 12, "\\x%02x", s[0]);
		n = 1;
	} else if (c < 0x20 || c == 0x7f) {
		const char *name = c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : NULL;
		if (name)
			snprintf(out, 12, "%s", name);
		else
			snprintf(out, 12, "\\x%02x", c);
	} else if (IN(hidden, c) || (IN(combining, c) && ++*marks > 2)) {
		snprintf(out, 12, "\\u%04x", c);
	} else {
		memcpy(out, s, n);
		out[n] = '\0';
		if (!IN(combining, c))
			*marks = 0;
	}
	return n;
}

size_t sanitize_n(char *dst, size_t size, const char *src, size_t len)
{
	const unsigned char *s = (const unsigned char *)src;
	size_t used = 0;
	unsigned marks = 0;

	if (size == 0)
		return 0;
	while (len && src) {
		char one[12];
		unsigned n = harmless(s, len, &marks, one);
		size_t m = strlen(one);

		if (used + m + 1 > size)
			break;
		memcpy(dst + used, one, m);
		used += m;
		s += n;
		len -= n;
	}
	dst[used] = '\0';
	return used;
}

size_t sanitize(char *dst, size_t size, const char *src)
{
	return sanitize_n(dst, size, src, src ? strlen(src) : 0);
}

char *sanitize_dup(const char *src)
{
	size_t size = (src ? strlen(src) : 0) * 6 + 1; /* the longest form of one byte is "\u0085" for two, "\x1b" for one */
	char *dst = malloc(size);

	if (dst)
		sanitize(dst, size, src);
	return dst;
}

/* Columns of the character at s, and its bytes. Invalid bytes cannot occur in harmless text; they count as one column. */
static unsigned one_column(const char *s, unsigned *bytes)
{
	uint32_t c;

	*bytes = decode((const unsigned char *)s, strlen(s), &c);
	if (*bytes == 0) {
		*bytes = 1;
		return 1;
	}
	return *bytes == 1 ? 1 : IN(combining, c) ? 0 : IN(wide, c) ? 2 : 1;
}

unsigned text_columns(const char *s)
{
	unsigned cols = 0, bytes;

	for (; *s; s += bytes)
		cols += one_column(s, &bytes);
	return cols;
}

size_t text_prefix(const char *s, unsigned columns)
{
	unsigned cols = 0, bytes;
	size_t i = 0;

	for (; s[i]; i += bytes) {
		cols += one_column(s + i, &bytes);
		if (cols > columns)
			break;
	}
	return i;
}

size_t text_suffix(const char *s, unsigned columns)
{
	unsigned cols = text_columns(s), bytes;
	size_t i = 0;

	for (; s[i] && cols > columns; i += bytes)
		cols -= one_column(s + i, &bytes);
	return i;
}
