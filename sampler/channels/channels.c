/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler/channels/channels.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UTHASH_NONFATAL_OOM 1
#include <uthash.h>

struct channel {
	struct channel_identity key;
	uint32_t id;
	uint32_t n_ends; /* told ends of living processes */
	UT_hash_handle hh;
	UT_hash_handle hh_id;
};

/* /proc/PID/fd shows "pipe:[N]" and "socket:[N]": which channel that number belongs to */
struct inode_ref {
	struct {
		uint64_t inode;
		uint64_t socket;
	} key;
	uint32_t channel;
	UT_hash_handle hh;
};

struct end_key {
	uint32_t channel;
	int32_t pid;
	uint32_t role;
};
struct end {
	struct end_key key;
	UT_hash_handle hh;
};

struct futex_word {
	struct {
		uint64_t pid, addr;
	} key;
	uint32_t channel;
	UT_hash_handle hh;
};

struct channels {
	event_fn fn;
	void *ctx;
	struct channel *all;
	struct channel *by_id;
	struct inode_ref *inodes;
	struct end *ends;
	struct futex_word *futexes;
	uint32_t next_id;
	bool want_scan;
	struct ifaddrs *interfaces;
};

struct channels *channels_new(event_fn fn, void *ctx)
{
	struct channels *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->fn = fn;
	c->ctx = ctx;
	c->next_id = 1;
	if (getifaddrs(&c->interfaces) < 0)
		c->interfaces = NULL;
	return c;
}

#define FREE_TABLE(type, head) \
	do { \
		type *e_, *tmp_; \
		HASH_ITER(hh, head, e_, tmp_) \
		{ \
			HASH_DEL(head, e_); \
			free(e_); \
		} \
	} while (0)

void channels_free(struct channels *c)
{
	if (!c)
		return;
	HASH_CLEAR(hh_id, c->by_id);
	FREE_TABLE(struct channel, c->all);
	FREE_TABLE(struct inode_ref, c->inodes);
	FREE_TABLE(struct end, c->ends);
	FREE_TABLE(struct futex_word, c->futexes);
	if (c->interfaces)
		freeifaddrs(c->interfaces);
	free(c);
}

static struct channel *by_id(const struct channels *c, uint32_t id)
{
	struct channel *ch;
	HASH_FIND(hh_id, c->by_id, &id, sizeof id, ch);
	return ch;
}

static struct channel *find(struct channels *c, const struct channel_identity *key)
{
	struct channel *ch;
	HASH_FIND(hh, c->all, key, sizeof *key, ch);
	return ch;
}

static void tell(struct channels *c, uint32_t id, enum channel_kind kind, const char *name, uint64_t capacity, bool remote)
{
	struct event ev = {.kind = EV_CHANNEL,
			   .channel = {.id = id, .kind = kind, .name = name, .capacity_bytes = capacity, .remote = remote}};
	c->fn(c->ctx, &ev);
}

static uint32_t add(struct channels *c, const struct channel_identity *key, const char *name, uint64_t capacity, bool remote)
{
	struct channel *ch = calloc(1, sizeof *ch);
	if (!ch)
		return 0;
	ch->key = *key;
	ch->id = c->next_id++;
	HASH_ADD(hh, c->all, key, sizeof ch->key, ch);
	HASH_ADD(hh_id, c->by_id, id, sizeof ch->id, ch);
	tell(c, ch->id, key->kind, name, capacity, remote);
	return ch->id;
}

static void remember_inode(struct channels *c, uint64_t inode, bool socket, uint32_t channel)
{
	struct inode_ref *r, probe = {.key = {inode, socket}};
	if (!inode || !channel)
		return;
	HASH_FIND(hh, c->inodes, &probe.key, sizeof probe.key, r);
	if (r) {
		r->channel = channel; /* numbers are used again: the younger one counts */
		return;
	}
	r = calloc(1, sizeof *r);
	if (!r)
		return;
	r->key = probe.key;
	r->channel = channel;
	HASH_ADD(hh, c->inodes, key, sizeof r->key, r);
	c->want_scan = true;
}

