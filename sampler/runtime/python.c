/* SPDX-License-Identifier: Apache-2.0
 *
 * The Python provider: one stack of one thread, native and Python frames merged. In: registers, memory, and the frames that
 * the kernel program copied or, for a thread that is blocked now, those read from outside; out: frames with the backend's
 * ids.
 *
 * The interpreter's own C frames between Python frames (vectorcall helpers, slot wrappers) name no one's code and are left
 * out, as the eval frames are; those above the youngest Python frame stay (they say which built-in is at work), and so do
 * all other libraries'.
 */
#include "sampler/runtime/python.h"

#include <stdlib.h>
#include <string.h>

struct scratch {
	uint64_t pairs[2 * PYTHON_MAX_FRAMES];
	struct python_merged merged[PYTHON_MAX_FRAMES + RUNTIME_MAX_NATIVE];
};

static bool in_interpreter(const struct python_process *p, uint64_t pc)
{
	return pc >= p->text.start && pc < p->text.end;
}

struct output {
	struct runtime_frame *out;
	size_t n, max;
};

static void put(struct output *o, uint64_t pc, uint32_t id)
{
	if (o->n < o->max)
		o->out[o->n] = (struct runtime_frame){pc, id};
	o->n++;
}

static void tell(struct python_process *p, struct runtime_env *env, const struct python_merged *merged, size_t n,
		 const uint64_t *pairs, struct output *o, struct runtime_stack_info *info)
{
	uint64_t before = env->counters->unresolved;
	bool python_seen = false;

	for (size_t i = 0; i < n; i++) {
		const struct python_merged *f = &merged[i];
		uint32_t id;
		if (f->pair == SIZE_MAX) {
			if (!python_seen || info->unmerged || !in_interpreter(p, f->pc))
				put(o, f->pc, 0);
			continue;
		}
		python_seen = true;
		id = python_resolve(p, env, pairs[2 * f->pair] & ~PYTHON_PAIR_MASK, pairs[2 * f->pair + 1]);
		info->managed_frames++;
		if (id)
			put(o, 0, id);
	}
	info->unresolved_frames = (uint32_t)(env->counters->unresolved - before);
}

static size_t stack(void *state, struct runtime_env *env, const struct runtime_thread *t, struct runtime_frame *out, size_t max,
		    struct runtime_stack_info *info)
{
	struct python_process *p = state;
	struct python_native native = {.pcs = env->pcs, .sps = env->sps};
	struct output o = {.out = out, .max = max};
	bool cut = t->python_truncated;
	const uint64_t *pairs = t->python_pairs;
	size_t n_pairs = t->n_python_pairs, n;
	struct scratch *s;

	if (!env->scratch[RT_PYTHON] && !(env->scratch[RT_PYTHON] = malloc(sizeof *s)))
		return 0;
	s = env->scratch[RT_PYTHON];
	native.n = unwind_stack(t->as, t->time_ns, t->regs, t->mem, env->pcs, env->sps, RUNTIME_MAX_NATIVE, &info->end);
	native.truncated = info->end != UNWIND_DONE;
	if (!pairs && !t->snapshot) {
		n_pairs = python_walk(p, env->memory, t->tid, s->pairs, PYTHON_MAX_FRAMES, &cut);
		pairs = s->pairs;
	}
	python_codes_verify(p, env, pairs, n_pairs);
	n = python_merge(p->eval, p->n_eval, &native, pairs, n_pairs, cut, s->merged, sizeof s->merged / sizeof s->merged[0],
			 &info->unmerged);
	if (n_pairs == 0)
		info->unmerged = false; /* a thread that runs no Python, or whose frames were not copied */
	tell(p, env, s->merged, n, pairs, &o, info);
	if (t->tid == t->pid && n_pairs)
		python_note_label(p, pairs, n_pairs);
	info->truncated = cut || native.truncated || o.n > max;
	return o.n < max ? o.n : max;
}

static int attach(struct runtime_env *env, pid_t pid, struct address_space *as, void **state, struct err *err)
{
	struct python_process *p = NULL;
	int rc = python_attach(env, pid, as, &p, err);

	*state = p;
	return rc;
}

static void detach(void *state)
{
	python_detach(state);
}

static void *fork_state(const void *state, pid_t child)
{
	return python_fork(state, child);
}

static bool wait_for(void *state, struct runtime_env *env, const struct runtime_thread *t, uint64_t futex_addr,
		     struct runtime_wait *out)
{
	return python_wait(state, env, t->tid, futex_addr, out);
}

static void thread_exit(void *state, pid_t tid)
{
	python_thread_forget(state, tid);
}

/* From the main thread's frames as they are now, unless a stack told it before. */
static bool label(void *state, struct runtime_env *env, struct address_space *as, char *buf, size_t len)
{
	struct python_process *p = state;
	struct scratch *s;
	bool cut;

	(void)as;
	if (!env->scratch[RT_PYTHON] && !(env->scratch[RT_PYTHON] = malloc(sizeof *s)))
		return false;
	s = env->scratch[RT_PYTHON];
	if (!p->label[0]) {
		size_t n = python_walk(p, env->memory, p->pid, s->pairs, 256, &cut);
		python_codes_verify(p, env, s->pairs, n);
		for (size_t i = 0; i < n; i++)
			if (!(s->pairs[2 * i] & PYTHON_PAIR_SHIM))
				python_resolve(p, env, s->pairs[2 * i] & ~PYTHON_PAIR_MASK, s->pairs[2 * i + 1]);
		python_note_label(p, s->pairs, n);
	}
	if (!p->label[0] || len == 0)
		return false;
	strncpy(buf, p->label, len - 1);
	buf[len - 1] = 0;
	return true;
}

bool python_state_offsets(const void *state, struct python_offsets *out)
{
	const struct python_process *p = state;

	*out = p->layout.walk;
	return true;
}

const struct runtime_provider runtime_python = {
	.name = "python",
	.kind = RT_PYTHON,
	.file_matters = python_file_matters,
	.attach = attach,
	.detach = detach,
	.fork = fork_state,
	.stack = stack,
	.wait = wait_for,
	.thread_exit = thread_exit,
	.label = label,
};
