/* SPDX-License-Identifier: Apache-2.0
 *
 * The stories of the findings as simulated programs, each broken and fixed. In: a story (stories.h) and which variant; out: its
 * processes, added. Shared by the tests of rules, of predictions and of fading.
 */
#ifndef LOCKSTEP_TESTS_STORY_PROGRAMS_H
#define LOCKSTEP_TESTS_STORY_PROGRAMS_H

#include "tests/unit/stories.h"

#define US 1000ull
#define MS 1000000ull
#define MAX_INS 40

/* Instructions that live as long as the story: built one by one. */
struct code {
	struct sim_ins ins[MAX_INS];
	int n;
};

static inline void op(struct code *c, enum sim_op o, int arg, uint64_t n)
{
	assert(c->n < MAX_INS);
	c->ins[c->n++] = (struct sim_ins){o, arg, n};
}

static inline struct code *code_new(struct story *st)
{
	assert(st->n_codes < 64);
	return st->codes[st->n_codes++] = calloc(1, sizeof(struct code));
}

static inline void for_ever(struct code *c)
{
	op(c, SIM_LOOP, 0, 0);
	op(c, SIM_END, 0, 0);
}

/* Pids in the order of creation are st->pid[]. */
static inline int32_t start(struct story *st, const char *name, const struct code *c, int32_t ppid)
{
	return st->pid[st->n_pids++] = sim_process(&st->s, name, c->ins, ppid);
}

/* One message of `bytes`, one ack; fixed: 100 messages per ack. `pause` ns between bursts of 50 round trips. */
static inline void build_lockstep(struct story *st, enum channel_kind kind, uint64_t batch, uint64_t bytes, uint64_t pause)
{
	struct sim *s = &st->s;
	int to = sim_channel(s, kind, 1 << 20), from = kind == CH_PIPE ? sim_channel(s, kind, 65536) : 0;
	if (kind != CH_PIPE)
		from = sim_channel(s, kind, 1 << 20);
	struct code *w = code_new(st), *r = code_new(st);
	int32_t pids[2];
	op(w, SIM_COMPUTE, 0, 500 * batch);
	op(w, SIM_SEND, to, bytes * batch);
	op(w, SIM_RECV, from, 0);
	op(w, SIM_ITEM, 0, 0);
	if (pause) {
		op(w, SIM_LOOP, 0, 50);
		op(w, SIM_COMPUTE, 0, pause);
	}
	for_ever(w);
	op(r, SIM_RECV, to, 0);
	op(r, SIM_COMPUTE, 0, 800 * batch);
	op(r, SIM_SEND, from, 1);
	for_ever(r);
	pids[0] = start(st, "writer", w, 1);
	pids[1] = start(st, "reader", r, 1);
	sim_end(s, to, pids[0], END_WRITER);
	sim_end(s, to, pids[1], END_READER);
	sim_end(s, from, pids[1], END_WRITER);
	sim_end(s, from, pids[0], END_READER);
	st->per_item = batch;
}

static inline void build_ring(struct story *st, int n, uint64_t tokens)
{
	int first = 0;
	for (int i = 0; i < n; i++) {
		int ch = sim_channel(&st->s, CH_PIPE, 65536);
		first = i ? first : ch;
	}
	for (int i = 0; i < n; i++) {
		struct code *c = code_new(st);
		int at = 0;
		if (i == 0) {
			op(c, SIM_SEND, first + 1, 64);
			op(c, SIM_LOOP, 0, tokens);
			at = c->n;
		}
		op(c, SIM_RECV, first + i, 0);
		op(c, SIM_COMPUTE, 0, 2 * US);
		op(c, SIM_SEND, first + (i + 1) % n, 64);
		op(c, SIM_ITEM, 0, 0);
		op(c, SIM_LOOP, at, 0);
		op(c, SIM_END, 0, 0);
		int32_t pid = start(st, "member", c, 1);
		sim_end(&st->s, first + i, pid, END_READER);
		sim_end(&st->s, first + (i + 1) % n, pid, END_WRITER);
	}
}

