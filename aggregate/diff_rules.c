/* SPDX-License-Identifier: Apache-2.0
 *
 * The grammar of --fail-on (docs/DIFF.md). In: one expression; out: a rule, or a sentence that says what is wrong and what would
 * be right.
 *
 *   rule      = "new_finding" [ ":" kind ] | metric [ "_per_" norm ] [ "{" key "=" pattern { "," key "=" pattern } "}" ] op threshold
 *   op        = ">" | "<"
 *   threshold = number "%" | number "x"
 */
#include "aggregate/diff_internal.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Steady ones only: exact counts per unit of work, user CPU time, findings. Wall time is not among them on purpose, and CPU time that
 * includes the kernel's only with room: on a busy machine equal programs differ by 15 % in it. The thresholds are measured:
 * docs/DIFF.md, "How good is it". */
const char *const diff_default_rules[] = {
	"round_trips{process=*} > 10%",
	"messages{process=*} > 10%",
	"message_bytes{process=*} > 20%",
	"processes{process=*} > 20%",
	"waits{process=*,class=futex} > 100%",
	"user_cpu{process=*} > 5%",
	"cpu{process=*} > 25%",
	"new_finding",
	NULL,
};

struct scanner {
	const char *expr, *at;
	struct err *err;
};

static int wrong(const struct scanner *s, const char *what)
{
	return err_set(s->err, -EINVAL, "--fail-on '%s': %s", s->expr, what);
}

static void skip_space(struct scanner *s)
{
	while (isspace((unsigned char)*s->at))
		s->at++;
}

/* A word of letters, digits and _; its length. */
static size_t word(struct scanner *s, const char **start)
{
	skip_space(s);
	*start = s->at;
	while (isalnum((unsigned char)*s->at) || *s->at == '_')
		s->at++;
	return (size_t)(s->at - *start);
}

static bool is_word(const char *start, size_t n, const char *word)
{
	return strlen(word) == n && memcmp(start, word, n) == 0;
}

static int unknown_metric(const struct scanner *s, const char *start, size_t n)
{
	char list[400] = "";
	size_t at = 0;

	for (unsigned m = 0; m < DIFF_METRIC_COUNT; m++)
		at += (size_t)snprintf(list + at, sizeof list - at, "%s, ", diff_metric_name((enum diff_metric)m));
	return err_set(s->err, -EINVAL, "--fail-on '%s': unknown metric '%.*s'; one of %snew_finding", s->expr, (int)n, start,
		       list);
}

/* "round_trips_per_work" -> metric and norm. */
static int take_metric(struct scanner *s, struct diff_rule *r, const char *start, size_t n)
{
	r->norm = -1;
	for (unsigned norm = 0; norm < DIFF_NORM_COUNT; norm++) {
		char suffix[16];
		size_t len = (size_t)snprintf(suffix, sizeof suffix, "_per_%s", diff_norm_name((enum diff_norm)norm));
		if (n > len && memcmp(start + n - len, suffix, len) == 0) {
			r->norm = (int)norm;
			n -= len;
			break;
		}
	}
	for (unsigned m = 0; m < DIFF_METRIC_COUNT; m++)
		if (is_word(start, n, diff_metric_name((enum diff_metric)m))) {
			r->metric = (enum diff_metric)m;
			return 0;
		}
	return unknown_metric(s, start, n);
}

static int take_finding(struct scanner *s, struct diff_rule *r)
{
	const char *start;
	char list[400] = "";
	size_t n, at = 0;

	r->is_finding = true;
	r->finding = -1;
	skip_space(s);
	if (*s->at == ':') {
		s->at++;
		n = word(s, &start);
		for (int k = 0; k < FIND_COUNT; k++) {
			if (is_word(start, n, finding_kind_name((enum finding_kind)k)))
				r->finding = k;
			at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", k ? ", " : "",
					       finding_kind_name((enum finding_kind)k));
		}
		if (r->finding < 0)
			return err_set(s->err, -EINVAL, "--fail-on '%s': unknown finding '%.*s'; one of %s", s->expr, (int)n,
				       start, list);
	}
	skip_space(s);
	return *s->at ? wrong(s, "new_finding takes no threshold; write 'new_finding' or 'new_finding:KIND'") : 0;
}

/* Up to , or }; in double quotes anything. */
static char *take_pattern(struct scanner *s)
{
	const char *start;
	size_t n;

	skip_space(s);
	if (*s->at == '"') {
		start = ++s->at;
		n = strcspn(start, "\"");
		s->at += n;
		if (!*s->at)
			return NULL;
		s->at++;
	} else {
		start = s->at;
		n = strcspn(start, ",}");
		s->at += n;
		while (n && isspace((unsigned char)start[n - 1]))
			n--;
	}
	return n ? strndup(start, n) : NULL;
}

