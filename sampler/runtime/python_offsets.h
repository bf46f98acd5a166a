/* SPDX-License-Identifier: Apache-2.0
 *
 * What a walk of Python frames needs to know of one process, and the form of what it yields. Shared by BPF programs and user
 * space (the BPF program includes it after vmlinux.h).
 */
#ifndef LOCKSTEP_PYTHON_OFFSETS_H
#define LOCKSTEP_PYTHON_OFFSETS_H

#ifndef __bpf__
#include <linux/types.h>
#endif

#define PYTHON_F_CFRAME 1u	/* ts_frame points to a _PyCFrame, whose current_frame is the frame (3.11, 3.12) */
#define PYTHON_F_INSTR_INDEX 2u /* frame_instr holds an int (f_lasti) in its low 32 bits, not a pointer (<= 3.10) */

/* What a walk needs to know of one process; flat, so that it can be a BPF map's value. Offsets in bytes. */
struct python_offsets {
	__u64 runtime; /* address of _PyRuntime in the process */
	__u32 version; /* 0x030b: major << 8 | minor */
	__u32 flags;   /* PYTHON_F_* */
	__u32 runtime_interp_head;
	__u32 interp_next, interp_threads;
	__u32 ts_next, ts_thread_id; /* thread_id: pthread_self(), which is the thread pointer on x86-64 */
	__u32 ts_native_id;	     /* 0: not there (<= 3.10) */
	__u32 ts_frame;
	__u32 cframe_frame; /* PYTHON_F_CFRAME */
	__u32 frame_previous, frame_code, frame_instr;
	/* A byte of the frame that says where it stands: owner (3.12+), is_entry (3.11), any byte (<= 3.10).
	 * byte >= shim_min: no Python frame but the mark below the frames of one C frame; byte >= entry_min: the oldest
	 * Python frame in its C frame. 256: never. */
	__u32 frame_mark, shim_min, entry_min;
};

/* A pair is out[2 * i] = code object | flags (code objects are 8-aligned at least), out[2 * i + 1] = the instruction
 * pointer (3.11+: prev_instr or instr_ptr) or f_lasti. */
#define PYTHON_PAIR_ENTRY 1u /* the oldest Python frame that runs in its C frame: an eval frame of the native stack ends here */
#define PYTHON_PAIR_SHIM                                                                                                         \
	2u /* no frame: the frame before it was the oldest of its C frame; the second word is its address, which
			      * lies in the C frame of the eval function */
#define PYTHON_PAIR_MASK 7ull

#endif
