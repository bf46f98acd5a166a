/* SPDX-License-Identifier: Apache-2.0
 *
 * Two sets of profiles compared: what appeared, vanished, grew or shrank between BASE and NEW, how sure that is, and whether
 * rules (--fail-on) are broken. In: profiles of one or several runs a side; out: series of measured things with an effect, an
 * interval and a probability each. No I/O. How and why: docs/DIFF.md.
 *
 * Everything rests on one table of facts (diff_facts.c): metric, process role, wait class, peer role, channel kind, function, stack,
 * run -> value. What is shown and what a rule judges are sums over it, grouped by some of these dimensions.
 */
#ifndef LOCKSTEP_DIFF_H
#define LOCKSTEP_DIFF_H

#include "aggregate/profile.h"
#include "sampler/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Words for metrics are those of docs/DIFF.md; the order is that of the reports. */
enum diff_metric {
	DIFF_WALL = 0,	    /* ns: wall time of the run */
	DIFF_CPU,	    /* ns on a CPU */
	DIFF_USER_CPU,	    /* of it outside the kernel: the samples' share of the exact time */
	DIFF_RUN_QUEUE,	    /* ns runnable, without a CPU */
	DIFF_BLOCKED,	    /* ns waiting, without idle */
	DIFF_IDLE,	    /* ns in waits that lie on nobody's way */
	DIFF_CRITICAL,	    /* ns of the critical path, scaled from the analysed windows to the run */
	DIFF_ROUND_TRIPS,   /* a pair of processes: times that one waited for the other's answer */
	DIFF_MESSAGES,	    /* write-like system calls */
	DIFF_BYTES,	    /* bytes written by them */
	DIFF_MESSAGE_BYTES, /* bytes / messages */
	DIFF_READS,	    /* read-like system calls */
	DIFF_WAITS,	    /* waits */
	DIFF_SWITCHES,	    /* context switches, voluntary or not */
	DIFF_PROCESSES,	    /* processes */
	DIFF_METRIC_COUNT
};
const char *diff_metric_name(enum diff_metric m); /* "round_trips" */
/* "ns", "bytes" or "count". */
const char *diff_metric_unit(enum diff_metric m);

enum diff_norm {
	DIFF_PER_RUN = 0,
	DIFF_PER_SECOND,
	DIFF_PER_WORK, /* per unit of work: diff_run.work of them */
	DIFF_NORM_COUNT
};
const char *diff_norm_name(enum diff_norm n); /* "run", "second", "work" */

/* One run of one side. Borrowed, profiles too, as long as the diff lives. */
struct diff_run {
	const struct profile *profile;
	const char *name; /* for messages: the file */
	double work;	  /* units of work done; 0: unknown */
	uint32_t block;	  /* runs made close in time, as many of each side, share a block (compare's A B B A); 0: unknown */
};

/* The unit of work as system calls: "write:pipe", "read". */
struct diff_work {
	bool reads;
	enum channel_kind kind; /* CH_NONE: on anything */
};
int diff_work_parse(struct diff_work *w, const char *spec, struct err *err); /* 0, or -EINVAL with a sentence */
double diff_work_of(const struct profile *p, const struct diff_work *w);     /* 0: none was seen */

/* --- how sure --- */

/* One-sided probability below which a change is taken for real. Reachable from 4 + 4 runs on (1/70); with 5 + 5 two of the
 * 25 pairs of runs may contradict (4/252). Thresholds of rules guard against changes that are real and do not matter. */
#define DIFF_ALPHA 0.02

