/* SPDX-License-Identifier: Apache-2.0
 *
 * See alternation.h. Per window: find the pairs and their turns in one pass, then sweep each pair's own boundaries in time
 * order. The time between two turns (a gap) counts only when it is not much longer than the pair's usual gap: a pair that
 * talks in bursts is judged by its bursts, not by the pauses between them.
 */
#include "aggregate/alternation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A gap longer than this many mean gaps is a pause. Service times of real servers spread over about one decade; bursts are
 * separated by far more. */
#define PAUSE_FACTOR 16

/* Nobody of the pair runs and somebody is runnable for longer than this: others have the CPUs. That says nothing about the pair, and
 * is kept apart. Ordinary wake-ups take a few microseconds, tens when the CPU slept. */
#define NO_CPU_NS 100000

#define SEEN_MAX 65536

struct seen_pair {
	uint32_t proc_a, proc_b; /* key: process indexes, pid order */
	uint32_t turns, first, filled;
	uint32_t hands[2]; /* a hands to b, b hands to a */
	uint64_t hand_ns[2];
	uint64_t first_ns, last_ns;
};

void alternation_init(struct alternation *a)
{
	memset(a, 0, sizeof(*a));
	row_table_init(&a->pairs, sizeof(struct pair_row), 2 * sizeof(int32_t), 16384);
	row_table_init(&a->seen, sizeof(struct seen_pair), 2 * sizeof(uint32_t), SEEN_MAX);
}

void alternation_fini(struct alternation *a)
{
	row_table_fini(&a->pairs);
	row_table_fini(&a->seen);
	free(a->turns);
	free(a->stamp);
	free(a->bits);
}

void pair_row_merge(void *into, const void *from)
{
	struct pair_row *x = into;
	const struct pair_row *y = from;
	x->active_ns += y->active_ns;
	x->queued_ns += y->queued_ns;
	x->a_waits_b += y->a_waits_b;
	x->b_waits_a += y->b_waits_a;
	x->a_hands_b += y->a_hands_b;
	x->b_hands_a += y->b_hands_a;
	x->switches += y->switches;
	x->turns += y->turns;
	x->covered_ns += y->covered_ns;
	x->run_both_ns += y->run_both_ns;
	x->run_either_ns += y->run_either_ns;
	x->ready_both_ns += y->ready_both_ns;
	x->wake_latency_ns += y->wake_latency_ns;
	x->service_a_ns += y->service_a_ns;
	x->service_b_ns += y->service_b_ns;
	x->deeper_a_ns += y->deeper_a_ns;
	x->deeper_b_ns += y->deeper_b_ns;
}

static int grow(void *array, size_t *cap, size_t n, size_t size)
{
	void **slot = array;
	if (n <= *cap)
		return 0;
	void *p = realloc(*slot, n * size);
	if (!p)
		return -ENOMEM;
	*slot = p;
	*cap = n;
	return 0;
}

/* The processes of a turn, or false when the wait is none: within one process, or with somebody outside. */
static bool turn_pair(const struct wgraph *g, size_t wait, uint32_t key[2])
{
	if (g->end[wait] != END_TASK)
		return false;
	uint32_t x = wgraph_waiter_proc(g, wait), y = wgraph_waker_proc(g, wait);
	if (y == WG_NONE || x == y || !g->procs[x].in_tree)
		return false;
	key[0] = x < y ? x : y; /* procs are in pid order */
	key[1] = x < y ? y : x;
	return true;
}

static struct seen_pair *see(struct alternation *a, uint32_t x, uint32_t y)
{
	uint32_t key[2] = {x < y ? x : y, x < y ? y : x};
	return row_table_get(&a->seen, key);
}

