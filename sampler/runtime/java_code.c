/* SPDX-License-Identifier: Apache-2.0
 *
 * From a pc in the code cache to the blob that holds it, and from a pc in compiled code to the methods that were inlined
 * there. In: pcs; out: blobs and scopes, cached.
 *
 * A code heap is cut into segments; its segment map holds, per segment, how many segments back its block starts (0: here,
 * 255: free). The blob lies behind the block's header. Debug information of a compiled method: PcDescs (pc offset, where the
 * scope starts in the stream), sorted; a scope is (sender's place, method index, bci + 1), each an UNSIGNED5 number. Method
 * indices count from 1. Sources: hotspot/share/memory/heap.cpp, code/nmethod.hpp, code/pcDesc.hpp, code/debugInfo.hpp,
 * utilities/unsigned5.hpp.
 */
#include "sampler/runtime/java.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define MAX_BLOBS 200000
#define MAX_PCS 400000
#define MAX_SCOPES 128
#define HEAD 384 /* of an nmethod: 352 bytes in 17, 224 in 25 */

struct blob { /* what java_blob_at hands out is its first member */
	struct java_blob b;
	uint64_t checked; /* java_process.walk of its last comparison */
	UT_hash_handle hh;
};

struct java_pc {
	uint64_t pc;
	struct blob *blob;
	uint32_t *ids; /* of a return address; a leaf's are not kept */
	uint32_t n_ids;
	UT_hash_handle hh;
};

bool java_heaps_read(struct java_process *p, struct target_memory *m)
{
	const struct java_layout *l = &p->layout;
	uint64_t array = target_u64(m, l->code_heaps), data;
	uint32_t n;

	if (p->n_heaps)
		return true;
	n = array ? target_u32(m, array + (uint32_t)l->array_len) : 0;
	data = array ? target_u64(m, array + (uint32_t)l->array_data) : 0;
	for (uint32_t i = 0; i < n && i < JAVA_MAX_HEAPS; i++) {
		uint64_t heap = target_u64(m, data + 8 * i);
		struct java_heap h = {.low = target_u64(m, heap + (uint32_t)(l->heap_memory + l->space_low_boundary)),
				      .high = target_u64(m, heap + (uint32_t)(l->heap_memory + l->space_high_boundary)),
				      .segmap = target_u64(m, heap + (uint32_t)(l->heap_segmap + l->space_low)),
				      .log2 = target_u32(m, heap + (uint32_t)l->heap_log2)};
		if (heap && h.low < h.high && h.segmap && h.log2 >= 4 && h.log2 <= 16)
			p->heaps[p->n_heaps++] = h;
	}
	p->call_stub_return = target_u64(m, l->call_stub_return);
	return p->n_heaps > 0;
}

static const struct java_heap *heap_of(const struct java_process *p, uint64_t pc)
{
	for (unsigned i = 0; i < p->n_heaps; i++)
		if (pc >= p->heaps[i].low && pc < p->heaps[i].high)
			return &p->heaps[i];
	return NULL;
}

bool java_in_heaps(const struct java_process *p, uint64_t pc)
{
	return heap_of(p, pc) != NULL;
}

/* Address of the blob whose block covers pc; 0: free memory. */
static uint64_t blob_address(const struct java_process *p, struct target_memory *m, uint64_t pc)
{
	const struct java_heap *h = heap_of(p, pc);
	uint64_t seg;
	uint8_t hop = 255;

	if (!h)
		return 0;
	seg = (pc - h->low) >> h->log2;
	if (target_read(m, h->segmap + seg, &hop, 1) || hop == 255)
		return 0;
	for (unsigned guard = 0; hop && guard < 1u << 16; guard++) {
		if (hop > seg || hop == 255)
			return 0;
		seg -= hop;
		if (target_read(m, h->segmap + seg, &hop, 1))
			return 0;
	}
	return hop ? 0 : h->low + (seg << h->log2) + p->layout.block_size;
}

