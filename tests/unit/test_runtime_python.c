/* SPDX-License-Identifier: Apache-2.0
 *
 * Python stacks read from outside against what each interpreter at hand says of itself (sys._current_frames in examples/runtime/
 * stacks.py): every frame, function, file and line of every parked thread. Interpreters: the system's, and those of pyenv if any.
 */
#include "tests/unit/runtime_target.h"

#include "sampler/runtime/python.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define PROGRAM SOURCE_DIR "/examples/runtime/stacks.py"
#define MAX_FRAMES 2048

struct truth_frame {
	char *function, *file;
	uint32_t line;
};
struct truth {
	pid_t tid;
	char name[64];
	struct truth_frame frames[MAX_FRAMES];
	size_t n;
};

static glob_t interpreters;

static int find_interpreters(void **state)
{
	char pattern[4096];

	(void)state;
	glob("/usr/bin/python3", 0, NULL, &interpreters);
	snprintf(pattern, sizeof pattern, "%s/.pyenv/versions/3.*/bin/python3", getenv("HOME") ? getenv("HOME") : "/nowhere");
	glob(pattern, GLOB_APPEND, NULL, &interpreters);
	return 0;
}

static int free_interpreters(void **state)
{
	(void)state;
	globfree(&interpreters);
	return 0;
}

struct session {
	struct target target;
	struct object_cache *objects;
	struct address_space *as;
	struct runtimes *rt;
	struct frame_names names;
};

static void session_attach(struct session *s, pid_t pid)
{
	s->objects = object_cache_new();
	s->as = address_space_new(s->objects, pid);
	assert_int_equal(address_space_scan(s->as, NULL), 0);
	s->rt = runtimes_new(&(struct runtimes_options){.intern = frame_names_intern, .ctx = &s->names});
	assert_non_null(s->rt);
}

static void session_end(struct session *s)
{
	runtimes_free(s->rt);
	address_space_free(s->as);
	object_cache_free(s->objects);
	free(s->names.at);
}

static void truth_free(struct truth *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->frames[i].function);
		free(t->frames[i].file);
	}
	t->n = 0;
}

/* The next thread that the program tells of; false at "ready". */
static bool truth_read(FILE *f, struct truth *t)
{
	char line[4096];

	t->n = 0;
	while (fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "thread ", 7) == 0) {
			assert_int_equal(sscanf(line, "thread %d %63s", &t->tid, t->name), 2);
		} else if (strncmp(line, "frame ", 6) == 0 && t->n < MAX_FRAMES) {
			char *file = strchr(line, '\t') + 1, *num = strchr(file, '\t') + 1;
			file[-1] = num[-1] = 0;
			t->frames[t->n++] =
				(struct truth_frame){strdup(line + 6), strdup(file), (uint32_t)strtoul(num, NULL, 10)};
		} else if (strcmp(line, "end") == 0) {
			return true;
		} else if (strcmp(line, "ready") == 0) {
			return false;
		}
	}
	fail_msg("the program ended before it was ready");
	return false;
}

/* Frames that differ; 0 when all are equal. */
static unsigned compare(const struct session *s, const struct truth *t, const struct runtime_frame *frames, size_t n)
{
	unsigned differ = 0;
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		if (!frames[i].id)
			continue;
		if (k < t->n) {
			const struct truth_frame *want = &t->frames[k];
			uint32_t id = frames[i].id - 1;
			if (strcmp(want->function, s->names.at[id].function) != 0 ||
			    strcmp(want->file, s->names.at[id].file) != 0 || want->line != s->names.at[id].line) {
				if (!differ++)
					print_message("%s frame %zu: want %s %s:%u, got %s %s:%u\n", t->name, k, want->function,
						      want->file, want->line, s->names.at[id].function, s->names.at[id].file,
						      s->names.at[id].line);
			}
		}
		k++;
	}
	if (k != t->n)
		print_message("%s: want %zu Python frames, got %zu\n", t->name, t->n, k);
	return differ + (k != t->n);
}

