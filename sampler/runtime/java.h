/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the Java provider: HotSpot by its VMStructs (verified with 17 and 25). The parts, in reading order:
 * java_structs.c (what the VM tells about its own layout), java_code.c (from a pc to the code blob that holds it and to
 * inlined scopes), java_method.c (names and lines), java_threads.c (JavaThreads, roles, monitors), java.c (the provider:
 * steps of the native unwinder through Java frames).
 */
#ifndef LOCKSTEP_RUNTIME_JAVA_H
#define LOCKSTEP_RUNTIME_JAVA_H

#include "sampler/runtime/memory.h"
#include "sampler/runtime/provider.h"
#include "sampler/runtime/runtime.h"

/* Offsets in bytes, -1 when this VM has no such field; addresses of statics, 0 when absent; sizes of types, 0. */
struct java_layout {
	/* statics */
	uint64_t code_heaps, thread_list, call_stub_return, vm_major;
	/* growable array, code heap */
	int32_t array_len, array_data, heap_memory, heap_segmap, heap_log2, space_low, space_low_boundary, space_high_boundary;
	/* code blob, nmethod */
	int32_t blob_name, blob_size, blob_frame_complete, blob_frame_size, blob_code_begin, blob_code_end, blob_code_offset,
		blob_data_offset, blob_mutable, blob_relocation_size;
	int32_t nm_method_compiled, nm_method, nm_scopes_data_begin, nm_deopt_begin, nm_deopt_offset, nm_orig_pc, nm_metadata,
		nm_scopes_pcs, nm_dependencies, nm_immutable, nm_scopes_data, nm_compile_id;
	int32_t pc_offset, pc_scope;
	/* method, class */
	int32_t method_const, const_constants, const_flags, const_flags_flags, const_code_size, const_name, pool_holder,
		pool_source, klass_source, klass_name, symbol_length, symbol_body;
	/* thread */
	int32_t list_length, list_threads, thread_osthread, jthread_osthread, os_thread_id, anchor, anchor_sp, anchor_pc,
		anchor_fp, pending_monitor, waiting_monitor, stack_base, stack_size, monitor_owner_id, monitor_owner,
		monitor_object, lock_stack, lock_stack_top, lock_stack_base;
	uint32_t const_size, pool_size, pc_size, block_size;
	bool owner_is_tid; /* ObjectMonitor::_owner is a JavaThread's monitor_owner_id, not a pointer (24+) */
	uint32_t version;  /* 17, 25 */
};

/* Reads the VM's own description. symbol(name) gives the address of a gHotSpotVM* variable in the process, 0 when absent.
 * Returns 0, or -ENOTSUP with a sentence. */
typedef uint64_t (*java_symbol_fn)(void *ctx, const char *name);
int java_layout_read(struct target_memory *m, java_symbol_fn symbol, void *ctx, struct java_layout *out, struct err *err);

struct java_heap {
	uint64_t low, high, segmap;
	uint32_t log2;
};

enum java_blob_kind { JAVA_COMPILED, JAVA_NATIVE_WRAPPER, JAVA_INTERPRETER, JAVA_STUB };

struct blob;
struct java_method;

#define JAVA_MAX_HEAPS 8
struct java_process {
	pid_t pid;
	struct java_layout layout;
	struct java_heap heaps[JAVA_MAX_HEAPS];
	unsigned n_heaps;
	uint64_t call_stub_return;
	uint64_t text_start, text_end; /* libjvm's code */
	bool foreign_pids;
	struct blob *blobs;	     /* by address */
	struct java_pc *pcs;	     /* by pc */
	struct java_method *methods; /* by address of the Method */
	struct java_thread *threads; /* by tid as its own namespace sees it */
	uint64_t thread_list_seen;
	uint64_t walk;	      /* counts walks, from 1 */
	size_t line_bytes;    /* of all methods */
	uint32_t role_ids[4]; /* interned "[jvm ... thread]" frames */
	uint32_t unresolved;
};

/* ---- java_code.c ---- */
struct java_blob {
	uint64_t addr;
	enum java_blob_kind kind;
	uint64_t code_begin, code_end;
	uint32_t frame_bytes; /* 0: not of fixed size */
	int32_t frame_complete;
	uint64_t identity[3]; /* name, size | compile id << 32, method: told apart when the address was used again */
	/* compiled */
	uint64_t method, scopes_pcs, scopes_pcs_end, scopes_data, metadata, deopt_begin;
	int32_t orig_pc_offset;
};
/* The heaps' bounds; again until the VM has set them up. */
bool java_heaps_read(struct java_process *p, struct target_memory *m);
bool java_in_heaps(const struct java_process *p, uint64_t pc);
const struct java_blob *java_blob_at(struct java_process *p, struct target_memory *m, uint64_t pc);
/* Checks that the blobs of these pcs still are what the cache holds; returns false when one was not (and is forgotten). */
bool java_blobs_verify(struct java_process *p, struct target_memory *m, const uint64_t *pcs, size_t n);

struct java_scope {
	uint64_t method;
	int32_t bci;
};
/* The methods that a compiled frame stands for, innermost first. leaf: pc is no return address. Returns their number (0: none). */
size_t java_scopes(struct java_process *p, struct target_memory *m, const struct java_blob *b, uint64_t pc, bool leaf,
		   struct java_scope *out, size_t max);
/* The backend's ids of a compiled frame, innermost first, kept with the pc. Borrowed until the cache changes. */
size_t java_compiled_ids(struct java_process *p, struct runtime_env *env, uint64_t pc, bool leaf, const uint32_t **ids);
/* Starts the cache anew when it has grown too large; between walks only. */
void java_code_bound(struct java_process *p);
void java_code_free(struct java_process *p);

/* ---- java_method.c ---- */
/* The backend's id of a method at a bytecode index (-1: no line: a native method); 0 when the name cannot be read. */
uint32_t java_method_id(struct java_process *p, struct runtime_env *env, uint64_t method, int32_t bci);
/* Bytecode index of a bytecode pointer; -1 when it lies outside of the method. */
int32_t java_bci(struct java_process *p, struct target_memory *m, uint64_t method, uint64_t bcp);
/* Line of a bytecode index in a compressed line table; 0 none. */
uint32_t java_line(const uint8_t *table, size_t len, int32_t bci, unsigned excluded);
/* UNSIGNED5 as it was up to JDK 19 (excluded 0) and since (excluded 1). Reads at *at, moves it. */
uint32_t java_unsigned5(const uint8_t *bytes, size_t len, size_t *at, unsigned excluded);
void java_methods_free(struct java_process *p);

/* ---- java_threads.c ---- */
/* Address of the thread's JavaThread, 0: none (a GC or VM thread). */
uint64_t java_thread_of(struct java_process *p, struct target_memory *m, pid_t tid);
pid_t java_thread_tid(struct java_process *p, struct target_memory *m, uint64_t jthread);
enum runtime_role java_role(struct java_process *p, struct target_memory *m, pid_t tid, char *name, size_t len);
bool java_wait(struct java_process *p, struct runtime_env *env, pid_t tid, struct runtime_wait *out);
void java_thread_forget(struct java_process *p, pid_t tid);
void java_threads_free(struct java_process *p);

#endif
