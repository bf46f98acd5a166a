/* SPDX-License-Identifier: Apache-2.0
 *
 * In: an object. Out: a descriptor of its separate debug file. Paths are tried in the target's root first (containers),
 * while it lives.
 */
#include "sampler/symbols/debug_file.h"

#include <fcntl.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEBUG_ROOT "/usr/lib/debug"
#define MINI_LIMIT (256u << 20) /* unpacked; real ones have a few MB */

/* ---- is it the right one? ---- */

static uint32_t crc32_of(const uint8_t *p, size_t len)
{
	return lzma_crc32(p, len, 0); /* the same polynomial as .gnu_debuglink's */
}

/* build-ids decide when both have one, else the link's checksum (has_crc). */
static bool belongs(int fd, const struct object *obj, bool has_crc, uint32_t crc)
{
	struct stat st;
	struct elf_image img;
	uint8_t id[ELF_BUILD_ID_MAX];
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0)
		return false;
	void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return false;
	bool right = false;
	if (elf_image_init(&img, data, (size_t)st.st_size, true) == 0) {
		size_t len = elf_image_build_id(&img, id);
		if (len && obj->build_id_len)
			right = len == obj->build_id_len && memcmp(id, obj->build_id, len) == 0;
		else
			right = has_crc && crc32_of(data, (size_t)st.st_size) == crc;
		elf_image_fini(&img);
	}
	munmap(data, (size_t)st.st_size);
	return right;
}

static int try_path(const struct object *obj, const char *path, bool has_crc, uint32_t crc)
{
	char in_root[4300];
	for (int host = 0; host < 2; host++) {
		snprintf(in_root, sizeof in_root, "/proc/%d/root%s", (int)obj->opener, path);
		int fd = open(host ? path : in_root, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			continue;
		if (belongs(fd, obj, has_crc, crc))
			return fd;
		close(fd);
	}
	return -1;
}

static int by_build_id(const struct object *obj)
{
	char path[64 + 2 * ELF_BUILD_ID_MAX];
	if (obj->build_id_len < 2)
		return -1;
	size_t n = (size_t)snprintf(path, sizeof path, DEBUG_ROOT "/.build-id/%02x/", obj->build_id[0]);
	for (size_t i = 1; i < obj->build_id_len; i++)
		n += (size_t)snprintf(path + n, sizeof path - n, "%02x", obj->build_id[i]);
	snprintf(path + n, sizeof path - n, ".debug");
	return try_path(obj, path, false, 0);
}

static int by_link(struct object *obj)
{
	static const char *const forms[] = {"%s/%s", "%s/.debug/%s", DEBUG_ROOT "%s/%s"};
	const struct elf_section *sec = elf_image_section(&obj->elf, ".gnu_debuglink");
	char name[4096 + 8], dir[4096], path[9000];
	uint32_t crc;
	if (!sec || sec->size < 8 || sec->size > 4096 || !elf_image_copy(&obj->elf, sec->offset, name, sec->size))
		return -1;
	memcpy(&crc, name + sec->size - 4, 4);
	name[sec->size - 4] = 0;
	const char *slash = strrchr(obj->path, '/');
	if (!slash || strchr(name, '/') || !name[0])
		return -1;
	snprintf(dir, sizeof dir, "%.*s", (int)(slash - obj->path), obj->path);
	int fd = -1;
	for (size_t i = 0; fd < 0 && i < sizeof forms / sizeof *forms; i++) {
		snprintf(path, sizeof path, forms[i], dir, name);
		fd = try_path(obj, path, true, crc);
	}
	return fd;
}

int debug_file_open(struct object *obj)
{
	int fd = by_build_id(obj);
	return fd >= 0 ? fd : by_link(obj);
}

/* ---- .gnu_debugdata ---- */

static uint8_t *unpack(const uint8_t *in, size_t in_size, size_t *out_size)
{
	lzma_stream lz = LZMA_STREAM_INIT;
	uint8_t *out = NULL;
	size_t cap = 0;
	lzma_ret ret = lzma_stream_decoder(&lz, 128u << 20, 0);
	lz.next_in = in;
	lz.avail_in = in_size;
	while (ret == LZMA_OK) {
		if (lz.avail_out == 0) {
			size_t grown_cap = cap ? cap * 2 : 1u << 20;
			uint8_t *grown = grown_cap <= MINI_LIMIT ? realloc(out, grown_cap) : NULL;
			if (!grown)
				break;
			out = grown;
			lz.next_out = out + cap;
			lz.avail_out = grown_cap - cap;
			cap = grown_cap;
		}
		ret = lzma_code(&lz, LZMA_FINISH);
	}
	*out_size = lz.total_out;
	lzma_end(&lz);
	if (ret == LZMA_STREAM_END)
		return out;
	free(out);
	return NULL;
}

uint8_t *debug_file_mini(struct object *obj, size_t *size)
{
	const struct elf_section *sec = elf_image_section(&obj->elf, ".gnu_debugdata");
	if (!sec || sec->size > MINI_LIMIT)
		return NULL;
	uint8_t *packed = elf_image_dup(&obj->elf, sec->offset, sec->size);
	uint8_t *out = packed ? unpack(packed, sec->size, size) : NULL;
	free(packed);
	return out;
}
