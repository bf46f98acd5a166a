/* SPDX-License-Identifier: Apache-2.0
 *
 * Damaged and hostile files: bytes of real ELF headers, .eh_frame_hdr and .eh_frame are changed (seeded, so every run is
 * the same) and all that reads them is called. Nothing may crash, read out of bounds (build type Sanitize) or run for long;
 * the walk ends within its frames.
 *
 * LOCKSTEP_FUZZ_ROUNDS and LOCKSTEP_FUZZ_SEED make it a longer or another run.
 */
#include "sampler/unwind/address_space.h"
#include "sampler/unwind/arch.h"
#include "sampler/unwind/row_cache.h"

#include <elf.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <cmocka.h>

#define BASE 0x10000000ull
#define STACK 4096

static uint64_t seed;

static uint64_t random_u64(void) /* xorshift64* */
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 0x2545f4914f6cdd1dull;
}

static size_t below(size_t n)
{
	return n ? (size_t)(random_u64() % n) : 0;
}

static size_t rounds(size_t usual)
{
	const char *text = getenv("LOCKSTEP_FUZZ_ROUNDS");
	return text ? (size_t)strtoull(text, NULL, 10) : usual;
}

/* ---- a file in memory that is damaged and repaired ---- */

struct subject {
	uint8_t *data;
	size_t size;
	struct {
		size_t at;
		uint8_t was;
	} undo[64];
	size_t n_undo;
	struct elf_section hdr, frame, text; /* of the undamaged file */
};

static void find_sections(struct subject *s)
{
	struct elf_image img;
	assert_int_equal(elf_image_init(&img, s->data, s->size, false), 0);
	const struct elf_section *hdr = elf_image_section(&img, ".eh_frame_hdr"), *frame = elf_image_section(&img, ".eh_frame"),
				 *text = elf_image_section(&img, ".text");
	assert_true(hdr && frame && text);
	s->hdr = *hdr;
	s->frame = *frame;
	s->text = *text;
	elf_image_fini(&img);
}

static void load(struct subject *s, const char *path)
{
	off_t size;
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	size = lseek(fd, 0, SEEK_END);
	*s = (struct subject){.data = malloc((size_t)size), .size = (size_t)size};
	assert_int_equal(pread(fd, s->data, s->size, 0), size);
	close(fd);
	find_sections(s);
}

static void damage(struct subject *s, size_t from, size_t len)
{
	static const uint8_t interesting[] = {0, 1, 0x7f, 0x80, 0xff, 0x0f, 0x10, 0x0a, 0x0b, 0x16, 0x40, 0xc0};
	size_t n = 1 + below(8);
	for (size_t i = 0; i < n && s->n_undo < 64; i++) {
		size_t at = from + below(len);
		if (at >= s->size)
			continue;
		s->undo[s->n_undo].at = at;
		s->undo[s->n_undo++].was = s->data[at];
		uint64_t r = random_u64();
		s->data[at] = r & 1   ? (uint8_t)(r >> 8)
			      : r & 2 ? interesting[(r >> 8) % sizeof interesting]
				      : s->data[at] ^ (uint8_t)(1u << (r >> 8 & 7));
	}
}

static void repair(struct subject *s)
{
	while (s->n_undo > 0) {
		s->n_undo--;
		s->data[s->undo[s->n_undo].at] = s->undo[s->n_undo].was;
	}
}

/* ---- everything that reads it ---- */

static uint64_t code_address(const struct subject *s)
{
	uint64_t r = random_u64();
	return r & 7 ? s->text.vaddr + r % s->text.size : random_u64() >> (r >> 3 & 63);
}

