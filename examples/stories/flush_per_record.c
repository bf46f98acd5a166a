/* SPDX-License-Identifier: Apache-2.0
 *
 * A client sends records to a store, which writes, flushes (fdatasync) and acknowledges each one: the round trip's price is the
 * flush. Fixed: group commit, 64 records per flush and per acknowledgement. Needs a real disk under $TMPDIR or /var/tmp.
 */
#include "common.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RECORD 256
#define GROUP 64

NOINLINE static bool send_records(int fd, const unsigned char *buf, size_t n)
{
	ssize_t r = AT("send_records", write(fd, buf, n));
	return r == (ssize_t)n;
}

NOINLINE static bool wait_for_commit(int fd)
{
	char ack;
	ssize_t r = AT("wait_commit", read(fd, &ack, 1));
	return r == 1;
}

NOINLINE static bool wait_for_records(int fd, unsigned char *buf, size_t n)
{
	size_t done = 0;
	while (done < n) {
		ssize_t r = AT("wait_records", read(fd, buf + done, n - done));
		if (r <= 0)
			return false;
		done += (size_t)r;
	}
	return true;
}

NOINLINE static bool flush_records(int file)
{
	int r = AT("flush", fdatasync(file));
	return r == 0;
}

NOINLINE static bool send_commit(int fd)
{
	ssize_t r = AT("send_commit", write(fd, "k", 1));
	return r == 1;
}

static void make_record(unsigned char *buf, uint64_t number, double us)
{
	fill_message(buf, RECORD, number);
	work_us(us);
}

/* flush[0]: count, flush[1]: ns */
static int store(int rd, int wr, int file, size_t n, uint64_t *flush)
{
	unsigned char buf[RECORD * GROUP];
	while (wait_for_records(rd, buf, n)) {
		if (pwrite(file, buf, n, (off_t)((flush[0] % 1024) * n)) != (ssize_t)n)
			return 1;
		uint64_t t = now_ns();
		if (!flush_records(file))
			return 1;
		flush[0]++;
		flush[1] += now_ns() - t;
		if (!send_commit(wr))
			return 1;
	}
	return 0;
}

static int open_file(void)
{
	char path[256];
	snprintf(path, sizeof path, "%s/flush_per_record.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp");
	int fd = mkstemp(path);
	if (fd < 0)
		die(path);
	unlink(path);
	return fd;
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3, .work_us = 20};
	options_parse(&o, argc, argv, "seconds rounds work-us fixed help", "a store that flushes every record");
	ignore_sigpipe();
	work_calibrate();
	int to[2], from[2], file = open_file();
	uint64_t *flush = shared_new(2 * sizeof *flush);
	if (pipe(to) || pipe(from))
		die("pipe");
	size_t per = o.fixed ? GROUP : 1;
	pid_t child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		die_with_parent();
		close(to[1]);
		close(from[0]);
		_exit(store(to[0], from[1], file, per * RECORD, flush));
	}
	close(to[0]);
	close(from[1]);
	unsigned char buf[RECORD * GROUP];
	struct pacer p;
	uint64_t r = 0;
	pacer_start(&p, &o);
	p.every = true;
	for (; pacer_next(&p, r); r++) {
		for (size_t i = 0; i < per; i++)
			make_record(buf + i * RECORD, r * per + i, o.work_us);
		if (!send_records(to[1], buf, per * RECORD) || !wait_for_commit(from[0]))
			die("store");
	}
	uint64_t ns = now_ns() - p.start_ns;
	close(to[1]);
	bool ok = reap(child);
	struct truth *t = truth_new("flush_per_record", o.fixed ? "fixed" : "broken", "disk_wait");
	if (o.fixed)
		truth_tolerate(t, "none"); /* the disk still sets the pace, at 64 records a time */
	truth_process(t, "client", getpid());
	truth_process(t, "store", child);
	truth_str(t, "channel", "pipe");
	truth_throughput(t, r * per, ns);
	truth_int(t, "round_trips", r);
	truth_num(t, "rate_per_s", (double)r * 1e9 / (double)ns);
	truth_int(t, "flushes", flush[0]);
	truth_num(t, "flush_share", ns ? (double)flush[1] / (double)ns : 0);
	truth_int(t, "message_bytes", per * RECORD);
	truth_wait(t, "store", "", "file_io", "file", "flush", NULL, 0, flush[0]);
	truth_wait(t, "client", "store", "pipe_read", "pipe", "wait_commit", "send_commit", 1, r);
	truth_wait(t, "store", "client", "pipe_read", "pipe", "wait_records", "send_records", per * RECORD, r);
	truth_print(t);
	return ok ? 0 : 1;
}
