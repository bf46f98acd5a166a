/* SPDX-License-Identifier: Apache-2.0
 *
 * DWARF of one file: from an address to the line and the functions inlined there. In: an ELF image with .debug_info; out:
 * source frames.
 */
#ifndef LOCKSTEP_DWARF_INFO_H
#define LOCKSTEP_DWARF_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dwarf_info;

#define DWARF_FRAMES_MAX 64 /* depth of inlining shown; what lies further out is left out */

struct dwarf_frame {
	const char *function; /* demangled; NULL: unknown. Lives as long as the dwarf_info */
	const char *file;     /* absolute where the compiler's directory is known; NULL: unknown */
	uint32_t line;
};

/* image stays the caller's, must outlive it and be writable (libelf edits section headers when it unpacks sections). NULL
 * when there is no usable DWARF. */
struct dwarf_info *dwarf_info_new(void *image, size_t size);
void dwarf_info_free(struct dwarf_info *d);
/* Frames at vaddr, innermost first. Returns their number, 0: nothing known. */
size_t dwarf_info_frames(struct dwarf_info *d, uint64_t vaddr, struct dwarf_frame frames[DWARF_FRAMES_MAX]);

#endif
