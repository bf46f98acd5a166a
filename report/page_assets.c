/* SPDX-License-Identifier: Apache-2.0
 *
 * Embeds web/dist/ into the library. In: three files (PAGE_DIST is their folder, set by CMake); out: arrays. The assembler's
 * .incbin is understood by gcc and clang alike and needs no generator; CMake rebuilds this file when one of the three changes. */
#include "report/page_assets.h"

#define EMBED(name, file)                                                                                                        \
	__asm__(".pushsection .rodata\n"                                                                                         \
		".global " #name "\n" #name ":\n"                                                                                \
		".incbin \"" PAGE_DIST "/" file "\"\n" #name "_end:\n"                                                           \
		".balign 8\n"                                                                                                    \
		".global " #name "_len\n" #name "_len:\n"                                                                        \
		".dc.a " #name "_end - " #name "\n"                                                                              \
		".popsection\n")

EMBED(page_script, "page.js");
EMBED(page_style, "page.css");
EMBED(page_script_hash, "page.hash");
