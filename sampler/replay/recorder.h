/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes an event stream in the replay format, one event a line.
 */
#ifndef LOCKSTEP_RECORDER_H
#define LOCKSTEP_RECORDER_H

#include "sampler/err.h"
#include "sampler/event.h"

struct replay_recorder;

/* Starts to write to path ("-": standard output; an existing file is replaced). Returns 0 and *out, or -errno with a sentence. */
int replay_recorder_open(struct replay_recorder **out, const char *path, struct err *err);
/* An event_fn: ctx is the recorder. A write that fails is told by close. */
void replay_recorder_event(void *ctx, const struct event *ev);
/* Writes out the rest and releases the recorder (NULL is fine). Returns 0, or -errno with a sentence when not all was written. */
int replay_recorder_close(struct replay_recorder *r, struct err *err);

#endif
