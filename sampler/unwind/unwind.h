/* SPDX-License-Identifier: Apache-2.0
 *
 * The native CFI engine: from registers and a piece of stack memory to return addresses. In: an address space (mappings of
 * one process at one time), registers, memory; out: program counters, leaf first. No symbols here (sampler/symbols).
 */
#ifndef LOCKSTEP_UNWIND_H
#define LOCKSTEP_UNWIND_H

#include "sampler/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- object files: one per (device, inode), shared by all processes, kept as long as the cache ---- */
struct object;	     /* an ELF file, or the vdso read from memory: mapped read-only, CFI index, build-id */
struct object_cache; /* all objects of one profiler. It and all that hangs on it is used by one thread at a time. */

struct object_cache *object_cache_new(void);
void object_cache_free(struct object_cache *c);

/* The path as the target's mappings name it (a path in the target's mount namespace), "[vdso]"; never NULL, lives as long
 * as obj. */
const char *object_path(const struct object *obj);
/* The GNU build-id: its length in bytes (0: none) and, in *id (may be NULL), its bytes, which live as long as obj. */
size_t object_build_id(const struct object *obj, const uint8_t **id);
/* A section by name (".gopclntab"); false when absent. vaddr is 0 for sections that are not loaded. Any of the pointers may
 * be NULL. */
bool object_section(const struct object *obj, const char *name, uint64_t *vaddr, uint64_t *file_offset, uint64_t *size);
/* Copies len bytes of the file that are loaded at vaddr (the object's own numbering: what the linker wrote, before relocation;
 * zeroes for .bss) into buf. Works when the process has gone. False when vaddr..vaddr+len is not loaded or the file was cut. */
bool object_read(const struct object *obj, uint64_t vaddr, void *buf, size_t len);

/* ---- address spaces: the mappings of a process, copied on fork, reset on exec ---- */
struct address_space;

struct mapping_info {
	uint64_t start, end, file_offset;
	uint64_t since_ns; /* CLOCK_MONOTONIC of the mmap; 0: always */
	uint32_t dev_major, dev_minor;
	uint64_t inode;
	const char *path; /* as the kernel tells it: "/usr/lib/x.so", "[vdso]", "//anon", "/x (deleted)"; borrowed */
	bool executable;
};

struct address_space *address_space_new(struct object_cache *c, pid_t pid);
/* The child's view after fork: shares the parent's mappings (copy on write). */
struct address_space *address_space_fork(const struct address_space *parent, pid_t child);
void address_space_free(struct address_space *as);
/* Adds one mapping (a perf MMAP2 record). The file is opened at once (through /proc/PID/root, /proc/PID/map_files, else the
 * path, checked by device and inode), so that it can still be read when the process has gone. Never fails: what
 * cannot be opened unwinds by frame pointer and is shown by its path. A newer mapping hides what it overlaps from its
 * since_ns on. */
void address_space_map(struct address_space *as, const struct mapping_info *m);
/* Forget everything from time_ns on (exec). Lookups with an earlier time still see what was there before: the last few
 * images of the process are kept. */
void address_space_reset(struct address_space *as, uint64_t time_ns);
/* Reads /proc/PID/maps anew (attach, or an address without a mapping). Returns 0, or -errno when the process is gone. */
int address_space_scan(struct address_space *as, struct err *err);

#define UNWIND_NOW UINT64_MAX /* as time_ns: the newest mappings known */

/* Calls fn for each mapping of that moment in address order until fn returns non-zero, which is returned (else 0). Told are
 * executable mappings and all mappings of files (data segments of libraries too), not anonymous data. obj is NULL for what is not
 * an ELF file that could be opened. Both are borrowed: m during the call, obj while the object cache lives. */
typedef int (*mapping_fn)(void *ctx, const struct mapping_info *m, struct object *obj);
int address_space_foreach(const struct address_space *as, uint64_t time_ns, mapping_fn fn, void *ctx);
/* Where obj is loaded: address in the process = vaddr in the object + *bias (modulo 2^64). False when it is not mapped. */
bool address_space_bias(const struct address_space *as, uint64_t time_ns, const struct object *obj, uint64_t *bias);

