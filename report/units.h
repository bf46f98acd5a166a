/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers for people: three significant digits and a unit. In: ns, bytes, counts, shares; out: a short string in a caller's
 * buffer.
 */
#ifndef LOCKSTEP_UNITS_H
#define LOCKSTEP_UNITS_H

#include <stdint.h>

#define UNIT_LEN 24
struct unit_text {
	char s[UNIT_LEN];
};
/* By value, so that several fit into one printf: printf("%s of %s", unit_ns(a).s, unit_ns(b).s). */
/* Without spaces, for narrow columns: unit_tight(unit_ns(t)). */
struct unit_text unit_tight(struct unit_text t);
struct unit_text unit_ns(double ns);	     /* "312 ns", "4.1 µs", "1.50 s", "12.3 min", "2.1 h" */
struct unit_text unit_count(double n);	     /* "7", "812", "1.2 k", "34.5 M" */
struct unit_text unit_rate(double per_s);    /* "0.2/s", "112 k/s" */
struct unit_text unit_per_s(double per_s);   /* the same without "/s" and space, for a column */
struct unit_text unit_bytes(double bytes);   /* "200 B", "4.0 KiB", "1.2 MiB" */
struct unit_text unit_percent(double share); /* of 0..1: "97 %", "<1 %", "0 %", "240 %" */

#endif
