/* SPDX-License-Identifier: Apache-2.0
 *
 * The user backend: sampled waits of a process tree, without privileges. In: root processes of the same user; out: EV_TICK,
 * EV_COUNTS, EV_SAMPLE. See docs/USER_BACKEND.md.
 */
#include "sampler/user/user_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_HZ 99
#define RESERVED_FDS 64
#define MAX_RINGS 256
#define SCAN_INTERVAL_NS 1000000000ull
#define MOMENT_NS 1000000ull

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void probe(struct backend_probe *out)
{
	bool kernel_too;
	memset(out, 0, sizeof *out);
	if (access("/proc/self/schedstat", R_OK) != 0 || access("/proc/loadavg", R_OK) != 0) {
		snprintf(out->why, sizeof out->why, "/proc is not mounted, or its kernel has no schedstat; mount it, or use --backend kernel");
		return;
	}
	out->usable = true;
	snprintf(out->costs, sizeof out->costs,
		 "sampled: waits shorter than a tick are estimates, nobody's waker is known, processes that live less than a tick may be missed%s",
		 oncpu_probe(&kernel_too) ? "" : "; no stacks of running code (perf_event_open refused)");
}

/* Kept descriptors make a look four times as cheap; two or three a thread. Ours alone: the command was forked before. */
static size_t raise_fd_limit(void)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return 256;
	rlim_t want = r.rlim_max > 65536 ? 65536 : r.rlim_max;
	if (r.rlim_cur < want) {
		r.rlim_cur = want;
		if (setrlimit(RLIMIT_NOFILE, &r) < 0)
			getrlimit(RLIMIT_NOFILE, &r);
	}
	return r.rlim_cur > RESERVED_FDS ? r.rlim_cur - RESERVED_FDS : 0;
}

static void forward(void *ctx, const struct event *ev)
{
	user_emit(ctx, ev);
}

static uint32_t intern_source(void *ctx, const struct source_frame *frame)
{
	struct user_backend *b = ctx;
	return stack_table_source(b->stacks, frame, forward, b);
}

static void backend_close(struct backend *base)
{
	struct user_backend *b = (struct user_backend *)base;
	if (!b)
		return;
	tree_free(b);
	sockets_free(b->sockets);
	stack_table_free(b->stacks);
	runtimes_free(b->runtimes);
	channels_free(b->channels);
	object_cache_free(b->objects);
	if (b->loadavg_fd >= 0)
		close(b->loadavg_fd);
	free(b->roots);
	free(b->order);
	free(b);
}

static int check_roots(const struct backend_options *opt, struct err *err)
{
	for (size_t i = 0; i < opt->n_root_pids; i++) {
		char path[48];
		snprintf(path, sizeof path, "/proc/%d/exe", opt->root_pids[i]);
		char target[8];
		if (readlink(path, target, sizeof target) < 0 && (errno == EACCES || errno == EPERM))
			return err_set(err, -EPERM, "observe %d: it belongs to another user or is not dumpable; run as that user or with sudo",
				       opt->root_pids[i]);
		snprintf(path, sizeof path, "/proc/%d", opt->root_pids[i]);
		if (access(path, F_OK) != 0)
			return err_set(err, -ESRCH, "attach to %d: no such process; give the PID of one that runs", opt->root_pids[i]);
	}
	return 0;
}

static int backend_open(struct backend **out, const struct backend_options *opt, struct err *err)
{
	int rc = check_roots(opt, err);
	if (rc)
		return rc;
	struct user_backend *b = calloc(1, sizeof *b);
	if (!b)
		return err_set(err, -ENOMEM, "open the user backend: out of memory; free some");
	b->base.ops = &backend_user;
	b->own_pid = getpid();
	b->moment = opt->moment;
	b->frequency_hz = opt->frequency_hz ? opt->frequency_hz : DEFAULT_HZ;
	b->period_ns = 1000000000ull / b->frequency_hz;
	b->max_fds = raise_fd_limit();
	b->max_rings = MAX_RINGS;
	b->perf_works = opt->frequency_hz && oncpu_probe(&b->perf_kernel);
	b->wrapped_pid = opt->wrapped && opt->n_root_pids ? opt->root_pids[0] : 0;
	b->loadavg_fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	b->objects = object_cache_new();
	b->stacks = stack_table_new();
	b->channels = channels_new(forward, b);
	b->sockets = b->channels ? sockets_new(b->channels) : NULL;
	b->runtimes = runtimes_new(&(struct runtimes_options){.intern = intern_source, .ctx = b});
	b->n_roots = opt->n_root_pids;
	b->roots = malloc(b->n_roots * sizeof *b->roots + 1);
	if (b->loadavg_fd < 0 || !b->objects || !b->stacks || !b->channels || !b->sockets || !b->runtimes || !b->roots) {
		backend_close(&b->base);
		return err_set(err, -ENOMEM, "open the user backend: out of memory or of file descriptors; free some");
	}
	memcpy(b->roots, opt->root_pids, b->n_roots * sizeof *b->roots);
	*out = &b->base;
	return 0;
}

