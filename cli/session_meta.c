/* SPDX-License-Identifier: Apache-2.0
 *
 * In: this host and the command line; out: the profile's meta rows.
 */
#include "cli/session_meta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static int set_string(char **field, const char *value)
{
	free(*field);
	*field = strdup(value);
	return *field ? 0 : -ENOMEM;
}

static char **copy_command(char *const *argv)
{
	size_t n = 0;
	while (argv[n])
		n++;
	char **copy = calloc(n + 1, sizeof *copy);
	for (size_t i = 0; copy && i < n; i++) {
		copy[i] = strdup(argv[i]);
		if (!copy[i]) {
			while (i-- > 0)
				free(copy[i]);
			free(copy);
			return NULL;
		}
	}
	return copy;
}

static int set_target(struct profile_meta *m, const struct session_options *opt, pid_t wrapped_pid)
{
	const int32_t one = wrapped_pid;
	const int32_t *pids = opt->command ? &one : opt->pids;
	size_t n = opt->command ? 1 : opt->n_pids;

	if (opt->command) {
		m->command = copy_command(opt->command);
		if (!m->command)
			return -ENOMEM;
	}
	if (n) {
		m->root_pids = malloc(n * sizeof *pids);
		if (!m->root_pids)
			return -ENOMEM;
		memcpy(m->root_pids, pids, n * sizeof *pids);
		m->n_root_pids = n;
	}
	return 0;
}

int session_fill_meta(struct profile *p, const struct session_options *opt, const struct backend_ops *backend, const char *costs,
		      time_t started, int exit_status, pid_t wrapped_pid)
{
	struct profile_meta *m = &p->meta;
	struct utsname u;
	struct tm tm;
	char when[32];

	uname(&u);
	gmtime_r(&started, &tm);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
	m->cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	m->exit_status = exit_status;
	m->frequency_hz = opt->frequency_hz;
	if (set_string(&m->version, LOCKSTEP_VERSION) || set_string(&m->host, u.nodename) || set_string(&m->kernel, u.release) ||
	    set_string(&m->arch, u.machine) || set_string(&m->backend, backend->name) || set_string(&m->backend_costs, costs) ||
	    set_string(&m->started_at, when))
		return -ENOMEM;
	return set_target(m, opt, wrapped_pid);
}
