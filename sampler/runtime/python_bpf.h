/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks the Python frames of one thread: used as it is by the kernel backend's BPF program (at switch-out, where the
 * thread's memory is current) and by user space (from outside, for a blocked thread). In: the offsets of one interpreter,
 * the thread; out: pairs (code object, instruction), youngest first. Names come later and from user space (python_names.c).
 *
 * Why in the kernel program: since 3.11 a Python-to-Python call does not grow the C stack, so two callers of one read()
 * share ip and sp, and by the time user space looks at a short wait the frames have changed.
 *
 * In a BPF program include this after vmlinux.h and bpf_helpers.h. Written for the verifier: constant bounds (max must be a
 * compile-time constant there), no pointer arithmetic on targets, every read may fail. clang 14, kernel >= 5.15.
 *
 *	struct python_offsets *po = bpf_map_lookup_elem(&python, &tgid);   // HASH: u32 pid -> struct python_offsets
 *	if (po)
 *		n = python_walk_bpf(po, NULL, BPF_CORE_READ(task, thread.fsbase), 0, &slot->py_tstate, rec->pairs, 64);
 *
 * Sources: CPython's Include/internal/pycore_frame.h, pycore_runtime.h, Include/frameobject.h of each version.
 */
#ifndef LOCKSTEP_PYTHON_BPF_H
#define LOCKSTEP_PYTHON_BPF_H

#ifdef __bpf__
#define PYTHON_READ(mem, dst, len, addr) bpf_probe_read_user(dst, len, (const void *)(addr))
#define PYTHON_INLINE static __always_inline
#define python_u64 __u64
#else
#include <stdint.h>
/* Returns 0 or a negative number; mem is whatever the includer passed to the walk. */
static inline int python_read_target(void *mem, void *dst, __u32 len, uint64_t addr);
#define PYTHON_READ(mem, dst, len, addr) python_read_target(mem, dst, len, addr)
#define PYTHON_INLINE static inline __attribute__((always_inline))
#define python_u64 uint64_t
#endif

#include "sampler/runtime/python_offsets.h"

#define PYTHON_MAX_STATES 256 /* thread states looked at before giving up */

/* Finds the PyThreadState of a thread: by thread pointer (pthread_self), else by native id (tid in the thread's own PID
 * namespace); pass 0 for what is not known. Of several (sub-interpreters) the first in list order, newest interpreter
 * first, that has frames. Returns its address or 0. */
PYTHON_INLINE python_u64 python_find_tstate(const struct python_offsets *o, void *mem, python_u64 thread_pointer, __u32 native_id)
{
	python_u64 interp = 0, ts = 0, id, frame, idle = 0;

	if (PYTHON_READ(mem, &interp, sizeof interp, o->runtime + o->runtime_interp_head) || !interp)
		return 0;
	if (PYTHON_READ(mem, &ts, sizeof ts, interp + o->interp_threads))
		return 0;
	for (int i = 0; i < PYTHON_MAX_STATES; i++) {
		if (!ts) {
			if (PYTHON_READ(mem, &interp, sizeof interp, interp + o->interp_next) || !interp)
				break;
			if (PYTHON_READ(mem, &ts, sizeof ts, interp + o->interp_threads))
				break;
			continue;
		}
		id = 0;
		if (thread_pointer) {
			if (PYTHON_READ(mem, &id, sizeof id, ts + o->ts_thread_id))
				break;
			id = id == thread_pointer;
		} else if (native_id && o->ts_native_id) {
			if (PYTHON_READ(mem, &id, sizeof id, ts + o->ts_native_id))
				break;
			id = (__u32)id == native_id;
		}
		if (id) {
			frame = 0;
			if (!PYTHON_READ(mem, &frame, sizeof frame, ts + o->ts_frame) && frame)
				return ts;
			idle = ts;
		}
		if (PYTHON_READ(mem, &ts, sizeof ts, ts + o->ts_next))
			break;
	}
	return idle;
}

/* Fills out[0 .. 2 * max) with the frames of one thread state. Returns the number of pairs (max: there may be more),
 * or -1 when memory could not be read before the first one. No branch but for failed reads: the verifier walks every path
 * of every round. */
PYTHON_INLINE int python_walk_frames(const struct python_offsets *o, void *mem, python_u64 tstate, python_u64 *out, const int max)
{
	python_u64 frame = 0, at, code, instr, shim;
	__u8 mark;
	int n;

	if (PYTHON_READ(mem, &frame, sizeof frame, tstate + o->ts_frame))
		return -1;
	if ((o->flags & PYTHON_F_CFRAME) && frame && PYTHON_READ(mem, &frame, sizeof frame, frame + o->cframe_frame))
		return -1;
	for (n = 0; n < max; n++) {
		if (!frame)
			break;
		if (PYTHON_READ(mem, &code, sizeof code, frame + o->frame_code))
			break;
		if (PYTHON_READ(mem, &instr, sizeof instr, frame + o->frame_instr))
			break;
		if (PYTHON_READ(mem, &mark, sizeof mark, frame + o->frame_mark))
			break;
		at = frame;
		if (PYTHON_READ(mem, &frame, sizeof frame, at + o->frame_previous))
			frame = 0;
		shim = mark >= o->shim_min;
		out[2 * n] = (code & ~PYTHON_PAIR_MASK) | (mark >= o->entry_min) * PYTHON_PAIR_ENTRY | shim * PYTHON_PAIR_SHIM;
		out[2 * n + 1] = instr ^ ((instr ^ at) & -shim);
	}
	return n;
}

/* Both, with a per-thread cache of the thread state (may be NULL; 0 at first): one read checks that the cached one still is
 * this thread's. Returns the number of pairs, 0 when the thread runs no Python, -1 when memory could not be read. */
PYTHON_INLINE int python_walk_bpf(const struct python_offsets *o, void *mem, python_u64 thread_pointer, __u32 native_id,
				  python_u64 *cached_tstate, python_u64 *out, const int max)
{
	python_u64 ts = cached_tstate ? *cached_tstate : 0, id = 0;

	if (ts) {
		if (thread_pointer) {
			if (PYTHON_READ(mem, &id, sizeof id, ts + o->ts_thread_id) || id != thread_pointer)
				ts = 0;
		} else if (!o->ts_native_id || PYTHON_READ(mem, &id, sizeof id, ts + o->ts_native_id) || (__u32)id != native_id) {
			ts = 0;
		}
	}
	if (!ts) {
		ts = python_find_tstate(o, mem, thread_pointer, native_id);
		if (cached_tstate)
			*cached_tstate = ts;
		if (!ts)
			return 0;
	}
	return python_walk_frames(o, mem, ts, out, max);
}

#endif
