/* SPDX-License-Identifier: Apache-2.0
 *
 * In: bytes of an ELF64 file. Out: its segments, sections, build-id. See elf_image.h for why parts are copied.
 */
#include "sampler/unwind/elf_image.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Files with more are hostile or of no interest: the kernel itself refuses program headers beyond 64 KiB. */
#define MAX_SEGMENTS 1024
#define MAX_NAMES (1u << 22)

static bool in_bounds(const struct elf_image *img, uint64_t offset, uint64_t len)
{
	return offset <= img->size && len <= img->size - offset;
}

bool elf_image_copy(const struct elf_image *img, uint64_t offset, void *buf, size_t len)
{
	if (!in_bounds(img, offset, len))
		return false;
	if (len == 0)
		return true;
	if (!img->mapped) {
		memcpy(buf, img->data + offset, len);
		return true;
	}
	struct iovec to = {buf, len}, from = {(void *)(uintptr_t)(img->data + offset), len};
	return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == (ssize_t)len;
}

uint8_t *elf_image_dup(const struct elf_image *img, uint64_t offset, size_t len)
{
	if (!in_bounds(img, offset, len))
		return NULL;
	uint8_t *copy = malloc(len + 1);
	if (copy && !elf_image_copy(img, offset, copy, len)) {
		free(copy);
		return NULL;
	}
	if (copy)
		copy[len] = 0;
	return copy;
}

static bool wanted_segment(uint32_t type)
{
	return type == PT_LOAD || type == PT_NOTE || type == PT_GNU_EH_FRAME || type == PT_DYNAMIC;
}

static int read_segments(struct elf_image *img, const Elf64_Ehdr *eh)
{
	if (eh->e_phnum == 0)
		return 0;
	if (eh->e_phentsize != sizeof(Elf64_Phdr) || eh->e_phnum > MAX_SEGMENTS)
		return -ENOEXEC;
	Elf64_Phdr *ph = (Elf64_Phdr *)elf_image_dup(img, eh->e_phoff, (size_t)eh->e_phnum * sizeof *ph);
	if (!ph)
		return -ENOEXEC;
	img->segments = calloc(eh->e_phnum, sizeof *img->segments);
	for (size_t i = 0; img->segments && i < eh->e_phnum; i++)
		if (wanted_segment(ph[i].p_type))
			img->segments[img->n_segments++] = (struct elf_segment){ph[i].p_vaddr, ph[i].p_offset, ph[i].p_filesz,
										ph[i].p_memsz, ph[i].p_type,   ph[i].p_flags};
	free(ph);
	return img->segments ? 0 : -ENOMEM;
}

int elf_image_init(struct elf_image *img, const uint8_t *data, size_t size, bool mapped)
{
	*img = (struct elf_image){.data = data, .size = size, .mapped = mapped};
	Elf64_Ehdr eh;
	if (!elf_image_copy(img, 0, &eh, sizeof eh) || memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	int order = __BYTE_ORDER == __LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB;
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != order)
		return -ENOEXEC;
	img->machine = eh.e_machine;
	img->type = eh.e_type;
	img->entry = eh.e_entry;
	img->section_table = eh.e_shoff;
	img->section_count = eh.e_shentsize == sizeof(Elf64_Shdr) ? eh.e_shnum : 0;
	img->names_index = eh.e_shstrndx;
	int ret = read_segments(img, &eh);
	if (ret)
		elf_image_fini(img);
	return ret;
}

void elf_image_fini(struct elf_image *img)
{
	free(img->segments);
	free(img->sections);
	free(img->names);
	*img = (struct elf_image){0};
}

static void read_sections(struct elf_image *img)
{
	img->sections_read = true;
	size_t n = img->section_count;
	if (n == 0 || img->names_index >= n)
		return;
	Elf64_Shdr *sh = (Elf64_Shdr *)elf_image_dup(img, img->section_table, n * sizeof *sh);
	if (!sh)
		return;
	const Elf64_Shdr *str = &sh[img->names_index];
	if (str->sh_size <= MAX_NAMES)
		img->names = (char *)elf_image_dup(img, str->sh_offset, str->sh_size);
	img->names_size = img->names ? str->sh_size : 0;
	img->sections = calloc(n, sizeof *img->sections);
	for (size_t i = 0; img->sections && i < n; i++) {
		const char *name = sh[i].sh_name < img->names_size ? img->names + sh[i].sh_name : "";
		img->sections[i] =
			(struct elf_section){name,	    sh[i].sh_type,   sh[i].sh_link, sh[i].sh_info,   sh[i].sh_flags,
					     sh[i].sh_addr, sh[i].sh_offset, sh[i].sh_size, sh[i].sh_entsize};
	}
	img->n_sections = img->sections ? n : 0;
	free(sh);
}

