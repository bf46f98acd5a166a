/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregate/sites.h"

#include <stdlib.h>

void sites_fini(struct sites *s)
{
	intmap_fini(&s->by_id);
	free(s->sites);
	*s = (struct sites){0};
}

struct site *sites_get(const struct sites *s, uint32_t id)
{
	uint32_t ix = intmap_get(&s->by_id, id);
	return ix == INTMAP_NONE ? NULL : &s->sites[ix];
}

static struct site *site_of(struct sites *s, uint32_t id, uint32_t thread)
{
	struct site *have = sites_get(s, id);
	if (have)
		return have;
	struct site *moved = array_reserve(s->sites, s->n, &s->capacity, sizeof *moved);
	if (moved)
		s->sites = moved;
	if (!moved || !intmap_put(&s->by_id, id, (uint32_t)s->n))
		return NULL;
	s->sites[s->n] = (struct site){.id = id, .thread = thread};
	return &s->sites[s->n++];
}

static void choose_heaviest(struct site *site)
{
	uint64_t most = 0;
	for (int role = 0; role < 2 && !most; role++) {
		const struct row_samples *list = role ? &site->wake : &site->wait;
		for (uint32_t i = 0; i < list->n; i++)
			if (list->list[i].stack && list->list[i].count > most) {
				most = list->list[i].count;
				site->heaviest = list->list[i].stack;
			}
	}
}

bool sites_add_wait(struct sites *s, uint32_t id, uint32_t thread, const struct row_sample *sample)
{
	struct site *site = site_of(s, id, thread);
	if (!site)
		return false;
	row_samples_add(&site->wait, sample);
	choose_heaviest(site);
	return true;
}

bool sites_add_wake(struct sites *s, uint32_t id, uint32_t thread, const struct row_sample *sample)
{
	struct site *site = site_of(s, id, thread);
	if (!site)
		return false;
	row_samples_add(&site->wake, sample);
	choose_heaviest(site);
	return true;
}

void sites_prune(struct sites *s, bool (*gone)(void *ctx, uint32_t thread), void *ctx)
{
	size_t kept = 0;
	for (size_t i = 0; i < s->n; i++)
		if (!gone(ctx, s->sites[i].thread))
			s->sites[kept++] = s->sites[i];
	s->n = kept;
	intmap_clear(&s->by_id);
	for (size_t i = 0; i < kept; i++)
		intmap_put(&s->by_id, s->sites[i].id, (uint32_t)i); /* cannot fail: it held more before */
}
