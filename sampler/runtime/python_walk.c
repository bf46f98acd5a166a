/* SPDX-License-Identifier: Apache-2.0
 *
 * The Python frames of a thread, read from outside: the walk of python_bpf.h over the page cache. In: a thread that is
 * blocked (or whose walk the caller checks for motion); out: pairs as in python_offsets.h.
 *
 * Frames lie close together: since 3.11 in the thread's data stack, a chunk of 16 KiB or a few, before in pymalloc's pools.
 * So a walk touches few pages, and those of the thread's last walk have been fetched ahead.
 */
#include "sampler/runtime/python.h"
#include "sampler/runtime/python_bpf.h"

static inline int python_read_target(void *mem, void *dst, __u32 len, uint64_t addr)
{
	return target_read(mem, addr, dst, len);
}

size_t python_walk(struct python_process *p, struct target_memory *m, pid_t tid, uint64_t *pairs, size_t max, bool *truncated)
{
	uint64_t states[4];
	size_t n_states = python_thread_states(p, m, tid, states, 4), n = 0;

	*truncated = false;
	for (size_t i = 0; i < n_states && n < max; i++) {
		int got;
		got = python_walk_frames(&p->layout.walk, m, states[i], pairs + 2 * n, (int)(max - n));
		if (got > 0)
			n += (size_t)got;
	}
	if (n >= max)
		*truncated = true;
	return n;
}
