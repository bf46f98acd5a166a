/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding the FDE of an address (the sorted table of .eh_frame_hdr; a sorted index of our own for .debug_frame and for
 * files without that table) and running its program.
 */
#include "sampler/unwind/cfi.h"
#include "sampler/unwind/cfi_reader.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

/* Beyond this a "section" is hostile or damaged: the largest real one known (a browser with symbols) has some 40 MB. */
#define MAX_SECTION (256u << 20)

struct index_entry {
	uint64_t start;
	uint32_t fde; /* offset in the section */
};

struct frame_index { /* our own sorted table */
	struct index_entry *entries;
	size_t n;
	bool built;
};

struct cfi {
	struct elf_image *img;
	struct cfi_section eh_frame, debug_frame;
	struct frame_index eh_index, debug_index;
	uint8_t *table; /* pairs of int32: function - hdr, FDE - hdr; NULL: use eh_index */
	size_t table_n;
	uint64_t hdr_vaddr;
	bool debug_frame_read;
};

/* ---- reading sections ---- */

static bool section_load(struct cfi_section *out, const struct elf_image *img, uint64_t offset, uint64_t size, uint64_t vaddr)
{
	if (size == 0 || size > MAX_SECTION)
		return false;
	out->data = elf_image_dup(img, offset, size);
	out->size = out->data ? size : 0;
	out->vaddr = vaddr;
	return out->data != NULL;
}

static bool load_named(struct cfi_section *out, struct elf_image *img, const char *name)
{
	const struct elf_section *s = elf_image_section(img, name);
	if (!s || s->type == SHT_NOBITS || (s->flags & SHF_COMPRESSED))
		return false;
	return section_load(out, img, s->offset, s->size, s->vaddr);
}

/* Without section headers (the vdso of some kernels, stripped-to-the-bone files) .eh_frame reaches at most to its segment's
 * end. */
static void load_eh_frame(struct cfi *cfi, uint64_t vaddr)
{
	const struct elf_section *s = elf_image_section(cfi->img, ".eh_frame");
	uint64_t offset, avail;
	if (s && s->vaddr == vaddr && load_named(&cfi->eh_frame, cfi->img, ".eh_frame"))
		return;
	if (elf_image_offset(cfi->img, vaddr, &offset, &avail))
		section_load(&cfi->eh_frame, cfi->img, offset, avail, vaddr);
}

static void load_header(struct cfi *cfi, const struct elf_segment *seg)
{
	uint64_t offset, avail, eh_frame_vaddr, count;
	if (!elf_image_offset(cfi->img, seg->vaddr, &offset, &avail))
		return;
	uint64_t size = seg->mem_size < avail ? seg->mem_size : avail;
	uint8_t *hdr = size >= 4 && size <= MAX_SECTION ? elf_image_dup(cfi->img, offset, size) : NULL;
	if (!hdr)
		return;
	struct cfi_reader r = {hdr, size, 4, seg->vaddr, false};
	struct cfi_pointer_base base = {.data = seg->vaddr};
	eh_frame_vaddr = cfi_read_encoded(&r, hdr[1], &base);
	if (hdr[0] != 1 || r.failed) {
		free(hdr);
		return;
	}
	load_eh_frame(cfi, eh_frame_vaddr);
	count = cfi_read_encoded(&r, hdr[2], &base);
	bool usual = hdr[3] == (CFI_PE_DATAREL | CFI_PE_SDATA4) && hdr[2] != CFI_PE_OMIT && !r.failed;
	if (usual && cfi->eh_frame.data && r.pos <= size && count <= (size - r.pos) / 8 && count > 0) {
		memmove(hdr, hdr + r.pos, count * 8);
		cfi->table = hdr;
		cfi->table_n = count;
		cfi->hdr_vaddr = seg->vaddr;
	} else {
		free(hdr);
	}
}

struct cfi *cfi_new(struct elf_image *img)
{
	struct cfi *cfi = calloc(1, sizeof *cfi);
	if (!cfi)
		return NULL;
	cfi->img = img;
	cfi->debug_frame.is_debug_frame = true;
	const struct elf_segment *seg = elf_image_segment(img, PT_GNU_EH_FRAME);
	if (seg)
		load_header(cfi, seg);
	if (!cfi->eh_frame.data)
		load_named(&cfi->eh_frame, img, ".eh_frame");
	return cfi;
}

void cfi_free(struct cfi *cfi)
{
	if (!cfi)
		return;
	free(cfi->eh_frame.data);
	free(cfi->debug_frame.data);
	free(cfi->eh_index.entries);
	free(cfi->debug_index.entries);
	free(cfi->table);
	free(cfi);
}

/* ---- finding the FDE ---- */

static int compare_entries(const void *a, const void *b)
{
	const struct index_entry *x = a, *y = b;
	return x->start < y->start ? -1 : x->start > y->start;
}