/* Workers that ask a hub for each item; fixed: once per 100 items. */
static inline void build_hub(struct story *st, int workers, uint64_t per_call)
{
	struct sim *s = &st->s;
	int ask = 0, answer = 0;
	for (int i = 0; i < workers; i++) {
		int ch = sim_channel(s, CH_UNIX, 1 << 20);
		ask = i ? ask : ch;
	}
	for (int i = 0; i < workers; i++) {
		int ch = sim_channel(s, CH_UNIX, 1 << 20);
		answer = i ? answer : ch;
	}
	struct code *h = code_new(st);
	op(h, SIM_RECV_ANY, ask, (uint64_t)workers);
	op(h, SIM_COMPUTE, 0, 3 * US);
	op(h, SIM_REPLY, answer, 16);
	for_ever(h);
	start(st, "manager", h, 1);
	for (int i = 0; i < workers; i++) {
		struct code *w = code_new(st);
		op(w, SIM_COMPUTE, 0, 1 * US);
		op(w, SIM_ITEM, 0, 0);
		if (per_call > 1)
			op(w, SIM_LOOP, 0, per_call);
		op(w, SIM_SEND, ask + i, 32);
		op(w, SIM_RECV, answer + i, 0);
		for_ever(w);
		start(st, "worker", w, 1);
	}
}

static inline void build_buffer(struct story *st, uint64_t capacity)
{
	int ch = sim_channel(&st->s, CH_PIPE, capacity);
	struct code *p = code_new(st), *c = code_new(st);
	op(p, SIM_COMPUTE, 0, 2560 * US);
	op(p, SIM_SEND, ch, 1024);
	op(p, SIM_LOOP, 1, 256);
	for_ever(p);
	op(c, SIM_RECV, ch, 0);
	op(c, SIM_COMPUTE, 0, 10 * US);
	op(c, SIM_ITEM, 0, 0);
	for_ever(c);
	sim_end(&st->s, ch, start(st, "producer", p, 1), END_WRITER);
	sim_end(&st->s, ch, start(st, "consumer", c, 1), END_READER);
}

/* Five stages, the third takes `slow` ns; fixed: two of it. */
static inline void build_stages(struct story *st, uint64_t slow, int slow_stages)
{
	int first = 0;
	for (int i = 0; i < 4; i++) {
		int ch = sim_channel(&st->s, CH_PIPE, 16384);
		first = i ? first : ch;
	}
	static const char *const names[] = {"source", "parse", "transform", "format", "sink"};
	for (int i = 0; i < 5; i++)
		for (int k = 0; k < (i == 2 ? slow_stages : 1); k++) {
			struct code *c = code_new(st);
			if (i)
				op(c, SIM_RECV, first + i - 1, 0);
			op(c, SIM_COMPUTE, 0, i == 2 ? slow : 20 * US);
			if (i < 4)
				op(c, SIM_SEND, first + i, 256);
			else
				op(c, SIM_ITEM, 0, 0);
			for_ever(c);
			int32_t pid = start(st, names[i], c, 1);
			if (i)
				sim_end(&st->s, first + i - 1, pid, END_READER);
			if (i < 4)
				sim_end(&st->s, first + i, pid, END_WRITER);
		}
}

static inline void build_flush(struct story *st, uint64_t group)
{
	int to = sim_channel(&st->s, CH_PIPE, 1 << 20), from = sim_channel(&st->s, CH_PIPE, 65536), file = sim_channel(&st->s, CH_FILE, 0);
	struct code *c = code_new(st), *d = code_new(st);
	op(c, SIM_COMPUTE, 0, 2 * US * group);
	op(c, SIM_SEND, to, 256 * group);
	op(c, SIM_RECV, from, 0);
	op(c, SIM_ITEM, 0, 0);
	for_ever(c);
	op(d, SIM_RECV, to, 0);
	op(d, SIM_COMPUTE, 0, 3 * US * group);
	op(d, SIM_FSYNC, file, 400 * US);
	op(d, SIM_SEND, from, 1);
	for_ever(d);
	start(st, "client", c, 1);
	start(st, "store", d, 1);
	st->per_item = group;
}