/* The program, its tids as given; ns: the target's PID namespace gave them. Returns the number of threads that differ. */
static unsigned compare_all(struct session *s, pid_t pid, bool ns, unsigned *threads)
{
	struct runtime_frame frames[MAX_FRAMES];
	static struct truth truth;
	unsigned wrong = 0;

	*threads = 0;
	for (bool attached = false; truth_read(s->target.out, &truth); attached = true) {
		struct runtime_stack_info info = {0};
		if (!attached)
			session_attach(s, pid);
		pid_t tid = ns ? runtime_host_tid(pid, truth.tid) : truth.tid;
		size_t n = target_walk(s->rt, s->as, pid, tid, frames, MAX_FRAMES, &info);
		unsigned bad = compare(s, &truth, frames, n) + info.unmerged + info.truncated + info.unresolved_frames;
		if (info.unmerged || info.truncated)
			print_message("%s: unmerged %d truncated %d end %d\n", truth.name, info.unmerged, info.truncated,
				      info.end);
		(*threads)++;
		wrong += bad != 0;
		truth_free(&truth);
	}
	return wrong;
}

static bool is_supported(const char *python)
{
	const char *at = strstr(python, "/versions/3.");

	return !at || strtol(at + strlen("/versions/3."), NULL, 10) >= 8;
}

static void check_interpreter(const char *python)
{
	char *argv[] = {(char *)python, PROGRAM, NULL};
	struct session s = {0};
	unsigned threads, wrong;

	assert_true(target_start(&s.target, argv));
	wrong = compare_all(&s, s.target.pid, false, &threads);
	print_message("%s: %u threads, %u wrong\n", python, threads, wrong);
	assert_true(threads >= 20);
	assert_int_equal(wrong, 0);
	session_end(&s);
	target_stop(&s.target);
}

static void test_stacks_equal_those_that_the_interpreter_tells(void **state)
{
	unsigned checked = 0;

	(void)state;
	for (size_t i = 0; i < interpreters.gl_pathc; i++)
		if (is_supported(interpreters.gl_pathv[i])) {
			check_interpreter(interpreters.gl_pathv[i]);
			checked++;
		}
	if (!checked)
		skip();
}

/* The only child of a process, once there is one. */
static pid_t child_of(pid_t pid)
{
	char path[64];
	pid_t child = 0;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
	for (unsigned i = 0; i < 5000 && child == 0; i++) {
		FILE *f = fopen(path, "re");
		if (!f || fscanf(f, "%d", &child) != 1)
			usleep(1000);
		if (f)
			fclose(f);
	}
	return child;
}

static void test_a_renamed_stripped_python_in_a_container_is_walked(void **state)
{
	/* Its own mounts and PIDs; the program file exists in there only, bears no Python's name and has no symbol table. */
	char *argv[] = {"/usr/bin/unshare",
			"--mount",
			"--pid",
			"--fork",
			"--mount-proc",
			"--kill-child",
			"/bin/sh",
			"-c",
			"mount -t tmpfs none /mnt && cp \"$(readlink -f /usr/bin/python3)\" /mnt/worker && (strip /mnt/worker || "
			"true) && "
			"exec /mnt/worker " PROGRAM,
			NULL};
	struct session s = {0};
	unsigned threads, wrong;
	char line[16];

	(void)state;
	if (access("/usr/bin/unshare", X_OK) || access("/usr/bin/python3", X_OK) || geteuid() != 0)
		skip();
	/* may we at all? */
	FILE *f = popen("unshare --mount --pid --fork --mount-proc true 2>&1; echo $?", "r");
	bool may = fgets(line, sizeof line, f) && line[0] == '0';
	pclose(f);
	if (!may)
		skip();
	assert_true(target_start(&s.target, argv));
	wrong = compare_all(&s, child_of(s.target.pid), true, &threads);
	print_message("%u threads, %u wrong\n", threads, wrong);
	assert_true(threads >= 20);
	assert_int_equal(wrong, 0);
	session_end(&s);
	target_stop(&s.target);
}

static void test_a_venv_is_walked(void **state)
{
	char dir[] = "/tmp/lockstep-test-venv.XXXXXX", command[256], python[64];
	struct session s = {0};
	unsigned threads, wrong;

	(void)state;
	if (!mkdtemp(dir))
		skip();
	snprintf(command, sizeof command, "/usr/bin/python3 -m venv --without-pip %s >/dev/null 2>&1", dir);
	if (system(command) != 0) {
		rmdir(dir);
		skip();
	}
	snprintf(python, sizeof python, "%s/bin/python", dir);
	char *argv[] = {python, PROGRAM, NULL};
	assert_true(target_start(&s.target, argv));
	wrong = compare_all(&s, s.target.pid, false, &threads);
	session_end(&s);
	target_stop(&s.target);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
	assert_true(threads >= 20);
	assert_int_equal(wrong, 0);
}

static pid_t read_number(FILE *f, const char *what)
{
	char line[256];
	size_t n = strlen(what);

	while (fgets(line, sizeof line, f))
		if (strncmp(line, what, n) == 0)
			return (pid_t)strtol(line + n, NULL, 10);
	return 0;
}

