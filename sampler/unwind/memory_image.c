/* SPDX-License-Identifier: Apache-2.0
 *
 * In: code of a process whose file cannot be opened. Out: that file as far as it is loaded, read from the process's memory,
 * with everything at its file offset, so that it parses like the file. An upgraded library under a running service is the
 * common case: its file is deleted, and only privileged users may follow /proc/PID/map_files.
 */
#include "sampler/unwind/object.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define MAX_IMAGE (256u << 20)
#define PAGE 4096u
/* Some linkers give each segment a page more in memory than in the file: the header is a few pages further down then. */
#define MAX_SHIFT 16u

static bool read_memory(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct iovec to = {buf, len}, from = {(void *)(uintptr_t)addr, len};
	return process_vm_readv(pid, &to, 1, &from, 1, 0) == (ssize_t)len;
}

/* Where the file's first byte is mapped: judging by its code's place, and confirmed by its program headers. */
static bool find_header(pid_t pid, const struct mapping_info *m, struct elf_image *img, uint8_t header[PAGE], uint64_t *bias)
{
	for (uint64_t shift = 0; shift < MAX_SHIFT; shift++) {
		uint64_t base = m->start - m->file_offset - shift * PAGE, code, first;
		if (m->start < m->file_offset + shift * PAGE || !read_memory(pid, base, header, PAGE) ||
		    memcmp(header, ELFMAG, SELFMAG) != 0)
			continue;
		if (elf_image_init(img, header, PAGE, false) != 0)
			return false;
		if (elf_image_vaddr(img, m->file_offset, true, &code) && elf_image_vaddr(img, 0, false, &first) &&
		    m->start - code == base - first) {
			*bias = base - first;
			return true;
		}
		elf_image_fini(img);
	}
	return false;
}

static size_t image_size(const struct elf_image *img)
{
	uint64_t size = 0;
	for (size_t i = 0; i < img->n_segments; i++) {
		const struct elf_segment *s = &img->segments[i];
		if (s->type != PT_LOAD)
			continue;
		if (s->offset > MAX_IMAGE || s->file_size > MAX_IMAGE - s->offset)
			return 0;
		size = s->offset + s->file_size > size ? s->offset + s->file_size : size;
	}
	return (size_t)size;
}

static void copy_segment(pid_t pid, const struct elf_segment *s, uint64_t bias, uint8_t *data)
{
	/* In pieces: a page that is not readable must not take the rest with it. */
	for (uint64_t at = 0, n; at < s->file_size; at += n) {
		uint64_t addr = s->vaddr + bias + at;
		n = PAGE * 64u - addr % PAGE < s->file_size - at ? PAGE * 64u - addr % PAGE : s->file_size - at;
		if (read_memory(pid, addr, data + s->offset + at, n))
			continue;
		n = PAGE - addr % PAGE < s->file_size - at ? PAGE - addr % PAGE : s->file_size - at;
		read_memory(pid, addr, data + s->offset + at, n);
	}
}

/* The dynamic linker has made addresses of the pointers there. */
static void unrelocate_dynamic(const struct elf_image *img, uint64_t bias, uint8_t *data, size_t size)
{
	const struct elf_segment *dynamic = elf_image_segment(img, PT_DYNAMIC);
	for (uint64_t at = 0; dynamic && at + sizeof(Elf64_Dyn) <= dynamic->file_size; at += sizeof(Elf64_Dyn)) {
		Elf64_Dyn dyn;
		if (dynamic->offset > size || at + sizeof dyn > size - dynamic->offset)
			return;
		memcpy(&dyn, data + dynamic->offset + at, sizeof dyn);
		bool pointer =
			dyn.d_tag == DT_SYMTAB || dyn.d_tag == DT_STRTAB || dyn.d_tag == DT_HASH || dyn.d_tag == DT_GNU_HASH;
		if (!pointer || bias == 0 || dyn.d_un.d_ptr < bias)
			continue;
		dyn.d_un.d_ptr -= bias;
		memcpy(data + dynamic->offset + at, &dyn, sizeof dyn);
	}
}

uint8_t *object_memory_image(pid_t pid, const struct mapping_info *m, size_t *size)
{
	uint8_t header[PAGE];
	struct elf_image img;
	uint64_t bias = 0;
	if (!find_header(pid, m, &img, header, &bias))
		return NULL;
	*size = image_size(&img);
	uint8_t *data = *size >= sizeof(Elf64_Ehdr) ? calloc(1, *size) : NULL;
	for (size_t i = 0; data && i < img.n_segments; i++)
		if (img.segments[i].type == PT_LOAD)
			copy_segment(pid, &img.segments[i], bias, data);
	if (data) {
		/* Section headers lie behind what is loaded. */
		Elf64_Ehdr eh;
		memcpy(&eh, data, sizeof eh);
		eh.e_shnum = 0;
		memcpy(data, &eh, sizeof eh);
		unrelocate_dynamic(&img, bias, data, *size);
	}
	elf_image_fini(&img);
	return data;
}
