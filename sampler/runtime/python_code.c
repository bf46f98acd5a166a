/* SPDX-License-Identifier: Apache-2.0
 *
 * Code objects to names and lines. In: (code object, instruction) pairs; out: the backend's ids of source frames. Names are
 * read while the process lives and kept after it: per process, keyed by the code object's address.
 *
 * An address is no identity: eval() in a loop frees a code object and the next one takes its place. So before a stack is
 * resolved all its code objects' heads are compared with what the cache knew: what they point to, sizes, first line, and the
 * hash of the name (strings are freed and take each other's places just as well). After a fork the child's code objects are
 * the parent's: equal heads share the parent's entries without reading a string, and a child that died too early is still
 * told by them.
 */
#include "sampler/runtime/python.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define MAX_CODES 100000     /* of one process: then the cache starts anew */
#define MAX_TABLE (1u << 20) /* bytes of a line table */
#define MAX_TABLE_BYTES (64u << 20)
#define MAX_HEAD 512 /* python_layout.c checks code_size */
#define STR_HASH 24  /* of PyASCIIObject, in all versions; names are interned, so it is computed */

struct line_id {
	uint64_t instr;
	uint32_t id;
	UT_hash_handle hh;
};

/* Fields that never change while a code object lives. fixed: 3.11+ size of the bytecode, constants, names, exception table;
 * before, argument counts, sizes, flags. */
struct identity {
	uint64_t type, fixed[4], filename, name, qualname, table;
	uint32_t first_line;
};

struct code {
	uint64_t addr;
	struct identity identity;
	uint64_t name_hash;
	uint64_t checked; /* python_code_cache.check of its last comparison */
	char *function, *file;
	uint8_t *table;
	size_t table_len;
	struct line_id *lines;
	UT_hash_handle hh;
};

struct python_code_cache {
	struct code *codes;
	struct python_code_cache *parent; /* counted */
	unsigned refs;
	size_t table_bytes;  /* of all entries */
	uint64_t check;	     /* counts stacks */
	uint32_t unresolved; /* id of the placeholder, 0 not asked yet */
};

static void code_free(struct code *c)
{
	struct line_id *l, *next;

	HASH_ITER(hh, c->lines, l, next)
	{
		HASH_DEL(c->lines, l);
		free(l);
	}
	free(c->function);
	free(c->file);
	free(c->table);
	free(c);
}

static void codes_clear(struct python_code_cache *cache)
{
	struct code *c, *next;

	HASH_ITER(hh, cache->codes, c, next)
	{
		HASH_DEL(cache->codes, c);
		code_free(c);
	}
	cache->table_bytes = 0;
}

struct python_code_cache *python_codes_new(struct python_code_cache *parent)
{
	struct python_code_cache *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->refs = 1;
	/* A child of a child shares with its nearest ancestor that has names: chains stay short. */
	while (parent && !parent->codes)
		parent = parent->parent;
	if (parent) {
		parent->refs++;
		c->parent = parent;
	}
	return c;
}

void python_codes_free(struct python_code_cache *c)
{
	while (c && --c->refs == 0) {
		struct python_code_cache *parent = c->parent;
		codes_clear(c);
		free(c);
		c = parent;
	}
}

static struct code *find_here(struct python_code_cache *cache, uint64_t addr)
{
	struct code *c;

	HASH_FIND(hh, cache->codes, &addr, sizeof addr, c);
	return c;
}

static uint64_t head_u64(const uint8_t *head, uint32_t at)
{
	uint64_t v;

	memcpy(&v, head + at, sizeof v);
	return v;
}

static struct identity identity_of(const struct python_layout *l, const uint8_t *head)
{
	struct identity id = {.type = head_u64(head, 8),
			      .filename = head_u64(head, l->code_filename),
			      .name = head_u64(head, l->code_name),
			      .qualname = l->code_qualname ? head_u64(head, l->code_qualname) : 0,
			      .table = head_u64(head, l->code_linetable)};

	memcpy(id.fixed, head + 16, sizeof id.fixed);
	memcpy(&id.first_line, head + l->code_firstlineno, sizeof id.first_line);
	return id;
}

static bool identity_equal(const struct identity *a, const struct identity *b)
{
	return a->type == b->type && memcmp(a->fixed, b->fixed, sizeof a->fixed) == 0 && a->filename == b->filename &&
	       a->name == b->name && a->qualname == b->qualname && a->table == b->table && a->first_line == b->first_line;
}

static bool code_changed(struct python_process *p, struct target_memory *m, const struct code *c)
{
	uint8_t head[MAX_HEAD];
	struct identity now;

	if (target_read(m, c->addr, head, p->layout.code_size))
		return false; /* gone: what we knew stays the best answer */
	now = identity_of(&p->layout, head);
	return !identity_equal(&now, &c->identity) || target_u64(m, now.name + STR_HASH) != c->name_hash;
}

void python_codes_verify(struct python_process *p, struct runtime_env *env, const uint64_t *pairs, size_t n)
{
	p->codes->check++;
	for (size_t i = 0; i < n; i++) {
		struct code *c;
		if (pairs[2 * i] & PYTHON_PAIR_SHIM)
			continue;
		c = find_here(p->codes, pairs[2 * i] & ~PYTHON_PAIR_MASK);
		if (!c || c->checked == p->codes->check)
			continue; /* not known yet, or recursion */
		c->checked = p->codes->check;
		if (code_changed(p, env->memory, c)) {
			HASH_DEL(p->codes->codes, c);
			code_free(c);
		}
	}
}