/* Clients that pass a token and ask a server; the first one sleeps while it has it. */
static inline void build_brake(struct story *st, int clients, uint64_t sleep)
{
	int ask = sim_channel(&st->s, CH_UNIX, 65536), answer = sim_channel(&st->s, CH_UNIX, 65536), token = 0;
	for (int i = 0; i < clients; i++) {
		int ch = sim_channel(&st->s, CH_PIPE, 4096);
		token = i ? token : ch;
	}
	struct code *srv = code_new(st);
	op(srv, SIM_RECV, ask, 0);
	op(srv, SIM_COMPUTE, 0, 20 * US);
	op(srv, SIM_SEND, answer, 64);
	for_ever(srv);
	start(st, "server", srv, 1);
	for (int i = 0; i < clients; i++) {
		struct code *c = code_new(st);
		int at = 0;
		if (i == 0) {
			op(c, SIM_SEND, token, 1);
			at = 1;
		}
		op(c, SIM_RECV, token + i, 0);
		if (i == 0 && sleep)
			op(c, SIM_SLEEP, 0, sleep);
		op(c, SIM_SEND, ask, 64);
		op(c, SIM_RECV, answer, 0);
		op(c, SIM_ITEM, 0, 0);
		op(c, SIM_SEND, token + (i + 1) % clients, 1);
		op(c, SIM_LOOP, at, 0);
		op(c, SIM_END, 0, 0);
		start(st, "client", c, 1);
	}
}

/* Clients of one listener; each worker takes a request, waits 15 ms, answers. */
static inline void build_server(struct story *st, int clients, int workers, uint64_t service)
{
	int ask = 0, answer = 0;
	for (int i = 0; i < 2 * clients; i++) {
		int ch = sim_channel(&st->s, CH_TCP, 1 << 20);
		ask = i ? ask : ch;
		answer = ask + clients;
	}
	for (int i = 0; i < workers; i++) {
		struct code *srv = code_new(st);
		op(srv, SIM_RECV_ANY, ask, (uint64_t)clients);
		op(srv, SIM_SLEEP, 0, service);
		op(srv, SIM_COMPUTE, 0, 50 * US);
		op(srv, SIM_REPLY, answer, 1);
		for_ever(srv);
		start(st, "server", srv, 1);
	}
	for (int i = 0; i < clients; i++) {
		struct code *c = code_new(st);
		op(c, SIM_COMPUTE, 0, 20 * US);
		op(c, SIM_SEND, ask + i, 1);
		op(c, SIM_RECV, answer + i, 0);
		op(c, SIM_ITEM, 0, 0);
		for_ever(c);
		start(st, "client", c, 1);
	}
}

static inline void build_convoy(struct story *st, int workers, int locks, bool threads)
{
	int first = 0;
	for (int i = 0; i < locks; i++) {
		int ch = sim_channel(&st->s, CH_FUTEX, 0);
		first = i ? first : ch;
	}
	for (int i = 0; i < workers; i++) {
		struct code *c = code_new(st);
		op(c, SIM_LOCK, first + i % locks, 0);
		op(c, SIM_COMPUTE, 0, 100 * US);
		op(c, SIM_UNLOCK, first + i % locks, 0);
		op(c, SIM_COMPUTE, 0, 10 * US);
		op(c, SIM_ITEM, 0, 0);
		for_ever(c);
		if (threads && i)
			sim_add_thread(&st->s, st->pid[0], c->ins);
		else
			start(st, "worker", c, 1);
	}
}

