/* SPDX-License-Identifier: Apache-2.0
 *
 * See memory.h. The cache is direct-mapped by page number and invalidated by a generation count, so that starting a walk costs nothing.
 */
#include "sampler/runtime/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096ull
#define SLOTS 128 /* 512 KiB: a 16 KiB frame chunk, thread states and code objects of one walk fit many times */

struct page {
	uint64_t number;
	uint64_t generation;
	uint8_t *bytes;
};

struct target_memory {
	runtime_read_fn read;
	void *ctx;
	pid_t pid;
	const struct unwind_memory *snapshot;
	uint64_t generation, failures;
	struct page pages[SLOTS];
	uint8_t *pool;
};

struct target_memory *target_memory_new(runtime_read_fn read, void *ctx)
{
	struct target_memory *m = calloc(1, sizeof *m);
	uint8_t *pool = malloc(SLOTS * PAGE);

	if (!m || !pool) {
		free(m);
		free(pool);
		return NULL;
	}
	m->read = read;
	m->ctx = ctx;
	m->pool = pool;
	m->generation = 1;
	for (unsigned i = 0; i < SLOTS; i++)
		m->pages[i].bytes = pool + i * PAGE;
	return m;
}

void target_memory_free(struct target_memory *m)
{
	if (!m)
		return;
	free(m->pool);
	free(m);
}

void target_memory_begin(struct target_memory *m, pid_t pid, const struct unwind_memory *snapshot)
{
	m->pid = pid;
	m->snapshot = snapshot && snapshot->stack_len ? snapshot : NULL;
	m->generation++;
}

static struct page *page_slot(struct target_memory *m, uint64_t number)
{
	return &m->pages[(number ^ number >> 7) % SLOTS];
}

static ssize_t read_now(struct target_memory *m, uint64_t addr, void *buf, size_t len)
{
	struct iovec local = {buf, len}, remote = {(void *)(uintptr_t)addr, len};
	ssize_t n;

	if (m->pid <= 0)
		return -ESRCH;
	if (m->read)
		return m->read(m->ctx, m->pid, addr, buf, len);
	n = process_vm_readv(m->pid, &local, 1, &remote, 1, 0);
	return n < 0 ? -errno : n;
}

/* The cached page, or NULL when it cannot be read. */
static const uint8_t *page_get(struct target_memory *m, uint64_t number)
{
	struct page *p = page_slot(m, number);

	if (p->generation == m->generation && p->number == number)
		return p->bytes;
	p->generation = 0;
	if (read_now(m, number * PAGE, p->bytes, PAGE) != (ssize_t)PAGE)
		return NULL;
	p->number = number;
	p->generation = m->generation;
	return p->bytes;
}

/* Copies from the snapshot what it covers; returns false when addr..addr+len does not lie in it as a whole. */
static bool read_snapshot(const struct target_memory *m, uint64_t addr, void *buf, size_t len)
{
	const struct unwind_memory *s = m->snapshot;

	if (!s || addr < s->stack_addr || addr - s->stack_addr > s->stack_len || len > s->stack_len - (addr - s->stack_addr))
		return false;
	memcpy(buf, s->stack + (addr - s->stack_addr), len);
	return true;
}

int target_read(struct target_memory *m, uint64_t addr, void *buf, size_t len)
{
	uint8_t *out = buf;

	if (addr < PAGE || addr + len < addr || addr + len > 1ull << 63) {
		m->failures++;
		return -EFAULT;
	}
	if (read_snapshot(m, addr, buf, len))
		return 0;
	while (len > 0) {
		size_t at = addr % PAGE, part = PAGE - at < len ? PAGE - at : len;
		const uint8_t *bytes = page_get(m, addr / PAGE);
		if (!bytes) {
			/* A page may be absent only in a test's memory or at its edge: ask for the very bytes. */
			if (read_now(m, addr, out, part) != (ssize_t)part) {
				m->failures++;
				return -EFAULT;
			}
		} else {
			memcpy(out, bytes + at, part);
		}
		addr += part;
		out += part;
		len -= part;
	}
	return 0;
}

uint64_t target_read_many(struct target_memory *m, const struct iovec *local, const struct iovec *remote, unsigned n)
{
	uint64_t whole = 0;
	unsigned i = 0;

	if (m->pid <= 0)
		return 0;
	while (i < n) {
		ssize_t got = m->read ? 0 : process_vm_readv(m->pid, local + i, n - i, remote + i, n - i, 0);
		size_t left = got > 0 ? (size_t)got : 0;
		for (; i < n && left >= local[i].iov_len; i++) {
			left -= local[i].iov_len;
			whole |= 1ull << i;
		}
		if (i == n)
			break;
		/* The call stopped at piece i: try it alone, then go on behind it. */
		if (read_now(m, (uintptr_t)remote[i].iov_base, local[i].iov_base, local[i].iov_len) == (ssize_t)local[i].iov_len)
			whole |= 1ull << i;
		else
			m->failures++;
		i++;
	}
	return whole;
}

void target_prefetch(struct target_memory *m, uint64_t addr, size_t len)
{
	uint64_t first = addr / PAGE, count = (addr + len + PAGE - 1) / PAGE - first;
	struct iovec local[16], remote[16];
	uint64_t whole;

	if (m->read || m->pid <= 0 || count < 2)
		return;
	if (count > 16)
		count = 16;
	for (unsigned i = 0; i < count; i++) {
		struct page *p = page_slot(m, first + i);
		p->generation = 0;
		local[i] = (struct iovec){p->bytes, PAGE};
		remote[i] = (struct iovec){(void *)(uintptr_t)((first + i) * PAGE), PAGE};
	}
	whole = target_read_many(m, local, remote, (unsigned)count);
	for (unsigned i = 0; i < count; i++) {
		struct page *p = page_slot(m, first + i);
		if (whole & 1ull << i) {
			p->number = first + i;
			p->generation = m->generation;
		}
	}
}

uint64_t target_u64(struct target_memory *m, uint64_t addr)
{
	uint64_t v;

	return target_read(m, addr, &v, sizeof v) ? 0 : v;
}

uint32_t target_u32(struct target_memory *m, uint64_t addr)
{
	uint32_t v;

	return target_read(m, addr, &v, sizeof v) ? 0 : v;
}

uint16_t target_u16(struct target_memory *m, uint64_t addr)
{
	uint16_t v;

	return target_read(m, addr, &v, sizeof v) ? 0 : v;
}

uint8_t target_u8(struct target_memory *m, uint64_t addr)
{
	uint8_t v;

	return target_read(m, addr, &v, sizeof v) ? 0 : v;
}

ssize_t target_string(struct target_memory *m, uint64_t addr, char *buf, size_t len)
{
	for (size_t n = 0; n < len;) {
		size_t part = PAGE - (addr + n) % PAGE, left = len - n;
		char *end;
		if (part > left)
			part = left;
		if (target_read(m, addr + n, buf + n, part))
			return -EFAULT;
		end = memchr(buf + n, 0, part);
		if (end)
			return end - buf;
		n += part;
	}
	buf[len - 1] = 0;
	return (ssize_t)len - 1;
}

uint64_t target_memory_failures(const struct target_memory *m)
{
	return m->failures;
}
