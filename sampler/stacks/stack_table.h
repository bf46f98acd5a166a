/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames and stacks under small ids, for the backends. In: program counters (or source frames of a managed runtime);
 * out: EV_FRAME and EV_STACK events. A native frame is interned by its place in its object file (shared by all processes)
 * and named late, in one go, off the hot path: the object stays mapped after its process is gone.
 */
#ifndef LOCKSTEP_STACK_TABLE_H
#define LOCKSTEP_STACK_TABLE_H

#include "sampler/event.h"
#include "sampler/unwind/unwind.h"

struct stack_table;

struct stack_table *stack_table_new(void); /* NULL: out of memory */
void stack_table_free(struct stack_table *t);

/* The frame at a program counter of a process. is_return: a return address (the call lies before it). */
uint32_t stack_table_native(struct stack_table *t, struct address_space *as, uint64_t time_ns, uint64_t pc, bool is_return);
/* Some process's mappings changed: what was remembered by program counter may be wrong now. */
void stack_table_mappings_changed(struct stack_table *t);
/* Kernel frames, leaf first, into ids[0..n): one id per function, not per address, and without the leading frames of the probe that
 * took the stack (BPF programs and what calls them). Returns how many. New frames are told to fn at once. */
size_t stack_table_kernel(struct stack_table *t, const uint64_t *addrs, size_t n, uint32_t *ids, event_fn fn, void *ctx);
/* A frame that a runtime provider has named; told to fn at once when new. */
uint32_t stack_table_source(struct stack_table *t, const struct source_frame *f, event_fn fn, void *ctx);
/* A stack, leaf first; told to fn when new. Returns its id; 0 for the empty stack or when out of memory. */
uint32_t stack_table_stack(struct stack_table *t, const uint32_t *frames, size_t n, bool truncated, event_fn fn, void *ctx);
/* Names every frame that has no name yet. */
void stack_table_resolve(struct stack_table *t, event_fn fn, void *ctx);

#endif
