/* SPDX-License-Identifier: Apache-2.0
 *
 * The profile as one SQLite file (docs/PROFILE.md tells every column). Writing goes to a temporary file in the target's folder,
 * renamed at the end: a run that is killed leaves either no file or a valid one. Reading treats the file as hostile.
 */
#ifndef LOCKSTEP_PROFILE_DB_H
#define LOCKSTEP_PROFILE_DB_H

#include "aggregate/profile.h"
#include "sampler/err.h"

#define PROFILE_DB_APPLICATION_ID 0x4c4f434b /* "LOCK" */
#define PROFILE_DB_VERSION 1

/* Returns 0 or -errno with a sentence (disk full, no permission, ...). No file or the old file remains on failure. */
int profile_save(const struct profile *p, const char *path, struct err *err);
/* Returns 0 and *out (caller frees), or -errno with a sentence: missing, not a database, a foreign application_id,
 * a newer version, truncated, values out of range. Never crashes on any input. */
int profile_load(struct profile **out, const char *path, struct err *err);

#endif