static void find_pairs(struct alternation *a, const struct wgraph *g)
{
	row_table_clear(&a->seen);
	for (size_t i = 0; i < g->n_marks; i++) {
		if (wg_mark_kind(g->marks[i]) != MARK_WAKE)
			continue;
		uint32_t wait = wg_mark_index(g->marks[i]), key[2];
		const struct window_wait *w = &g->w->waits[wait];
		struct seen_pair *s;
		if (w->flags & WINDOW_SPURIOUS)
			continue;
		if (turn_pair(g, wait, key) && (s = row_table_get(&a->seen, key))) {
			if (!s->turns++)
				s->first_ns = w->t_wake;
			s->last_ns = w->t_wake;
		}
		if (w->handoff_count && w->folded_count && w->handoff != WINDOW_NONE) {
			uint32_t from = g->proc[w->thread], to = g->proc[w->handoff];
			if (from != to && (s = see(a, from, to))) {
				bool b = from == s->proc_b;
				s->hands[b] += w->handoff_count;
				s->hand_ns[b] += w->folded_ns / w->folded_count * w->handoff_count;
			}
		}
	}
}

static int cmp_turns(const void *a, const void *b)
{
	const struct seen_pair *x = a, *y = b;
	return x->turns > y->turns ? -1 : x->turns < y->turns;
}

/* Keeps the pairs with most turns and gives each its stretch of a->turns. */
static int lay_out_turns(struct alternation *a, const struct wgraph *g)
{
	if (a->seen.n) /* qsort must not get NULL, not even with no rows */
		qsort(a->seen.rows, a->seen.n, sizeof(struct seen_pair), cmp_turns);
	uint32_t total = 0;
	for (size_t i = 0; i < a->seen.n; i++) {
		struct seen_pair *s = row_table_at(&a->seen, i);
		if (i >= ALTERNATION_PAIRS)
			a->dropped += s->turns;
		s->first = total;
		total += s->turns;
	}
	if (grow(&a->turns, &a->cap_turns, total + 1, sizeof(*a->turns)))
		return -ENOMEM;
	row_table_reindex(&a->seen);
	for (size_t i = 0; i < g->n_marks && total; i++) {
		uint32_t wait = wg_mark_index(g->marks[i]), key[2];
		if (wg_mark_kind(g->marks[i]) != MARK_WAKE || (g->w->waits[wait].flags & WINDOW_SPURIOUS) || !turn_pair(g, wait, key))
			continue;
		struct seen_pair *s = row_table_find(&a->seen, key);
		if (s)
			a->turns[s->first + s->filled++] = wait;
	}
	return 0;
}

/* Marks the boundaries of all threads that take part in the pair's turns. */
static void mark_thread(struct alternation *a, const struct wgraph *g, uint32_t thread, uint32_t stamp)
{
	if (a->stamp[thread] == stamp)
		return;
	a->stamp[thread] = stamp;
	const struct window_thread *t = &g->w->threads[thread];
	for (size_t r = 3 * t->first; r < 3 * (t->first + t->n); r++)
		a->bits[g->rank[r] / 64] |= 1ull << (g->rank[r] % 64);
	for (unsigned end = 0; end < 2; end++) {
		uint32_t r = g->thread_rank[2 * thread + end];
		a->bits[r / 64] |= 1ull << (r % 64);
	}
}

/* Marks the thread of its own process that most often ended this thread's waits, when it did so `least` times. */
static bool link_wakers(struct alternation *a, const struct wgraph *g, uint32_t thread, uint32_t least, uint32_t stamp)
{
	const struct window_thread *t = &g->w->threads[thread];
	uint32_t candidate = WG_NONE, votes = 0, count = 0;
	for (size_t i = t->first; i < t->first + t->n; i++) { /* majority vote, then a count */
		if (g->end[i] != END_TASK || g->proc[g->waker[i]] != g->proc[thread])
			continue;
		if (!votes)
			candidate = g->waker[i];
		votes += g->waker[i] == candidate ? 1 : (uint32_t)-1;
	}
	for (size_t i = t->first; i < t->first + t->n && candidate != WG_NONE; i++)
		count += g->end[i] == END_TASK && g->waker[i] == candidate;
	if (candidate == WG_NONE || count < least || a->stamp[candidate] == stamp)
		return false;
	mark_thread(a, g, candidate, stamp);
	return true;
}

