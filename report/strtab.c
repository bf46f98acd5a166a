/* SPDX-License-Identifier: Apache-2.0
 * In: raw strings; out: numbers of their harmless forms. */
#include "report/strtab.h"
#include "report/sanitize.h"

#include <stdlib.h>
#include <string.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct entry {
	char *s;
	uint32_t ix;
	UT_hash_handle hh;
};

static uint32_t append(struct strtab *t, char *s)
{
	if ((t->n & (t->n - 1)) == 0) { /* grow at powers of two */
		char **list = realloc(t->list, (t->n ? 2 * t->n : 1) * sizeof *list);
		if (!list) {
			t->failed = 1;
			return 0;
		}
		t->list = list;
	}
	t->list[t->n] = s;
	return (uint32_t)t->n++;
}

void strtab_init(struct strtab *t)
{
	memset(t, 0, sizeof *t);
	char *empty = strdup("");
	if (!empty)
		t->failed = 1;
	else
		append(t, empty);
}

uint32_t strtab_add(struct strtab *t, const char *raw)
{
	struct entry *table = t->hash, *e = NULL;
	char *s;

	if (!raw || !*raw)
		return 0;
	s = sanitize_dup(raw);
	if (s)
		HASH_FIND(hh, table, s, strlen(s), e);
	if (e || !s) {
		t->failed |= !s;
		free(s);
		return e ? e->ix : 0;
	}
	e = calloc(1, sizeof *e);
	if (!e) {
		free(s);
		t->failed = 1;
		return 0;
	}
	e->s = s;
	e->ix = append(t, s);
	if (e->ix == 0) {
		free(s);
		free(e);
		return 0;
	}
	HASH_ADD_KEYPTR(hh, table, e->s, strlen(e->s), e);
	t->hash = table;
	return e->ix;
}

void strtab_free(struct strtab *t)
{
	struct entry *table = t->hash, *e, *next;

	HASH_ITER(hh, table, e, next)
	{
		HASH_DEL(table, e);
		free(e);
	}
	for (size_t i = 0; i < t->n; i++)
		free(t->list[i]);
	free(t->list);
	memset(t, 0, sizeof *t);
}
