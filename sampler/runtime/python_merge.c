/* SPDX-License-Identifier: Apache-2.0
 *
 * Splices native and Python frames. In: the native stack (pcs and canonical frame addresses), the pairs, where the eval
 * function lies; out: one list, leaf first, in which the Python frames that an eval frame ran stand in its place.
 *
 * Which native frame is the eval frame of a group of Python frames? Since 3.12 the mark below a group (the shim) is a local
 * variable of that very C frame: its address decides, exactly, whatever the compiler made of the function (.cold parts, tail
 * calls). Before, groups and frames with a pc inside the function are matched in order. When their numbers differ, nothing
 * is dropped: leftover groups follow the last eval frame, leftover eval frames stay native, and the stack is called
 * unmerged.
 */
#include "sampler/runtime/python.h"

struct merge {
	const struct python_range *eval;
	unsigned n_eval;
	const struct python_native *native;
	const uint64_t *pairs;
	size_t n_pairs, next; /* next pair to be told */
	struct python_merged *out;
	size_t max, n;
};

static bool is_eval(const struct merge *m, size_t i)
{
	uint64_t pc = m->native->pcs[i];

	if (i > 0)
		pc--; /* a return address */
	for (unsigned k = 0; k < m->n_eval; k++)
		if (pc >= m->eval[k].start && pc < m->eval[k].end)
			return true;
	return false;
}

static void put(struct merge *m, uint64_t pc, size_t native, size_t pair)
{
	if (m->n < m->max)
		m->out[m->n++] = (struct python_merged){.pc = pc, .native = native, .pair = pair};
}

/* One past the last pair of the group that starts at pair i; *shim its mark's address or 0; *whole: the end was seen. */
static size_t group_end(const struct merge *m, size_t i, uint64_t *shim, bool *whole)
{
	*shim = 0;
	*whole = true;
	for (; i < m->n_pairs; i++) {
		if (m->pairs[2 * i] & PYTHON_PAIR_SHIM) {
			*shim = m->pairs[2 * i + 1];
			return i + 1;
		}
		if (m->pairs[2 * i] & PYTHON_PAIR_ENTRY)
			return i + 1;
	}
	*whole = false;
	return i;
}

static void put_group(struct merge *m, size_t end)
{
	for (; m->next < end; m->next++)
		if (!(m->pairs[2 * m->next] & PYTHON_PAIR_SHIM))
			put(m, 0, SIZE_MAX, m->next);
}

static void put_rest(struct merge *m)
{
	put_group(m, m->n_pairs);
}

/* The native frame, from `from` on, whose C frame holds addr; n when none. */
static size_t frame_holding(const struct merge *m, size_t from, uint64_t addr)
{
	const struct python_native *s = m->native;

	for (size_t i = from; i < s->n; i++) {
		if (i > 0 && s->sps[i - 1] > addr)
			return s->n; /* lies below: no frame of this stack holds it */
		if (s->sps[i] > addr)
			return i;
		if (!s->sps[i])
			return s->n; /* the walk ended here */
	}
	return s->n;
}

static size_t count_groups(const struct merge *m)
{
	uint64_t shim;
	size_t n = 0;
	bool whole;

	for (size_t i = 0; i < m->n_pairs; n++)
		i = group_end(m, i, &shim, &whole);
	return n;
}

/* By the marks' addresses. False when a mark lies in no frame though the native stack is complete. */
static bool merge_by_address(struct merge *m)
{
	size_t at = 0;
	bool matched = true;

	while (m->next < m->n_pairs) {
		uint64_t shim;
		bool whole;
		size_t end = group_end(m, m->next, &shim, &whole), holder;
		if (!whole)
			break;
		holder = frame_holding(m, at, shim);
		if (holder == m->native->n && end == m->next + 1 && (m->pairs[2 * m->next] & PYTHON_PAIR_SHIM)) {
			m->next = end; /* a mark without frames: the thread state's own base frame (3.14) */
			continue;
		}
		if (holder == m->native->n) {
			matched = false;
			break;
		}
		for (; at < holder; at++)
			put(m, m->native->pcs[at], at, SIZE_MAX);
		at = holder + 1;
		put_group(m, end);
	}
	if (m->next < m->n_pairs) /* a group without mark (cut), or one beyond the native stack's end */
		put_rest(m);
	for (; at < m->native->n; at++)
		put(m, m->native->pcs[at], at, SIZE_MAX);
	return matched || m->native->truncated;
}

/* By order. */
static bool merge_by_order(struct merge *m, bool pairs_truncated)
{
	size_t evals = 0, groups = count_groups(m), seen = 0;

	for (size_t i = 0; i < m->native->n; i++)
		evals += is_eval(m, i);
	for (size_t i = 0; i < m->native->n; i++) {
		uint64_t shim;
		bool whole;
		if (!is_eval(m, i) || m->next >= m->n_pairs) {
			put(m, m->native->pcs[i], i, SIZE_MAX);
			continue;
		}
		put_group(m, group_end(m, m->next, &shim, &whole));
		if (++seen == evals)
			put_rest(m);
	}
	put_rest(m);
	return evals == groups || (evals < groups && m->native->truncated) || (evals > groups && pairs_truncated);
}

static bool has_shims(const struct merge *m)
{
	for (size_t i = 0; i < m->n_pairs; i++)
		if (m->pairs[2 * i] & PYTHON_PAIR_SHIM)
			return true;
	return false;
}

size_t python_merge(const struct python_range *eval, unsigned n_eval, const struct python_native *native, const uint64_t *pairs,
		    size_t n_pairs, bool pairs_truncated, struct python_merged *out, size_t max, bool *unmerged)
{
	struct merge m = {
		.eval = eval, .n_eval = n_eval, .native = native, .pairs = pairs, .n_pairs = n_pairs, .out = out, .max = max};

	if (native->sps && has_shims(&m))
		*unmerged = !merge_by_address(&m);
	else
		*unmerged = !merge_by_order(&m, pairs_truncated);
	return m.n;
}
