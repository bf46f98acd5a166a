/* SPDX-License-Identifier: Apache-2.0
 *
 * In: an ELF file. Out: names of its PLT entries. The entry's own instructions say which GOT slot it jumps through, and the
 * relocation of that slot says which symbol it is: that holds for every linker and layout, where counting entries does not.
 */
#include "sampler/symbols/plt.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLT_MAX (16u << 20)

struct slot {
	uint64_t got;
	uint32_t symbol;
};

struct slots {
	struct slot *v;
	size_t n;
};

static int by_got(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;
	return x->got < y->got ? -1 : x->got > y->got;
}

static void add_relocations(struct slots *slots, struct elf_image *img, const char *section)
{
	const struct elf_section *sec = elf_image_section(img, section);
	if (!sec || sec->type != SHT_RELA || sec->size > PLT_MAX * 4)
		return;
	size_t n = sec->size / sizeof(Elf64_Rela);
	Elf64_Rela *rela = (Elf64_Rela *)elf_image_dup(img, sec->offset, n * sizeof *rela);
	struct slot *grown = rela ? realloc(slots->v, (slots->n + n + 1) * sizeof *grown) : NULL;
	if (grown) {
		slots->v = grown;
		for (size_t i = 0; i < n; i++)
			if (ELF64_R_SYM(rela[i].r_info))
				slots->v[slots->n++] = (struct slot){rela[i].r_offset, (uint32_t)ELF64_R_SYM(rela[i].r_info)};
	}
	free(rela);
}

/* jmp *disp32(%rip), perhaps after endbr64 and with a bnd prefix. */
static bool x86_64_target(const uint8_t *code, size_t len, uint64_t vaddr, uint64_t *got)
{
	for (size_t i = 0; i + 6 <= len; i++) {
		int32_t disp;
		if (code[i] != 0xff || code[i + 1] != 0x25)
			continue;
		memcpy(&disp, code + i + 2, 4);
		*got = vaddr + i + 6 + (uint64_t)(int64_t)disp;
		return true;
	}
	return false;
}

/* adrp x16, page; ldr x17, [x16, #off] */
static bool aarch64_target(const uint8_t *code, size_t len, uint64_t vaddr, uint64_t *got)
{
	for (size_t i = 0; i + 8 <= len; i += 4) {
		uint32_t adrp, ldr;
		memcpy(&adrp, code + i, 4);
		memcpy(&ldr, code + i + 4, 4);
		if ((adrp & 0x9f00001f) != 0x90000010 || (ldr & 0xffc003ff) != 0xf9400211)
			continue;
		uint64_t pages = (adrp >> 29 & 3) | (adrp >> 5 & 0x7ffff) << 2;
		pages = (pages ^ 0x100000) - 0x100000;
		*got = ((vaddr + i) & ~0xfffull) + (pages << 12) + (ldr >> 10 & 0xfff) * 8;
		return true;
	}
	return false;
}

struct dynamic_names {
	Elf64_Sym *syms;
	size_t n;
	char *strings;
	size_t strings_size;
};

static void names_load(struct dynamic_names *d, struct elf_image *img)
{
	const struct elf_section *sec = elf_image_section(img, ".dynsym");
	const struct elf_section *str = sec ? elf_image_section_at(img, sec->link) : NULL;
	if (!str)
		return;
	d->n = sec->size / sizeof *d->syms;
	d->syms = (Elf64_Sym *)elf_image_dup(img, sec->offset, d->n * sizeof *d->syms);
	d->strings = (char *)elf_image_dup(img, str->offset, str->size);
	d->strings_size = str->size;
	if (!d->syms || !d->strings)
		d->n = 0;
}

static const char *name_at(const struct dynamic_names *d, uint32_t symbol)
{
	if (symbol >= d->n || d->syms[symbol].st_name >= d->strings_size)
		return NULL;
	const char *name = d->strings + d->syms[symbol].st_name;
	return name[0] ? name : NULL;
}

static void add_entry(struct symtab *t, const struct slots *slots, const struct dynamic_names *names, uint64_t vaddr, size_t size,
		      uint64_t got)
{
	char text[1024];
	const struct slot *s = bsearch(&(struct slot){got, 0}, slots->v, slots->n, sizeof *slots->v, by_got);
	const char *name = s ? name_at(names, s->symbol) : NULL;
	if (!name)
		return;
	snprintf(text, sizeof text, "%s@plt", name);
	symtab_add_one(t, vaddr, size, text);
}

static void add_section(struct symtab *t, struct elf_image *img, const char *section, const struct slots *slots,
			const struct dynamic_names *names)
{
	const struct elf_section *sec = elf_image_section(img, section);
	if (!sec || sec->size > PLT_MAX || sec->type == SHT_NOBITS)
		return;
	size_t entry = sec->entry_size >= 8 && sec->entry_size <= 64 ? sec->entry_size : 16;
	uint8_t *code = elf_image_dup(img, sec->offset, sec->size);
	for (size_t at = 0; code && at + entry <= sec->size; at += entry) {
		uint64_t got;
		bool found = img->machine == EM_AARCH64 ? aarch64_target(code + at, entry, sec->vaddr + at, &got)
							: x86_64_target(code + at, entry, sec->vaddr + at, &got);
		if (found)
			add_entry(t, slots, names, sec->vaddr + at, entry, got);
	}
	free(code);
}

void plt_add(struct symtab *t, struct elf_image *img)
{
	struct slots slots = {0};
	struct dynamic_names names = {0};
	if (img->machine != EM_X86_64 && img->machine != EM_AARCH64)
		return;
	names_load(&names, img);
	add_relocations(&slots, img, ".rela.plt");
	add_relocations(&slots, img, ".rela.dyn");
	if (slots.n && names.n) {
		qsort(slots.v, slots.n, sizeof *slots.v, by_got);
		add_section(t, img, ".plt", &slots, &names);
		add_section(t, img, ".plt.sec", &slots, &names);
		add_section(t, img, ".plt.got", &slots, &names);
	}
	free(slots.v);
	free(names.syms);
	free(names.strings);
}
