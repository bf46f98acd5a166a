/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings to small numbers. In: any string; out: its index, the same for equal strings. Open addressing, FNV-1a.
 */
#include "aggregate/diff_internal.h"

#include <stdlib.h>
#include <string.h>

static uint32_t hash(const char *s)
{
	uint32_t h = 2166136261u;

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 16777619u;
	return h;
}

static uint32_t *slot_of(const struct intern *in, const char *s)
{
	uint32_t i = hash(s) & (in->n_slots - 1);

	while (in->slots[i] && strcmp(in->strings[in->slots[i] - 1], s) != 0)
		i = (i + 1) & (in->n_slots - 1);
	return &in->slots[i];
}

static bool grow(struct intern *in)
{
	uint32_t n_slots = in->n_slots ? in->n_slots * 2 : 64;
	uint32_t *slots = calloc(n_slots, sizeof *slots);
	char **strings = realloc(in->strings, n_slots / 2 * sizeof *strings);

	if (strings)
		in->strings = strings;
	if (!slots || !strings) {
		free(slots);
		return false;
	}
	free(in->slots);
	in->slots = slots;
	in->n_slots = n_slots;
	in->capacity = n_slots / 2;
	for (uint32_t i = 0; i < in->n; i++)
		*slot_of(in, in->strings[i]) = i + 1;
	return true;
}

uint32_t intern_add(struct intern *in, const char *s)
{
	uint32_t *slot;

	if (in->n == in->capacity && !grow(in))
		return DIFF_ANY;
	slot = slot_of(in, s);
	if (!*slot) {
		char *copy = strdup(s);
		if (!copy)
			return DIFF_ANY;
		in->strings[in->n] = copy;
		*slot = ++in->n;
	}
	return *slot - 1;
}

void intern_fini(struct intern *in)
{
	for (uint32_t i = 0; in->strings && i < in->n; i++)
		free(in->strings[i]);
	free(in->strings);
	free(in->slots);
	memset(in, 0, sizeof *in);
}
