/* SPDX-License-Identifier: Apache-2.0
 *
 * What a walk of one blocked thread costs. Usage: bench/runtime [PYTHON|JAVA-CLASSPATH ...]
 *
 * 	build/bench/runtime python /usr/bin/python3		40 parked threads of about ten Python frames each
 * 	build/bench/runtime java DIR				examples/runtime/Stacks.class in DIR, 400 threads
 *
 * Prints microseconds a walk (median of rounds): one process_vm_readv of 8 bytes of that thread's stack as a yardstick of
 * the machine's mood, native unwinding alone, and the merged walk, first (names unknown) and warm.
 */
#include "sampler/runtime/runtime.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 1000
#define MAX_FRAMES 1024
#define ROUNDS 300

struct thread {
	pid_t tid;
	struct unwind_regs regs;
};

static uint32_t count;
static uint32_t intern(void *ctx, const struct source_frame *f)
{
	(void)ctx;
	(void)f;
	return ++count;
}

/* Our own CPU time: other work on the machine does not count. */
static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static pid_t start(char *const argv[], FILE **out)
{
	int in[2], fd[2];
	pid_t pid;

	if (pipe2(in, O_CLOEXEC) || pipe2(fd, O_CLOEXEC))
		exit(1);
	pid = fork();
	if (pid == 0) {
		dup2(in[0], 0);
		dup2(fd[1], 1);
		execv(argv[0], argv);
		_exit(127);
	}
	close(fd[1]);
	close(in[0]);
	*out = fdopen(fd[0], "r");
	return pid;
}

static size_t threads_of(pid_t pid, struct thread *t)
{
	char path[300], line[256];
	unsigned long long a[8];
	struct dirent *d;
	size_t n = 0;
	long nr;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir)) && n < MAX_THREADS) {
		snprintf(path, sizeof path, "/proc/%d/task/%s/syscall", pid, d->d_name);
		FILE *f = d->d_name[0] == '.' ? NULL : fopen(path, "r");
		if (f && fgets(line, sizeof line, f) &&
		    sscanf(line, "%ld %llx %llx %llx %llx %llx %llx %llx %llx", &nr, a, a + 1, a + 2, a + 3, a + 4, a + 5, a + 6,
			   a + 7) == 9) {
			t[n] = (struct thread){.tid = (pid_t)strtol(d->d_name, NULL, 10), .regs = {.valid = 1u << 7 | 1u << 16}};
			t[n].regs.r[7] = a[6];
			t[n++].regs.r[16] = a[7];
		}
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return n;
}

static void measure(const char *name, pid_t pid)
{
	static struct thread t[MAX_THREADS];
	static struct runtime_frame frames[MAX_FRAMES];
	static uint64_t pcs[MAX_FRAMES], sps[MAX_FRAMES];
	double yard[ROUNDS], native[ROUNDS], merged[ROUNDS], first = 0;
	struct object_cache *objects = object_cache_new();
	struct address_space *as = address_space_new(objects, pid);
	struct unwind_memory mem = {.pid = pid};
	struct runtimes *rt = runtimes_new(&(struct runtimes_options){.intern = intern});
	size_t n = threads_of(pid, t), all = 0, managed = 0, native_frames = 0;
	enum unwind_end end;

	address_space_scan(as, NULL);
	runtimes_process(rt, pid, as);
	for (unsigned round = 0; round < ROUNDS; round++) {
		double start = now_us();
		for (size_t i = 0; i < n; i++) {
			uint64_t word;
			struct iovec local = {&word, 8}, remote = {(void *)(uintptr_t)t[i].regs.r[7], 8};
			if (process_vm_readv(pid, &local, 1, &remote, 1, 0) != 8)
				exit(1);
		}
		yard[round] = (now_us() - start) / (double)n;
		start = now_us();
		native_frames = 0;
		for (size_t i = 0; i < n; i++)
			native_frames += unwind_stack(as, UNWIND_NOW, &t[i].regs, &mem, pcs, sps, MAX_FRAMES, &end);
		native[round] = (now_us() - start) / (double)n;
		start = now_us();
		all = managed = 0;
		for (size_t i = 0; i < n; i++) {
			struct runtime_thread rtt = {
				.pid = pid, .tid = t[i].tid, .as = as, .time_ns = UNWIND_NOW, .regs = &t[i].regs, .mem = &mem};
			struct runtime_stack_info info;
			all += runtime_stack(rt, &rtt, frames, MAX_FRAMES, &info);
			managed += info.managed_frames;
		}
		merged[round] = (now_us() - start) / (double)n;
		if (round == 0)
			first = merged[0];
	}
	qsort(yard, ROUNDS, sizeof *yard, compare);
	qsort(native, ROUNDS, sizeof *native, compare);
	qsort(merged, ROUNDS, sizeof *merged, compare);
	printf("%-42s %4zu threads  %5.1f native %5.1f managed frames  readv %5.2f us  native %6.2f us  merged %6.2f us = %5.1f "
	       "readv  "
	       "first %7.1f us\n",
	       name, n, (double)native_frames / (double)n, (double)managed / (double)n, yard[ROUNDS / 2], native[ROUNDS / 2],
	       merged[ROUNDS / 2], merged[ROUNDS / 2] / yard[ROUNDS / 2], first);
	runtimes_free(rt);
	address_space_free(as);
	object_cache_free(objects);
}

int main(int argc, char **argv)
{
	char line[4096], script[4096];
	FILE *out;
	pid_t pid;

	if (argc < 3) {
		fprintf(stderr, "usage: runtime python INTERPRETER... | java CLASSPATH [JAVA [OPTION]...]\n");
		return 2;
	}
	snprintf(script, sizeof script, "%s/examples/runtime/stacks.py", getenv("SOURCE_DIR") ? getenv("SOURCE_DIR") : ".");
	for (int i = 2; i < argc; i++) {
		char *python[] = {argv[i], script, "--threads", "40", NULL};
		char *java[] = {argc > 3 ? argv[3] : "/usr/bin/java",
				argc > 4 ? argv[4] : "-Xshare:auto",
				"-cp",
				argv[2],
				"Stacks",
				"400",
				"20000",
				NULL};
		bool is_java = strcmp(argv[1], "java") == 0;
		pid = start(is_java ? java : python, &out);
		while (fgets(line, sizeof line, out) && strcmp(line, "ready\n") != 0)
			;
		measure(is_java ? java[0] : argv[i], pid);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		fclose(out);
		if (is_java)
			break;
	}
	return 0;
}