/* "Hops are between processes": a thread that hands a participant its work, or takes it, inside the same process is part of the
 * hop (a pool's submitter, reader and writer threads). A few levels, and only where the hand-offs are about as frequent as the
 * turns, so that a server's unrelated threads stay out. */
#define LINK_LEVELS 3
static void link_threads(struct alternation *a, const struct wgraph *g, const struct seen_pair *p, uint32_t stamp)
{
	for (unsigned level = 0; level < LINK_LEVELS; level++) {
		bool grew = false;
		for (unsigned side = 0; side < 2; side++) {
			const struct wg_proc *proc = &g->procs[side ? p->proc_b : p->proc_a];
			for (uint32_t i = 0; i < proc->n_threads && proc->n_threads > 1; i++) {
				uint32_t thread = g->proc_threads[proc->first_thread + i];
				if (a->stamp[thread] == stamp && link_wakers(a, g, thread, p->turns / 32 + 1, stamp))
					grew = true;
			}
		}
		if (!grew)
			break;
	}
}

/* The state of one pair while its boundaries pass by in time order. Index 0: a, 1: b. */
struct sweep {
	const struct wgraph *g;
	uint32_t proc[2];
	int running[2], queued[2], waiting[2]; /* threads of each: on the CPU, runnable, waiting on the other */
	uint64_t now, last_turn, max_gap;
	bool begun;
	uint64_t preempted[2], excused[2]; /* by others, for short times: in all, and where it made a gap too long to count */
	struct pair_row gap; /* sums since the last turn */
};

static void advance(struct sweep *s, uint64_t t)
{
	uint64_t dt = t - s->now;
	s->now = t;
	if (!dt || !s->begun)
		return;
	bool a = s->running[0] > 0, b = s->running[1] > 0;
	if (!a && !b && (s->queued[0] > 0 || s->queued[1] > 0) && dt > NO_CPU_NS) {
		s->gap.queued_ns += dt;
		return;
	}
	s->gap.run_both_ns += a && b ? dt : 0;
	s->gap.run_either_ns += a || b ? dt : 0;
	s->gap.ready_both_ns += (a && !b && s->queued[1] > 0) || (b && !a && s->queued[0] > 0) ? dt : 0;
	s->gap.service_a_ns += a ? dt : 0;
	s->gap.service_b_ns += b ? dt : 0;
	s->gap.covered_ns += s->waiting[0] || s->waiting[1] ? dt : 0;
	/* the awaited side neither runs nor is runnable nor waits for the other: it waits on a third party */
	if (s->waiting[1] && !a && !s->queued[0] && !s->waiting[0])
		s->gap.deeper_a_ns += dt;
	if (s->waiting[0] && !b && !s->queued[1] && !s->waiting[1])
		s->gap.deeper_b_ns += dt;
}

/* Short preemptions by somebody else than the other side's thread that it woke, told with wait w: it seemed to run, and did not. */
static uint64_t preempted_by_others(const struct sweep *s, const struct window_wait *w)
{
	unsigned side = s->g->proc[w->thread] == s->proc[1];
	if (w->handoff == WINDOW_NONE || s->g->proc[w->handoff] != s->proc[!side])
		return w->folded_ns;
	return w->folded_count > w->handoff_count ? w->folded_ns / w->folded_count * (w->folded_count - w->handoff_count) : 0;
}

/* Whether the thread that ended this wait was kept from the CPU for most of the gap: told as a sum with its own next wait. */
static bool was_preempted(struct sweep *s, uint32_t wait, uint64_t gap)
{
	const struct window_thread *t = &s->g->w->threads[s->g->waker[wait]];
	uint32_t at = wgraph_wait_at(s->g, s->g->waker[wait], s->g->w->waits[wait].t_wake);
	size_t next = at == WG_NONE ? t->first : (size_t)at + 1;
	uint64_t ns = next < t->first + t->n ? preempted_by_others(s, &s->g->w->waits[next]) : 0;
	if (2 * ns < gap)
		return false;
	s->excused[s->g->proc[s->g->waker[wait]] == s->proc[1]] += ns;
	return true;
}

