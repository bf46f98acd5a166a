/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LOCKSTEP_PLT_H
#define LOCKSTEP_PLT_H

#include "sampler/symbols/symtab.h"

/* Adds "write@plt" for each entry of .plt, .plt.sec and .plt.got whose GOT slot has a relocation with a name. x86-64 and
 * aarch64 files. */
void plt_add(struct symtab *t, struct elf_image *img);

#endif