struct diff_stats {
	double base_median, new_median;
	double ratio;	  /* median over all pairs of runs of new / base (Hodges-Lehmann on logarithms); INFINITY: was 0 */
	double low, high; /* confidence interval of ratio at 1 - 2 DIFF_ALPHA; NAN with too few runs */
	double p_more;	  /* Mann-Whitney, one-sided, exact: probability of looking grown by chance */
	double p_less;	  /* of looking shrunk */
	bool decidable;	  /* enough runs for a verdict at DIFF_ALPHA */
};
/* The distribution of the Mann-Whitney statistic U for n and m runs, computed once. */
struct diff_null {
	unsigned n, m;
	double *cdf; /* P(U <= 0 .. n * m); NULL: many runs, the normal approximation */
	size_t rank; /* of the interval's ends among the sorted pairs, from 1; 0: too few runs */
};
int diff_null_init(struct diff_null *null, size_t n, size_t m); /* 0 or -ENOMEM */
void diff_null_fini(struct diff_null *null);
/* P(U <= u) without ties. */
double diff_mann_whitney(const struct diff_null *null, double u);
/* Compares null->n base and null->m new values (>= 0). blocks: of the base and then the new values, NULL or 0s: none. 0 or -ENOMEM. */
int diff_compare(struct diff_stats *out, const struct diff_null *null, const double *base, const double *fresh,
		 const uint32_t *blocks);
/* One-sided Fisher: probability that `in_new` or more of `m` new runs show what in_base of n base runs showed. */
double diff_fisher(unsigned in_base, unsigned n, unsigned in_new, unsigned m);

/* --- dimensions --- */

#define DIFF_ANY UINT32_MAX
enum diff_dim {
	DIFF_BY_PROCESS = 1,
	DIFF_BY_PEER = 2,
	DIFF_BY_CLASS = 4,
	DIFF_BY_CHANNEL = 8,
	DIFF_BY_FUNCTION = 16,
	DIFF_BY_STACK = 32
};
struct diff_key {
	uint32_t process, peer;	  /* roles; DIFF_ANY: summed over, or none */
	uint32_t cls, channel;	  /* enum wait_class, enum channel_kind */
	uint32_t function, stack; /* of diff.functions, diff.stacks */
};

/* One measured thing on both sides. */
struct diff_series {
	enum diff_metric metric;
	enum diff_norm norm;
	struct diff_key key;
	double *base, *fresh; /* a value per run, normalised */
	struct diff_stats stats;
	double share; /* size of the change against the tree's whole (for times that overlap: against wall time); 0..1 */
};

/* A process role: processes of one command at one place in the tree. */
struct diff_role {
	char *name;	 /* shortest that is unique among the roles: "worker", "sh/worker" */
	char *command;	 /* runtime's target: "worker", "python:serve.py" */
	char *path;	 /* commands from the root of the tree */
	char *new_path;	 /* of the new side when it was renamed; NULL: the same */
	uint32_t parent; /* role; DIFF_ANY: a root */
	bool outside;
	double n_base, n_new; /* processes a run, median; 0: not on that side */
};

/* Something a rule or a reader may want to know of a finding. */
struct diff_finding {
	enum finding_kind kind;
	char *roles;		   /* names, joined by ", " */
	const char *title, *where; /* borrowed from the newest profile that has it */
	unsigned in_base, in_new;
	double p;		 /* Fisher, that it is more frequent in new (or in base, when it vanished) by chance */
	bool appeared, vanished; /* for sure; with one run a side: present there and absent here */
};

/* --- rules --- */

#define DIFF_RULE_KEYS 6
struct diff_rule {
	char *text;
	bool is_finding; /* new_finding[:KIND] */
	int finding;	 /* enum finding_kind; -1: any */
	enum diff_metric metric;
	int norm;		       /* enum diff_norm; -1: the diff's own */
	unsigned by;		       /* diff_dim bits that have a pattern */
	char *pattern[DIFF_RULE_KEYS]; /* in the order of diff_dim's bits; NULL: any */
	bool wild;		       /* some pattern has wildcards */
	bool below;		       /* '<' */
	double factor;		       /* new / base */
};
/* The grammar of docs/DIFF.md. Returns 0, or -EINVAL with a sentence that says where and what would be right. */
int diff_rule_parse(struct diff_rule *r, const char *expr, struct err *err);
void diff_rule_fini(struct diff_rule *r);
/* The default rules, NULL-terminated. */
extern const char *const diff_default_rules[];

