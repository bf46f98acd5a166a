/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregate/intmap.h"

#include <stdlib.h>
#include <string.h>

static uint32_t home(const struct intmap *m, uint32_t key)
{
	return (uint32_t)(((uint64_t)key * 0x9e3779b97f4a7c15ull) >> 32) & (m->capacity - 1);
}

/* The slot that holds key, or the empty one where it would go. */
static uint32_t probe(const struct intmap *m, uint32_t key)
{
	uint32_t i = home(m, key);
	while (m->slots[i].key && m->slots[i].key != key)
		i = (i + 1) & (m->capacity - 1);
	return i;
}

uint32_t intmap_get(const struct intmap *m, uint32_t key)
{
	if (!m->n || !key)
		return INTMAP_NONE;
	const struct intmap_slot *s = &m->slots[probe(m, key)];
	return s->key ? s->value : INTMAP_NONE;
}

static bool grow(struct intmap *m)
{
	struct intmap bigger = {.capacity = m->capacity ? m->capacity * 2 : 64};
	if (!bigger.capacity)
		return false;
	bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
	if (!bigger.slots)
		return false;
	for (uint32_t i = 0; i < m->capacity; i++)
		if (m->slots[i].key)
			bigger.slots[probe(&bigger, m->slots[i].key)] = m->slots[i];
	bigger.n = m->n;
	free(m->slots);
	*m = bigger;
	return true;
}

bool intmap_put(struct intmap *m, uint32_t key, uint32_t value)
{
	if (!key || (m->n * 2 >= m->capacity && !grow(m)))
		return false;
	struct intmap_slot *s = &m->slots[probe(m, key)];
	if (!s->key)
		m->n++;
	*s = (struct intmap_slot){key, value};
	return true;
}

void intmap_remove(struct intmap *m, uint32_t key)
{
	if (!m->n || !key)
		return;
	uint32_t mask = m->capacity - 1, hole = probe(m, key);
	if (!m->slots[hole].key)
		return;
	m->n--;
	/* Whoever follows in the cluster and may live in the hole moves back, so that no probe ends too early. */
	for (uint32_t i = (hole + 1) & mask; m->slots[i].key; i = (i + 1) & mask) {
		uint32_t h = home(m, m->slots[i].key);
		if (((i - h) & mask) >= ((i - hole) & mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole].key = 0;
}

void intmap_clear(struct intmap *m)
{
	if (m->slots)
		memset(m->slots, 0, m->capacity * sizeof *m->slots);
	m->n = 0;
}

void intmap_fini(struct intmap *m)
{
	free(m->slots);
	*m = (struct intmap){0};
}

void *array_reserve(void *array, size_t n, size_t *capacity, size_t size)
{
	if (n < *capacity)
		return array;
	size_t bigger = *capacity ? *capacity * 2 : 16;
	if (bigger > SIZE_MAX / size)
		return NULL;
	void *moved = realloc(array, bigger * size);
	if (moved)
		*capacity = bigger;
	return moved;
}

uint64_t hash_bytes(const void *data, size_t n, uint64_t seed)
{
	const unsigned char *p = data;
	uint64_t h = seed ^ n * 0x9e3779b97f4a7c15ull;
	for (; n >= 8; p += 8, n -= 8) {
		uint64_t w;
		memcpy(&w, p, 8);
		h = mix64(h ^ w);
	}
	uint64_t tail = 0;
	if (n)
		memcpy(&tail, p, n);
	return mix64(h ^ tail);
}