const struct elf_section *elf_image_section_at(struct elf_image *img, size_t index)
{
	if (!img->sections_read)
		read_sections(img);
	return index < img->n_sections ? &img->sections[index] : NULL;
}

const struct elf_section *elf_image_section(struct elf_image *img, const char *name)
{
	if (!img->sections_read)
		read_sections(img);
	for (size_t i = 1; i < img->n_sections; i++)
		if (strcmp(img->sections[i].name, name) == 0)
			return &img->sections[i];
	return NULL;
}

const struct elf_segment *elf_image_segment(const struct elf_image *img, uint32_t type)
{
	for (size_t i = 0; i < img->n_segments; i++)
		if (img->segments[i].type == type)
			return &img->segments[i];
	return NULL;
}

bool elf_image_offset(const struct elf_image *img, uint64_t vaddr, uint64_t *offset, uint64_t *avail)
{
	for (size_t i = 0; i < img->n_segments; i++) {
		const struct elf_segment *s = &img->segments[i];
		if (s->type != PT_LOAD || vaddr < s->vaddr || vaddr - s->vaddr >= s->file_size)
			continue;
		uint64_t skip = vaddr - s->vaddr;
		if (!in_bounds(img, s->offset + skip, 1))
			continue;
		*offset = s->offset + skip;
		if (avail)
			*avail = s->file_size - skip < img->size - *offset ? s->file_size - skip : img->size - *offset;
		return true;
	}
	return false;
}

bool elf_image_read(const struct elf_image *img, uint64_t vaddr, void *buf, size_t len)
{
	for (size_t i = 0; i < img->n_segments; i++) {
		const struct elf_segment *s = &img->segments[i];
		uint64_t skip = vaddr - s->vaddr;
		if (s->type != PT_LOAD || vaddr < s->vaddr || skip >= s->mem_size || len > s->mem_size - skip)
			continue;
		size_t from_file = skip >= s->file_size ? 0 : s->file_size - skip < len ? s->file_size - skip : len;
		memset((uint8_t *)buf + from_file, 0, len - from_file);
		return elf_image_copy(img, s->offset + skip, buf, from_file) || from_file == 0;
	}
	return false;
}

bool elf_image_vaddr(const struct elf_image *img, uint64_t file_offset, bool executable, uint64_t *vaddr)
{
	static const uint64_t page =
		4096; /* the loader rounds to the real page size; offsets it gives are multiples of it, so of this */
	bool found = false;
	for (size_t i = 0; i < img->n_segments; i++) {
		const struct elf_segment *s = &img->segments[i];
		if (s->type != PT_LOAD || s->file_size == 0)
			continue;
		uint64_t begin = s->offset & ~(page - 1);
		if (file_offset < begin || file_offset - begin >= s->file_size + (s->offset - begin))
			continue;
		bool right = executable == !!(s->flags & PF_X);
		if (found && !right)
			continue;
		*vaddr = s->vaddr - s->offset + file_offset;
		found = true;
		if (right)
			return true;
	}
	return found;
}

static size_t note_build_id(const uint8_t *notes, size_t size, uint8_t *id)
{
	for (size_t pos = 0; size - pos >= sizeof(Elf64_Nhdr);) {
		Elf64_Nhdr nh;
		memcpy(&nh, notes + pos, sizeof nh);
		pos += sizeof nh;
		uint64_t name_len = ((uint64_t)nh.n_namesz + 3) & ~3ull, desc_len = ((uint64_t)nh.n_descsz + 3) & ~3ull;
		if (name_len > size - pos || nh.n_descsz > size - pos - name_len) /* the last one may lack its padding */
			return 0;
		bool gnu = nh.n_namesz == 4 && memcmp(notes + pos, "GNU", 4) == 0;
		if (gnu && nh.n_type == NT_GNU_BUILD_ID && nh.n_descsz >= 1 && nh.n_descsz <= ELF_BUILD_ID_MAX) {
			memcpy(id, notes + pos + name_len, nh.n_descsz);
			return nh.n_descsz;
		}
		if (desc_len > size - pos - name_len)
			return 0;
		pos += name_len + desc_len;
	}
	return 0;
}

static size_t build_id_at(struct elf_image *img, uint64_t offset, uint64_t size, uint8_t *id)
{
	uint8_t notes[4096];
	size_t len = size < sizeof notes ? size : sizeof notes;
	return elf_image_copy(img, offset, notes, len) ? note_build_id(notes, len, id) : 0;
}

size_t elf_image_build_id(struct elf_image *img, uint8_t *id)
{
	for (size_t i = 0; i < img->n_segments; i++) {
		const struct elf_segment *s = &img->segments[i];
		size_t n = s->type == PT_NOTE ? build_id_at(img, s->offset, s->file_size, id) : 0;
		if (n)
			return n;
	}
	const struct elf_section *note = elf_image_section(img, ".note.gnu.build-id");
	return note ? build_id_at(img, note->offset, note->size, id) : 0;
}
