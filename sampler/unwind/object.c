/* SPDX-License-Identifier: Apache-2.0
 *
 * In: mappings of processes. Out: one struct object per file, opened while the process lives.
 *
 * Which file is it? /proc/PID/maps gives (device, inode); the file found by path must have that inode. The device is
 * compared first but may honestly differ: on overlayfs maps tells the lower file's device (before Linux 6.8) and stat the
 * overlay's, on btrfs maps tells the superblock's device and stat the subvolume's. So an equal inode under the very path
 * that the target itself used is accepted: another file at that path would have to have got the same inode number on
 * another device.
 */
#include "sampler/unwind/object.h"
#include "sampler/unwind/row_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- interned strings ---- */

struct interned_entry {
	struct interned_entry *next;
	uint32_t hash;
	char text[];
};
struct interned {
	struct interned_entry **buckets;
	size_t n_buckets, n;
};

static uint32_t hash_text(const char *s)
{
	uint32_t h = 2166136261u; /* FNV-1a */
	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 16777619u;
	return h;
}

static void grow_interned(struct interned *t)
{
	size_t n = t->n_buckets * 2;
	struct interned_entry **buckets = calloc(n, sizeof(struct interned_entry *));
	if (!buckets)
		return;
	for (size_t i = 0; i < t->n_buckets; i++)
		for (struct interned_entry *e = t->buckets[i], *next; e; e = next) {
			next = e->next;
			e->next = buckets[e->hash & (n - 1)];
			buckets[e->hash & (n - 1)] = e;
		}
	free(t->buckets);
	t->buckets = buckets;
	t->n_buckets = n;
}

const char *object_cache_intern(struct object_cache *c, const char *s)
{
	struct interned *t = c->strings;
	uint32_t h = hash_text(s);
	for (struct interned_entry *e = t->buckets[h & (t->n_buckets - 1)]; e; e = e->next)
		if (e->hash == h && strcmp(e->text, s) == 0)
			return e->text;
	size_t len = strlen(s) + 1;
	struct interned_entry *e = malloc(sizeof *e + len);
	if (!e)
		return NULL;
	memcpy(e->text, s, len);
	e->hash = h;
	if (++t->n > t->n_buckets)
		grow_interned(t);
	e->next = t->buckets[h & (t->n_buckets - 1)];
	t->buckets[h & (t->n_buckets - 1)] = e;
	return e->text;
}

static struct interned *interned_new(void)
{
	struct interned *t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	t->n_buckets = 256;
	t->buckets = calloc(t->n_buckets, sizeof(struct interned_entry *));
	if (!t->buckets) {
		free(t);
		return NULL;
	}
	return t;
}

static void interned_free(struct interned *t)
{
	for (size_t i = 0; t && i < t->n_buckets; i++)
		for (struct interned_entry *e = t->buckets[i], *next; e; e = next) {
			next = e->next;
			free(e);
		}
	if (t)
		free(t->buckets);
	free(t);
}

/* ---- objects ---- */

static void object_free(struct object *o)
{
	if (!o)
		return;
	if (o->symbols_free)
		o->symbols_free(o->symbols);
	cfi_free(o->cfi);
	row_cache_free(o->rows);
	elf_image_fini(&o->elf);
	free(o->aliases);
	if (o->is_copy)
		free(o->data);
	else if (o->data)
		munmap(o->data, o->size);
	free(o);
}

static void free_chain(struct object *o)
{
	for (struct object *next; o; o = next) {
		next = o->next;
		object_free(o);
	}
}

struct object_cache *object_cache_new(void)
{
	struct object_cache *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->n_buckets = 1024;
	c->buckets = calloc(c->n_buckets, sizeof(struct object *));
	c->strings = interned_new();
	c->front = calloc(1u << FRONT_BITS, sizeof *c->front);
	if (!c->buckets || !c->strings || !c->front) {
		object_cache_free(c);
		return NULL;
	}
	return c;
}

void object_cache_free(struct object_cache *c)
{
	if (!c)
		return;
	for (size_t i = 0; c->buckets && i < c->n_buckets; i++)
		free_chain(c->buckets[i]);
	free_chain(c->vdsos);
	free(c->buckets);
	walk_libunwind_free(c);
	interned_free(c->strings);
	free(c->front);
	free(c->scratch);
	free(c);
}