uint32_t channels_pipe(struct channels *c, uint64_t inode, uint32_t dev, const char *fifo_path, uint64_t capacity_bytes)
{
	struct channel_identity key = {.kind = CH_PIPE, .a = inode, .b = dev};
	struct channel *ch = find(c, &key);
	if (ch)
		return ch->id;
	char name[160];
	if (fifo_path && *fifo_path)
		snprintf(name, sizeof name, "%s", fifo_path);
	else
		snprintf(name, sizeof name, "pipe:[%llu]", (unsigned long long)inode);
	uint32_t id = add(c, &key, name, capacity_bytes, false);
	remember_inode(c, inode, false, id);
	return id;
}

uint32_t channels_unix(struct channels *c, uint64_t inode, uint64_t peer_inode, const char *path, const char *type, uint64_t capacity_bytes)
{
	uint64_t low = peer_inode && peer_inode < inode ? peer_inode : inode;
	struct channel_identity key = {.kind = CH_UNIX, .a = low, .b = peer_inode ? (inode ^ peer_inode ^ low) : 0};
	struct channel *ch = find(c, &key);
	if (ch) {
		remember_inode(c, inode, true, ch->id);
		return ch->id;
	}
	char name[200];
	if (path && *path)
		snprintf(name, sizeof name, "%s%s%s", path, *type ? " " : "", type);
	else
		snprintf(name, sizeof name, "%s:[%llu]", peer_inode ? "socketpair" : "unix", (unsigned long long)low);
	uint32_t id = add(c, &key, name, capacity_bytes, false);
	remember_inode(c, inode, true, id);
	remember_inode(c, peer_inode, true, id);
	return id;
}

static bool is_loopback(bool v6, const uint8_t *a)
{
	static const uint8_t one[16] = {[15] = 1};
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	if (!v6)
		return a[0] == 127;
	return memcmp(a, one, 16) == 0 || (memcmp(a, mapped, 12) == 0 && a[12] == 127);
}

static bool is_own_address(const struct channels *c, bool v6, const uint8_t *a)
{
	for (struct ifaddrs *i = c->interfaces; i; i = i->ifa_next) {
		if (!i->ifa_addr)
			continue;
		if (!v6 && i->ifa_addr->sa_family == AF_INET &&
		    memcmp(&((struct sockaddr_in *)i->ifa_addr)->sin_addr, a, 4) == 0)
			return true;
		if (v6 && i->ifa_addr->sa_family == AF_INET6 && memcmp(&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, a, 16) == 0)
			return true;
	}
	return false;
}

static const char *port_service(uint16_t port)
{
	static const struct {
		uint16_t port;
		const char *name;
	} known[] = {{22, "ssh"},	  {25, "smtp"},	      {53, "DNS"},	      {80, "http"},	  {443, "https"},
		     {1433, "SQL Server"}, {1521, "Oracle"},   {2181, "ZooKeeper"},    {3306, "MySQL"},	  {5432, "PostgreSQL"},
		     {5672, "AMQP"},	  {6379, "Redis"},    {8080, "http"},	      {9042, "Cassandra"}, {9092, "Kafka"},
		     {9200, "Elasticsearch"}, {11211, "memcached"}, {27017, "MongoDB"}};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (known[i].port == port)
			return known[i].name;
	return NULL;
}

static void format_end(bool v6, const struct inet_end *e, char *out, size_t n)
{
	char a[INET6_ADDRSTRLEN] = "?";
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	if (v6 && memcmp(e->addr, mapped, 12) == 0) {
		inet_ntop(AF_INET, e->addr + 12, a, sizeof a);
		v6 = false;
	} else {
		inet_ntop(v6 ? AF_INET6 : AF_INET, e->addr, a, sizeof a);
	}
	snprintf(out, n, v6 ? "[%s]:%u" : "%s:%u", a, e->port);
}

