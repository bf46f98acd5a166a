/* SPDX-License-Identifier: Apache-2.0
 *
 * Address spaces: which mapping covers an address at a time, over forks, execs, unmaps and records out of order; and which file a
 * mapping means, when that file is deleted, replaced, truncated or linked twice.
 */
#include "sampler/symbols/symbols.h"
#include "sampler/unwind/address_space.h"
#include "sampler/unwind/arch.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct object_cache *cache;
	struct address_space *as;
	char dir[64];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	f->cache = object_cache_new();
	f->as = address_space_new(f->cache, getpid());
	snprintf(f->dir, sizeof f->dir, "/tmp/lockstep-unwind-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	address_space_free(f->as);
	object_cache_free(f->cache);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void map(struct address_space *as, uint64_t start, uint64_t end, uint64_t since, const char *name)
{
	address_space_map(
		as, &(struct mapping_info){.start = start, .end = end, .since_ns = since, .path = name, .executable = true});
}

static const char *at(struct address_space *as, uint64_t time, uint64_t addr)
{
	struct code_location loc;
	return address_space_locate(as, time, addr, false, &loc) ? loc.module : "none";
}

/* ---- times ---- */

static void test_newest_mapping_not_younger_than_the_time_wins(void **state)
{
	struct fixture *f = *state;
	map(f->as, 0x1000, 0x9000, 0, "[old]");
	map(f->as, 0x3000, 0x5000, 100, "[new]");
	assert_string_equal(at(f->as, 99, 0x3000), "[old]");
	assert_string_equal(at(f->as, 100, 0x3000), "[new]");
	assert_string_equal(at(f->as, UNWIND_NOW, 0x4fff), "[new]");
	assert_string_equal(at(f->as, UNWIND_NOW, 0x5000), "[old]");
	assert_string_equal(at(f->as, UNWIND_NOW, 0x2fff), "[old]");
	assert_string_equal(at(f->as, UNWIND_NOW, 0x9000), "none");
	assert_string_equal(at(f->as, UNWIND_NOW, 0xfff), "none");
}

static void test_return_address_at_the_end_of_a_mapping_belongs_to_it(void **state)
{
	struct fixture *f = *state;
	struct code_location loc;
	map(f->as, 0x1000, 0x2000, 0, "[code]");
	assert_true(address_space_locate(f->as, 0, 0x2000, true, &loc));
	assert_int_equal(loc.vaddr, 0x1fff);
	assert_false(address_space_locate(f->as, 0, 0x2000, false, &loc));
	assert_string_equal(loc.module, "[unknown]");
	assert_null(loc.object);
}

static void test_unnamed_memory_is_told_as_anonymous(void **state)
{
	struct fixture *f = *state;
	map(f->as, 0x1000, 0x2000, 0, "");
	assert_string_equal(at(f->as, 0, 0x1000), "[anon]");
}

static void test_records_out_of_order_end_in_the_same_view(void **state)
{
	struct fixture *f = *state;
	map(f->as, 0x3000, 0x5000, 100, "[new]");
	map(f->as, 0x1000, 0x9000, 50, "[old]");
	assert_string_equal(at(f->as, 60, 0x3800), "[old]");
	assert_string_equal(at(f->as, 120, 0x3800), "[new]");
	assert_string_equal(at(f->as, 120, 0x2000), "[old]");
	assert_string_equal(at(f->as, 120, 0x8fff), "[old]");
	assert_string_equal(at(f->as, 40, 0x8fff), "none");
}

struct record {
	uint64_t start, end, since;
	char name[16];
};

/* Whatever the order of records, each (time, address) shows the youngest record not younger than the time; of equals the
 * last told. */
static void test_any_order_of_records_agrees_with_a_search_through_all(void **state)
{
	struct fixture *f = *state;
	srand(7);
	for (int round = 0; round < 60; round++) {
		struct record r[24];
		struct address_space *as = address_space_new(f->cache, getpid());
		for (size_t i = 0; i < 24; i++) {
			r[i].start = (uint64_t)(rand() % 30) * 0x1000;
			r[i].end = r[i].start + (uint64_t)(1 + rand() % 10) * 0x1000;
			r[i].since = (uint64_t)(rand() % 12);
			snprintf(r[i].name, sizeof r[i].name, "[r%zu]", i);
			map(as, r[i].start, r[i].end, r[i].since, r[i].name);
		}
		for (uint64_t time = 0; time < 13; time++)
			for (uint64_t addr = 0; addr < 42 * 0x1000; addr += 0x1000) {
				const struct record *best = NULL;
				for (size_t i = 0; i < 24; i++)
					if (addr >= r[i].start && addr < r[i].end && r[i].since <= time &&
					    (!best || r[i].since >= best->since))
						best = &r[i];
				assert_string_equal(at(as, time, addr), best ? best->name : "none");
			}
		address_space_free(as);
	}
}

static int check_order(void *ctx, const struct mapping_info *m, struct object *obj)
{
	uint64_t *last = ctx;
	(void)obj;
	assert_true(m->start >= *last);
	assert_true(m->end > m->start);
	*last = m->end;
	return 0;
}

static void test_foreach_tells_a_moment_in_address_order_without_overlap(void **state)
{
	struct fixture *f = *state;
	srand(11);
	for (size_t i = 0; i < 100; i++) {
		uint64_t start = (uint64_t)(rand() % 50) * 0x1000;
		map(f->as, start, start + (uint64_t)(1 + rand() % 9) * 0x1000, (uint64_t)(rand() % 20), "[x]");
	}
	for (uint64_t time = 0; time <= 21; time++) {
		uint64_t last = 0;
		address_space_foreach(f->as, time == 21 ? UNWIND_NOW : time, check_order, &last);
	}
}

static int stop_at_second(void *ctx, const struct mapping_info *m, struct object *obj)
{
	(void)m;
	(void)obj;
	return ++*(int *)ctx == 2 ? 42 : 0;
}

static void test_foreach_stops_when_told(void **state)
{
	struct fixture *f = *state;
	int n = 0;
	for (uint64_t i = 1; i < 5; i++)
		map(f->as, i * 0x1000, i * 0x1000 + 1, 0, "[x]");
	assert_int_equal(address_space_foreach(f->as, UNWIND_NOW, stop_at_second, &n), 42);
	assert_int_equal(n, 2);
}

static void test_many_remappings_stay_bounded_and_the_newest_are_right(void **state)
{
	struct fixture *f = *state;
	for (uint64_t time = 1; time <= 20000; time++)
		map(f->as, 0x1000, 0x2000, time, time & 1 ? "[odd]" : "[even]");
	assert_true(f->as->set->past.n <= 1024);
	assert_true(f->as->set->now.n == 1);
	assert_string_equal(at(f->as, 20000, 0x1800), "[even]");
	assert_string_equal(at(f->as, 19999, 0x1800), "[odd]");
	assert_string_equal(at(f->as, 19900, 0x1800), "[even]");
	assert_string_equal(at(f->as, 3, 0x1800), "none"); /* forgotten, not wrong */
}

/* ---- fork and exec ---- */

static void test_fork_shares_until_one_side_maps(void **state)
{
	struct fixture *f = *state;
	map(f->as, 0x1000, 0x2000, 0, "[both]");
	struct address_space *child = address_space_fork(f->as, 4711);
	assert_ptr_equal(child->set, f->as->set);
	map(child, 0x3000, 0x4000, 10, "[child]");
	map(f->as, 0x5000, 0x6000, 10, "[parent]");
	assert_string_equal(at(child, 20, 0x1000), "[both]");
	assert_string_equal(at(child, 20, 0x3000), "[child]");
	assert_string_equal(at(child, 20, 0x5000), "none");
	assert_string_equal(at(f->as, 20, 0x3000), "none");
	assert_string_equal(at(f->as, 20, 0x5000), "[parent]");
	address_space_free(child);
	assert_string_equal(at(f->as, 20, 0x1000), "[both]");
}

static void test_child_outlives_its_parent(void **state)
{
	struct fixture *f = *state;
	struct address_space *parent = address_space_new(f->cache, 1), *child;
	map(parent, 0x1000, 0x2000, 0, "[both]");
	child = address_space_fork(parent, 2);
	address_space_free(parent);
	assert_string_equal(at(child, 20, 0x1000), "[both]");
	address_space_free(child);
}

static void test_times_before_an_exec_see_the_image_of_then(void **state)
{
	struct fixture *f = *state;
	map(f->as, 0x1000, 0x2000, 0, "[shell]");
	address_space_reset(f->as, 100);
	assert_string_equal(at(f->as, 100, 0x1000), "none");
	map(f->as, 0x1000, 0x2000, 0, "[program]");
	assert_string_equal(at(f->as, 99, 0x1000), "[shell]");
	assert_string_equal(at(f->as, 100, 0x1000), "[program]");
	address_space_reset(f->as, 200);
	assert_string_equal(at(f->as, 50, 0x1000), "[shell]");
	assert_string_equal(at(f->as, 150, 0x1000), "[program]");
	assert_string_equal(at(f->as, 200, 0x1000), "none");
	for (uint64_t time = 300; time < 3000; time += 100)
		address_space_reset(f->as, time);
	assert_string_equal(at(f->as, 50, 0x1000), "none"); /* bounded: long ago is forgotten */
}

static void test_ids_of_mapping_sets_never_collide_after_they_wrap(void **state)
{
	struct fixture *f = *state;
	struct address_space *other = address_space_new(f->cache, 2);
	map(f->as, 0x1000, 0x2000, 0, "[a]");
	map(other, 0x1000, 0x2000, 0, "[b]");
	uint32_t id = mapping_set_id(f->cache, f->as->set);
	assert_int_equal(mapping_set_id(f->cache, f->as->set), id);
	for (uint32_t i = 0; i < 1u << 17; i++) {
		other->set->id = 0; /* as a change does */
		uint32_t theirs = mapping_set_id(f->cache, other->set);
		assert_true(theirs > 0 && theirs < 1u << 17);
		assert_true(theirs != f->as->set->id || f->as->set->epoch != f->cache->set_epoch);
	}
	assert_int_not_equal(mapping_set_id(f->cache, f->as->set), mapping_set_id(f->cache, other->set));
	address_space_free(other);
}

/* ---- what the front cache keeps ---- */

/* A frame at 0x10100 in anonymous code, called from 0x20100: how many frames does a walk find? */
static size_t frames_found(struct address_space *as, uint64_t time)
{
	uint64_t stack[4] = {0, 0, 0, 0x20100}, pcs[4];
	struct unwind_memory mem = {(const uint8_t *)stack, 0x7000, sizeof stack, 0};
	struct unwind_regs regs = {.valid = 1ull << ARCH_PC | 1ull << ARCH_SP | 1ull << ARCH_FP};
	enum unwind_end end;
	regs.r[ARCH_PC] = 0x10100;
	regs.r[ARCH_SP] = 0x7000;
	regs.r[ARCH_FP] = 0x7010;
	return unwind_stack(as, time, &regs, &mem, pcs, NULL, 4, &end);
}

static void test_walks_in_different_mappings_do_not_share_rows(void **state)
{
	struct fixture *f = *state;
	struct address_space *other = address_space_new(f->cache, 2);
	map(f->as, 0x10000, 0x30000, 0, "//anon");
	map(other, 0x20000, 0x30000, 0, "//anon");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(frames_found(f->as, UNWIND_NOW), 2);
		assert_int_equal(frames_found(other, UNWIND_NOW), 1);
	}
	struct address_space *child = address_space_fork(other, 3);
	map(child, 0x10000, 0x11000, 100, "//anon");
	assert_int_equal(frames_found(other, UNWIND_NOW), 1);
	assert_int_equal(frames_found(child, UNWIND_NOW), 2);
	assert_int_equal(frames_found(child, 99), 1);
	assert_int_equal(frames_found(child, 100), 2);
	address_space_free(child);
	address_space_free(other);
}

