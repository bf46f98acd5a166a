/* SPDX-License-Identifier: Apache-2.0
 *
 * `lockstep dump`: every thread's state, how long, waiting on what and whom, with its stack. In: a profile of one moment (each
 * thread has one wait row, or none when it runs) and what the moment adds per thread; out: text, JSON (schema "lockstep-dump/1").
 */
#ifndef LOCKSTEP_DUMP_H
#define LOCKSTEP_DUMP_H

#include "report/report.h"

struct dump_thread {
	int32_t tid;
	bool running;
	uint64_t in_state_ns; /* 0 unknown */
	int32_t holder_tid;   /* of the lock it waits for; 0 unknown */
};

struct dump {
	const struct profile *profile;
	const struct dump_thread *threads;
	size_t n_threads;
	double took_ms;
};

int report_dump_text(const struct dump *d, const struct report_options *opt, FILE *out, struct err *err);
int report_dump_json(const struct dump *d, const struct report_options *opt, FILE *out, struct err *err);

#endif
