/* SPDX-License-Identifier: Apache-2.0
 *
 * From addresses to names and lines: libraries are compiled in all the ways in which symbols come (DWARF 4 and 5,
 * compressed, split, stripped with a debug file beside them or inside), loaded here, and asked for addresses in themselves
 * whose lines they tell.
 */
#include "sampler/symbols/demangle.h"
#include "sampler/symbols/kallsyms.h"
#include "sampler/symbols/symbols.h"
#include "sampler/symbols/symtab.h"
#include "sampler/unwind/object.h"

#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- names ---- */

static void assert_shown_as(const char *raw, const char *shown)
{
	char *name = demangle_symbol(raw);
	assert_string_equal(name, shown);
	free(name);
}

static void test_names_are_shown_as_written(void **state)
{
	(void)state;
	assert_shown_as("main", "main");
	assert_shown_as("_ZN4shop6basketIiE5totalEv", "shop::basket<int>::total");
	assert_shown_as("_ZNSt6vectorIiSaIiEE9push_backEOi", "std::vector<int, std::allocator<int> >::push_back");
	assert_shown_as("_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE", "core::fmt::Formatter::write_str");
	assert_shown_as("_RNvC6_123foo3bar", "123foo::bar");
	assert_shown_as("_PyEval_EvalFrameDefault.cold", "_PyEval_EvalFrameDefault");
	assert_shown_as("parse.part.0.isra.1", "parse");
	assert_shown_as("_ZN4shop5checkEi.cold", "shop::check");
	assert_shown_as("main.main", "main.main"); /* Go */
	assert_shown_as(".cold", ".cold");
	assert_shown_as("", "");
	assert_shown_as("_Z", "_Z");
	assert_shown_as("_ZN4shop", "_ZN4shop");
}

static void test_hostile_names_are_survived(void **state)
{
	(void)state;
	char *raw = malloc(100001);
	memset(raw, 'P', 100000);
	raw[100000] = 0;
	memcpy(raw, "_Z1f", 4);
	char *name = demangle_symbol(raw);
	assert_non_null(name);
	free(name);
	raw[12000] = 0; /* short enough to be tried */
	name = demangle_symbol(raw);
	assert_non_null(name);
	free(name);
	free(raw);
}

/* ---- symbol tables ---- */

static const char *symbol_at(const struct symtab *t, uint64_t addr, uint64_t floor)
{
	const struct symbol *s = symtab_find(t, addr, floor);
	return s ? s->name : "none";
}

static void test_symbol_that_covers_the_address_is_found(void **state)
{
	(void)state;
	struct symtab t = {0};
	symtab_add_one(&t, 0x100, 0x80, "function");
	symtab_add_one(&t, 0x120, 0, "label_inside");
	symtab_add_one(&t, 0x200, 0x10, "short");
	symtab_add_one(&t, 0x300, 0, "assembly");
	symtab_add_one(&t, 0x400, 0x1000, "wide");
	symtab_add_one(&t, 0x500, 0x10, "nested");
	symtab_finish(&t);
	assert_string_equal(symbol_at(&t, 0xff, 0), "none");
	assert_string_equal(symbol_at(&t, 0x100, 0), "function");
	assert_string_equal(symbol_at(&t, 0x121, 0), "function");
	assert_string_equal(symbol_at(&t, 0x17f, 0), "function");
	assert_string_equal(symbol_at(&t, 0x180, 0), "none");
	assert_string_equal(symbol_at(&t, 0x20f, 0), "short");
	assert_string_equal(symbol_at(&t, 0x210, 0), "none"); /* better none than the wrong neighbour */
	assert_string_equal(symbol_at(&t, 0x3f0, 0), "assembly");
	assert_string_equal(symbol_at(&t, 0x3f0, 0x3e0), "none"); /* its CFI says that another function begins at 0x3e0 */
	assert_string_equal(symbol_at(&t, 0x50f, 0), "nested");
	assert_string_equal(symbol_at(&t, 0x510, 0), "wide");
	assert_string_equal(symbol_at(&t, 0x13ff, 0), "wide");
	assert_string_equal(symbol_at(&t, 0x1400, 0), "none");
	assert_string_equal(symtab_find_name(&t, "nested")->name, "nested");
	assert_null(symtab_find_name(&t, "absent"));
	symtab_fini(&t);
}