/* Ends the gap before a turn at time t; a pause is dropped. */
static void close_gap(struct sweep *s, struct pair_row *row, uint64_t t, uint32_t wait)
{
	uint64_t gap = t - s->last_turn - (s->begun ? s->gap.queued_ns : 0);
	if (s->begun && gap <= s->max_gap) {
		s->gap.active_ns = gap;
		pair_row_merge(row, &s->gap);
	} else if (s->begun && was_preempted(s, wait, gap)) {
		row->queued_ns += t - s->last_turn;
	}
	memset(&s->gap, 0, sizeof(s->gap));
	s->begun = true;
	s->last_turn = t;
}

static bool is_turn(const struct sweep *s, uint32_t wait, unsigned side)
{
	return s->g->end[wait] == END_TASK && wgraph_waker_proc(s->g, wait) == s->proc[!side];
}

static void pass_mark(struct sweep *s, struct pair_row *row, uint64_t mark)
{
	const struct wgraph *g = s->g;
	uint64_t t = wg_mark_time(mark);
	uint32_t i = wg_mark_index(mark);
	advance(s, t);
	if (wg_mark_kind(mark) == MARK_THREAD) {
		s->running[g->proc[i / 2] == s->proc[1]] += i & 1 ? -1 : 1;
		return;
	}
	unsigned side = wgraph_waiter_proc(g, i) == s->proc[1];
	bool turn = is_turn(s, i, side);
	switch (wg_mark_kind(mark)) {
	case MARK_OUT:
		s->running[side]--;
		s->waiting[side] += turn;
		s->preempted[side] += preempted_by_others(s, &g->w->waits[i]);
		break;
	case MARK_WAKE:
		s->queued[side]++;
		if (turn)
			close_gap(s, row, t, i);
		break;
	default:
		s->queued[side]--;
		s->running[side]++;
		s->waiting[side] -= turn;
	}
}

/* Turns that changed side. Hand-offs have no place in time of their own (they are told as counts): each fills one place
 * between two successive waits of the other side, for it is the wake-up that led to the second of them. */
static void count_switches(const struct alternation *a, const struct wgraph *g, const struct seen_pair *s, struct pair_row *row)
{
	uint64_t same[2] = {0}, waits[2] = {0}, switches = 0;
	unsigned before = 0;
	for (uint32_t i = 0; i < s->turns; i++) {
		uint32_t wait = a->turns[s->first + i];
		unsigned side = wgraph_waiter_proc(g, wait) == s->proc_b;
		waits[side]++;
		if (i && side == before)
			same[side]++;
		switches += i && side != before;
		before = side;
		row->wake_latency_ns += g->w->waits[wait].t_run - g->w->waits[wait].t_wake;
	}
	for (unsigned side = 0; side < 2; side++) { /* hands[0]: by a, between waits of b */
		uint64_t places = same[!side], used = s->hands[side] < places ? s->hands[side] : places;
		switches += 2 * used;
	}
	uint64_t turns = s->turns + s->hands[0] + s->hands[1];
	row->a_waits_b += waits[0];
	row->b_waits_a += waits[1];
	row->a_hands_b += s->hands[0];
	row->b_hands_a += s->hands[1];
	row->turns += turns;
	row->switches += turns && switches > turns - 1 ? turns - 1 : switches;
}

/* While a thread that handed the CPU over was preempted, it did not run: take that time back from the sweep, which sees
 * such a thread as running without a break. The time is covered: the other side worked, this one could not. */
