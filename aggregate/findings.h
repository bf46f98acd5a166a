/* SPDX-License-Identifier: Apache-2.0
 *
 * Findings: rules over a profile. Each rule is one file (aggregate/finding_*.c) and one row of the table in findings.c.
 */
#ifndef LOCKSTEP_FINDINGS_H
#define LOCKSTEP_FINDINGS_H

#include "aggregate/profile.h"

/* Runs every rule, resolves overlaps (the more specific kind wins, others go to .also), ranks by predicted gain and
 * replaces p->findings. Returns 0 or -ENOMEM. */
int findings_run(struct profile *p);

#endif
