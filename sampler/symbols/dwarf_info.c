/* SPDX-License-Identifier: Apache-2.0
 *
 * In: DWARF, through libdw. Out: lines and inlined functions.
 *
 * libdw's own search (dwarf_getscopes) walks a whole unit for each address. Here units are found by one sorted array of
 * ranges, and the functions of a unit are collected once, on the first address in it; after that an address costs two
 * binary searches, a line table lookup and the descent into the inlined blocks of one function.
 */
#include "sampler/symbols/dwarf_info.h"
#include "sampler/symbols/demangle.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct function {
	uint64_t start, end;
	Dwarf_Die die;
};

struct unit {
	Dwarf_Off offset;
	Dwarf_Die die;		    /* of the split unit where there is one */
	struct function *functions; /* sorted by start */
	size_t n, cap;
	bool indexed;
};

struct unit_range {
	uint64_t start, end;
	uint32_t unit;
};

struct name {
	struct name *next;
	const void *key; /* the DIE's or the raw string's address in the file */
	char text[];
};
#define NAME_BUCKETS 1024

struct dwarf_info {
	Elf *elf;
	Dwarf *dwarf;
	struct unit *units;
	size_t n_units, cap_units;
	struct unit_range *ranges;
	size_t n_ranges, cap_ranges;
	struct name *names[NAME_BUCKETS];
};

static bool grow(void **v, size_t *cap, size_t n, size_t size)
{
	if (n < *cap)
		return true;
	size_t bigger = *cap ? *cap * 2 : 64;
	void *grown = realloc(*v, bigger * size);
	if (!grown)
		return false;
	*v = grown;
	*cap = bigger;
	return true;
}

/* ---- units ---- */

static void add_range(struct dwarf_info *d, uint64_t start, uint64_t end, uint32_t unit)
{
	if (start >= end || start == 0 || !grow((void **)&d->ranges, &d->cap_ranges, d->n_ranges, sizeof *d->ranges))
		return; /* 0: code that the linker dropped */
	d->ranges[d->n_ranges++] = (struct unit_range){start, end, unit};
}

static int by_range(const void *a, const void *b)
{
	const struct unit_range *x = a, *y = b;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->unit < y->unit ? -1 : x->unit > y->unit;
}

static void add_unit(struct dwarf_info *d, Dwarf_Die *cu, Dwarf_Die *split)
{
	Dwarf_Addr base = 0, start, end;
	uint32_t index = (uint32_t)d->n_units;
	if (!grow((void **)&d->units, &d->cap_units, d->n_units, sizeof *d->units))
		return;
	bool has_split = split->addr && dwarf_tag(split) != DW_TAG_invalid && dwarf_dieoffset(split) != (Dwarf_Off)-1;
	d->units[d->n_units++] = (struct unit){.offset = dwarf_dieoffset(cu), .die = has_split ? *split : *cu};
	for (ptrdiff_t at = 0; (at = dwarf_ranges(cu, at, &base, &start, &end)) > 0;)
		add_range(d, start, end, index);
}

/* One pass over the unit headers: some 5 us a unit, once. .debug_aranges would be faster but clang leaves it out and partial ones
 * cannot be told from complete ones. */
static void index_units(struct dwarf_info *d)
{
	Dwarf_CU *cu = NULL;
	Dwarf_Half version;
	uint8_t type;
	Dwarf_Die die, sub;
	memset(&sub, 0, sizeof sub);
	while (dwarf_get_units(d->dwarf, cu, &cu, &version, &type, &die, &sub) == 0) {
		if (type == DW_UT_compile || type == DW_UT_skeleton)
			add_unit(d, &die, &sub);
		memset(&sub, 0, sizeof sub);
	}
	if (d->n_ranges)
		qsort(d->ranges, d->n_ranges, sizeof *d->ranges, by_range);
}

static struct unit *find_unit(struct dwarf_info *d, uint64_t vaddr)
{
	size_t lo = 0, hi = d->n_ranges;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (d->ranges[mid].start <= vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0 || vaddr >= d->ranges[lo - 1].end)
		return NULL;
	return &d->units[d->ranges[lo - 1].unit];
}

