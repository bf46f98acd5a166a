/* SPDX-License-Identifier: Apache-2.0
 *
 * Stacks of running threads: a task-clock event per thread that runs, with user registers and a piece of the stack, where
 * perf_event_paranoid allows (<= 2 for one's own processes). In: a thread seen running; out: EV_SAMPLE. The kernel lends an unprivileged
 * user little memory for rings (perf_event_mlock_kb): the first threads seen running get them, the others are counted.
 */
#include "sampler/user/user_internal.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RING_PAGES 8 /* two records of STACK_BYTES fit: one comes per tick */
#define STACK_BYTES 8192

#if defined(__x86_64__)
/* perf's register numbers (asm/perf_regs.h) in DWARF order: ax dx cx bx si di bp sp r8..r15 ip */
static const uint8_t perf_regs[] = {0, 3, 2, 1, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 8};
#define REG_SP_NO 7
#elif defined(__aarch64__)
static const uint8_t perf_regs[] = {0,	1,  2,	3,  4,	5,  6,	7,  8,	9,  10, 11, 12, 13, 14, 15, 16,
				    17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32};
#define REG_SP_NO 31
#endif
#define N_REGS (sizeof perf_regs)

struct oncpu {
	int fd;
	struct perf_event_mmap_page *page;
	size_t page_size;
};

static uint64_t reg_mask(void)
{
	uint64_t m = 0;
	for (size_t i = 0; i < N_REGS; i++)
		m |= 1ull << perf_regs[i];
	return m;
}

static int open_event(int32_t tid, uint64_t period_ns, bool kernel_too)
{
	struct perf_event_attr attr = {
	    .size = sizeof attr,
	    .type = PERF_TYPE_SOFTWARE,
	    .config = PERF_COUNT_SW_TASK_CLOCK,
	    .sample_period = period_ns,
	    .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER,
	    .sample_regs_user = reg_mask(),
	    .sample_stack_user = STACK_BYTES,
	    .exclude_kernel = !kernel_too,
	    .exclude_hv = 1,
	    .use_clockid = 1,
	    .clockid = CLOCK_MONOTONIC,
	    .watermark = 1,
	    .wakeup_watermark = RING_PAGES * 4096,
	};
	return (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

bool oncpu_probe(bool *kernel_too)
{
	for (int k = 1; k >= 0; k--) {
		int fd = open_event(0, 10000000, k);
		if (fd >= 0) {
			close(fd);
			*kernel_too = k;
			return true;
		}
	}
	return false;
}

void oncpu_open(struct user_backend *b, struct watched_thread *t)
{
	if (t->oncpu || !b->perf_works || b->rings >= b->max_rings)
		return;
	struct oncpu *o = calloc(1, sizeof *o);
	if (!o)
		return;
	o->page_size = sysconf(_SC_PAGESIZE);
	o->fd = open_event(t->tid, b->period_ns, b->perf_kernel);
	if (o->fd >= 0) {
		void *p = mmap(NULL, (RING_PAGES + 1) * o->page_size, PROT_READ | PROT_WRITE, MAP_SHARED, o->fd, 0);
		if (p != MAP_FAILED) {
			o->page = p;
			t->oncpu = o;
			b->rings++;
			return;
		}
		if (errno == EPERM || errno == ENOMEM || errno == EAGAIN)
			b->max_rings = b->rings; /* the kernel lends no more */
		close(o->fd);
	}
	b->counters.no_ring++;
	free(o);
}

void oncpu_close(struct user_backend *b, struct watched_thread *t)
{
	struct oncpu *o = t->oncpu;
	if (!o)
		return;
	munmap(o->page, (RING_PAGES + 1) * o->page_size);
	close(o->fd);
	free(o);
	t->oncpu = NULL;
	b->rings--;
}

static void copy_out(uint8_t *to, const uint8_t *ring, size_t size, uint64_t at, size_t n)
{
	size_t off = at & (size - 1), first = size - off < n ? size - off : n;
	memcpy(to, ring + off, first);
	memcpy(to + first, ring, n - first);
}

/* header, pid tid, time, abi, regs in order of perf's numbers, size, bytes, dyn_size */
static void tell_sample(struct user_backend *b, struct watched_thread *t, const uint8_t *rec, size_t len)
{
	const uint8_t *p = rec + sizeof(struct perf_event_header), *end = rec + len;
	uint64_t time_ns, abi, size, dyn, raw[64];
	if (p + 8 + 8 + 8 > end)
		return;
	memcpy(&time_ns, p + 8, 8);
	memcpy(&abi, p + 16, 8);
	p += 24;
	if (!abi || p + N_REGS * 8 + 8 > end)
		return;
	memcpy(raw, p, N_REGS * 8);
	p += N_REGS * 8;
	memcpy(&size, p, 8);
	p += 8;
	if (!size || size > STACK_BYTES || p + size + 8 > end)
		return;
	memcpy(&dyn, p + size, 8);
	struct unwind_regs regs = {.valid = (1ull << N_REGS) - 1};
	uint64_t mask = reg_mask();
	for (size_t i = 0; i < N_REGS; i++)
		regs.r[i] = raw[__builtin_popcountll(mask & ((1ull << perf_regs[i]) - 1))];
	struct unwind_memory mem = {.stack = p, .stack_addr = regs.r[REG_SP_NO], .stack_len = dyn < size ? dyn : size, .pid = t->pid};
	/* Python's frames are read now, some ms later: of a running thread that is a sample of its own, as py-spy's are */
	struct runtime_thread rt = {.pid = t->pid, .tid = t->tid, .as = t->process->as, .time_ns = UNWIND_NOW, .regs = &regs, .mem = &mem};
	struct event ev = {.kind = EV_SAMPLE,
			   .time_ns = time_ns,
			   .sample = {.tid = t->tid, .stack = observe_stack(b, t->process, &rt), .period_ns = (uint32_t)b->period_ns}};
	user_emit(b, &ev);
}

void oncpu_drain(struct user_backend *b, struct watched_thread *t)
{
	struct oncpu *o = t->oncpu;
	if (!o)
		return;
	size_t size = RING_PAGES * o->page_size;
	const uint8_t *ring = (const uint8_t *)o->page + o->page_size;
	uint64_t head = __atomic_load_n(&o->page->data_head, __ATOMIC_ACQUIRE), tail = o->page->data_tail;
	uint8_t rec[STACK_BYTES + 1024];
	while (tail < head) {
		struct perf_event_header h;
		copy_out((uint8_t *)&h, ring, size, tail, sizeof h);
		if (h.size < sizeof h)
			break;
		if (h.type == PERF_RECORD_SAMPLE && h.size <= sizeof rec) {
			copy_out(rec, ring, size, tail, h.size);
			tell_sample(b, t, rec, h.size);
		}
		tail += h.size;
	}
	__atomic_store_n(&o->page->data_tail, tail, __ATOMIC_RELEASE);
}
