/* SPDX-License-Identifier: Apache-2.0
 *
 * The BPF programs' life: load, attach, enroll, read, tune, detach. In: options; out: records, by callback.
 */
#include "sampler/kernel/kernel_internal.h"
#include "sampler/waits/syscalls.h"

#include "wait_bpf.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Stacks copied per second beyond first sights: enough for a 5 % split of a site's time within a few seconds (the ratio
 * estimator's error falls with the root of the count: 400 -> 5 %), few enough to cost nothing (2 us each). */
#define SAMPLE_TARGET_HZ 400
/* First sights per second: a fork storm sees new threads all the time. */
#define FIRST_SIGHT_HZ 4000
#define MAX_SEED_PASSES 16

struct bpf_session {
	struct wait_bpf *skel;
	struct ring_buffer *ring;
	struct bpf_link **clocks;
	int *clock_fds;
	int n_clocks;
};

static int print_verbose(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_DEBUG ? 0 : vfprintf(stderr, fmt, ap);
}

static int print_nothing(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level;
	(void)fmt;
	(void)ap;
	return 0;
}

static int attach_clock(struct bpf_session *s, int cpu, uint32_t hz)
{
	struct perf_event_attr attr = {
	    .size = sizeof attr,
	    .type = PERF_TYPE_SOFTWARE,
	    .config = PERF_COUNT_SW_CPU_CLOCK,
	    .sample_period = 1000000000u / hz,
	};
	int fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct bpf_link *l = bpf_program__attach_perf_event(s->skel->progs.on_clock, fd);
	if (!l) {
		int e = -errno;
		close(fd);
		return e;
	}
	s->clocks[s->n_clocks] = l;
	s->clock_fds[s->n_clocks++] = fd;
	return 0;
}

static int attach_clocks(struct bpf_session *s, int cpus, uint32_t hz, struct err *err)
{
	s->clocks = calloc(cpus, sizeof *s->clocks);
	s->clock_fds = calloc(cpus, sizeof *s->clock_fds);
	if (!s->clocks || !s->clock_fds)
		return err_set(err, -ENOMEM, "attach: out of memory; free some");
	for (int cpu = 0; cpu < cpus; cpu++) {
		int rc = attach_clock(s, cpu, hz);
		if (rc < 0 && rc != -ENODEV)
			return err_set(err, rc, "sample CPU %d with perf_event_open: %s; run as root or with CAP_PERFMON", cpu, strerror(-rc));
	}
	return 0;
}

/* Whether the running kernel has a tracepoint. Reads no BTF (that takes longer than all else at start-up): a tracepoint's address is a
 * symbol only with KALLSYMS_ALL, but tracefs is not always mounted either; so the kernel's version decides. */
static bool kernel_at_least(int major, int minor)
{
	struct utsname u;
	int a = 0, b = 0;
	return uname(&u) == 0 && sscanf(u.release, "%d.%d", &a, &b) == 2 && (a > major || (a == major && b >= minor));
}

static int load(struct bpf_session *s, const struct backend_options *opt, int cpus, bool counters, struct err *err)
{
	uint32_t ring = opt->ring_bytes ? opt->ring_bytes : DEFAULT_RING_BYTES;
	s->skel = wait_bpf__open();
	if (!s->skel)
		return err_set(err, -errno, "open the BPF programs: %s; this build of lockstep is damaged, build it anew", strerror(errno));
	for (int nr = 0; nr < SYS_MAX; nr++)
		s->skel->rodata->sysinfo[nr] = syscall_flags(nr);
	s->skel->rodata->ring_bytes = ring;
	s->skel->rodata->own_tgid = getpid();
	bpf_map__set_max_entries(s->skel->maps.ring, ring);
	bpf_map__set_max_entries(s->skel->maps.scratch, cpus);
	bpf_map__set_max_entries(s->skel->maps.python_scratch, cpus);
	bpf_program__set_autoload(s->skel->progs.on_send, counters);
	bpf_program__set_autoload(s->skel->progs.on_receive, counters);
	int rc = wait_bpf__load(s->skel);
	if (rc && counters) { /* a kernel that lacks them all the same: messages are counted by waits alone */
		wait_bpf__destroy(s->skel);
		s->skel = NULL;
		return load(s, opt, cpus, false, err);
	}
	if (rc)
		return err_set(err, rc, "load the BPF programs: %s; see `lockstep doctor`, or use --backend user", strerror(-rc));
	return 0;
}

int bpf_session_open(struct bpf_session **out, const struct backend_options *opt, record_fn fn, void *ctx, struct err *err)
{
	int cpus = libbpf_num_possible_cpus(), rc;
	struct bpf_session *s = calloc(1, sizeof *s);
	if (!s || cpus <= 0) {
		free(s);
		return err_set(err, -ENOMEM, "open the kernel backend: out of memory; free some");
	}
	libbpf_set_print(opt->verbose ? print_verbose : print_nothing);
	rc = load(s, opt, cpus, kernel_at_least(6, 3), err);
	if (rc)
		goto fail;
	s->ring = ring_buffer__new(bpf_map__fd(s->skel->maps.ring), fn, ctx, NULL);
	if (!s->ring) {
		rc = err_set(err, -errno, "map the ring buffer: %s; lower its size", strerror(errno));
		goto fail;
	}
	rc = wait_bpf__attach(s->skel);
	if (rc) {
		rc = err_set(err, rc, "attach to the scheduler's tracepoints: %s; see `lockstep doctor`, or use --backend user", strerror(-rc));
		goto fail;
	}
	if (opt->frequency_hz && (rc = attach_clocks(s, cpus, opt->frequency_hz, err)))
		goto fail;
	*out = s;
	return 0;
fail:
	bpf_session_close(s);
	return rc;
}