enum diff_outcome { DIFF_PASSED = 0, DIFF_FAILED, DIFF_NOT_JUDGED };
struct diff_verdict {
	const struct diff_rule *rule;
	enum diff_outcome outcome;
	char *why;		  /* DIFF_NOT_JUDGED: a sentence */
	struct diff_series *hits; /* that broke it, worst first */
	size_t n_hits;
	size_t *findings; /* indexes of diff.findings that broke it */
	size_t n_findings;
	struct diff_series closest; /* DIFF_PASSED: the series that came nearest to breaking it */
	bool has_closest;
};

/* --- the diff --- */

struct diff_function {
	char *name;	/* "checksum" */
	char *where;	/* "client.c:88", the module's name, or "" */
	bool in_kernel; /* the kernel's work on behalf of it: system calls, faults */
};

/* Stands for all kernel frames of a stack. */
#define DIFF_KERNEL_FRAME "[kernel]"

struct diff_fact;
struct diff {
	const struct diff_run *base, *fresh;
	size_t n_base, n_new;
	enum diff_norm norm;
	struct diff_null null;
	uint32_t *blocks; /* of all runs */
	struct diff_role *roles;
	size_t n_roles;
	struct diff_function *functions;
	size_t n_functions;
	char **stacks; /* call sites, leaf first, joined by " < " */
	size_t n_stacks;
	char **notes; /* what makes the comparison less than fair, one sentence each */
	size_t n_notes;
	char *unfair[DIFF_METRIC_COUNT]; /* why a metric is not compared; NULL: it is */
	bool estimated;
	/* what changed, by how much it explains; those before n_sure are beyond chance */
	struct diff_series *changes;
	size_t n_changes, n_sure;
	const struct diff_series
		*cause; /* the change that explains best what grew, of `changes` or of a verdict's hits; NULL: none */
	struct diff_finding *findings;
	size_t n_findings;
	struct diff_verdict *verdicts;
	size_t n_verdicts;
	struct diff_fact *facts;
	size_t n_facts;
};

struct diff_options {
	int norm; /* enum diff_norm; -1: per work where every run knows its work, else per second for attached runs of different
			    * lengths, else per run */
	const char *note;  /* said among the notes; NULL: none */
	bool same_machine; /* the user says that hosts and kernels are alike though their names differ */
};
/* Builds the comparison. Returns 0 and *out, or -errno with a sentence (a profile without processes, work unknown). */
int diff_new(struct diff **out, const struct diff_run *base, size_t n_base, const struct diff_run *fresh, size_t n_new,
	     const struct diff_options *opt, struct err *err);
void diff_free(struct diff *d);
/* Judges the rules (borrowed as long as the diff lives) into d->verdicts. Returns 0 or -errno. */
int diff_judge(struct diff *d, const struct diff_rule *rules, size_t n, struct err *err);

/* Whether a rule on times is neither clearly kept nor clearly broken, so that more runs would tell: a change of half its threshold or more,
 * and no rule on counts has decided already. */
bool diff_is_close(const struct diff *d);

/* Series of one metric, grouped by the dimensions `by`; patterns as in a rule, NULL: all. Sorted by share, largest first. The
 * caller frees with diff_series_free. Returns 0 or -ENOMEM. */
int diff_group(const struct diff *d, enum diff_metric metric, enum diff_norm norm, unsigned by, char *const *pattern,
	       struct diff_series **out, size_t *n);
void diff_series_free(struct diff_series *s, size_t n);
/* What a series consists of: the same metric and key, split by one more dimension. */
int diff_split(const struct diff *d, const struct diff_series *s, unsigned more, struct diff_series **out, size_t *n);
/* The peer over which most of a change went: *peer (DIFF_ANY unknown), *channel (CH_NONE unknown). */
void diff_peer(const struct diff *d, const struct diff_series *s, uint32_t *peer, enum channel_kind *channel);
/* The call sites behind a series, those that changed most first, as series of what is known by stack (of round trips: the waits of
 * both ends). May be empty. The caller frees with diff_series_free. Returns 0 or -ENOMEM. */
int diff_evidence(const struct diff *d, const struct diff_series *s, struct diff_series **out, size_t *n);

#endif