static void test_empty_table_finds_nothing(void **state)
{
	(void)state;
	struct symtab t = {0};
	symtab_finish(&t);
	assert_null(symtab_find(&t, 0, 0));
	assert_null(symtab_find_name(&t, "x"));
	symtab_fini(&t);
}

/* ---- the kernel ---- */

static void with_kallsyms(const char *text, void (*check)(const struct kallsyms *k))
{
	char path[] = "/tmp/lockstep-kallsyms-XXXXXX";
	int fd = mkstemp(path);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	struct kallsyms *k = kallsyms_load(path);
	assert_non_null(k);
	check(k);
	kallsyms_free(k);
	unlink(path);
}

static void check_kernel(const struct kallsyms *k)
{
	const char *name, *module;
	assert_false(kallsyms_find(k, 0xffffffff80ffffff, &name, &module));
	assert_true(kallsyms_find(k, 0xffffffff81000010, &name, &module));
	assert_string_equal(name, "do_poll");
	assert_string_equal(module, "[kernel]");
	assert_true(kallsyms_find(k, 0xffffffffc0000005, &name, &module));
	assert_string_equal(name, "nft_do_chain");
	assert_string_equal(module, "[nf_tables]");
	assert_false(kallsyms_find(k, 0xffffffffffffff00, &name, &module));
}

static void check_nothing(const struct kallsyms *k)
{
	const char *name, *module;
	assert_false(kallsyms_find(k, 0xffffffff81000010, &name, &module));
	assert_false(kallsyms_find(k, 0, &name, &module));
}

static void test_kernel_symbols(void **state)
{
	(void)state;
	with_kallsyms("ffffffff81000100 T do_select\n"
		      "ffffffff81000000 T do_poll\n"
		      "ffffffff81000000 T do_poll_alias\n"
		      "ffffffff81000008 d some_data\n"
		      "ffffffffc0000000 t nft_do_chain\t[nf_tables]\n",
		      check_kernel);
	with_kallsyms("0000000000000000 T do_poll\n0000000000000000 T do_select\n", check_nothing); /* unprivileged */
	with_kallsyms("", check_nothing);
	with_kallsyms("garbage\n\n zz T\nffffffff81000000\nffffffff81000000 T", check_nothing);
}

/* ---- libraries in all forms ---- */

struct shown {
	size_t n;
	char function[8][256], file[8][512], module[512];
	unsigned line[8];
	enum frame_language language;
};

static void note(void *ctx, const struct source_frame *frames, size_t n)
{
	struct shown *s = ctx;
	assert_int_equal(s->n, 0); /* told once */
	assert_in_range(n, 1, 8);
	s->n = n;
	for (size_t i = 0; i < n; i++) {
		assert_non_null(frames[i].function);
		snprintf(s->function[i], sizeof s->function[i], "%s", frames[i].function);
		snprintf(s->file[i], sizeof s->file[i], "%s", frames[i].file ? frames[i].file : "");
		s->line[i] = frames[i].line;
	}
	snprintf(s->module, sizeof s->module, "%s", frames[0].module);
	s->language = frames[0].language;
}

struct library {
	char dir[64], path[128];
	void *handle;
	struct object_cache *cache;
	struct address_space *as;
	struct symbolizer *symbolizer;
	struct object *object;
};

/* Runs a shell command in the library's directory, in which lib.so is made. */
static bool run(const struct library *lib, const char *command)
{
	char text[2048];
	snprintf(text, sizeof text, "cd %s && { %s; } >/dev/null 2>&1", lib->dir, command);
	return system(text) == 0;
}

/* Builds with a command that may refer to $SRC; skips when the tools are missing. */
static struct library *library_open(const char *command)
{
	struct library *lib = calloc(1, sizeof *lib);
	struct code_location at;
	snprintf(lib->dir, sizeof lib->dir, "/tmp/lockstep-symbols-XXXXXX");
	assert_non_null(mkdtemp(lib->dir));
	setenv("SRC", SOURCE_DIR "/tests/unit/targets", 1);
	snprintf(lib->path, sizeof lib->path, "%s/lib.so", lib->dir);
	lib->handle = run(lib, command) ? dlopen(lib->path, RTLD_NOW) : NULL;
	if (!lib->handle) {
		run(lib, "rm -rf -- ./* .debug");
		rmdir(lib->dir);
		free(lib);
		print_message("cannot build: %s\n", command);
		skip();
		return NULL;
	}
	lib->cache = object_cache_new();
	lib->as = address_space_new(lib->cache, getpid());
	lib->symbolizer = symbolizer_new();
	assert_int_equal(address_space_scan(lib->as, NULL), 0);
	void *any = dlsym(lib->handle, "outer");
	any = any ? any : dlsym(lib->handle, "in_method");
	assert_true(address_space_locate(lib->as, UNWIND_NOW, (uint64_t)(uintptr_t)any, false, &at));
	lib->object = at.object;
	assert_non_null(lib->object);
	return lib;
}

