/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the Python provider: CPython 3.8-3.14. The parts, in reading order: python_layout.c (where things lie),
 * python_attach.c (is this process Python, which one), python_threads.c (which thread state is a thread's), python_walk.c
 * (its frames), python_code.c (code objects to names), python_lines.c and python_string.c, python_merge.c (native and Python
 * frames into one stack), python_wait.c (GIL, labels), python.c (the provider's vtable).
 */
#ifndef LOCKSTEP_RUNTIME_PYTHON_H
#define LOCKSTEP_RUNTIME_PYTHON_H

#include "sampler/runtime/memory.h"
#include "sampler/runtime/provider.h"
#include "sampler/runtime/python_offsets.h"
#include "sampler/runtime/runtime.h"

#define PYTHON_MAX_FRAMES 4096

/* Where things lie in one version of CPython; offsets in bytes. */
struct python_layout {
	struct python_offsets walk; /* runtime is 0 here */
	uint32_t interp_id;
	uint32_t runtime_gil,
		interp_gil; /* in _PyRuntime (<= 3.11), or the pointer to it in the interpreter (3.12+); the other is 0 */
	uint32_t ts_interp, ts_chunk; /* ts_chunk: datastack_chunk, 0 when frames are on the heap */
	uint32_t ts_size;
	uint32_t code_filename, code_name, code_qualname, code_firstlineno, code_linetable, code_bytes;
	uint32_t code_size; /* bytes from the object's start that hold all of these */
	uint32_t bytes_size, bytes_data;
	uint32_t str_length, str_state, str_ascii, str_compact;
	enum python_lines { PYTHON_LNOTAB, PYTHON_LINETABLE_310, PYTHON_LOCATIONS } lines;
};

/* The table's entry for 3.8 ... 3.12, or NULL. version as in python_offsets. */
const struct python_layout *python_layout_known(uint32_t version);
/* Reads _Py_DebugOffsets (3.13+) at _PyRuntime. Returns 0; -ENOTSUP with a sentence when the process cannot be walked
 * (free-threaded, unknown version, numbers that cannot be offsets). */
int python_layout_read(struct target_memory *m, uint64_t runtime, struct python_layout *out, struct err *err);

/* Line of an instruction: index is its offset in bytes from the start of the bytecode, -1 before the first. Returns 0 when none. */
uint32_t python_line(enum python_lines kind, const uint8_t *table, size_t len, uint32_t first_line, int64_t offset);

/* A Python str as UTF-8, at most len - 1 bytes, cut with an ellipsis. Returns its length, or -EFAULT when it cannot be a str. */
ssize_t python_string(struct target_memory *m, const struct python_layout *l, uint64_t str, char *buf, size_t len);

struct python_code_cache;

struct python_range {
	uint64_t start, end;
};

struct python_process {
	pid_t pid;
	struct python_layout layout;
	uint64_t bias;
	uint64_t code_type;	     /* address of PyCode_Type, 0 unknown */
	struct python_range eval[4]; /* where _PyEval_EvalFrameDefault lies, all parts */
	unsigned n_eval;
	struct python_range text; /* the interpreter's own code */
	char module[4096];	  /* path of the interpreter's object file */
	bool foreign_pids;	  /* lives in another PID namespace */
	struct python_threads *threads;
	struct python_code_cache *codes;
	char label[128]; /* multiprocessing: target function, "" unknown */
};

/* ---- python_attach.c ---- */
bool python_file_matters(const char *basename);
/* 0 and *out; -ENOENT: no Python here; -ENOTSUP: Python, but not one that can be walked (sentence in err). */
int python_attach(struct runtime_env *env, pid_t pid, struct address_space *as, struct python_process **out, struct err *err);
struct python_process *python_fork(const struct python_process *parent, pid_t child);
void python_detach(struct python_process *p);

/* ---- python_threads.c ---- */
struct python_threads;
void python_threads_free(struct python_threads *t);
/* Thread states of the thread that have frames, innermost (newest interpreter) first. Returns their number. */
size_t python_thread_states(struct python_process *p, struct target_memory *m, pid_t tid, uint64_t *states, size_t max);
void python_thread_forget(struct python_process *p, pid_t tid);
/* The thread of a thread state, as the profiler sees it; 0 unknown. */
pid_t python_state_tid(struct python_process *p, struct target_memory *m, uint64_t state);

/* ---- python_walk.c ---- */
/* Pairs of all frames of the thread, youngest first; *truncated when there may be more. */
size_t python_walk(struct python_process *p, struct target_memory *m, pid_t tid, uint64_t *pairs, size_t max, bool *truncated);

/* ---- python_code.c ---- */
struct python_code_cache *python_codes_new(struct python_code_cache *parent); /* parent is shared, may be NULL */
void python_codes_free(struct python_code_cache *c);
/* Checks that the code objects of these pairs still are what the cache holds; call once per stack, before python_resolve. */
void python_codes_verify(struct python_process *p, struct runtime_env *env, const uint64_t *pairs, size_t n);
/* The backend's id of a pair; 0 when its name cannot be read. */
uint32_t python_resolve(struct python_process *p, struct runtime_env *env, uint64_t code, uint64_t instr);
/* Function and file of a code object seen before; false when unknown. Borrowed until the cache changes. */
bool python_code_names(struct python_process *p, uint64_t code, const char **function, const char **file);

/* ---- python_wait.c ---- */
bool python_wait(struct python_process *p, struct runtime_env *env, pid_t tid, uint64_t futex_addr, struct runtime_wait *out);
/* Given the frames of a main thread, remembers in p->label what a multiprocessing child was started to do. */
void python_note_label(struct python_process *p, const uint64_t *pairs, size_t n);

/* ---- python_merge.c ---- */
struct python_merged { /* native: pc set; Python: pair = index into pairs, pc 0 */
	uint64_t pc;
	size_t native, pair; /* SIZE_MAX: not that kind */
};
struct python_native {
	const uint64_t *pcs, *sps; /* as from unwind_stack; sps may be NULL */
	size_t n;
	bool truncated;
};
/* Splices: each eval frame of the native stack gives way to the Python frames that it ran. Pure. Returns the number of entries;
 * *unmerged: the two did not match. pairs may hold shims. */
size_t python_merge(const struct python_range *eval, unsigned n_eval, const struct python_native *native, const uint64_t *pairs,
		    size_t n_pairs, bool pairs_truncated, struct python_merged *out, size_t max, bool *unmerged);

#endif
