/* SPDX-License-Identifier: Apache-2.0
 *
 * In: an interned stack; out: the lines worth a reader's eyes. Folding goes by what a frame *is* (kernel, start-up, an
 * interpreter below its own language's frames), never by how much time it holds: the time shown stays that of the whole stack. */
#include "report/frames.h"

#include <stdio.h>
#include <string.h>

const struct frame_row *frames_at(const struct profile *p, uint32_t frame_ix)
{
	return frame_ix < p->n_frames ? &p->frames[frame_ix] : NULL;
}

const char *frames_basename(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash && slash[1] ? slash + 1 : path ? path : "";
}

bool frames_is_libc(const struct frame_row *f)
{
	static const char *const starts[] = {"libc.so",	   "libc-2",	 "ld-linux", "ld-2",	  "ld.so",
					     "libpthread", "linux-vdso", "[vdso]",   "libasan.so"};
	const char *m = frames_basename(f->module);

	for (size_t i = 0; f->language == LANG_NATIVE && i < sizeof starts / sizeof *starts; i++)
		if (strncmp(m, starts[i], strlen(starts[i])) == 0)
			return true;
	return false;
}

static bool in_list(const char *s, const char *const *list)
{
	for (; *list; list++) {
		size_t n = strlen(*list);
		if ((*list)[n - 1] == '*' ? strncmp(s, *list, n - 1) == 0 : strcmp(s, *list) == 0)
			return true;
	}
	return false;
}

/* What comes before main: of no use to a reader, and the same in every stack. */
static bool is_startup(const struct frame_row *f)
{
	static const char *const names[] = {"_start",
					    "__libc_start_main*",
					    "__libc_start_call_main*",
					    "start_thread",
					    "__clone*",
					    "clone",
					    "clone3",
					    "generic_start_main*",
					    "thread_start",
					    "thread_native_entry",
					    "[vdso]*",
					    NULL};

	return f->language == LANG_NATIVE && f->function && in_list(f->function, names);
}

/* The interpreter's own C frames, where frames of the language that it runs are in the stack too. */
static bool is_interpreter(const struct frame_row *f)
{
	static const char *const names[] = {
		"_PyEval_*",	"_PyFunction_*", "_PyObject_*", "PyObject_*",	     "_PyVectorcall_*",
		"PyEval_*",	"PyRun_*",	 "_PyRun_*",	"pymain_*",	     "Py_RunMain",
		"Py_BytesMain", "Py_Main",	 "run_mod",	"run_eval_code*",    "method_vectorcall*",
		"cfunction_*",	"object_vacall", "slot_tp_*",	"vectorcall_method", NULL};

	if (f->language != LANG_NATIVE)
		return false;
	if (f->function && in_list(f->function, names))
		return true;
	const char *m = frames_basename(f->module);
	return strncmp(m, "python3", 7) == 0 || strncmp(m, "libpython", 9) == 0;
}

/* The kernel function that says what the wait is, past the scheduler and the generic helpers under it. */
static bool is_kernel_plumbing(const char *fn)
{
	static const char *const names[] = {"__schedule*",
					    "schedule*",
					    "preempt_schedule*",
					    "io_schedule*",
					    "__traceiter_*",
					    "bpf_*",
					    "__bpf_*",
					    "do_wait_intr*",
					    "prepare_to_wait*",
					    "finish_task_switch*",
					    "__cond_resched",
					    "_cond_resched",
					    "wait_woken",
					    "irqentry_*",
					    "asm_*",
					    "_raw_*",
					    "do_syscall_64",
					    "entry_SYSCALL*",
					    "syscall_*",
					    "x64_sys_call",
					    "__x64_sys_*",
					    "__arm64_sys_*",
					    "el0*",
					    "ksys_*",
					    "__wake_up*",
					    "autoremove_wake_function",
					    "default_wake_function",
					    "woken_wake_function",
					    "ep_autoremove_wake_function",
					    "try_to_wake_up",
					    "ttwu_*",
					    "ret_from_fork*",
					    "__irq_*",
					    "irq_*",
					    "srso_*",
					    "native_*",
					    "pv_*",
					    "sysvec_*",
					    "perf_*",
					    "__perf_*",
					    "exit_to_user_mode*",
					    NULL};

	return in_list(fn, names);
}

struct stack_view {
	const struct profile *p;
	const struct stack_row *s;
	bool has_guest; /* frames of Python, Java, Go or JS */
};

static bool stack_open(struct stack_view *v, const struct profile *p, uint32_t stack_ix)
{
	v->p = p;
	v->s = stack_ix < p->n_stacks ? &p->stacks[stack_ix] : NULL;
	v->has_guest = false;
	for (uint32_t i = 0; v->s && i < v->s->n; i++) {
		const struct frame_row *f = frames_at(p, v->s->frame_ix[i]);
		v->has_guest |= f && f->language != LANG_NATIVE && f->language != LANG_KERNEL;
	}
	return v->s && v->s->n;
}