/* Waits until the thread blocks in a futex call. */
static uint64_t futex_of(pid_t pid, pid_t tid, struct unwind_regs *regs)
{
	uint64_t addr = 0;

	for (unsigned i = 0; i < 20000; i++) {
		long nr = target_regs(pid, tid, regs, &addr);
#if defined(__x86_64__)
		if (nr == 202)
#else
		if (nr == 98)
#endif
			return addr;
		usleep(500);
	}
	return 0;
}

static void check_gil(const char *python)
{
	char *argv[] = {(char *)python, PROGRAM, "--gil", NULL};
	struct session s = {0};
	struct runtime_wait wait = {0};
	struct unwind_regs regs;
	struct unwind_memory mem;
	pid_t holder, waiter;
	uint64_t addr = 0;

	assert_true(target_start(&s.target, argv));
	waiter = read_number(s.target.out, "waiter ");
	holder = read_number(s.target.out, "holder ");
	read_number(s.target.out, "ready");
	session_attach(&s, s.target.pid);
	mem = (struct unwind_memory){.pid = s.target.pid};
	struct runtime_thread t = {
		.pid = s.target.pid, .tid = waiter, .as = s.as, .time_ns = UNWIND_NOW, .regs = &regs, .mem = &mem};
	/* The holder says so a moment before it goes to sleep, and a waiter asks for the GIL every 5 ms: look again. */
	for (unsigned i = 0; i < 2000; i++) {
		addr = futex_of(s.target.pid, waiter, &regs);
		if (addr && runtime_wait(s.rt, &t, addr, &wait) && wait.holder_tid == holder)
			break;
		usleep(1000);
	}
	assert_int_equal(wait.cls, WC_GIL);
	assert_int_equal(wait.holder_tid, holder);
	assert_string_equal(wait.name, "GIL");
	assert_false(runtime_wait(s.rt, &t, (uint64_t)(uintptr_t)&s, &wait)); /* another futex */
	session_end(&s);
	target_stop(&s.target);
}

static void test_a_wait_for_the_gil_names_its_holder(void **state)
{
	unsigned checked = 0;

	(void)state;
	for (size_t i = 0; i < interpreters.gl_pathc; i++)
		if (is_supported(interpreters.gl_pathv[i])) {
			check_gil(interpreters.gl_pathv[i]);
			checked++;
		}
	if (!checked)
		skip();
}

/* Runs a line of code and waits until it said "ready". */
static void start_code(struct session *s, const char *python, const char *code)
{
	char *argv[] = {(char *)python, "-c", (char *)code, NULL};

	assert_true(target_start(&s->target, argv));
	read_number(s->target.out, "ready");
	session_attach(s, s->target.pid);
}

/* Walks until the thread is blocked and its youngest Python frame is of that function. */
static size_t walk_until(struct session *s, pid_t pid, pid_t tid, const char *function, struct runtime_frame *frames,
			 struct runtime_stack_info *info)
{
	for (unsigned i = 0; i < 4000; i++) {
		size_t n = target_walk(s->rt, s->as, pid, tid, frames, MAX_FRAMES, info);
		for (size_t k = 0; k < n; k++) {
			if (!frames[k].id)
				continue;
			if (strcmp(s->names.at[frames[k].id - 1].function, function) == 0)
				return n;
			break;
		}
		usleep(1000);
	}
	fail_msg("never blocked in %s", function);
	return 0;
}

static void test_an_old_interpreter_is_told_as_such(void **state)
{
	unsigned checked = 0;

	(void)state;
	for (size_t i = 0; i < interpreters.gl_pathc; i++) {
		struct session s = {0};
		if (is_supported(interpreters.gl_pathv[i]) || !strstr(interpreters.gl_pathv[i], "/3.7"))
			continue;
		start_code(&s, interpreters.gl_pathv[i], "import sys\nprint('ready', flush=True)\nsys.stdin.read()");
		assert_int_equal(runtimes_process(s.rt, s.target.pid, s.as), RT_NATIVE);
		assert_non_null(runtimes_notice(s.rt, s.target.pid));
		assert_non_null(strstr(runtimes_notice(s.rt, s.target.pid), "3.7"));
		session_end(&s);
		target_stop(&s.target);
		checked++;
	}
	if (!checked)
		skip();
}

