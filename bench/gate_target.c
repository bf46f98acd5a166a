/* SPDX-License-Identifier: Apache-2.0
 *
 * What the gate is tried on: a client, a server and a store, with a fixed amount of work and one knob per regression. Not a
 * benchmark itself; bench/gate_power.sh and tests/e2e/test_gate.py run it.
 *
 *   client --(batches of records)--> server --(queries per record)--> store;  server --(an ack per batch)--> client
 *
 * The server's two threads share a batch; each parses its records (fixed iterations, not time) and asks the store.
 * --records N, --batch B (records per round trip of client and server), --queries Q (per record), --size S (bytes per record),
 * --slow P (parse_record takes P % more), --lock (the threads parse under one lock), --workers W.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))
#define MAX_WORKERS 8
#define PARSE_ITERATIONS 24000

static struct {
	unsigned long records, batch, queries, size, slow, workers;
	bool lock;
} opt = {.records = 16000, .batch = 400, .queries = 1, .size = 64, .workers = 2};

static int to_server[2], to_client[2], to_store[MAX_WORKERS][2], from_store[MAX_WORKERS][2];
static pthread_mutex_t parse_lock = PTHREAD_MUTEX_INITIALIZER, batch_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t batch_cond = PTHREAD_COND_INITIALIZER, done_cond = PTHREAD_COND_INITIALIZER;
static unsigned long generation, pending;
static unsigned char *batch;
static volatile uint64_t sink;

static void die(const char *what)
{
	perror(what);
	_exit(1);
}

static bool read_full(int fd, void *buf, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = read(fd, (char *)buf + got, n - got);
		if (r <= 0)
			return false;
		got += (size_t)r;
	}
	return true;
}

static void write_full(int fd, const void *buf, size_t n)
{
	for (size_t put = 0; put < n;) {
		ssize_t w = write(fd, (const char *)buf + put, n - put);
		if (w <= 0)
			die("write");
		put += (size_t)w;
	}
}

NOINLINE static uint64_t parse_record(const unsigned char *record)
{
	uint64_t h = record[0];
	unsigned long n = PARSE_ITERATIONS + PARSE_ITERATIONS * opt.slow / 100;

	for (unsigned long i = 0; i < n; i++)
		h = (h ^ (h >> 13)) * 0x9e3779b97f4a7c15u + i;
	return h;
}

NOINLINE static uint64_t query_store(unsigned worker, uint64_t key)
{
	char answer[32];

	write_full(to_store[worker][1], &key, sizeof key);
	if (!read_full(from_store[worker][0], answer, sizeof answer))
		die("read");
	return (uint64_t)answer[0];
}

NOINLINE static uint64_t handle_record(unsigned worker, const unsigned char *record)
{
	uint64_t h;

	if (opt.lock)
		pthread_mutex_lock(&parse_lock);
	h = parse_record(record);
	if (opt.lock)
		pthread_mutex_unlock(&parse_lock);
	for (unsigned long q = 0; q < opt.queries; q++)
		h += query_store(worker, h + q);
	return h;
}

static void *worker_main(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;

	for (unsigned long seen = 0;;) {
		pthread_mutex_lock(&batch_lock);
		while (generation == seen)
			pthread_cond_wait(&batch_cond, &batch_lock);
		seen = generation;
		pthread_mutex_unlock(&batch_lock);
		for (unsigned long r = me; r < opt.batch; r += opt.workers)
			sink += handle_record(me, batch + r * opt.size);
		pthread_mutex_lock(&batch_lock);
		if (--pending == 0)
			pthread_cond_signal(&done_cond);
		pthread_mutex_unlock(&batch_lock);
	}
	return NULL;
}

static void server_main(void)
{
	pthread_t thread;

	prctl(PR_SET_NAME, "server");
	close(to_server[1]);
	for (unsigned w = 0; w < opt.workers; w++)
		if (pthread_create(&thread, NULL, worker_main, (void *)(uintptr_t)w) != 0)
			die("pthread_create");
	while (read_full(to_server[0], batch, opt.batch * opt.size)) {
		pthread_mutex_lock(&batch_lock);
		generation++;
		pending = opt.workers;
		pthread_cond_broadcast(&batch_cond);
		while (pending)
			pthread_cond_wait(&done_cond, &batch_lock);
		pthread_mutex_unlock(&batch_lock);
		write_full(to_client[1], "k", 1);
	}
	_exit(0);
}

static void *store_main(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	char answer[32] = "value";
	uint64_t key;

	while (read_full(to_store[me][0], &key, sizeof key))
		write_full(from_store[me][1], answer, sizeof answer);
	return NULL;
}

static void store_process(void)
{
	pthread_t threads[MAX_WORKERS];

	prctl(PR_SET_NAME, "store");
	close(to_server[1]);
	for (unsigned w = 0; w < opt.workers; w++)
		close(to_store[w][1]);
	for (unsigned w = 0; w < opt.workers; w++)
		pthread_create(&threads[w], NULL, store_main, (void *)(uintptr_t)w);
	for (unsigned w = 0; w < opt.workers; w++)
		pthread_join(threads[w], NULL);
	_exit(0);
}

NOINLINE static void send_batch(void)
{
	write_full(to_server[1], batch, opt.batch * opt.size);
}

NOINLINE static void wait_for_ack(void)
{
	char ack;

	if (!read_full(to_client[0], &ack, 1))
		die("read");
}

static void parse_options(int argc, char **argv)
{
	const struct {
		const char *name;
		unsigned long *value;
	} options[] = {{"--records", &opt.records}, {"--batch", &opt.batch}, {"--queries", &opt.queries},
		       {"--size", &opt.size},	    {"--slow", &opt.slow},   {"--workers", &opt.workers}};

	for (int i = 1; i < argc; i++) {
		size_t k = 0;
		if (strcmp(argv[i], "--lock") == 0) {
			opt.lock = true;
			continue;
		}
		while (k < sizeof options / sizeof *options && strcmp(argv[i], options[k].name) != 0)
			k++;
		if (k == sizeof options / sizeof *options || i + 1 == argc) {
			fprintf(stderr,
				"usage: %s [--records N] [--batch B] [--queries Q] [--size S] [--slow P] [--workers W] "
				"[--lock]\n",
				argv[0]);
			exit(2);
		}
		*options[k].value = strtoul(argv[++i], NULL, 10);
	}
	if (!opt.batch || !opt.size || !opt.workers || opt.workers > MAX_WORKERS)
		exit(2);
}

int main(int argc, char **argv)
{
	pid_t server, store;
	int status;

	parse_options(argc, argv);
	batch = calloc(opt.batch, opt.size);
	if (!batch || pipe(to_server) || pipe(to_client))
		die("pipe");
	for (unsigned w = 0; w < opt.workers; w++)
		if (pipe(to_store[w]) || pipe(from_store[w]))
			die("pipe");
	server = fork();
	if (server == 0)
		server_main();
	store = fork();
	if (store == 0)
		store_process();
	for (unsigned long done = 0; done < opt.records; done += opt.batch) {
		memset(batch, (int)done, opt.batch * opt.size);
		send_batch();
		wait_for_ack();
	}
	close(to_server[1]);
	waitpid(server, &status, 0);
	kill(store, SIGKILL); /* its pipes are open in the client too */
	waitpid(store, NULL, 0);
	printf("records done: %lu\n", opt.records);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