/* ---- scans of ourselves ---- */

/* A copy of some ELF file of this system, of which the test may do as it likes. */
static void copy_file(const char *from, const char *to)
{
	char buf[65536];
	ssize_t n;
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0700);
	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof buf)) > 0)
		assert_int_equal(write(out, buf, (size_t)n), n);
	close(in);
	close(out);
}

/* Maps the file executable as a loader would: its first executable segment. Returns address and length. */
static uint8_t *map_code(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	uint8_t *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	struct elf_image img;
	assert_int_equal(elf_image_init(&img, data, (size_t)st.st_size, true), 0);
	const struct elf_segment *code = NULL;
	for (size_t i = 0; i < img.n_segments; i++)
		if (img.segments[i].type == 1 && (img.segments[i].flags & 1))
			code = &img.segments[i];
	assert_non_null(code);
	*len = (code->file_size + 4095) & ~4095ull;
	uint8_t *at_addr = mmap(NULL, *len, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, (off_t)(code->offset & ~4095ull));
	assert_ptr_not_equal(at_addr, MAP_FAILED);
	elf_image_fini(&img);
	munmap(data, (size_t)st.st_size);
	close(fd);
	return at_addr;
}

static struct object *object_at(struct address_space *as, uint64_t time, const void *p)
{
	struct code_location loc;
	return address_space_locate(as, time, (uint64_t)(uintptr_t)p, false, &loc) ? loc.object : NULL;
}

