/* SPDX-License-Identifier: Apache-2.0
 *
 * All that is known about the names in one object: its own tables, its debug file's, DWARF. Made on first use and kept with
 * the object.
 */
#ifndef LOCKSTEP_OBJECT_SYMBOLS_H
#define LOCKSTEP_OBJECT_SYMBOLS_H

#include "sampler/symbols/dwarf_info.h"
#include "sampler/symbols/symtab.h"
#include "sampler/unwind/object.h"

struct object_symbols {
	struct symtab table;
	bool debug_file_tried;
	void *debug_data; /* mapping of the debug file */
	size_t debug_size;
	bool dwarf_tried;
	struct dwarf_info *dwarf;
	const struct elf_image *dwarf_image; /* the file that dwarf reads */
	struct elf_image debug_image;
};

/* NULL when out of memory or obj is no ELF file. */
struct object_symbols *object_symbols_get(struct object *obj);
/* NULL when there is none, or its file has been cut short since it was mapped. */
struct dwarf_info *object_symbols_dwarf(struct object_symbols *s, struct object *obj);

#endif
