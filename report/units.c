/* SPDX-License-Identifier: Apache-2.0
 * Three significant digits are what a person compares; more would claim a precision that no sampled run has. */
#include "report/units.h"

#include <math.h>
#include <stdio.h>

/* Halves go up, as in web/src/format.js: printf's ties go to even, and the same figure must read the same everywhere. */
static double rounded(double v, int decimals)
{
	double k = decimals == 2 ? 100 : decimals == 1 ? 10 : 1;

	return floor(v * k + 0.5) / k;
}

static struct unit_text scaled(double v, double step, const char *const *units, unsigned n_units, const char *suffix)
{
	struct unit_text t;
	unsigned u = 0;

	if (!isfinite(v))
		v = 0;
	while (u + 1 < n_units && fabs(v) >= step * 0.9995) {
		v /= step;
		u++;
	}
	int decimals = u == 0 || fabs(v) >= 99.95 ? 0 : 1;
	snprintf(t.s, sizeof t.s, "%.*f%s%s%s", decimals, rounded(v, decimals), *units[u] ? " " : "", units[u], suffix);
	return t;
}

struct unit_text unit_tight(struct unit_text t)
{
	char *to = t.s;

	for (const char *from = t.s; *from; from++)
		if (*from != ' ')
			*to++ = *from;
	*to = '\0';
	return t;
}

struct unit_text unit_ns(double ns)
{
	static const char *const small[] = {"ns", "µs", "ms", "s"};
	struct unit_text t;

	if (ns >= 3600e9)
		snprintf(t.s, sizeof t.s, "%.1f h", rounded(ns / 3600e9, 1));
	else if (ns >= 600e9)
		snprintf(t.s, sizeof t.s, "%.1f min", rounded(ns / 60e9, 1));
	else if (ns >= 1e9) {
		int decimals = ns >= 99.95e9 ? 0 : ns >= 9.995e9 ? 1 : 2;
		snprintf(t.s, sizeof t.s, "%.*f s", decimals, rounded(ns / 1e9, decimals));
	} else
		return scaled(ns, 1000, small, 4, "");
	return t;
}

struct unit_text unit_count(double n)
{
	static const char *const units[] = {"", "k", "M", "G", "T"};

	return scaled(n, 1000, units, 5, "");
}

struct unit_text unit_rate(double per_s)
{
	static const char *const units[] = {"", "k", "M", "G", "T"};
	struct unit_text t;

	if (per_s <= 0 || per_s >= 9.95)
		return scaled(per_s, 1000, units, 5, "/s");
	snprintf(t.s, sizeof t.s, per_s < 0.05 ? "<0.1/s" : "%.1f/s", rounded(per_s, 1));
	return t;
}

struct unit_text unit_per_s(double per_s)
{
	struct unit_text t = unit_tight(unit_rate(per_s));
	char *slash = t.s;

	while (*slash && *slash != '/')
		slash++;
	*slash = '\0';
	return t;
}

struct unit_text unit_bytes(double bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};

	return scaled(bytes, 1024, units, 5, "");
}

struct unit_text unit_percent(double share)
{
	struct unit_text t;
	double pc = isfinite(share) ? share * 100 : 0;

	if (pc > 0 && pc < 0.5)
		snprintf(t.s, sizeof t.s, "<1 %%");
	else
		snprintf(t.s, sizeof t.s, "%.0f %%", rounded(pc, 0));
	return t;
}
