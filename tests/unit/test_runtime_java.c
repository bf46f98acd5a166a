/* SPDX-License-Identifier: Apache-2.0
 *
 * Java stacks read from outside against the VM's own thread dump (jcmd PID Thread.print): every method, file and line of
 * every thread of examples/runtime/Stacks.java, for each JDK at hand, compiled, interpreted, with and without frame
 * pointers.
 */
#include "tests/unit/runtime_target.h"

#include <ctype.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>

#define MAX_FRAMES 2048

static char class_dir[] = "/tmp/lockstep-test-java.XXXXXX";
static glob_t jdks;

static int compile(void **state)
{
	char command[8192];

	(void)state;
	glob("/usr/lib/jvm/*/bin/javac", 0, NULL, &jdks);
	if (!mkdtemp(class_dir))
		return -1;
	if (jdks.gl_pathc == 0)
		return 0;
	snprintf(command, sizeof command, "%s --release 17 -d %s %s/examples/runtime/Stacks.java", jdks.gl_pathv[0], class_dir,
		 SOURCE_DIR);
	return system(command);
}

static int cleanup(void **state)
{
	char command[128];

	(void)state;
	globfree(&jdks);
	snprintf(command, sizeof command, "rm -rf %s", class_dir);
	return system(command);
}

struct session {
	struct target target;
	struct object_cache *objects;
	struct address_space *as;
	struct runtimes *rt;
	struct frame_names names;
};

static bool wait_for_line(FILE *f, const char *want)
{
	char line[4096];

	while (fgets(line, sizeof line, f))
		if (strncmp(line, want, strlen(want)) == 0)
			return true;
	return false;
}

static void session_start(struct session *s, char *const argv[])
{
	assert_true(target_start(&s->target, argv));
	assert_true(wait_for_line(s->target.out, "ready"));
	s->objects = object_cache_new();
	s->as = address_space_new(s->objects, s->target.pid);
	assert_int_equal(address_space_scan(s->as, NULL), 0);
	s->rt = runtimes_new(&(struct runtimes_options){.intern = frame_names_intern, .ctx = &s->names});
	assert_int_equal(runtimes_process(s->rt, s->target.pid, s->as), RT_JAVA);
}

static void session_end(struct session *s)
{
	runtimes_free(s->rt);
	address_space_free(s->as);
	object_cache_free(s->objects);
	free(s->names.at);
	target_stop(&s->target);
}

/* "Foo$$Lambda$14/0x00007f12.run" -> "Foo$$Lambda$14.run": addresses differ from run to run. */
static void strip_address(char *s)
{
	char *at = strstr(s, "/0x"), *end;

	if (!at)
		return;
	for (end = at + 3; isxdigit((unsigned char)*end); end++)
		;
	memmove(at, end, strlen(end) + 1);
}

/* "\tat java.lang.Thread.run(java.base@17.0.15/Thread.java:840)" -> function, file without directory, line. */
static bool parse_at(char *text, char *function, char *file, unsigned *line)
{
	char *open = strrchr(text, '('), *close = strrchr(text, ')'), *slash, *colon, *at = strstr(text, "at ");

	if (!open || !close || !at)
		return false;
	*open = *close = 0;
	strip_address(at + 3);
	slash = strstr(at + 3, "//"); /* class loader's name */
	strcpy(function, slash ? slash + 2 : at + 3);
	slash = strrchr(open + 1, '/');
	strcpy(file, slash ? slash + 1 : open + 1);
	colon = strrchr(file, ':');
	*line = colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
	if (colon)
		*colon = 0;
	if (strcmp(file, "Native Method") == 0 || strcmp(file, "Unknown Source") == 0)
		*file = 0;
	return true;
}

struct dump {
	FILE *f;
	char next[4096]; /* header line read ahead */
};

/* The tid of the next thread with a nid; 0 at the end. */
static pid_t dump_thread(struct dump *d, char *name, size_t len)
{
	char *nid;

	for (;;) {
		if (d->next[0] == '"' && (nid = strstr(d->next, " nid=")) != NULL) {
			snprintf(name, len, "%.*s", (int)strcspn(d->next + 1, "\""), d->next + 1);
			d->next[0] = 0;
			return (pid_t)strtoul(nid + 5, NULL, 0);
		}
		if (!fgets(d->next, sizeof d->next, d->f))
			return 0;
	}
}

