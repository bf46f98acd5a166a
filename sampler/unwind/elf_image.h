/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounds-checked view of one ELF64 file in memory. In: bytes that nobody vouches for (any file a target has mapped, or
 * memory read from it); out: segments, sections, the build-id, and copies of parts. Every offset is checked here, so that what
 * builds on it (CFI, symbols) can never read outside the file.
 *
 * Parts are copied by process_vm_readv on ourselves when the bytes are a file mapping: a file that is truncated while it is
 * mapped (a library overwritten in place) then gives a short read where a plain load would raise SIGBUS.
 */
#ifndef LOCKSTEP_ELF_IMAGE_H
#define LOCKSTEP_ELF_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct elf_segment {
	uint64_t vaddr, offset, file_size, mem_size;
	uint32_t type, flags;
};

struct elf_section {
	const char *name; /* borrowed from the image */
	uint32_t type, link, info;
	uint64_t flags, vaddr, offset, size, entry_size;
};

struct elf_image {
	const uint8_t *data; /* not owned */
	size_t size;
	bool mapped; /* data is a file mapping: may vanish under us */
	uint16_t machine, type;
	uint64_t entry;		      /* e_entry */
	struct elf_segment *segments; /* PT_LOAD, PT_NOTE, PT_GNU_EH_FRAME and PT_DYNAMIC only */
	size_t n_segments;
	struct elf_section *sections; /* read on first use */
	size_t n_sections;
	char *names; /* copy of the section name table */
	size_t names_size;
	bool sections_read;
	uint64_t section_table; /* e_shoff, e_shnum, e_shstrndx: for the lazy read */
	uint16_t section_count, names_index;
};

#define ELF_BUILD_ID_MAX 64

/* Reads header and program headers. Returns 0; -ENOEXEC when it is no ELF64 file of this byte order. data must outlive img. */
int elf_image_init(struct elf_image *img, const uint8_t *data, size_t size, bool mapped);
void elf_image_fini(struct elf_image *img);

/* Copies file bytes; false when they are not all there. */
bool elf_image_copy(const struct elf_image *img, uint64_t offset, void *buf, size_t len);
/* A malloc'ed copy, NUL-terminated beyond len; NULL when not all there or out of memory. */
uint8_t *elf_image_dup(const struct elf_image *img, uint64_t offset, size_t len);

/* First section of that name (NULL: none). Sections are read on first use; a file without them is fine. */
const struct elf_section *elf_image_section(struct elf_image *img, const char *name);
const struct elf_section *elf_image_section_at(struct elf_image *img, size_t index);
/* First segment of that type. */
const struct elf_segment *elf_image_segment(const struct elf_image *img, uint32_t type);

/* Loaded address -> file offset; *avail (may be NULL) receives how many file bytes follow in that segment. */
bool elf_image_offset(const struct elf_image *img, uint64_t vaddr, uint64_t *offset, uint64_t *avail);
/* Copies loaded bytes at vaddr, zeroes where the segment has no file bytes (.bss). False when not all of it is loaded. */
bool elf_image_read(const struct elf_image *img, uint64_t vaddr, void *buf, size_t len);
/* The address (own numbering) at which a mapping of file_offset begins: decides the bias. executable picks between
 * segments that share a page. False when no PT_LOAD covers that offset. */
bool elf_image_vaddr(const struct elf_image *img, uint64_t file_offset, bool executable, uint64_t *vaddr);
/* GNU build-id note: copies at most ELF_BUILD_ID_MAX bytes into id, returns the length, 0: none. */
size_t elf_image_build_id(struct elf_image *img, uint8_t *id);

#endif
