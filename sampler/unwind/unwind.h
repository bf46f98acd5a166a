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

/* ---- object files: one per (device, inode), shared by all processes, kept while referenced (and a bounded cache after) ---- */
struct object;		/* an ELF file, or the vdso read from memory: mapped read-only, CFI index, build-id */
struct object_cache; /* all objects of one profiler */

struct object_cache *object_cache_new(void);
void object_cache_free(struct object_cache *c);

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
/* Forget everything (exec). */
void address_space_reset(struct address_space *as, uint64_t time_ns);
/* Reads /proc/PID/maps anew (attach, or an address without a mapping). Returns 0, or -errno when the process is gone. */
int address_space_scan(struct address_space *as, struct err *err);

/* ---- unwinding ---- */
struct unwind_regs { /* the callee-saved set that CFI needs; arch numbering is DWARF's, size UNWIND_REGS */
	uint64_t r[33];	/* x86-64: 0 rax 1 rdx 2 rcx 3 rbx 4 rsi 5 rdi 6 rbp 7 rsp 8..15 r8..r15 16 rip; aarch64: 0..30 x, 31 sp, 32 pc */
	uint64_t valid; /* bit per register: known */
};

/* Memory to read: first the snapshot (bytes of the stack from address sp on), then, when pid > 0, process_vm_readv. */
struct unwind_memory {
	const uint8_t *stack;
	uint64_t stack_addr;
	size_t stack_len;
	pid_t pid; /* 0: snapshot only */
};

enum unwind_end {
	UNWIND_DONE = 0,   /* outermost frame reached */
	UNWIND_TRUNCATED,  /* snapshot ended, or max frames */
	UNWIND_NO_RULE,	   /* no CFI, and a frame-pointer step made no sense */
	UNWIND_BAD_MEMORY,
};

/* Fills pcs[0..max) with program counters, leaf first: pcs[0] is the ip, others are return addresses. Optional sps (may be NULL)
 * receives the frames' CFA-side stack pointers (sp on entry of the frame), used to splice runtime frames.
 * time_ns picks the mappings of that moment. Returns the number of frames. ~0.1 us warm for 22 frames. */
size_t unwind_stack(struct address_space *as, uint64_t time_ns, const struct unwind_regs *regs, const struct unwind_memory *mem,
		    uint64_t *pcs, uint64_t *sps, size_t max, enum unwind_end *end);

/* ---- from a pc to a place in a file ---- */
struct code_location {
	struct object *object; /* NULL: anonymous or unknown; borrowed while the cache lives */
	uint64_t vaddr;	       /* address in the object's own numbering (as in its symbol table); the pc itself when object is NULL */
	const char *module;    /* path to show; "[vdso]", "[anon]", "[unknown]" ; borrowed while the address space lives */
};
/* is_return: pc is a return address (look up pc - 1). Returns false when no mapping covers it. */
bool address_space_locate(struct address_space *as, uint64_t time_ns, uint64_t pc, bool is_return, struct code_location *out);

#endif
