/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregate/code.h"

#include <stdlib.h>
#include <string.h>

#define TRUNCATED 0x80000000u
#define MAX_DEPTH 4096u

void code_fini(struct code *c)
{
	free(c->strings.bytes);
	free(c->strings.index);
	free(c->sources);
	free(c->source_index);
	free(c->words);
	free(c->stack_index);
	intmap_fini(&c->frames);
	intmap_fini(&c->stacks);
	*c = (struct code){0};
}

/* ---- strings ---- */

const char *code_text(const struct code *c, uint32_t offset)
{
	return offset < c->strings.n ? c->strings.bytes + offset : "";
}

static size_t string_slot(const struct strings *t, const char *s, size_t len)
{
	size_t mask = t->index_capacity - 1, i = hash_bytes(s, len, 1) & mask;
	while (t->index[i] && strcmp(t->bytes + t->index[i] - 1, s) != 0)
		i = (i + 1) & mask;
	return i;
}

static bool strings_index_grow(struct strings *t)
{
	if (t->n_index * 2 < t->index_capacity)
		return true;
	struct strings bigger = *t;
	bigger.index_capacity = t->index_capacity ? t->index_capacity * 2 : 256;
	bigger.index = calloc(bigger.index_capacity, sizeof *bigger.index);
	if (!bigger.index)
		return false;
	for (size_t i = 0; i < t->index_capacity; i++)
		if (t->index[i]) {
			const char *s = t->bytes + t->index[i] - 1;
			bigger.index[string_slot(&bigger, s, strlen(s))] = t->index[i];
		}
	free(t->index);
	*t = bigger;
	return true;
}

static bool strings_reserve(struct strings *t, size_t bytes)
{
	if (t->n + bytes <= t->capacity)
		return true;
	size_t capacity = t->capacity ? t->capacity : 4096;
	while (capacity < t->n + bytes)
		capacity *= 2;
	char *moved = capacity < UINT32_MAX ? realloc(t->bytes, capacity) : NULL;
	if (!moved)
		return false;
	t->bytes = moved;
	t->capacity = capacity;
	return true;
}

uint32_t code_string(struct code *c, const char *s)
{
	struct strings *t = &c->strings;
	if (!s || !*s)
		return 0;
	size_t len = strlen(s);
	if (!strings_index_grow(t) || !strings_reserve(t, len + 2))
		return 0;
	if (!t->n)
		t->bytes[t->n++] = '\0';
	size_t slot = string_slot(t, s, len);
	if (!t->index[slot]) {
		memcpy(t->bytes + t->n, s, len + 1);
		t->index[slot] = (uint32_t)t->n + 1;
		t->n += len + 1;
		t->n_index++;
	}
	return t->index[slot] - 1;
}

/* ---- source lines ---- */

static bool same_source(const struct source *a, const struct source *b)
{
	return a->function == b->function && a->file == b->file && a->module == b->module && a->line == b->line &&
	       a->language == b->language;
}

static size_t source_slot(const uint32_t *index, size_t capacity, const struct source *sources, const struct source *s)
{
	size_t mask = capacity - 1, i = hash_bytes(s, sizeof *s, 2) & mask;
	while (index[i] && !same_source(&sources[index[i] - 1], s))
		i = (i + 1) & mask;
	return i;
}

static bool source_index_grow(struct code *c)
{
	if (c->n_sources * 2 < c->source_index_capacity)
		return true;
	size_t capacity = c->source_index_capacity ? c->source_index_capacity * 2 : 256;
	uint32_t *index = calloc(capacity, sizeof *index);
	if (!index)
		return false;
	for (size_t i = 0; i < c->n_sources; i++)
		index[source_slot(index, capacity, c->sources, &c->sources[i])] = (uint32_t)i + 1;
	free(c->source_index);
	c->source_index = index;
	c->source_index_capacity = capacity;
	return true;
}

/* Index of the interned source line, or UINT32_MAX. */
static uint32_t intern_source(struct code *c, const struct source_frame *f)
{
	struct source s = {code_string(c, f->function), code_string(c, f->file), code_string(c, f->module), f->line, f->language};
	if (!source_index_grow(c))
		return UINT32_MAX;
	size_t slot = source_slot(c->source_index, c->source_index_capacity, c->sources, &s);
	if (!c->source_index[slot]) {
		struct source *moved = array_reserve(c->sources, c->n_sources, &c->sources_capacity, sizeof s);
		if (!moved)
			return UINT32_MAX;
		c->sources = moved;
		c->sources[c->n_sources++] = s;
		c->source_index[slot] = (uint32_t)c->n_sources;
	}
	return c->source_index[slot] - 1;
}

/* ---- frames and stacks ---- */