static uint64_t head_u64(const uint8_t *head, int32_t at)
{
	uint64_t v = 0;

	if (at >= 0 && at + 8 <= HEAD)
		memcpy(&v, head + at, sizeof v);
	return v;
}

static int32_t head_i32(const uint8_t *head, int32_t at)
{
	int32_t v = 0;

	if (at >= 0 && at + 4 <= HEAD)
		memcpy(&v, head + at, sizeof v);
	return v;
}

static int32_t method_field(const struct java_layout *l)
{
	return l->nm_method >= 0 ? l->nm_method : l->nm_method_compiled;
}

static void identity_of(const struct java_layout *l, const uint8_t *head, bool compiled, uint64_t out[3])
{
	out[0] = head_u64(head, l->blob_name);
	out[1] = (uint32_t)head_i32(head, l->blob_size);
	out[2] = 0;
	if (compiled) {
		out[1] |= (uint64_t)(uint32_t)head_i32(head, l->nm_compile_id) << 32;
		out[2] = head_u64(head, method_field(l));
	}
}

static bool is_compiled(const struct java_blob *b)
{
	return b->kind == JAVA_COMPILED || b->kind == JAVA_NATIVE_WRAPPER;
}

/* Where the code and the debug information of a compiled method lie, before and since the immutable data of JDK 23. */
static void read_compiled(const struct java_layout *l, const uint8_t *head, struct java_blob *b)
{
	b->method = head_u64(head, method_field(l));
	b->orig_pc_offset = head_i32(head, l->nm_orig_pc);
	if (l->nm_immutable >= 0) {
		uint64_t immutable = head_u64(head, l->nm_immutable);
		b->scopes_pcs = immutable + (uint32_t)head_i32(head, l->nm_scopes_pcs);
		b->scopes_pcs_end = b->scopes_data = immutable + (uint32_t)head_i32(head, l->nm_scopes_data);
		b->metadata = head_u64(head, l->blob_mutable) + (uint32_t)head_i32(head, l->blob_relocation_size);
		b->deopt_begin = l->nm_deopt_offset >= 0 ? b->addr + (uint32_t)head_i32(head, l->nm_deopt_offset) : 0;
	} else {
		b->scopes_pcs = b->addr + (uint32_t)head_i32(head, l->nm_scopes_pcs);
		b->scopes_pcs_end = b->addr + (uint32_t)head_i32(head, l->nm_dependencies);
		b->scopes_data = head_u64(head, l->nm_scopes_data_begin);
		b->metadata = b->addr + (uint32_t)head_i32(head, l->nm_metadata);
		b->deopt_begin = head_u64(head, l->nm_deopt_begin);
	}
}

/* CodeBlob::_frame_complete_offset became 16 bits wide in 24. */
static int32_t frame_complete(const struct java_layout *l, const uint8_t *head)
{
	return l->blob_code_offset >= 0 ? (int16_t)head_i32(head, l->blob_frame_complete)
					: head_i32(head, l->blob_frame_complete);
}

static struct blob *blob_load(struct java_process *p, struct target_memory *m, uint64_t addr)
{
	const struct java_layout *l = &p->layout;
	uint8_t head[HEAD] = {0};
	char name[32];
	struct blob *b;
	int32_t words;

