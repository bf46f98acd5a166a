/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles built in memory, for the tests of report/: a lock-step pair, a ring, a healthy tree, 5,000 siblings, hostile names, an
 * empty one, a sampled one, a lossy one. Each is what the aggregator would hand over for such a program; all times are made up.
 */
#ifndef REPORT_FIXTURES_H
#define REPORT_FIXTURES_H

#include "aggregate/profile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000ull
#define SEC 1000000000ull
#define FIX_START (1000 * SEC)

#define GROW(p, array, count)                                                                                                    \
	((p)->array = realloc((p)->array, ((p)->count + 1) * sizeof *(p)->array),                                                \
	 memset(&(p)->array[(p)->count], 0, sizeof *(p)->array), &(p)->array[(p)->count++])

static inline char **fix_argv(const char *first, ...)
{
	va_list ap;
	char **v = calloc(16, sizeof *v);
	size_t n = 0;

	va_start(ap, first);
	for (const char *s = first; s && n < 15; s = va_arg(ap, const char *))
		v[n++] = strdup(s);
	va_end(ap);
	return v;
}

static inline struct profile *fix_profile(uint64_t duration_ns, char **command, int32_t root)
{
	struct profile *p = profile_new();

	p->meta.version = strdup("0.1.0");
	p->meta.host = strdup("buildbox");
	p->meta.kernel = strdup("6.1.0-18-amd64");
	p->meta.arch = strdup("x86_64");
	p->meta.backend = strdup("kernel");
	p->meta.command = command;
	p->meta.root_pids = calloc(1, sizeof *p->meta.root_pids);
	p->meta.root_pids[0] = root;
	p->meta.n_root_pids = root ? 1 : 0;
	p->meta.cpus = 2;
	p->meta.started_at = strdup("2026-03-01T09:30:00Z");
	p->meta.start_ns = FIX_START;
	p->meta.end_ns = FIX_START + duration_ns;
	p->meta.exit_status = command ? 0 : -1;
	p->meta.frequency_hz = 99;
	p->meta.window_ns = duration_ns;
	p->stacks = calloc(1, sizeof *p->stacks); /* stacks[0] is the empty one */
	p->n_stacks = 1;
	p->timeline_step_ns = duration_ns / 50 ? duration_ns / 50 : 1;
	return p;
}

static inline struct process_row *fix_process(struct profile *p, int32_t pid, int32_t ppid, const char *comm, char **cmdline)
{
	struct process_row *r = GROW(p, processes, n_processes);

	r->pid = pid;
	r->ppid = ppid;
	r->in_tree = true;
	r->comm = strdup(comm);
	r->exe = strdup("/usr/local/bin/app");
	r->cmdline = cmdline;
	r->started_ns = p->meta.start_ns;
	r->exit_status = -1;
	r->n_threads = r->peak_threads = 1;
	r->n_siblings = 1;
	return r;
}

/* A stack from "function|file:line|module" texts, leaf first. "k:" before the function: kernel; "py:" "java:" "js:": those. */
static inline uint32_t fix_stack(struct profile *p, const char *first, ...)
{
	va_list ap;
	uint32_t ix = (uint32_t)p->n_stacks;
	uint32_t frames[256], n = 0;

	va_start(ap, first);
	for (const char *s = first; s && n < 256; s = va_arg(ap, const char *)) {
		struct frame_row *f = GROW(p, frames, n_frames);
		char *copy = strdup(s), *fn = copy, *file, *module = NULL;
		static const struct {
			const char *tag;
			enum frame_language l;
		} tags[] = {{"k:", LANG_KERNEL}, {"py:", LANG_PYTHON}, {"java:", LANG_JAVA}, {"js:", LANG_JS}};
		for (size_t i = 0; i < 4; i++)
			if (strncmp(fn, tags[i].tag, strlen(tags[i].tag)) == 0) {
				f->language = tags[i].l;
				fn += strlen(tags[i].tag);
				break;
			}
		file = strchr(fn, '|');
		if (file) {
			*file++ = '\0';
			module = strchr(file, '|');
			if (module)
				*module++ = '\0';
			char *colon = strrchr(file, ':');
			if (colon) {
				*colon = '\0';
				f->line = (uint32_t)atoi(colon + 1);
			}
		}
		f->function = strdup(fn);
		f->file = file && *file ? strdup(file) : NULL;
		f->module = strdup(module ? module : f->language == LANG_KERNEL ? "[kernel]" : "/usr/local/bin/app");
		frames[n++] = (uint32_t)p->n_frames - 1;
		free(copy);
	}
	va_end(ap);
	struct stack_row *st = GROW(p, stacks, n_stacks);
	st->n = n;
	st->frame_ix = malloc((n ? n : 1) * sizeof *st->frame_ix);
	memcpy(st->frame_ix, frames, n * sizeof *frames);
	return ix;
}

