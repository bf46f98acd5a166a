/* SPDX-License-Identifier: Apache-2.0
 *
 * Object files and their cache, as the unwinder and the symbolizer see them (others use unwind.h). In: a mapping of a process;
 * out: the one object that stands for that file in all processes.
 *
 * The file is mapped and its descriptor closed at once. The mapping pins the inode: as long as an object lives its (device,
 * inode) cannot come to mean another file, so that a later mapping with the same pair and path needs no system call at all.
 */
#ifndef LOCKSTEP_OBJECT_H
#define LOCKSTEP_OBJECT_H

#include "sampler/unwind/cfi.h"
#include "sampler/unwind/elf_image.h"
#include "sampler/unwind/unwind.h"

#include <sys/stat.h>

struct row_cache;

struct object {
	struct object *next; /* chain of the cache's hash bucket */
	uint64_t inode;	     /* as /proc/PID/maps tells it */
	uint32_t dev_major, dev_minor;
	dev_t st_dev; /* as fstat tells it: differs from the former on overlayfs and btrfs */
	ino_t st_ino;
	const char *path;     /* interned */
	const char **aliases; /* other paths of the same file (hard links, other mount namespaces); interned */
	size_t n_aliases;
	pid_t opener; /* the process through whose root it was found: debug files are looked for there too */
	void *data;   /* the file's mapping, or a malloc'ed copy of the vdso */
	size_t size;
	bool is_elf;
	bool is_copy; /* data is malloc'ed: the vdso, or an image read from memory */
	struct elf_image elf;
	uint8_t build_id[ELF_BUILD_ID_MAX];
	size_t build_id_len;
	struct cfi *cfi;	/* read at the first unwinding through it */
	struct row_cache *rows; /* pc -> row, shared by all processes */
	void *symbols;		/* owned by sampler/symbols */
	void (*symbols_free)(void *symbols);
};

struct interned;

#define FRONT_BITS 14
struct front_entry { /* see unwind.c */
	uint64_t key;
	struct unwind_row row;
	struct front_entry *caller; /* where the frame above was found the last time */
	uint64_t unused;	    /* two entries a cache line, none across */
};

struct object_cache {
	struct object **buckets;
	size_t n_buckets, n_objects;
	struct object *vdsos;
	struct interned *strings;
	struct front_entry *front; /* (mappings, pc) -> row: what a warm walk hits */
	uint32_t next_set_id, set_epoch;
	char *scratch; /* /proc/PID/maps text */
	size_t scratch_size;
	void *libunwind; /* see fallback.c */
};

/* A copy of s that lives as long as the cache; equal strings have equal pointers. NULL when out of memory. */
const char *object_cache_intern(struct object_cache *c, const char *s);

/* The object behind a mapping of process pid (m->path is interned), opened if not known yet; NULL when it cannot be opened.
 * open_new false: only what is known already (data segments never open a file). */
struct object *object_cache_get(struct object_cache *c, pid_t pid, const struct mapping_info *m, bool open_new);
/* The loaded parts of a file that cannot be opened (deleted, and map_files needs a capability; another mount), read from
 * the memory of the process: malloc'ed, laid out as in the file, without what is not loaded. m is its code. NULL when it
 * cannot be done. */
uint8_t *object_memory_image(pid_t pid, const struct mapping_info *m, size_t *size);
/* The vdso, read from the process's memory (from ours when that one has gone: the kernel maps the same image everywhere). */
struct object *object_cache_vdso(struct object_cache *c, pid_t pid, uint64_t start, uint64_t end);

/* Releases what fallback.c keeps in the cache. */
void walk_libunwind_free(struct object_cache *c);

/* Empties all caches of rows, as if nothing had been unwound yet (to measure, and to test, the first walk). */
void object_cache_forget_rows(struct object_cache *c);

/* The unwinding row of vaddr, from the object's own cache or its CFI. */
struct unwind_row object_row(struct object *obj, uint64_t vaddr);
/* All registers' rules at vaddr; NULL when there are none. Borrowed until the next call for this object. */
const struct cfi_row *object_full_row(struct object *obj, uint64_t vaddr);
/* Calls fn for each FDE in address order with the row at its start, until fn returns non-zero. */
void object_foreach_function(struct object *obj, int (*fn)(void *ctx, const struct cfi_row *row), void *ctx);
/* The function (or the part of one) around vaddr, by its FDE. */
bool object_function_bounds(struct object *obj, uint64_t vaddr, uint64_t *start, uint64_t *end);

#endif
