/* SPDX-License-Identifier: Apache-2.0
 *
 * The Java provider. In: registers and memory of a thread; out: its native and Java frames in one list. The native engine
 * walks by CFI and asks step() at each pc in the code cache; step() knows the three kinds of Java frames (x86-64):
 *   compiled     of fixed size: caller's sp = sp + size, return address at [-8], saved fp at [-16]
 *   interpreted  by fp: return address [fp+8], saved fp [fp], caller's sp [fp-8], Method [fp-24], bytecode pointer [fp-64]
 *   call stub    where C++ entered Java: an ordinary frame with fp
 * When CFI alone does not reach them (an unknown rbp, which /proc does not tell, and code that needs it), the thread's own
 * anchor does: the VM notes sp, fp and pc of the last Java frame whenever a thread leaves Java code. The native frames above
 * it are kept.
 *
 * libjvm's own frames below the youngest Java frame (JavaCalls, thread start) name no one's code and are left out.
 * Sources: hotspot/cpu/x86/frame_x86.hpp, share/runtime/javaFrameAnchor.hpp.
 */
#include "sampler/runtime/java.h"
#include "sampler/symbols/symbols.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STEPS 2048
#define SP 7
#define FP 6
#define PC 16

struct frame { /* one frame in the code cache, as step() met it */
	uint64_t pc, sp, fp;
	const struct java_blob *blob;
	uint64_t method, bcp; /* interpreted */
};

struct scratch {
	struct frame frames[MAX_STEPS];
	uint64_t list[MAX_STEPS];
};

struct walk {
	struct java_process *p;
	struct runtime_env *env;
	struct frame *frames;
	size_t n;
	bool leaf; /* the next pc is the ip, no return address */
};

static bool file_matters(const char *name)
{
	return strcmp(name, "libjvm.so") == 0;
}

struct search {
	struct object *object;
	uint64_t start, end, bias;
	const struct address_space *as;
};

static int look(void *ctx, const struct mapping_info *m, struct object *obj)
{
	struct search *s = ctx;
	const char *slash = strrchr(m->path, '/');

	if (!obj || (s->object && obj != s->object) || !file_matters(slash ? slash + 1 : m->path))
		return 0;
	s->object = obj;
	if (m->executable) {
		s->start = s->start ? s->start : m->start;
		s->end = m->end;
	}
	return 0;
}

static uint64_t symbol_address(void *ctx, const char *name)
{
	struct search *s = ctx;
	uint64_t vaddr;

	return object_find_symbol(s->object, name, &vaddr, NULL) == 0 ? vaddr + s->bias : 0;
}

static void detach(void *state)
{
	struct java_process *p = state;

	if (!p)
		return;
	java_code_free(p);
	java_methods_free(p);
	java_threads_free(p);
	free(p);
}

/* The layout of compiled and interpreted frames is read for one architecture; all of it is compiled on every one. */
#if defined(__x86_64__)
enum { FRAMES_KNOWN = 1 };
#else
enum { FRAMES_KNOWN = 0 };
#endif

static int attach(struct runtime_env *env, pid_t pid, struct address_space *as, void **state, struct err *err)
{
	struct search s = {.as = as};
	struct java_process *p;
	int rc;

	address_space_foreach(as, UNWIND_NOW, look, &s);
	if (!s.object || !address_space_bias(as, UNWIND_NOW, s.object, &s.bias))
		return -ENOENT;
	if (!FRAMES_KNOWN)
		return err_set(err, -ENOTSUP, "Java frames are known on x86-64 only: native stacks only");
	p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	p->pid = pid;
	p->text_start = s.start;
	p->text_end = s.end;
	p->foreign_pids = runtime_foreign_pids(pid);
	rc = java_layout_read(env->memory, symbol_address, &s, &p->layout, err);
	if (rc == 0 && !java_heaps_read(p, env->memory))
		rc = -EAGAIN; /* mapped, but the VM has not started yet */
	if (rc) {
		detach(p);
		return rc;
	}
	*state = p;
	return 0;
}

/* ---- one step of the native engine through the code cache ---- */

static bool step_compiled(struct target_memory *m, const struct java_blob *b, bool leaf, uint64_t *pc, uint64_t *sp, uint64_t *fp)
{
	uint64_t at = *sp + b->frame_bytes;

	if (leaf && b->frame_complete >= 0 &&
	    *pc < b->code_begin + (uint64_t)b->frame_complete) { /* its frame is not built yet */
		*pc = target_u64(m, *sp);
		*sp += 8;
		return *pc != 0;
	}
	if (b->frame_bytes < 16)
		return false;
	*pc = target_u64(m, at - 8);
	*fp = target_u64(m, at - 16);
	*sp = at;
	return *pc != 0;
}