	if (target_read(m, addr, head, HEAD) || target_string(m, head_u64(head, l->blob_name), name, sizeof name) < 0)
		return NULL;
	b = calloc(1, sizeof *b);
	if (!b)
		return NULL;
	b->b.addr = addr;
	b->b.kind = strcmp(name, "nmethod") == 0	  ? JAVA_COMPILED
		    : strcmp(name, "native nmethod") == 0 ? JAVA_NATIVE_WRAPPER
		    : strcmp(name, "Interpreter") == 0	  ? JAVA_INTERPRETER
							  : JAVA_STUB;
	words = head_i32(head, l->blob_frame_size);
	b->b.frame_bytes = words > 0 && words < 1 << 16 ? (uint32_t)words * 8 : 0;
	b->b.frame_complete = frame_complete(l, head);
	if (l->blob_code_offset >= 0) {
		b->b.code_begin = addr + (uint32_t)head_i32(head, l->blob_code_offset);
		b->b.code_end = addr + (uint32_t)head_i32(head, l->blob_data_offset);
	} else {
		b->b.code_begin = head_u64(head, l->blob_code_begin);
		b->b.code_end = head_u64(head, l->blob_code_end);
	}
	if (is_compiled(&b->b))
		read_compiled(l, head, &b->b);
	identity_of(l, head, is_compiled(&b->b), b->b.identity);
	HASH_ADD(hh, p->blobs, b.addr, sizeof b->b.addr, b);
	return b;
}

static void pcs_clear(struct java_process *p)
{
	struct java_pc *e, *next;

	HASH_ITER(hh, p->pcs, e, next)
	{
		HASH_DEL(p->pcs, e);
		free(e->ids);
		free(e);
	}
}

static void blobs_clear(struct java_process *p)
{
	struct blob *b, *next;

	pcs_clear(p);
	HASH_ITER(hh, p->blobs, b, next)
	{
		HASH_DEL(p->blobs, b);
		free(b);
	}
}

const struct java_blob *java_blob_at(struct java_process *p, struct target_memory *m, uint64_t pc)
{
	struct java_pc *e;
	struct blob *b;
	uint64_t addr;

	HASH_FIND(hh, p->pcs, &pc, sizeof pc, e);
	if (e)
		return &e->blob->b;
	addr = blob_address(p, m, pc);
	if (!addr)
		return NULL;
	HASH_FIND(hh, p->blobs, &addr, sizeof addr, b);
	if (!b)
		b = blob_load(p, m, addr);
	if (!b)
		return NULL;
	e = calloc(1, sizeof *e);
	if (e) {
		e->pc = pc;
		e->blob = b;
		HASH_ADD(hh, p->pcs, pc, sizeof e->pc, e);
	}
	return &b->b;
}

static bool blob_changed(struct java_process *p, struct target_memory *m, const struct java_blob *b)
{
	const struct java_layout *l = &p->layout;
	uint64_t now[3] = {0}, size;
	uint8_t head[HEAD];

	/* Up to the last of the fields compared: nmethods are large, their heads small. */
	size = (uint64_t)(l->nm_compile_id > method_field(l) + 4 ? l->nm_compile_id + 4 : method_field(l) + 8);
	if (size > HEAD || target_read(m, b->addr, head, size))
		return false; /* gone: what we knew stays the best answer */
	identity_of(l, head, true, now);
	return memcmp(now, b->identity, sizeof now) != 0;
}

bool java_blobs_verify(struct java_process *p, struct target_memory *m, const uint64_t *pcs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct java_pc *e;
		HASH_FIND(hh, p->pcs, &pcs[i], sizeof pcs[i], e);
		if (!e || !is_compiled(&e->blob->b) || e->blob->checked == p->walk)
			continue; /* stubs and the interpreter live as long as the VM */
		e->blob->checked = p->walk;
		if (blob_changed(p, m, &e->blob->b)) {
			blobs_clear(p); /* rare: a method was thrown out and its place used again */
			return false;
		}
	}
	return true;
}

/* Scope stream offset for a pc; -1: none. */
static int64_t scope_of(struct java_process *p, struct target_memory *m, const struct java_blob *b, uint64_t pc, bool leaf)
{
	const struct java_layout *l = &p->layout;
	uint64_t size = b->scopes_pcs_end - b->scopes_pcs;
	int64_t offset = (int64_t)(pc - b->code_begin);
	size_t low = 0, high;

	if (b->scopes_pcs_end < b->scopes_pcs || size > 64u << 20)
		return -1;
	high = size / l->pc_size;
	while (low < high) { /* first descriptor at or after pc */
		size_t mid = (low + high) / 2;
		int32_t at = (int32_t)target_u32(m, b->scopes_pcs + mid * l->pc_size + (uint32_t)l->pc_offset);
		if (at < offset)
			low = mid + 1;
		else
			high = mid;
	}
	if (low >= size / l->pc_size)
		return -1;
	if (!leaf && (int32_t)target_u32(m, b->scopes_pcs + low * l->pc_size + (uint32_t)l->pc_offset) != offset)
		return -1;
	return (int32_t)target_u32(m, b->scopes_pcs + low * l->pc_size + (uint32_t)l->pc_scope);
}