static void take_back_folded(struct pair_row *row, const struct seen_pair *s, const struct sweep *w)
{
	uint64_t ns[2] = {s->hand_ns[0], s->hand_ns[1]}, *service[2] = {&row->service_a_ns, &row->service_b_ns};
	for (unsigned i = 0; i < 2; i++) {
		uint64_t both = ns[i] < row->run_both_ns ? ns[i] : row->run_both_ns;
		row->run_both_ns -= both;
		*service[i] -= ns[i] < *service[i] ? ns[i] : *service[i];
		row->covered_ns += both;
		row->ready_both_ns += both;
	}
	for (unsigned i = 0; i < 2; i++) {
		uint64_t by_others = w->preempted[i] - (w->excused[i] < w->preempted[i] ? w->excused[i] : w->preempted[i]);
		uint64_t lost = by_others < *service[i] ? by_others : *service[i];
		lost = lost < row->run_either_ns ? lost : row->run_either_ns;
		lost = lost < row->active_ns ? lost : row->active_ns;
		*service[i] -= lost;
		row->run_both_ns -= lost < row->run_both_ns ? lost : row->run_both_ns;
		row->run_either_ns -= lost;
		row->active_ns -= lost;
		row->queued_ns += lost;
	}
	if (row->covered_ns > row->active_ns)
		row->covered_ns = row->active_ns;
}

static void sweep_pair(struct alternation *a, const struct wgraph *g, const struct seen_pair *p, uint32_t stamp, struct pair_row *row)
{
	memset(a->bits, 0, (g->n_marks / 64 + 1) * sizeof(*a->bits));
	for (uint32_t i = p->first; i < p->first + p->turns; i++) {
		mark_thread(a, g, g->w->waits[a->turns[i]].thread, stamp);
		mark_thread(a, g, g->waker[a->turns[i]], stamp);
	}
	link_threads(a, g, p, stamp);
	struct sweep s = {.g = g, .proc = {p->proc_a, p->proc_b}};
	s.max_gap = (p->last_ns - p->first_ns) / (p->turns > 1 ? p->turns - 1 : 1) * PAUSE_FACTOR;
	for (size_t word = 0; word <= g->n_marks / 64; word++)
		for (uint64_t b = a->bits[word]; b; b &= b - 1)
			pass_mark(&s, row, g->marks[word * 64 + (size_t)__builtin_ctzll(b)]);
	count_switches(a, g, p, row);
	take_back_folded(row, p, &s);
}

int alternation_add(struct alternation *a, const struct wgraph *g)
{
	find_pairs(a, g);
	if (lay_out_turns(a, g) || grow(&a->stamp, &a->cap_threads, g->w->n_threads + 1, sizeof(*a->stamp)) ||
	    grow(&a->bits, &a->cap_bits, g->n_marks / 64 + 1, sizeof(*a->bits)))
		return -ENOMEM;
	memset(a->stamp, 0, (g->w->n_threads + 1) * sizeof(*a->stamp));
	for (size_t i = 0; i < a->seen.n && i < ALTERNATION_PAIRS; i++) {
		const struct seen_pair *p = row_table_at(&a->seen, i);
		struct pair_row window = {.pid_a = g->procs[p->proc_a].pid, .pid_b = g->procs[p->proc_b].pid};
		struct pair_row *row = row_table_get(&a->pairs, &window);
		sweep_pair(a, g, p, (uint32_t)i + 1, &window);
		if (row)
			pair_row_merge(row, &window);
		else
			a->dropped += window.turns;
	}
	return 0;
}

static void swap64(uint64_t *a, uint64_t *b)
{
	uint64_t t = *a;
	*a = *b;
	*b = t;
}

void pair_row_swap(struct pair_row *p)
{
	int32_t pid = p->pid_a;
	p->pid_a = p->pid_b;
	p->pid_b = pid;
	swap64(&p->a_waits_b, &p->b_waits_a);
	swap64(&p->a_hands_b, &p->b_hands_a);
	swap64(&p->service_a_ns, &p->service_b_ns);
	swap64(&p->deeper_a_ns, &p->deeper_b_ns);
}
