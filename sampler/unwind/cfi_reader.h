/* SPDX-License-Identifier: Apache-2.0
 *
 * The byte level of call frame information: bounded reads, encoded pointers, CIEs and FDEs, and the interpreter of their
 * programs.
 */
#ifndef LOCKSTEP_CFI_READER_H
#define LOCKSTEP_CFI_READER_H

#include "sampler/unwind/cfi.h"

/* Pointer encodings (LSB core, "DWARF exception header encoding"). */
enum {
	CFI_PE_ABSPTR = 0x00,
	CFI_PE_ULEB128 = 0x01,
	CFI_PE_UDATA2 = 0x02,
	CFI_PE_UDATA4 = 0x03,
	CFI_PE_UDATA8 = 0x04,
	CFI_PE_SLEB128 = 0x09,
	CFI_PE_SDATA2 = 0x0a,
	CFI_PE_SDATA4 = 0x0b,
	CFI_PE_SDATA8 = 0x0c,
	CFI_PE_PCREL = 0x10,
	CFI_PE_DATAREL = 0x30,
	CFI_PE_INDIRECT = 0x80,
	CFI_PE_OMIT = 0xff,
};

/* A cursor that fails once and for all: reads beyond the end give 0 and set failed. */
struct cfi_reader {
	const uint8_t *data;
	size_t size, pos;
	uint64_t vaddr; /* of data[0], for pc-relative pointers */
	bool failed;
};

struct cfi_pointer_base {
	uint64_t data; /* for DATAREL */
};

uint64_t cfi_read_uint(struct cfi_reader *r, size_t bytes);
uint64_t cfi_read_uleb(struct cfi_reader *r);
int64_t cfi_read_sleb(struct cfi_reader *r);
/* An encoding that is unknown, indirect or omitted fails the reader. */
uint64_t cfi_read_encoded(struct cfi_reader *r, uint8_t encoding, const struct cfi_pointer_base *base);

struct cfi_cie {
	uint64_t code_align;
	int64_t data_align;
	uint8_t ra_reg, fde_encoding, address_size;
	bool has_augmentation_data, signal, unsupported;
	size_t program, program_end;
};

struct cfi_fde {
	const struct cfi_section *section;
	size_t offset; /* of its length field */
	uint64_t start, end;
	struct cfi_cie cie;
	size_t program, program_end;
};

enum cfi_entry_kind { CFI_ENTRY_END, CFI_ENTRY_CIE, CFI_ENTRY_FDE, CFI_ENTRY_BAD };

/* Reads the entry at pos; *next is where the following one begins (> pos but for CFI_ENTRY_END). */
enum cfi_entry_kind cfi_read_entry(const struct cfi_section *sec, size_t pos, struct cfi_fde *fde, size_t *next);
/* Runs the programs of CIE and FDE up to vaddr. Always fills row; what it cannot express sets row->unsupported. */
void cfi_run(const struct cfi_fde *fde, uint64_t vaddr, struct cfi_row *row);

#endif
