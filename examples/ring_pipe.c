/* SPDX-License-Identifier: Apache-2.0
 *
 * A ring of N processes (three by default) over pipes: each waits for the token from its left neighbour and passes it on to the right
 * one, so that one of them runs at a time. The fixed variant (--batch K) has K tokens under way.
 */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_MEMBERS 16

struct token {
	uint64_t hops;
	unsigned char load[192];
};

NOINLINE static bool wait_for_token(int fd, struct token *t)
{
	ssize_t r = AT("wait_token", read(fd, t, sizeof *t));
	return r == (ssize_t)sizeof *t;
}

NOINLINE static bool pass_token(int fd, const struct token *t)
{
	ssize_t r = AT("pass_token", write(fd, t, sizeof *t));
	return r == (ssize_t)sizeof *t;
}

static void handle(struct token *t, double us)
{
	t->hops++;
	t->load[t->hops % sizeof t->load]++;
	work_us(us);
}

/* A member that is no leader passes on until its left end closes. */
static int member(int rd, int wr, double us)
{
	struct token t;
	while (wait_for_token(rd, &t)) {
		handle(&t, us);
		if (!pass_token(wr, &t))
			return 1;
	}
	return 0;
}

/* The leader starts the tokens, counts laps and takes the tokens out at the end. */
static uint64_t lead(const struct options *o, int rd, int wr, uint64_t *ns)
{
	struct token t = {0};
	struct pacer p;
	uint64_t laps = 0;
	for (uint64_t i = 0; i < o->batch; i++)
		if (!pass_token(wr, &t))
			die("write");
	for (pacer_start(&p, o); pacer_next(&p, laps); laps++) {
		if (!wait_for_token(rd, &t))
			die("read");
		handle(&t, o->work_us);
		if (!pass_token(wr, &t))
			die("write");
	}
	for (uint64_t i = 0; i < o->batch; i++)
		if (!wait_for_token(rd, &t))
			die("read");
	*ns = now_ns() - p.start_ns;
	return laps;
}

static void tell(const struct options *o, uint64_t laps, uint64_t ns, const pid_t *pids)
{
	bool fixed = o->batch > 1;
	char name[MAX_MEMBERS][16];
	struct truth *t = truth_new("ring_pipe", fixed ? "fixed" : "broken", fixed ? "none" : "lockstep");
	if (fixed)
		truth_tolerate(t, "run_queue");
	for (uint64_t i = 0; i < o->n; i++) {
		snprintf(name[i], sizeof name[i], "member%u", (unsigned)i);
		truth_process(t, name[i], pids[i]);
	}
	truth_str(t, "channel", "pipe");
	truth_throughput(t, laps, ns);
	truth_int(t, "round_trips", laps);
	truth_num(t, "rate_per_s", (double)laps * 1e9 / (double)ns);
	truth_int(t, "message_bytes", sizeof(struct token));
	truth_int(t, "ring", o->n);
	for (uint64_t i = 0; i < o->n; i++)
		truth_wait(t, name[(i + 1) % o->n], name[i], "pipe_read", "pipe", "wait_token", "pass_token",
			   sizeof(struct token), laps);
	truth_print(t);
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3, .batch = 1, .cpu = -1, .n = 3};
	options_parse(&o, argc, argv, "seconds rounds batch pin pace work-us n help", "a token goes round a ring of processes");
	if (o.n < 2 || o.n > MAX_MEMBERS || o.batch > 300) {
		fprintf(stderr, "ring_pipe: --n from 2 to %d, --batch up to 300\n", MAX_MEMBERS);
		return 2;
	}
	ignore_sigpipe();
	if (o.work_us > 0)
		work_calibrate();
	pin_cpu(o.cpu);
	/* pipe i leads from member i to member i + 1 */
	int fd[MAX_MEMBERS][2];
	for (uint64_t i = 0; i < o.n; i++)
		if (pipe(fd[i]))
			die("pipe");
	pid_t pids[MAX_MEMBERS] = {getpid()};
	for (uint64_t i = 1; i < o.n; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("fork");
		if (pids[i])
			continue;
		die_with_parent();
		for (uint64_t j = 0; j < o.n; j++) {
			if (j != i - 1)
				close(fd[j][0]);
			if (j != i)
				close(fd[j][1]);
		}
		_exit(member(fd[i - 1][0], fd[i][1], o.work_us));
	}
	for (uint64_t j = 0; j < o.n; j++) {
		if (j != o.n - 1)
			close(fd[j][0]);
		if (j != 0)
			close(fd[j][1]);
	}
	uint64_t ns, laps = lead(&o, fd[o.n - 1][0], fd[0][1], &ns);
	close(fd[0][1]);
	bool ok = true;
	for (uint64_t i = 1; i < o.n; i++)
		ok = reap(pids[i]) && ok;
	if (!ok) {
		fprintf(stderr, "ring_pipe: a member failed\n");
		return 1;
	}
	tell(&o, laps, ns, pids);
	return 0;
}