static uint64_t end_hash(const struct inet_end *e)
{
	uint64_t h = 0xcbf29ce484222325ULL;
	for (size_t i = 0; i < sizeof e->addr; i++)
		h = (h ^ e->addr[i]) * 0x100000001b3ULL;
	return (h ^ e->port) * 0x100000001b3ULL;
}

uint32_t channels_inet(struct channels *c, bool v6, bool udp, const struct inet_end *local, const struct inet_end *remote, uint64_t inode,
		       bool listening, uint64_t capacity_bytes)
{
	bool connected = remote->port && !listening;
	uint64_t l = end_hash(local), r = end_hash(remote);
	/* the smaller end first, so that both sockets of one connection are one channel */
	struct channel_identity key = {.kind = udp ? CH_UDP : CH_TCP, .a = l < r ? l : r, .b = l < r ? r : l};
	if (!connected) {
		key.a = l;
		key.b = inode;
		key.c = 1;
	}
	struct channel *ch = find(c, &key);
	if (ch) {
		remember_inode(c, inode, true, ch->id);
		return ch->id;
	}
	char le[64], re[64], name[192];
	format_end(v6, local, le, sizeof le);
	format_end(v6, remote, re, sizeof re);
	bool local_peer = is_loopback(v6, remote->addr) || memcmp(local->addr, remote->addr, 16) == 0 || is_own_address(c, v6, remote->addr);
	bool remote_host = connected && !local_peer;
	const char *service = port_service(connected && !port_service(local->port) ? remote->port : local->port);
	char tail[32] = "";
	if (service)
		snprintf(tail, sizeof tail, " (%s)", service);
	const char *proto = udp ? "udp " : "";
	if (listening)
		snprintf(name, sizeof name, "%s%s listening%s", proto, le, tail);
	else if (!connected)
		snprintf(name, sizeof name, "%s%s%s", proto, le, tail);
	else if (remote_host)
		snprintf(name, sizeof name, "%s%s%s", proto, re, tail);
	else
		snprintf(name, sizeof name, "%s%s-%s%s", proto, le, re, tail);
	uint32_t id = add(c, &key, name, capacity_bytes, remote_host);
	remember_inode(c, inode, true, id);
	return id;
}

uint32_t channels_futex_private(struct channels *c, int32_t pid, uint64_t addr)
{
	struct channel_identity key = {.kind = CH_FUTEX, .a = (uint32_t)pid, .b = addr};
	struct channel *ch = find(c, &key);
	if (ch)
		return ch->id;
	char name[64];
	snprintf(name, sizeof name, "futex 0x%llx of %d", (unsigned long long)addr, pid);
	uint32_t id = add(c, &key, name, 0, false);
	channels_end(c, id, pid, -1, END_BOTH);
	return id;
}

/* Finds the file-backed shared mapping that covers addr. */
static bool mapping_of(int32_t pid, uint64_t addr, uint64_t *dev, uint64_t *inode, uint64_t *offset, char *path, size_t path_size)
{
	char file[48], line[4400];
	snprintf(file, sizeof file, "/proc/%d/maps", pid);
	FILE *f = fopen(file, "re");
	if (!f)
		return false;
	bool found = false;
	while (!found && fgets(line, sizeof line, f)) {
		unsigned long long start, end, off, ino;
		unsigned maj, min;
		char perms[8];
		int at = 0;
		if (sscanf(line, "%llx-%llx %7s %llx %x:%x %llu %n", &start, &end, perms, &off, &maj, &min, &ino, &at) < 7)
			continue;
		if (addr < start || addr >= end)
			continue;
		found = perms[3] == 's';
		*dev = ((uint64_t)maj << 32) | min;
		*inode = ino;
		*offset = off + (addr - start);
		snprintf(path, path_size, "%s", line + at);
		path[strcspn(path, "\n")] = 0;
		break;
	}
	fclose(f);
	return found;
}

