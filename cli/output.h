/* SPDX-License-Identifier: Apache-2.0
 *
 * Where results go, checked before the work and not after an hour of it.
 */
#ifndef LOCKSTEP_OUTPUT_H
#define LOCKSTEP_OUTPUT_H

#include "sampler/err.h"

#include <stdio.h>

/* Whether a profile can be written to path: its folder can be written to, and what is there is nothing, an empty file, or a lockstep
 * profile. Writes nothing. *resolved (the caller frees) is the path with symbolic links followed, so that writing by rename
 * replaces the file and not the link. Returns 0 or -errno with a sentence. */
int output_check_profile(const char *path, char **resolved, struct err *err);
/* Whether a text file can be written to path. Writes nothing. Returns 0 or -errno with a sentence. */
int output_check_text(const char *path, struct err *err);

/* Opens path for writing, or gives stdout for NULL and "-". NULL with a sentence on failure. */
FILE *output_open(const char *path, struct err *err);
/* Flushes, and closes what output_open opened. Returns 0, or -errno with a sentence: what was written may not have arrived. */
int output_close(FILE *out, const char *path, struct err *err);

#endif
