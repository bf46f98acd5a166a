/* SPDX-License-Identifier: Apache-2.0
 *
 * In: mappings with the time from which they hold. Out: the mapping that covers an address at a time.
 *
 * The mappings in force lie in a sorted array without overlaps; those that were hidden, unmapped or belong to an image before
 * an exec are kept for a while, because a stack may be unwound some milliseconds after it was copied.
 */
#include "sampler/unwind/address_space.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PAST 1024

/* ---- lists and sets ---- */

struct mapping *mapping_list_push(struct mapping_list *l, const struct mapping *m)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 32;
		struct mapping *v = realloc(l->v, cap * sizeof *v);
		if (!v)
			return NULL;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n] = *m;
	return &l->v[l->n++];
}

static bool list_copy(struct mapping_list *to, const struct mapping_list *from)
{
	*to = (struct mapping_list){0};
	if (from->n == 0)
		return true;
	to->v = malloc(from->n * sizeof *to->v);
	if (!to->v)
		return false;
	memcpy(to->v, from->v, from->n * sizeof *to->v);
	to->n = to->cap = from->n;
	return true;
}

static struct mapping_set *set_new(void)
{
	struct mapping_set *set = calloc(1, sizeof *set);
	if (set)
		set->refs = 1;
	return set;
}

static void set_unref(struct mapping_set *set)
{
	if (!set || --set->refs > 0)
		return;
	free(set->now.v);
	free(set->past.v);
	free(set);
}

static struct mapping_set *set_ref(struct mapping_set *set)
{
	if (set)
		set->refs++;
	return set;
}

struct mapping_set *address_space_own(struct address_space *as)
{
	if (as->set && as->set->refs == 1)
		return as->set;
	struct mapping_set *copy = set_new();
	if (!copy)
		return NULL;
	if (as->set && (!list_copy(&copy->now, &as->set->now) || !list_copy(&copy->past, &as->set->past))) {
		set_unref(copy);
		return NULL;
	}
	if (as->set)
		copy->latest_ns = as->set->latest_ns;
	set_unref(as->set);
	as->set = copy;
	return copy;
}

void mapping_set_changed(struct mapping_set *set)
{
	set->id = 0;
	set->latest_ns = 0;
	for (size_t i = 0; i < set->now.n; i++)
		if (set->now.v[i].since_ns > set->latest_ns)
			set->latest_ns = set->now.v[i].since_ns;
	for (size_t i = 0; i < set->past.n; i++)
		if (set->past.v[i].until_ns > set->latest_ns)
			set->latest_ns = set->past.v[i].until_ns;
}

/* The id shares a 64-bit key with a 47-bit address, so it has 17 bits. When they are used up, the front cache is emptied and all
 * sets take new ones (their epoch is old). */
uint32_t mapping_set_id(struct object_cache *c, struct mapping_set *set)
{
	if (set->id && set->epoch == c->set_epoch)
		return set->id;
	if (++c->next_set_id >= 1u << 17) {
		memset(c->front, 0, sizeof *c->front << FRONT_BITS);
		c->next_set_id = 1;
		c->set_epoch++;
	}
	set->id = c->next_set_id;
	set->epoch = c->set_epoch;
	return set->id;
}

void mapping_set_retire(struct mapping_set *set, const struct mapping *m, uint64_t until_ns)
{
	if (until_ns <= m->since_ns)
		return;
	if (set->past.n >= MAX_PAST) { /* forget the oldest quarter */
		size_t drop = MAX_PAST / 4;
		memmove(set->past.v, set->past.v + drop, (set->past.n - drop) * sizeof *set->past.v);
		set->past.n -= drop;
	}
	struct mapping *p = mapping_list_push(&set->past, m);
	if (p)
		p->until_ns = until_ns;
}

/* ---- lookup ---- */

struct mapping_set *address_space_set_at(const struct address_space *as, uint64_t time_ns)
{
	for (size_t i = 0; i < as->n_old; i++)
		if (time_ns < as->old[i].until_ns)
			return as->old[i].set;
	return as->set;
}