static void test_scan_finds_our_own_code_at_its_linked_address(void **state)
{
	struct fixture *f = *state;
	struct code_location loc;
	uint64_t vaddr, size, bias;
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	assert_true(address_space_locate(f->as, UNWIND_NOW, (uint64_t)(uintptr_t)object_find_symbol, false, &loc));
	assert_non_null(loc.object);
	assert_non_null(strstr(loc.module, "test_unwind_address_space"));
	assert_string_equal(object_path(loc.object), loc.module);
	assert_int_equal(object_find_symbol(loc.object, "object_find_symbol", &vaddr, &size), 0);
	assert_int_equal(loc.vaddr, vaddr);
	assert_true(size > 0);
	assert_true(address_space_bias(f->as, UNWIND_NOW, loc.object, &bias));
	assert_int_equal(vaddr + bias, (uint64_t)(uintptr_t)object_find_symbol);
	assert_false(address_space_bias(f->as, UNWIND_NOW, NULL, &bias));
}

static volatile int in_data = 4711;

static void test_data_of_a_file_has_the_same_object_and_bias(void **state)
{
	struct fixture *f = *state;
	int v = 0;
	uint64_t vaddr, size;
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	struct object *obj = object_at(f->as, UNWIND_NOW, (const void *)&in_data);
	assert_non_null(obj);
	assert_ptr_equal(obj, object_at(f->as, UNWIND_NOW, (const void *)(uintptr_t)object_find_symbol));
	assert_int_equal(object_find_symbol(obj, "in_data", &vaddr, &size), 0);
	assert_int_equal(size, sizeof in_data);
	assert_true(object_read(obj, vaddr, &v, sizeof v));
	assert_int_equal(v, 4711);
	assert_false(object_read(obj, UINT64_MAX - 2, &v, sizeof v));
	assert_false(object_read(obj, 0x7fffffff0000, &v, sizeof v));
}