/* The run of kernel frames that starts at i; *label is the telling one. */
static uint32_t kernel_run(const struct stack_view *v, uint32_t i, uint32_t *label)
{
	uint32_t n = 0;
	bool named = false;

	*label = v->s->frame_ix[i];
	for (; i + n < v->s->n; n++) {
		const struct frame_row *f = frames_at(v->p, v->s->frame_ix[i + n]);
		if (!f || f->language != LANG_KERNEL)
			break;
		if (!named && f->function && !is_kernel_plumbing(f->function)) {
			*label = v->s->frame_ix[i + n];
			named = true;
		}
	}
	return n;
}

static unsigned push(struct frame_line *lines, unsigned n, enum frame_line_kind kind, uint32_t ix, uint32_t folded)
{
	if (kind == FRAME_FOLDED && n && lines[n - 1].kind == FRAME_FOLDED) {
		lines[n - 1].n_folded += folded;
		return n;
	}
	lines[n] = (struct frame_line){kind, ix, folded};
	return n + 1;
}

/* Keeps the inner half more than the outer: the leaf says what, the outermost says whose. */
static unsigned cut_middle(struct frame_line *lines, unsigned n, unsigned max)
{
	unsigned head = (max - 1) * 2 / 3, tail = max - 1 - head;
	uint32_t folded = 0;

	if (n <= max)
		return n;
	for (unsigned i = head; i < n - tail; i++)
		folded += lines[i].kind == FRAME_LINE ? 1 : lines[i].n_folded;
	memmove(lines + head + 1, lines + n - tail, tail * sizeof *lines);
	lines[head] = (struct frame_line){FRAME_FOLDED, 0, folded};
	return head + 1 + tail;
}

/* How many of the frames, leaf first, lie inside the program: what called main is of no use, and often has no name. */
static uint32_t before_startup(const struct stack_view *v)
{
	uint32_t end = v->s->n;

	for (uint32_t i = 1; i < end; i++) {
		const struct frame_row *f = frames_at(v->p, v->s->frame_ix[i]);
		if (f && is_startup(f))
			end = i;
	}
	while (end > 1) {
		const struct frame_row *f = frames_at(v->p, v->s->frame_ix[end - 1]);
		if (f && !(v->has_guest && is_interpreter(f)))
			break;
		end--;
	}
	return end;
}

static bool is_libc_at(const struct stack_view *v, uint32_t i)
{
	const struct frame_row *f = frames_at(v->p, v->s->frame_ix[i]);

	return f && frames_is_libc(f);
}

/* The C library's inner frames from i on: those between the system call's wrapper and the function that the program called. */
static uint32_t libc_middle(const struct stack_view *v, uint32_t i, uint32_t end)
{
	uint32_t n = 0;

	if (i == 0 || !is_libc_at(v, i) || !is_libc_at(v, i - 1))
		return 0;
	while (i + n + 1 < end && is_libc_at(v, i + n) && is_libc_at(v, i + n + 1))
		n++;
	return n > 1 ? n : 0; /* folding one would save no line */
}

unsigned frames_trim(const struct profile *p, uint32_t stack_ix, unsigned max_lines, struct frame_line *lines)
{
	struct stack_view v;
	struct frame_line all[FRAME_LINES_MAX + 1];
	unsigned n = 0;

	if (!stack_open(&v, p, stack_ix))
		return 0;
	uint32_t end = before_startup(&v);
	for (uint32_t i = 0; i < end;) {
		const struct frame_row *f = frames_at(p, v.s->frame_ix[i]);
		uint32_t label = 0, run = f && f->language == LANG_KERNEL ? kernel_run(&v, i, &label) : 0,
			 hidden = libc_middle(&v, i, end);

		if (n == FRAME_LINES_MAX) { /* deeper than the buffer: keep shifting the middle away */
			n = cut_middle(all, n, FRAME_LINES_MAX / 2);
		}
		if (hidden) {
			n = push(all, n, FRAME_FOLDED, 0, hidden);
			i += hidden;
			continue;
		}
		if (run)
			n = push(all, n, FRAME_KERNEL, label, run);
		else if (!f || (v.has_guest && i && is_interpreter(f)))
			n = push(all, n, FRAME_FOLDED, 0, 1);
		else
			n = push(all, n, FRAME_LINE, v.s->frame_ix[i], 0);
		i += run ? run : 1;
	}
	if (v.s->truncated) {
		if (n == FRAME_LINES_MAX)
			n = cut_middle(all, n, FRAME_LINES_MAX / 2);
		n = push(all, n, FRAME_TRUNCATED, 0, 0);
	}
	n = cut_middle(all, n, max_lines >= 4 && max_lines < FRAME_LINES_MAX ? max_lines : FRAME_LINES_MAX);
	memcpy(lines, all, n * sizeof *lines);
	return n;
}

const struct frame_row *frames_site(const struct profile *p, uint32_t stack_ix)
{
	struct stack_view v;
	const struct frame_row *outside_libc = NULL;

	if (!stack_open(&v, p, stack_ix))
		return NULL;
	for (uint32_t i = 0; i < v.s->n; i++) {
		const struct frame_row *f = frames_at(p, v.s->frame_ix[i]);
		if (!f || f->language == LANG_KERNEL || is_startup(f) || (v.has_guest && is_interpreter(f)))
			continue;
		if (frames_is_libc(f))
			continue;
		if (f->file && f->line)
			return f;
		if (!outside_libc)
			outside_libc = f;
	}
	return outside_libc ? outside_libc : frames_at(p, v.s->frame_ix[0]);
}