/* Room for a run of n words; its offset, or 0 when refused (offset 0 is never given out). */
static uint32_t reserve_words(struct code *c, size_t n)
{
	if (!c->n_words)
		c->n_words = 1;
	if (c->n_words + n > CODE_MAX_WORDS)
		return 0;
	if (c->n_words + n > c->words_capacity) {
		size_t capacity = c->words_capacity ? c->words_capacity : 1024;
		while (capacity < c->n_words + n)
			capacity *= 2;
		uint32_t *moved = realloc(c->words, capacity * sizeof *moved);
		if (!moved)
			return 0;
		c->words = moved;
		c->words_capacity = capacity;
	}
	return (uint32_t)c->n_words;
}

bool code_frame(struct code *c, const struct ev_frame *f)
{
	size_t n = f->n < 64 ? f->n : 64;
	uint32_t at = reserve_words(c, n + 1);
	if (!at || !f->id)
		return false;
	c->words[at] = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		uint32_t source = intern_source(c, &f->frames[i]);
		if (source == UINT32_MAX)
			return false;
		c->words[at + 1 + i] = source;
	}
	/* An update with the same content (frames are told again after exec) takes no room. */
	uint32_t old = intmap_get(&c->frames, f->id);
	if (old != INTMAP_NONE && memcmp(&c->words[old], &c->words[at], (n + 1) * sizeof *c->words) == 0)
		return true;
	if (!intmap_put(&c->frames, f->id, at))
		return false;
	c->n_words += n + 1;
	return true;
}

static uint64_t words_hash(const uint32_t *w, size_t n)
{
	return hash_bytes(w, n * sizeof *w, 3);
}

static size_t stack_slot(const struct code *c, const uint32_t *index, size_t capacity, uint32_t at)
{
	const uint32_t *w = c->words;
	size_t n = (w[at] & ~TRUNCATED) + 1u, mask = capacity - 1, i = words_hash(w + at, n) & mask;
	while (index[i] && (w[index[i]] != w[at] || memcmp(w + index[i], w + at, n * sizeof *w) != 0))
		i = (i + 1) & mask;
	return i;
}

static bool stack_index_grow(struct code *c)
{
	if (c->n_stack_index * 2 < c->stack_index_capacity)
		return true;
	size_t capacity = c->stack_index_capacity ? c->stack_index_capacity * 2 : 256;
	uint32_t *index = calloc(capacity, sizeof *index);
	if (!index)
		return false;
	for (size_t i = 0; i < c->stack_index_capacity; i++)
		if (c->stack_index[i])
			index[stack_slot(c, index, capacity, c->stack_index[i])] = c->stack_index[i];
	free(c->stack_index);
	c->stack_index = index;
	c->stack_index_capacity = capacity;
	return true;
}

bool code_stack(struct code *c, const struct ev_stack *s)
{
	bool truncated = s->truncated || s->n > MAX_DEPTH;
	size_t n = s->n < MAX_DEPTH ? s->n : MAX_DEPTH;
	if (!s->id || !stack_index_grow(c))
		return false;
	uint32_t at = reserve_words(c, n + 2);
	if (!at)
		return false;
	c->words[at++] = s->id;
	c->words[at] = (uint32_t)n | (truncated ? TRUNCATED : 0);
	if (n)
		memcpy(&c->words[at + 1], s->frames, n * sizeof *c->words);
	size_t slot = stack_slot(c, c->stack_index, c->stack_index_capacity, at);
	if (!c->stack_index[slot]) {
		if (c->n_stacks >= CODE_MAX_STACKS)
			return false;
		c->stack_index[slot] = at;
		c->n_stack_index++;
		c->n_stacks++;
		c->n_words += n + 2;
	}
	return intmap_put(&c->stacks, s->id, c->stack_index[slot]);
}

uint32_t code_stack_content(const struct code *c, uint32_t stack_id)
{
	uint32_t at = intmap_get(&c->stacks, stack_id);
	return at == INTMAP_NONE ? 0 : at;
}

uint32_t code_stack_canonical(const struct code *c, uint32_t stack_id)
{
	uint32_t at = code_stack_content(c, stack_id);
	return at ? c->words[at - 1] : stack_id;
}

/* ---- export ---- */

void code_export_begin(struct code_export *e, const struct code *c, struct profile *p)
{
	*e = (struct code_export){.code = c, .profile = p};
	struct stack_row *rows = array_reserve(NULL, 0, &e->stacks_capacity, sizeof *rows);
	e->failed = !rows;
	p->stacks = rows;
	if (rows)
		p->stacks[p->n_stacks++] = (struct stack_row){0};
}

static char *copy_text(struct code_export *e, uint32_t offset)
{
	char *s = strdup(code_text(e->code, offset));
	e->failed |= !s;
	return s;
}

/* Adds a frame row under a key of by_source; NULL when out of memory. */
static struct frame_row *add_frame(struct code_export *e, uint32_t key)
{
	struct profile *p = e->profile;
	struct frame_row *rows = array_reserve(p->frames, p->n_frames, &e->frames_capacity, sizeof *rows);
	if (rows)
		p->frames = rows;
	if (!rows || !intmap_put(&e->by_source, key, (uint32_t)p->n_frames)) {
		e->failed = true;
		return NULL;
	}
	p->frames[p->n_frames] = (struct frame_row){0};
	return &p->frames[p->n_frames++];
}

