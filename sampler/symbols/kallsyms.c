/* SPDX-License-Identifier: Apache-2.0
 *
 * "ffffffff81000000 T _stext" or "ffffffffc0401000 t nft_do_chain\t[nf_tables]", some 200,000 lines, sorted here once.
 */
#include "sampler/symbols/kallsyms.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct kernel_symbol {
	uint64_t addr;
	uint32_t name, module; /* offsets in text; module 0: the kernel itself */
};

struct kallsyms {
	char *text; /* the file, cut into strings */
	struct kernel_symbol *v;
	size_t n, cap;
};

static bool read_all(struct kallsyms *k, const char *path)
{
	size_t cap = 0, len = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	for (;;) {
		if (cap - len < 65536) {
			cap = cap ? cap * 2 : 4u << 20;
			char *grown = realloc(k->text, cap);
			if (!grown)
				break;
			k->text = grown;
		}
		ssize_t n = read(fd, k->text + len, cap - len - 1);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	close(fd);
	if (k->text)
		k->text[len] = 0;
	return k->text && len < UINT32_MAX;
}

static void add(struct kallsyms *k, uint64_t addr, char *name)
{
	if (k->n == k->cap) {
		size_t cap = k->cap ? k->cap * 2 : 65536;
		struct kernel_symbol *grown = realloc(k->v, cap * sizeof *grown);
		if (!grown)
			return;
		k->v = grown;
		k->cap = cap;
	}
	char *tab = strchr(name, '\t');
	if (tab)
		*tab = 0;
	k->v[k->n++] = (struct kernel_symbol){addr, (uint32_t)(name - k->text), tab ? (uint32_t)(tab + 1 - k->text) : 0};
}

static int by_address(const void *a, const void *b)
{
	const struct kernel_symbol *x = a, *y = b;
	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return x->name < y->name ? -1 : x->name > y->name; /* file order: the usual name comes first */
}

static void parse(struct kallsyms *k)
{
	for (char *line = k->text, *next; *line; line = next) {
		char *end = strchrnul(line, '\n'), *rest;
		next = *end ? end + 1 : end;
		*end = 0;
		uint64_t addr = strtoull(line, &rest, 16);
		if (addr == 0 || rest[0] != ' ' || !rest[1] || rest[2] != ' ')
			continue;
		if (strchr("tTwW", rest[1]))
			add(k, addr, rest + 3);
	}
	if (k->n)
		qsort(k->v, k->n, sizeof *k->v, by_address);
}

struct kallsyms *kallsyms_load(const char *path)
{
	struct kallsyms *k = calloc(1, sizeof *k);
	if (k && read_all(k, path))
		parse(k);
	return k;
}

void kallsyms_free(struct kallsyms *k)
{
	if (!k)
		return;
	free(k->text);
	free(k->v);
	free(k);
}

bool kallsyms_find(const struct kallsyms *k, uint64_t addr, const char **name, const char **module)
{
	size_t lo = 0, hi = k->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (k->v[mid].addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	/* Past the last symbol there is no telling where it ends: a megabyte is more than any function has. */
	if (lo == 0 || (lo == k->n && addr - k->v[lo - 1].addr > (1u << 20)))
		return false;
	for (lo--; lo > 0 && k->v[lo - 1].addr == k->v[lo].addr;)
		lo--;
	*name = k->text + k->v[lo].name;
	*module = k->v[lo].module ? k->text + k->v[lo].module : "[kernel]";
	return true;
}
