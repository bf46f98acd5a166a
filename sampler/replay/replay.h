/* SPDX-License-Identifier: Apache-2.0
 *
 * The replay backend: hands out a recorded (or hand-written) event stream, so that everything above the sampler is tested along
 * the production path without privileges, clock or kernel. The format is docs/REPLAY.md's.
 */
#ifndef LOCKSTEP_REPLAY_H
#define LOCKSTEP_REPLAY_H

#include "sampler/backend.h"

/* opt.replay_path is the file; "-" is the standard input. A stream without an "end" (a recording that was cut) ends at the latest
 * time that it tells. drain() hands out chunks; on a line that makes no sense it returns -EINVAL with "FILE:LINE: why". */
extern const struct backend_ops backend_replay;

#endif
