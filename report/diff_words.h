/* SPDX-License-Identifier: Apache-2.0
 *
 * Sentences about a diff that all its outputs share: one wording, one figure. All write raw bytes (the caller neutralises them).
 */
#ifndef LOCKSTEP_DIFF_WORDS_H
#define LOCKSTEP_DIFF_WORDS_H

#include "aggregate/diff.h"

#define WORDS_LEN 768
struct words {
	char s[WORDS_LEN];
};

enum diff_outcome_of_all { DIFF_ALL_NO_RULES = 0, DIFF_ALL_PASSED, DIFF_ALL_FAILED, DIFF_ALL_NOT_JUDGED };
enum diff_outcome_of_all diff_outcome(const struct diff *d);
const char *diff_outcome_word(enum diff_outcome o); /* "passed", "FAILED", "not judged" */

/* By value, so that several fit into one printf. */
struct words words_verdict(const struct diff *d);			       /* the first line: what changed, where */
struct words words_subject(const struct diff *d, const struct diff_series *s); /* "client <-> server over pipe" */
struct words words_metric(const struct diff *d, const struct diff_series *s);  /* "round trips per unit of work" */
struct words words_value(const struct diff_series *s, double v);	       /* "1.20 ms" */
struct words words_change(const struct diff_series *s);			       /* "+12.3 %", "x2.00", "appeared" */
struct words words_interval(const struct diff_series *s);		       /* "+10.1 % .. +14.0 %"; "" when unknown */
struct words words_figures(const struct diff *d,
			   const struct diff_series *s); /* "1.00 -> 2.00 (x2.00; x1.98 .. x2.02, p 0.004)" */
struct words words_sentence(const struct diff *d, const struct diff_series *s); /* subject: metric figures */
struct words words_runs(const struct diff *d); /* "5 base runs, 5 new runs, figures per unit of work" */
struct words words_finding(const struct diff *d,
			   const struct diff_finding *f); /* "lockstep (client, server): in 0 of 5 base runs, ..." */
/* "wait_for_ack < loop < main": the innermost frames of a call site. */
struct words words_stack(const struct diff *d, const struct diff_series *s);
double words_p(const struct diff_series *s); /* the smaller of the two */

#endif
