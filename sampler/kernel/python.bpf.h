/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The walk of sampler/runtime/python_bpf.h with bpf_loop instead of unrolled rounds: the verifier then checks one round, not 256
 * (loading took 1.6 s before, 0.06 s after). bpf_loop came with 5.17; older kernels get no Python frames in short waits.
 */
#ifndef LOCKSTEP_PYTHON_BPF_LOOP_H
#define LOCKSTEP_PYTHON_BPF_LOOP_H

#include "sampler/runtime/python_offsets.h"

#define PY_MAX_STATES 256

static __always_inline int py_read(__u64 *dst, __u64 addr)
{
	return bpf_probe_read_user(dst, sizeof(*dst), (const void *)addr);
}

struct py_find {
	const struct python_offsets *o;
	__u64 thread_pointer, interp, ts, idle;
	__u32 native_id, found;
};

static long py_find_round(__u32 i, struct py_find *f)
{
	const struct python_offsets *o = f->o;
	__u64 id = 0, frame = 0;
	__u32 nid = 0;
	(void)i;
	if (!f->ts) {
		if (py_read(&f->interp, f->interp + o->interp_next) || !f->interp)
			return 1;
		return py_read(&f->ts, f->interp + o->interp_threads) != 0;
	}
	if (f->thread_pointer) {
		if (py_read(&id, f->ts + o->ts_thread_id))
			return 1;
		id = id == f->thread_pointer;
	} else if (f->native_id && o->ts_native_id) {
		if (bpf_probe_read_user(&nid, sizeof(nid), (const void *)(f->ts + o->ts_native_id)))
			return 1;
		id = nid == f->native_id;
	}
	if (id) {
		if (!py_read(&frame, f->ts + o->ts_frame) && frame) {
			f->found = 1;
			return 1;
		}
		f->idle = f->ts;
	}
	return py_read(&f->ts, f->ts + o->ts_next) != 0;
}

/* The PyThreadState of a thread; 0: none. */
static __noinline __u64 py_tstate(const struct python_offsets *o, __u64 thread_pointer, __u32 native_id)
{
	struct py_find f = {.o = o, .thread_pointer = thread_pointer, .native_id = native_id};
	if (py_read(&f.interp, o->runtime + o->runtime_interp_head) || !f.interp || py_read(&f.ts, f.interp + o->interp_threads))
		return 0;
	bpf_loop(PY_MAX_STATES, py_find_round, &f, 0);
	return f.found ? f.ts : f.idle;
}

/* Whether a remembered thread state still is this thread's. */
static __always_inline int py_tstate_holds(const struct python_offsets *o, __u64 ts, __u64 thread_pointer, __u32 native_id)
{
	__u64 id = 0;
	__u32 nid = 0;
	if (thread_pointer)
		return !py_read(&id, ts + o->ts_thread_id) && id == thread_pointer;
	return o->ts_native_id && !bpf_probe_read_user(&nid, sizeof(nid), (const void *)(ts + o->ts_native_id)) && nid == native_id;
}

struct py_walk {
	const struct python_offsets *o;
	struct k_py *r;
	__u64 frame;
	__u32 n;
};

static long py_walk_round(__u32 i, struct py_walk *w)
{
	const struct python_offsets *o = w->o;
	__u64 at = w->frame, code, instr, shim;
	__u8 mark;
	/* indexed by the round, not by a counter: the verifier would follow a counter's every value */
	i &= K_PY_MAX - 1;
	barrier_var(i);
	if (!at || py_read(&code, at + o->frame_code) || py_read(&instr, at + o->frame_instr) ||
	    bpf_probe_read_user(&mark, sizeof(mark), (const void *)(at + o->frame_mark)))
		return 1;
	if (py_read(&w->frame, at + o->frame_previous))
		w->frame = 0;
	shim = mark >= o->shim_min;
	w->r->pairs[2 * i] = (code & ~PYTHON_PAIR_MASK) | (mark >= o->entry_min) * PYTHON_PAIR_ENTRY | shim * PYTHON_PAIR_SHIM;
	w->r->pairs[2 * i + 1] = shim ? at : instr;
	w->n = i + 1;
	return 0;
}

/* Fills r->pairs; returns how many. */
static __noinline __u32 py_walk(const struct python_offsets *o, __u64 tstate, struct k_py *r)
{
	struct py_walk w = {.o = o, .r = r};
	if (py_read(&w.frame, tstate + o->ts_frame))
		return 0;
	if ((o->flags & PYTHON_F_CFRAME) && w.frame && py_read(&w.frame, w.frame + o->cframe_frame))
		return 0;
	bpf_loop(K_PY_MAX, py_walk_round, &w, 0);
	return w.n;
}

#endif
