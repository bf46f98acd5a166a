/* SPDX-License-Identifier: Apache-2.0
 *
 * In: an object without .symtab, its exported symbols, its CFI. Out: more symbols.
 *
 * A cold part begins in the middle of its function: its CFI has a frame from the first instruction on, which no function's
 * start has. It is entered by jumps, and nearly all of them lie in the hot part. So each direct jump in .text that leads
 * into a nameless part of that kind is a vote for the function it lies in; bytes that look like a jump but are none are
 * outvoted.
 */
#include "sampler/symbols/stripped.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT (128u << 20)

static bool named(const struct symtab *t, const char *name)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->v[i].name, name) == 0)
			return true;
	return false;
}

static bool add_function(struct symtab *t, struct object *obj, uint64_t vaddr, const char *name)
{
	uint64_t start, end;
	if (named(t, name) || symtab_find(t, vaddr, 0) || !object_function_bounds(obj, vaddr, &start, &end) || start != vaddr)
		return false;
	symtab_add_one(t, vaddr, end - vaddr, name);
	return true;
}

/* crt1.o: "lea main(%rip), %rdi" or "mov $main, %rdi", the call of __libc_start_main, "hlt". A library's entry point
 * (libc.so prints its version) looks otherwise. */
static bool main_of_entry(const uint8_t *code, size_t size, uint64_t vaddr, uint64_t *main_vaddr)
{
	for (size_t i = 0; i + 14 <= size; i++) {
		bool lea = memcmp(code + i, "\x48\x8d\x3d", 3) == 0, mov = memcmp(code + i, "\x48\xc7\xc7", 3) == 0;
		bool through_got = code[i + 7] == 0xff && code[i + 8] == 0x15 && code[i + 13] == 0xf4;
		bool direct = (code[i + 7] == 0xe8 && code[i + 12] == 0xf4) ||
			      (code[i + 7] == 0x67 && code[i + 8] == 0xe8 && code[i + 13] == 0xf4);
		int32_t value;
		if ((!lea && !mov) || (!through_got && !direct))
			continue;
		memcpy(&value, code + i + 3, 4);
		*main_vaddr = (lea ? vaddr + i + 7 : 0) + (uint64_t)(int64_t)value;
		return true;
	}
	return false;
}

static bool add_entry(struct symtab *t, struct object *obj)
{
	uint8_t code[48];
	uint64_t entry = obj->elf.entry, main_vaddr;
	if (!entry || !object_read(obj, entry, code, sizeof code) || !main_of_entry(code, sizeof code, entry, &main_vaddr))
		return false;
	bool start = add_function(t, obj, entry, "_start");
	return add_function(t, obj, main_vaddr, "main") || start;
}

/* ---- cold parts ---- */

struct part {
	uint64_t start, end;
	const struct symbol *owner; /* the leader of the vote (Boyer and Moore's majority algorithm) */
	uint32_t lead, votes;
};

struct parts {
	const struct symtab *t;
	struct part *v;
	size_t n, cap;
};

static bool begins_with_a_frame(const struct cfi_row *row)
{
	if (row->unsupported || row->signal)
		return false;
	bool no_frame = row->cfa.kind == CFI_REGISTER && row->cfa_reg == 7 && row->cfa.value == 8;
	for (size_t reg = 0; reg < 16 && no_frame; reg++)
		no_frame = row->regs[reg].kind == CFI_UNSPECIFIED;
	return !no_frame && row->cfa.kind == CFI_REGISTER;
}

static int note_part(void *ctx, const struct cfi_row *row)
{
	struct parts *p = ctx;
	if (!begins_with_a_frame(row) || symtab_find(p->t, row->fde_start, 0))
		return 0;
	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 64;
		struct part *grown = realloc(p->v, cap * sizeof *grown);
		if (!grown)
			return 1;
		p->v = grown;
		p->cap = cap;
	}
	p->v[p->n++] = (struct part){.start = row->fde_start, .end = row->fde_end};
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct part *x = a, *y = b;
	return x->start < y->start ? -1 : x->start > y->start;
}

static struct part *part_at(const struct parts *p, uint64_t vaddr)
{
	size_t lo = 0, hi = p->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (p->v[mid].start <= vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 && vaddr < p->v[lo - 1].end ? &p->v[lo - 1] : NULL;
}

static void vote(const struct parts *p, uint64_t from, uint64_t to)
{
	struct part *part = part_at(p, to);
	if (!part || part == part_at(p, from))
		return;
	const struct symbol *owner = symtab_find(p->t, from, 0);
	part->votes++;
	if (!owner)
		return;
	if (part->lead == 0)
		part->owner = owner;
	part->lead += part->owner == owner ? 1 : -1u;
}

/* jmp rel32 (e9) and jcc rel32 (0f 80..8f) */
static void count_votes(const struct parts *p, const uint8_t *code, size_t size, uint64_t vaddr)
{
	for (size_t i = 0; i + 6 <= size; i++) {
		bool jmp = code[i] == 0xe9, jcc = code[i] == 0x0f && (code[i + 1] & 0xf0) == 0x80;
		int32_t rel;
		if (!jmp && !jcc)
			continue;
		size_t len = jmp ? 5 : 6;
		memcpy(&rel, code + i + len - 4, 4);
		vote(p, vaddr + i, vaddr + i + len + (uint64_t)(int64_t)rel);
	}
}

static bool add_cold_parts(struct symtab *t, struct object *obj)
{
	struct parts p = {.t = t};
	bool added = false;
	const struct elf_section *text = elf_image_section(&obj->elf, ".text");
	if (!text || text->type != SHT_PROGBITS || text->size > MAX_TEXT)
		return false;
	object_foreach_function(obj, note_part, &p);
	uint8_t *code = p.n ? elf_image_dup(&obj->elf, text->offset, text->size) : NULL;
	if (code) {
		qsort(p.v, p.n, sizeof *p.v, by_start);
		count_votes(&p, code, text->size, text->vaddr);
	}
	for (size_t i = 0; code && i < p.n; i++) {
		char name[4096];
		if (p.v[i].lead == 0 || p.v[i].lead * 2 < p.v[i].votes)
			continue;
		snprintf(name, sizeof name, "%s.cold", p.v[i].owner->name);
		symtab_add_one(t, p.v[i].start, p.v[i].end - p.v[i].start, name);
		added = true;
	}
	free(code);
	free(p.v);
	return added;
}

void stripped_add(struct symtab *t, struct object *obj)
{
	if (obj->elf.machine != EM_X86_64)
		return;
	bool entry = add_entry(t, obj), cold = add_cold_parts(t, obj);
	if (entry || cold)
		symtab_finish(t);
}
