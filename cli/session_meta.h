/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LOCKSTEP_SESSION_META_H
#define LOCKSTEP_SESSION_META_H

#include "aggregate/profile.h"
#include "cli/session.h"
#include "sampler/backend.h"

#include <time.h>

/* Fills what the profile cannot know from events: version, host, kernel, arch, CPUs, backend, command or PIDs, start. Strings and
 * arrays become the profile's. exit_status: as a shell says it, -1 none. Returns 0 or -ENOMEM. */
int session_fill_meta(struct profile *p, const struct session_options *opt, const struct backend_ops *backend, const char *costs,
		      time_t started, int exit_status, pid_t wrapped_pid);

#endif