static uint32_t export_source(struct code_export *e, uint32_t source)
{
	uint32_t ix = intmap_get(&e->by_source, source + 1);
	if (ix != INTMAP_NONE)
		return ix;
	struct frame_row *row = add_frame(e, source + 1);
	if (!row)
		return 0;
	const struct source *s = &e->code->sources[source];
	row->function = copy_text(e, s->function);
	row->file = s->file ? copy_text(e, s->file) : NULL;
	row->module = copy_text(e, s->module);
	row->line = s->line;
	row->language = s->language;
	return (uint32_t)(row - e->profile->frames);
}

/* A frame that was never resolved (its record was lost): one placeholder for all of them. */
static uint32_t export_unknown(struct code_export *e)
{
	uint32_t ix = intmap_get(&e->by_source, UINT32_MAX);
	if (ix != INTMAP_NONE)
		return ix;
	struct frame_row *row = add_frame(e, UINT32_MAX);
	if (!row)
		return 0;
	row->function = strdup("[unknown]");
	row->module = strdup("[unknown]");
	e->failed |= !row->function || !row->module;
	return (uint32_t)(row - e->profile->frames);
}

/* Expands the run of frame ids at `at` into frame rows. */
static struct stack_row expand(struct code_export *e, uint32_t at)
{
	const struct code *c = e->code;
	size_t depth = c->words[at] & ~TRUNCATED, n = 0, capacity = 0;
	struct stack_row row = {.truncated = (c->words[at] & TRUNCATED) != 0};
	for (size_t i = 0; i < depth; i++) {
		uint32_t frame = intmap_get(&c->frames, c->words[at + 1 + i]);
		size_t lines = frame == INTMAP_NONE ? 1 : c->words[frame];
		for (size_t k = 0; k < lines; k++) {
			uint32_t *moved = array_reserve(row.frame_ix, n, &capacity, sizeof *moved);
			if (!moved) {
				e->failed = true;
				break;
			}
			row.frame_ix = moved;
			row.frame_ix[n++] = frame == INTMAP_NONE ? export_unknown(e) : export_source(e, c->words[frame + 1 + k]);
		}
	}
	row.n = (uint32_t)n;
	return row;
}

static bool same_stack(const struct stack_row *a, const struct stack_row *b)
{
	return a->n == b->n && a->truncated == b->truncated &&
	       (!a->n || !memcmp(a->frame_ix, b->frame_ix, a->n * sizeof *a->frame_ix));
}

static size_t expanded_slot(const struct code_export *e, const uint32_t *index, size_t capacity, const struct stack_row *row)
{
	size_t mask = capacity - 1, i = words_hash(row->frame_ix, row->n) & mask;
	while (index[i] && !same_stack(&e->profile->stacks[index[i] - 1], row))
		i = (i + 1) & mask;
	return i;
}

static bool expanded_grow(struct code_export *e)
{
	struct profile *p = e->profile;
	if (p->n_stacks * 2 < e->expanded_capacity)
		return true;
	size_t capacity = e->expanded_capacity ? e->expanded_capacity * 2 : 256;
	uint32_t *index = calloc(capacity, sizeof *index);
	if (!index)
		return false;
	for (size_t i = 0; i < p->n_stacks; i++)
		index[expanded_slot(e, index, capacity, &p->stacks[i])] = (uint32_t)i + 1;
	free(e->expanded);
	e->expanded = index;
	e->expanded_capacity = capacity;
	return true;
}

uint32_t code_export_stack(struct code_export *e, uint32_t stack_id)
{
	struct profile *p = e->profile;
	uint32_t at = code_stack_content(e->code, stack_id);
	if (!at || e->failed)
		return 0;
	uint32_t ix = intmap_get(&e->by_content, at);
	if (ix != INTMAP_NONE)
		return ix;
	struct stack_row row = expand(e, at);
	struct stack_row *rows = array_reserve(p->stacks, p->n_stacks, &e->stacks_capacity, sizeof *rows);
	if (rows)
		p->stacks = rows;
	if (!rows || !expanded_grow(e)) {
		free(row.frame_ix);
		e->failed = true;
		return 0;
	}
	size_t slot = expanded_slot(e, e->expanded, e->expanded_capacity, &row);
	if (e->expanded[slot]) {
		free(row.frame_ix);
	} else {
		p->stacks[p->n_stacks++] = row;
		e->expanded[slot] = (uint32_t)p->n_stacks;
	}
	ix = e->expanded[slot] - 1;
	e->failed |= !intmap_put(&e->by_content, at, ix);
	return ix;
}

void code_export_end(struct code_export *e)
{
	intmap_fini(&e->by_content);
	intmap_fini(&e->by_source);
	free(e->expanded);
	e->expanded = NULL;
}