uint32_t java_unsigned5(const uint8_t *bytes, size_t len, size_t *at, unsigned excluded)
{
	const unsigned low = 256 - 64 - excluded;
	uint32_t sum = 0;

	for (unsigned i = 0; i < 5 && *at < len; i++) {
		uint32_t digit = bytes[(*at)++] - excluded;
		sum += digit << (6 * i);
		if (digit < low)
			break;
	}
	return sum;
}

size_t java_scopes(struct java_process *p, struct target_memory *m, const struct java_blob *b, uint64_t pc, bool leaf,
		   struct java_scope *out, size_t max)
{
	unsigned excluded = p->layout.version >= 20;
	int64_t at;
	size_t n = 0;

	if (b->kind == JAVA_NATIVE_WRAPPER) {
		if (max)
			out[0] = (struct java_scope){b->method, -1};
		return max ? 1 : 0;
	}
	at = scope_of(p, m, b, pc, leaf);
	while (at > 0 && n < max && n < MAX_SCOPES) {
		uint8_t bytes[15];
		size_t pos = 0;
		uint32_t sender, method, bci;
		if (target_read(m, b->scopes_data + (uint64_t)at, bytes, sizeof bytes))
			break;
		sender = java_unsigned5(bytes, sizeof bytes, &pos, excluded);
		method = java_unsigned5(bytes, sizeof bytes, &pos, excluded);
		bci = java_unsigned5(bytes, sizeof bytes, &pos, excluded);
		if (method == 0)
			break;
		/* bci + 1; 0 is the entry of a synchronized method, which counts as its first bytecode */
		out[n++] =
			(struct java_scope){target_u64(m, b->metadata + 8 * (uint64_t)(method - 1)), bci ? (int32_t)bci - 1 : 0};
		if (sender >= at && sender) /* senders lie before: a cycle otherwise */
			break;
		at = sender;
	}
	if (n == 0 && max && b->method) /* no debug information there: the method alone is known */
		out[n++] = (struct java_scope){b->method, -1};
	return n;
}

size_t java_compiled_ids(struct java_process *p, struct runtime_env *env, uint64_t pc, bool leaf, const uint32_t **ids)
{
	struct java_scope scopes[MAX_SCOPES];
	static const uint32_t none;
	struct java_pc *e;
	size_t n;

	HASH_FIND(hh, p->pcs, &pc, sizeof pc, e);
	*ids = &none;
	if (!e)
		return 0;
	if (e->ids && e->n_ids && !leaf) {
		*ids = e->ids;
		return e->n_ids;
	}
	n = java_scopes(p, env->memory, &e->blob->b, pc, leaf, scopes, MAX_SCOPES);
	free(e->ids);
	e->n_ids = 0;
	e->ids = malloc((n ? n : 1) * sizeof *e->ids);
	if (!e->ids)
		return 0;
	for (size_t i = 0; i < n; i++)
		e->ids[e->n_ids++] = java_method_id(p, env, scopes[i].method, scopes[i].bci);
	*ids = e->ids;
	n = e->n_ids;
	if (leaf)
		e->n_ids = 0;
	return n;
}

void java_code_bound(struct java_process *p)
{
	if (HASH_COUNT(p->blobs) >= MAX_BLOBS || HASH_COUNT(p->pcs) >= MAX_PCS)
		blobs_clear(p);
}

void java_code_free(struct java_process *p)
{
	blobs_clear(p);
}