static void forget_rows(struct object *o)
{
	for (; o; o = o->next) {
		row_cache_free(o->rows);
		o->rows = NULL;
	}
}

void object_cache_forget_rows(struct object_cache *c)
{
	c->set_epoch++; /* all sets take new ids, which no front entry has */
	for (size_t i = 0; i < c->n_buckets; i++)
		forget_rows(c->buckets[i]);
	forget_rows(c->vdsos);
}

static void object_parse(struct object *o, bool mapped)
{
	if (elf_image_init(&o->elf, o->data, o->size, mapped) != 0)
		return;
	o->is_elf = true;
	o->build_id_len = elf_image_build_id(&o->elf, o->build_id);
}

static bool same_key(const struct object *o, const struct mapping_info *m)
{
	return o->inode == m->inode && o->dev_major == m->dev_major && o->dev_minor == m->dev_minor;
}

/* ---- opening ---- */

static bool is_the_file(int fd, const struct mapping_info *m, bool trusted_path, struct stat *st)
{
	if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode) || st->st_ino != m->inode)
		return false;
	return trusted_path || (major(st->st_dev) == m->dev_major && minor(st->st_dev) == m->dev_minor);
}

static int try_open(const char *path, const struct mapping_info *m, bool trusted_path, struct stat *st)
{
	/* O_NONBLOCK: the path may have become a FIFO. O_NOCTTY: or a terminal. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -1;
	if (is_the_file(fd, m, trusted_path, st))
		return fd;
	close(fd);
	return -1;
}

static bool is_deleted(const char *path)
{
	size_t n = strlen(path);
	return n > 10 && strcmp(path + n - 10, " (deleted)") == 0;
}

/* The paths in the order of trust; a link of map_files is the very file, but needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE. */
static int open_mapping(pid_t pid, const struct mapping_info *m, struct stat *st)
{
	char path[4200];
	int fd = -1;
	bool gone = is_deleted(m->path);
	if (!gone) {
		snprintf(path, sizeof path, "/proc/%d/root%s", (int)pid, m->path);
		fd = try_open(path, m, true, st);
	}
	if (fd < 0) {
		snprintf(path, sizeof path, "/proc/%d/map_files/%llx-%llx", (int)pid, (unsigned long long)m->start,
			 (unsigned long long)m->end);
		fd = try_open(path, m, true, st);
	}
	if (fd < 0 && gone) { /* the deleted executable itself needs no capability */
		snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
		fd = try_open(path, m, true, st);
	}
	if (fd < 0 && !gone)
		fd = try_open(m->path, m, false, st);
	return fd;
}

static struct object *object_add(struct object_cache *c, pid_t pid, const struct mapping_info *m, const struct stat *st,
				 void *data, size_t size, bool is_copy)
{
	struct object *o = calloc(1, sizeof *o);
	if (!o)
		return NULL;
	*o = (struct object){.inode = m->inode,
			     .dev_major = m->dev_major,
			     .dev_minor = m->dev_minor,
			     .st_dev = st->st_dev,
			     .st_ino = st->st_ino,
			     .path = m->path,
			     .opener = pid,
			     .data = data,
			     .size = size,
			     .is_copy = is_copy};
	object_parse(o, !is_copy);
	struct object **bucket = &c->buckets[m->inode & (c->n_buckets - 1)];
	o->next = *bucket;
	*bucket = o;
	c->n_objects++;
	return o;
}

static struct object *object_open(struct object_cache *c, pid_t pid, int fd, const struct mapping_info *m, const struct stat *st)
{
	size_t size = (size_t)st->st_size;
	void *data = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
	if (data == MAP_FAILED)
		return NULL;
	struct object *o = object_add(c, pid, m, st, data, size, false);
	if (!o)
		munmap(data, size);
	return o;
}

static struct object *object_from_memory(struct object_cache *c, pid_t pid, const struct mapping_info *m)
{
	size_t size;
	struct stat unknown = {0};
	uint8_t *data = object_memory_image(pid, m, &size);
	struct object *o = data ? object_add(c, pid, m, &unknown, data, size, true) : NULL;
	if (!o)
		free(data);
	return o;
}

/* Interned, so pointers tell. */
static bool has_path(const struct object *o, const char *path)
{
	for (size_t i = 0; i < o->n_aliases; i++)
		if (o->aliases[i] == path)
			return true;
	return o->path == path;
}

static void add_alias(struct object *o, const char *path)
{
	const char **grown = realloc(o->aliases, (o->n_aliases + 1) * sizeof *grown);
	if (!grown)
		return;
	o->aliases = grown;
	o->aliases[o->n_aliases++] = path;
}

static struct object *known_object(struct object_cache *c, const struct mapping_info *m)
{
	for (struct object *o = c->buckets[m->inode & (c->n_buckets - 1)]; o; o = o->next)
		if (same_key(o, m) && has_path(o, m->path))
			return o;
	return NULL;
}

/* Same pair under another path: a hard link or another mount namespace (the same file), or another btrfs subvolume (not). */
static struct object *identical_object(struct object_cache *c, const struct mapping_info *m, const struct stat *st)
{
	for (struct object *o = c->buckets[m->inode & (c->n_buckets - 1)]; o; o = o->next)
		if (same_key(o, m) && o->st_dev == st->st_dev && o->st_ino == st->st_ino)
			return o;
	return NULL;
}

struct object *object_cache_get(struct object_cache *c, pid_t pid, const struct mapping_info *m, bool open_new)
{
	struct stat st;
	struct object *o = known_object(c, m);
	if (o || !open_new || m->inode == 0 || m->path[0] != '/')
		return o;
	int fd = open_mapping(pid, m, &st);
	if (fd < 0)
		return object_from_memory(c, pid, m);
	o = identical_object(c, m, &st);
	if (o)
		add_alias(o, m->path);
	else
		o = object_open(c, pid, fd, m, &st);
	close(fd);
	return o;
}

/* ---- the vdso ---- */

#define MAX_VDSO (1u << 20)

static uint8_t *read_vdso(pid_t pid, uint64_t start, size_t len)
{
	uint8_t *data = malloc(len);
	struct iovec to = {data, len}, from = {(void *)(uintptr_t)start, len};
	if (!data)
		return NULL;
	if (process_vm_readv(pid, &to, 1, &from, 1, 0) == (ssize_t)len)
		return data;
	from.iov_base = (void *)getauxval(AT_SYSINFO_EHDR);
	if (from.iov_base && process_vm_readv(getpid(), &to, 1, &from, 1, 0) == (ssize_t)len)
		return data;
	free(data);
	return NULL;
}

struct object *object_cache_vdso(struct object_cache *c, pid_t pid, uint64_t start, uint64_t end)
{
	if (end <= start || end - start > MAX_VDSO)
		return NULL;
	size_t len = end - start;
	uint8_t *data = read_vdso(pid, start, len);
	if (!data)
		return NULL;
	for (struct object *o = c->vdsos; o; o = o->next)
		if (o->size == len && memcmp(o->data, data, len) == 0) {
			free(data);
			return o;
		}
	struct object *o = calloc(1, sizeof *o);
	if (!o) {
		free(data);
		return NULL;
	}
	o->path = "[vdso]";
	o->is_copy = true;
	o->data = data;
	o->size = len;
	object_parse(o, false);
	o->next = c->vdsos;
	c->vdsos = o;
	return o;
}

/* ---- accessors ---- */

const char *object_path(const struct object *obj)
{
	return obj->path;
}

size_t object_build_id(const struct object *obj, const uint8_t **id)
{
	if (id)
		*id = obj->build_id;
	return obj->build_id_len;
}

bool object_section(const struct object *obj, const char *name, uint64_t *vaddr, uint64_t *file_offset, uint64_t *size)
{
	/* Sections are read on first use; that is invisible outside. */
	const struct elf_section *s = elf_image_section((struct elf_image *)&obj->elf, name);
	if (!s)
		return false;
	if (vaddr)
		*vaddr = s->vaddr;
	if (file_offset)
		*file_offset = s->offset;
	if (size)
		*size = s->size;
	return true;
}

bool object_read(const struct object *obj, uint64_t vaddr, void *buf, size_t len)
{
	return elf_image_read(&obj->elf, vaddr, buf, len);
}
