/* SPDX-License-Identifier: Apache-2.0
 *
 * Java methods to names and lines. In: the address of a Method and a bytecode index; out: the backend's id of
 * "pkg.Class.method" in "pkg/Class.java" at its line. Metadata does not move (it is no part of the Java heap); it is freed
 * when a class loader dies, so an entry is taken only while the Method still points to the same ConstMethod.
 *
 * ConstMethod -> ConstantPool -> Symbols; the bytecodes follow the ConstMethod, the compressed line table follows the
 * bytecodes: a byte (bci delta << 3 | line delta), 0xff before two signed UNSIGNED5 numbers for larger steps, 0 at the end.
 * Sources: hotspot/share/oops/constMethod.hpp, method.cpp, code/compressedStream.hpp.
 */
#include "sampler/runtime/java.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define MAX_METHODS 200000
#define MAX_LINES 65536 /* bytes of a compressed line table */
#define MAX_LINE_BYTES (64u << 20)
#define HAS_LINES 1 /* ConstMethod::_has_linenumber_table, ConstMethodFlags::_misc_has_linenumber_table */

struct java_line_id {
	int32_t bci;
	uint32_t id;
	UT_hash_handle hh;
};

struct java_method {
	uint64_t addr, const_method;
	uint64_t verified; /* the walk (java_process.walk) in which it was checked */
	uint16_t code_size;
	char *function, *file;
	uint8_t *lines;
	size_t lines_len;
	struct java_line_id *ids;
	UT_hash_handle hh;
};

static void method_free(struct java_method *m)
{
	struct java_line_id *i, *next;

	HASH_ITER(hh, m->ids, i, next)
	{
		HASH_DEL(m->ids, i);
		free(i);
	}
	free(m->function);
	free(m->file);
	free(m->lines);
	free(m);
}

void java_methods_free(struct java_process *p)
{
	struct java_method *m, *next;

	HASH_ITER(hh, p->methods, m, next)
	{
		HASH_DEL(p->methods, m);
		method_free(m);
	}
	p->line_bytes = 0;
}

/* Symbols are modified UTF-8; what we print of them is UTF-8 for all but NUL and characters beyond the BMP. */
static bool symbol(struct java_process *p, struct target_memory *m, uint64_t sym, char *buf, size_t len)
{
	size_t n = sym ? target_u16(m, sym + (uint32_t)p->layout.symbol_length) : 0;

	if (n == 0)
		return false;
	if (n > len - 1)
		n = len - 1;
	if (target_read(m, sym + (uint32_t)p->layout.symbol_body, buf, n))
		return false;
	buf[n] = 0;
	return true;
}

static uint64_t pool_symbol(struct java_process *p, struct target_memory *m, uint64_t pool, uint16_t index)
{
	return index ? target_u64(m, pool + p->layout.pool_size + 8ull * index) : 0;
}

/* java/util/HashMap$Node -> java.util.HashMap$Node; a hidden class's address (Foo$$Lambda+0x7f..) is cut off: it differs per run. */
static void external_name(char *name)
{
	char *plus = strchr(name, '+');

	if (plus)
		*plus = 0;
	for (; *name; name++)
		if (*name == '/')
			*name = '.';
}

static void read_names(struct java_process *p, struct target_memory *m, struct java_method *e)
{
	const struct java_layout *l = &p->layout;
	uint64_t pool = target_u64(m, e->const_method + (uint32_t)l->const_constants);
	uint64_t klass = pool ? target_u64(m, pool + (uint32_t)l->pool_holder) : 0;
	uint16_t source_index = l->pool_source >= 0    ? target_u16(m, pool + (uint32_t)l->pool_source)
				: l->klass_source >= 0 ? target_u16(m, klass + (uint32_t)l->klass_source)
						       : 0;
	char class_name[1024], method[512], source[512], text[2048];
	char *slash;

	if (!klass || !symbol(p, m, target_u64(m, klass + (uint32_t)l->klass_name), class_name, sizeof class_name) ||
	    !symbol(p, m, pool_symbol(p, m, pool, target_u16(m, e->const_method + (uint32_t)l->const_name)), method,
		    sizeof method))
		return;
	if (symbol(p, m, pool_symbol(p, m, pool, source_index), source, sizeof source)) {
		slash = strrchr(class_name, '/');
		snprintf(text, sizeof text, "%.*s%s", slash ? (int)(slash + 1 - class_name) : 0, class_name, source);
		e->file = strdup(text);
	}
	external_name(class_name);
	snprintf(text, sizeof text, "%s.%s", class_name, method);
	e->function = strdup(text);
}

