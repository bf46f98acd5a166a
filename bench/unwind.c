/* SPDX-License-Identifier: Apache-2.0
 *
 * Microseconds of CPU time per stack: the engine with rows cached and without, libunwind's remote interface with its cache,
 * and libdw. All unwind the same registers over the same snapshot of the stack, in turns, in one run; medians. Targets: a C
 * program without frame pointers (this one, forked) and python3.11.
 *
 *     build/bench/unwind
 */
#include "sampler/unwind/object.h"
#include "tests/unit/test_unwind_oracle.h"

#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define FRAMES 256
#define ROUNDS 15

struct subject {
	const char *name;
	pid_t pid;
	struct object_cache *cache;
	struct address_space *as;
	struct oracle oracle;
	Dwfl *dwfl;
	uint64_t pcs[FRAMES];
	size_t n;
};

static uint8_t stack[1 << 20];

/* ---- the C target ---- */

static volatile int sink;

#define LEVEL(this, next)                                                                                                        \
	__attribute__((noinline, noclone)) static int this(int fd)                                                               \
	{                                                                                                                        \
		int r = next(fd) + sink;                                                                                         \
		sink = r;                                                                                                        \
		return r;                                                                                                        \
	}
__attribute__((noinline, noclone)) static int level_0(int fd)
{
	char c;
	return (int)read(fd, &c, 1) + sink;
}
LEVEL(level_1, level_0)
LEVEL(level_2, level_1)
LEVEL(level_3, level_2)
LEVEL(level_4, level_3)
LEVEL(level_5, level_4)
LEVEL(level_6, level_5)
LEVEL(level_7, level_6)
LEVEL(level_8, level_7)
LEVEL(level_9, level_8)
LEVEL(level_10, level_9)
LEVEL(level_11, level_10)
LEVEL(level_12, level_11)
LEVEL(level_13, level_12)
LEVEL(level_14, level_13)
LEVEL(level_15, level_14)
LEVEL(level_16, level_15)

static pid_t start_c(void)
{
	int fds[2];
	if (pipe(fds) != 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0)
		_exit(level_16(fds[0])); /* 17 levels, read, main and what starts it: 22 frames */
	return pid;
}

static pid_t start_python(void)
{
	static const char program[] = "import time\n"
				      "class C:\n"
				      "    def __lt__(self, other): time.sleep(1000)\n"
				      "sorted([C(), C()])\n";
	pid_t pid = fork();
	if (pid == 0) {
		execl("/usr/bin/python3", "python3", "-S", "-c", program, NULL);
		_exit(127);
	}
	return pid;
}

/* Until the target sleeps in the call in which it is meant to be found. */
static bool wait_blocked(pid_t pid, const char *syscalls[])
{
	char path[64], text[64];
	snprintf(path, sizeof path, "/proc/%d/syscall", (int)pid);
	for (int i = 0; i < 5000; i++) {
		int fd = open(path, O_RDONLY);
		ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
		close(fd);
		text[n > 0 ? n : 0] = 0;
		for (size_t k = 0; syscalls[k]; k++)
			if (strncmp(text, syscalls[k], strlen(syscalls[k])) == 0)
				return true;
		usleep(1000);
	}
	return false;
}

/* ---- libdw ---- */

static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
	(void)dwfl;
	struct subject *s = arg;
	bool first = *thread_arg == NULL;
	*thread_arg = s;
	return first ? s->pid : 0;
}

static bool read_memory(Dwfl *dwfl, Dwarf_Addr addr, Dwarf_Word *result, void *arg)
{
	(void)dwfl;
	struct subject *s = arg;
	uint64_t v;
	if (!unwind_memory_read(&s->oracle.mem, addr, &v, 8))
		return false;
	*result = v;
	return true;
}

static bool set_registers(Dwfl_Thread *thread, void *arg)
{
	struct subject *s = arg;
	Dwarf_Word r[33];
	int n = __builtin_popcountll(s->oracle.regs.valid);
	for (int i = 0; i < n; i++)
		r[i] = s->oracle.regs.r[i];
	return dwfl_thread_state_registers(thread, 0, (unsigned)n, r);
}

static Dwfl *open_dwfl(struct subject *s)
{
	static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_linux_proc_find_elf,
						 .find_debuginfo = dwfl_standard_find_debuginfo};
	static const Dwfl_Thread_Callbacks threads = {
		.next_thread = next_thread, .memory_read = read_memory, .set_initial_registers = set_registers};
	Dwfl *dwfl = dwfl_begin(&callbacks);
	if (dwfl_linux_proc_report(dwfl, s->pid) != 0 || dwfl_report_end(dwfl, NULL, NULL) != 0)
		return NULL;
	dwfl_attach_state(dwfl, NULL, s->pid, &threads, s);
	return dwfl;
}