/* Compares one thread's frames; returns how many differ. Reads the dump up to the next thread. */
static unsigned compare_thread(struct session *s, struct dump *d, const char *name, const struct runtime_frame *frames, size_t n,
			       size_t *told)
{
	char function[4096], file[4096], text[4096];
	unsigned line, differ = 0;
	size_t k = 0;

	*told = 0;
	while (fgets(d->next, sizeof d->next, d->f) && d->next[0] != '"') {
		strcpy(text, d->next);
		if (strncmp(text, "\tat ", 4) != 0 || !parse_at(text, function, file, &line))
			continue;
		(*told)++;
		while (k < n && (!frames[k].id || s->names.at[frames[k].id - 1].function[0] == '['))
			k++;
		if (k == n) {
			if (!differ++)
				print_message("%s: no frame for %s:%u\n", name, function, line);
			continue;
		}
		const char *got = s->names.at[frames[k].id - 1].function, *got_file = s->names.at[frames[k].id - 1].file;
		uint32_t got_line = s->names.at[frames[k].id - 1].line;
		const char *slash = strrchr(got_file, '/');
		if (strcmp(got, function) != 0 || line != got_line || (*file && strcmp(slash ? slash + 1 : got_file, file) != 0))
			if (!differ++)
				print_message("%s: want %s %s:%u, got %s %s:%u\n", name, function, file, line, got, got_file,
					      got_line);
		k++;
	}
	while (k < n && (!frames[k].id || s->names.at[frames[k].id - 1].function[0] == '['))
		k++;
	if (k < n && !differ++)
		print_message("%s: %zu frames more than the dump, first %s\n", name, n - k,
			      s->names.at[frames[k].id - 1].function);
	return differ;
}

static void check(const char *javac, const char *const *options, const char *threads, const char *rounds, unsigned least)
{
	char java[4096], command[8192], name[256];
	char *argv[16];
	struct runtime_frame frames[MAX_FRAMES];
	struct session s = {0};
	struct dump d = {0};
	unsigned n_threads = 0, wrong = 0, n = 0;
	unsigned long all = 0;
	pid_t tid;

	snprintf(java, sizeof java, "%.*s", (int)(strlen(javac) - 1), javac);
	argv[n++] = java;
	for (; *options; options++)
		argv[n++] = (char *)*options;
	argv[n++] = "-cp";
	argv[n++] = class_dir;
	argv[n++] = "Stacks";
	argv[n++] = (char *)threads;
	argv[n++] = (char *)rounds;
	argv[n] = NULL;
	session_start(&s, argv);
	snprintf(command, sizeof command, "%.*s/jcmd %d Thread.print", (int)(strrchr(java, '/') - java), java, s.target.pid);
	d.f = popen(command, "r");
	while ((tid = dump_thread(&d, name, sizeof name)) != 0) {
		struct runtime_stack_info info = {0};
		size_t told, k = target_walk(s.rt, s.as, s.target.pid, tid, frames, MAX_FRAMES, &info);
		unsigned differ = compare_thread(&s, &d, name, frames, k, &told);
		if (!told || !k || strcmp(name, "Attach Listener") == 0)
			continue;
		n_threads++;
		all += told;
		wrong += differ != 0 || info.unresolved_frames || info.truncated;
		if (info.truncated)
			print_message("%s: end %d\n", name, info.end);
	}
	pclose(d.f);
	print_message("%s %s: %u threads, %lu frames, %u wrong\n", java, argv[1][0] == '-' ? argv[1] : "", n_threads, all, wrong);
	session_end(&s);
	assert_true(n_threads >= least);
	assert_int_equal(wrong, 0);
}

static void for_each_jdk(const char *const *options, const char *threads, const char *rounds, unsigned least)
{
	struct stat seen[8], st;
	unsigned n_seen = 0;

	if (!jdks.gl_pathc)
		skip();
	for (size_t i = 0; i < jdks.gl_pathc; i++) {
		bool again = false; /* alternatives are links to the same JDK */
		assert_int_equal(stat(jdks.gl_pathv[i], &st), 0);
		for (unsigned k = 0; k < n_seen; k++)
			again |= seen[k].st_ino == st.st_ino && seen[k].st_dev == st.st_dev;
		if (again || n_seen == 8)
			continue;
		seen[n_seen++] = st;
		check(jdks.gl_pathv[i], options, threads, rounds, least);
	}
}

static void test_400_threads_equal_the_thread_dump(void **state)
{
	const char *const options[] = {"-Xshare:auto", NULL};

	(void)state;
	for_each_jdk(options, "400", "20000", 400);
}

static void test_interpreted_frames_equal_the_thread_dump(void **state)
{
	const char *const options[] = {"-Xint", NULL};

	(void)state;
	for_each_jdk(options, "40", "10", 40);
}

static void test_c1_frames_equal_the_thread_dump(void **state)
{
	const char *const options[] = {"-XX:TieredStopAtLevel=1", NULL};

	(void)state;
	for_each_jdk(options, "40", "20000", 40);
}

static void test_frames_with_frame_pointers_equal_the_thread_dump(void **state)
{
	const char *const options[] = {"-XX:+PreserveFramePointer", NULL};

	(void)state;
	for_each_jdk(options, "40", "20000", 40);
}

static void test_one_code_heap_equals_the_thread_dump(void **state)
{
	const char *const options[] = {"-XX:-SegmentedCodeCache", "-XX:+UseSerialGC", "-XX:-UseCompressedClassPointers", NULL};

	(void)state;
	for_each_jdk(options, "40", "20000", 40);
}