static inline void build_workers(struct story *st, int workers, int busy)
{
	int first = 0;
	for (int i = 0; i < workers; i++) {
		int ch = sim_channel(&st->s, CH_PIPE, 4096);
		first = i ? first : ch;
	}
	struct code *parent = code_new(st);
	for (int i = 0; i < busy; i++)
		op(parent, SIM_SEND, first + i, 16);
	op(parent, SIM_LOOP, 0, 0);
	op(parent, SIM_END, 0, 0);
	start(st, "parent", parent, 1);
	for (int i = 0; i < workers; i++) {
		struct code *c = code_new(st);
		op(c, SIM_RECV, first + i, 0);
		op(c, SIM_COMPUTE, 0, 1000 * US);
		op(c, SIM_ITEM, 0, 0);
		for_ever(c);
		start(st, "worker", c, st->pid[0]);
	}
}

/* Two requests per record to another host; fixed: one per 100 records. */
static inline void build_requests(struct story *st, uint64_t per_request)
{
	int db = sim_channel(&st->s, CH_TCP, 0);
	st->s.ch[db].remote = true;
	struct code *c = code_new(st);
	op(c, SIM_COMPUTE, 0, 3 * US);
	op(c, SIM_ITEM, 0, 0);
	if (per_request > 1)
		op(c, SIM_LOOP, 0, per_request);
	op(c, SIM_REMOTE, db, 100 * US + 3 * US * per_request);
	for_ever(c);
	sim_end(&st->s, db, start(st, "job", c, 1), END_BOTH);
}

static inline void build_no_cpu(struct story *st, int processes)
{
	for (int i = 0; i < processes; i++) {
		struct code *c = code_new(st);
		op(c, SIM_COMPUTE, 0, 500 * US);
		op(c, SIM_ITEM, 0, 0);
		for_ever(c);
		start(st, "cruncher", c, 1);
	}
}

static inline void build_churn(struct story *st, uint64_t items_per_child)
{
	struct code *child = code_new(st), *parent = code_new(st);
	op(child, SIM_COMPUTE, 0, 800 * US);
	op(child, SIM_COMPUTE, 0, 5 * US * items_per_child);
	op(child, SIM_END, 0, 0);
	st->s.programs[0] = child->ins;
	st->s.program_names[0] = "basename";
	op(parent, SIM_SPAWN_WAIT, 0, 0);
	op(parent, SIM_ITEM, 0, 0);
	for_ever(parent);
	start(st, "xargs", parent, 1);
	st->per_item = items_per_child;
}

static inline void build_hot(struct story *st, uint64_t slow)
{
	struct code *c = code_new(st);
	op(c, SIM_COMPUTE, 0, slow);
	op(c, SIM_COMPUTE, 0, 10 * US);
	op(c, SIM_COMPUTE, 0, 10 * US);
	op(c, SIM_ITEM, 0, 0);
	for_ever(c);
	start(st, "main", c, 1);
}

/* A main thread that waits for a pool thread's result; the pool thread asks a child process. */
static inline void build_hidden_hop(struct story *st, uint64_t batch, int pool)
{
	struct sim *s = &st->s;
	int jobs = sim_channel(s, CH_FUTEX, 0), done = sim_channel(s, CH_FUTEX, 0), to = sim_channel(s, CH_PIPE, 1 << 20),
	    from = sim_channel(s, CH_PIPE, 65536);
	struct code *m = code_new(st), *p = code_new(st), *c = code_new(st);
	op(m, SIM_COMPUTE, 0, 300 * batch);
	op(m, SIM_SEND, jobs, 1);
	op(m, SIM_RECV, done, 0);
	op(m, SIM_ITEM, 0, 0);
	for_ever(m);
	op(p, SIM_RECV, jobs, 0);
	op(p, SIM_SEND, to, 200 * batch);
	op(p, SIM_RECV, from, 0);
	op(p, SIM_SEND, done, 1);
	for_ever(p);
	op(c, SIM_RECV, to, 0);
	op(c, SIM_COMPUTE, 0, 500 * batch);
	op(c, SIM_SEND, from, 1);
	for_ever(c);
	int32_t parent = start(st, "parent", m, 1);
	for (int i = 0; i < pool; i++)
		sim_add_thread(s, parent, p->ins);
	start(st, "child", c, parent);
	st->per_item = batch;
}

#endif
