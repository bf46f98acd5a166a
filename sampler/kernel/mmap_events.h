/* SPDX-License-Identifier: Apache-2.0
 *
 * Executable mappings, exec and renaming of every process on the host, as the kernel tells them (perf MMAP2 and COMM records of a
 * dummy event per CPU). In: perf rings; out: records in time order. This is how code of processes that live for a few
 * milliseconds can still be named: /proc/PID/maps would be read too late.
 */
#ifndef LOCKSTEP_MMAP_EVENTS_H
#define LOCKSTEP_MMAP_EVENTS_H

#include "sampler/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mmap_events;

struct mmap_event {
	enum { ME_MAP, ME_EXEC, ME_COMM } kind;
	uint64_t time_ns; /* CLOCK_MONOTONIC */
	int32_t pid, tid;
	uint64_t start, end, file_offset, inode;
	uint32_t dev_major, dev_minor;
	const char *path; /* ME_MAP: file; ME_EXEC, ME_COMM: comm; borrowed during the call */
};
typedef void (*mmap_event_fn)(void *ctx, const struct mmap_event *ev);

/* Returns 0 or -errno with a sentence. */
int mmap_events_open(struct mmap_events **out, struct err *err);
void mmap_events_close(struct mmap_events *m);
/* Hands over all records that are there, sorted by time. */
void mmap_events_drain(struct mmap_events *m, mmap_event_fn fn, void *ctx);
uint64_t mmap_events_lost(const struct mmap_events *m);

#endif
