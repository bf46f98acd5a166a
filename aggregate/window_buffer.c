/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregate/window_buffer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_EVENTS 16384
#define DEFAULT_MS 1000
#define DEFAULT_DUTY 10
/* What analysis may cost: a free start (so that short runs are covered whole), then a floor share of wall time, more where many
 * events make its cost per event small, never more than duty_percent. On 110,000 waits a second this is some 45 ns a wait. */
#define FREE_NS 30000000ull
#define FLOOR_SHARE 0.005
#define EVENT_NS 40.0
#define LAG_DIVISOR 8          /* the lag is an eighth of the window ... */
#define MAX_LAG_NS 50000000ull /* ... but no more than this */

bool window_buffer_init(struct window_buffer *b, const struct aggregator_options *opt)
{
	*b = (struct window_buffer){
	    .max_waits = opt->window_events ? opt->window_events : DEFAULT_EVENTS,
	    .duty_percent = opt->window_duty_percent ? opt->window_duty_percent : DEFAULT_DUTY,
	    .max_ns = (opt->window_ms ? opt->window_ms : DEFAULT_MS) * 1000000ull,
	    .serial = 1,
	};
	if (b->max_waits > 1u << 24)
		b->max_waits = 1u << 24;
	b->capacity = b->max_waits + b->max_waits / 4 + 64;
	b->waits = malloc(b->capacity * sizeof *b->waits);
	b->sorted = malloc(b->capacity * sizeof *b->sorted);
	return b->waits && b->sorted;
}

void window_buffer_fini(struct window_buffer *b)
{
	free(b->waits);
	free(b->sorted);
	free(b->entries);
}

/* Empties the buffer; the next window starts at time_ns. */
void window_buffer_start(struct window_buffer *b, uint64_t time_ns)
{
	b->n = 0;
	b->n_entries = 0;
	b->serial++;
	b->start_ns = time_ns;
	b->end_ns = 0;
	if (!b->first_ns)
		b->first_ns = time_ns;
}

/* The entry of a thread, made when absent; NULL when out of memory. */
static struct window_entry *entry_of(struct window_buffer *b, struct thread *h, uint32_t thread)
{
	if (h->window_serial == b->serial)
		return &b->entries[h->window_ix];
	struct window_entry *moved = array_reserve(b->entries, b->n_entries, &b->entries_capacity, sizeof *moved);
	if (!moved)
		return NULL;
	b->entries = moved;
	b->entries[b->n_entries] = (struct window_entry){.thread = thread};
	h->window_ix = (uint32_t)b->n_entries;
	h->window_serial = b->serial;
	return &b->entries[b->n_entries++];
}

static struct window_wait *push(struct window_buffer *b)
{
	if (b->n < b->capacity)
		return &b->waits[b->n++];
	b->missed++;
	return NULL;
}

/* Lost waits have a length but no place: they are told at the start of the gap that they were accounted in. */
static void push_lost(struct window_buffer *b, uint32_t entry, const struct account_step *step)
{
	struct window_wait *w = push(b);
	if (!w)
		return;
	*w = (struct window_wait){.t_out = step->from, .cls = WC_OTHER, .flags = WINDOW_LOST, .thread = entry};
	w->t_wake = w->t_run = step->from + step->gap_lost_ns;
}

static uint8_t flags_of(const struct ev_wait *ev)
{
	return (uint8_t)((ev->at_start ? WINDOW_AT_START : 0) | (ev->spurious ? WINDOW_SPURIOUS : 0) | (ev->in_progress ? WINDOW_IN_PROGRESS : 0) |
			 (ev->preempted ? WINDOW_PREEMPTED : 0));
}