static void library_close(struct library *lib)
{
	symbolizer_free(lib->symbolizer);
	address_space_free(lib->as);
	object_cache_free(lib->cache);
	dlclose(lib->handle);
	run(lib, "rm -rf -- ./* .debug");
	rmdir(lib->dir);
	free(lib);
}

static int line_told(struct library *lib, const char *variable)
{
	return *(int *)dlsym(lib->handle, variable);
}

/* Calls a function of the library that returns an address, and symbolizes that. */
static struct shown *ask(struct library *lib, const char *function)
{
	static struct shown s;
	void *(*call)(void) = (void *(*)(void))(uintptr_t)dlsym(lib->handle, function);
	struct code_location at;
	assert_non_null(call);
	assert_true(address_space_locate(lib->as, UNWIND_NOW, (uint64_t)(uintptr_t)call(), false, &at));
	assert_ptr_equal(at.object, lib->object);
	memset(&s, 0, sizeof s);
	symbolize_object(lib->symbolizer, at.object, at.vaddr, at.module, note, &s);
	assert_string_equal(s.module, lib->path);
	assert_int_equal(s.language, LANG_NATIVE);
	return &s;
}

static void assert_source(struct library *lib, struct shown *s, size_t i, const char *function, const char *line_variable)
{
	assert_string_equal(s->function[i], function);
	assert_string_equal(s->file[i], SOURCE_DIR "/tests/unit/targets/symbols_c.c");
	assert_int_equal(s->line[i], line_told(lib, line_variable));
}

static void check_lines(const char *command)
{
	struct library *lib = library_open(command);
	struct shown *s = ask(lib, "outer");
	assert_int_equal(s->n, 3);
	assert_source(lib, s, 0, "inner", "inner_line");
	assert_source(lib, s, 1, "middle", "middle_line");
	assert_source(lib, s, 2, "outer", "outer_line");
	s = ask(lib, "plain");
	assert_int_equal(s->n, 1);
	assert_source(lib, s, 0, "plain", "plain_line");
	s = ask(lib, "call_not_exported");
	assert_int_equal(s->n, 1);
	assert_source(lib, s, 0, "not_exported", "static_line");
	library_close(lib);
}

#define CC "cc -O2 -fPIC -shared -o lib.so $SRC/symbols_c.c "

static void test_lines_and_inlined_functions_dwarf5(void **state)
{
	(void)state;
	check_lines(CC "-g -gdwarf-5");
}

static void test_lines_and_inlined_functions_dwarf4(void **state)
{
	(void)state;
	check_lines(CC "-g -gdwarf-4");
}

static void test_lines_and_inlined_functions_compressed(void **state)
{
	(void)state;
	check_lines(CC "-g -gz");
}

static void test_lines_and_inlined_functions_split(void **state)
{
	(void)state;
	check_lines(CC "-g -gsplit-dwarf");
	check_lines(CC "-g -gdwarf-4 -gsplit-dwarf");
}

static void test_lines_and_inlined_functions_by_clang(void **state)
{
	(void)state;
	check_lines("clang -O2 -fPIC -shared -o lib.so $SRC/symbols_c.c -g");
}

static void test_relative_source_path_is_joined_with_its_directory(void **state)
{
	(void)state;
	struct library *lib = library_open("cp $SRC/symbols_c.c . && cc -O2 -g -fPIC -shared -o lib.so ./symbols_c.c");
	char expected[256];
	struct shown *s = ask(lib, "plain");
	snprintf(expected, sizeof expected, "%s/symbols_c.c", lib->dir);
	assert_string_equal(s->file[0], expected);
	library_close(lib);
}