/* ---- functions of a unit ---- */

#define MAX_DEPTH 256 /* of nested DIEs; compilers stay far below */

static void add_function(struct unit *u, Dwarf_Die *die)
{
	Dwarf_Addr base = 0, start, end;
	for (ptrdiff_t at = 0; (at = dwarf_ranges(die, at, &base, &start, &end)) > 0;) {
		if (start >= end || !grow((void **)&u->functions, &u->cap, u->n, sizeof *u->functions))
			continue;
		u->functions[u->n++] = (struct function){start, end, *die};
	}
}

static void collect(struct unit *u, Dwarf_Die *parent, unsigned depth)
{
	Dwarf_Die child;
	if (depth == MAX_DEPTH || dwarf_child(parent, &child) != 0)
		return;
	do {
		int tag = dwarf_tag(&child);
		if (tag == DW_TAG_subprogram)
			add_function(u, &child);
		if (tag != DW_TAG_enumeration_type && tag != DW_TAG_subroutine_type && dwarf_haschildren(&child) > 0)
			collect(u, &child, depth + 1);
	} while (dwarf_siblingof(&child, &child) == 0);
}

static int by_start(const void *a, const void *b)
{
	const struct function *x = a, *y = b;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->end > y->end ? -1 : x->end < y->end;
}

static struct function *find_function(struct unit *u, uint64_t vaddr)
{
	if (!u->indexed) {
		u->indexed = true;
		collect(u, &u->die, 0);
		if (u->n)
			qsort(u->functions, u->n, sizeof *u->functions, by_start);
	}
	size_t lo = 0, hi = u->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (u->functions[mid].start <= vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 && vaddr < u->functions[lo - 1].end ? &u->functions[lo - 1] : NULL;
}

/* ---- names ---- */

static const char *keep(struct dwarf_info *d, const void *key, const char *text)
{
	size_t len = strlen(text) + 1;
	struct name **bucket = &d->names[((uintptr_t)key >> 3) % NAME_BUCKETS], *n = malloc(sizeof *n + len);
	if (!n)
		return NULL;
	memcpy(n->text, text, len);
	n->key = key;
	n->next = *bucket;
	*bucket = n;
	return n->text;
}

static const char *kept(const struct dwarf_info *d, const void *key)
{
	for (const struct name *n = d->names[((uintptr_t)key >> 3) % NAME_BUCKETS]; n; n = n->next)
		if (n->key == key)
			return n->text;
	return NULL;
}

static const char *function_name(struct dwarf_info *d, Dwarf_Die *die)
{
	Dwarf_Attribute attr;
	const char *raw = NULL;
	if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attr) || dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attr))
		raw = dwarf_formstring(&attr);
	if (!raw)
		return dwarf_diename(die);
	const char *known = kept(d, raw);
	if (known)
		return known;
	char *plain = demangle_symbol(raw);
	known = plain ? keep(d, raw, plain) : NULL;
	free(plain);
	return known;
}

/* ---- lines ---- */

static const char *absolute(struct dwarf_info *d, Dwarf_Die *cu, const char *file)
{
	Dwarf_Attribute attr;
	char path[8192];
	if (!file || file[0] == '/')
		return file;
	const char *known = kept(d, file);
	if (known)
		return known;
	const char *dir = dwarf_attr(cu, DW_AT_comp_dir, &attr) ? dwarf_formstring(&attr) : NULL;
	if (!dir)
		return file;
	if (strncmp(file, "./", 2) == 0)
		snprintf(path, sizeof path, "%s/%s", dir, file + 2);
	else
		snprintf(path, sizeof path, "%s/%s", dir, file);
	return keep(d, file, path);
}

static void line_of(struct dwarf_info *d, Dwarf_Die *cu, uint64_t vaddr, struct dwarf_frame *frame)
{
	int line = 0;
	Dwarf_Line *entry = dwarf_getsrc_die(cu, vaddr);
	if (!entry)
		return;
	frame->file = absolute(d, cu, dwarf_linesrc(entry, NULL, NULL));
	if (dwarf_lineno(entry, &line) == 0 && line > 0)
		frame->line = (uint32_t)line;
}