static inline struct channel_row *fix_channel(struct profile *p, uint32_t id, enum channel_kind kind, const char *name,
					      int32_t reader, int32_t writer)
{
	struct channel_row *c = GROW(p, channels, n_channels);

	c->id = id;
	c->kind = kind;
	c->name = strdup(name);
	c->capacity_bytes = kind == CH_PIPE ? 65536 : 0;
	c->ends = calloc(2, sizeof *c->ends);
	c->ends[0] = (struct channel_end){reader, 0, END_READER};
	c->ends[1] = (struct channel_end){writer, 1, END_WRITER};
	c->n_ends = 2;
	return c;
}

static inline struct process_row *fix_find(struct profile *p, int32_t pid)
{
	for (size_t i = 0; i < p->n_processes; i++)
		if (p->processes[i].pid == pid)
			return &p->processes[i];
	abort();
}

/* A wait row and its share of the process's ledger. */
static inline struct wait_row *fix_wait(struct profile *p, int32_t pid, enum wait_class cls, uint32_t channel, uint32_t stack,
					uint64_t count, uint64_t blocked_ns, uint64_t idle_ns)
{
	struct wait_row *w = GROW(p, waits, n_waits);
	struct process_row *r = fix_find(p, pid);

	w->pid = w->tid = pid;
	w->cls = cls;
	w->channel = channel;
	w->stack_ix = stack;
	w->count = count;
	w->blocked_ns = blocked_ns;
	w->idle_ns = idle_ns;
	if (count)
		hist_add(&w->hist, (blocked_ns + idle_ns) / count, (uint32_t)count);
	r->ledger.blocked_ns[cls] += blocked_ns;
	r->ledger.idle_ns += idle_ns;
	r->ledger.waits += count;
	return w;
}

static inline void fix_cpu(struct profile *p, int32_t pid, uint32_t stack, uint64_t ns)
{
	struct cpu_row *c = GROW(p, cpu, n_cpu);

	c->pid = c->tid = pid;
	c->stack_ix = stack;
	c->est_ns = ns;
	c->samples = ns * 99 / SEC;
	fix_find(p, pid)->ledger.on_cpu_ns += ns;
}

static inline struct edge_row *fix_edge(struct profile *p, int32_t waiter, int32_t waker, uint32_t channel, enum wait_class cls,
					uint32_t waiter_stack, uint32_t waker_stack, uint64_t count, uint64_t blocked_ns,
					uint32_t bytes)
{
	struct edge_row *e = GROW(p, edges, n_edges);

	e->waiter_pid = waiter;
	e->waker_pid = waker;
	e->channel = channel;
	e->cls = cls;
	e->waiter_stack_ix = waiter_stack;
	e->waker_stack_ix = waker_stack;
	e->confidence = CONF_HIGH;
	e->count = count;
	e->blocked_ns = blocked_ns;
	if (count)
		hist_add(&e->hist, blocked_ns / count, (uint32_t)count);
	if (bytes)
		size_hist_add(&e->bytes, bytes, count);
	return e;
}

static inline struct finding *fix_finding(struct profile *p, enum finding_kind kind, const char *title, const char *where,
					  const char *advice)
{
	struct finding *f = GROW(p, findings, n_findings);

	f->id = (uint32_t)p->n_findings;
	f->kind = kind;
	f->title = strdup(title);
	f->where = strdup(where);
	f->advice = strdup(advice);
	f->round_trips_per_s = -1;
	f->bytes_p50 = f->bytes_p99 = -1;
	f->confidence = CONF_HIGH;
	return f;
}

