/* SPDX-License-Identifier: Apache-2.0
 *
 * Channels and who holds their ends. In: EV_CHANNEL and EV_CHANNEL_END; out: indexes (0: none), look-ups of the other end.
 * Ends are remembered after they are closed: what counts is who could have been the peer.
 */
#ifndef LOCKSTEP_CHANNELS_H
#define LOCKSTEP_CHANNELS_H

#include "aggregate/tree.h"

struct chan_end {
	uint32_t proc; /* index */
	int32_t fd;
	enum end_role role;
};

struct chan {
	uint32_t id; /* 0: slot unused */
	uint32_t into; /* folded into this one; 0: itself */
	enum channel_kind kind;
	char *name;
	uint64_t capacity_bytes;
	bool remote;
	uint32_t n_folded; /* channels that this one stands for, itself included */
	struct chan_end *ends;
	size_t n_ends, ends_capacity;
};

struct channels {
	struct intmap by_id;
	struct chan *list; /* index 0 unused */
	size_t n, capacity;
	uint32_t *free_list;
	size_t n_free, free_capacity;
};

bool channels_init(struct channels *c);
void channels_fini(struct channels *c);
uint32_t channels_of_id(struct channels *c, uint32_t id); /* made when absent; 0: id is 0, or out of memory */
bool channels_describe(struct channels *c, const struct ev_channel *ev);
bool channels_add_end(struct channels *c, uint32_t channel, const struct chan_end *end);
void channels_release(struct channels *c, uint32_t channel);
size_t channels_used(const struct channels *c);

/* Whether proc (an unaliased index) holds an end of it; *n_fds (may be NULL): how many. */
bool channel_holds(const struct chan *c, const struct tree *t, uint32_t proc, unsigned *n_fds);
/* The only process at the other end, seen from waiter in a wait of class cls; 0: none, or several. */
uint32_t channel_other_end(const struct chan *c, const struct tree *t, uint32_t waiter, enum wait_class cls);
/* Whether a task below a softirq that woke a waiter on this channel is a real peer (loopback). */
bool channel_softirq_peer(const struct chan *c, const struct tree *t, uint32_t waiter, uint32_t waker);

#endif
