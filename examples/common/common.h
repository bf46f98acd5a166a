/* SPDX-License-Identifier: Apache-2.0
 *
 * What the example programs share: options, clocks, calibrated CPU work, and the ground truth each prints about itself as
 * one JSON line on stdout at its end (docs/EXAMPLES.md describes every key). Unlike the product these are programs of
 * their own: helpers here may print to stderr and exit.
 */
#ifndef LOCKSTEP_EXAMPLES_COMMON_H
#define LOCKSTEP_EXAMPLES_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Call sites live in functions that keep their own frame. */
#define NOINLINE __attribute__((noinline, noclone))

/* A call site of the source: static data, so that the parent knows the lines of code that only its children run. */
struct site {
	const char *label, *function, *file;
	long line;
};

/* Evaluates CALL and records the place under LABEL (a string literal unique in the program). Keep it on one line. */
#define AT(LABEL, CALL)                                                                                                          \
	({                                                                                                                       \
		static const struct site site_                                                                                   \
			__attribute__((section("sites"), used, aligned(8))) = {LABEL, __func__, __FILE__, __LINE__};             \
		(CALL);                                                                                                          \
	})

struct options {
	double seconds;	  /* how long to run; ignored when rounds > 0 */
	uint64_t rounds;  /* fixed number of round trips / items; 0: by time */
	uint64_t size;	  /* bytes per message */
	uint64_t batch;	  /* messages per round trip; > 1 is the fixed variant */
	int cpu;	  /* pin all processes to this CPU; -1: no */
	double pace;	  /* round trips per second; 0: as fast as it goes */
	double work_us;	  /* CPU work per message on the serving side */
	uint64_t n;	  /* processes, workers, tokens: the program says */
	uint64_t threads; /* threads per process */
	const char *kind; /* transport or class; the program says */
	const char *exec; /* program to exec */
	bool fixed;	  /* the fixed variant */
	bool apart;	  /* the two processes on two CPUs (0 and 1), as far as there are two */
	double share;	  /* per cent of the time in which the illness shows; 0: all */
};

/* Uses a call's result, so that the call is not the last thing of its function: as a jump it would leave no frame. */
#define KEEP(VALUE) __asm__ volatile("" : : "r"((uint64_t)(VALUE)) : "memory")

/* Parses argv over the defaults in *o. ALLOWED names the long options that this program takes, separated by spaces; anything
 * else ends the program with a usage line and status 2. HELP is the one-sentence description printed by --help. */
void options_parse(struct options *o, int argc, char **argv, const char *allowed, const char *help);

uint64_t now_ns(void);
void die(const char *what) __attribute__((noreturn));
void pin_cpu(int cpu); /* no-op for cpu < 0 */
void *shared_new(size_t bytes);
/* waitpid without leaving zombies; false when the child did not exit with 0. */
bool reap(pid_t pid);
/* Signals end the program quietly where a peer is gone. */
void ignore_sigpipe(void);
/* The child ends with its parent, however that dies. */
void die_with_parent(void);

/* When to stop and when to send: by --rounds, --seconds and --pace. */
struct pacer {
	uint64_t start_ns, deadline_ns, rounds, period_ns, next_ns;
	bool every; /* look at the clock each time */
};
void pacer_start(struct pacer *p, const struct options *o);
/* True while round number R (0..) is to be done; sleeps until its time when paced. */
bool pacer_next(struct pacer *p, uint64_t r);

/* CPU work in user space that the compiler cannot drop: about US microseconds, by a rate that work_calibrate measures once
 * (before fork). Returns a value to keep. */
void work_calibrate(void);
uint64_t work_us(double us);
/* Exactly N iterations of the same work. */
uint64_t work_iterations(uint64_t n);

void fill_message(unsigned char *buf, size_t n, uint64_t seed);
uint64_t checksum(const unsigned char *buf, size_t n);

/* Whole-buffer I/O in user space, for callers whose site does not matter. False on EOF or a gone peer. */
bool read_all(int fd, void *buf, size_t n);
bool write_all(int fd, const void *buf, size_t n);

/* The truth: keys in order of the calls, printed as one line and freed by truth_print. Strings are not escaped. */
struct truth;
struct truth *truth_new(const char *program, const char *variant, const char *finding);
void truth_int(struct truth *t, const char *key, uint64_t v);
void truth_num(struct truth *t, const char *key, double v);
void truth_str(struct truth *t, const char *key, const char *v);
/* A kind of finding that is true of this variant too and hence no error ("the bottleneck that is left"). */
void truth_tolerate(struct truth *t, const char *finding);
void truth_process(struct truth *t, const char *role, pid_t pid);
/* WAITER waits for WAKER over a channel of this KIND (the JSON report's names) in a wait of CLASS; the labels name the call
 * sites (AT) of both. MSG is the waker's message size in bytes, 0 unknown. COUNT is how many such waits, 0 not counted. */
void truth_wait(struct truth *t, const char *waiter, const char *waker, const char *cls, const char *kind,
		const char *waiter_label, const char *waker_label, uint64_t msg, uint64_t count);
/* COUNT items in NS ns: "items", "seconds", "items_per_s". */
void truth_throughput(struct truth *t, uint64_t count, uint64_t ns);
void truth_print(struct truth *t);

#endif