static inline void fix_finding_pid(struct finding *f, int32_t pid)
{
	f->pids = realloc(f->pids, (f->n_pids + 1) * sizeof *f->pids);
	f->pids[f->n_pids++] = pid;
}

static inline void fix_finding_channel(struct finding *f, uint32_t id)
{
	f->channels = realloc(f->channels, (f->n_channels + 1) * sizeof *f->channels);
	f->channels[f->n_channels++] = id;
}

static inline void fix_evidence(struct finding *f, const char *label, int32_t pid, uint32_t stack)
{
	f->evidence = realloc(f->evidence, (f->n_evidence + 1) * sizeof *f->evidence);
	f->evidence[f->n_evidence++] = (struct evidence){strdup(label), pid, stack};
}

static inline void fix_timeline(struct profile *p, int32_t pid, double cpu, double blocked, enum wait_class cls)
{
	for (uint32_t i = 0; i < 50; i++) {
		struct interval_row *r = GROW(p, intervals, n_intervals);
		r->index = i;
		r->pid = pid;
		r->on_cpu_ns = (uint64_t)(cpu * (double)p->timeline_step_ns);
		r->blocked_ns = (uint64_t)(blocked * (double)p->timeline_step_ns);
		r->waits = blocked > 0 ? 1000 : 0;
		r->top_class = cls;
	}
}

/* `rounds` turns of two threads that wake each other, 4 us a turn, in each of two windows: what the analysis keeps as an
 * excerpt. */
static inline void fix_trace(struct profile *p, int32_t a, int32_t b, uint32_t channel_a, uint32_t channel_b, uint32_t stack_a,
			     uint32_t stack_b, unsigned rounds)
{
	for (uint32_t window = 0; window < 2; window++)
		for (unsigned i = 0; i < rounds; i++) {
			uint64_t t = 1000 + i * 8000ull;
			struct trace_row *r = GROW(p, trace, n_trace);
			*r = (struct trace_row){.window = window,
						.pid = a,
						.tid = a,
						.cls = WC_PIPE_READ,
						.end = BLAME_RUN,
						.waker_tid = b,
						.channel = channel_a,
						.stack_ix = stack_a,
						.bytes = 200,
						.out_ns = t,
						.wake_ns = t + 6200,
						.run_ns = t + 6800};
			r = GROW(p, trace, n_trace);
			*r = (struct trace_row){.window = window,
						.pid = b,
						.tid = b,
						.cls = WC_PIPE_READ,
						.end = BLAME_RUN,
						.waker_tid = a,
						.channel = channel_b,
						.stack_ix = stack_b,
						.bytes = 200,
						.out_ns = t + 6400,
						.wake_ns = t + 7600,
						.run_ns = t + 8200};
		}
}

/* ---- the profiles ---- */

