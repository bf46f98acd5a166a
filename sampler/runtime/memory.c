/* SPDX-License-Identifier: Apache-2.0
 *
 * See memory.h. The cache is direct-mapped by page number and invalidated by a generation count, so that starting a walk
 * costs nothing. A page is cut into sectors: a miss fetches the whole page (where one word is wanted, its neighbours will
 * be), a hint only the sectors that the last walk of the same thread looked at, all of them in one call.
 */
#include "sampler/runtime/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096ull
#define SLOTS 128 /* 512 KiB: a 16 KiB frame chunk, thread states and code objects of one walk fit many times */

#define SECTOR 512
#define ALL_SECTORS 0xffu
#define MAX_PIECES 64 /* of one process_vm_readv */

struct page {
	uint64_t number;
	uint64_t generation;
	uint8_t valid, touched; /* a bit per sector */
	uint8_t *bytes;
};

struct target_memory {
	runtime_read_fn read;
	void *ctx;
	pid_t pid;
	const struct unwind_memory *snapshot;
	uint64_t generation, failures;
	struct page pages[SLOTS];
	uint8_t used[SLOTS]; /* slots filled in this walk, in order */
	unsigned n_used;
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
	m->n_used = 0;
}

static struct page *page_slot(struct target_memory *m, uint64_t number)
{
	return &m->pages[(number ^ number >> 7) % SLOTS];
}

/* The slot of a page, taken for this walk. */
static struct page *page_take(struct target_memory *m, uint64_t number)
{
	struct page *p = page_slot(m, number);

	if (p->generation != m->generation)
		m->used[m->n_used++] = (uint8_t)(p - m->pages);
	p->number = number;
	p->generation = m->generation;
	p->valid = p->touched = 0;
	return p;
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

/* The sectors of a page that at..at+len lies in. */
static uint8_t sectors(size_t at, size_t len)
{
	unsigned first = (unsigned)(at / SECTOR), last = (unsigned)((at + len - 1) / SECTOR);

	return (uint8_t)(ALL_SECTORS >> (7 - last) & ALL_SECTORS << first);
}

/* The cached page with those sectors, or NULL when it cannot be read. */
static const uint8_t *page_get(struct target_memory *m, uint64_t number, uint8_t want)
{
	struct page *p = page_slot(m, number);

	if (p->generation != m->generation || p->number != number)
		p = page_take(m, number);
	if ((p->valid & want) != want) {
		if (read_now(m, number * PAGE, p->bytes, PAGE) != (ssize_t)PAGE)
			return NULL;
		p->valid = ALL_SECTORS;
	}
	p->touched |= want;
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
		const uint8_t *bytes = page_get(m, addr / PAGE, sectors(at, part));
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

/* A run of sectors becomes one piece. */
static unsigned add_pieces(struct page *p, uint8_t mask, struct iovec *local, struct iovec *remote, struct page **of,
			   uint8_t *bits, unsigned n)
{
	for (unsigned first = 0; first < 8 && n < MAX_PIECES; first++) {
		unsigned end = first;
		while (end < 8 && mask & 1u << end)
			end++;
		if (end == first)
			continue;
		local[n] = (struct iovec){p->bytes + first * SECTOR, (end - first) * SECTOR};
		remote[n] = (struct iovec){(void *)(uintptr_t)(p->number * PAGE + first * SECTOR), (end - first) * SECTOR};
		of[n] = p;
		bits[n++] = sectors(first * SECTOR, (end - first) * SECTOR);
		first = end;
	}
	return n;
}

void target_memory_expect(struct target_memory *m, const struct target_hint *h)
{
	struct iovec local[MAX_PIECES], remote[MAX_PIECES];
	struct page *of[MAX_PIECES];
	uint8_t bits[MAX_PIECES];
	unsigned n = 0;
	uint64_t whole;

	if (m->pid <= 0)
		return;
	for (unsigned i = 0; i < h->n && n < MAX_PIECES; i++) {
		struct page *p = page_slot(m, h->pages[i] >> 8);
		if (p->generation == m->generation)
			continue; /* two pages of one slot: the second is fetched when it is looked at */
		n = add_pieces(page_take(m, h->pages[i] >> 8), (uint8_t)h->pages[i], local, remote, of, bits, n);
	}
	whole = n ? target_read_many(m, local, remote, n) : 0;
	for (unsigned i = 0; i < n; i++)
		if (whole & 1ull << i)
			of[i]->valid |= bits[i];
}

void target_memory_learn(const struct target_memory *m, struct target_hint *h)
{
	h->n = 0;
	for (unsigned i = 0; i < m->n_used && h->n < TARGET_HINT_PAGES; i++) {
		const struct page *p = &m->pages[m->used[i]];
		if (p->generation == m->generation && p->touched)
			h->pages[h->n++] = p->number << 8 | p->touched;
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
