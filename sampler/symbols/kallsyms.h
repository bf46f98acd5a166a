/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel symbols. In: /proc/kallsyms (or a file of its format, for tests); out: address -> name and module.
 */
#ifndef LOCKSTEP_KALLSYMS_H
#define LOCKSTEP_KALLSYMS_H

#include <stdbool.h>
#include <stdint.h>

struct kallsyms;

/* Never NULL but when out of memory. Without privileges (kptr_restrict) all addresses read as 0: then nothing is found. */
struct kallsyms *kallsyms_load(const char *path);
void kallsyms_free(struct kallsyms *k);
/* name and module ("[kernel]", "[nf_tables]") live as long as k. */
bool kallsyms_find(const struct kallsyms *k, uint64_t addr, const char **name, const char **module);

#endif
