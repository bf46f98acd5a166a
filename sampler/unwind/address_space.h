/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of an address space, for the unwinder's own files. A set of mappings is shared by the processes that forked
 * without mapping anything since, and copied when one of them changes it.
 */
#ifndef LOCKSTEP_ADDRESS_SPACE_H
#define LOCKSTEP_ADDRESS_SPACE_H

#include "sampler/unwind/object.h"

struct mapping {
	uint64_t start, end, file_offset;
	uint64_t since_ns, until_ns; /* until_ns: UINT64_MAX for those in force */
	uint64_t bias;		     /* address = vaddr + bias; 0 without an object */
	uint64_t inode;
	uint32_t dev_major, dev_minor;
	const char *path;      /* interned */
	struct object *object; /* NULL: no ELF file that could be opened */
	bool executable;
	uint8_t tries; /* to open its file: a few, then it is as it is */
};

#define MAPPING_TRIES 3

struct mapping_list {
	struct mapping *v;
	size_t n, cap;
};

struct mapping_set {
	unsigned refs;
	uint32_t id, epoch;	  /* part of the front cache's key; given out on first use after a change */
	uint64_t latest_ns;	  /* from this time on `now` alone tells all */
	struct mapping_list now;  /* sorted by address, disjoint */
	struct mapping_list past; /* what was hidden or unmapped, oldest first, bounded */
};

#define MAX_GENERATIONS 4 /* images of before an exec: sh -> env -> program is three */

struct generation {
	struct mapping_set *set;
	uint64_t until_ns;
};

struct address_space {
	struct object_cache *cache;
	pid_t pid;
	struct mapping_set *set;
	struct generation old[MAX_GENERATIONS]; /* oldest first */
	size_t n_old;
	uint64_t known_ns; /* mappings were last heard of at this time */
};

/* The set in force at time_ns. */
struct mapping_set *address_space_set_at(const struct address_space *as, uint64_t time_ns);
/* The mapping of addr at that time; NULL when none. */
const struct mapping *mapping_set_find(const struct mapping_set *set, uint64_t time_ns, uint64_t addr);
/* A number for the front cache, 1..2^17-1, unique among live sets. */
uint32_t mapping_set_id(struct object_cache *c, struct mapping_set *set);

/* A set of our own to change: a copy when it is shared. NULL when out of memory. */
struct mapping_set *address_space_own(struct address_space *as);
struct mapping *mapping_list_push(struct mapping_list *l, const struct mapping *m);
/* Moves m to the past, ended at until_ns. */
void mapping_set_retire(struct mapping_set *set, const struct mapping *m, uint64_t until_ns);
/* Fills the object (opening it when executable) and the bias from what the kernel told. m->path is interned. */
void mapping_resolve(struct address_space *as, struct mapping *m);
void mapping_set_changed(struct mapping_set *set);

#endif