void window_buffer_wait(struct window_buffer *b, struct tree *t, uint32_t thread, const struct account_step *step,
			const struct ev_wait *ev, uint32_t waker, uint32_t handoff)
{
	if (step->run <= b->start_ns || !b->hooks.analyze)
		return;
	struct window_entry *e = entry_of(b, &t->threads[thread], thread);
	if (!e)
		return;
	if (b->end_ns && step->out >= b->end_ns && b->n + 64 > b->capacity)
		return; /* the room that is left belongs to waits that straddle the end */
	e->tail_samples = 0;
	uint32_t entry = t->threads[thread].window_ix;
	if (step->gap_lost_ns)
		push_lost(b, entry, step);
	struct window_wait *w = push(b);
	if (!w)
		return;
	*w = (struct window_wait){
	    .t_out = step->out,
	    .t_wake = step->wake,
	    .t_run = step->run,
	    .folded_ns = step->gap_run_queue_ns,
	    .thread = entry,
	    .waker = waker,
	    .handoff = handoff,
	    .channel = ev->channel,
	    .site = ev->site,
	    .stack = ev->stack,
	    .waker_site = ev->waker_site,
	    .waker_stack = ev->waker_stack,
	    .bytes = ev->bytes,
	    .want_bytes = ev->want_bytes,
	    .rd_calls = ev->rd_calls,
	    .rd_bytes = ev->rd_bytes,
	    .wr_calls = ev->wr_calls,
	    .wr_bytes = ev->wr_bytes,
	    .folded_count = ev->folded_count,
	    .handoff_count = ev->handoff_count,
	    .cls = ev->cls,
	    .waker_ctx = ev->waker_ctx,
	    .flags = flags_of(ev),
	};
}

void window_buffer_sample(struct window_buffer *b, struct tree *t, uint32_t thread, uint64_t time_ns)
{
	if (time_ns < b->start_ns || (b->end_ns && time_ns >= b->end_ns))
		return;
	struct window_entry *e = entry_of(b, &t->threads[thread], thread);
	if (!e)
		return;
	e->samples++;
	e->tail_samples++;
}

void window_buffer_thread_end(struct window_buffer *b, struct tree *t, uint32_t thread)
{
	if (t->threads[thread].account.cursor_ns > b->start_ns)
		entry_of(b, &t->threads[thread], thread);
}

/* ---- cutting a window out of the buffer ---- */

struct cut { /* a window under construction */
	struct window w;
	struct window_thread *threads;
	uint32_t *order; /* entry -> index into threads */
};

struct tid_order {
	int32_t tid;
	uint32_t entry;
};

static int by_tid(const void *a, const void *b)
{
	const struct tid_order *x = a, *y = b;
	if (x->tid != y->tid)
		return x->tid < y->tid ? -1 : 1;
	return x->entry < y->entry ? -1 : x->entry > y->entry;
}

static uint64_t clip(uint64_t t, uint64_t low, uint64_t high)
{
	return t < low ? low : t > high ? high : t;
}

/* Everybody who lived in the window gets an entry, waiting or not, and the wakers from outside too. */
static void add_missing_threads(struct window_buffer *b, struct tree *t)
{
	for (uint32_t i = 1; i < t->n_threads; i++) {
		struct thread *h = &t->threads[i];
		if (h->used && h->observed && !h->into && !h->ended && h->account.started_ns < b->end_ns)
			entry_of(b, h, i);
	}
	for (uint32_t i = 0; i < b->n; i++) {
		if (b->waits[i].waker)
			entry_of(b, &t->threads[b->waits[i].waker], b->waits[i].waker);
		if (b->waits[i].handoff)
			entry_of(b, &t->threads[b->waits[i].handoff], b->waits[i].handoff);
	}
}

static struct window_thread describe(const struct window_buffer *b, const struct tree *t, const struct window_entry *e)
{
	const struct thread *h = &t->threads[e->thread];
	const struct proc *p = &t->procs[tree_proc(t, h->proc)];
	struct window_thread out = {
	    .tid = h->tid,
	    .pid = p->row_pid,
	    .in_tree = p->in_tree && h->observed,
	    .ended = h->ended && h->account.cursor_ns <= b->end_ns,
	    .tail = WINDOW_TAIL_UNKNOWN,
	    .samples = e->samples,
	    .tail_samples = e->tail_samples,
	    .from_ns = b->start_ns,
	    .to_ns = b->end_ns,
	};
	if (h->observed) {
		out.from_ns = clip(h->account.started_ns, b->start_ns, b->end_ns);
		if (h->ended) {
			out.to_ns = clip(h->account.cursor_ns, out.from_ns, b->end_ns);
			out.tail = WINDOW_TAIL_RAN;
		}
	}
	return out;
}

