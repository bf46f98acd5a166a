/* SPDX-License-Identifier: Apache-2.0
 *
 * In: symbol sections. Out: address -> symbol and name -> symbol.
 */
#include "sampler/symbols/symtab.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TABLE (512u << 20) /* bytes of one symbol or string table: beyond is damage */

void symtab_fini(struct symtab *t)
{
	for (size_t i = 0; i < t->n_strings; i++)
		free(t->strings[i]);
	free(t->strings);
	free(t->v);
	free(t->code);
	free(t->reach);
	free(t->by_name);
	*t = (struct symtab){0};
}

static bool keep_string(struct symtab *t, char *s)
{
	char **grown = realloc(t->strings, (t->n_strings + 1) * sizeof *grown);
	if (!grown)
		return false;
	t->strings = grown;
	t->strings[t->n_strings++] = s;
	return true;
}

static bool push(struct symtab *t, const struct symbol *s)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 256;
		struct symbol *grown = realloc(t->v, cap * sizeof *grown);
		if (!grown)
			return false;
		t->v = grown;
		t->cap = cap;
	}
	t->v[t->n++] = *s;
	return true;
}

/* Global before weak before local; with a size before without; without leading underscores before with; functions before
 * labels. */
static uint8_t rank_of(const Elf64_Sym *sym, const char *name)
{
	static const uint8_t by_binding[16] = {[STB_LOCAL] = 0, [STB_WEAK] = 1, [STB_GLOBAL] = 2, [STB_GNU_UNIQUE] = 2};
	uint8_t type = ELF64_ST_TYPE(sym->st_info);
	return (uint8_t)((type != STT_NOTYPE) * 32 + (sym->st_size > 0) * 16 + by_binding[ELF64_ST_BIND(sym->st_info)] * 4 +
			 (name[0] != '_') * 2 + (name[0] != '_' || name[1] != '_'));
}

static bool wanted(const Elf64_Sym *sym, const char *name)
{
	uint8_t type = ELF64_ST_TYPE(sym->st_info);
	if (sym->st_shndx == SHN_UNDEF || !name[0] || name[0] == '$') /* "$x": ARM's marks of code and data */
		return false;
	return type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_OBJECT || type == STT_NOTYPE;
}

static bool is_code(struct elf_image *img, const Elf64_Sym *sym)
{
	uint8_t type = ELF64_ST_TYPE(sym->st_info);
	if (type == STT_FUNC || type == STT_GNU_IFUNC)
		return true;
	if (type != STT_NOTYPE || sym->st_shndx >= SHN_LORESERVE)
		return false;
	const struct elf_section *sec = elf_image_section_at(img, sym->st_shndx); /* labels of hand-written assembly */
	return sec && (sec->flags & SHF_EXECINSTR);
}

/* Takes names over, whatever happens. */
static size_t add_symbols(struct symtab *t, struct elf_image *img, const Elf64_Sym *syms, size_t n, char *names,
			  size_t names_size)
{
	size_t before = t->n;
	if (!syms || !names || !keep_string(t, names)) {
		free(names);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		const char *name = syms[i].st_name < names_size ? names + syms[i].st_name : "";
		if (!wanted(&syms[i], name))
			continue;
		struct symbol s = {syms[i].st_value, syms[i].st_size, name, rank_of(&syms[i], name), is_code(img, &syms[i])};
		if (!push(t, &s))
			break;
	}
	return t->n - before;
}

size_t symtab_add(struct symtab *t, struct elf_image *img, const char *section)
{
	const struct elf_section *sec = elf_image_section(img, section);
	const struct elf_section *str = sec ? elf_image_section_at(img, sec->link) : NULL;
	if (!str || sec->type == SHT_NOBITS || str->type == SHT_NOBITS || sec->size > MAX_TABLE || str->size > MAX_TABLE)
		return 0;
	size_t n = sec->size / sizeof(Elf64_Sym);
	Elf64_Sym *syms = (Elf64_Sym *)elf_image_dup(img, sec->offset, n * sizeof *syms);
	char *names = (char *)elf_image_dup(img, str->offset, str->size); /* a NUL follows */
	size_t added = add_symbols(t, img, syms, n, names, str->size);
	free(syms);
	return added;
}

/* ---- without section headers ---- */

struct dynamic {
	uint64_t symtab, strtab, strsz, hash, gnu_hash;
};

static bool read_dynamic(const struct elf_image *img, struct dynamic *d)
{
	const struct elf_segment *seg = elf_image_segment(img, PT_DYNAMIC);
	for (uint64_t at = 0; seg && at + sizeof(Elf64_Dyn) <= seg->mem_size; at += sizeof(Elf64_Dyn)) {
		Elf64_Dyn dyn;
		if (!elf_image_read(img, seg->vaddr + at, &dyn, sizeof dyn) || dyn.d_tag == DT_NULL)
			break;
		switch (dyn.d_tag) {
		case DT_SYMTAB:
			d->symtab = dyn.d_un.d_ptr;
			break;
		case DT_STRTAB:
			d->strtab = dyn.d_un.d_ptr;
			break;
		case DT_STRSZ:
			d->strsz = dyn.d_un.d_val;
			break;
		case DT_HASH:
			d->hash = dyn.d_un.d_ptr;
			break;
		case DT_GNU_HASH:
			d->gnu_hash = dyn.d_un.d_ptr;
			break;
		}
	}
	return d->symtab && d->strtab && d->strsz <= MAX_TABLE;
}

