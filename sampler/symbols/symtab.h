/* SPDX-License-Identifier: Apache-2.0
 *
 * Symbol tables of ELF files. In: .symtab and .dynsym sections (bounds-checked: they may be hostile); out: the symbol that covers
 * an address, or that has a name.
 */
#ifndef LOCKSTEP_SYMTAB_H
#define LOCKSTEP_SYMTAB_H

#include "sampler/unwind/elf_image.h"

struct symbol {
	uint64_t addr, size;
	const char *name; /* raw, without version; owned by the table */
	uint8_t rank;	  /* which of several names of one address to show: the higher */
	bool code;
};

struct symtab {
	struct symbol *v; /* in file order; sorted copies and indexes below */
	size_t n, cap;
	char **strings; /* string tables and other names that belong to it */
	size_t n_strings;
	struct symbol *code; /* code symbols sorted by address, one per address */
	uint64_t *reach;     /* reach[i]: the highest end of code[0..i] */
	size_t n_code;
	uint32_t *by_name; /* open-addressing hash of indexes + 1 into v */
	size_t by_name_size;
};

void symtab_fini(struct symtab *t);
/* Appends the symbols of a section (".symtab", ".dynsym"). A missing or damaged section adds none. Returns the number added. */
size_t symtab_add(struct symtab *t, struct elf_image *img, const char *section);
/* The same by the dynamic segment, for files without section headers and images read from memory. */
size_t symtab_add_dynamic(struct symtab *t, struct elf_image *img);
/* Appends one of another origin (PLT entries). name is copied. */
void symtab_add_one(struct symtab *t, uint64_t addr, uint64_t size, const char *name);
/* Makes what was added findable. May be called again after further additions. */
void symtab_finish(struct symtab *t);

/* The code symbol that covers vaddr; one of unknown size (0) reaches to the next symbol, but never below `floor` (the start
 * of the function by its CFI, 0: unknown). NULL when none. */
const struct symbol *symtab_find(const struct symtab *t, uint64_t vaddr, uint64_t floor);
/* First added wins. */
const struct symbol *symtab_find_name(struct symtab *t, const char *name);

#endif