static int on_frame(Dwfl_Frame *frame, void *arg)
{
	struct subject *s = arg;
	Dwarf_Addr pc;
	bool activation;
	if (s->n < FRAMES && dwfl_frame_pc(frame, &pc, &activation))
		s->pcs[s->n++] = pc;
	return DWARF_CB_OK;
}

/* ---- the contestants ---- */

static void run_warm(struct subject *s)
{
	enum unwind_end end;
	s->n = unwind_stack(s->as, UNWIND_NOW, &s->oracle.regs, &s->oracle.mem, s->pcs, NULL, FRAMES, &end);
}

static void run_uncached(struct subject *s)
{
	run_warm(s); /* emptied by the caller, outside of the measured time */
}

static void run_libunwind(struct subject *s)
{
	s->n = oracle_stack(&s->oracle, s->pcs, FRAMES);
}

static void run_libdw(struct subject *s)
{
	s->n = 0;
	dwfl_getthread_frames(s->dwfl, s->pid, on_frame, s);
}

struct contestant {
	const char *name;
	void (*run)(struct subject *s);
	size_t repeat; /* per round */
	bool forget;
};

static const struct contestant contestants[] = {
	{"lockstep, rows cached", run_warm, 20000, false},
	{"lockstep, uncached", run_uncached, 200, true},
	{"libunwind, cached", run_libunwind, 500, false},
	{"libdw", run_libdw, 500, false},
};
#define CONTESTANTS (sizeof contestants / sizeof *contestants)

static double now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts); /* other work on the machine must not count */
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* One clock reading costs as much as several warm walks, so batches are timed. What it costs to empty the caches is taken off. */
static double measure(const struct contestant *c, struct subject *s)
{
	double begin = now_us(), forgetting = 0;
	for (size_t i = 0; i < c->repeat; i++) {
		if (c->forget)
			object_cache_forget_rows(s->cache);
		c->run(s);
	}
	double total = now_us() - begin;
	begin = now_us();
	for (size_t i = 0; c->forget && i < c->repeat; i++)
		object_cache_forget_rows(s->cache);
	forgetting = now_us() - begin;
	return (total - forgetting) / (double)c->repeat;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void run_subject(struct subject *s)
{
	double us[CONTESTANTS][ROUNDS];
	size_t frames[CONTESTANTS];
	for (size_t k = 0; k < CONTESTANTS; k++) { /* warm up, and note how deep each gets */
		contestants[k].run(s);
		frames[k] = s->n;
	}
	for (size_t round = 0; round < ROUNDS; round++)
		for (size_t k = 0; k < CONTESTANTS; k++)
			us[k][round] = measure(&contestants[k], s);
	for (size_t k = 0; k < CONTESTANTS; k++) {
		qsort(us[k], ROUNDS, sizeof(double), by_value);
		printf("%-28s %-24s %8.2f %7zu\n", s->name, contestants[k].name, us[k][ROUNDS / 2], frames[k]);
	}
}

static int bench(const char *name, pid_t pid, const char *syscalls[])
{
	struct subject s = {.name = name, .pid = pid};
	int ret = 1;
	if (pid < 0 || !wait_blocked(pid, syscalls)) {
		fprintf(stderr, "%s: the target did not start\n", name);
		goto out;
	}
	oracle_init(&s.oracle, pid);
	if (!oracle_capture(pid, &s.oracle.regs, stack, sizeof stack, &s.oracle.mem)) {
		fprintf(stderr, "%s: cannot read the target: %s\n", name, strerror(errno));
		goto out;
	}
	s.cache = object_cache_new();
	s.as = address_space_new(s.cache, pid);
	s.dwfl = open_dwfl(&s);
	if (address_space_scan(s.as, NULL) == 0 && s.dwfl) {
		run_subject(&s);
		ret = 0;
	}
	dwfl_end(s.dwfl);
	address_space_free(s.as);
	object_cache_free(s.cache);
	oracle_fini(&s.oracle);
out:
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return ret;
}

int main(void)
{
	unsetenv("DEBUGINFOD_URLS"); /* libdw would ask the network */
	printf("%-28s %-24s %8s %7s\n", "stack", "unwinder", "us", "frames");
	int ret = bench("C without frame pointers", start_c(), (const char *[]){"0 ", "63 ", NULL});
	return ret | bench("python3.11", start_python(), (const char *[]){"230 ", "115 ", NULL});
}