/* The dynamic linker knows no number of symbols: the hash table's last chain tells it. */
static size_t count_by_gnu_hash(const struct elf_image *img, uint64_t hash)
{
	uint32_t head[4], last = 0, entry; /* buckets, first symbol, words of the Bloom filter, shift */
	if (!elf_image_read(img, hash, head, sizeof head) || head[0] > (1u << 24) || head[2] > (1u << 24))
		return 0;
	uint64_t buckets = hash + sizeof head + (uint64_t)head[2] * 8, chains = buckets + (uint64_t)head[0] * 4;
	for (uint32_t i = 0; i < head[0] && elf_image_read(img, buckets + (uint64_t)i * 4, &entry, 4); i++)
		last = entry > last ? entry : last;
	if (last < head[1])
		return head[1];
	while (elf_image_read(img, chains + (uint64_t)(last - head[1]) * 4, &entry, 4)) {
		last++;
		if (entry & 1)
			break;
	}
	return last;
}

size_t symtab_add_dynamic(struct symtab *t, struct elf_image *img)
{
	struct dynamic d = {0};
	uint32_t head[2] = {0}; /* buckets, chains */
	if (!read_dynamic(img, &d))
		return 0;
	size_t n = d.gnu_hash ? count_by_gnu_hash(img, d.gnu_hash) : 0;
	if (!n && d.hash && elf_image_read(img, d.hash, head, sizeof head))
		n = head[1];
	if (n == 0 || n > MAX_TABLE / sizeof(Elf64_Sym))
		return 0;
	Elf64_Sym *syms = calloc(n, sizeof *syms);
	char *names = calloc(1, d.strsz + 1);
	if (syms && names &&
	    (!elf_image_read(img, d.symtab, syms, n * sizeof *syms) || !elf_image_read(img, d.strtab, names, d.strsz)))
		n = 0;
	size_t added = add_symbols(t, img, syms, n, names, d.strsz);
	free(syms);
	return added;
}

void symtab_add_one(struct symtab *t, uint64_t addr, uint64_t size, const char *name)
{
	char *copy = strdup(name);
	if (!copy || !keep_string(t, copy)) {
		free(copy);
		return;
	}
	push(t, &(struct symbol){addr, size, copy, 0, true});
}

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;
	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank > y->rank ? -1 : 1;
	return strcmp(x->name, y->name); /* the same choice on every host */
}

void symtab_finish(struct symtab *t)
{
	size_t n = 0;
	free(t->code);
	free(t->reach);
	free(t->by_name);
	t->by_name = NULL;
	t->n_code = 0;
	t->code = malloc((t->n + 1) * sizeof *t->code);
	t->reach = malloc((t->n + 1) * sizeof *t->reach);
	if (!t->code || !t->reach)
		return;
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].code)
			t->code[n++] = t->v[i];
	qsort(t->code, n, sizeof *t->code, by_address);
	for (size_t i = 0; i < n; i++) {
		struct symbol *last = t->n_code ? &t->code[t->n_code - 1] : NULL;
		if (last && last->addr == t->code[i].addr) {
			if (t->code[i].size > last->size)
				last->size = t->code[i].size;
			continue;
		}
		t->code[t->n_code++] = t->code[i];
	}
	for (size_t i = 0; i < t->n_code; i++) {
		uint64_t end = t->code[i].addr + t->code[i].size;
		t->reach[i] = i && t->reach[i - 1] > end ? t->reach[i - 1] : end;
	}
}

const struct symbol *symtab_find(const struct symtab *t, uint64_t vaddr, uint64_t floor)
{
	size_t lo = 0, hi = t->n_code;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (t->code[mid].addr <= vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return NULL;
	const struct symbol *last = &t->code[lo - 1];
	bool inside = lo > 1 && t->reach[lo - 2] > last->addr; /* a label within a function ends with it */
	if (last->size == 0 && last->addr >= floor && !inside)
		return last;
	for (size_t i = lo; i-- > 0 && t->reach[i] > vaddr;)
		if (vaddr - t->code[i].addr < t->code[i].size)
			return &t->code[i];
	return NULL;
}

/* ---- by name ---- */

static uint32_t hash_name(const char *s)
{
	uint32_t h = 5381; /* as in DT_GNU_HASH */
	for (; *s; s++)
		h = h * 33 + (uint8_t)*s;
	return h;
}

static uint32_t *name_slot(const struct symtab *t, const char *name)
{
	size_t mask = t->by_name_size - 1, i = hash_name(name) & mask;
	while (t->by_name[i] && strcmp(t->v[t->by_name[i] - 1].name, name) != 0)
		i = (i + 1) & mask;
	return &t->by_name[i];
}

const struct symbol *symtab_find_name(struct symtab *t, const char *name)
{
	if (!t->by_name) {
		size_t size = 64;
		while (size < t->n * 2)
			size *= 2;
		t->by_name = calloc(size, sizeof *t->by_name);
		if (!t->by_name)
			return NULL;
		t->by_name_size = size;
		for (size_t i = 0; i < t->n && i < UINT32_MAX - 1; i++) {
			uint32_t *slot = name_slot(t, t->v[i].name);
			if (*slot == 0)
				*slot = (uint32_t)i + 1;
		}
	}
	uint32_t i = *name_slot(t, name);
	return i ? &t->v[i - 1] : NULL;
}