static void test_a_sub_interpreter_shows_its_frames_above_the_main_ones(void **state)
{
	static const char code[] =
		"import os, sys\n"
		"try: import _interpreters as i\n"
		"except ImportError: import _xxsubinterpreters as i\n"
		"sub = 'def sub_leaf():\\n import os\\n os.write(1, b\"ready\\\\n\")\\n os.read(0, 1)\\nsub_leaf()\\n'\n"
		"def outer():\n"
		"    n = i.create()\n"
		"    (getattr(i, 'run_string', None) or i.exec)(n, sub)\n"
		"outer()\n";
	unsigned checked = 0;

	(void)state;
	for (size_t i = 0; i < interpreters.gl_pathc; i++) {
		struct runtime_frame frames[MAX_FRAMES];
		struct runtime_stack_info info;
		struct session s = {0};
		size_t n;
		bool outer = false;
		if (!is_supported(interpreters.gl_pathv[i]))
			continue;
		start_code(&s, interpreters.gl_pathv[i], code);
		n = walk_until(&s, s.target.pid, s.target.pid, "sub_leaf", frames, &info);
		for (size_t k = 0; k < n; k++)
			outer |= frames[k].id && strcmp(s.names.at[frames[k].id - 1].function, "outer") == 0;
		assert_true(outer);
		assert_false(info.unmerged);
		session_end(&s);
		target_stop(&s.target);
		checked++;
	}
	if (!checked)
		skip();
}

static void test_a_name_follows_the_code_object_that_took_its_address(void **state)
{
	/* Code objects are made and freed in turn, so that addresses are used again under other names. */
	static const char code[] = "import os\n"
				   "os.write(1, b'ready\\n')\n"
				   "n = 0\n"
				   "while True:\n"
				   "    n += 1\n"
				   "    d = {'os': os}\n"
				   "    exec('def f%d():\\n%s os.write(1, b\"now %d\\\\n\")\\n os.read(0, 1)\\nf%d()' % (n, "
				   "'\\n' * (n % 7), n, n), d)\n"
				   "    d.clear()\n"
				   "    del d\n";
	struct session s = {0};
	struct runtime_frame frames[MAX_FRAMES];
	struct runtime_stack_info info;

	(void)state;
	if (!interpreters.gl_pathc)
		skip();
	start_code(&s, interpreters.gl_pathv[0], code);
	for (int round = 1; round < 60; round++) {
		char want[32];
		assert_int_equal(read_number(s.target.out, "now "), round);
		snprintf(want, sizeof want, "f%d", round);
		walk_until(&s, s.target.pid, s.target.pid, want, frames, &info);
		for (size_t k = 0;; k++)
			if (frames[k].id) {
				assert_int_equal(s.names.at[frames[k].id - 1].line, 3 + round % 7);
				break;
			}
		assert_int_equal(write(s.target.in, "x", 1), 1);
	}
	session_end(&s);
	target_stop(&s.target);
}

static void test_names_outlive_the_process_and_pass_to_forked_children(void **state)
{
	static const char code[] = "import os, sys\n"
				   "def child():\n"
				   "    os.read(0, 1)\n"
				   "def parent():\n"
				   "    pid = os.fork()\n"
				   "    if pid == 0:\n"
				   "        child()\n"
				   "    os.write(1, b'child %d\\nready\\n' % pid)\n"
				   "    os.waitpid(pid, 0)\n"
				   "parent()\n";
	struct session s = {0};
	struct runtime_frame frames[MAX_FRAMES];
	struct runtime_stack_info info;
	struct python_offsets offsets;
	uint64_t pairs[2 * 64];
	size_t n_pairs;
	pid_t child;

	(void)state;
	if (!interpreters.gl_pathc)
		skip();
	char *argv[] = {interpreters.gl_pathv[0], "-c", (char *)code, NULL};
	assert_true(target_start(&s.target, argv));
	child = read_number(s.target.out, "child ");
	session_attach(&s, s.target.pid);
	walk_until(&s, s.target.pid, s.target.pid, "parent", frames, &info);
	runtimes_fork(s.rt, s.target.pid, child);
	struct address_space *child_as = address_space_fork(s.as, child), *parent_as = s.as;
	s.as = child_as;
	walk_until(&s, child, child, "child", frames, &info);
	assert_true(runtimes_python_offsets(s.rt, child, &offsets));

	/* What the kernel program would have copied, resolved after the end of both. */
	struct target_memory *memory = target_memory_new(NULL, NULL);
	struct python_process p = {.pid = child, .layout.walk = offsets};
	bool cut;
	target_memory_begin(memory, child, NULL);
	n_pairs = python_walk(&p, memory, child, pairs, 64, &cut);
	assert_true(n_pairs >= 3);
	target_memory_free(memory);
	python_threads_free(p.threads);
	target_stop(&s.target);
	kill(child, SIGKILL);
	runtimes_exit(s.rt, child);
	struct unwind_regs regs = {.valid = 0};
	struct unwind_memory none = {0};
	struct runtime_thread t = {.pid = child,
				   .tid = child,
				   .as = s.as,
				   .time_ns = UNWIND_NOW,
				   .regs = &regs,
				   .mem = &none,
				   .python_pairs = pairs,
				   .n_python_pairs = n_pairs,
				   .snapshot = true};
	size_t n = runtime_stack(s.rt, &t, frames, MAX_FRAMES, &info), seen = 0;
	for (size_t i = 0; i < n; i++)
		if (frames[i].id)
			seen |= (strcmp(s.names.at[frames[i].id - 1].function, "child") == 0 ? 1u : 0u) |
				(strcmp(s.names.at[frames[i].id - 1].function, "parent") == 0 ? 2u : 0u);
	assert_int_equal(seen, 3);
	assert_int_equal(info.unresolved_frames, 0);
	address_space_free(parent_as);
	session_end(&s);
}