/* Where an inlined function was called: the place of the frame around it. */
static void call_site(struct dwarf_info *d, Dwarf_Die *cu, Dwarf_Die *inlined, struct dwarf_frame *outer)
{
	Dwarf_Attribute attr;
	Dwarf_Word file, line;
	Dwarf_Files *files;
	size_t n;
	if (dwarf_attr(inlined, DW_AT_call_line, &attr) && dwarf_formudata(&attr, &line) == 0)
		outer->line = (uint32_t)line;
	if (dwarf_attr(inlined, DW_AT_call_file, &attr) && dwarf_formudata(&attr, &file) == 0 &&
	    dwarf_getsrcfiles(cu, &files, &n) == 0 && file < n)
		outer->file = absolute(d, cu, dwarf_filesrc(files, file, NULL, NULL));
}

/* ---- inlining ---- */

/* The child block of parent that covers vaddr: an inlined function, or a block that may hold some. */
static bool covering_child(Dwarf_Die *parent, uint64_t vaddr, Dwarf_Die *out)
{
	Dwarf_Die child;
	if (dwarf_child(parent, &child) != 0)
		return false;
	do {
		int tag = dwarf_tag(&child);
		if ((tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block) && dwarf_haspc(&child, vaddr) > 0) {
			*out = child;
			return true;
		}
	} while (dwarf_siblingof(&child, &child) == 0);
	return false;
}

size_t dwarf_info_frames(struct dwarf_info *d, uint64_t vaddr, struct dwarf_frame frames[DWARF_FRAMES_MAX])
{
	Dwarf_Die chain[DWARF_FRAMES_MAX], at; /* outermost first: the function, then what is inlined */
	size_t n = 0;
	struct unit *u = find_unit(d, vaddr);
	if (!u)
		return 0;
	struct function *f = find_function(u, vaddr);
	if (f) {
		chain[n++] = at = f->die;
		for (unsigned depth = 0; depth < MAX_DEPTH && n < DWARF_FRAMES_MAX && covering_child(&at, vaddr, &at); depth++)
			if (dwarf_tag(&at) == DW_TAG_inlined_subroutine)
				chain[n++] = at;
	}
	if (n == 0) { /* assembly: lines without functions */
		frames[0] = (struct dwarf_frame){0};
		line_of(d, &u->die, vaddr, &frames[0]);
		return frames[0].file ? 1 : 0;
	}
	for (size_t i = 0; i < n; i++) {
		Dwarf_Die *die = &chain[n - 1 - i];
		frames[i] = (struct dwarf_frame){.function = function_name(d, die)};
		if (i == 0)
			line_of(d, &u->die, vaddr, &frames[i]);
		else
			call_site(d, &u->die, &chain[n - i], &frames[i]);
	}
	return n;
}

/* ---- life ---- */

struct dwarf_info *dwarf_info_new(void *image, size_t size)
{
	struct dwarf_info *d = calloc(1, sizeof *d);
	if (!d || elf_version(EV_CURRENT) == EV_NONE) {
		free(d);
		return NULL;
	}
	d->elf = elf_memory(image, size);
	d->dwarf = d->elf ? dwarf_begin_elf(d->elf, DWARF_C_READ, NULL) : NULL;
	if (!d->dwarf) {
		dwarf_info_free(d);
		return NULL;
	}
	index_units(d);
	return d;
}

void dwarf_info_free(struct dwarf_info *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_units; i++)
		free(d->units[i].functions);
	for (size_t i = 0; i < NAME_BUCKETS; i++)
		for (struct name *n = d->names[i], *next; n; n = next) {
			next = n->next;
			free(n);
		}
	free(d->units);
	free(d->ranges);
	if (d->dwarf)
		dwarf_end(d->dwarf);
	if (d->elf)
		elf_end(d->elf);
	free(d);
}