static void test_debug_file_beside_by_link(void **state)
{
	(void)state;
	check_lines(CC "-g -Wl,--build-id=none && objcopy --only-keep-debug lib.so lib.debug && strip --strip-all lib.so && "
		       "objcopy --add-gnu-debuglink=lib.debug lib.so");
	check_lines(CC "-g && mkdir .debug && objcopy --only-keep-debug lib.so .debug/lib.debug && strip --strip-all lib.so && "
		       "objcopy --add-gnu-debuglink=.debug/lib.debug lib.so");
}

static void test_debug_file_of_another_build_is_not_used(void **state)
{
	(void)state;
	struct library *lib = library_open(
		CC "-g -Wl,--build-id=none && objcopy --only-keep-debug lib.so lib.debug && strip --strip-all lib.so && "
		   "objcopy --add-gnu-debuglink=lib.debug lib.so && printf x >>lib.debug");
	struct shown *s = ask(lib, "plain");
	assert_string_equal(s->function[0], "plain"); /* by .dynsym */
	assert_string_equal(s->file[0], "");
	library_close(lib);
	lib = library_open(
		CC "-g -Wl,--build-id=0x1234567890 && objcopy --only-keep-debug lib.so lib.debug && " CC
		   "-g -Wl,--build-id=0x1234567891 && strip --strip-all lib.so && objcopy --add-gnu-debuglink=lib.debug lib.so");
	assert_string_equal(ask(lib, "plain")->file[0], "");
	library_close(lib);
}

static void test_minidebuginfo_names_what_is_not_exported(void **state)
{
	(void)state;
	struct library *lib =
		library_open(CC "&& objcopy --only-keep-debug lib.so mini && xz mini && strip --strip-all lib.so && "
				"objcopy --add-section .gnu_debugdata=mini.xz lib.so");
	struct shown *s = ask(lib, "call_not_exported");
	assert_string_equal(s->function[0], "not_exported");
	library_close(lib);
}

static void test_stripped_library_shows_exports_and_places(void **state)
{
	(void)state;
	struct library *lib = library_open(CC "&& strip --strip-all lib.so");
	char first[256];
	struct shown *s = ask(lib, "plain");
	assert_int_equal(s->n, 1);
	assert_string_equal(s->function[0], "plain");
	assert_int_equal(s->line[0], 0);
	s = ask(lib, "call_not_exported"); /* no name: never the neighbour's */
	assert_int_equal(strncmp(s->function[0], "[lib.so+0x", 10), 0);
	snprintf(first, sizeof first, "%s", s->function[0]);
	/* Another address of the same function is told by the same place: where the function starts. */
	struct code_location at;
	struct shown other = {0};
	void *(*call)(void) = (void *(*)(void))(uintptr_t)dlsym(lib->handle, "call_not_exported");
	assert_true(address_space_locate(lib->as, UNWIND_NOW, (uint64_t)(uintptr_t)call() + 1, false, &at));
	symbolize_object(lib->symbolizer, at.object, at.vaddr, at.module, note, &other);
	assert_string_equal(other.function[0], first);
	library_close(lib);
}

static void test_cold_part_of_a_stripped_function_has_its_name(void **state)
{
	(void)state;
	struct library *lib = library_open(CC);
	uint64_t cold, size, again, again_size;
	if (object_find_symbol(lib->object, "with_cold_part.cold", &cold, &size) != 0) {
		library_close(lib);
		print_message("this compiler makes no cold parts\n");
		skip();
	}
	library_close(lib);
	lib = library_open(CC "&& strip --strip-all lib.so");
	struct shown s = {0};
	assert_int_equal(object_find_symbol(lib->object, "not_exported", NULL, NULL), -ENOENT);
	assert_int_equal(object_find_symbol(lib->object, "with_cold_part.cold", &again, &again_size), 0);
	assert_int_equal(again, cold);
	assert_true(again_size >= size);
	symbolize_object(lib->symbolizer, lib->object, cold + 1, lib->path, note, &s);
	assert_string_equal(s.function[0], "with_cold_part");
	library_close(lib);
}

