/* SPDX-License-Identifier: Apache-2.0
 *
 * A diff as bytes for a person or a program (docs/DIFF.md). In: a const diff, judged or not; out: text on a stdio stream. Names from
 * the target are neutralised as in report.h. Each returns 0 or -errno with a sentence.
 */
#ifndef LOCKSTEP_DIFF_REPORT_H
#define LOCKSTEP_DIFF_REPORT_H

#include "aggregate/diff.h"
#include "report/report.h"

int report_diff_text(const struct diff *d, const struct report_options *opt, FILE *out, struct err *err);
int report_diff_json(const struct diff *d, const struct report_options *opt, FILE *out, struct err *err);
int report_diff_markdown(const struct diff *d, const struct report_options *opt, FILE *out, struct err *err);
int report_diff_junit(const struct diff *d, const struct report_options *opt, FILE *out, struct err *err);
/* Differential flame graph: "process;frame;frame BASE NEW" lines in microseconds per unit, as difffolded.pl writes them. */
int report_diff_folded(const struct diff *d, const struct export_options *opt, FILE *out, struct err *err);

#endif