static void walk(struct object *obj, const struct subject *s, struct object_cache *cache)
{
	uint64_t stack[STACK / 8], pcs[64], sps[64];
	struct address_space *as = address_space_new(cache, 0);
	struct mapping m = {.start = BASE,
			    .end = BASE + (1ull << 32),
			    .until_ns = UINT64_MAX,
			    .bias = BASE,
			    .path = "/fuzz",
			    .object = obj,
			    .executable = true};
	mapping_list_push(&as->set->now, &m);
	for (size_t i = 0; i < STACK / 8; i++)
		stack[i] = random_u64() & 3 ? BASE + code_address(s) : 0x7fff0000 + below(STACK);
	struct unwind_memory mem = {(const uint8_t *)stack, 0x7fff0000, STACK, 0};
	struct unwind_regs regs = {.valid = (1ull << ARCH_REGS) - 1};
	for (size_t i = 0; i < ARCH_REGS; i++)
		regs.r[i] = 0x7fff0000 + below(STACK);
	regs.r[ARCH_SP] = 0x7fff0000;
	regs.r[ARCH_PC] = BASE + code_address(s);
	enum unwind_end end = (enum unwind_end)77;
	size_t n = unwind_stack(as, UNWIND_NOW, &regs, &mem, pcs, sps, 64, &end);
	assert_in_range(n, 1, 64);
	assert_in_range(end, UNWIND_DONE, UNWIND_BAD_MEMORY);
	address_space_free(as);
}

static void read_all(struct subject *s, struct object_cache *cache)
{
	struct object obj = {.path = "/fuzz", .data = s->data, .size = s->size};
	uint8_t id[ELF_BUILD_ID_MAX], bytes[64];
	uint64_t start, end;
	if (elf_image_init(&obj.elf, s->data, s->size, false) != 0)
		return;
	obj.is_elf = true;
	assert_true(elf_image_build_id(&obj.elf, id) <= sizeof id);
	object_read(&obj, random_u64() >> below(64), bytes, sizeof bytes);
	elf_image_vaddr(&obj.elf, random_u64() >> below(64), true, &start);
	for (size_t i = 0; i < 24; i++) {
		uint64_t vaddr = code_address(s);
		struct unwind_row row = object_row(&obj, vaddr);
		assert_in_range(row.kind, ROW_FAST, ROW_NO_CFI);
		object_full_row(&obj, vaddr);
		if (object_function_bounds(&obj, vaddr, &start, &end))
			assert_true(vaddr >= start && vaddr < end);
	}
	walk(&obj, s, cache);
	cfi_free(obj.cfi);
	row_cache_free(obj.rows);
	elf_image_fini(&obj.elf);
}

static void fuzz(const char *path, void (*where)(struct subject *s), size_t usual)
{
	struct subject s;
	struct object_cache *cache = object_cache_new();
	const char *text = getenv("LOCKSTEP_FUZZ_SEED");
	seed = text ? strtoull(text, NULL, 0) | 1 : 0x9e3779b97f4a7c15ull;
	load(&s, path);
	read_all(&s, cache); /* undamaged */
	for (size_t i = rounds(usual); i > 0; i--) {
		where(&s);
		read_all(&s, cache);
		repair(&s);
	}
	object_cache_free(cache);
	free(s.data);
}

/* ---- where ---- */

static void damage_elf_header(struct subject *s)
{
	damage(s, 4, sizeof(Elf64_Ehdr) - 4);
}

static void damage_program_headers(struct subject *s)
{
	Elf64_Ehdr eh;
	memcpy(&eh, s->data, sizeof eh);
	damage(s, eh.e_phoff, (size_t)eh.e_phnum * eh.e_phentsize);
}

static void damage_section_headers(struct subject *s)
{
	Elf64_Ehdr eh;
	memcpy(&eh, s->data, sizeof eh);
	damage(s, eh.e_shoff, (size_t)eh.e_shnum * eh.e_shentsize);
}

static void damage_frame_header(struct subject *s)
{
	damage(s, s->hdr.offset, random_u64() & 1 ? 12 : s->hdr.size);
}

static void damage_frames(struct subject *s)
{
	/* Near one place: a FDE that is damaged twice is odder than two that are damaged once. */
	size_t at = below(s->frame.size);
	damage(s, s->frame.offset + (random_u64() & 1 ? 0 : at), 64);
	damage(s, s->frame.offset + at, 24);
}

static void damage_all_cies(struct subject *s)
{
	damage(s, s->frame.offset, 24); /* the first CIE, which most FDEs share */
}

/* No table: everything goes through our own index. */
static void damage_without_table(struct subject *s)
{
	s->undo[s->n_undo].at = s->hdr.offset + 3;
	s->undo[s->n_undo++].was = s->data[s->hdr.offset + 3];
	s->data[s->hdr.offset + 3] = 0x1b;
	damage_frames(s);
}

