/* SPDX-License-Identifier: Apache-2.0
 *
 * Target memory for the providers: few large reads, many small looks. A walk looks at hundreds of words that lie on a handful of
 * pages; a system call costs far more than the bytes it moves, so whole pages are fetched and kept for the length of one walk.
 * A stack snapshot, when there is one, hides the process's memory of the same addresses.
 */
#ifndef LOCKSTEP_RUNTIME_MEMORY_H
#define LOCKSTEP_RUNTIME_MEMORY_H

#include "sampler/runtime/runtime.h"

#include <sys/uio.h>

struct target_memory;

/* read NULL: process_vm_readv. NULL when out of memory. */
struct target_memory *target_memory_new(runtime_read_fn read, void *ctx);
void target_memory_free(struct target_memory *m);

/* Starts a walk: what was fetched is forgotten. snapshot may be NULL and is borrowed until the next begin. */
void target_memory_begin(struct target_memory *m, pid_t pid, const struct unwind_memory *snapshot);

/* All or nothing: 0, or -EFAULT when any byte could not be read (buf is then undefined). Through the page cache. */
int target_read(struct target_memory *m, uint64_t addr, void *buf, size_t len);
/* One piece each into local[i] (no cache): fetches all in one system call where the reader allows. Bit i of the result says that
 * piece i came whole. n <= 64. */
uint64_t target_read_many(struct target_memory *m, const struct iovec *local, const struct iovec *remote, unsigned n);
/* What a walk looked at (pages << 8 | sectors of 512 bytes), so that the next walk of the same thread can fetch it in one call. */
#define TARGET_HINT_PAGES 40
struct target_hint {
	uint32_t n;
	uint64_t pages[TARGET_HINT_PAGES];
};
/* After begin: fetches what the hint names. A wrong hint costs its bytes and nothing else. */
void target_memory_expect(struct target_memory *m, const struct target_hint *h);
/* Before the next begin: what this walk looked at. */
void target_memory_learn(const struct target_memory *m, struct target_hint *h);

/* Fixed-size looks; 0 when unreadable (providers treat a null pointer and an unreadable one alike). */
uint64_t target_u64(struct target_memory *m, uint64_t addr);
uint32_t target_u32(struct target_memory *m, uint64_t addr);
uint16_t target_u16(struct target_memory *m, uint64_t addr);
uint8_t target_u8(struct target_memory *m, uint64_t addr);

/* A NUL-terminated string of at most len - 1 bytes (cut beyond). Returns its length or -EFAULT. */
ssize_t target_string(struct target_memory *m, uint64_t addr, char *buf, size_t len);

/* Reads that failed since the beginning. */
uint64_t target_memory_failures(const struct target_memory *m);

#endif