/* 10 s, 112,000 round trips a second of 200 bytes over two pipes; each side runs 12 % and waits for the other 84 %. */
static inline struct profile *fix_lockstep(void)
{
	struct profile *p = fix_profile(10 * SEC, fix_argv("./build/examples/lockstep_pipe", "--size", "200", NULL), 4101);

	fix_process(p, 4101, 4000, "ping", fix_argv("./ping", NULL));
	fix_process(p, 4102, 4101, "pong", fix_argv("./pong", NULL));
	fix_channel(p, 1, CH_PIPE, "pipe:[81234]", 4102, 4101);
	fix_channel(p, 2, CH_PIPE, "pipe:[81235]", 4101, 4102);
	uint32_t ping_read =
		fix_stack(p, "k:__schedule", "k:schedule", "k:pipe_read", "k:vfs_read", "k:ksys_read", "k:do_syscall_64",
			  "read||/lib/x86_64-linux-gnu/libc.so.6", "read_all|examples/pipe_io.h:22",
			  "ping_loop|examples/lockstep_pipe.c:41", "main|examples/lockstep_pipe.c:88",
			  "__libc_start_call_main||/lib/x86_64-linux-gnu/libc.so.6",
			  "__libc_start_main_impl||/lib/x86_64-linux-gnu/libc.so.6", "_start", NULL);
	uint32_t ping_write = fix_stack(p, "k:pipe_write", "k:vfs_write", "k:ksys_write", "k:do_syscall_64",
					"write||/lib/x86_64-linux-gnu/libc.so.6", "ping_loop|examples/lockstep_pipe.c:40",
					"main|examples/lockstep_pipe.c:88",
					"__libc_start_call_main||/lib/x86_64-linux-gnu/libc.so.6", "_start", NULL);
	uint32_t pong_read =
		fix_stack(p, "k:__schedule", "k:schedule", "k:pipe_read", "k:vfs_read", "read||/lib/x86_64-linux-gnu/libc.so.6",
			  "pong_loop|examples/lockstep_pipe.c:57", "main|examples/lockstep_pipe.c:91", "_start", NULL);
	uint32_t pong_write =
		fix_stack(p, "k:pipe_write", "write||/lib/x86_64-linux-gnu/libc.so.6", "pong_loop|examples/lockstep_pipe.c:59",
			  "main|examples/lockstep_pipe.c:91", "_start", NULL);
	fix_wait(p, 4101, WC_PIPE_READ, 2, ping_read, 1120000, 8400 * MS, 0);
	fix_wait(p, 4102, WC_PIPE_READ, 1, pong_read, 1120000, 8350 * MS, 0);
	fix_cpu(p, 4101, ping_write, 1200 * MS);
	fix_cpu(p, 4102, pong_write, 1250 * MS);
	p->processes[0].ledger.run_queue_ns = 400 * MS;
	p->processes[1].ledger.run_queue_ns = 400 * MS;
	fix_edge(p, 4101, 4102, 2, WC_PIPE_READ, ping_read, pong_write, 1120000, 8400 * MS, 200);
	fix_edge(p, 4102, 4101, 1, WC_PIPE_READ, pong_read, ping_write, 1120000, 8350 * MS, 200);
	fix_trace(p, 4101, 4102, 2, 1, ping_read, pong_read, 40);
	fix_timeline(p, 4101, 0.12, 0.84, WC_PIPE_READ);
	fix_timeline(p, 4102, 0.125, 0.835, WC_PIPE_READ);
	struct finding *f = fix_finding(p, FIND_LOCKSTEP,
					"ping (4101) and pong (4102) take turns: 112 k round trips/s of 200-byte messages, each "
					"waits while the other runs.",
					"ping_loop lockstep_pipe.c:41 waits for pong_loop lockstep_pipe.c:59, over pipe:[81235] "
					"and back over pipe:[81234]",
					"send many messages per turn (a batch of 100 would run 3.1 to 4.4 times as fast), or let "
					"ping go on without an answer");
	fix_finding_pid(f, 4101);
	fix_finding_pid(f, 4102);
	fix_finding_channel(f, 1);
	fix_finding_channel(f, 2);
	fix_evidence(f, "ping waits here", 4101, ping_read);
	fix_evidence(f, "pong wakes it from here", 4102, pong_write);
	f->share_of_wall = 0.84;
	f->round_trips_per_s = 112000;
	f->bytes_p50 = f->bytes_p99 = 200;
	f->speedup_low = 3.1;
	f->speedup_high = 4.4;
	return p;
}

