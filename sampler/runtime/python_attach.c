/* SPDX-License-Identifier: Apache-2.0
 *
 * Is this process CPython, and which one? In: its mappings; out: the process's layout, the address of _PyRuntime, and where
 * its eval function lies. `_PyRuntime` is in .dynsym of every build (extension modules need it), stripped or not, static or
 * shared, so a name like python* or libpython*, or a .PyRuntime section (3.11+) in the program itself, is enough to find it.
 */
#include "sampler/runtime/python.h"
#include "sampler/symbols/symbols.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* python, python3, python3.11, libpython3.11.so.1.0 */
bool python_file_matters(const char *name)
{
	return strncmp(name, "python", 6) == 0 || strncmp(name, "libpython", 9) == 0;
}

/* "…python3.9…" -> 0x0309; 0: no number in it. */
static uint32_t version_in(const char *s)
{
	const char *at = s;
	unsigned major, minor;

	while ((at = strstr(at, "python")) != NULL) {
		at += strlen("python");
		if (sscanf(at, "%1u.%2u", &major, &minor) == 2 && major == 3)
			return major << 8 | minor;
	}
	return 0;
}

struct search {
	struct object *object, *first; /* the interpreter; the program itself (first file mapped) */
	char path[4096];
	uint32_t version; /* from any path: the interpreter's, or its modules' */
	uint64_t start, end;
};

static int look(void *ctx, const struct mapping_info *m, struct object *obj)
{
	struct search *s = ctx;
	uint64_t vaddr;

	if (!s->version)
		s->version = version_in(m->path);
	if (!obj)
		return 0;
	if (!s->object &&
	    (python_file_matters(base_name(m->path)) || (!s->first && object_section(obj, ".PyRuntime", NULL, NULL, NULL))) &&
	    object_find_symbol(obj, "_PyRuntime", &vaddr, NULL) == 0) {
		s->object = obj;
		snprintf(s->path, sizeof s->path, "%s", m->path);
		if (version_in(base_name(m->path)))
			s->version = version_in(base_name(m->path));
	}
	if (!s->first)
		s->first = obj;
	if (obj == s->object && m->executable) {
		if (!s->start || m->start < s->start)
			s->start = m->start;
		if (m->end > s->end)
			s->end = m->end;
	}
	return 0;
}

static uint32_t find_version(const struct search *s)
{
	uint64_t vaddr;
	uint32_t hex;

	if (object_find_symbol(s->object, "Py_Version", &vaddr, NULL) == 0 && object_read(s->object, vaddr, &hex, sizeof hex))
		return hex >> 16 & 0xffff;
	return s->version;
}

static void add_eval(struct python_process *p, struct object *obj, const char *name)
{
	uint64_t vaddr, size;

	if (p->n_eval < sizeof p->eval / sizeof p->eval[0] && object_find_symbol(obj, name, &vaddr, &size) == 0 && size)
		p->eval[p->n_eval++] = (struct python_range){vaddr + p->bias, vaddr + p->bias + size};
}

static int choose_layout(struct python_process *p, struct runtime_env *env, uint64_t runtime, uint32_t version, struct err *err)
{
	const struct python_layout *known = python_layout_known(version);
	int rc = 0;

	if (known)
		p->layout = *known;
	else if (version >= 0x030d)
		rc = python_layout_read(env->memory, runtime, &p->layout, err);
	else if (version)
		rc = err_set(err, -ENOTSUP, "Python %u.%u is older than 3.8: native stacks only", version >> 8, version & 0xff);
	else
		rc = err_set(err, -ENOTSUP, "Python of unknown version (%s): native stacks only", p->module);
	p->layout.walk.runtime = runtime;
	return rc;
}

int python_attach(struct runtime_env *env, pid_t pid, struct address_space *as, struct python_process **out, struct err *err)
{
	struct search s = {0};
	struct python_process *p;
	uint64_t runtime, type;
	int rc;

	address_space_foreach(as, UNWIND_NOW, look, &s);
	if (!s.object)
		return -ENOENT;
	p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	p->pid = pid;
	p->foreign_pids = runtime_foreign_pids(pid);
	p->text = (struct python_range){s.start, s.end};
	snprintf(p->module, sizeof p->module, "%s", s.path);
	p->codes = python_codes_new(NULL);
	if (!p->codes || !address_space_bias(as, UNWIND_NOW, s.object, &p->bias) ||
	    object_find_symbol(s.object, "_PyRuntime", &runtime, NULL) != 0) {
		python_detach(p);
		return -ENOENT;
	}
	rc = choose_layout(p, env, runtime + p->bias, find_version(&s), err);
	if (rc) {
		python_detach(p);
		return rc;
	}
	if (object_find_symbol(s.object, "PyCode_Type", &type, NULL) == 0)
		p->code_type = type + p->bias;
	add_eval(p, s.object, "_PyEval_EvalFrameDefault");
	add_eval(p, s.object, "_PyEval_EvalFrameDefault.cold");
	*out = p;
	return 0;
}

struct python_process *python_fork(const struct python_process *parent, pid_t child)
{
	struct python_process *p = malloc(sizeof *p);

	if (!p)
		return NULL;
	*p = *parent;
	p->pid = child;
	p->threads = NULL;
	p->label[0] = 0;
	p->codes = python_codes_new(parent->codes);
	if (!p->codes) {
		free(p);
		return NULL;
	}
	return p;
}

void python_detach(struct python_process *p)
{
	if (!p)
		return;
	python_threads_free(p->threads);
	python_codes_free(p->codes);
	free(p);
}
