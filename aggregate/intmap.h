/* SPDX-License-Identifier: Apache-2.0
 *
 * A map from ids of the event stream (u32, never 0) to indexes (u32): open addressing, linear probing, deletion by shifting
 * back, so that it neither degrades nor allocates in a steady state.
 */
#ifndef LOCKSTEP_INTMAP_H
#define LOCKSTEP_INTMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INTMAP_NONE UINT32_MAX

struct intmap { /* zero-initialised: empty */
	struct intmap_slot {
		uint32_t key, value;
	} *slots;
	uint32_t capacity; /* 0 or a power of two */
	uint32_t n;
};

uint32_t intmap_get(const struct intmap *m, uint32_t key);	      /* INTMAP_NONE when absent */
bool intmap_put(struct intmap *m, uint32_t key, uint32_t value); /* adds or replaces; false: out of memory, or key 0 */
void intmap_remove(struct intmap *m, uint32_t key);
void intmap_clear(struct intmap *m); /* empty again, memory kept */
void intmap_fini(struct intmap *m);

/* Room for one more element of `size` bytes in a growing array. Returns the (maybe moved) array, or NULL when out of
 * memory: then the old one is unharmed. */
void *array_reserve(void *array, size_t n, size_t *capacity, size_t size);

static inline uint64_t mix64(uint64_t h) /* finaliser of MurmurHash3, public domain */
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdull;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ull;
	return h ^ h >> 33;
}
uint64_t hash_bytes(const void *data, size_t n, uint64_t seed);

#endif
