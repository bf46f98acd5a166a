/* SPDX-License-Identifier: Apache-2.0
 *
 * From a place in an object file to functions and lines: symtab, dynsym, .gnu_debuglink and build-id debug files, DWARF lines
 * and inlined functions, PLT names, the vdso, kallsyms for the kernel; C++ and Rust names demangled (libiberty).
 */
#ifndef LOCKSTEP_SYMBOLS_H
#define LOCKSTEP_SYMBOLS_H

#include "sampler/event.h"
#include "sampler/unwind/unwind.h"

struct symbolizer;

struct symbolizer *symbolizer_new(void);
void symbolizer_free(struct symbolizer *s);

/* Resolves vaddr in obj. Calls emit once with n >= 1 source frames, innermost first (inlined functions expanded); strings
 * are borrowed during the call. An address without a symbol is told as function "[module+0xoffset]",
 * where offset is the start of its function by CFI, so that one function has one name; without obj, as "[module]". Never fails. */
typedef void (*symbol_fn)(void *ctx, const struct source_frame *frames, size_t n);
void symbolize_object(struct symbolizer *s, struct object *obj, uint64_t vaddr, const char *module, symbol_fn emit, void *ctx);
/* A kernel address by kallsyms (read once, on first use). */
void symbolize_kernel(struct symbolizer *s, uint64_t addr, symbol_fn emit, void *ctx);

/* From a name to its place: .dynsym first, then .symtab (the object's own, or its debug file's). name is the raw (mangled)
 * one, without a symbol version. vaddr is in the object's own numbering (add address_space_bias), size in bytes (may be 0);
 * both may be NULL. Functions and data. Returns 0, or -ENOENT. */
int object_find_symbol(struct object *obj, const char *name, uint64_t *vaddr, uint64_t *size);

#endif
