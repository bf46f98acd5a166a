/* SPDX-License-Identifier: Apache-2.0
 *
 * Thread ids across PID namespaces. In: ids as the profiler sees them, or as the target's own namespace does; out: the
 * other. Runtimes keep gettid()'s answer, which in a container is another number than ours.
 */
#include "sampler/runtime/provider.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool runtime_foreign_pids(pid_t pid)
{
	char path[64], ours[64], theirs[64];
	ssize_t a = readlink("/proc/self/ns/pid", ours, sizeof ours), b;

	snprintf(path, sizeof path, "/proc/%d/ns/pid", pid);
	b = readlink(path, theirs, sizeof theirs);
	return a > 0 && b > 0 && (a != b || memcmp(ours, theirs, (size_t)a) != 0);
}

/* The innermost number of the NSpid line. */
pid_t runtime_ns_tid(pid_t pid, pid_t tid)
{
	char path[64], line[256];
	pid_t found = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof line, f)) {
		const char *last;
		if (strncmp(line, "NSpid:", 6) != 0)
			continue;
		last = strrchr(line, '\t');
		found = last ? (pid_t)strtol(last + 1, NULL, 10) : 0;
		break;
	}
	fclose(f);
	return found;
}

pid_t runtime_host_tid(pid_t pid, pid_t ns_tid)
{
	char path[64];
	struct dirent *d;
	pid_t found = 0;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return 0;
	while (!found && (d = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)strtol(d->d_name, NULL, 10);
		if (tid > 0 && runtime_ns_tid(pid, tid) == ns_tid)
			found = tid;
	}
	closedir(dir);
	return found;
}
