/* SPDX-License-Identifier: Apache-2.0
 *
 * Damaged symbol tables, PLTs, notes, .gnu_debugdata and DWARF: targets may bring any file, and we name its functions. Each
 * damaged file is symbolized in a child, so that the fault of a library (libdw, libelf, the demangler) is told with the
 * seed that shows it.
 *
 * LOCKSTEP_FUZZ_ROUNDS and LOCKSTEP_FUZZ_SEED make it a longer or another run.
 */
#include "sampler/symbols/symbols.h"
#include "sampler/unwind/object.h"
#include "sampler/unwind/row_cache.h"

#include <elf.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t seed;

static uint64_t random_u64(void) /* xorshift64* */
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 0x2545f4914f6cdd1dull;
}

static size_t rounds(size_t usual)
{
	const char *text = getenv("LOCKSTEP_FUZZ_ROUNDS");
	return text ? (size_t)strtoull(text, NULL, 10) : usual;
}

struct file {
	uint8_t *data;
	size_t size;
};

static bool load(struct file *f, const char *command)
{
	char dir[] = "/tmp/lockstep-symbols-XXXXXX", text[1024], path[64];
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/lib.so", dir);
	snprintf(text, sizeof text, "cd %s && %s %s/tests/unit/targets/symbols_c.c >/dev/null 2>&1", dir, command, SOURCE_DIR);
	bool built = system(text) == 0;
	int fd = open(path, O_RDONLY);
	if (built && fd >= 0) {
		f->size = (size_t)lseek(fd, 0, SEEK_END);
		f->data = malloc(f->size);
		built = pread(fd, f->data, f->size, 0) == (ssize_t)f->size;
	}
	close(fd);
	unlink(path);
	rmdir(dir);
	return built;
}

static void ignore(void *ctx, const struct source_frame *frames, size_t n)
{
	size_t *total = ctx;
	for (size_t i = 0; i < n; i++)
		*total += strlen(frames[i].function) + (frames[i].file ? strlen(frames[i].file) : 0);
}

/* As a mapped file: libelf edits it, so a private copy. */
static void symbolize_all(const struct file *f)
{
	struct object obj = {.path = "/fuzz/lib.so", .size = f->size};
	struct symbolizer *s = symbolizer_new();
	size_t total = 0;
	void *copy = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(copy, f->data, f->size);
	obj.data = copy;
	if (elf_image_init(&obj.elf, copy, f->size, true) == 0) {
		obj.is_elf = true;
		obj.build_id_len = elf_image_build_id(&obj.elf, obj.build_id);
		for (uint64_t vaddr = 0x1000; vaddr < 0x1300; vaddr += 7)
			symbolize_object(s, &obj, vaddr, NULL, ignore, &total);
		symbolize_object(s, &obj, random_u64(), NULL, ignore, &total);
		object_find_symbol(&obj, "plain", NULL, NULL);
		if (obj.symbols_free)
			obj.symbols_free(obj.symbols);
		cfi_free(obj.cfi);
		row_cache_free(obj.rows);
		elf_image_fini(&obj.elf);
	}
	munmap(copy, f->size);
	symbolizer_free(s);
}

/* One child runs many; on a fault the seed of that file is in *progress. */
static void fuzz(const struct file *f, size_t from, size_t len, size_t usual, size_t changes)
{
	uint64_t *progress = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const char *text = getenv("LOCKSTEP_FUZZ_SEED");
	uint64_t first = text ? strtoull(text, NULL, 0) : 1;
	size_t n = rounds(usual);
	pid_t pid = fork();
	if (pid == 0) {
		struct file damaged = {malloc(f->size), f->size};
		for (size_t i = 0; i < n; i++) {
			*progress = first + i;
			seed = (first + i) * 0x9e3779b97f4a7c15ull | 1;
			alarm(20);
			memcpy(damaged.data, f->data, f->size);
			for (size_t k = 0; k < changes; k++)
				damaged.data[from + random_u64() % len] = (uint8_t)(random_u64() >> 20);
			symbolize_all(&damaged);
		}
		free(damaged.data);
		exit(0); /* runs the leak check of build type Sanitize */
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		print_error("seed %llu: status 0x%x\n", (unsigned long long)*progress, status);
	munmap(progress, 4096);
	assert_int_equal(status, 0);
}

static void fuzz_section(const char *command, const char *section, size_t usual, size_t changes)
{
	struct file f = {0};
	struct elf_image img;
	if (!load(&f, command)) {
		free(f.data);
		print_message("cannot build: %s\n", command);
		skip();
	}
	assert_int_equal(elf_image_init(&img, f.data, f.size, false), 0);
	const struct elf_section *sec = elf_image_section(&img, section);
	assert_non_null(sec);
	fuzz(&f, sec->offset, sec->size, usual, changes);
	elf_image_fini(&img);
	free(f.data);
}

#define CC "cc -O2 -fPIC -shared -o lib.so "

static void test_symbol_tables(void **state)
{
	(void)state;
	static const char *const sections[] = {".symtab", ".strtab", ".dynsym", ".rela.plt", ".plt", ".note.gnu.build-id"};
	for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
		fuzz_section(CC, sections[i], 100, 12);
}

static void test_section_headers(void **state)
{
	(void)state;
	struct file f = {0};
	Elf64_Ehdr eh;
	if (!load(&f, CC "-g"))
		skip();
	memcpy(&eh, f.data, sizeof eh);
	fuzz(&f, eh.e_shoff, (size_t)eh.e_shnum * sizeof(Elf64_Shdr), 400, 4);
	fuzz(&f, 4, sizeof eh - 4, 200, 2);
	free(f.data);
}

static void test_dwarf(void **state)
{
	(void)state;
	static const char *const sections[] = {".debug_info", ".debug_abbrev", ".debug_line", ".debug_str", ".debug_line_str"};
	for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
		fuzz_section(CC "-g -gdwarf-5", sections[i], 200, 3);
		if (i < 4)
			fuzz_section(CC "-g -gdwarf-4", sections[i], 100, 8);
	}
}

static void test_compressed_dwarf(void **state)
{
	(void)state;
	fuzz_section(CC "-g -gz", ".debug_info", 100, 3);
	fuzz_section(CC "-g -gz", ".debug_line", 100, 3);
}

int main(void)
{
	unsetenv("DEBUGINFOD_URLS");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_symbol_tables),
		cmocka_unit_test(test_section_headers),
		cmocka_unit_test(test_dwarf),
		cmocka_unit_test(test_compressed_dwarf),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
