/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler/kernel/mmap_events.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* 256 KiB a CPU: some 1,700 mappings of ~150 bytes between two drains. */
#define RING_PAGES 64

struct cpu_ring {
	int fd;
	struct perf_event_mmap_page *page;
};

struct raw_record {
	uint64_t time_ns;
	size_t offset; /* into bytes */
};

struct mmap_events {
	struct cpu_ring *rings;
	size_t n_rings;
	size_t page_size;
	uint64_t lost;
	/* one batch: copies of records, so that the rings are freed before anybody works on them */
	uint8_t *bytes;
	size_t n_bytes, cap_bytes;
	struct raw_record *records;
	size_t n_records, cap_records;
};

/* sample_id_all with TID | TIME: what every record ends with */
struct sample_id {
	uint32_t pid, tid;
	uint64_t time_ns;
};

static int open_cpu(struct mmap_events *m, int cpu, struct cpu_ring *r)
{
	struct perf_event_attr attr = {
	    .size = sizeof attr,
	    .type = PERF_TYPE_SOFTWARE,
	    .config = PERF_COUNT_SW_DUMMY,
	    .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME,
	    .mmap = 1,
	    .mmap2 = 1,
	    .comm = 1,
	    .comm_exec = 1,
	    .sample_id_all = 1,
	    .use_clockid = 1,
	    .clockid = CLOCK_MONOTONIC,
	    .watermark = 1,
	    .wakeup_watermark = RING_PAGES * 4096, /* nobody polls it */
	};
	r->fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (r->fd < 0)
		return -errno;
	void *p = mmap(NULL, (RING_PAGES + 1) * m->page_size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (p == MAP_FAILED) {
		int e = -errno;
		close(r->fd);
		r->fd = -1;
		return e;
	}
	r->page = p;
	return 0;
}

int mmap_events_open(struct mmap_events **out, struct err *err)
{
	struct mmap_events *m = calloc(1, sizeof *m);
	long n = sysconf(_SC_NPROCESSORS_CONF);
	if (!m || n <= 0 || !(m->rings = calloc(n, sizeof *m->rings))) {
		free(m);
		return err_set(err, -ENOMEM, "watch mappings: out of memory; free some");
	}
	m->page_size = sysconf(_SC_PAGESIZE);
	for (int cpu = 0; cpu < n; cpu++) {
		int rc = open_cpu(m, cpu, &m->rings[m->n_rings]);
		if (rc == 0) {
			m->n_rings++;
		} else if (rc != -ENODEV) { /* an offline CPU */
			mmap_events_close(m);
			return err_set(err, rc, "watch mappings with perf_event_open: %s; run as root or with CAP_PERFMON", strerror(-rc));
		}
	}
	*out = m;
	return 0;
}

void mmap_events_close(struct mmap_events *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n_rings; i++) {
		munmap(m->rings[i].page, (RING_PAGES + 1) * m->page_size);
		close(m->rings[i].fd);
	}
	free(m->rings);
	free(m->bytes);
	free(m->records);
	free(m);
}

uint64_t mmap_events_lost(const struct mmap_events *m)
{
	return m->lost;
}

static bool batch_room(struct mmap_events *m, size_t n)
{
	if (m->n_bytes + n > m->cap_bytes) {
		size_t cap = (m->n_bytes + n) * 2;
		uint8_t *p = realloc(m->bytes, cap);
		if (!p)
			return false;
		m->bytes = p;
		m->cap_bytes = cap;
	}
	if (m->n_records == m->cap_records) {
		size_t cap = m->cap_records ? m->cap_records * 2 : 256;
		struct raw_record *p = realloc(m->records, cap * sizeof *p);
		if (!p)
			return false;
		m->records = p;
		m->cap_records = cap;
	}
	return true;
}