static bool step_by_fp(struct target_memory *m, bool interpreted, uint64_t *pc, uint64_t *sp, uint64_t *fp)
{
	uint64_t at = *fp;

	if (!at || at % 8 || at < *sp)
		return false;
	*pc = target_u64(m, at + 8);
	*fp = target_u64(m, at);
	*sp = interpreted ? target_u64(m, at - 8) : at + 16;
	if (*sp < at + 16)
		*sp = at + 16;
	return *pc != 0;
}

static enum unwind_step step(void *ctx, uint64_t *pc, uint64_t *sp, uint64_t *fp, const struct unwind_memory *mem)
{
	struct walk *w = ctx;
	struct target_memory *m = w->env->memory;
	const struct java_blob *b;
	struct frame *f;
	bool ok, leaf = w->leaf && w->n == 0;

	(void)mem;
	if (!java_in_heaps(w->p, *pc) || w->n == MAX_STEPS)
		return UNWIND_STEP_NOT_MINE;
	b = java_blob_at(w->p, m, *pc);
	if (!b)
		return UNWIND_STEP_NOT_MINE;
	f = &w->frames[w->n++];
	*f = (struct frame){.pc = *pc, .sp = *sp, .fp = *fp, .blob = b};
	if (b->deopt_begin && *pc == b->deopt_begin) /* deoptimized: where it really was is kept in its frame */
		f->pc = target_u64(m, *sp + (uint32_t)b->orig_pc_offset);
	if (b->kind == JAVA_INTERPRETER && *fp) {
		f->method = target_u64(m, *fp - 24);
		f->bcp = target_u64(m, *fp - 64);
	}
	if (b->kind == JAVA_INTERPRETER)
		ok = step_by_fp(m, true, pc, sp, fp);
	else if (b->frame_bytes)
		ok = step_compiled(m, b, leaf, pc, sp, fp);
	else
		ok = step_by_fp(m, false, pc, sp, fp);
	return ok ? UNWIND_STEP_OK : UNWIND_STEP_END;
}

/* ---- a whole walk ---- */

static size_t native_walk(struct walk *w, const struct runtime_thread *t, const struct unwind_regs *regs, size_t from,
			  enum unwind_end *end)
{
	const struct unwind_provider provider = {.ctx = w, .step = step};

	return from + unwind_stack_with(t->as, t->time_ns, regs, t->mem, &provider, w->env->pcs + from, w->env->sps + from,
					RUNTIME_MAX_NATIVE - from, end);
}

/* sp, fp, pc of the thread's last Java frame. */
static bool anchor(struct java_process *p, struct target_memory *m, pid_t tid, struct unwind_regs *regs)
{
	const struct java_layout *l = &p->layout;
	uint64_t t = java_thread_of(p, m, tid), at = t + (uint32_t)l->anchor;

	if (!t)
		return false;
	memset(regs, 0, sizeof *regs);
	regs->r[SP] = target_u64(m, at + (uint32_t)l->anchor_sp);
	regs->r[FP] = target_u64(m, at + (uint32_t)l->anchor_fp);
	regs->r[PC] = target_u64(m, at + (uint32_t)l->anchor_pc);
	if (!regs->r[SP])
		return false;
	if (!regs->r[PC])
		regs->r[PC] = target_u64(m, regs->r[SP] - 8);
	regs->valid = 1ull << SP | 1ull << PC | (regs->r[FP] ? 1ull << FP : 0);
	return true;
}

