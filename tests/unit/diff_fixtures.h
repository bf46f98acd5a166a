/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs made up for the tests of diff: a client that asks a server, whose two workers ask a store. Numbers are those of a run with
 * `work` records; noise comes from a seed, PIDs differ from run to run.
 */
#ifndef LOCKSTEP_DIFF_FIXTURES_H
#define LOCKSTEP_DIFF_FIXTURES_H

#include "aggregate/diff.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct spec {
	double records, batch, queries, size; /* as of bench/gate_target.c */
	double parse_us, kernel_us;	      /* CPU per record */
	double futex_waits;		      /* of the server */
	double noise;			      /* of times: standard deviation of their logarithm */
	double drift;			      /* factor on times */
	unsigned workers;		      /* processes below the server; 0: none */
	const char *client, *backend, *host, *version;
	bool finding, attached, empty;
	double seconds;
};

static const struct spec fixture_base = {.records = 10000,
					 .batch = 100,
					 .queries = 1,
					 .size = 60,
					 .parse_us = 50,
					 .kernel_us = 10,
					 .futex_waits = 200,
					 .noise = 0.02,
					 .drift = 1,
					 .client = "client",
					 .backend = "kernel",
					 .host = "h",
					 .version = "1",
					 .seconds = 1};

static uint64_t fixture_seed = 88172645463325252u;

static inline double fixture_uniform(void)
{
	fixture_seed ^= fixture_seed << 13;
	fixture_seed ^= fixture_seed >> 7;
	fixture_seed ^= fixture_seed << 17;
	return ((double)(fixture_seed >> 11) + 0.5) / 9007199254740992.0;
}

static inline double fixture_normal(void)
{
	return sqrt(-2 * log(fixture_uniform())) * cos(2 * M_PI * fixture_uniform());
}

static inline uint64_t fixture_time(const struct spec *s, double us)
{
	return (uint64_t)(us * 1e3 * s->drift * exp(s->noise * fixture_normal()));
}

static inline uint32_t fixture_stack(struct profile *p, const char *leaf, const char *caller, bool kernel)
{
	uint32_t frame = (uint32_t)p->n_frames, stack = (uint32_t)p->n_stacks, n = kernel ? 3 : 2, at = 0;

	p->frames = realloc(p->frames, (p->n_frames + 3) * sizeof *p->frames);
	p->stacks = realloc(p->stacks, (p->n_stacks + 1) * sizeof *p->stacks);
	p->stacks[stack] = (struct stack_row){.frame_ix = calloc(n, sizeof(uint32_t)), .n = n};
	if (kernel)
		p->frames[p->n_frames++] = (struct frame_row){strdup("ksys_write"), NULL, strdup("[kernel]"), 0, LANG_KERNEL};
	p->frames[p->n_frames++] =
		(struct frame_row){strdup(leaf), strdup("/src/app.c"), strdup("/bin/app"), 10 + frame, LANG_NATIVE};
	p->frames[p->n_frames++] = (struct frame_row){strdup(caller), strdup("/src/app.c"), strdup("/bin/app"), 99, LANG_NATIVE};
	for (; at < n; at++)
		p->stacks[stack].frame_ix[at] = frame + at;
	p->n_stacks++;
	return stack;
}

static inline struct process_row *fixture_process(struct profile *p, int32_t pid, int32_t ppid, const char *name)
{
	struct process_row *row;
	char exe[512];

	p->processes = realloc(p->processes, (p->n_processes + 1) * sizeof *p->processes);
	row = &p->processes[p->n_processes++];
	snprintf(exe, sizeof exe, "/bin/%s", name);
	*row = (struct process_row){.pid = pid,
				    .ppid = ppid,
				    .in_tree = true,
				    .comm = strndup(name, 15),
				    .exe = strdup(exe),
				    .started_ns = p->meta.start_ns + (uint64_t)p->n_processes,
				    .exit_status = -1,
				    .n_siblings = 1};
	return row;
}

static inline void fixture_cpu(struct profile *p, struct process_row *row, uint64_t ns, uint32_t stack)
{
	p->cpu = realloc(p->cpu, (p->n_cpu + 1) * sizeof *p->cpu);
	p->cpu[p->n_cpu++] = (struct cpu_row){row->pid, row->pid, stack, ns / 1000000, ns};
	row->ledger.on_cpu_ns += ns;
}

static inline void fixture_wait(struct profile *p, struct process_row *row, enum wait_class cls, uint32_t channel, uint64_t count,
				uint64_t ns, uint32_t stack)
{
	p->waits = realloc(p->waits, (p->n_waits + 1) * sizeof *p->waits);
	p->waits[p->n_waits] = (struct wait_row){.pid = row->pid,
						 .tid = row->pid,
						 .cls = cls,
						 .channel = channel,
						 .stack_ix = stack,
						 .count = count,
						 .blocked_ns = ns};
	p->n_waits++;
	row->ledger.blocked_ns[cls] += ns;
	row->ledger.waits += count;
}

static inline void fixture_edge(struct profile *p, int32_t waiter, int32_t waker, uint32_t channel, double count, double bytes,
				uint32_t waiter_stack, uint32_t waker_stack)
{
	struct edge_row *e;

	p->edges = realloc(p->edges, (p->n_edges + 1) * sizeof *p->edges);
	e = &p->edges[p->n_edges++];
	*e = (struct edge_row){.waiter_pid = waiter,
			       .waker_pid = waker,
			       .channel = channel,
			       .cls = WC_PIPE_READ,
			       .waiter_stack_ix = waiter_stack,
			       .waker_stack_ix = waker_stack,
			       .count = (uint64_t)count,
			       .blocked_ns = (uint64_t)count * 20000};
	size_hist_add(&e->bytes, (uint32_t)bytes, (uint64_t)count);
}