static int check_value(const struct scanner *s, unsigned bit, const char *pattern)
{
	if (strpbrk(pattern, "*?["))
		return 0;
	if (bit == 2 && wait_class_parse(pattern) == WC_COUNT)
		return err_set(s->err, -EINVAL,
			       "--fail-on '%s': unknown wait class '%s'; such as pipe_read, tcp_read, futex, file_io", s->expr,
			       pattern);
	if (bit == 3) {
		for (unsigned k = 0; k < CH_COUNT; k++)
			if (strcmp(channel_kind_name((enum channel_kind)k), pattern) == 0)
				return 0;
		return err_set(s->err, -EINVAL, "--fail-on '%s': unknown channel kind '%s'; such as pipe, unix, tcp, futex",
			       s->expr, pattern);
	}
	return 0;
}

static int take_selector(struct scanner *s, struct diff_rule *r)
{
	const char *start;
	size_t n = word(s, &start);
	unsigned bit;

	for (bit = 0; bit < DIFF_RULE_KEYS && !is_word(start, n, diff_dim_name(bit)); bit++)
		;
	if (bit == DIFF_RULE_KEYS)
		return err_set(s->err, -EINVAL,
			       "--fail-on '%s': unknown key '%.*s'; one of process, peer, class, channel, function, stack",
			       s->expr, (int)n, start);
	if (!(diff_dims_of(r->metric) & 1u << bit))
		return err_set(s->err, -EINVAL, "--fail-on '%s': %s is not known by %s", s->expr, diff_metric_name(r->metric),
			       diff_dim_name(bit));
	if (r->pattern[bit])
		return err_set(s->err, -EINVAL, "--fail-on '%s': %s is given twice", s->expr, diff_dim_name(bit));
	skip_space(s);
	if (*s->at++ != '=')
		return err_set(s->err, -EINVAL, "--fail-on '%s': '=' and a pattern must follow '%s'", s->expr,
			       diff_dim_name(bit));
	r->pattern[bit] = take_pattern(s);
	if (!r->pattern[bit])
		return err_set(s->err, -EINVAL, "--fail-on '%s': the pattern of '%s' is empty or its quote is not closed",
			       s->expr, diff_dim_name(bit));
	r->by |= 1u << bit;
	r->wild |= strpbrk(r->pattern[bit], "*?[") != NULL;
	return check_value(s, bit, r->pattern[bit]);
}

static int take_selectors(struct scanner *s, struct diff_rule *r)
{
	do {
		int rc;
		s->at++; /* { or , */
		rc = take_selector(s, r);
		if (rc != 0)
			return rc;
		skip_space(s);
	} while (*s->at == ',');
	if (*s->at != '}')
		return wrong(s, "'}' is missing after the patterns");
	s->at++;
	return 0;
}

static int take_threshold(struct scanner *s, struct diff_rule *r)
{
	char *end;
	double v;

	skip_space(s);
	if (*s->at != '>' && *s->at != '<')
		return wrong(s, "'>' or '<' and a threshold must follow, as in 'wall > 5%'");
	r->below = *s->at++ == '<';
	if (*s->at == '=')
		return wrong(s, "write '>' or '<' without '='");
	skip_space(s);
	v = strtod(s->at, &end);
	if (end == s->at || !isfinite(v))
		return wrong(s, "the threshold must be a percentage or a factor, as '5%' or '1.5x'");
	s->at = end;
	skip_space(s);
	if (*s->at == '%')
		r->factor = 1 + v / 100;
	else if (*s->at == 'x')
		r->factor = v;
	else
		return wrong(s, "a threshold needs a unit: '5%' is five per cent more, '1.5x' one and a half times as much");
	s->at++;
	skip_space(s);
	if (*s->at)
		return err_set(s->err, -EINVAL, "--fail-on '%s': '%s' is left over; one expression per --fail-on", s->expr,
			       s->at);
	if (r->factor < 0)
		return wrong(s, "nothing can shrink by more than 100%");
	if (!r->below && r->factor < 1)
		return wrong(s, "this fails when nothing changes; to catch what shrinks, write '<'");
	if (r->below && r->factor > 1)
		return wrong(s, "this fails when nothing changes; to catch what shrinks by five per cent, write '< -5%'");
	return 0;
}

int diff_rule_parse(struct diff_rule *r, const char *expr, struct err *err)
{
	struct scanner s = {.expr = expr, .at = expr, .err = err};
	const char *start;
	size_t n;
	int rc;

	memset(r, 0, sizeof *r);
	r->text = strdup(expr);
	if (!r->text)
		return err_set(err, -ENOMEM, "--fail-on '%s': out of memory", expr);
	n = word(&s, &start);
	if (n == 0)
		rc = wrong(&s, "it begins with no metric; as in 'round_trips_per_work > 10%' or 'new_finding:lockstep'");
	else if (is_word(start, n, "new_finding"))
		rc = take_finding(&s, r);
	else
		rc = take_metric(&s, r, start, n);
	if (rc == 0 && !r->is_finding) {
		skip_space(&s);
		rc = *s.at == '{' ? take_selectors(&s, r) : 0;
		if (rc == 0)
			rc = take_threshold(&s, r);
	}
	if (rc != 0)
		diff_rule_fini(r);
	return rc;
}

void diff_rule_fini(struct diff_rule *r)
{
	free(r->text);
	for (unsigned bit = 0; bit < DIFF_RULE_KEYS; bit++)
		free(r->pattern[bit]);
	memset(r, 0, sizeof *r);
}