static void copy_from_ring(uint8_t *to, const uint8_t *ring, size_t size, uint64_t at, size_t n)
{
	size_t off = at & (size - 1), first = size - off < n ? size - off : n;
	memcpy(to, ring + off, first);
	memcpy(to + first, ring, n - first);
}

static void collect(struct mmap_events *m, struct cpu_ring *r)
{
	uint64_t head = __atomic_load_n(&r->page->data_head, __ATOMIC_ACQUIRE), tail = r->page->data_tail;
	const uint8_t *ring = (const uint8_t *)r->page + m->page_size;
	size_t size = RING_PAGES * m->page_size;
	while (tail < head) {
		struct perf_event_header h;
		copy_from_ring((uint8_t *)&h, ring, size, tail, sizeof h);
		if (h.size < sizeof h)
			break;
		if (h.type == PERF_RECORD_LOST) {
			struct {
				struct perf_event_header h;
				uint64_t id, lost;
			} l;
			copy_from_ring((uint8_t *)&l, ring, size, tail, sizeof l);
			m->lost += l.lost;
		} else if ((h.type == PERF_RECORD_MMAP2 || h.type == PERF_RECORD_COMM) && h.size > sizeof(struct sample_id)) {
			if (batch_room(m, h.size)) {
				uint8_t *to = m->bytes + m->n_bytes;
				struct sample_id id;
				copy_from_ring(to, ring, size, tail, h.size);
				memcpy(&id, to + h.size - sizeof id, sizeof id);
				m->records[m->n_records++] = (struct raw_record){id.time_ns, m->n_bytes};
				m->n_bytes += h.size;
			} else {
				m->lost++;
			}
		}
		tail += h.size;
	}
	__atomic_store_n(&r->page->data_tail, tail, __ATOMIC_RELEASE);
}

static int by_time(const void *a, const void *b)
{
	const struct raw_record *x = a, *y = b;
	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

struct mmap2_record {
	struct perf_event_header h;
	uint32_t pid, tid;
	uint64_t start, len, pgoff;
	uint32_t maj, min;
	uint64_t ino, ino_generation;
	uint32_t prot, flags;
	char filename[];
};

struct comm_record {
	struct perf_event_header h;
	uint32_t pid, tid;
	char comm[];
};

static void deliver(const uint8_t *bytes, uint64_t time_ns, mmap_event_fn fn, void *ctx)
{
	const struct perf_event_header *h = (const void *)bytes;
	struct mmap_event ev = {.time_ns = time_ns};
	if (h->type == PERF_RECORD_MMAP2) {
		const struct mmap2_record *r = (const void *)bytes;
		ev.kind = ME_MAP;
		ev.pid = r->pid;
		ev.tid = r->tid;
		ev.start = r->start;
		ev.end = r->start + r->len;
		ev.file_offset = r->pgoff;
		ev.dev_major = r->maj;
		ev.dev_minor = r->min;
		ev.inode = r->ino;
		ev.path = r->filename; /* NUL-terminated and padded by the kernel */
	} else {
		const struct comm_record *r = (const void *)bytes;
		ev.kind = h->misc & PERF_RECORD_MISC_COMM_EXEC ? ME_EXEC : ME_COMM;
		ev.pid = r->pid;
		ev.tid = r->tid;
		ev.path = r->comm;
	}
	fn(ctx, &ev);
}

void mmap_events_drain(struct mmap_events *m, mmap_event_fn fn, void *ctx)
{
	m->n_bytes = m->n_records = 0;
	for (size_t i = 0; i < m->n_rings; i++)
		if (__atomic_load_n(&m->rings[i].page->data_head, __ATOMIC_ACQUIRE) != m->rings[i].page->data_tail)
			collect(m, &m->rings[i]);
	if (!m->n_records)
		return;
	qsort(m->records, m->n_records, sizeof *m->records, by_time);
	for (size_t i = 0; i < m->n_records; i++)
		deliver(m->bytes + m->records[i].offset, m->records[i].time_ns, fn, ctx);
}
