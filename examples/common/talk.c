/* SPDX-License-Identifier: Apache-2.0
 *
 * The conversation of talk.h: both sides' loops, and the truth about them. The child's counts come back in shared memory; context
 * switches come from getrusage, which counts every time that a process gave up its CPU to wait.
 */
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

struct tally {
	uint64_t messages, bytes, sum;
};

static int child_main(const struct transport *t, const struct options *o, struct link *l, struct tally *tally)
{
	size_t n = o->size * o->batch;
	unsigned char *buf = malloc(n);
	if (!buf)
		return 1;
	if (t->child)
		t->child(l);
	while (t->wait_message(l, buf, n)) {
		for (uint64_t i = 0; i < o->batch; i++) {
			tally->sum += checksum(buf + i * o->size, o->size);
			work_us(o->work_us);
		}
		tally->messages += o->batch;
		tally->bytes += n;
		if (!t->send_ack(l))
			break;
	}
	free(buf);
	return 0;
}

/* With --share the conversation fills only that part of each 20 ms; in the rest the parent computes and the child has nothing to do. */
#define PERIOD_NS 20000000
static void compute_the_rest(const struct options *o, uint64_t start_ns)
{
	uint64_t healthy_from = (uint64_t)(o->share / 100 * PERIOD_NS), in = (now_ns() - start_ns) % PERIOD_NS;
	if (in >= healthy_from)
		work_us((double)(PERIOD_NS - in) / 1e3);
}

/* Returns the number of round trips. A batched sender keeps two batches under way, so neither side idles. */
static uint64_t parent_loop(const struct transport *t, const struct options *o, struct link *l, struct tally *tally)
{
	size_t n = o->size * o->batch;
	unsigned char *buf = malloc(n);
	if (!buf)
		die("malloc");
	struct pacer p;
	uint64_t r = 0, acked = 0;
	uint64_t window = o->batch > 1 ? 2 : 1;
	for (pacer_start(&p, o); pacer_next(&p, r); r++) {
		for (uint64_t i = 0; i < o->batch; i++)
			fill_message(buf + i * o->size, o->size, r * o->batch + i);
		if (o->batch == 1) /* the checksum is checked at no cost to the batched variant's balance */
			tally->sum += checksum(buf, n);
		if (!t->send(l, buf, n))
			die("send");
		if (r + 1 - acked >= window) {
			if (!t->wait_ack(l))
				die("wait for ack");
			acked++;
		}
		if (o->share > 0 && o->share < 100)
			compute_the_rest(o, p.start_ns);
	}
	while (acked < r && t->wait_ack(l))
		acked++;
	free(buf);
	return acked;
}

static void tell(const struct transport *t, const struct options *o, uint64_t rounds, uint64_t ns, const struct tally *mine,
		 const struct tally *theirs, pid_t child)
{
	struct rusage self, kids;
	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &kids);
	bool fixed = o->batch > 1;
	struct truth *tr = truth_new(t->program, fixed ? "fixed" : "broken", fixed ? "none" : "lockstep");
	if (fixed) { /* then both compute all the time, and the slower side is what is left */
		truth_tolerate(tr, "hot_line");
		truth_tolerate(tr, "slow_consumer");
		truth_tolerate(tr, "slow_producer");
		truth_tolerate(tr, "run_queue");
	}
	if (o->share > 0 &&
	    o->share < 100) { /* fades out: whether a share this small is worth saying is the reader's to decide */
		truth_num(tr, "share", o->share / 100);
		truth_tolerate(tr, "none");
		truth_tolerate(tr, "hot_line");
	}
	truth_process(tr, "parent", getpid());
	truth_process(tr, "child", child);
	truth_str(tr, "channel", t->channel);
	truth_throughput(tr, theirs->messages, ns);
	truth_int(tr, "round_trips", rounds);
	truth_num(tr, "rate_per_s", (double)rounds * 1e9 / (double)ns);
	truth_int(tr, "bytes", theirs->bytes);
	truth_int(tr, "message_bytes", o->size * o->batch);
	truth_int(tr, "pinned", o->cpu >= 0);
	truth_int(tr, "parent_switches", (uint64_t)self.ru_nvcsw);
	truth_int(tr, "child_switches", (uint64_t)kids.ru_nvcsw);
	truth_num(
		tr, "cpu_seconds",
		(double)(self.ru_utime.tv_sec + self.ru_stime.tv_sec + kids.ru_utime.tv_sec + kids.ru_stime.tv_sec) +
			(double)(self.ru_utime.tv_usec + self.ru_stime.tv_usec + kids.ru_utime.tv_usec + kids.ru_stime.tv_usec) /
				1e6);
	if (!fixed && mine->sum != theirs->sum)
		truth_str(tr, "error", "the child read something else than the parent wrote");
	truth_wait(tr, "child", "parent", t->wait_class, t->channel, "wait_message", "send", t->sizes ? o->size * o->batch : 0,
		   rounds);
	truth_wait(tr, "parent", "child", t->wait_class, t->channel, "wait_ack", "send_ack", t->sizes ? 1 : 0, rounds);
	truth_print(tr);
}

int talk_main(const struct transport *t, int argc, char **argv)
{
	struct options o = {.seconds = 3, .size = 200, .batch = 1, .cpu = -1};
	options_parse(&o, argc, argv, "seconds rounds size batch pin pace work-us share apart help", t->help);
	ignore_sigpipe();
	if (o.work_us > 0 || o.share > 0)
		work_calibrate();
	if (o.apart && sysconf(_SC_NPROCESSORS_ONLN) < 2)
		o.apart = false;
	pin_cpu(o.apart ? 0 : o.cpu);
	struct link l = {.rd = -1, .wr = -1, .setup = {-1, -1, -1, -1}};
	struct tally *theirs = shared_new(sizeof *theirs), mine = {0};
	t->setup(&l, &o);
	pid_t child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		die_with_parent();
		pin_cpu(o.apart ? 1 : -1);
		_exit(child_main(t, &o, &l, theirs));
	}
	if (t->parent)
		t->parent(&l);
	uint64_t start = now_ns();
	uint64_t rounds = parent_loop(t, &o, &l, &mine);
	uint64_t ns = now_ns() - start;
	t->close(&l);
	if (!reap(child)) {
		fprintf(stderr, "%s: the child failed\n", t->program);
		return 1;
	}
	tell(t, &o, rounds, ns, &mine, theirs, child);
	return 0;
}
