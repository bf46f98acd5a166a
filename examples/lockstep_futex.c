/* SPDX-License-Identifier: Apache-2.0
 *
 * Lock-step through shared memory: two slots of messages and two counters, which both sides wait on with shared futexes. The
 * kernel never sees the messages, only the waits.
 */
#include "talk.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct mailbox {
	_Atomic uint32_t sent, acked, done;
	unsigned char slots[];
};

static void setup(struct link *l, const struct options *o)
{
	l->shared = shared_new(sizeof(struct mailbox) + 2 * o->size * o->batch);
}

NOINLINE static bool send_message(struct link *l, const unsigned char *buf, size_t n)
{
	struct mailbox *m = l->shared;
	memcpy(m->slots + (l->sent & 1) * n, buf, n);
	l->sent++;
	atomic_store(&m->sent, (uint32_t)l->sent);
	long woken = AT("send", syscall(SYS_futex, &m->sent, FUTEX_WAKE, 1, NULL, NULL, 0));
	return woken >= 0;
}

NOINLINE static bool wait_for_ack(struct link *l)
{
	struct mailbox *m = l->shared;
	uint32_t want = (uint32_t)++l->acked, seen;
	while ((int32_t)((seen = atomic_load(&m->acked)) - want) < 0) {
		long r = AT("wait_ack", syscall(SYS_futex, &m->acked, FUTEX_WAIT, seen, NULL, NULL, 0));
		if (r < 0 && errno != EAGAIN && errno != EINTR)
			return false;
	}
	return true;
}

NOINLINE static bool wait_for_message(struct link *l, unsigned char *buf, size_t n)
{
	struct mailbox *m = l->shared;
	uint32_t seen;
	while ((int32_t)((seen = atomic_load(&m->sent)) - (uint32_t)l->acked) <= 0) {
		long r = AT("wait_message", syscall(SYS_futex, &m->sent, FUTEX_WAIT, seen, NULL, NULL, 0));
		if (r < 0 && errno != EAGAIN && errno != EINTR)
			return false;
	}
	if (atomic_load(&m->done))
		return false;
	memcpy(buf, m->slots + (l->acked & 1) * n, n);
	return true;
}

NOINLINE static bool send_ack(struct link *l)
{
	struct mailbox *m = l->shared;
	l->acked++;
	atomic_store(&m->acked, (uint32_t)l->acked);
	long woken = AT("send_ack", syscall(SYS_futex, &m->acked, FUTEX_WAKE, 1, NULL, NULL, 0));
	return woken >= 0;
}

/* All is acknowledged by now: one more step of the counter is the end, and no wait can miss it. */
static void finish(struct link *l)
{
	struct mailbox *m = l->shared;
	atomic_store(&m->done, 1);
	atomic_store(&m->sent, (uint32_t)l->sent + 1);
	syscall(SYS_futex, &m->sent, FUTEX_WAKE, 1, NULL, NULL, 0);
}

int main(int argc, char **argv)
{
	static const struct transport t = {"lockstep_futex",
					   "one message, one ack through shared memory and futexes",
					   "futex",
					   "futex",
					   false,
					   setup,
					   NULL,
					   NULL,
					   send_message,
					   wait_for_ack,
					   wait_for_message,
					   send_ack,
					   finish};
	return talk_main(&t, argc, argv);
}