static void test_sections_and_build_id_are_told(void **state)
{
	struct fixture *f = *state;
	uint64_t vaddr, offset, size;
	const uint8_t *id;
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	struct object *libc = object_at(f->as, UNWIND_NOW, (const void *)(uintptr_t)dlsym(RTLD_NEXT, "qsort"));
	assert_non_null(libc);
	assert_true(object_section(libc, ".text", &vaddr, &offset, &size));
	assert_true(vaddr > 0 && offset > 0 && size > 100000);
	assert_true(object_section(libc, ".text", NULL, NULL, NULL));
	assert_false(object_section(libc, ".no-such", &vaddr, NULL, NULL));
	assert_int_equal(object_build_id(libc, &id), 20);
	assert_int_equal(object_build_id(libc, NULL), 20);
}

static void test_vdso_is_read_from_memory_and_shared(void **state)
{
	struct fixture *f = *state;
	const char *vdso = NULL;
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	for (size_t i = 0; i < f->as->set->now.n; i++)
		if (strcmp(f->as->set->now.v[i].path, "[vdso]") == 0)
			vdso = (const char *)(uintptr_t)f->as->set->now.v[i].start;
	assert_non_null(vdso);
	struct object *obj = object_at(f->as, UNWIND_NOW, vdso + 0x100);
	assert_non_null(obj);
	assert_true(obj->is_copy);
	assert_int_equal(object_find_symbol(obj, "__vdso_clock_gettime", NULL, NULL), 0);
	pid_t pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	struct address_space *child = address_space_new(f->cache, pid);
	assert_int_equal(address_space_scan(child, NULL), 0);
	assert_ptr_equal(object_at(child, UNWIND_NOW, vdso + 0x100), obj);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	address_space_free(child);
}

