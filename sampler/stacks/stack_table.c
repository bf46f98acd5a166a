/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler/stacks/stack_table.h"

#include "sampler/symbols/symbols.h"

#include <stdlib.h>
#include <string.h>

#define UTHASH_NONFATAL_OOM 1
#include <uthash.h>

struct frame_key {
	uint64_t object; /* struct object *, or a tag below */
	uint64_t vaddr;
};
#define OBJECT_KERNEL 1 /* vaddr is a kernel address */
#define OBJECT_SOURCE 2 /* vaddr is a hash of the source frame */

struct frame_entry {
	struct frame_key key;
	uint32_t id;
	bool resolved;
	char *module;
	UT_hash_handle hh;
};

struct stack_entry {
	uint32_t id;
	uint32_t n;
	UT_hash_handle hh;
	uint32_t key[]; /* [0] truncated, then frame ids */
};

#define KERNEL_PROBE_FRAME UINT32_MAX

/* Frames of the tracepoint machinery that took the stack; they are no part of the target. */
static bool is_probe_frame(const char *function)
{
	static const char *const prefixes[] = {"bpf_prog_", "bpf_trace_run", "__bpf_trace_", "__traceiter_", "bpf_trampoline_", "perf_trace_"};
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
		if (strncmp(function, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

/* Sampled stacks repeat the same few program counters: remembered in front of the look-ups, until some mapping changes. */
#define RECENT 2048
struct recent_pc {
	const struct address_space *as;
	uint64_t pc;
	uint32_t id, epoch;
};

struct stack_table {
	struct recent_pc recent[RECENT];
	uint32_t epoch;
	struct frame_entry *frames;
	struct stack_entry *stacks;
	uint32_t next_frame, next_stack;
	struct symbolizer *symbolizer;
};

struct stack_table *stack_table_new(void)
{
	struct stack_table *t = calloc(1, sizeof *t);
	if (t)
		t->next_frame = t->next_stack = 1;
	return t;
}

void stack_table_free(struct stack_table *t)
{
	if (!t)
		return;
	struct frame_entry *f, *ftmp;
	HASH_ITER(hh, t->frames, f, ftmp)
	{
		HASH_DEL(t->frames, f);
		free(f->module);
		free(f);
	}
	struct stack_entry *s, *stmp;
	HASH_ITER(hh, t->stacks, s, stmp)
	{
		HASH_DEL(t->stacks, s);
		free(s);
	}
	symbolizer_free(t->symbolizer);
	free(t);
}

/* Returns the entry, new ones with resolved unset; NULL when out of memory. */
static struct frame_entry *frame_intern(struct stack_table *t, uint64_t object, uint64_t vaddr, const char *module)
{
	struct frame_key key = {object, vaddr};
	struct frame_entry *e;
	HASH_FIND(hh, t->frames, &key, sizeof key, e);
	if (e)
		return e;
	e = calloc(1, sizeof *e);
	if (!e)
		return NULL;
	e->key = key;
	e->module = module ? strdup(module) : NULL;
	e->id = t->next_frame++;
	HASH_ADD(hh, t->frames, key, sizeof e->key, e);
	return e;
}

/* FNV-1a, for what has no address to be known by. */
static uint64_t hash_bytes(uint64_t h, const void *data, size_t n)
{
	const uint8_t *p = data;
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}

static uint64_t hash_string(uint64_t h, const char *s)
{
	return s ? hash_bytes(h, s, strlen(s) + 1) : hash_bytes(h, "\1", 1);
}
#define HASH_SEED 0xcbf29ce484222325ULL

void stack_table_mappings_changed(struct stack_table *t)
{
	t->epoch++;
}

static uint32_t native_slow(struct stack_table *t, struct address_space *as, uint64_t time_ns, uint64_t pc, bool is_return)
{
	struct code_location loc = {0};
	if (!address_space_locate(as, time_ns, pc, is_return, &loc) || !loc.object) {
		/* anonymous or unmapped: one frame per module name and page, not one per address */
		const char *module = loc.module ? loc.module : "[unknown]";
		struct frame_entry *e = frame_intern(t, hash_string(HASH_SEED, module) | 3, pc & ~0xfffULL, module);
		return e ? e->id : 0;
	}
	struct frame_entry *e = frame_intern(t, (uintptr_t)loc.object, loc.vaddr, loc.module);
	return e ? e->id : 0;
}

uint32_t stack_table_native(struct stack_table *t, struct address_space *as, uint64_t time_ns, uint64_t pc, bool is_return)
{
	uint64_t key = pc << 1 | is_return;
	struct recent_pc *r = &t->recent[(pc ^ (pc >> 11)) % RECENT];
	if (r->as == as && r->pc == key && r->epoch == t->epoch)
		return r->id;
	*r = (struct recent_pc){as, key, native_slow(t, as, time_ns, pc, is_return), t->epoch};
	return r->id;
}

struct kernel_name {
	struct stack_table *t;
	uint32_t id;
	event_fn fn;
	void *ctx;
};

static void intern_kernel_name(void *ctx, const struct source_frame *frames, size_t n)
{
	struct kernel_name *k = ctx;
	(void)n;
	k->id = is_probe_frame(frames[0].function) ? KERNEL_PROBE_FRAME : stack_table_source(k->t, &frames[0], k->fn, k->ctx);
}

/* The id of the function at addr, KERNEL_PROBE_FRAME for the probe's own, 0 when out of memory. */
static uint32_t kernel_frame(struct stack_table *t, uint64_t addr, event_fn fn, void *ctx)
{
	struct frame_entry *e = frame_intern(t, OBJECT_KERNEL, addr, NULL);
	if (!e || (!t->symbolizer && !(t->symbolizer = symbolizer_new())))
		return 0;
	if (!e->resolved) {
		struct kernel_name k = {.t = t, .fn = fn, .ctx = ctx};
		symbolize_kernel(t->symbolizer, addr, intern_kernel_name, &k);
		e->resolved = true;
		e->id = k.id;
	}
	return e->id;
}

size_t stack_table_kernel(struct stack_table *t, const uint64_t *addrs, size_t n, uint32_t *ids, event_fn fn, void *ctx)
{
	size_t out = 0;
	for (size_t i = 0; i < n; i++) {
		uint32_t id = kernel_frame(t, addrs[i], fn, ctx);
		if (id == KERNEL_PROBE_FRAME)
			out = 0; /* whatever stood above it was the probe's too */
		else if (id)
			ids[out++] = id;
	}
	return out;
}

uint32_t stack_table_source(struct stack_table *t, const struct source_frame *f, event_fn fn, void *ctx)
{
	uint64_t h = hash_string(HASH_SEED, f->function);
	h = hash_string(h, f->file);
	h = hash_string(h, f->module);
	h = hash_bytes(h, &f->line, sizeof f->line);
	h = hash_bytes(h, &f->language, sizeof f->language);
	struct frame_entry *e = frame_intern(t, OBJECT_SOURCE, h, NULL);
	if (!e)
		return 0;
	if (!e->resolved) {
		e->resolved = true;
		struct event ev = {.kind = EV_FRAME, .frame = {.id = e->id, .n = 1, .frames = f}};
		fn(ctx, &ev);
	}
	return e->id;
}

uint32_t stack_table_stack(struct stack_table *t, const uint32_t *frames, size_t n, bool truncated, event_fn fn, void *ctx)
{
	if (n == 0 || n > UINT16_MAX)
		return 0;
	size_t key_len = (n + 1) * sizeof(uint32_t);
	struct stack_entry *s = malloc(sizeof *s + key_len), *known;
	if (!s)
		return 0;
	s->key[0] = truncated;
	memcpy(s->key + 1, frames, n * sizeof *frames);
	HASH_FIND(hh, t->stacks, s->key, key_len, known);
	if (known) {
		free(s);
		return known->id;
	}
	s->id = t->next_stack++;
	s->n = n;
	HASH_ADD(hh, t->stacks, key, key_len, s);
	struct event ev = {.kind = EV_STACK, .stack = {.id = s->id, .truncated = truncated, .n = n, .frames = s->key + 1}};
	fn(ctx, &ev);
	return s->id;
}

struct resolve_ctx {
	uint32_t id;
	event_fn fn;
	void *ctx;
};

static void emit_frame(void *ctx, const struct source_frame *frames, size_t n)
{
	struct resolve_ctx *r = ctx;
	struct event ev = {.kind = EV_FRAME, .frame = {.id = r->id, .n = n, .frames = frames}};
	r->fn(r->ctx, &ev);
}

void stack_table_resolve(struct stack_table *t, event_fn fn, void *ctx)
{
	if (!t->symbolizer && !(t->symbolizer = symbolizer_new()))
		return;
	struct frame_entry *e, *tmp;
	HASH_ITER(hh, t->frames, e, tmp)
	{
		if (e->resolved)
			continue;
		e->resolved = true;
		struct resolve_ctx r = {.id = e->id, .fn = fn, .ctx = ctx};
		if (e->key.object & 1) {
			struct source_frame f = {.function = e->module, .module = e->module, .language = LANG_NATIVE};
			emit_frame(&r, &f, 1);
		} else {
			symbolize_object(t->symbolizer, (struct object *)(uintptr_t)e->key.object, e->key.vaddr,
					 e->module ? e->module : "[unknown]", emit_frame, &r);
		}
	}
}