static bool order_threads(struct window_buffer *b, const struct tree *t, struct cut *cut)
{
	size_t n = b->n_entries;
	struct tid_order *list = malloc((n + 1) * sizeof *list);
	cut->threads = malloc((n + 1) * sizeof *cut->threads);
	cut->order = malloc((n + 1) * sizeof *cut->order);
	if (!list || !cut->threads || !cut->order) {
		free(list);
		return false;
	}
	for (size_t i = 0; i < n; i++)
		list[i] = (struct tid_order){t->threads[b->entries[i].thread].tid, (uint32_t)i};
	qsort(list, n, sizeof *list, by_tid);
	for (size_t i = 0; i < n; i++) {
		cut->order[list[i].entry] = (uint32_t)i;
		cut->threads[i] = describe(b, t, &b->entries[list[i].entry]);
	}
	free(list);
	cut->w.threads = cut->threads;
	cut->w.n_threads = n;
	return true;
}

static uint32_t index_of(const struct cut *cut, const struct tree *t, uint32_t thread)
{
	return thread ? cut->order[t->threads[thread].window_ix] : WINDOW_NONE;
}

/* Who woke: the task, when it is a peer; else whoever alone holds the channel's other end. */
static void resolve_waker(const struct window_context *c, const struct cut *cut, uint32_t waiter_thread, struct window_wait *w)
{
	const struct tree *t = c->tree;
	uint32_t waker = w->waker, waiter = tree_proc(t, t->threads[waiter_thread].proc);
	uint32_t ch = w->channel ? channels_of_id(c->channels, w->channel) : 0;
	const struct chan *chan = &c->channels->list[ch];
	if (waker && w->waker_ctx == WAKER_SOFTIRQ &&
	    !(ch && channel_softirq_peer(chan, t, waiter, tree_proc(t, t->threads[waker].proc))))
		waker = 0;
	w->waker = index_of(cut, t, waker);
	w->handoff = index_of(cut, t, w->handoff);
	if (waker)
		w->waker_pid = t->procs[tree_proc(t, t->threads[waker].proc)].row_pid;
	uint32_t other = waker || !ch ? 0 : channel_other_end(chan, t, waiter, w->cls);
	if (other) {
		w->waker_pid = t->procs[other].row_pid;
		w->flags |= WINDOW_WAKER_BY_CHANNEL;
	}
}

static void clip_wait(struct window_wait *w, uint64_t start, uint64_t end)
{
	w->flags |= (w->t_out < start ? WINDOW_CLIPPED_START : 0) | (w->t_run > end ? WINDOW_CLIPPED_END : 0);
	w->t_out = clip(w->t_out, start, end);
	w->t_wake = clip(w->t_wake, start, end);
	w->t_run = clip(w->t_run, start, end);
}

static void choose_stacks(const struct sites *s, struct window_wait *w)
{
	const struct site *site = !w->stack && w->site ? sites_get(s, w->site) : NULL;
	if (site)
		w->stack = site->heaviest;
	site = !w->waker_stack && w->waker_site ? sites_get(s, w->waker_site) : NULL;
	if (site)
		w->waker_stack = site->heaviest;
}

/* Counting sort by thread: within one, the buffer is in time order already. Waits beyond the end only tell that their
 * thread ran until then. */
static void place_waits(struct window_buffer *b, const struct window_context *c, struct cut *cut)
{
	size_t at = 0;
	for (uint32_t i = 0; i < b->n; i++) {
		struct window_thread *h = &cut->threads[cut->order[b->waits[i].thread]];
		if (b->waits[i].t_out < b->end_ns)
			h->n++;
		else
			h->tail = WINDOW_TAIL_RAN;
	}
	for (size_t i = 0; i < cut->w.n_threads; i++) {
		cut->threads[i].first = at;
		at += cut->threads[i].n;
		cut->threads[i].n = 0;
	}
	cut->w.n = at;
	for (uint32_t i = 0; i < b->n; i++) {
		if (b->waits[i].t_out >= b->end_ns)
			continue;
		uint32_t ix = cut->order[b->waits[i].thread];
		struct window_thread *h = &cut->threads[ix];
		struct window_wait *w = &b->sorted[h->first + h->n++];
		*w = b->waits[i];
		if (w->t_run >= b->end_ns)
			h->tail = WINDOW_TAIL_RAN; /* it waited up to the end: there is no tail */
		w->thread = ix;
		resolve_waker(c, cut, b->entries[b->waits[i].thread].thread, w);
		choose_stacks(c->sites, w);
		clip_wait(w, b->start_ns, b->end_ns);
	}
	cut->w.waits = b->sorted;
}

