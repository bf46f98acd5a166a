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

/* report --lines: for the process with most on-CPU time and for the longest wait, each source line's own and total share. */
struct report_lines_options {
	unsigned width; /* columns; 0: 80 */
	bool color;
	unsigned top;	/* lines per file; 0: default (20) */
	int32_t pid;	/* only this process; 0: the hottest and the longest waiting */
	bool no_source; /* do not open source files */
};
int report_lines(const struct profile *p, const struct report_lines_options *opt, FILE *out, struct err *err);

/* report --html: one self-contained page (report/html.c). */
struct report_html_options {
	struct report_options report; /* top: of the fallback without scripts; pid; width and colour are ignored */
	const struct profile *base;   /* compare with this profile: differential flame graphs; NULL: none */
	bool no_source;		      /* do not put source lines into the page */
};
int report_html(const struct profile *p, const struct report_html_options *opt, FILE *out, struct err *err);

enum export_kind { EXPORT_CPU = 1, EXPORT_WAIT = 2, EXPORT_ALL = 3 };
struct export_options {
	enum export_kind kind;
	int32_t pid; /* 0: all */
};
/* Stacks for other tools. Weights are thread-time; waits and on-CPU samples stand side by side, marked by kind. */
int export_folded(const struct profile *p, const struct export_options *opt, FILE *out,
		  struct err *err); /* flame graph scripts */
int export_speedscope(const struct profile *p, const struct export_options *opt, FILE *out,
		      struct err *err); /* speedscope's JSON */
int export_pprof(const struct profile *p, const struct export_options *opt, FILE *out,
		 struct err *err); /* gzip'ed protobuf, binary */
/* The timeline: threads as tracks with wakes as flows (the analysed excerpt), counters for the rest. A protobuf trace, binary. */
int export_perfetto(const struct profile *p, const struct export_options *opt, FILE *out, struct err *err);
int export_firefox(const struct profile *p, const struct export_options *opt, FILE *out,
		   struct err *err); /* its processed profile, JSON */

#endif