void bpf_session_detach(struct bpf_session *s)
{
	for (int i = 0; i < s->n_clocks; i++) {
		bpf_link__destroy(s->clocks[i]);
		close(s->clock_fds[i]);
	}
	s->n_clocks = 0;
	if (s->skel)
		wait_bpf__detach(s->skel);
}

void bpf_session_close(struct bpf_session *s)
{
	if (!s)
		return;
	bpf_session_detach(s);
	ring_buffer__free(s->ring);
	wait_bpf__destroy(s->skel);
	free(s->clocks);
	free(s->clock_fds);
	free(s);
}

/* Runs an iterator program over all tasks: it works by its side effects, the seq file stays empty. */
static int run_iterator(struct bpf_link *link, struct err *err)
{
	int fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0)
		return err_set(err, -errno, "iterate over the tasks: %s; see `lockstep doctor`", strerror(errno));
	char buf[64];
	ssize_t n;
	while ((n = read(fd, buf, sizeof buf)) > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		;
	int rc = n < 0 ? -errno : 0;
	close(fd);
	return rc ? err_set(err, rc, "iterate over the tasks: %s; see `lockstep doctor`", strerror(-rc)) : 0;
}

int bpf_session_seed(struct bpf_session *s, const int32_t *roots, size_t n, struct err *err)
{
	int fd = bpf_map__fd(s->skel->maps.roots);
	uint32_t one = 1;
	for (size_t i = 0; i < n; i++) {
		uint32_t pid = roots[i];
		if (bpf_map_update_elem(fd, &pid, &one, BPF_ANY))
			return err_set(err, -errno, "enroll %d: %s; attach to fewer processes (a common ancestor does)", roots[i],
				       strerror(errno));
	}
	/* A thread forked during the pass by one that the pass had not reached yet escapes it: until nothing new is found. */
	uint32_t before = 0;
	for (int pass = 0; pass < MAX_SEED_PASSES; pass++) {
		int rc = run_iterator(s->skel->links.seed, err);
		if (rc)
			return rc;
		if (s->skel->bss->seeded == before)
			break;
		before = s->skel->bss->seeded;
	}
	return s->skel->bss->seeded;
}

int bpf_session_conclude(struct bpf_session *s, struct err *err)
{
	return run_iterator(s->skel->links.conclude, err);
}

int bpf_session_consume(struct bpf_session *s)
{
	return ring_buffer__consume(s->ring);
}

void bpf_session_stats(struct bpf_session *s, struct k_stats *sum)
{
	int cpus = libbpf_num_possible_cpus();
	uint32_t zero = 0;
	memset(sum, 0, sizeof *sum);
	if (cpus <= 0)
		return;
	struct k_stats *all = calloc(cpus, sizeof *all);
	if (all && !bpf_map_lookup_elem(bpf_map__fd(s->skel->maps.stats), &zero, all))
		for (int i = 0; i < cpus; i++) {
			sum->lost_events += all[i].lost_events;
			sum->lost_stacks += all[i].lost_stacks;
			sum->snapshots += all[i].snapshots;
			sum->samples += all[i].samples;
		}
	free(all);
}

void bpf_session_tune(struct bpf_session *s, uint64_t waits, uint64_t elapsed_ns)
{
	if (!elapsed_ns)
		return;
	double per_s = waits * 1e9 / elapsed_ns, period = per_s / SAMPLE_TARGET_HZ;
	s->skel->data->control.sample_period = period < 1 ? 1 : period > 1e6 ? 1000000 : (uint32_t)period;
	double budget = FIRST_SIGHT_HZ * (elapsed_ns / 1e9);
	s->skel->data->control.first_sight_budget = budget < 20 ? 20 : budget > FIRST_SIGHT_HZ ? FIRST_SIGHT_HZ : (uint32_t)budget;
}

int bpf_session_python(struct bpf_session *s, int32_t pid, const struct python_offsets *o)
{
	int fd = bpf_map__fd(s->skel->maps.python);
	uint32_t key = pid;
	if (!o) {
		if (!bpf_map_delete_elem(fd, &key))
			__atomic_fetch_sub(&s->skel->bss->python_processes, 1, __ATOMIC_RELAXED);
		return 0;
	}
	if (bpf_map_update_elem(fd, &key, o, BPF_NOEXIST))
		return errno == EEXIST ? bpf_map_update_elem(fd, &key, o, BPF_ANY) : -errno;
	__atomic_fetch_add(&s->skel->bss->python_processes, 1, __ATOMIC_RELAXED);
	return 0;
}