static void test_multiprocessing_children_are_named_by_their_target(void **state)
{
	static const char code[] = "import multiprocessing, os\n"
				   "def load_orders(a):\n"
				   "    os.write(1, b'child %d\\nready\\n' % os.getpid())\n"
				   "    os.read(0, 1)\n"
				   "if __name__ == '__main__':\n"
				   "    p = multiprocessing.get_context('fork').Process(target=load_orders, args=(1,))\n"
				   "    p.start(); p.join()\n";
	(void)state;
	if (!interpreters.gl_pathc)
		skip();
	for (size_t i = 0; i < interpreters.gl_pathc; i++) {
		struct session s = {0};
		char label[64] = "";
		pid_t child;
		if (!is_supported(interpreters.gl_pathv[i]))
			continue;
		char *argv[] = {interpreters.gl_pathv[i], "-c", (char *)code, NULL};
		assert_true(target_start(&s.target, argv));
		child = read_number(s.target.out, "child ");
		session_attach(&s, child);
		assert_true(runtimes_label(s.rt, child, s.as, label, sizeof label));
		assert_string_equal(label, "load_orders");
		session_end(&s);
		kill(child, SIGKILL);
		target_stop(&s.target);
	}
}

static void test_a_library_frame_is_told_from_the_users(void **state)
{
	const struct {
		struct source_frame f;
		bool library;
	} cases[] = {
		{{"run", "/home/me/app/run.py", 1, NULL, LANG_PYTHON}, false},
		{{"wait", "/usr/lib/python3.11/threading.py", 1, NULL, LANG_PYTHON}, true},
		{{"get", "/srv/venv/lib/python3.12/site-packages/requests/api.py", 1, NULL, LANG_PYTHON}, true},
		{{"_find", "<frozen importlib._bootstrap>", 1, NULL, LANG_PYTHON}, true},
		{{"[python frame]", NULL, 0, NULL, LANG_PYTHON}, true},
		{{"java.util.HashMap.get", "java/util/HashMap.java", 1, NULL, LANG_JAVA}, true},
		{{"com.acme.Feeder.send", "com/acme/Feeder.java", 1, NULL, LANG_JAVA}, false},
		{{"read", NULL, 0, NULL, LANG_NATIVE}, true},
		{{"main.main", "/src/main.go", 3, NULL, LANG_GO}, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(runtime_frame_is_library(&cases[i].f), cases[i].library);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stacks_equal_those_that_the_interpreter_tells),
		cmocka_unit_test(test_a_renamed_stripped_python_in_a_container_is_walked),
		cmocka_unit_test(test_a_venv_is_walked),
		cmocka_unit_test(test_a_wait_for_the_gil_names_its_holder),
		cmocka_unit_test(test_an_old_interpreter_is_told_as_such),
		cmocka_unit_test(test_a_sub_interpreter_shows_its_frames_above_the_main_ones),
		cmocka_unit_test(test_a_name_follows_the_code_object_that_took_its_address),
		cmocka_unit_test(test_names_outlive_the_process_and_pass_to_forked_children),
		cmocka_unit_test(test_multiprocessing_children_are_named_by_their_target),
		cmocka_unit_test(test_a_library_frame_is_told_from_the_users),
	};

	return cmocka_run_group_tests(tests, find_interpreters, free_interpreters);
}