/* Three children of one parent, in a ring of pipes: rows of their own, though parent and command are the same. */
static inline struct profile *fix_ring(void)
{
	struct profile *p = fix_profile(5 * SEC, fix_argv("./ring", "3", NULL), 700);
	uint32_t st = fix_stack(p, "read||/lib/libc.so.6", "relay|ring.c:33", "main|ring.c:70", NULL);

	fix_process(p, 700, 1, "ring", fix_argv("./ring", "3", NULL));
	fix_wait(p, 700, WC_CHILD, 0, fix_stack(p, "wait4||/lib/libc.so.6", "main|ring.c:80", NULL), 1, 0, 5 * SEC)->in_progress =
		1;
	for (int i = 0; i < 3; i++) {
		fix_process(p, 701 + i, 700, "ring", fix_argv("./ring", "3", NULL));
		fix_channel(p, 1 + (uint32_t)i, CH_PIPE, "pipe", 701 + i, 701 + (i + 2) % 3);
	}
	for (int i = 0; i < 3; i++) {
		fix_wait(p, 701 + i, WC_PIPE_READ, 1 + (uint32_t)i, st, 200000, 4500 * MS, 0);
		fix_cpu(p, 701 + i, st, 300 * MS);
		fix_find(p, 701 + i)->ledger.run_queue_ns = 200 * MS;
		fix_edge(p, 701 + i, 701 + (i + 2) % 3, 1 + (uint32_t)i, WC_PIPE_READ, st, st, 200000, 4500 * MS, 8);
	}
	struct finding *f = fix_finding(
		p, FIND_LOCKSTEP, "ring (701), ring (702) and ring (703) pass one message round: only one of three ever runs.",
		"relay ring.c:33 in each, over three pipes",
		"let each pass several messages before it waits: 2.0 to 2.9 times as fast");
	for (int i = 0; i < 3; i++)
		fix_finding_pid(f, 701 + i);
	f->share_of_wall = 0.9;
	f->round_trips_per_s = 40000;
	f->confidence = CONF_MEDIUM;
	f->speedup_low = 2.0;
	f->speedup_high = 2.9;
	return p;
}

/* A compressor that computes, fed by a process that is fast enough; nothing is wrong. */
static inline struct profile *fix_healthy(void)
{
	struct profile *p = fix_profile(20 * SEC, fix_argv("sh", "-c", "cat big.log | gzip > big.log.gz", NULL), 300);

	fix_process(p, 300, 1, "sh", fix_argv("sh", "-c", "cat big.log | gzip > big.log.gz", NULL));
	fix_process(p, 301, 300, "cat", fix_argv("cat", "big.log", NULL));
	fix_process(p, 302, 300, "gzip", fix_argv("gzip", NULL));
	fix_channel(p, 1, CH_PIPE, "pipe:[555]", 302, 301);
	uint32_t deflate = fix_stack(p, "longest_match|/build/gzip/match.c:120", "deflate|/build/gzip/deflate.c:711",
				     "zip|/build/gzip/zip.c:112", "treat_stdin|/build/gzip/gzip.c:801",
				     "main|/build/gzip/gzip.c:600", "_start", NULL);
	uint32_t full = fix_stack(p, "k:__schedule", "k:pipe_write", "write||/lib/libc.so.6",
				  "full_write|/build/coreutils/full-write.c:63", "simple_cat|/build/coreutils/cat.c:180",
				  "main|/build/coreutils/cat.c:700", "_start", NULL);
	fix_wait(p, 300, WC_CHILD, 0, fix_stack(p, "wait4||/lib/libc.so.6", "waitforit||/bin/dash", NULL), 2, 0, 20 * SEC);
	fix_wait(p, 301, WC_PIPE_WRITE, 1, full, 9200, 600 * MS, 18800 * MS);
	fix_cpu(p, 301, full, 600 * MS);
	fix_cpu(p, 302, deflate, 19400 * MS);
	fix_find(p, 302)->ledger.run_queue_ns = 350 * MS;
	fix_wait(p, 302, WC_FILE_IO, 0, 0, 40, 250 * MS, 0);
	fix_edge(p, 301, 302, 1, WC_PIPE_WRITE, full, 0, 9200, 600 * MS, 0);
	fix_timeline(p, 302, 0.97, 0.01, WC_FILE_IO);
	fix_timeline(p, 301, 0.03, 0.02, WC_PIPE_WRITE);
	return p;
}

