/* SPDX-License-Identifier: Apache-2.0
 *
 * A profile and its findings as bytes for a person or a program. In: a const profile; out: text on a stdio stream.
 */
#ifndef LOCKSTEP_REPORT_H
#define LOCKSTEP_REPORT_H

#include "aggregate/profile.h"
#include "sampler/err.h"

#include <stdio.h>

struct report_options {
	unsigned width; /* columns; 0: 80 */
	bool color;	/* ANSI colours and bars */
	unsigned top;	/* rows per table; 0: default (10) */
	int32_t pid;	/* only this process; 0: all */
};

/* Each returns 0 or -errno (the stream's error) with a sentence. All text from the target (names, paths, command lines,
 * symbols) is neutralised: control characters and invalid UTF-8 never reach the output. */
int report_text(const struct profile *p, const struct report_options *opt, FILE *out, struct err *err);
int report_json(const struct profile *p, const struct report_options *opt, FILE *out, struct err *err);
int report_markdown(const struct profile *p, const struct report_options *opt, FILE *out, struct err *err);

enum export_kind { EXPORT_CPU = 1, EXPORT_WAIT = 2, EXPORT_ALL = 3 };
struct export_options {
	enum export_kind kind;
	int32_t pid; /* 0: all */
};
int export_folded(const struct profile *p, const struct export_options *opt, FILE *out, struct err *err);

#endif
