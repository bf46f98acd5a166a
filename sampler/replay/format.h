/* SPDX-License-Identifier: Apache-2.0
 *
 * The replay format: one event a line, `kind time key=value ...`; docs/REPLAY.md. One table of fields serves both directions, so what
 * is written can be read.
 */
#ifndef LOCKSTEP_REPLAY_FORMAT_H
#define LOCKSTEP_REPLAY_FORMAT_H

#include "sampler/err.h"
#include "sampler/event.h"

#include <stdio.h>

#define REPLAY_MAX_LINE (1u << 20)   /* longest line that the reader takes */
#define REPLAY_MAX_TIME (1ull << 62) /* 146 years: later times are mistakes, and sums of them must not wrap */

/* Memory that parsed events borrow from. Zero-initialised; reused from line to line. */
struct replay_scratch {
	struct source_frame *frames;
	uint32_t *frame_ids;
	size_t frames_capacity, frame_ids_capacity;
};
void replay_scratch_fini(struct replay_scratch *s);

/* Parses one line, which is changed in place: strings of *ev point into it, arrays into the scratch. Returns 1 with *ev, 0 for an
 * empty line or a comment, -EINVAL with a sentence (without file and line) or -ENOMEM. */
int replay_parse(char *line, struct event *ev, struct replay_scratch *s, struct err *err);
/* Writes one line. The stream's error flag tells failures. */
void replay_print(FILE *out, const struct event *ev);

#endif
