/* SPDX-License-Identifier: Apache-2.0
 *
 * What the runtime tests share: a child program with pipes, its address space, walks of its blocked threads, frames by name.
 */
#ifndef LOCKSTEP_TESTS_RUNTIME_TARGET_H
#define LOCKSTEP_TESTS_RUNTIME_TARGET_H

#include "sampler/runtime/runtime.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct target {
	pid_t pid;
	FILE *out; /* its stdout */
	int in;	   /* its stdin */
};

/* argv[0] is a path. The child dies with its stdin. */
static inline bool target_start(struct target *t, char *const argv[])
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		return false;
	t->pid = fork();
	if (t->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves nothing behind */
		dup2(in[0], 0);
		dup2(out[1], 1);
		execv(argv[0], argv);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	t->in = in[1];
	t->out = fdopen(out[0], "r");
	return t->pid > 0 && t->out;
}

static inline void target_stop(struct target *t)
{
	if (t->pid <= 0)
		return; /* kill(0) would hit ourselves */
	kill(t->pid, SIGKILL);
	waitpid(t->pid, NULL, 0);
	close(t->in);
	fclose(t->out);
}

/* Interned frames: id = index + 1. */
struct frame_names {
	struct {
		char function[1024], file[1024];
		uint32_t line;
		enum frame_language language;
	} * at;
	uint32_t n, room;
};

static inline uint32_t frame_names_intern(void *ctx, const struct source_frame *f)
{
	struct frame_names *t = ctx;

	if (t->n == t->room) {
		t->room = t->room ? 2 * t->room : 1024;
		t->at = realloc(t->at, t->room * sizeof *t->at);
	}
	snprintf(t->at[t->n].function, sizeof t->at[0].function, "%s", f->function);
	snprintf(t->at[t->n].file, sizeof t->at[0].file, "%s", f->file ? f->file : "");
	t->at[t->n].line = f->line;
	t->at[t->n].language = f->language;
	return ++t->n;
}

/* Registers of a blocked thread as /proc tells them: sp and ip only. Returns the system call's number, -1 when not blocked;
 * *arg0. */
static inline long target_regs(pid_t pid, pid_t tid, struct unwind_regs *regs, uint64_t *arg0)
{
	char path[64], line[256] = "";
	unsigned long long a[8] = {0};
	long nr = -1;
	FILE *f;

	memset(regs, 0, sizeof *regs);
	snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fgets(line, sizeof line, f))
		nr = sscanf(line, "%ld %llx %llx %llx %llx %llx %llx %llx %llx", &nr, a, a + 1, a + 2, a + 3, a + 4, a + 5, a + 6,
			    a + 7) == 9
			     ? nr
			     : -1;
	fclose(f);
#if defined(__x86_64__)
	regs->r[7] = a[6];
	regs->r[16] = a[7];
	regs->valid = 1ull << 7 | 1ull << 16;
#else
	regs->r[31] = a[6];
	regs->r[32] = a[7];
	regs->valid = 1ull << 31 | 1ull << 32;
#endif
	if (arg0)
		*arg0 = a[0];
	return nr;
}

static inline size_t target_walk(struct runtimes *rt, struct address_space *as, pid_t pid, pid_t tid, struct runtime_frame *out,
				 size_t max, struct runtime_stack_info *info)
{
	struct unwind_regs regs;
	struct unwind_memory mem = {.pid = pid};
	struct runtime_thread t = {.pid = pid, .tid = tid, .as = as, .time_ns = UNWIND_NOW, .regs = &regs, .mem = &mem};

	if (target_regs(pid, tid, &regs, NULL) < 0)
		return 0;
	return runtime_stack(rt, &t, out, max, info);
}

#endif