static void read_lines(struct java_process *p, struct target_memory *m, struct java_method *e)
{
	const struct java_layout *l = &p->layout;
	uint32_t flags = target_u16(m, e->const_method + (uint32_t)(l->const_flags >= 0 ? l->const_flags : l->const_flags_flags));
	uint64_t at = e->const_method + l->const_size + e->code_size;
	size_t n = 0, room = 0;

	if (!(flags & HAS_LINES))
		return;
	/* The table's length is not kept: it ends with a 0 byte, which may also lie inside of a number; read on until the
	 * decoder ends. */
	while (n < MAX_LINES) {
		uint8_t *grown;
		size_t part = 64;
		if (n + part > room) {
			room = room ? 2 * room : 128;
			grown = realloc(e->lines, room);
			if (!grown)
				return;
			e->lines = grown;
		}
		if (target_read(m, at + n, e->lines + n, part))
			break;
		n += part;
		e->lines_len = n;
		if (java_line(e->lines, n, -2, p->layout.version >= 20) != UINT32_MAX)
			return;
	}
}

static int32_t signed5(const uint8_t *t, size_t len, size_t *at, unsigned excluded)
{
	uint32_t v = java_unsigned5(t, len, at, excluded);

	return (int32_t)(v >> 1) ^ -(int32_t)(v & 1);
}

uint32_t java_line(const uint8_t *t, size_t len, int32_t bci, unsigned excluded)
{
	int32_t at_bci = 0, line = 0, best_bci = -1, best = 0;
	size_t at = 0;

	while (at < len) {
		uint8_t b = t[at++];
		if (b == 0)
			return (uint32_t)best;
		if (b == 0xff) {
			at_bci = (int32_t)((uint32_t)at_bci + (uint32_t)signed5(t, len, &at, excluded));
			line = (int32_t)((uint32_t)line + (uint32_t)signed5(t, len, &at, excluded));
		} else {
			at_bci = (int32_t)((uint32_t)at_bci + (b >> 3));
			line = (int32_t)((uint32_t)line + (b & 7));
		}
		if (at_bci <= bci && at_bci > best_bci) {
			best_bci = at_bci;
			best = line;
		}
	}
	return bci == -2 ? UINT32_MAX : (uint32_t)best; /* -2: has the table ended? */
}

static struct java_method *method_get(struct java_process *p, struct target_memory *m, uint64_t addr)
{
	const struct java_layout *l = &p->layout;
	uint64_t const_method;
	struct java_method *e;

	HASH_FIND(hh, p->methods, &addr, sizeof addr, e);
	if (e && e->verified == p->walk)
		return e;
	const_method = target_u64(m, addr + (uint32_t)l->method_const);
	if (e && (!const_method || e->const_method == const_method)) { /* unreadable: the process is gone, the name stays */
		e->verified = p->walk;
		return e;
	}
	if (e) {
		HASH_DEL(p->methods, e);
		method_free(e);
	}
	if (!const_method)
		return NULL;
	if (HASH_COUNT(p->methods) >= MAX_METHODS || p->line_bytes > MAX_LINE_BYTES)
		java_methods_free(p);
	e = calloc(1, sizeof *e);
	if (!e)
		return NULL;
	e->addr = addr;
	e->verified = p->walk;
	e->const_method = const_method;
	e->code_size = target_u16(m, const_method + (uint32_t)l->const_code_size);
	read_names(p, m, e);
	if (!e->function) {
		method_free(e);
		return NULL;
	}
	read_lines(p, m, e);
	p->line_bytes += e->lines_len;
	HASH_ADD(hh, p->methods, addr, sizeof e->addr, e);
	return e;
}

static uint32_t unresolved(struct java_process *p, struct runtime_env *env)
{
	struct source_frame f = {.function = "[java frame]", .module = "[jvm]", .language = LANG_JAVA};

	env->counters->unresolved++;
	if (!p->unresolved)
		p->unresolved = env->opt->intern(env->opt->ctx, &f);
	return p->unresolved;
}

uint32_t java_method_id(struct java_process *p, struct runtime_env *env, uint64_t method, int32_t bci)
{
	struct java_method *e = method ? method_get(p, env->memory, method) : NULL;
	struct source_frame f = {.module = "[jvm]", .language = LANG_JAVA};
	struct java_line_id *i;

	if (!e)
		return unresolved(p, env);
	HASH_FIND(hh, e->ids, &bci, sizeof bci, i);
	if (i)
		return i->id;
	f.function = e->function;
	f.file = e->file;
	f.line = bci >= 0 && e->lines_len ? java_line(e->lines, e->lines_len, bci, p->layout.version >= 20) : 0;
	i = calloc(1, sizeof *i);
	if (!i)
		return env->opt->intern(env->opt->ctx, &f);
	i->bci = bci;
	i->id = env->opt->intern(env->opt->ctx, &f);
	env->counters->names_read++;
	HASH_ADD(hh, e->ids, bci, sizeof i->bci, i);
	return i->id;
}

int32_t java_bci(struct java_process *p, struct target_memory *m, uint64_t method, uint64_t bcp)
{
	struct java_method *e = method ? method_get(p, m, method) : NULL;
	uint64_t code;

	if (!e)
		return -1;
	code = e->const_method + p->layout.const_size;
	return bcp >= code && bcp < code + e->code_size ? (int32_t)(bcp - code) : -1;
}
