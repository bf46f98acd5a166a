/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel backend: exact waits of a process tree through BPF. In: root processes; out: events. The order of things at open
 * matters: mapping events first, then the programs, then the enrolment of threads, so that nothing of a member is missed.
 * See docs/KERNEL_BACKEND.md.
 */
#include "sampler/kernel/kernel_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The ring holds half a second of the worst known stream; 10 ms leaves room for a long stall, and waking up costs little at that pace. */
#define POLL_MS 10
#define SCAN_INTERVAL_NS 500000000ULL

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* ---- probe ---- */

static bool effective_cap(unsigned cap)
{
	char line[128];
	unsigned long long caps = 0;
	FILE *f = fopen("/proc/self/status", "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	if (f)
		fclose(f);
	return caps >> cap & 1;
}

static void probe(struct backend_probe *out)
{
	enum { CAP_SYS_ADMIN_ = 21, CAP_SYS_PTRACE_ = 19, CAP_PERFMON_ = 38, CAP_BPF_ = 39 };
	memset(out, 0, sizeof *out);
	if (!effective_cap(CAP_SYS_ADMIN_) && !(effective_cap(CAP_BPF_) && effective_cap(CAP_PERFMON_)))
		snprintf(out->why, sizeof out->why, "it needs root, or the capabilities CAP_BPF and CAP_PERFMON; run it with sudo");
	else if (access("/sys/kernel/btf/vmlinux", R_OK) != 0)
		snprintf(out->why, sizeof out->why, "this kernel has no type information (/sys/kernel/btf/vmlinux: %s); boot one with "
						    "CONFIG_DEBUG_INFO_BTF, or use --backend user", strerror(errno));
	else
		out->usable = true;
}

/* ---- open ---- */

static int open_parts(struct kernel_backend *b, const struct backend_options *opt, struct err *err)
{
	int rc = mmap_events_open(&b->mmaps, err);
	if (rc)
		return rc;
	rc = bpf_session_open(&b->bpf, opt, translate_record, b, err);
	if (rc)
		return rc;
	rc = bpf_session_seed(b->bpf, opt->root_pids, opt->n_root_pids, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(err, -ESRCH, "attach: no such process; give the PID of one that runs");
	return 0;
}

static void forward(void *ctx, const struct event *ev)
{
	emit(ctx, ev);
}

static uint32_t intern_source(void *ctx, const struct source_frame *frame)
{
	struct kernel_backend *b = ctx;
	return stack_table_source(b->stacks, frame, forward, b);
}

static void backend_close(struct backend *base)
{
	struct kernel_backend *b = (struct kernel_backend *)base;
	if (!b)
		return;
	bpf_session_close(b->bpf);
	mmap_events_close(b->mmaps);
	tracked_fini(&b->tracked);
	stack_table_free(b->stacks);
	runtimes_free(b->runtimes);
	translate_forget_objects(b, true);
	channels_free(b->channels);
	mapping_backlog_free(b->backlog);
	object_cache_free(b->objects);
	free(b);
}

static int backend_open(struct backend **out, const struct backend_options *opt, struct err *err)
{
	struct kernel_backend *b = calloc(1, sizeof *b);
	if (!b)
		return err_set(err, -ENOMEM, "open the kernel backend: out of memory; free some");
	b->base.ops = &backend_kernel;
	b->wrapped_pid = opt->wrapped && opt->n_root_pids ? opt->root_pids[0] : 0;
	b->period_ns = opt->frequency_hz ? 1000000000u / opt->frequency_hz : 0;
	b->last_tune_ns = now_ns();
	b->objects = object_cache_new();
	b->stacks = stack_table_new();
	b->channels = channels_new(forward, b);
	b->backlog = mapping_backlog_new();
	b->runtimes = runtimes_new(&(struct runtimes_options){.intern = intern_source, .ctx = b});
	int rc = b->objects && b->stacks && b->channels && b->backlog && b->runtimes
		     ? open_parts(b, opt, err)
		     : err_set(err, -ENOMEM, "open the kernel backend: out of memory; free some");
	if (rc) {
		backend_close(&b->base);
		return rc;
	}
	*out = &b->base;
	return 0;
}

/* ---- drain ---- */

static int poll_ms(const struct backend *base)
{
	(void)base;
	return POLL_MS;
}

static void tell_losses(struct kernel_backend *b)
{
	struct k_stats s;
	bpf_session_stats(b->bpf, &s);
	uint64_t events = s.lost_events - b->told.lost_events, stacks = s.lost_stacks - b->told.lost_stacks;
	if (!events && !stacks)
		return;
	b->told = s;
	struct event ev = {.kind = EV_LOST, .time_ns = now_ns(), .lost = {.events = events, .stacks = stacks}};
	emit(b, &ev);
}

/* Looks for pipe and socket ends that nobody was seen using, among the processes of the tree. */
static void scan_ends(struct kernel_backend *b)
{
	size_t n = HASH_COUNT(b->tracked.processes), i = 0;
	int32_t *pids = malloc((n ? n : 1) * sizeof *pids);
	if (!pids)
		return;
	for (struct tracked_process *p = b->tracked.processes; p; p = p->hh.next)
		pids[i++] = p->pid;
	channels_scan_ends(b->channels, pids, i);
	free(pids);
}

#define SWEEP_MIN 20000

static bool process_alive(void *ctx, int32_t pid)
{
	struct kernel_backend *b = ctx;
	return tracked_process(&b->tracked, pid) != NULL;
}

/* Keeps the channel tables as large as the living tree needs, however many processes come and go. */
static void sweep_channels(struct kernel_backend *b)
{
	if (channels_size(b->channels) < (b->sweep_at ? b->sweep_at : SWEEP_MIN))
		return;
	channels_sweep(b->channels, process_alive, b);
	translate_forget_objects(b, false);
	b->sweep_at = 2 * channels_size(b->channels);
	if (b->sweep_at < SWEEP_MIN)
		b->sweep_at = SWEEP_MIN;
}

static int drain(struct backend *base, event_fn fn, void *ctx, struct err *err)
{
	struct kernel_backend *b = (struct kernel_backend *)base;
	uint64_t events = b->n_events, waits = b->n_waits;
	b->fn = fn;
	b->ctx = ctx;
	int rc = bpf_session_consume(b->bpf);
	if (rc < 0)
		return err_set(err, rc, "read the ring buffer: %s; report this", strerror(-rc));
	processes_update_mappings(b);
	uint64_t now = now_ns();
	bpf_session_tune(b->bpf, b->n_waits - waits, now - b->last_tune_ns);
	b->last_tune_ns = now;
	if (channels_want_scan(b->channels) && now - b->last_scan_ns > SCAN_INTERVAL_NS) {
		b->last_scan_ns = now;
		scan_ends(b);
	}
	sweep_channels(b);
	tell_losses(b);
	return (int)(b->n_events - events);
}

static bool alive(struct backend *base)
{
	const struct kernel_backend *b = (const struct kernel_backend *)base;
	return b->tracked.threads != NULL;
}

static int finish(struct backend *base, event_fn fn, void *ctx, struct err *err)
{
	struct kernel_backend *b = (struct kernel_backend *)base;
	b->fn = fn;
	b->ctx = ctx;
	if (channels_want_scan(b->channels))
		scan_ends(b);
	b->end_ns = now_ns();
	int rc = bpf_session_conclude(b->bpf, err);
	bpf_session_detach(b->bpf);
	int n = bpf_session_consume(b->bpf);
	if (!rc && n < 0)
		rc = err_set(err, n, "read the ring buffer: %s; report this", strerror(-n));
	tell_losses(b);
	stack_table_resolve(b->stacks, fn, ctx);
	struct event end = {.kind = EV_END, .time_ns = b->end_ns};
	emit(b, &end);
	return rc;
}

const struct backend_ops backend_kernel = {
    .name = "kernel",
    .probe = probe,
    .open = backend_open,
    .poll_ms = poll_ms,
    .drain = drain,
    .alive = alive,
    .finish = finish,
    .close = backend_close,
};
