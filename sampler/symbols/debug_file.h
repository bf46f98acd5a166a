/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the symbols of a stripped file are: /usr/lib/debug by build-id, .gnu_debuglink, and .gnu_debugdata inside the file
 * itself. Only local files are looked at, never a debuginfod server: a profiler must not wait for the network.
 */
#ifndef LOCKSTEP_DEBUG_FILE_H
#define LOCKSTEP_DEBUG_FILE_H

#include "sampler/unwind/object.h"

/* Opens the debug file that belongs to obj (same build-id, or the CRC that .gnu_debuglink tells). Returns a descriptor, or -1. */
int debug_file_open(struct object *obj);

/* Unpacks .gnu_debugdata: a small ELF file with the .symtab of what is not exported. NULL when absent or damaged; free() it. */
uint8_t *debug_file_mini(struct object *obj, size_t *size);

#endif