/* The running test is no help here: it is not stripped. */
static void test_main_of_a_stripped_program_is_named(void **state)
{
	(void)state;
	static const char *const ways[] = {"-pie -fPIE", "-no-pie", "-static"};
	for (size_t i = 0; i < 3; i++) {
		char command[512];
		snprintf(command, sizeof command,
			 CC "&& echo 'int main(void) { return 0; }' >m.c && cc -O2 %s -o whole m.c && cp whole bare && strip "
			    "--strip-all bare",
			 ways[i]);
		struct library *lib = library_open(command);
		struct stat st;
		struct object *obj[2];
		uint64_t vaddr[2], start;
		for (int bare = 0; bare < 2; bare++) {
			char path[160];
			snprintf(path, sizeof path, "%s/%s", lib->dir, bare ? "bare" : "whole");
			assert_int_equal(stat(path, &st), 0);
			struct mapping_info m = {.start = 0x10000,
						 .end = 0x20000,
						 .inode = st.st_ino,
						 .path = object_cache_intern(lib->cache, path),
						 .dev_major = major(st.st_dev),
						 .dev_minor = minor(st.st_dev),
						 .executable = true};
			obj[bare] = object_cache_get(lib->cache, getpid(), &m, true);
			assert_non_null(obj[bare]);
			assert_int_equal(object_find_symbol(obj[bare], "main", &vaddr[bare], NULL), 0);
		}
		assert_int_equal(vaddr[0], vaddr[1]);
		assert_int_equal(object_find_symbol(obj[1], "_start", &start, NULL), 0);
		assert_int_equal(start, obj[1]->elf.entry);
		library_close(lib);
	}
}

static void test_plt_entries_are_named(void **state)
{
	(void)state;
	static const char *const commands[] = {CC, CC "-Wl,-z,now", CC "-Wl,-z,ibtplt -fcf-protection",
					       CC "-fno-plt -Wl,-z,lazy && false"};
	for (size_t i = 0; i < 3; i++) {
		struct library *lib = library_open(commands[i]);
		struct shown s = {0};
		uint64_t vaddr, size;
		assert_int_equal(object_find_symbol(lib->object, "puts@plt", &vaddr, &size), 0);
		assert_in_range(size, 8, 64);
		symbolize_object(lib->symbolizer, lib->object, vaddr + 5, lib->path, note, &s);
		assert_string_equal(s.function[0], "puts@plt");
		library_close(lib);
	}
}

static void test_cxx_names(void **state)
{
	(void)state;
	struct library *lib = library_open("c++ -O2 -g -fPIC -shared -o lib.so $SRC/symbols_cxx.cc");
	struct shown *s = ask(lib, "in_method");
	assert_string_equal(s->function[0], "shop::basket<int>::total");
	s = ask(lib, "in_inlined");
	assert_int_equal(s->n, 2);
	assert_string_equal(s->function[0], "shop::basket<int>::inlined");
	assert_string_equal(s->function[1], "in_inlined");
	library_close(lib);
}

static void test_symbols_by_name(void **state)
{
	(void)state;
	struct library *lib = library_open(CC);
	uint64_t vaddr, size, bias;
	assert_int_equal(object_find_symbol(lib->object, "some_data", &vaddr, &size), 0);
	assert_int_equal(size, 4);
	assert_true(address_space_bias(lib->as, UNWIND_NOW, lib->object, &bias));
	assert_int_equal(*(int *)(uintptr_t)(vaddr + bias), 1234);
	assert_int_equal(object_find_symbol(lib->object, "not_exported", &vaddr, NULL), 0); /* by .symtab */
	assert_int_equal(object_find_symbol(lib->object, "puts", &vaddr, NULL), -ENOENT);   /* undefined here */
	assert_int_equal(object_find_symbol(NULL, "puts", &vaddr, NULL), -ENOENT);
	library_close(lib);
}

static void test_symbols_outlive_file_and_process(void **state)
{
	(void)state;
	struct library *lib = library_open(CC "-g");
	run(lib, "rm lib.so");
	struct shown *s = ask(lib, "outer");
	assert_int_equal(s->n, 3);
	assert_source(lib, s, 0, "inner", "inner_line");
	library_close(lib);
}

