/* SPDX-License-Identifier: Apache-2.0
 *
 * The Python frames of a thread, read from outside: the walk of python_bpf.h over the page cache. In: a thread that is blocked (or
 * whose walk the caller checks for motion); out: pairs as in python_offsets.h.
 *
 * Since 3.11 frames lie in the thread's data stack, one chunk of 16 KiB or a few: it is fetched in one call, and the walk itself makes
 * no system call but for generators' frames, which live in the heap.
 */
#include "sampler/runtime/python.h"
#include "sampler/runtime/python_bpf.h"

static inline int python_read_target(void *mem, void *dst, __u32 len, uint64_t addr)
{
	return target_read(mem, addr, dst, len);
}

/* struct _PyStackChunk { previous, size, top, data[] }; the thread state keeps chunk, top and limit side by side. */
static void prefetch_frames(struct python_process *p, struct target_memory *m, uint64_t state)
{
	uint64_t chunk, top;

	if (!p->layout.ts_chunk)
		return;
	chunk = target_u64(m, state + p->layout.ts_chunk);
	top = target_u64(m, state + p->layout.ts_chunk + 8);
	if (chunk && top > chunk && top - chunk < 64 << 10)
		target_prefetch(m, chunk, top - chunk);
}

size_t python_walk(struct python_process *p, struct target_memory *m, pid_t tid, uint64_t *pairs, size_t max, bool *truncated)
{
	uint64_t states[4];
	size_t n_states = python_thread_states(p, m, tid, states, 4), n = 0;

	*truncated = false;
	for (size_t i = 0; i < n_states && n < max; i++) {
		int got;
		prefetch_frames(p, m, states[i]);
		got = python_walk_frames(&p->layout.walk, m, states[i], pairs + 2 * n, (int)(max - n));
		if (got > 0)
			n += (size_t)got;
	}
	if (n >= max)
		*truncated = true;
	return n;
}
