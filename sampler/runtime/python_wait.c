/* SPDX-License-Identifier: Apache-2.0
 *
 * What a Python thread waits for in Python's own terms: the GIL and who holds it; and what a multiprocessing child was
 * started to do.
 *
 * A GIL wait is a futex wait inside struct _gil_runtime_state: its condition variable, its mutex, or those of the forced
 * switch (a thread that gave the GIL up waits until another took it). Layout on 64-bit Linux with glibc, equal in 3.8-3.13:
 * interval 0, last_holder 8, locked 16, switch_number 24, cond 32, mutex 80, switch_cond 120, switch_mutex 168, size 208.
 */
#include "sampler/runtime/python.h"

#include <stdio.h>
#include <string.h>

#define GIL_HOLDER 8
#define GIL_LOCKED 16
#define GIL_COND 32
#define GIL_SIZE 208

/* The GIL of the interpreter of this thread state. */
static uint64_t gil_of(struct python_process *p, struct target_memory *m, uint64_t state)
{
	uint64_t interp;

	if (p->layout.runtime_gil)
		return p->layout.walk.runtime + p->layout.runtime_gil;
	interp = target_u64(m, state + p->layout.ts_interp);
	return interp ? target_u64(m, interp + p->layout.interp_gil) : 0;
}

bool python_wait(struct python_process *p, struct runtime_env *env, pid_t tid, uint64_t futex_addr, struct runtime_wait *out)
{
	uint64_t states[4];
	size_t n = futex_addr ? python_thread_states(p, env->memory, tid, states, 4) : 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t gil = gil_of(p, env->memory, states[i]), interp, holder;
		int64_t id;
		if (!gil || futex_addr < gil + GIL_COND || futex_addr >= gil + GIL_SIZE)
			continue;
		*out = (struct runtime_wait){.cls = WC_GIL, .address = gil};
		holder = target_u64(env->memory, gil + GIL_HOLDER);
		if (target_u32(env->memory, gil + GIL_LOCKED) == 1 && holder && holder != states[i])
			out->holder_tid = python_state_tid(p, env->memory, holder);
		interp = target_u64(env->memory, states[i] + p->layout.ts_interp);
		id = (int64_t)target_u64(env->memory, interp + p->layout.interp_id);
		if (p->layout.interp_gil && id > 0 && id < INT32_MAX)
			snprintf(out->name, sizeof out->name, "GIL of interpreter %d", (int)id);
		else
			snprintf(out->name, sizeof out->name, "GIL");
		return true;
	}
	return false;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && strcmp(s + n - k, end) == 0;
}

static bool is_process_method(const char *function, const char *file, const char *name)
{
	return ends_with(file, "multiprocessing/process.py") && ends_with(function, name) &&
	       (strlen(function) == strlen(name) || function[strlen(function) - strlen(name) - 1] == '.');
}

/* BaseProcess._bootstrap calls self.run(), which calls the target: the frame above them says what the process is for. */
void python_note_label(struct python_process *p, const uint64_t *pairs, size_t n)
{
	const char *function, *file, *young = NULL, *young_file = NULL;

	for (size_t i = 0; i < n; i++) { /* youngest first: young is what this frame called */
		if (pairs[2 * i] & PYTHON_PAIR_SHIM)
			continue;
		if (!python_code_names(p, pairs[2 * i] & ~PYTHON_PAIR_MASK, &function, &file))
			continue;
		bool run = is_process_method(function, file, "run");
		if (young && (run || is_process_method(function, file, "_bootstrap")) &&
		    !is_process_method(young, young_file, "run")) {
			if (ends_with(young_file, "multiprocessing/pool.py"))
				snprintf(p->label, sizeof p->label, "multiprocessing pool worker");
			else if (ends_with(young_file, "concurrent/futures/process.py"))
				snprintf(p->label, sizeof p->label, "process pool worker");
			else
				snprintf(p->label, sizeof p->label, "%s", young);
			return;
		}
		young = function;
		young_file = file;
	}
}