static void test_rescan_without_change_keeps_the_set_and_its_id(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	assert_int_equal(address_space_scan(f->as, NULL), 0); /* the first one mapped files into ourselves */
	struct address_space *child = address_space_fork(f->as, getpid());
	struct mapping_set *set = f->as->set;
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	assert_int_equal(address_space_scan(child, NULL), 0);
	assert_ptr_equal(f->as->set, set);
	assert_ptr_equal(child->set, set);
	address_space_free(child);
}

static void test_unmapped_code_is_still_known_at_earlier_times(void **state)
{
	struct fixture *f = *state;
	char path[128];
	size_t len;
	struct timespec ts;
	snprintf(path, sizeof path, "%s/code", f->dir);
	copy_file("/proc/self/exe", path);
	uint8_t *code = map_code(path, &len);
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	struct object *obj = object_at(f->as, UNWIND_NOW, code);
	assert_non_null(obj);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	uint64_t before = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	munmap(code, len);
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	assert_null(object_at(f->as, UNWIND_NOW, code));
	assert_ptr_equal(object_at(f->as, before, code), obj);
	unlink(path);
}

static size_t open_descriptors(void)
{
	size_t n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void test_scans_keep_no_descriptors_open(void **state)
{
	struct fixture *f = *state;
	size_t before = open_descriptors();
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	struct object *obj = object_at(f->as, UNWIND_NOW, (const void *)(uintptr_t)object_find_symbol);
	assert_int_equal(object_find_symbol(obj, "main", NULL, NULL), 0);
	assert_int_equal(open_descriptors(), before);
}

static void test_scan_of_a_process_that_has_gone_says_so(void **state)
{
	struct fixture *f = *state;
	struct err err = {""};
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	struct address_space *as = address_space_new(f->cache, pid);
	assert_true(address_space_scan(as, &err) < 0);
	assert_non_null(strstr(err.msg, "mappings of process"));
	address_space_free(as);
}

/* ---- files ---- */

static void test_deleted_file_is_opened_through_its_mapping(void **state)
{
	struct fixture *f = *state;
	char path[128];
	size_t len;
	struct stat st;
	snprintf(path, sizeof path, "%s/code", f->dir);
	copy_file("/proc/self/exe", path);
	uint8_t *code = map_code(path, &len);
	unlink(path);
	snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", (unsigned long)code, (unsigned long)code + len);
	if (stat(path, &st) != 0) {
		munmap(code, len);
		print_message("map_files cannot be followed without CAP_SYS_ADMIN\n");
		skip();
	}
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	struct object *obj = object_at(f->as, UNWIND_NOW, code);
	assert_non_null(obj);
	assert_int_equal(object_find_symbol(obj, "main", NULL, NULL), 0);
	munmap(code, len);
}

/* Exit status: which check failed in the unprivileged child; 0: none. */
static int check_deleted_without_privileges(const char *path)
{
	struct object_cache *cache = object_cache_new();
	struct address_space *as = address_space_new(cache, getpid());
	uint64_t vaddr, size, start, end, bias;
	void *lib = dlopen(path, RTLD_NOW);
	int (*function)(int) = lib ? (int (*)(int))(uintptr_t)dlsym(lib, "exported") : NULL;
	if (!function || unlink(path) != 0)
		return 1;
	if (setresuid(65534, 65534, 65534) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0 || address_space_scan(as, NULL) != 0)
		return 2;
	struct object *obj = object_at(as, UNWIND_NOW, (const void *)(uintptr_t)function);
	if (!obj || !obj->is_copy)
		return 3;
	if (!address_space_bias(as, UNWIND_NOW, obj, &bias) ||
	    object_row(obj, (uint64_t)(uintptr_t)function - bias).kind != ROW_FAST)
		return 4;
	if (object_find_symbol(obj, "exported", &vaddr, &size) != 0 || vaddr + bias != (uint64_t)(uintptr_t)function)
		return 5;
	if (!object_function_bounds(obj, vaddr, &start, &end) || start != vaddr || end - start != size || !obj->build_id_len)
		return 6;
	return 0;
}

static void test_deleted_file_that_cannot_be_opened_is_read_from_memory(void **state)
{
	struct fixture *f = *state;
	char path[128], command[512];
	int status;
	if (geteuid() != 0)
		skip(); /* dropping privileges takes some */
	snprintf(path, sizeof path, "%s/lib.so", f->dir);
	for (int lld = 0; lld < 2; lld++) { /* lld lays segments out in another way */
		snprintf(command, sizeof command,
			 "echo 'int exported(int n) { volatile int a[9]; a[n] = n; return a[0]; }' | "
			 "cc -O2 -fPIC -shared -Wl,--build-id %s -o %s -xc - 2>/dev/null",
			 lld ? "-fuse-ld=lld" : "", path);
		if (system(command) != 0) {
			print_message("cannot build: %s\n", command);
			continue;
		}
		chmod(f->dir, 0777);
		pid_t pid = fork();
		if (pid == 0)
			_exit(check_deleted_without_privileges(path));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	unlink(path);
}

static void test_replaced_file_is_another_object_and_the_old_one_keeps_its_content(void **state)
{
	struct fixture *f = *state;
	char path[128], fresh[128];
	size_t len, new_len;
	snprintf(path, sizeof path, "%s/code", f->dir);
	snprintf(fresh, sizeof fresh, "%s/fresh", f->dir);
	copy_file("/proc/self/exe", path);
	uint8_t *code = map_code(path, &len);
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	struct object *old = object_at(f->as, UNWIND_NOW, code);
	copy_file("/bin/true", fresh);
	assert_int_equal(rename(fresh, path), 0);
	uint8_t *other = map_code(path, &new_len);
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	struct object *new = object_at(f->as, UNWIND_NOW, other);
	assert_non_null(new);
	assert_ptr_not_equal(new, old);
	assert_ptr_equal(object_at(f->as, UNWIND_NOW, code), old);
	assert_int_equal(object_find_symbol(old, "object_find_symbol", NULL, NULL), 0);
	assert_int_equal(object_find_symbol(new, "object_find_symbol", NULL, NULL), -ENOENT);
	munmap(code, len);
	munmap(other, new_len);
	unlink(path);
}

/* A file that is cut while it is mapped raises SIGBUS on access: we must never touch it unguarded. */
static void test_truncated_file_is_survived(void **state)
{
	struct fixture *f = *state;
	char path[128], bytes[8];
	size_t len;
	uint64_t start, end, text;
	snprintf(path, sizeof path, "%s/code", f->dir);
	copy_file("/proc/self/exe", path);
	uint8_t *code = map_code(path, &len);
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	struct object *obj = object_at(f->as, UNWIND_NOW, code);
	assert_non_null(obj);
	assert_true(object_section(obj, ".text", &text, NULL, NULL));
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(object_find_symbol(obj, "main", NULL, NULL), -ENOENT);
	assert_false(object_function_bounds(obj, text, &start, &end));
	assert_int_equal(object_row(obj, text).kind, ROW_NO_CFI);
	assert_false(object_read(obj, text, bytes, sizeof bytes));
	munmap(code, len);
	unlink(path);
}

static void test_hard_links_are_one_object(void **state)
{
	struct fixture *f = *state;
	char path[128], second[128];
	size_t len, len2;
	snprintf(path, sizeof path, "%s/code", f->dir);
	snprintf(second, sizeof second, "%s/link", f->dir);
	copy_file("/bin/true", path);
	assert_int_equal(link(path, second), 0);
	uint8_t *a = map_code(path, &len), *b = map_code(second, &len2);
	size_t before = f->cache->n_objects;
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	assert_non_null(object_at(f->as, UNWIND_NOW, a));
	assert_ptr_equal(object_at(f->as, UNWIND_NOW, a), object_at(f->as, UNWIND_NOW, b));
	assert_true(f->cache->n_objects > before);
	munmap(a, len);
	munmap(b, len2);
	unlink(path);
	unlink(second);
}

static void test_another_file_at_the_path_is_not_taken_for_the_mapped_one(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct stat st;
	snprintf(path, sizeof path, "%s/code", f->dir);
	copy_file("/bin/true", path);
	assert_int_equal(stat(path, &st), 0);
	struct mapping_info m = {.start = 0x10000,
				 .end = 0x20000,
				 .dev_major = major(st.st_dev),
				 .dev_minor = minor(st.st_dev),
				 .inode = st.st_ino + 1,
				 .path = path,
				 .executable = true};
	address_space_map(f->as, &m);
	assert_null(object_at(f->as, UNWIND_NOW, (void *)0x10000));
	assert_string_equal(at(f->as, UNWIND_NOW, 0x10000), path); /* shown by its path all the same */
	m.inode = st.st_ino;
	m.start = 0x30000;
	m.end = 0x40000;
	address_space_map(f->as, &m);
	assert_non_null(object_at(f->as, UNWIND_NOW, (void *)0x30000));
	unlink(path);
}

static void test_a_file_that_is_no_elf_file_is_code_without_an_object(void **state)
{
	struct fixture *f = *state;
	char path[128];
	snprintf(path, sizeof path, "%s/text", f->dir);
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, 4096), 0);
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	close(fd);
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	assert_null(object_at(f->as, UNWIND_NOW, p));
	assert_string_equal(at(f->as, UNWIND_NOW, (uint64_t)(uintptr_t)p), path);
	for (int i = 0; i < 4; i++) /* it is tried again a few times, then the view is stable */
		assert_int_equal(address_space_scan(f->as, NULL), 0);
	struct mapping_set *set = f->as->set;
	uint32_t id = mapping_set_id(f->cache, set);
	assert_int_equal(address_space_scan(f->as, NULL), 0);
	assert_ptr_equal(f->as->set, set);
	assert_int_equal(mapping_set_id(f->cache, set), id);
	munmap(p, 4096);
	unlink(path);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_newest_mapping_not_younger_than_the_time_wins),
		TEST(test_return_address_at_the_end_of_a_mapping_belongs_to_it),
		TEST(test_unnamed_memory_is_told_as_anonymous),
		TEST(test_records_out_of_order_end_in_the_same_view),
		TEST(test_any_order_of_records_agrees_with_a_search_through_all),
		TEST(test_foreach_tells_a_moment_in_address_order_without_overlap),
		TEST(test_foreach_stops_when_told),
		TEST(test_many_remappings_stay_bounded_and_the_newest_are_right),
		TEST(test_fork_shares_until_one_side_maps),
		TEST(test_child_outlives_its_parent),
		TEST(test_times_before_an_exec_see_the_image_of_then),
		TEST(test_ids_of_mapping_sets_never_collide_after_they_wrap),
		TEST(test_walks_in_different_mappings_do_not_share_rows),
		TEST(test_scan_finds_our_own_code_at_its_linked_address),
		TEST(test_data_of_a_file_has_the_same_object_and_bias),
		TEST(test_sections_and_build_id_are_told),
		TEST(test_vdso_is_read_from_memory_and_shared),
		TEST(test_rescan_without_change_keeps_the_set_and_its_id),
		TEST(test_unmapped_code_is_still_known_at_earlier_times),
		TEST(test_scans_keep_no_descriptors_open),
		TEST(test_scan_of_a_process_that_has_gone_says_so),
		TEST(test_deleted_file_is_opened_through_its_mapping),
		TEST(test_deleted_file_that_cannot_be_opened_is_read_from_memory),
		TEST(test_replaced_file_is_another_object_and_the_old_one_keeps_its_content),
		TEST(test_truncated_file_is_survived),
		TEST(test_hard_links_are_one_object),
		TEST(test_another_file_at_the_path_is_not_taken_for_the_mapped_one),
		TEST(test_a_file_that_is_no_elf_file_is_code_without_an_object),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