/* A shell that starts true 5,000 times: the aggregator's one row for them. 30 workers of one hub: the view's. */
static inline struct profile *fix_siblings(void)
{
	struct profile *p = fix_profile(12 * SEC, fix_argv("sh", "-c", "for i in $(seq 5000); do true; done", NULL), 50);
	uint32_t call = fix_stack(p, "recv||/lib/libc.so.6", "increment|app/counters.py:12", "work|app/worker.py:30", NULL);
	uint32_t answer = fix_stack(p, "send||/lib/libc.so.6", "serve|app/manager.py:51", NULL);

	fix_process(p, 50, 1, "sh", fix_argv("sh", NULL));
	struct process_row *t = fix_process(p, 60, 50, "true", fix_argv("true", NULL));
	t->n_siblings = t->n_threads = 5000;
	t->ledger.on_cpu_ns = 2400 * MS;
	t->ledger.run_queue_ns = 100 * MS;
	t->ended_ns = p->meta.end_ns;
	fix_wait(p, 50, WC_CHILD, 0, fix_stack(p, "wait4||/lib/libc.so.6", "waitforit||/bin/dash", NULL), 5000, 8 * SEC, 0);
	fix_edge(p, 50, 60, 0, WC_CHILD, 0, 0, 5000, 8 * SEC, 0);
	fix_cpu(p, 50, fix_stack(p, "k:copy_process", "vfork||/lib/libc.so.6", "forkshell||/bin/dash", NULL), 4 * SEC);
	fix_process(p, 100, 50, "manager", fix_argv("manager", NULL))->runtime = RT_PYTHON;
	fix_cpu(p, 100, answer, 9 * SEC);
	fix_wait(p, 100, WC_POLL, 0, 0, 10000, 1 * SEC, 2 * SEC);
	for (int i = 0; i < 30; i++) {
		int32_t pid = 101 + i;
		fix_process(p, pid, 50, "worker", fix_argv("worker", NULL))->runtime = RT_PYTHON;
		fix_channel(p, 10 + (uint32_t)i, CH_UNIX, "socket", pid, 100);
		fix_wait(p, pid, WC_UNIX_READ, 10 + (uint32_t)i, call, 40000, 11 * SEC, 0);
		fix_cpu(p, pid, call, 900 * MS);
		fix_edge(p, pid, 100, 10 + (uint32_t)i, WC_UNIX_READ, call, answer, 40000, 11 * SEC, 32);
	}
	struct finding *f = fix_finding(
		p, FIND_CHATTY_HUB,
		"30 worker processes ask manager (100) 100 k times a second for 32 bytes and wait 92 % of their time.",
		"increment app/counters.py:12, called by work app/worker.py:30; answered by serve app/manager.py:51",
		"count locally and flush once a second: 4.0 to 5.8 times as fast");
	for (int i = 0; i < 31; i++)
		fix_finding_pid(f, 100 + i);
	f->also = 1u << FIND_SINGLE_SERVER;
	f->share_of_wall = 0.92;
	f->speedup_low = 4;
	f->speedup_high = 5.8;
	return p;
}

/* Everything that a target can choose, chosen badly. */
static inline struct profile *fix_hostile(void)
{
	struct profile *p =
		fix_profile(1 * SEC, fix_argv("./\x1b]0;owned\x07x", "</script><script>alert(1)</script>", "a\nb", NULL), 66);
	uint32_t st = fix_stack(p,
				"evil\x1b[2J;fn name|/tmp/\xe2\x80\xae"
				"cod.c:7|/tmp/a b",
				"`rm -rf`|<b>.c:1", "caf\xc3\xa9|x.c:2", NULL);

	fix_process(p, 66, 1, "\x1b[31mred", fix_argv("\x1b[31mred", NULL));
	fix_process(p, 67, 66, "</script><img src=x onerror=alert(1)>", NULL);
	fix_process(p, 68, 66, "\xff\xfe|\x80`*_[x](y)", NULL);
	fix_process(p, 69, 66, "\xe2\x80\xaegnp.exe\xe2\x81\xa6", NULL);
	fix_channel(p, 1, CH_UNIX, "/tmp/\x1b[0m\"];click A \"javascript:alert(1)\"", 66, 67);
	fix_wait(p, 66, WC_UNIX_READ, 1, st, 100, 900 * MS, 0);
	fix_edge(p, 66, 67, 1, WC_UNIX_READ, st, st, 100, 900 * MS, 10)->confidence = CONF_MEDIUM;
	fix_cpu(p, 67, st, 500 * MS);
	fix_cpu(p, 68, st, 300 * MS);
	fix_cpu(p, 69, st, 200 * MS);
	struct finding *f =
		fix_finding(p, FIND_SLOW_PRODUCER, "\x1b[31mred (66) waits for </script><script>alert(1)</script> (67)",
			    "`rm -rf` <b>.c:1", "look at it\x07");
	fix_finding_pid(f, 66);
	fix_finding_pid(f, 67);
	f->confidence = CONF_LOW;
	return p;
}