/* CFI first; when it breaks off, the native frames above the anchor, then on from there. */
static size_t walk_thread(struct walk *w, const struct runtime_thread *t, enum unwind_end *end)
{
	struct unwind_regs regs;
	size_t n, keep = 0;

	w->n = 0;
	w->leaf = true;
	n = native_walk(w, t, t->regs, 0, end);
	if (*end == UNWIND_DONE || *end == UNWIND_TRUNCATED || t->snapshot || !anchor(w->p, w->env->memory, t->tid, &regs))
		return n;
	while (keep + 1 < n && w->env->sps[keep] && w->env->sps[keep] <= regs.r[SP] && !java_in_heaps(w->p, w->env->pcs[keep]))
		keep++;
	if (keep == 0 && n > 0 && !java_in_heaps(w->p, w->env->pcs[0]))
		keep = 1;
	w->n = 0;
	w->leaf = false;
	return native_walk(w, t, &regs, keep, end);
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

/* The source frames of one frame in the code cache. */
static void tell_frame(struct java_process *p, struct runtime_env *env, const struct frame *f, bool leaf, struct output *o,
		       struct runtime_stack_info *info)
{
	const uint32_t *ids;
	size_t n;

	if (f->blob->kind == JAVA_INTERPRETER) {
		put(o, f->pc, java_method_id(p, env, f->method, java_bci(p, env->memory, f->method, f->bcp)));
		info->managed_frames++;
		return;
	}
	if (f->blob->kind == JAVA_STUB)
		return; /* call stubs, run-time entry points: the VM's, not the user's */
	if (!java_blob_at(p, env->memory, f->pc))
		return;
	n = java_compiled_ids(p, env, f->pc, leaf, &ids);
	for (size_t i = 0; i < n; i++)
		put(o, f->pc, ids[i]);
	info->managed_frames += (uint32_t)n;
}

static void tell(struct java_process *p, struct runtime_env *env, const struct walk *w, size_t n, struct output *o,
		 struct runtime_stack_info *info)
{
	uint64_t before = env->counters->unresolved;
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t pc = env->pcs[i];
		if (k < w->n && java_in_heaps(p, pc)) {
			tell_frame(p, env, &w->frames[k], i == 0, o, info);
			k++;
		} else if (!info->managed_frames || pc < p->text_start || pc >= p->text_end) {
			put(o, pc, 0);
		}
	}
	info->unresolved_frames = (uint32_t)(env->counters->unresolved - before);
}

/* The VM's own threads get an outermost frame that says so. */
static void tell_role(struct java_process *p, struct runtime_env *env, pid_t tid, struct output *o)
{
	static const char *const names[] = {NULL, "[jvm gc thread]", "[jvm compiler thread]", "[jvm internal thread]"};
	char comm[64];
	enum runtime_role role = java_role(p, env->memory, tid, comm, sizeof comm);
	struct source_frame f = {.function = names[role], .module = "[jvm]", .language = LANG_JAVA};

	if (role == RUNTIME_ROLE_APP)
		return;
	if (!p->role_ids[role])
		p->role_ids[role] = env->opt->intern(env->opt->ctx, &f);
	if (p->role_ids[role])
		put(o, 0, p->role_ids[role]);
}

static size_t stack(void *state, struct runtime_env *env, const struct runtime_thread *t, struct runtime_frame *out, size_t max,
		    struct runtime_stack_info *info)
{
	struct java_process *p = state;
	struct walk w = {.p = p, .env = env};
	struct output o = {.out = out, .max = max};
	struct scratch *s;
	size_t n;

	if (!env->scratch[RT_JAVA] && !(env->scratch[RT_JAVA] = malloc(sizeof *s)))
		return 0;
	s = env->scratch[RT_JAVA];
	w.frames = s->frames;
	p->walk++;
	java_code_bound(p);
	for (unsigned again = 0;; again++) {
		n = walk_thread(&w, t, &info->end);
		for (size_t i = 0; i < w.n; i++)
			s->list[i] = w.frames[i].pc;
		if (java_blobs_verify(p, env->memory, s->list, w.n))
			break;
		if (again) { /* cleared twice within one walk: pointers to blobs are gone, tell native frames only */
			w.n = 0;
			break;
		}
	}
	tell(p, env, &w, n, &o, info);
	if (!info->managed_frames)
		tell_role(p, env, t->tid, &o);
	info->truncated = info->end != UNWIND_DONE || o.n > max;
	return o.n < max ? o.n : max;
}

static bool wait_for(void *state, struct runtime_env *env, const struct runtime_thread *t, uint64_t futex_addr,
		     struct runtime_wait *out)
{
	return futex_addr && java_wait(state, env, t->tid, out);
}

static bool thread_info(void *state, struct runtime_env *env, pid_t tid, struct runtime_thread_info *out)
{
	out->role = java_role(state, env->memory, tid, out->name, sizeof out->name);
	return true;
}

static void thread_exit(void *state, pid_t tid)
{
	java_thread_forget(state, tid);
}

const struct runtime_provider runtime_java = {
	.name = "java",
	.kind = RT_JAVA,
	.file_matters = file_matters,
	.attach = attach,
	.detach = detach,
	.stack = stack,
	.wait = wait_for,
	.thread_info = thread_info,
	.thread_exit = thread_exit,
};
