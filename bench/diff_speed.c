/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a diff of 10 + 10 profiles of 1,000 stacks takes: reading the files, comparing, judging the default rules. Prints one line
 * per step. The files are made first, in a temporary folder, and removed.
 */
#include "aggregate/diff.h"
#include "aggregate/profile_db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RUNS 10
#define STACKS 1000
#define DEPTH 20
#define PROCESSES 20

/* CPU time: it is one thread that never waits, and the machine may be busy. */
static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static char *name(const char *prefix, size_t i)
{
	char *s = NULL;

	return asprintf(&s, "%s_%zu", prefix, i) < 0 ? NULL : s;
}

/* Every stack is a place of waiting, of being on a CPU, and of an edge. */
static struct profile *make(unsigned seed)
{
	struct profile *p = profile_new();

	p->meta.end_ns = 10000000000;
	p->meta.cpus = 2;
	p->n_frames = 2000;
	p->frames = calloc(p->n_frames, sizeof *p->frames);
	for (size_t i = 0; i < p->n_frames; i++)
		p->frames[i] = (struct frame_row){name("function", i), strdup("/src/file.c"), strdup("/bin/app"), (uint32_t)i + 1,
						  LANG_NATIVE};
	p->n_stacks = STACKS + 1;
	p->stacks = calloc(p->n_stacks, sizeof *p->stacks);
	p->n_processes = PROCESSES;
	p->processes = calloc(PROCESSES, sizeof *p->processes);
	for (size_t i = 0; i < PROCESSES; i++)
		p->processes[i] = (struct process_row){.pid = (int32_t)(seed * 100 + i + 1),
						       .ppid = (int32_t)(i ? seed * 100 + 1 : 0),
						       .in_tree = true,
						       .comm = name("p", i),
						       .exe = name("/bin/p", i),
						       .n_siblings = 1,
						       .wr_calls = 1000 + i,
						       .ledger.on_cpu_ns = 1000000000};
	p->waits = calloc(STACKS, sizeof *p->waits);
	p->cpu = calloc(STACKS, sizeof *p->cpu);
	p->edges = calloc(STACKS, sizeof *p->edges);
	p->n_waits = p->n_cpu = p->n_edges = STACKS;
	for (uint32_t i = 0; i < STACKS; i++) {
		struct stack_row *s = &p->stacks[i + 1];
		int32_t pid = p->processes[i % PROCESSES].pid, peer = p->processes[(i + 1) % PROCESSES].pid;
		*s = (struct stack_row){.frame_ix = calloc(DEPTH, sizeof(uint32_t)), .n = DEPTH};
		for (uint32_t k = 0; k < DEPTH; k++)
			s->frame_ix[k] = (i * 7 + k * 13) % 2000;
		p->waits[i] = (struct wait_row){
			.pid = pid, .tid = pid, .cls = WC_PIPE_READ, .stack_ix = i + 1, .count = 1000 + i, .blocked_ns = 1000000};
		p->cpu[i] = (struct cpu_row){pid, pid, i + 1, 10, 10000000};
		p->edges[i] = (struct edge_row){.waiter_pid = pid,
						.waker_pid = peer,
						.cls = WC_PIPE_READ,
						.waiter_stack_ix = i + 1,
						.waker_stack_ix = i + 1,
						.count = 500};
		for (uint64_t k = 0; k < 40; k++) {
			hist_add(&p->waits[i].hist, 1000 * k * k, 3);
			hist_add(&p->edges[i].hist, 1000 * k * k, 3);
		}
	}
	return p;
}

int main(void)
{
	char dir[] = "/tmp/lockstep-diff-speed.XXXXXX", path[2 * RUNS][64];
	struct diff_run runs[2 * RUNS] = {0};
	struct diff_options opt = {.norm = -1};
	struct diff_rule rules[16];
	struct diff *d = NULL;
	struct err err = {""};
	size_t n_rules = 0;
	double t0, t1, t2, t3;

	if (!mkdtemp(dir))
		return 1;
	for (unsigned i = 0; i < 2 * RUNS; i++) {
		struct profile *p = make(i);
		snprintf(path[i], sizeof path[i], "%s/%u.db", dir, i);
		if (profile_save(p, path[i], &err) != 0)
			fprintf(stderr, "%s\n", err.msg);
		profile_free(p);
	}
	t0 = now_s();
	for (unsigned i = 0; i < 2 * RUNS; i++) {
		struct profile *p = NULL;
		if (profile_load(&p, path[i], &err) != 0) {
			fprintf(stderr, "%s\n", err.msg);
			return 1;
		}
		runs[i] = (struct diff_run){.profile = p, .name = path[i]};
	}
	t1 = now_s();
	if (diff_new(&d, runs, RUNS, runs + RUNS, RUNS, &opt, &err) != 0)
		return 1;
	t2 = now_s();
	for (const char *const *r = diff_default_rules; *r; r++)
		if (diff_rule_parse(&rules[n_rules++], *r, &err) != 0)
			return 1;
	if (diff_judge(d, rules, n_rules, &err) != 0)
		return 1;
	t3 = now_s();
	printf("%d + %d profiles, %d stacks each: read %.0f ms, compare %.0f ms, judge %.0f ms, in all %.0f ms of CPU time\n",
	       RUNS, RUNS, STACKS, (t1 - t0) * 1e3, (t2 - t1) * 1e3, (t3 - t2) * 1e3, (t3 - t0) * 1e3);
	diff_free(d);
	for (size_t i = 0; i < n_rules; i++)
		diff_rule_fini(&rules[i]);
	for (unsigned i = 0; i < 2 * RUNS; i++) {
		profile_free((struct profile *)runs[i].profile);
		unlink(path[i]);
	}
	rmdir(dir);
	return 0;
}
