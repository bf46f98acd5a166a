/* SPDX-License-Identifier: Apache-2.0
 *
 * Channels under small ids, for the backends. In: identities of kernel objects (inode numbers, addresses, 4-tuples); out: EV_CHANNEL
 * and EV_CHANNEL_END events. Both ends of a socket pair or a TCP connection are one channel.
 */
#ifndef LOCKSTEP_CHANNELS_H
#define LOCKSTEP_CHANNELS_H

#include "sampler/event.h"

struct channels;

/* fn is called for every channel and end that becomes known, until channels_free. NULL: out of memory. */
struct channels *channels_new(event_fn fn, void *ctx);
void channels_free(struct channels *c);

/* What a channel is known by, beside its kind: three numbers whose meaning the kind gives. */
struct channel_identity {
	enum channel_kind kind;
	uint64_t a, b, c;
};

struct inet_end {
	uint8_t addr[16]; /* network order; IPv4 in the first four bytes */
	uint16_t port;	  /* host order */
};

/* Each returns the channel's id (0: out of memory) and tells it when new. */
uint32_t channels_pipe(struct channels *c, uint64_t inode, uint32_t dev, const char *fifo_path, uint64_t capacity_bytes);
/* peer_inode 0: unknown or none (listening, datagram); path "" when unnamed; abstract names begin with '@'. */
uint32_t channels_unix(struct channels *c, uint64_t inode, uint64_t peer_inode, const char *path, const char *type, uint64_t capacity_bytes);
uint32_t channels_inet(struct channels *c, bool v6, bool udp, const struct inet_end *local, const struct inet_end *remote, uint64_t inode,
		       bool listening, uint64_t capacity_bytes);
uint32_t channels_futex_private(struct channels *c, int32_t pid, uint64_t addr);
/* The same word of a shared mapping, wherever each process has it. Reads /proc/PID/maps; falls back to (pid, addr). */
uint32_t channels_futex_shared(struct channels *c, int32_t pid, uint64_t addr);
uint32_t channels_child(struct channels *c, int32_t parent_pid);
uint32_t channels_sysv(struct channels *c, bool queue, int32_t id);
uint32_t channels_file(struct channels *c, uint32_t dev, uint64_t inode, const char *path);
/* eventfd, epoll, timerfd, signalfd, terminals, message queues: known by any unique number. */
uint32_t channels_other(struct channels *c, enum channel_kind kind, uint64_t unique, const char *name);

/* Tells that pid holds an end (once per channel, pid and role). */
void channels_end(struct channels *c, uint32_t channel, int32_t pid, int32_t fd, enum end_role role);

/* Looks for the ends of known pipes and sockets that nobody has been seen using, in the descriptors of these processes
 * (/proc/PID/fd). Cheap when nothing is missing. Returns how many ends were found. */
size_t channels_scan_ends(struct channels *c, const int32_t *pids, size_t n);
/* Whether a pipe or local socket still lacks a second process. */
bool channels_want_scan(const struct channels *c);

/* Forgets what belongs to processes that are gone: their ends and futexes, and pipes and sockets that nobody holds any more. Their
 * ids are not given out again. alive says whether a process still is. Call it when channels_size has doubled. */
void channels_sweep(struct channels *c, bool (*alive)(void *ctx, int32_t pid), void *ctx);
size_t channels_size(const struct channels *c);
bool channels_known(const struct channels *c, uint32_t channel); /* not swept */

#endif
