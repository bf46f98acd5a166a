/* SPDX-License-Identifier: Apache-2.0
 *
 * The page's tables that everything else refers to: strings, frames, and the stacks as one tree. In: stack indexes; out: node
 * numbers. A tree rather than lists: fifty thousand stacks share most of their outer frames. */
#include "report/page.h"
#include "report/frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdull;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ull;
	return h ^ h >> 33;
}

static void *grow(struct page *x, void *list, size_t *cap, size_t row)
{
	size_t n = *cap ? *cap * 2 : 1024;
	void *p = realloc(list, n * row);

	if (!p) {
		x->failed = true;
		return NULL;
	}
	*cap = n;
	return p;
}

/* Slots are kept at most half full: their number is twice the list's capacity. */
static uint32_t *new_slots(struct page *x, uint32_t *old, size_t n)
{
	uint32_t *s = malloc(n * sizeof *s);

	if (!s) {
		x->failed = true;
		return NULL;
	}
	free(old);
	memset(s, 0xff, n * sizeof *s);
	return s;
}

/* ---- frames ---- */

static uint64_t frame_hash(const struct page_frame *f)
{
	return mix(mix((uint64_t)f->function << 32 | f->file) ^ ((uint64_t)f->line << 32 | f->module) ^
		   (uint64_t)f->language << 60);
}

static bool frame_equal(const struct page_frame *a, const struct page_frame *b)
{
	return a->function == b->function && a->file == b->file && a->line == b->line && a->module == b->module &&
	       a->language == b->language;
}

static size_t frame_slot(const struct page *x, const struct page_frame *f)
{
	size_t i = frame_hash(f) & (x->n_frame_slots - 1);

	while (x->frame_slots[i] != IX_NONE && !frame_equal(&x->frames[x->frame_slots[i]], f))
		i = (i + 1) & (x->n_frame_slots - 1);
	return i;
}

static bool grow_frames(struct page *x)
{
	struct page_frame *list = grow(x, x->frames, &x->cap_frames, sizeof *list);

	if (!list)
		return false;
	x->frames = list;
	uint32_t *slots = new_slots(x, x->frame_slots, x->cap_frames * 2);
	if (!slots)
		return false;
	x->frame_slots = slots;
	x->n_frame_slots = x->cap_frames * 2;
	for (size_t i = 0; i < x->n_frames; i++)
		slots[frame_slot(x, &x->frames[i])] = (uint32_t)i;
	return true;
}

static const struct profile *profile_of(const struct page *x, unsigned which)
{
	return which ? x->base->p : x->v->p;
}

static uint32_t page_frame(struct page *x, unsigned which, uint32_t frame_ix)
{
	const struct frame_row *r = frames_at(profile_of(x, which), frame_ix);

	if (!r)
		return IX_NONE;
	if (x->frame_of[which][frame_ix] != IX_NONE)
		return x->frame_of[which][frame_ix];
	struct page_frame f = {page_string(x, r->function && *r->function ? r->function : "[unknown]"),
			       page_string(x, r->file),
			       r->line,
			       page_string(x, r->module),
			       r->language,
			       frames_is_libc(r)};
	if (x->n_frames == x->cap_frames && !grow_frames(x))
		return IX_NONE;
	size_t slot = frame_slot(x, &f);
	if (x->frame_slots[slot] == IX_NONE) {
		x->frame_slots[slot] = (uint32_t)x->n_frames;
		x->frames[x->n_frames++] = f;
	}
	return x->frame_of[which][frame_ix] = x->frame_slots[slot];
}

/* ---- nodes ---- */

static size_t node_slot(const struct page *x, struct page_node n)
{
	size_t i = mix((uint64_t)n.parent << 32 | n.frame) & (x->n_node_slots - 1);

	while (x->node_slots[i] != IX_NONE &&
	       (x->nodes[x->node_slots[i]].parent != n.parent || x->nodes[x->node_slots[i]].frame != n.frame))
		i = (i + 1) & (x->n_node_slots - 1);
	return i;
}

static bool grow_nodes(struct page *x)
{
	struct page_node *list = grow(x, x->nodes, &x->cap_nodes, sizeof *list);

	if (!list)
		return false;
	x->nodes = list;
	uint32_t *slots = new_slots(x, x->node_slots, x->cap_nodes * 2);
	if (!slots)
		return false;
	x->node_slots = slots;
	x->n_node_slots = x->cap_nodes * 2;
	for (size_t i = 1; i < x->n_nodes; i++) /* the root is nobody's child */
		slots[node_slot(x, x->nodes[i])] = (uint32_t)i;
	return true;
}

uint32_t page_stack(struct page *x, unsigned which, uint32_t stack_ix)
{
	const struct profile *p = profile_of(x, which);
	const struct stack_row *s = stack_ix < p->n_stacks ? &p->stacks[stack_ix] : NULL;
	uint32_t at = 0;

	if (!s || !s->n)
		return 0;
	if (x->node_of[which][stack_ix] != IX_NONE)
		return x->node_of[which][stack_ix];
	for (uint32_t i = s->n; i-- > 0;) {
		struct page_node n = {at, page_frame(x, which, s->frame_ix[i])};
		if (n.frame == IX_NONE || (x->n_nodes == x->cap_nodes && !grow_nodes(x)))
			continue;
		size_t slot = node_slot(x, n);
		if (x->node_slots[slot] == IX_NONE) {
			x->node_slots[slot] = (uint32_t)x->n_nodes;
			x->nodes[x->n_nodes++] = n;
		}
		at = x->node_slots[slot];
	}
	return x->node_of[which][stack_ix] = at;
}

uint32_t page_string(struct page *x, const char *raw)
{
	return strtab_add(&x->strings, raw);
}

static uint32_t *none_list(size_t n)
{
	uint32_t *l = malloc((n + 1) * sizeof *l);

	if (l)
		memset(l, 0xff, (n + 1) * sizeof *l);
	return l;
}

int page_init(struct page *x, const struct view *v, const struct view *base, bool no_source, FILE *out)
{
	memset(x, 0, sizeof *x);
	x->v = v;
	x->base = base;
	x->no_source = no_source;
	x->out = out;
	strtab_init(&x->strings);
	for (unsigned which = 0; which < (base ? 2 : 1); which++) {
		x->frame_of[which] = none_list(profile_of(x, which)->n_frames);
		x->node_of[which] = none_list(profile_of(x, which)->n_stacks);
		x->failed |= !x->frame_of[which] || !x->node_of[which];
	}
	if (x->failed || !grow_frames(x) || !grow_nodes(x))
		return -ENOMEM;
	x->nodes[x->n_nodes++] = (struct page_node){0, IX_NONE};
	return 0;
}

void page_fini(struct page *x)
{
	strtab_free(&x->strings);
	free(x->frames);
	free(x->frame_slots);
	free(x->nodes);
	free(x->node_slots);
	for (unsigned which = 0; which < 2; which++) {
		free(x->frame_of[which]);
		free(x->node_of[which]);
	}
}