static uint8_t *read_table(struct python_process *p, struct target_memory *m, uint64_t bytes, size_t *len)
{
	uint64_t size = target_u64(m, bytes + p->layout.bytes_size);
	uint8_t *t;

	*len = 0;
	if (!bytes || size == 0 || size > MAX_TABLE)
		return NULL;
	t = malloc(size);
	if (!t || target_read(m, bytes + p->layout.bytes_data, t, size)) {
		free(t);
		return NULL;
	}
	*len = size;
	return t;
}

static char *read_name(struct python_process *p, struct target_memory *m, uint64_t str)
{
	char buf[4096];

	return str && python_string(m, &p->layout, str, buf, sizeof buf) >= 0 ? strdup(buf) : NULL;
}

/* Of an ancestor: the entry for the same address, if identity is NULL or equal. */
static struct code *find_inherited(struct python_process *p, uint64_t addr, const struct identity *identity)
{
	for (struct python_code_cache *c = p->codes->parent; c; c = c->parent) {
		struct code *found = find_here(c, addr);
		if (found)
			return !identity || identity_equal(identity, &found->identity) ? found : NULL;
	}
	return NULL;
}

static bool copy_names(struct code *c, const struct code *from)
{
	if (!from)
		return false;
	c->function = strdup(from->function);
	c->file = strdup(from->file);
	c->table = from->table ? malloc(from->table_len) : NULL;
	if (c->table) {
		memcpy(c->table, from->table, from->table_len);
		c->table_len = from->table_len;
	}
	return c->function && c->file;
}

static bool read_names(struct python_process *p, struct runtime_env *env, struct code *c)
{
	const struct identity *id = &c->identity;

	c->function = read_name(p, env->memory, id->qualname ? id->qualname : id->name);
	c->file = read_name(p, env->memory, id->filename);
	c->table = read_table(p, env->memory, id->table, &c->table_len);
	env->counters->names_read++;
	return c->function && c->file;
}

static struct code *code_load(struct python_process *p, struct runtime_env *env, uint64_t addr)
{
	const struct python_layout *l = &p->layout;
	uint8_t head[MAX_HEAD];
	struct code *c, *from;

	if (!addr)
		return NULL;
	if (target_read(env->memory, addr, head, l->code_size))
		return find_inherited(p, addr, NULL);
	struct identity identity = identity_of(l, head);
	if (p->code_type && identity.type != p->code_type)
		return NULL; /* freed since */
	c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->addr = addr;
	c->identity = identity;
	c->name_hash = target_u64(env->memory, identity.name + STR_HASH);
	from = find_inherited(p, addr, &identity);
	if (from && from->name_hash != c->name_hash)
		from = NULL;
	/* A failed copy (no memory) must not leak into a read. */
	if (!copy_names(c, from) && (c->function || c->file || !read_names(p, env, c))) {
		code_free(c);
		return NULL;
	}
	if (HASH_COUNT(p->codes->codes) >= MAX_CODES || p->codes->table_bytes > MAX_TABLE_BYTES)
		codes_clear(p->codes);
	p->codes->table_bytes += c->table_len;
	HASH_ADD(hh, p->codes->codes, addr, sizeof c->addr, c);
	return c;
}

static uint32_t code_line(const struct python_layout *l, const struct code *c, uint64_t instr)
{
	int64_t offset;
	uint32_t line;

	if (l->walk.flags & PYTHON_F_INSTR_INDEX) {
		offset = (int32_t)instr;
		if (l->lines == PYTHON_LINETABLE_310 && offset > 0)
			offset *= 2; /* 3.10 counts code units */
	} else {
		offset = (int64_t)(instr - (c->addr + l->code_bytes));
		if (offset > INT32_MAX || offset < INT32_MIN)
			return 0;
	}
	if (!c->table)
		return c->identity.first_line;
	line = python_line(l->lines, c->table, c->table_len, c->identity.first_line, offset);
	return line;
}

static uint32_t unresolved(struct python_process *p, struct runtime_env *env)
{
	struct source_frame f = {.function = "[python frame]", .module = p->module, .language = LANG_PYTHON};

	env->counters->unresolved++;
	if (!p->codes->unresolved)
		p->codes->unresolved = env->opt->intern(env->opt->ctx, &f);
	return p->codes->unresolved;
}

uint32_t python_resolve(struct python_process *p, struct runtime_env *env, uint64_t code, uint64_t instr)
{
	struct source_frame f = {.module = p->module, .language = LANG_PYTHON};
	struct code *c = find_here(p->codes, code);
	struct line_id *l;

	if (p->layout.walk.flags & PYTHON_F_INSTR_INDEX)
		instr = (uint32_t)instr;
	if (!c)
		c = code_load(p, env, code);
	if (!c)
		return unresolved(p, env);
	HASH_FIND(hh, c->lines, &instr, sizeof instr, l);
	if (l)
		return l->id;
	f.function = c->function;
	f.file = c->file;
	f.line = code_line(&p->layout, c, instr);
	l = calloc(1, sizeof *l);
	if (!l)
		return env->opt->intern(env->opt->ctx, &f);
	l->instr = instr;
	l->id = env->opt->intern(env->opt->ctx, &f);
	HASH_ADD(hh, c->lines, instr, sizeof l->instr, l);
	return l->id;
}

bool python_code_names(struct python_process *p, uint64_t code, const char **function, const char **file)
{
	struct code *c = find_here(p->codes, code);

	if (!c)
		c = find_inherited(p, code, NULL);
	if (!c)
		return false;
	*function = c->function;
	*file = c->file;
	return true;
}
