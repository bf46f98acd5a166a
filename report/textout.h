/* SPDX-License-Identifier: Apache-2.0
 *
 * Laying text out in columns: cells that are cut and padded by what a terminal shows, and wrapped paragraphs. In: raw strings
 * (cells neutralise them); out: a stdio stream.
 */
#ifndef LOCKSTEP_TEXTOUT_H
#define LOCKSTEP_TEXTOUT_H

#include <stdbool.h>
#include <stdio.h>

enum text_style { STYLE_NONE = 0, STYLE_BOLD, STYLE_DIM, STYLE_HEAD, STYLE_ALERT, STYLE_GOOD };

struct textout {
	FILE *out;
	unsigned width;
	bool color;
};

/* How a cell is cut and padded. Path: keeps the end. Last: of its line, not padded. */
enum cell_align { CELL_LEFT, CELL_RIGHT, CELL_PATH, CELL_LAST, CELL_PATH_LAST };

void textout_style(const struct textout *t, enum text_style style); /* STYLE_NONE ends it */
/* One cell of exactly `columns`; what does not fit is cut with "…". */
void textout_cell(const struct textout *t, const char *raw, unsigned columns, enum cell_align align);
/* A paragraph: `first` before its first line, `indent` spaces before the others, broken at spaces (a longer word at the edge). */
void textout_wrap(const struct textout *t, const char *first, unsigned indent, const char *raw);
/* A section's heading with a remark at the right edge (NULL: none). */
void textout_heading(const struct textout *t, const char *name, const char *remark);

#endif
