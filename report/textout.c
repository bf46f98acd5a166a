/* SPDX-License-Identifier: Apache-2.0
 * In: raw strings; out: harmless text in columns. Widths are those of terminals, not of bytes. */
#include "report/textout.h"
#include "report/sanitize.h"

#include <stdlib.h>
#include <string.h>

void textout_style(const struct textout *t, enum text_style style)
{
	static const char *const sgr[] = {"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[1;36m", "\x1b[1;33m", "\x1b[1;32m"};

	if (t->color)
		fputs(sgr[style], t->out);
}

static void spaces(FILE *out, unsigned n)
{
	fprintf(out, "%*s", (int)n, "");
}

void textout_cell(const struct textout *t, const char *raw, unsigned columns, enum cell_align align)
{
	char buf[1024];
	bool path = align == CELL_PATH || align == CELL_PATH_LAST, last = align == CELL_LAST || align == CELL_PATH_LAST;
	const char *mark = "", *shown = buf;
	unsigned cols;

	if (columns == 0)
		return;
	sanitize(buf, sizeof buf, raw);
	cols = text_columns(buf);
	if (cols > columns) {
		mark = "…";
		if (path) {
			shown = buf + text_suffix(buf, columns - 1);
			const char *slash =
				strchr(shown, '/'); /* a whole component reads better than its tail, if enough is left */
			if (slash && text_columns(slash) * 2 >= columns)
				shown = slash;
		} else
			buf[text_prefix(buf, columns - 1)] = '\0';
		cols = 1 + text_columns(shown);
	}
	if (align == CELL_RIGHT)
		spaces(t->out, columns - cols);
	fprintf(t->out, "%s%s%s", path ? mark : "", shown, path ? "" : mark);
	if (align != CELL_RIGHT && !last)
		spaces(t->out, columns - cols);
}

/* Bytes of s that go on a line of `room` columns: up to the last space that fits, or what fits of an overlong word. */
static size_t line_break(const char *s, unsigned room)
{
	size_t fit = text_prefix(s, room), cut = fit;

	if (!s[fit])
		return fit;
	while (cut && s[cut] != ' ')
		cut--;
	return cut ? cut : fit ? fit : 1;
}

void textout_wrap(const struct textout *t, const char *first, unsigned indent, const char *raw)
{
	char *text = sanitize_dup(raw);
	const char *s = text;
	unsigned used = text_columns(first);

	fputs(first, t->out);
	while (s && *s) {
		size_t n = line_break(s, t->width > used + 10 ? t->width - used : 10);
		fprintf(t->out, "%.*s\n", (int)n, s);
		for (s += n; *s == ' '; s++)
			;
		used = indent;
		if (*s)
			spaces(t->out, indent);
	}
	if (!text || !*text)
		fputc('\n', t->out);
	free(text);
}

void textout_heading(const struct textout *t, const char *name, const char *remark)
{
	unsigned cols = text_columns(name), rcols = remark ? text_columns(remark) : 0;

	fputc('\n', t->out);
	textout_style(t, STYLE_HEAD);
	fputs(name, t->out);
	textout_style(t, STYLE_NONE);
	if (remark && cols + 2 + rcols <= t->width) {
		spaces(t->out, t->width - cols - rcols);
		textout_style(t, STYLE_DIM);
		fputs(remark, t->out);
		textout_style(t, STYLE_NONE);
	}
	fputc('\n', t->out);
}