static inline void fixture_talk(struct profile *p, struct process_row *a, struct process_row *b, uint32_t channel, double rounds,
				double there, double back, uint32_t stack_a, uint32_t stack_b)
{
	fixture_edge(p, b->pid, a->pid, channel, rounds, there, stack_b, stack_a);
	fixture_edge(p, a->pid, b->pid, channel, rounds, back, stack_a, stack_b);
	a->wr_calls += (uint64_t)rounds;
	b->wr_calls += (uint64_t)rounds;
	a->rd_calls += (uint64_t)rounds;
	b->rd_calls += (uint64_t)rounds;
	a->wr_bytes += (uint64_t)(rounds * there);
	b->wr_bytes += (uint64_t)(rounds * back);
}

static inline struct profile *fixture_run(const struct spec *s)
{
	struct profile *p = profile_new();
	int32_t pid = 1000 + (int32_t)(fixture_uniform() * 30000);
	uint32_t ask, serve, parse, reply, lock;
	struct process_row *client, *server, *store;

	p->meta.host = strdup(s->host);
	p->meta.kernel = strdup("6");
	p->meta.arch = strdup("x86_64");
	p->meta.backend = strdup(s->backend);
	p->meta.version = strdup(s->version);
	p->meta.cpus = 2;
	p->meta.start_ns = 1000;
	p->meta.end_ns = 1000 + fixture_time(s, s->seconds * 1e6);
	p->meta.window_ns = p->meta.end_ns - 1000;
	if (!s->attached) {
		p->meta.command = calloc(2, sizeof(char *));
		p->meta.command[0] = strdup(s->client);
	}
	p->stacks = calloc(1, sizeof *p->stacks);
	p->n_stacks = 1;
	if (s->empty)
		return p;
	p->channels = calloc(2, sizeof *p->channels);
	p->channels[0] = (struct channel_row){.id = 1, .kind = CH_PIPE, .name = strdup("pipe:[1]")};
	p->channels[1] = (struct channel_row){.id = 2, .kind = CH_UNIX, .name = strdup("unix")};
	p->n_channels = 2;
	ask = fixture_stack(p, "ask", "main", false);
	serve = fixture_stack(p, "serve", "main", false);
	parse = fixture_stack(p, "parse_record", "serve", false);
	reply = fixture_stack(p, "reply", "serve", true);
	lock = fixture_stack(p, "with_lock", "serve", true);
	p->processes = malloc(sizeof *p->processes * (3 + s->workers));
	fixture_process(p, pid, 1, s->client);
	fixture_process(p, pid + 1, pid, "server");
	fixture_process(p, pid + 2, pid, "store");
	for (unsigned w = 0; w < s->workers; w++)
		fixture_process(p, pid + 3 + (int32_t)w, pid + 1, "worker");
	client = &p->processes[0];
	server = &p->processes[1];
	store = &p->processes[2];
	fixture_talk(p, client, server, 1, s->records / s->batch, s->size * s->batch, 1, ask, serve);
	fixture_talk(p, server, store, 2, s->records * s->queries, 16, 32, serve, ask);
	fixture_cpu(p, server, fixture_time(s, s->records * s->parse_us), parse);
	fixture_cpu(p, server, fixture_time(s, s->records * s->kernel_us), reply);
	fixture_cpu(p, store, fixture_time(s, s->records * s->queries * 5), serve);
	fixture_wait(p, server, WC_FUTEX, 0, (uint64_t)s->futex_waits, fixture_time(s, s->futex_waits * 30), lock);
	fixture_wait(p, client, WC_PIPE_READ, 1, (uint64_t)(s->records / s->batch), fixture_time(s, s->records * 60), ask);
	if (s->finding) {
		p->findings = calloc(1, sizeof *p->findings);
		p->findings[0] = (struct finding){.id = 1,
						  .kind = FIND_LOCKSTEP,
						  .title = strdup("server and store take turns"),
						  .where = strdup("app.c"),
						  .pids = calloc(2, sizeof(int32_t)),
						  .n_pids = 2};
		p->findings[0].pids[0] = pid + 1;
		p->findings[0].pids[1] = pid + 2;
		p->n_findings = 1;
	}
	return p;
}

/* Two sides of n runs. */
struct fixture {
	struct diff_run base[16], fresh[16];
	size_t n;
	struct diff_options opt;
	struct diff *d;
	struct diff_rule rules[16];
	size_t n_rules;
	struct err err;
};

static inline void fixture_make(struct fixture *f, size_t n, const struct spec *base, const struct spec *fresh)
{
	memset(f, 0, sizeof *f);
	f->n = n;
	f->opt.norm = -1;
	for (size_t i = 0; i < n; i++) {
		f->base[i] = (struct diff_run){fixture_run(base), "base.db", base->records, 0};
		f->fresh[i] = (struct diff_run){fixture_run(fresh), "new.db", fresh->records, 0};
	}
}

static inline int fixture_diff(struct fixture *f)
{
	return diff_new(&f->d, f->base, f->n, f->fresh, f->n, &f->opt, &f->err);
}

static inline int fixture_judge(struct fixture *f, const char *const *rules)
{
	for (; *rules; rules++)
		if (diff_rule_parse(&f->rules[f->n_rules++], *rules, &f->err) != 0)
			return -1;
	return diff_judge(f->d, f->rules, f->n_rules, &f->err);
}

static inline void fixture_free(struct fixture *f)
{
	for (size_t i = 0; i < f->n; i++) {
		profile_free((struct profile *)f->base[i].profile);
		profile_free((struct profile *)f->fresh[i].profile);
	}
	for (size_t i = 0; i < f->n_rules; i++)
		diff_rule_fini(&f->rules[i]);
	diff_free(f->d);
}

#endif