static inline struct profile *fix_empty(void)
{
	return fix_profile(0, NULL, 0);
}

/* The user backend: sampled waits, no histograms, unsure peers; and a wait that spans the run. */
static inline struct profile *fix_sampled(void)
{
	struct profile *p = fix_profile(30 * SEC, NULL, 900);

	free(p->meta.backend);
	p->meta.backend = strdup("user");
	p->meta.backend_costs = strdup("no root: waits are sampled, wakers are inferred from the channels' ends");
	struct process_row *r = fix_process(p, 900, 1, "java", fix_argv("java", "-jar", "server.jar", NULL));
	r->runtime = RT_JAVA;
	r->n_threads = r->peak_threads = 31;
	fix_process(p, 901, 1, "postgres", fix_argv("postgres", NULL))->in_tree = false;
	struct channel_row *c = fix_channel(p, 5, CH_TCP, "10.0.0.5:5432 (PostgreSQL)", 900, 0);
	c->remote = true;
	fix_channel(p, 6, CH_TCP, "127.0.0.1:5432", 900, 901);
	uint32_t st = fix_stack(p, "java:SocketDispatcher.read0|SocketDispatcher.java:0",
				"java:PgConnection.query|PgConnection.java:310", "java:OrderDao.load|OrderDao.java:55",
				"java:OrderService.run|OrderService.java:20", "java:Thread.run|Thread.java:840",
				"thread_native_entry||libjvm.so", "start_thread||/lib/libc.so.6", NULL);
	fix_wait(p, 900, WC_TCP_READ, 5, st, 2100, 21 * SEC, 0)->estimated = true;
	fix_wait(p, 900, WC_TCP_READ, 6, st, 300, 3 * SEC, 0)->estimated = true;
	struct wait_row *w =
		fix_wait(p, 900, WC_FUTEX, 0, fix_stack(p, "futex_wait||/lib/libc.so.6", "java:Unsafe.park|Unsafe.java:0", NULL),
			 28, 4 * SEC, 800 * SEC);
	w->estimated = true;
	w->in_progress = 28;
	memset(&w->hist, 0, sizeof w->hist);
	memset(&p->waits[0].hist, 0, sizeof w->hist);
	memset(&p->waits[1].hist, 0, sizeof w->hist);
	struct edge_row *e = fix_edge(p, 900, 0, 5, WC_TCP_READ, st, 0, 2100, 21 * SEC, 0);
	e->estimated = true;
	memset(&e->hist, 0, sizeof e->hist);
	e = fix_edge(p, 900, 901, 6, WC_TCP_READ, st, 0, 300, 3 * SEC, 0);
	e->estimated = true;
	e->confidence = CONF_LOW;
	memset(&e->hist, 0, sizeof e->hist);
	fix_cpu(p, 900, st, 2 * SEC);
	return p;
}

/* Records were lost, and the analysed windows cover a part only. */
static inline struct profile *fix_lossy(void)
{
	struct profile *p = fix_lockstep();

	p->meta.lost_events = 81000;
	p->meta.lost_stacks = 12;
	p->meta.lost_ns = 700 * MS;
	fix_find(p, 4101)->ledger.lost_ns = 700 * MS;
	p->meta.window_ns = 4 * SEC;
	p->findings[0].confidence = CONF_MEDIUM;
	return p;
}