/* One pass over the section; entries whose CIE or pointers make no sense are left out. */
static void build_index(struct frame_index *idx, const struct cfi_section *sec)
{
	size_t cap = 0;
	idx->built = true;
	for (size_t pos = 0, next; pos < sec->size; pos = next) {
		struct cfi_fde fde;
		enum cfi_entry_kind kind = cfi_read_entry(sec, pos, &fde, &next);
		if (kind == CFI_ENTRY_END || next <= pos)
			break;
		if (kind != CFI_ENTRY_FDE || fde.end <= fde.start || pos > UINT32_MAX)
			continue;
		if (idx->n == cap) {
			cap = cap ? 2 * cap : 256;
			struct index_entry *grown = realloc(idx->entries, cap * sizeof *grown);
			if (!grown)
				break;
			idx->entries = grown;
		}
		idx->entries[idx->n++] = (struct index_entry){fde.start, (uint32_t)pos};
	}
	if (idx->n)
		qsort(idx->entries, idx->n, sizeof *idx->entries, compare_entries);
}

static bool find_in_index(struct frame_index *idx, const struct cfi_section *sec, uint64_t vaddr, struct cfi_fde *fde)
{
	size_t lo = 0, hi, next;
	if (!sec->data)
		return false;
	if (!idx->built)
		build_index(idx, sec);
	for (hi = idx->n; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;
		if (idx->entries[mid].start <= vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 && cfi_read_entry(sec, idx->entries[lo - 1].fde, fde, &next) == CFI_ENTRY_FDE && vaddr >= fde->start &&
	       vaddr < fde->end;
}

static int32_t table_value(const struct cfi *cfi, size_t i, size_t column)
{
	int32_t v;
	memcpy(&v, cfi->table + i * 8 + column * 4, sizeof v);
	return v;
}

/* Offset of an FDE in .eh_frame; beyond its end when the table is damaged. */
static uint64_t table_fde(const struct cfi *cfi, size_t i)
{
	return cfi->hdr_vaddr + (uint64_t)(int64_t)table_value(cfi, i, 1) - cfi->eh_frame.vaddr;
}

static bool find_in_table(struct cfi *cfi, uint64_t vaddr, struct cfi_fde *fde)
{
	int64_t want = (int64_t)(vaddr - cfi->hdr_vaddr);
	size_t lo = 0, hi = cfi->table_n, next;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (table_value(cfi, mid, 0) <= want)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return false;
	uint64_t at = table_fde(cfi, lo - 1);
	return at < cfi->eh_frame.size && cfi_read_entry(&cfi->eh_frame, at, fde, &next) == CFI_ENTRY_FDE &&
	       vaddr >= fde->start && vaddr < fde->end;
}

static bool find_fde(struct cfi *cfi, uint64_t vaddr, struct cfi_fde *fde)
{
	if (cfi->table ? find_in_table(cfi, vaddr, fde) : find_in_index(&cfi->eh_index, &cfi->eh_frame, vaddr, fde))
		return true;
	if (!cfi->debug_frame_read) {
		cfi->debug_frame_read = true;
		load_named(&cfi->debug_frame, cfi->img, ".debug_frame");
	}
	return find_in_index(&cfi->debug_index, &cfi->debug_frame, vaddr, fde);
}

bool cfi_find(struct cfi *cfi, uint64_t vaddr, struct cfi_row *row)
{
	struct cfi_fde fde;
	if (!find_fde(cfi, vaddr, &fde))
		return false;
	cfi_run(&fde, vaddr, row);
	return true;
}

bool cfi_bounds(struct cfi *cfi, uint64_t vaddr, uint64_t *start, uint64_t *end)
{
	struct cfi_fde fde;
	if (!find_fde(cfi, vaddr, &fde))
		return false;
	*start = fde.start;
	*end = fde.end;
	return true;
}

void cfi_foreach(struct cfi *cfi, int (*fn)(void *ctx, const struct cfi_row *row), void *ctx)
{
	if (!cfi->table && cfi->eh_frame.data && !cfi->eh_index.built)
		build_index(&cfi->eh_index, &cfi->eh_frame);
	size_t n = cfi->table ? cfi->table_n : cfi->eh_index.n, next;
	for (size_t i = 0; i < n; i++) {
		struct cfi_fde fde;
		struct cfi_row row;
		uint64_t at = cfi->table ? table_fde(cfi, i) : cfi->eh_index.entries[i].fde;
		if (at >= cfi->eh_frame.size || cfi_read_entry(&cfi->eh_frame, at, &fde, &next) != CFI_ENTRY_FDE ||
		    fde.end <= fde.start)
			continue;
		cfi_run(&fde, fde.start, &row);
		if (fn(ctx, &row))
			return;
	}
}

bool cfi_raw(struct cfi *cfi, uint64_t vaddr, const struct cfi_section **section, size_t *fde_offset)
{
	struct cfi_fde fde;
	if (!find_fde(cfi, vaddr, &fde))
		return false;
	*section = fde.section;
	*fde_offset = fde.offset;
	return true;
}
