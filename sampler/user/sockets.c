/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler/user/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define UTHASH_NONFATAL_OOM 1
#include <uthash.h>

#define REFRESH_NS 200000000ull
#define MAX_ENTRIES 200000 /* then all are dropped and read again: numbers of closed sockets must not pile up */

struct entry {
	uint64_t inode;
	struct socket_info info;
	UT_hash_handle hh;
};

struct sockets {
	struct channels *channels;
	struct entry *entries;
	uint64_t refreshed_ns;
	int fd;
};

struct sockets *sockets_new(struct channels *channels)
{
	struct sockets *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->channels = channels;
	s->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	return s;
}

static void clear(struct sockets *s)
{
	struct entry *e, *tmp;
	HASH_ITER(hh, s->entries, e, tmp)
	{
		HASH_DEL(s->entries, e);
		free(e);
	}
}

void sockets_free(struct sockets *s)
{
	if (!s)
		return;
	clear(s);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

static void learn(struct sockets *s, uint64_t inode, enum channel_kind kind, uint32_t channel)
{
	struct entry *e;
	if (!inode)
		return;
	HASH_FIND(hh, s->entries, &inode, sizeof inode, e);
	if (!e) {
		e = calloc(1, sizeof *e);
		if (!e)
			return;
		e->inode = inode;
		HASH_ADD(hh, s->entries, inode, sizeof e->inode, e);
	}
	e->info = (struct socket_info){.kind = kind, .channel = channel};
}

static void learn_unix(struct sockets *s, const struct unix_diag_msg *m, size_t len)
{
	uint64_t peer = 0;
	char path[120] = "";
	const struct rtattr *a = (const void *)(m + 1);
	size_t left = len - sizeof *m;
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		size_t n = RTA_PAYLOAD(a);
		if (a->rta_type == UNIX_DIAG_PEER && n >= 4) {
			uint32_t p;
			memcpy(&p, RTA_DATA(a), 4);
			peer = p;
		} else if (a->rta_type == UNIX_DIAG_NAME && n && n < sizeof path) {
			memcpy(path, RTA_DATA(a), n);
			path[n] = 0;
			for (size_t i = 0; i < n; i++)
				if (!path[i])
					path[i] = '@'; /* abstract, as ss(8) shows it */
		}
	}
	const char *type = m->udiag_type == SOCK_DGRAM ? "(dgram)" : m->udiag_type == SOCK_SEQPACKET ? "(seqpacket)" : "";
	learn(s, m->udiag_ino, CH_UNIX, channels_unix(s->channels, m->udiag_ino, peer, path, type, 0));
}

static void learn_inet(struct sockets *s, const struct inet_diag_msg *m, bool udp)
{
	struct inet_end local = {.port = ntohs(m->id.idiag_sport)}, remote = {.port = ntohs(m->id.idiag_dport)};
	size_t n = m->idiag_family == AF_INET6 ? 16 : 4;
	memcpy(local.addr, m->id.idiag_src, n);
	memcpy(remote.addr, m->id.idiag_dst, n);
	bool listening = !udp && m->idiag_state == TCP_LISTEN;
	learn(s, m->idiag_inode, udp ? CH_UDP : CH_TCP,
	      channels_inet(s->channels, m->idiag_family == AF_INET6, udp, &local, &remote, m->idiag_inode, listening, 0));
}

/* Sends a dump request and hands every answer on. */
static void dump(struct sockets *s, const void *body, size_t body_len, bool is_unix, bool udp)
{
	struct {
		struct nlmsghdr h;
		char body[128];
	} req = {.h = {.nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
	req.h.nlmsg_len = NLMSG_LENGTH(body_len);
	memcpy(req.body, body, body_len);
	if (send(s->fd, &req, req.h.nlmsg_len, 0) < 0)
		return;
	char buf[32768] __attribute__((aligned(8)));
	for (;;) {
		ssize_t got = recv(s->fd, buf, sizeof buf, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return;
		size_t left = (size_t)got;
		for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
				return;
			size_t len = NLMSG_PAYLOAD(h, 0);
			if (is_unix && len >= sizeof(struct unix_diag_msg))
				learn_unix(s, NLMSG_DATA(h), len);
			else if (!is_unix && len >= sizeof(struct inet_diag_msg))
				learn_inet(s, NLMSG_DATA(h), udp);
		}
	}
}

static void refresh(struct sockets *s)
{
	if (s->fd < 0)
		return;
	if (HASH_COUNT(s->entries) > MAX_ENTRIES)
		clear(s);
	struct unix_diag_req u = {.sdiag_family = AF_UNIX, .udiag_states = -1, .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER};
	dump(s, &u, sizeof u, true, false);
	static const struct {
		uint8_t family, protocol;
	} inet[] = {{AF_INET, IPPROTO_TCP}, {AF_INET6, IPPROTO_TCP}, {AF_INET, IPPROTO_UDP}, {AF_INET6, IPPROTO_UDP}};
	for (size_t i = 0; i < sizeof inet / sizeof *inet; i++) {
		struct inet_diag_req_v2 r = {.sdiag_family = inet[i].family, .sdiag_protocol = inet[i].protocol, .idiag_states = ~0u};
		dump(s, &r, sizeof r, false, inet[i].protocol == IPPROTO_UDP);
	}
}

bool sockets_find(struct sockets *s, uint64_t inode, uint64_t now_ns, struct socket_info *out)
{
	struct entry *e;
	HASH_FIND(hh, s->entries, &inode, sizeof inode, e);
	if (!e && now_ns - s->refreshed_ns > REFRESH_NS) {
		s->refreshed_ns = now_ns;
		refresh(s);
		HASH_FIND(hh, s->entries, &inode, sizeof inode, e);
	}
	if (!e)
		return false;
	*out = e->info;
	return true;
}