static inline uint32_t fix_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* n_processes in a tree, n_stacks distinct stacks of some thirty frames each, drawn from 4,000 functions with a long tail. */
static inline struct profile *fix_big(unsigned n_processes, unsigned n_stacks)
{
	struct profile *p = fix_profile(60 * SEC, fix_argv("./big-application", "--workers", "200", NULL), 1000);
	uint32_t seed = 7;
	char text[96];

	p->frames = calloc(4000, sizeof *p->frames);
	for (p->n_frames = 0; p->n_frames < 4000; p->n_frames++) {
		struct frame_row *f = &p->frames[p->n_frames];
		snprintf(text, sizeof text, "module_%u_function_%zu", (unsigned)p->n_frames % 37, p->n_frames);
		f->function = strdup(text);
		snprintf(text, sizeof text, "/src/module_%u/file_%zu.c", (unsigned)p->n_frames % 37, p->n_frames % 211);
		f->file = strdup(text);
		f->line = 1 + (uint32_t)p->n_frames % 900;
		f->module = strdup("/usr/bin/big-application");
	}
	free(p->stacks);
	p->stacks = calloc(n_stacks + 1, sizeof *p->stacks);
	p->n_stacks = n_stacks + 1;
	for (unsigned i = 1; i <= n_stacks; i++) {
		uint32_t n = 18 + fix_random(&seed) % 24;
		p->stacks[i].n = n;
		p->stacks[i].frame_ix = malloc(n * sizeof(uint32_t));
		for (uint32_t k = 0; k < n; k++) { /* outer frames are few, inner ones many */
			uint32_t depth = n - 1 - k, fan = depth < 4 ? 2 : depth < 10 ? 4 : 400;
			p->stacks[i].frame_ix[k] = (depth * 61 + fix_random(&seed) % fan) % 4000;
		}
	}
	for (unsigned i = 0; i < n_processes; i++) {
		snprintf(text, sizeof text, "service-%u", i % 60);
		fix_process(p, 1000 + (int32_t)i, i ? 1000 : 1, text, fix_argv("./big-application", text, NULL));
	}
	p->waits = calloc(n_stacks, sizeof *p->waits);
	p->cpu = calloc(n_stacks, sizeof *p->cpu);
	for (unsigned i = 1; i <= n_stacks; i++) {
		int32_t pid = 1000 + (int32_t)(i % n_processes);
		uint64_t ns = 60 * SEC * n_processes / n_stacks * (1 + fix_random(&seed) % 100) / 120;
		struct ledger *l = &p->processes[i % n_processes].ledger;
		if (i % 3) {
			enum wait_class cls = (enum wait_class)(1 + i % (WC_COUNT - 1));
			p->waits[p->n_waits++] = (struct wait_row){
				.pid = pid, .tid = pid, .cls = cls, .stack_ix = i, .count = 1 + i % 50, .blocked_ns = ns};
			l->blocked_ns[cls] += ns;
		} else {
			p->cpu[p->n_cpu++] = (struct cpu_row){pid, pid, i, ns * 99 / SEC, ns};
			l->on_cpu_ns += ns;
		}
	}
	for (unsigned i = 1; i < n_processes; i++) {
		fix_channel(p, i, CH_UNIX, "socket", 1000 + (int32_t)i, 1000 + (int32_t)(i / 7));
		fix_edge(p, 1000 + (int32_t)i, 1000 + (int32_t)(i / 7), i, WC_UNIX_READ, i, i + 1, 1000 * i,
			 (SEC * (i % 40)) + SEC, 64);
	}
	for (unsigned i = 0; i < n_processes; i++)
		fix_timeline(p, 1000 + (int32_t)i, (double)(i % 10) / 20, 0.4, WC_UNIX_READ);
	return p;
}

static const struct fixture {
	const char *name;
	struct profile *(*make)(void);
} fixtures[] = {
	{"lockstep", fix_lockstep}, {"ring", fix_ring},	  {"healthy", fix_healthy}, {"siblings", fix_siblings},
	{"hostile", fix_hostile},   {"empty", fix_empty}, {"sampled", fix_sampled}, {"lossy", fix_lossy},
};
#define N_FIXTURES (sizeof fixtures / sizeof fixtures[0])

#endif