/* ---- unwinding ---- */
/* Registers by DWARF's numbers. x86-64: 0 rax 1 rdx 2 rcx 3 rbx 4 rsi 5 rdi 6 rbp 7 rsp 8..15 r8..r15 16 rip;
 * aarch64: 0..30 x0..x30 31 sp 32 pc. CFI needs the callee-saved ones; for a leaf all are of use. */
struct unwind_regs {
	uint64_t r[33];
	uint64_t valid; /* bit per register: known */
};

/* Memory to read: first the snapshot (bytes of the stack from address sp on), then, when pid > 0, process_vm_readv. */
struct unwind_memory {
	const uint8_t *stack;
	uint64_t stack_addr;
	size_t stack_len;
	pid_t pid; /* 0: snapshot only */
};

/* Reads len bytes at addr; true when all could be read. */
bool unwind_memory_read(const struct unwind_memory *mem, uint64_t addr, void *buf, size_t len);

enum unwind_end {
	UNWIND_DONE = 0,  /* outermost frame reached */
	UNWIND_TRUNCATED, /* snapshot ended, or max frames */
	UNWIND_NO_RULE,	  /* no CFI, and a frame-pointer step made no sense */
	UNWIND_BAD_MEMORY,
};

/* Fills pcs[0..max) with program counters, leaf first: pcs[0] is the ip, others are return addresses. Optional sps (may be NULL)
 * receives the frames' canonical frame addresses: sps[i] is the stack pointer of frame i + 1 at its call of frame i (x86-64: the
 * address just above the return address that became pcs[i + 1]), 0 where the walk ended; used to splice runtime frames.
 * A register that is not in regs->valid is unknown (ip and sp must be known); a walk that needs it ends with UNWIND_NO_RULE.
 * time_ns picks the mappings of that moment. Returns the number of frames. ~0.1 us warm for 22 frames. */
size_t unwind_stack(struct address_space *as, uint64_t time_ns, const struct unwind_regs *regs, const struct unwind_memory *mem,
		    uint64_t *pcs, uint64_t *sps, size_t max, enum unwind_end *end);

/* ---- managed runtimes: code that only its own runtime can unwind (JIT, interpreter) ---- */
enum unwind_step {
	UNWIND_STEP_NOT_MINE = 0, /* the engine goes on with a frame-pointer step */
	UNWIND_STEP_OK,		  /* *pc, *sp, *fp are now those of the caller; *pc is a return address */
	UNWIND_STEP_END,	  /* outermost frame: the walk ends with UNWIND_DONE */
};
struct unwind_region {
	uint64_t start, end;
};
struct unwind_provider {
	void *ctx;
	/* Asked for each frame whose pc lies in no object file (anonymous executable memory, no mapping), or in one of the
	 * regions. *fp is 0 when unknown. A step must move *sp up, else the walk ends. */
	enum unwind_step (*step)(void *ctx, uint64_t *pc, uint64_t *sp, uint64_t *fp, const struct unwind_memory *mem);
	const struct unwind_region *regions; /* parts of object files that the provider claims too; may be NULL */
	size_t n_regions;
};
/* As unwind_stack; provider may be NULL. */
size_t unwind_stack_with(struct address_space *as, uint64_t time_ns, const struct unwind_regs *regs,
			 const struct unwind_memory *mem, const struct unwind_provider *provider, uint64_t *pcs, uint64_t *sps,
			 size_t max, enum unwind_end *end);

/* ---- from a pc to a place in a file ---- */
struct code_location {
	struct object *object; /* NULL: anonymous or unknown; borrowed while the cache lives */
	/* Address in the object's own numbering (as in its symbol table), of pc - 1 for a return address, so that it lies in
	 * the calling line; the looked-up address itself when object is NULL. */
	uint64_t vaddr;
	const char *module; /* path to show; "[vdso]", "[anon]", "[unknown]" ; borrowed while the address space lives */
};
/* is_return: pc is a return address (look up pc - 1). Returns false when no mapping covers it. */
bool address_space_locate(struct address_space *as, uint64_t time_ns, uint64_t pc, bool is_return, struct code_location *out);

#endif
