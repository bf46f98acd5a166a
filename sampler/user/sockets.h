/* SPDX-License-Identifier: Apache-2.0
 *
 * What a socket's inode number stands for, by sock_diag: family, addresses, the peer of a local socket. In: inode numbers as
 * /proc/PID/fd shows them; out: channel ids. Needs no privilege. Sees the sockets of the profiler's own network namespace.
 */
#ifndef LOCKSTEP_USER_SOCKETS_H
#define LOCKSTEP_USER_SOCKETS_H

#include "sampler/channels/channels.h"

#include <stdbool.h>
#include <stdint.h>

struct sockets;

struct socket_info {
	enum channel_kind kind; /* CH_UNIX, CH_TCP, CH_UDP; CH_NONE: another family */
	uint32_t channel;
};

struct sockets *sockets_new(struct channels *channels); /* NULL: out of memory. channels is borrowed */
void sockets_free(struct sockets *s);
/* Looks the inode up; asks the kernel anew when it is unknown, at most once per refresh interval (200 ms). False: not known (yet). */
bool sockets_find(struct sockets *s, uint64_t inode, uint64_t now_ns, struct socket_info *out);

#endif