static uint64_t cpu_clock_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* Analyses [start, end) and returns what that cost, ns of CPU. */
static uint64_t analyze(struct window_buffer *b, const struct window_context *c)
{
	struct cut cut = {.w = {.start_ns = b->start_ns, .end_ns = b->end_ns}};
	uint64_t before = cpu_clock_ns();
	add_missing_threads(b, c->tree);
	if (order_threads(b, c->tree, &cut)) {
		place_waits(b, c, &cut);
		b->hooks.analyze(b->hooks.ctx, &cut.w);
		b->covered_ns += b->end_ns - b->start_ns;
	}
	free(cut.threads);
	free(cut.order);
	return cpu_clock_ns() - before;
}

/* Waits that reach beyond the end stay in the buffer as the beginning of the next window. */
static void keep_the_rest(struct window_buffer *b, struct tree *t)
{
	uint32_t kept = 0, n = b->n;
	uint64_t end = b->end_ns;
	size_t n_old = b->n_entries;
	uint32_t *thread_of = malloc((n_old + 1) * sizeof *thread_of);
	for (size_t i = 0; thread_of && i < n_old; i++)
		thread_of[i] = b->entries[i].thread;
	window_buffer_start(b, end);
	for (uint32_t i = 0; thread_of && i < n; i++) {
		if (b->waits[i].t_run <= end)
			continue;
		uint32_t thread = thread_of[b->waits[i].thread];
		if (!entry_of(b, &t->threads[thread], thread))
			continue;
		b->waits[kept] = b->waits[i];
		b->waits[kept++].thread = t->threads[thread].window_ix;
	}
	b->n = kept;
	free(thread_of);
}

/* When enough time will have passed for what was spent. rate: waits per ns. */
static uint64_t next_start(const struct window_buffer *b, double rate)
{
	double most = b->duty_percent / 100.0, share = EVENT_NS * rate;
	if (b->spent_ns <= FREE_NS)
		return 0;
	share = share < FLOOR_SHARE ? FLOOR_SHARE : share;
	share = share > most ? most : share;
	return b->first_ns + (uint64_t)((double)(b->spent_ns - FREE_NS) / share);
}

static void finish_window(struct window_buffer *b, const struct window_context *c)
{
	uint64_t waits = b->n, length = b->end_ns - b->start_ns, end = b->end_ns;
	b->spent_ns += analyze(b, c);
	uint64_t next = b->duty_percent >= 100 ? 0 : next_start(b, length ? (double)waits / (double)length : 0);
	if (next <= end)
		keep_the_rest(b, c->tree);
	else
		window_buffer_start(b, next);
}

void window_buffer_advance(struct window_buffer *b, const struct window_context *c, uint64_t now_ns)
{
	if (now_ns <= b->start_ns || !b->hooks.analyze)
		return;
	if (!b->end_ns) {
		if (b->n < b->max_waits && now_ns - b->start_ns < b->max_ns)
			return;
		b->end_ns = now_ns;
		uint64_t lag = (now_ns - b->start_ns) / LAG_DIVISOR;
		b->max_lag_ns = lag < MAX_LAG_NS ? lag : MAX_LAG_NS;
		return;
	}
	if (now_ns - b->end_ns >= b->max_lag_ns || b->n + 64 > b->capacity)
		finish_window(b, c);
}

void window_buffer_flush(struct window_buffer *b, const struct window_context *c, uint64_t now_ns)
{
	if (now_ns > b->start_ns && b->hooks.analyze) {
		if (!b->end_ns || b->end_ns > now_ns)
			b->end_ns = now_ns;
		finish_window(b, c);
		if (now_ns > b->start_ns) { /* since the end that it had already */
			b->end_ns = now_ns;
			analyze(b, c);
		}
	}
	window_buffer_start(b, now_ns > b->start_ns ? now_ns : b->start_ns);
}

const struct window_thread *window_thread_find(const struct window *w, int32_t tid)
{
	size_t low = 0, high = w->n_threads;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (w->threads[mid].tid < tid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < w->n_threads && w->threads[low].tid == tid ? &w->threads[low] : NULL;
}
