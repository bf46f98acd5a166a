/* SPDX-License-Identifier: Apache-2.0
 *
 * A job over records that asks a database twice per record, one statement at a time: --kind pg (PostgreSQL's simple query protocol) or
 * --kind redis (RESP), on the Unix socket or 127.0.0.1 port in $DB_ADDRESS. Fixed: 100 records per request, the second
 * look-up (its group's name) from a cache. run_stories.py starts the servers; their table has RECORDS rows in GROUPS groups.
 */
#include "common.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RECORDS 10000
#define GROUPS 50
#define BATCH 100

static int db;
static bool redis;
static uint64_t queries, cached;
static bool have_group[GROUPS];

static void connect_db(void)
{
	const char *where = getenv("DB_ADDRESS");
	if (!where) {
		fprintf(stderr, "record_lookup: DB_ADDRESS is not set (a socket's path or a port); run_stories.py does\n");
		exit(2);
	}
	if (where[0] == '/') {
		struct sockaddr_un u = {.sun_family = AF_UNIX};
		snprintf(u.sun_path, sizeof u.sun_path, "%s", where);
		db = socket(AF_UNIX, SOCK_STREAM, 0);
		if (db < 0 || connect(db, (struct sockaddr *)&u, sizeof u))
			die(where);
		return;
	}
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(where)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1;
	db = socket(AF_INET, SOCK_STREAM, 0);
	if (db < 0 || connect(db, (struct sockaddr *)&a, sizeof a))
		die(where);
	setsockopt(db, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static bool complete(const unsigned char *b, size_t n);

/* Sends one request and reads until the reply is whole. This is the one place where the program waits. */
NOINLINE static void ask(const void *request, size_t n)
{
	static unsigned char reply[1 << 16];
	ssize_t w = AT("ask", write(db, request, n));
	if (w != (ssize_t)n)
		die("write");
	size_t have = 0;
	do {
		ssize_t r = AT("wait_reply", read(db, reply + have, sizeof reply - have));
		if (r <= 0)
			die("read");
		have += (size_t)r;
	} while (!complete(reply, have));
	queries++;
}

/* PostgreSQL: ReadyForQuery ('Z') ends a reply. An 'E' message is an error. */
static bool pg_complete(const unsigned char *b, size_t n)
{
	for (size_t at = 0; at + 5 <= n;) {
		uint32_t len;
		memcpy(&len, b + at + 1, 4);
		len = ntohl(len);
		if (b[at] == 'E') {
			fprintf(stderr, "record_lookup: the server reports an error\n");
			exit(1);
		}
		if (at + 1 + len > n)
			return false;
		if (b[at] == 'Z')
			return true;
		at += 1 + len;
	}
	return false;
}

static size_t redis_line(const unsigned char *b, size_t n, size_t at)
{
	const unsigned char *p = at < n ? memchr(b + at, '\n', n - at) : NULL;
	return p ? (size_t)(p - b) + 1 : 0;
}

/* RESP: one bulk string, or an array of them. */
static bool redis_complete(const unsigned char *b, size_t n)
{
	size_t at = 0;
	long items = 1;
	if (n && b[0] == '*') {
		at = redis_line(b, n, 0);
		if (!at)
			return false;
		items = strtol((const char *)b + 1, NULL, 10);
	}
	while (items--) {
		size_t next = redis_line(b, n, at);
		if (!next)
			return false;
		if (b[at] == '-') {
			fprintf(stderr, "record_lookup: the server reports an error\n");
			exit(1);
		}
		long len = b[at] == '$' ? strtol((const char *)b + at + 1, NULL, 10) : -1;
		at = next + (len >= 0 ? (size_t)len + 2 : 0);
		if (at > n)
			return false;
	}
	return true;
}

static bool complete(const unsigned char *b, size_t n)
{
	return redis ? redis_complete(b, n) : pg_complete(b, n);
}

static void pg_start(void)
{
	static const char words[] = "user\0postgres\0database\0postgres\0";
	unsigned char m[8 + sizeof words];
	uint32_t len = htonl(sizeof m), version = htonl(196608);
	memcpy(m, &len, 4);
	memcpy(m + 4, &version, 4);
	memcpy(m + 8, words, sizeof words);
	ask(m, sizeof m);
}

static void pg_query(const char *sql)
{
	unsigned char m[8192];
	size_t n = strlen(sql) + 1;
	uint32_t len = htonl((uint32_t)n + 4);
	m[0] = 'Q';
	memcpy(m + 1, &len, 4);
	memcpy(m + 5, sql, n);
	ask(m, n + 5);
}

static void redis_get(const char *prefix, uint64_t first, uint64_t count)
{
	char m[8192], key[32];
	int n = snprintf(m, sizeof m, "*%llu\r\n$%d\r\n%s\r\n", (unsigned long long)count + 1, count > 1 ? 4 : 3,
			 count > 1 ? "MGET" : "GET");
	for (uint64_t i = 0; i < count; i++) {
		int k = snprintf(key, sizeof key, "%s%llu", prefix, (unsigned long long)((first + i) % RECORDS));
		n += snprintf(m + n, sizeof m - (size_t)n, "$%d\r\n%s\r\n", k, key);
	}
	ask(m, (size_t)n);
}

static void look_up_record(uint64_t id)
{
	char sql[128];
	snprintf(sql, sizeof sql, "SELECT body FROM records WHERE id = %llu", (unsigned long long)id);
	if (redis)
		redis_get("record:", id, 1);
	else
		pg_query(sql);
}

static void look_up_group(uint64_t group)
{
	char sql[128];
	snprintf(sql, sizeof sql, "SELECT name FROM groups WHERE id = %llu", (unsigned long long)group);
	if (redis)
		redis_get("group:", group, 1);
	else
		pg_query(sql);
}

static void look_up_batch(uint64_t first)
{
	char sql[256];
	snprintf(sql, sizeof sql, "SELECT body FROM records WHERE id BETWEEN %llu AND %llu", (unsigned long long)first,
		 (unsigned long long)first + BATCH - 1);
	if (redis)
		redis_get("record:", first, BATCH);
	else
		pg_query(sql);
	for (uint64_t i = 0; i < BATCH; i++) {
		uint64_t g = (first + i) % GROUPS;
		if (have_group[g]) {
			cached++;
			continue;
		}
		look_up_group(g);
		have_group[g] = true;
	}
}

static void use_record(double us)
{
	work_us(us);
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3, .kind = "pg", .work_us = 20};
	options_parse(&o, argc, argv, "seconds rounds kind work-us fixed help", "two queries per record");
	redis = !strcmp(o.kind, "redis");
	if (!redis && strcmp(o.kind, "pg")) {
		fprintf(stderr, "record_lookup: --kind pg or redis\n");
		return 2;
	}
	ignore_sigpipe();
	work_calibrate();
	connect_db();
	if (!redis)
		pg_start();
	queries = 0;
	struct pacer p;
	uint64_t records = 0;
	pacer_start(&p, &o);
	p.every = true;
	for (uint64_t r = 0; pacer_next(&p, r); r++) {
		uint64_t per = o.fixed ? BATCH : 1, id = records % RECORDS;
		if (o.fixed) {
			look_up_batch(id);
		} else {
			look_up_record(id);
			look_up_group(id % GROUPS);
		}
		for (uint64_t i = 0; i < per; i++)
			use_record(o.work_us);
		records += per;
	}
	uint64_t ns = now_ns() - p.start_ns;
	close(db);
	struct truth *t = truth_new("record_lookup", o.fixed ? "fixed" : "broken", o.fixed ? "none" : "n_plus_one");
	if (o.fixed) { /* one client still waits for each of its (large) requests */
		truth_tolerate(t, "lockstep");
		truth_tolerate(t, "n_plus_one");
		truth_tolerate(t, "hot_line");
	}
	truth_process(t, "client", getpid());
	truth_str(t, "channel", getenv("DB_ADDRESS")[0] == '/' ? "unix" : "tcp");
	truth_throughput(t, records, ns);
	truth_int(t, "round_trips", queries);
	truth_num(t, "rate_per_s", (double)queries * 1e9 / (double)ns);
	truth_int(t, "cache_hits", cached);
	truth_wait(t, "client", "server", getenv("DB_ADDRESS")[0] == '/' ? "unix_read" : "tcp_read",
		   getenv("DB_ADDRESS")[0] == '/' ? "unix" : "tcp", "wait_reply", NULL, 0, queries);
	truth_print(t);
	return 0;
}