static int poll_ms(const struct backend *base)
{
	const struct user_backend *b = (const struct user_backend *)base;
	uint64_t now = now_ns();
	/* the first look comes at once: short commands are over soon */
	return !b->started || now >= b->next_tick_ns ? 0 : (int)((b->next_tick_ns - now + 999999) / 1000000);
}

/* All threads, copied out: a look may find one gone. */
static size_t threads_now(struct user_backend *b)
{
	size_t n = HASH_COUNT(b->threads), i = 0;
	if (n > b->order_capacity) {
		struct watched_thread **more = realloc(b->order, 2 * n * sizeof *more);
		if (!more)
			return 0;
		b->order = more;
		b->order_capacity = 2 * n;
	}
	for (struct watched_thread *t = b->threads; t; t = t->hh.next)
		b->order[i++] = t;
	return i;
}

static void scan_ends(struct user_backend *b, uint64_t now)
{
	if (!channels_want_scan(b->channels) || now - b->last_scan_ns < SCAN_INTERVAL_NS)
		return;
	b->last_scan_ns = now;
	size_t n = HASH_COUNT(b->processes), i = 0;
	int32_t *pids = malloc((n ? n : 1) * sizeof *pids);
	if (!pids)
		return;
	for (struct watched_process *p = b->processes; p; p = p->hh.next)
		pids[i++] = p->pid;
	channels_scan_ends(b->channels, pids, i);
	free(pids);
}

static void tick(struct user_backend *b, uint64_t now)
{
	tree_find_new(b, now);
	size_t n = threads_now(b);
	for (size_t i = 0; i < n; i++) {
		struct watched_thread *t = b->order[i];
		oncpu_drain(b, t);
		if (t->skip) {
			t->skip--;
			continue;
		}
		if (!observe_thread(b, t, now)) {
			tree_thread_gone(b, t, now);
			continue;
		}
		if (t->seen_running >= 2)
			oncpu_open(b, t);
	}
	scan_ends(b, now);
}

static void tell_missed(struct user_backend *b, uint64_t now)
{
	uint64_t stacks = b->counters.torn + b->counters.no_ring;
	if (stacks == b->told_stacks)
		return;
	struct event ev = {.kind = EV_LOST, .time_ns = now, .lost = {.stacks = stacks - b->told_stacks}};
	b->told_stacks = stacks;
	user_emit(b, &ev);
}

/* The wrapped command still is our own image, waiting to exec: it has no life to tell yet. */
static bool before_exec(struct user_backend *b)
{
	char path[48], own[512], its[512];
	if (!b->wrapped_pid)
		return false;
	snprintf(path, sizeof path, "/proc/%d/exe", b->wrapped_pid);
	ssize_t n = readlink("/proc/self/exe", own, sizeof own), m = readlink(path, its, sizeof its);
	if (m > 0 && n == m && memcmp(own, its, n) == 0 && now_ns() - b->opened_ns < 100000000ull)
		return true;
	b->wrapped_pid = 0;
	return false;
}

static int drain(struct backend *base, event_fn fn, void *ctx, struct err *err)
{
	struct user_backend *b = (struct user_backend *)base;
	uint64_t before = b->n_events, now = now_ns();
	b->fn = fn;
	b->ctx = ctx;
	if (!b->started) {
		if (!b->opened_ns)
			b->opened_ns = now;
		if (before_exec(b))
			return 0;
		/* in a dump each state stands for a nominal millisecond, the one before now */
		int rc = tree_find_all(b, b->roots, b->n_roots, now - (b->moment ? MOMENT_NS : 0));
		if (rc < 0)
			return err_set(err, rc, "read /proc: %s", strerror(-rc));
		b->started = true;
		b->next_tick_ns = now;
	}
	if (now >= b->next_tick_ns && !b->moment_ns) {
		if (b->moment)
			b->moment_ns = now;
		tick(b, now);
		b->next_tick_ns += b->period_ns;
		if (b->next_tick_ns < now) /* we were late: do not run after the lost ticks */
			b->next_tick_ns = now + b->period_ns;
	}
	return (int)(b->n_events - before);
}

static bool alive(struct backend *base)
{
	const struct user_backend *b = (const struct user_backend *)base;
	return !b->started || b->processes;
}

static int finish(struct backend *base, event_fn fn, void *ctx, struct err *err)
{
	struct user_backend *b = (struct user_backend *)base;
	(void)err;
	b->fn = fn;
	b->ctx = ctx;
	uint64_t now = b->moment ? b->moment_ns : now_ns();
	size_t n = threads_now(b);
	for (size_t i = 0; i < n && !b->moment; i++) {
		struct watched_thread *t = b->order[i];
		oncpu_drain(b, t);
		if (observe_thread(b, t, now))
			observe_counts(b, t, now);
		else
			tree_thread_gone(b, t, now);
	}
	b->last_scan_ns = 0;
	scan_ends(b, now);
	tell_missed(b, now);
	stack_table_resolve(b->stacks, fn, ctx);
	struct event end = {.kind = EV_END, .time_ns = now};
	user_emit(b, &end);
	return 0;
}

const struct backend_ops backend_user = {
    .name = "user",
    .probe = probe,
    .open = backend_open,
    .poll_ms = poll_ms,
    .drain = drain,
    .alive = alive,
    .finish = finish,
    .close = backend_close,
};