uint32_t channels_futex_shared(struct channels *c, int32_t pid, uint64_t addr)
{
	struct futex_word *w, probe = {.key = {(uint32_t)pid, addr}};
	HASH_FIND(hh, c->futexes, &probe.key, sizeof probe.key, w);
	if (w)
		return w->channel;
	uint64_t dev, inode, offset;
	char path[256];
	uint32_t id;
	if (mapping_of(pid, addr, &dev, &inode, &offset, path, sizeof path)) {
		struct channel_identity key = {.kind = CH_FUTEX, .a = dev, .b = inode, .c = offset + 1};
		struct channel *ch = find(c, &key);
		if (ch) {
			id = ch->id;
		} else {
			char name[320];
			snprintf(name, sizeof name, "shared futex %s+0x%llx", *path ? path : "[anonymous]", (unsigned long long)offset);
			id = add(c, &key, name, 0, false);
		}
		channels_end(c, id, pid, -1, END_BOTH);
	} else {
		/* a private mapping used without the private flag, or the process is gone */
		id = channels_futex_private(c, pid, addr);
	}
	w = id ? calloc(1, sizeof *w) : NULL;
	if (w) {
		w->key = probe.key;
		w->channel = id;
		HASH_ADD(hh, c->futexes, key, sizeof w->key, w);
	}
	return id;
}

uint32_t channels_child(struct channels *c, int32_t parent_pid)
{
	struct channel_identity key = {.kind = CH_CHILD, .a = (uint32_t)parent_pid};
	struct channel *ch = find(c, &key);
	if (ch)
		return ch->id;
	char name[48];
	snprintf(name, sizeof name, "children of %d", parent_pid);
	uint32_t id = add(c, &key, name, 0, false);
	channels_end(c, id, parent_pid, -1, END_READER);
	return id;
}

uint32_t channels_sysv(struct channels *c, bool queue, int32_t sysv_id)
{
	struct channel_identity key = {.kind = CH_SYSV, .a = (uint32_t)sysv_id, .b = queue};
	struct channel *ch = find(c, &key);
	if (ch)
		return ch->id;
	char name[48];
	snprintf(name, sizeof name, "SysV %s %d", queue ? "queue" : "semaphore", sysv_id);
	return add(c, &key, name, 0, false);
}

uint32_t channels_file(struct channels *c, uint32_t dev, uint64_t inode, const char *path)
{
	struct channel_identity key = {.kind = CH_FILE, .a = dev, .b = inode};
	struct channel *ch = find(c, &key);
	if (ch)
		return ch->id;
	char name[64];
	if (!path || !*path)
		snprintf(name, sizeof name, "inode %llu", (unsigned long long)inode);
	return add(c, &key, path && *path ? path : name, 0, false);
}

uint32_t channels_other(struct channels *c, enum channel_kind kind, uint64_t unique, const char *name)
{
	struct channel_identity key = {.kind = kind, .a = unique, .c = ~0ULL};
	struct channel *ch = find(c, &key);
	return ch ? ch->id : add(c, &key, name, 0, false);
}

void channels_end(struct channels *c, uint32_t channel, int32_t pid, int32_t fd, enum end_role role)
{
	struct end *e;
	struct end_key key = {channel, pid, role};
	if (!channel)
		return;
	HASH_FIND(hh, c->ends, &key, sizeof key, e);
	if (e)
		return;
	e = calloc(1, sizeof *e);
	if (!e)
		return;
	e->key = key;
	HASH_ADD(hh, c->ends, key, sizeof e->key, e);
	struct channel *ch = by_id(c, channel);
	if (ch)
		ch->n_ends++;
	struct event ev = {.kind = EV_CHANNEL_END, .channel_end = {.channel = channel, .pid = pid, .fd = fd, .role = role}};
	c->fn(c->ctx, &ev);
}

