/* SPDX-License-Identifier: Apache-2.0
 *
 * In: option values as text; out: numbers in range, or the sentence that says what is wrong with them.
 */
#include "cli/parse.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int parse_duration(const char *text, uint64_t *ns, struct err *err)
{
	char *end;
	double scale = 1, seconds;

	errno = 0;
	seconds = strtod(text, &end);
	bool number = end != text && !isspace((unsigned char)text[0]) && text[1] != 'x' && text[1] != 'X';
	if (*end && end[1] == '\0') {
		scale = *end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : 0;
		end++;
	}
	if (!number || *end || scale == 0 || !isfinite(seconds))
		return err_set(err, -EINVAL, "'%s' is no duration; give seconds, as 10, 0.5 or 5m", text);
	seconds *= scale;
	if (seconds <= 0)
		return err_set(err, -EINVAL, "%s: a duration must be above 0", text);
	if (seconds > PARSE_MAX_SECONDS)
		return err_set(err, -EINVAL, "%s: longer than a year; without -d it goes on until the target ends", text);
	*ns = (uint64_t)(seconds * 1e9);
	return 0;
}

/* A whole number within [low, high]; false when the text is anything else. */
static bool whole_number(const char *text, long low, long high, long *out)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	*out = strtol(text, &end, 10);
	return !errno && !*end && *out >= low && *out <= high;
}

int parse_frequency(const char *text, uint32_t *hz, struct err *err)
{
	long v;
	if (!whole_number(text, 0, PARSE_MAX_HZ, &v))
		return err_set(err, -EINVAL, "'%s' is no sampling frequency; give 1 to %d per second, or 0 for none", text,
			       PARSE_MAX_HZ);
	*hz = (uint32_t)v;
	return 0;
}

int parse_count(const char *text, uint32_t *count, struct err *err)
{
	long v;
	if (!whole_number(text, 1, 100000, &v))
		return err_set(err, -EINVAL, "'%s' is no number of rows; give 1 to 100000", text);
	*count = (uint32_t)v;
	return 0;
}

int parse_pid(const char *text, int32_t *pid, struct err *err)
{
	long v;
	if (!whole_number(text, 1, INT32_MAX, &v))
		return err_set(err, -EINVAL, "'%s' is no PID; give a number above 0", text);
	*pid = (int32_t)v;
	return 0;
}

static int pids_add(int32_t **pids, size_t *n, int32_t pid)
{
	for (size_t i = 0; i < *n; i++)
		if ((*pids)[i] == pid)
			return 0;
	int32_t *grown = realloc(*pids, (*n + 1) * sizeof **pids);
	if (!grown)
		return -ENOMEM;
	*pids = grown;
	grown[(*n)++] = pid;
	return 0;
}

int parse_pids(const char *text, int32_t **pids, size_t *n, struct err *err)
{
	char item[32];

	for (const char *p = text;; p++) {
		size_t len = strcspn(p, ",");
		int32_t pid = 0;
		if (len == 0)
			return err_set(err, -EINVAL, "'%s': an empty PID in the list; give PID[,PID...]", text);
		snprintf(item, sizeof item, "%.*s", (int)len, p);
		int rc = len < sizeof item ? parse_pid(item, &pid, err) : err_set(err, -EINVAL, "'%s' is no PID", item);
		if (!rc && pids_add(pids, n, pid))
			rc = err_set(err, -ENOMEM, "list of PIDs: out of memory");
		if (rc)
			return rc;
		p += len;
		if (!*p)
			return 0;
	}
}

struct proc_facts {
	int32_t tgid, ppid;
	bool zombie;
	bool kernel_thread;
};

/* From /proc/PID/status: "Kthread:" exists since 6.9; before, a kernel thread is one without memory ("VmSize:") that is no zombie. */
static int read_facts(int32_t pid, struct proc_facts *f)
{
	char path[64], line[256];
	bool has_memory = false;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	memset(f, 0, sizeof *f);
	while (fgets(line, sizeof line, file)) {
		sscanf(line, "Tgid: %d", &f->tgid);
		sscanf(line, "PPid: %d", &f->ppid);
		has_memory |= strncmp(line, "VmSize:", 7) == 0;
		if (strncmp(line, "State:", 6) == 0)
			f->zombie = strstr(line, "Z (") || strstr(line, "X (");
	}
	fclose(file);
	f->kernel_thread = !has_memory && !f->zombie;
	return f->tgid > 0 ? 0 : -ESRCH;
}

static bool is_our_ancestor(int32_t pid)
{
	struct proc_facts f = {0};
	int32_t p = getpid();

	while (p > 0 && p != pid && read_facts(p, &f) == 0)
		p = f.ppid;
	return p == pid;
}

int check_target_pid(int32_t pid, struct err *err)
{
	struct proc_facts f = {0};

	if (pid == getpid())
		return err_set(err, -EINVAL, "PID %d is lockstep itself; give the application's", pid);
	int rc = read_facts(pid, &f);
	if (rc == -EACCES || rc == -EPERM)
		return err_set(err, rc, "PID %d: not allowed to look at it; run as its user or as root", pid);
	if (rc)
		return err_set(err, -ESRCH, "PID %d: no such process; it may have ended, see 'ps -e'", pid);
	if (f.tgid != pid)
		return err_set(err, -EINVAL, "PID %d is a thread of process %d; give %d", pid, f.tgid, f.tgid);
	if (f.zombie)
		return err_set(err, -ESRCH, "PID %d has already ended (zombie of process %d); nothing to observe", pid, f.ppid);
	if (f.kernel_thread)
		return err_set(err, -EINVAL, "PID %d is a kernel thread; give a process of the application", pid);
	/* In a container that we were put into, 1 is the application; where 1 is above us too, its tree is everything. */
	if (pid == 1 && is_our_ancestor(1))
		return err_set(err, -EINVAL, "PID 1 is the whole machine, lockstep included; give the application's PIDs");
	return 0;
}