static void test_truncated_file_gives_a_place_instead_of_a_crash(void **state)
{
	(void)state;
	struct library *lib = library_open(CC "-g && cp lib.so copy.so");
	struct shown s = {0};
	uint64_t vaddr;
	assert_int_equal(object_find_symbol(lib->object, "plain", &vaddr, NULL), 0);
	/* Not the library that runs here, but a copy that only the object cache has mapped. */
	struct stat st;
	char copy[160];
	snprintf(copy, sizeof copy, "%s/copy.so", lib->dir);
	assert_int_equal(stat(copy, &st), 0);
	address_space_map(lib->as, &(struct mapping_info){.start = 0x10000,
							  .end = 0x20000,
							  .inode = st.st_ino,
							  .path = copy,
							  .executable = true,
							  .dev_major = major(st.st_dev),
							  .dev_minor = minor(st.st_dev)});
	struct code_location at;
	assert_true(address_space_locate(lib->as, UNWIND_NOW, 0x10000, false, &at));
	if (!at.object) {
		library_close(lib);
		skip();
	}
	symbolize_object(lib->symbolizer, at.object, vaddr, copy, note, &s);
	assert_string_equal(s.function[0], "plain");
	assert_int_equal(truncate(copy, 64), 0);
	s = (struct shown){0};
	symbolize_object(lib->symbolizer, at.object, vaddr, copy, note, &s);
	assert_string_equal(s.function[0], "plain"); /* the table was read before */
	assert_string_equal(s.file[0], "");
	library_close(lib);
}

/* ---- what is always there ---- */

static void test_places_without_an_object_are_told_by_their_module(void **state)
{
	(void)state;
	struct symbolizer *sym = symbolizer_new();
	struct shown s = {0};
	symbolize_object(sym, NULL, 0x1234, "[anon]", note, &s);
	assert_string_equal(s.function[0], "[anon]");
	s = (struct shown){0};
	symbolize_object(sym, NULL, 0x1234, NULL, note, &s);
	assert_string_equal(s.function[0], "[unknown]");
	s = (struct shown){0};
	symbolize_object(sym, NULL, 0x1234, "/opt/x/libz.so", note, &s);
	assert_string_equal(s.function[0], "[libz.so]");
	s = (struct shown){0};
	symbolize_kernel(sym, 1, note, &s);
	assert_string_equal(s.function[0], "[kernel]");
	assert_int_equal(s.language, LANG_KERNEL);
	symbolizer_free(sym);
}

static void test_vdso_is_named(void **state)
{
	(void)state;
	struct object_cache *cache = object_cache_new();
	struct symbolizer *sym = symbolizer_new();
	struct address_space *as = address_space_new(cache, getpid());
	assert_int_equal(address_space_scan(as, NULL), 0);
	struct object *vdso = cache->vdsos;
	uint64_t vaddr;
	struct shown s = {0};
	assert_non_null(vdso);
	assert_int_equal(object_find_symbol(vdso, "__vdso_clock_gettime", &vaddr, NULL), 0);
	symbolize_object(sym, vdso, vaddr, "[vdso]", note, &s);
	assert_non_null(strstr(s.function[0], "clock_gettime"));
	assert_string_equal(s.module, "[vdso]");
	address_space_free(as);
	symbolizer_free(sym);
	object_cache_free(cache);
}

int main(void)
{
	unsetenv("DEBUGINFOD_URLS");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_are_shown_as_written),
		cmocka_unit_test(test_hostile_names_are_survived),
		cmocka_unit_test(test_symbol_that_covers_the_address_is_found),
		cmocka_unit_test(test_empty_table_finds_nothing),
		cmocka_unit_test(test_kernel_symbols),
		cmocka_unit_test(test_lines_and_inlined_functions_dwarf5),
		cmocka_unit_test(test_lines_and_inlined_functions_dwarf4),
		cmocka_unit_test(test_lines_and_inlined_functions_compressed),
		cmocka_unit_test(test_lines_and_inlined_functions_split),
		cmocka_unit_test(test_lines_and_inlined_functions_by_clang),
		cmocka_unit_test(test_relative_source_path_is_joined_with_its_directory),
		cmocka_unit_test(test_debug_file_beside_by_link),
		cmocka_unit_test(test_debug_file_of_another_build_is_not_used),
		cmocka_unit_test(test_minidebuginfo_names_what_is_not_exported),
		cmocka_unit_test(test_stripped_library_shows_exports_and_places),
		cmocka_unit_test(test_cold_part_of_a_stripped_function_has_its_name),
		cmocka_unit_test(test_main_of_a_stripped_program_is_named),
		cmocka_unit_test(test_plt_entries_are_named),
		cmocka_unit_test(test_cxx_names),
		cmocka_unit_test(test_symbols_by_name),
		cmocka_unit_test(test_symbols_outlive_file_and_process),
		cmocka_unit_test(test_truncated_file_gives_a_place_instead_of_a_crash),
		cmocka_unit_test(test_places_without_an_object_are_told_by_their_module),
		cmocka_unit_test(test_vdso_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