/* The tid of a thread by name. */
static pid_t thread_named(pid_t pid, const char *name)
{
	char path[64], comm[64];
	glob_t g;
	pid_t found = 0;

	snprintf(path, sizeof path, "/proc/%d/task/*/comm", pid);
	glob(path, 0, NULL, &g);
	for (size_t i = 0; i < g.gl_pathc && !found; i++) {
		FILE *f = fopen(g.gl_pathv[i], "re");
		if (f && fgets(comm, sizeof comm, f)) {
			comm[strcspn(comm, "\n")] = 0;
			if (strcmp(comm, name) == 0)
				found = (pid_t)strtol(strstr(g.gl_pathv[i], "/task/") + 6, NULL, 10);
		}
		if (f)
			fclose(f);
	}
	globfree(&g);
	return found;
}

static bool wait_of(struct session *s, const char *thread, struct runtime_wait *wait)
{
	struct unwind_regs regs;
	struct unwind_memory mem = {.pid = s->target.pid};
	struct runtime_thread t = {.pid = s->target.pid,
				   .tid = thread_named(s->target.pid, thread),
				   .as = s->as,
				   .time_ns = UNWIND_NOW,
				   .regs = &regs,
				   .mem = &mem};
	uint64_t addr = 0;

	assert_true(t.tid > 0);
	assert_true(target_regs(t.pid, t.tid, &regs, &addr) >= 0);
	return runtime_wait(s->rt, &t, addr, wait);
}

static void test_a_contended_monitor_names_its_owner(void **state)
{
	struct session s = {0};
	struct runtime_wait wait, object_wait, park;
	char java[4096];
	pid_t java_main = 0;

	(void)state;
	if (!jdks.gl_pathc)
		skip();
	for (size_t i = 0; i < jdks.gl_pathc; i++) {
		memset(&s, 0, sizeof s);
		snprintf(java, sizeof java, "%.*s", (int)(strlen(jdks.gl_pathv[i]) - 1), jdks.gl_pathv[i]);
		char *argv[] = {java, "-cp", class_dir, "Stacks", "20", "10", NULL};
		session_start(&s, argv);
		/* way 8 waits on a monitor, way 9 wants to enter one that main holds; way 10 wants a lock of java.util.concurrent */
		bool enter = wait_of(&s, "stack-9", &wait);
		for (pid_t tid = s.target.pid; tid < s.target.pid + 20 && !java_main; tid++) {
			struct runtime_frame frames[MAX_FRAMES];
			size_t n = target_walk(s.rt, s.as, s.target.pid, tid, frames, MAX_FRAMES, NULL);
			for (size_t k = 0; k < n; k++)
				if (frames[k].id && strcmp(s.names.at[frames[k].id - 1].function, "Stacks.main") == 0)
					java_main = tid;
		}
		bool waits = wait_of(&s, "stack-8", &object_wait), parks = wait_of(&s, "stack-10", &park);
		session_end(&s); /* before the asserts: a failure leaves no JVM behind */
		assert_true(enter);
		assert_int_equal(wait.cls, WC_LOCK);
		assert_true(java_main > 0);
		assert_int_equal(wait.holder_tid, java_main);
		assert_true(waits);
		assert_string_equal(object_wait.name, "Object.wait");
		assert_false(parks);
		java_main = 0;
	}
}

static void test_the_vms_own_threads_are_told_as_such(void **state)
{
	static const struct {
		const char *comm;
		enum runtime_role role;
	} want[] = {{"GC Thread#0", RUNTIME_ROLE_GC},
		    {"VM Thread", RUNTIME_ROLE_VM},
		    {"C2 CompilerThre", RUNTIME_ROLE_COMPILER},
		    {"stack-1", RUNTIME_ROLE_APP}};
	struct session s = {0};
	char java[4096];

	(void)state;
	if (!jdks.gl_pathc)
		skip();
	snprintf(java, sizeof java, "%.*s", (int)(strlen(jdks.gl_pathv[0]) - 1), jdks.gl_pathv[0]);
	char *argv[] = {java, "-XX:+UseG1GC", "-cp", class_dir, "Stacks", "20", "10", NULL};
	session_start(&s, argv);
	for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
		struct runtime_thread_info info;
		pid_t tid = thread_named(s.target.pid, want[i].comm);
		assert_true(tid > 0);
		assert_true(runtime_thread_info(s.rt, s.target.pid, tid, &info));
		assert_int_equal(info.role, want[i].role);
	}
	session_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_400_threads_equal_the_thread_dump),
		cmocka_unit_test(test_interpreted_frames_equal_the_thread_dump),
		cmocka_unit_test(test_c1_frames_equal_the_thread_dump),
		cmocka_unit_test(test_frames_with_frame_pointers_equal_the_thread_dump),
		cmocka_unit_test(test_one_code_heap_equals_the_thread_dump),
		cmocka_unit_test(test_a_contended_monitor_names_its_owner),
		cmocka_unit_test(test_the_vms_own_threads_are_told_as_such),
	};

	return cmocka_run_group_tests(tests, compile, cleanup);
}