bool channels_want_scan(const struct channels *c)
{
	return c->want_scan;
}

/* One descriptor: "pipe:[123]" or "socket:[456]". Returns whether it is an end of a known channel. */
static bool scan_fd(struct channels *c, int32_t pid, int dirfd, const char *fd_name)
{
	char target[64];
	ssize_t n = readlinkat(dirfd, fd_name, target, sizeof target - 1);
	if (n <= 0)
		return false;
	target[n] = 0;
	bool socket = strncmp(target, "socket:[", 8) == 0;
	if (!socket && strncmp(target, "pipe:[", 6) != 0)
		return false;
	struct inode_ref *r, probe = {.key = {strtoull(target + (socket ? 8 : 6), NULL, 10), socket}};
	HASH_FIND(hh, c->inodes, &probe.key, sizeof probe.key, r);
	if (!r)
		return false;
	enum end_role role = END_BOTH;
	struct stat st;
	/* the link's own permission bits say how the descriptor was opened (proc(5)) */
	if (!socket && fstatat(dirfd, fd_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		bool rd = st.st_mode & S_IRUSR, wr = st.st_mode & S_IWUSR;
		role = rd && wr ? END_BOTH : rd ? END_READER : END_WRITER;
	}
	channels_end(c, r->channel, pid, atoi(fd_name), role);
	return true;
}

size_t channels_scan_ends(struct channels *c, const int32_t *pids, size_t n)
{
	size_t found = 0;
	c->want_scan = false;
	for (size_t i = 0; i < n; i++) {
		char path[48];
		snprintf(path, sizeof path, "/proc/%d/fd", pids[i]);
		DIR *d = opendir(path);
		if (!d)
			continue;
		struct dirent *e;
		while ((e = readdir(d)))
			if (e->d_name[0] != '.')
				found += scan_fd(c, pids[i], dirfd(d), e->d_name);
		closedir(d);
	}
	return found;
}

size_t channels_size(const struct channels *c)
{
	return HASH_COUNT(c->all) + HASH_COUNT(c->ends) + HASH_COUNT(c->futexes);
}

bool channels_known(const struct channels *c, uint32_t channel)
{
	return by_id(c, channel) != NULL;
}

/* Whether the channel can only be used by processes that hold an end of it. Files and SysV objects stand for themselves. */
static bool lives_by_its_ends(const struct channel *ch)
{
	switch (ch->key.kind) {
	case CH_PIPE:
	case CH_UNIX:
	case CH_TCP:
	case CH_UDP:
	case CH_FUTEX:
	case CH_CHILD:
	case CH_EVENTFD:
		return true;
	default:
		return false;
	}
}

void channels_sweep(struct channels *c, bool (*alive)(void *ctx, int32_t pid), void *ctx)
{
	struct end *e, *etmp;
	HASH_ITER(hh, c->ends, e, etmp)
	{
		if (alive(ctx, e->key.pid))
			continue;
		struct channel *ch = by_id(c, e->key.channel);
		if (ch)
			ch->n_ends--;
		HASH_DEL(c->ends, e);
		free(e);
	}
	struct futex_word *w, *wtmp;
	HASH_ITER(hh, c->futexes, w, wtmp)
	{
		if (alive(ctx, (int32_t)w->key.pid))
			continue;
		HASH_DEL(c->futexes, w);
		free(w);
	}
	struct channel *ch, *ctmp;
	HASH_ITER(hh, c->all, ch, ctmp)
	{
		if (ch->n_ends || !lives_by_its_ends(ch))
			continue;
		HASH_DELETE(hh_id, c->by_id, ch);
		HASH_DEL(c->all, ch);
		free(ch);
	}
	struct inode_ref *r, *rtmp;
	HASH_ITER(hh, c->inodes, r, rtmp)
	{
		if (channels_known(c, r->channel))
			continue;
		HASH_DEL(c->inodes, r);
		free(r);
	}
}