static const char *const files[] = {"/proc/self/exe", "/lib/x86_64-linux-gnu/libc.so.6", "/bin/true",
				    "/usr/lib/x86_64-linux-gnu/libstdc++.so.6"};

static void fuzz_files(void (*where)(struct subject *s), size_t usual)
{
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		if (access(files[i], R_OK) == 0)
			fuzz(files[i], where, usual);
}

static void test_elf_headers(void **state)
{
	(void)state;
	fuzz_files(damage_elf_header, 300);
	fuzz_files(damage_program_headers, 500);
	fuzz_files(damage_section_headers, 300);
}

static void test_eh_frame_hdr(void **state)
{
	(void)state;
	fuzz_files(damage_frame_header, 800);
}

static void test_eh_frame(void **state)
{
	(void)state;
	fuzz_files(damage_frames, 800);
	fuzz_files(damage_all_cies, 300);
}

static void test_eh_frame_without_table(void **state)
{
	(void)state;
	fuzz_files(damage_without_table, 60);
}

static void test_truncated_files(void **state)
{
	(void)state;
	struct subject s;
	struct object_cache *cache = object_cache_new();
	seed = 99;
	load(&s, "/bin/true");
	size_t whole = s.size;
	for (size_t size = 0; size < whole; size += 1 + below(200)) {
		uint8_t *cut = malloc(size ? size : 1); /* exact: reads beyond it are caught */
		memcpy(cut, s.data, size);
		struct subject part = s;
		part.data = cut;
		part.size = size;
		read_all(&part, cache);
		free(cut);
	}
	object_cache_free(cache);
	free(s.data);
}

/* The smallest program that once could have looped: a table that points each address at itself, an FDE whose CIE is itself,
 * lengths that wrap. */
static void test_crafted_sections(void **state)
{
	(void)state;
	static const uint8_t cases[][32] = {
		{4, 0, 0, 0, 4, 0, 0, 0},						  /* CIE pointer at itself */
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, /* 64-bit length beyond all */
		{0xff, 0xff, 0xff, 0xff, 4, 0, 0, 0, 0, 0, 0, 0},			  /* 64-bit form, nothing in it */
		{20, 0, 0, 0, 0,    0,	  0,	0,    1,    'z', 'P', 'R',
		 0,  1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0,	 0,   0}, /* augmentation longer than all */
		{24,   0,    0,	   0,	 0,    0,    0,	   0,	 1,    0,    0x80, 0x80, 0x80, 0x80,
		 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80},
		{12, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 20, 0, 0, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		Elf64_Ehdr eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB},
				 .e_machine = ARCH_MACHINE,
				 .e_phoff = sizeof eh,
				 .e_phentsize = sizeof(Elf64_Phdr),
				 .e_phnum = 2};
		uint64_t at = sizeof eh + 2 * sizeof(Elf64_Phdr) + 12;
		Elf64_Phdr ph[2] = {{.p_type = PT_LOAD, .p_filesz = at + 32, .p_memsz = at + 32, .p_flags = PF_X},
				    {.p_type = PT_GNU_EH_FRAME, .p_vaddr = at - 12, .p_memsz = 12, .p_filesz = 12}};
		int32_t frame = 8;
		uint8_t file[sizeof eh + sizeof ph + 12 + 32] = {0}, hdr[12] = {1, 0x1b, 0x03, 0x3b};
		memcpy(hdr + 4, &frame, 4);
		memcpy(file, &eh, sizeof eh);
		memcpy(file + sizeof eh, ph, sizeof ph);
		memcpy(file + sizeof eh + sizeof ph, hdr, sizeof hdr);
		memcpy(file + at, cases[i], 32);
		struct elf_image img;
		struct cfi_row row;
		assert_int_equal(elf_image_init(&img, file, sizeof file, false), 0);
		struct cfi *cfi = cfi_new(&img);
		assert_non_null(cfi);
		for (uint64_t vaddr = 0; vaddr < 512; vaddr++)
			cfi_find(cfi, vaddr, &row);
		cfi_free(cfi);
		elf_image_fini(&img);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_elf_headers),	cmocka_unit_test(test_eh_frame_hdr),
		cmocka_unit_test(test_eh_frame),	cmocka_unit_test(test_eh_frame_without_table),
		cmocka_unit_test(test_truncated_files), cmocka_unit_test(test_crafted_sections),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