/* Index of the first mapping that ends above addr. */
static size_t lower_bound(const struct mapping_list *l, uint64_t addr)
{
	size_t lo = 0, hi = l->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (l->v[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct mapping *mapping_set_find(const struct mapping_set *set, uint64_t time_ns, uint64_t addr)
{
	size_t i = lower_bound(&set->now, addr);
	const struct mapping *m = i < set->now.n && set->now.v[i].start <= addr ? &set->now.v[i] : NULL;
	if ((m && m->since_ns <= time_ns) || time_ns >= set->latest_ns)
		return m;
	const struct mapping *best = NULL;
	for (i = set->past.n; i-- > 0;) {
		const struct mapping *p = &set->past.v[i];
		if (addr >= p->start && addr < p->end && p->since_ns <= time_ns && time_ns < p->until_ns &&
		    (!best || p->since_ns > best->since_ns))
			best = p;
	}
	return best;
}

/* ---- changes ---- */

struct address_space *address_space_new(struct object_cache *c, pid_t pid)
{
	struct address_space *as = calloc(1, sizeof *as);
	if (!as)
		return NULL;
	as->cache = c;
	as->pid = pid;
	as->set = set_new();
	if (!as->set) {
		free(as);
		return NULL;
	}
	return as;
}

struct address_space *address_space_fork(const struct address_space *parent, pid_t child)
{
	struct address_space *as = calloc(1, sizeof *as);
	if (!as)
		return NULL;
	as->cache = parent->cache;
	as->pid = child;
	as->set = set_ref(parent->set);
	as->known_ns = parent->known_ns;
	return as;
}

void address_space_free(struct address_space *as)
{
	if (!as)
		return;
	for (size_t i = 0; i < as->n_old; i++)
		set_unref(as->old[i].set);
	set_unref(as->set);
	free(as);
}

void address_space_reset(struct address_space *as, uint64_t time_ns)
{
	struct mapping_set *fresh = set_new();
	if (!fresh)
		return;
	if (as->n_old == MAX_GENERATIONS) {
		set_unref(as->old[0].set);
		memmove(as->old, as->old + 1, (MAX_GENERATIONS - 1) * sizeof *as->old);
		as->n_old--;
	}
	as->old[as->n_old++] = (struct generation){as->set, time_ns};
	as->set = fresh;
	as->known_ns = time_ns;
}

void mapping_resolve(struct address_space *as, struct mapping *m)
{
	uint64_t vaddr;
	m->tries++;
	if (strcmp(m->path, "[vdso]") == 0) {
		m->object = object_cache_vdso(as->cache, as->pid, m->start, m->end);
	} else if (m->inode) {
		struct mapping_info info = {m->start,	  m->end,   m->file_offset, m->since_ns,  m->dev_major,
					    m->dev_minor, m->inode, m->path,	    m->executable};
		m->object = object_cache_get(as->cache, as->pid, &info, m->executable);
	}
	if (m->object && m->object->is_elf && elf_image_vaddr(&m->object->elf, m->file_offset, m->executable, &vaddr))
		m->bias = m->start - vaddr;
	else
		m->object = NULL; /* a file of another kind, mapped executable: code that only its runtime knows */
}

/* A data segment is told before the code that opens the file. */
static void resolve_siblings(struct address_space *as, struct mapping_set *set, const struct mapping *code)
{
	for (size_t i = 0; code->object && i < set->now.n; i++) {
		struct mapping *m = &set->now.v[i];
		if (!m->object && m->inode == code->inode && m->path == code->path)
			mapping_resolve(as, m);
	}
}

static bool same_place(const struct mapping *a, const struct mapping *b)
{
	return a->start == b->start && a->end == b->end && a->file_offset == b->file_offset && a->inode == b->inode &&
	       a->dev_major == b->dev_major && a->dev_minor == b->dev_minor && a->path == b->path &&
	       a->executable == b->executable;
}

static struct mapping part_of(const struct mapping *m, uint64_t start, uint64_t end)
{
	struct mapping p = *m;
	p.file_offset += start - m->start;
	p.start = start;
	p.end = end;
	return p;
}

static int by_address(const void *a, const void *b)
{
	const struct mapping *x = a, *y = b;
	return x->start < y->start ? -1 : x->start > y->start;
}

static bool push_part(struct mapping_list *out, const struct mapping *m, uint64_t start, uint64_t end)
{
	struct mapping part = part_of(m, start, end);
	return start >= end || mapping_list_push(out, &part);
}

/* One old mapping under the new one: the newer of the two keeps the common part, the other's retires. Advances *at, up to where m
 * is placed. */
static bool overlay(struct mapping_set *set, struct mapping_list *out, const struct mapping *old, const struct mapping *m,
		    uint64_t *at)
{
	uint64_t lo = old->start > m->start ? old->start : m->start, hi = old->end < m->end ? old->end : m->end;
	bool old_is_newer = old->since_ns > m->since_ns;
	struct mapping loser = part_of(old_is_newer ? m : old, lo, hi);
	mapping_set_retire(set, &loser, old_is_newer ? old->since_ns : m->since_ns);
	if (!push_part(out, old, old->start, lo) || !push_part(out, old, hi, old->end))
		return false;
	if (!old_is_newer)
		return true;
	bool ok = push_part(out, old, lo, hi) && push_part(out, m, *at, lo);
	*at = hi;
	return ok;
}

/* Rebuilds `now` with m in it. An older mapping that overlaps is hidden from m's time on; a younger one (records may come out of
 * order) stays, and m is past there already. */
static bool insert(struct mapping_set *set, const struct mapping *m)
{
	struct mapping_list out = {0};
	uint64_t at = m->start;
	bool ok = true;
	for (size_t i = 0; ok && i < set->now.n; i++) {
		const struct mapping *old = &set->now.v[i];
		if (old->end <= m->start || old->start >= m->end)
			ok = mapping_list_push(&out, old);
		else
			ok = overlay(set, &out, old, m, &at);
	}
	if (!ok || !push_part(&out, m, at, m->end)) {
		free(out.v);
		return false;
	}
	qsort(out.v, out.n, sizeof *out.v, by_address);
	free(set->now.v);
	set->now = out;
	return true;
}

void address_space_map(struct address_space *as, const struct mapping_info *info)
{
	struct mapping m = {.start = info->start,
			    .end = info->end,
			    .file_offset = info->file_offset,
			    .since_ns = info->since_ns,
			    .until_ns = UINT64_MAX,
			    .inode = info->inode,
			    .dev_major = info->dev_major,
			    .dev_minor = info->dev_minor,
			    .executable = info->executable};
	m.path = object_cache_intern(as->cache, info->path ? info->path : "");
	if (!m.path || m.start >= m.end)
		return;
	size_t at = lower_bound(&as->set->now, m.start);
	if (at < as->set->now.n && same_place(&as->set->now.v[at], &m) && as->set->now.v[at].since_ns <= m.since_ns)
		return; /* a scan was faster than the record */
	struct mapping_set *set = address_space_own(as);
	if (!set)
		return;
	mapping_resolve(as, &m);
	if (!insert(set, &m))
		return;
	if (m.since_ns > as->known_ns)
		as->known_ns = m.since_ns;
	if (m.executable)
		resolve_siblings(as, set, &m);
	mapping_set_changed(set);
}

/* ---- telling ---- */

static struct mapping_info info_of(const struct mapping *m)
{
	return (struct mapping_info){m->start,	   m->end,   m->file_offset, m->since_ns,  m->dev_major,
				     m->dev_minor, m->inode, m->path,	     m->executable};
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* All addresses at which the view may change, sorted. Returns their number, 0 when out of memory (*v is NULL) or empty. */
static size_t edges(const struct mapping_set *set, uint64_t **v)
{
	size_t n = 0;
	*v = malloc(2 * (set->now.n + set->past.n + 1) * sizeof **v);
	if (!*v)
		return 0;
	for (size_t i = 0; i < set->now.n + set->past.n; i++) {
		const struct mapping *m = i < set->now.n ? &set->now.v[i] : &set->past.v[i - set->now.n];
		(*v)[n++] = m->start;
		(*v)[n++] = m->end;
	}
	if (n)
		qsort(*v, n, sizeof **v, by_value);
	return n;
}

/* Past mappings may overlap each other, so the view of an older time is put together from the mapping found between each
 * two edges. */
static int foreach_past(const struct mapping_set *set, uint64_t time_ns, mapping_fn fn, void *ctx)
{
	uint64_t *edge, end;
	size_t n = edges(set, &edge);
	int ret = 0;
	for (size_t i = 0; i + 1 < n && !ret; i++) {
		const struct mapping *m = edge[i] < edge[i + 1] ? mapping_set_find(set, time_ns, edge[i]) : NULL;
		if (!m)
			continue;
		struct mapping part = part_of(m, edge[i], end = edge[i + 1]);
		for (; i + 2 < n && end < m->end && mapping_set_find(set, time_ns, edge[i + 1]) == m; i++)
			part.end = end = edge[i + 2];
		struct mapping_info info = info_of(&part);
		ret = fn(ctx, &info, m->object);
	}
	free(edge);
	return ret;
}

int address_space_foreach(const struct address_space *as, uint64_t time_ns, mapping_fn fn, void *ctx)
{
	const struct mapping_set *set = address_space_set_at(as, time_ns);
	int ret = 0;
	if (time_ns < set->latest_ns)
		return foreach_past(set, time_ns, fn, ctx);
	for (size_t i = 0; i < set->now.n && !ret; i++) {
		struct mapping_info info = info_of(&set->now.v[i]);
		ret = fn(ctx, &info, set->now.v[i].object);
	}
	return ret;
}

struct bias_search {
	const struct object *object;
	uint64_t *bias;
	bool found;
};

/* A file that a process also reads by mmap (debuggers, profilers) is not loaded there: code decides, data only when there
 * is no code. */
static int look_for_bias(void *ctx, const struct mapping_info *m, struct object *obj)
{
	struct bias_search *s = ctx;
	uint64_t vaddr;
	if (obj != s->object || (s->found && !m->executable) ||
	    !elf_image_vaddr(&obj->elf, m->file_offset, m->executable, &vaddr))
		return 0;
	*s->bias = m->start - vaddr;
	s->found = true;
	return m->executable;
}

bool address_space_bias(const struct address_space *as, uint64_t time_ns, const struct object *obj, uint64_t *bias)
{
	struct bias_search s = {.object = obj, .bias = bias};
	if (obj)
		address_space_foreach(as, time_ns, look_for_bias, &s);
	return s.found;
}

bool address_space_locate(struct address_space *as, uint64_t time_ns, uint64_t pc, bool is_return, struct code_location *out)
{
	uint64_t addr = pc - is_return;
	const struct mapping *m = mapping_set_find(address_space_set_at(as, time_ns), time_ns, addr);
	*out = (struct code_location){NULL, addr, "[unknown]"};
	if (!m)
		return false;
	out->module = m->path[0] ? m->path : "[anon]";
	out->object = m->object;
	if (m->object)
		out->vaddr = addr - m->bias;
	return true;
}
