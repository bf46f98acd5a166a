/* SPDX-License-Identifier: Apache-2.0
 *
 * Names that a stripped x86-64 file still gives away: "_start" and "main" by its entry code, and the ".cold" parts of
 * exported functions, which compilers move away from the function, by the jumps into them.
 */
#ifndef LOCKSTEP_STRIPPED_H
#define LOCKSTEP_STRIPPED_H

#include "sampler/symbols/symtab.h"
#include "sampler/unwind/object.h"

/* t is finished; it is finished anew when something was added. */
void stripped_add(struct symtab *t, struct object *obj);

#endif
