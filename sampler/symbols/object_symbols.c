/* SPDX-License-Identifier: Apache-2.0
 *
 * In: an object. Out: one table of its symbols, from the best sources there are, and its DWARF.
 */
#include "sampler/symbols/object_symbols.h"
#include "sampler/symbols/debug_file.h"
#include "sampler/symbols/plt.h"
#include "sampler/symbols/stripped.h"
#include "sampler/symbols/symbols.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void symbols_free(void *p)
{
	struct object_symbols *s = p;
	dwarf_info_free(s->dwarf);
	symtab_fini(&s->table);
	elf_image_fini(&s->debug_image);
	if (s->debug_data)
		munmap(s->debug_data, s->debug_size);
	free(s);
}

static bool has_content(struct elf_image *img, const char *section)
{
	const struct elf_section *sec = elf_image_section(img, section);
	return sec && sec->type != SHT_NOBITS && sec->size > 0;
}

static void map_debug_file(struct object_symbols *s, struct object *obj)
{
	struct stat st;
	int fd = debug_file_open(obj);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size > 0) {
		void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (data != MAP_FAILED) {
			s->debug_data = data;
			s->debug_size = (size_t)st.st_size;
			elf_image_init(&s->debug_image, data, s->debug_size, true);
		}
	}
	close(fd);
}

static void add_mini(struct object_symbols *s, struct object *obj)
{
	size_t size;
	struct elf_image img;
	uint8_t *data = debug_file_mini(obj, &size);
	if (!data)
		return;
	if (elf_image_init(&img, data, size, false) == 0) {
		symtab_add(&s->table, &img, ".symtab"); /* copies */
		elf_image_fini(&img);
	}
	free(data);
}

/* .dynsym first: find_name gives what the dynamic linker would. A full .symtab need not be looked for elsewhere. */
static void load_tables(struct object_symbols *s, struct object *obj)
{
	if (!symtab_add(&s->table, &obj->elf, ".dynsym"))
		symtab_add_dynamic(&s->table, &obj->elf);
	size_t full = symtab_add(&s->table, &obj->elf, ".symtab");
	if (!full || !has_content(&obj->elf, ".debug_info"))
		map_debug_file(s, obj);
	if (!full && s->debug_data)
		full = symtab_add(&s->table, &s->debug_image, ".symtab");
	if (!full)
		add_mini(s, obj);
	plt_add(&s->table, &obj->elf);
	symtab_finish(&s->table);
	if (!full)
		stripped_add(&s->table, obj);
}

struct object_symbols *object_symbols_get(struct object *obj)
{
	if (obj->symbols || !obj->is_elf)
		return obj->symbols;
	struct object_symbols *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	load_tables(s, obj);
	obj->symbols = s;
	obj->symbols_free = symbols_free;
	return s;
}

/* libdw reads the mapping itself. If the file was truncated meanwhile, that would be SIGBUS: look at its last byte first. */
static bool still_whole(const struct elf_image *img)
{
	uint8_t last;
	return img->size > 0 && elf_image_copy(img, img->size - 1, &last, 1);
}

/* libelf notes in the section headers of its image that it has unpacked a compressed section, so the (private) mapping must
 * be writable. */
static struct dwarf_info *open_dwarf(const struct elf_image *img)
{
	if (img->mapped && mprotect((void *)(uintptr_t)img->data, img->size, PROT_READ | PROT_WRITE) != 0)
		return NULL;
	return dwarf_info_new((void *)(uintptr_t)img->data, img->size);
}

struct dwarf_info *object_symbols_dwarf(struct object_symbols *s, struct object *obj)
{
	if (!s->dwarf_tried) {
		s->dwarf_tried = true;
		if (has_content(&obj->elf, ".debug_info"))
			s->dwarf_image = &obj->elf;
		else if (s->debug_data && has_content(&s->debug_image, ".debug_info"))
			s->dwarf_image = &s->debug_image;
		if (s->dwarf_image && still_whole(s->dwarf_image))
			s->dwarf = open_dwarf(s->dwarf_image);
	}
	return s->dwarf && still_whole(s->dwarf_image) ? s->dwarf : NULL;
}

int object_find_symbol(struct object *obj, const char *name, uint64_t *vaddr, uint64_t *size)
{
	struct object_symbols *s = obj ? object_symbols_get(obj) : NULL;
	const struct symbol *sym = s ? symtab_find_name(&s->table, name) : NULL;
	if (!sym)
		return -ENOENT;
	if (vaddr)
		*vaddr = sym->addr;
	if (size)
		*size = sym->size;
	return 0;
}
