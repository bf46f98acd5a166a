/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole files, written so that a kill at any moment leaves no file or a valid one.
 *
 * The bytes go to an unnamed file (O_TMPFILE) of the target's folder, are flushed, and get their name in one step: until then the
 * kernel removes the file by itself when the process dies. linkat() does not replace, so an existing target costs a detour over a
 * temporary name, `.NAME.tmp.PID`: a kill between linkat and rename leaves that one behind, whole but misnamed. The next write
 * removes such leftovers of processes that no longer exist. File systems without O_TMPFILE (NFS, FAT, old overlays) write to that
 * name from the start. A target that is no regular file (/dev/null, /dev/stdout, a FIFO) is written to, never replaced.
 */
#include "aggregate/profile_db_schema.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const uint8_t *data, size_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, data, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		data += w;
		n -= (size_t)w;
	}
	return 0;
}

/* Disk full shows at write, at fsync (delayed allocation) or at close (NFS). */
static int write_and_flush(int fd, const void *data, size_t n)
{
	int rc = write_all(fd, data, n);

	if (rc == 0 && fsync(fd) != 0 && errno != EINVAL && errno != EROFS) /* pipes and devices cannot be flushed */
		rc = -errno;
	return rc;
}

struct target {
	char *path; /* with symlinks resolved where it exists */
	const char *name;
	char dir[PATH_MAX];
	char tmp[NAME_MAX + 64]; /* the temporary name, in dir */
	int dir_fd;
};

static void target_fini(struct target *t)
{
	free(t->path);
	if (t->dir_fd >= 0)
		close(t->dir_fd);
}

static int target_init(struct target *t, const char *path)
{
	const char *slash;

	memset(t, 0, sizeof *t);
	t->dir_fd = -1;
	t->path = realpath(path, NULL);
	if (!t->path)
		t->path = strdup(path);
	if (!t->path)
		return -ENOMEM;
	slash = strrchr(t->path, '/');
	t->name = slash ? slash + 1 : t->path;
	if (!*t->name)
		return -EISDIR;
	if (strlen(t->name) > NAME_MAX || strlen(t->path) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (slash)
		snprintf(t->dir, sizeof t->dir, "%.*s", slash == t->path ? 1 : (int)(slash - t->path), t->path);
	else
		strcpy(t->dir, ".");
	/* A name of NAME_MAX bytes still needs a temporary one: it is cut, the PID keeps it unique. */
	snprintf(t->tmp, sizeof t->tmp, ".%.200s.tmp.%d", t->name, (int)getpid());
	t->dir_fd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return t->dir_fd < 0 ? -errno : 0;
}

/* Temporary names of this target whose writer is gone. Failures do not matter: it is only tidiness. */
static void remove_leftovers(const struct target *t)
{
	char prefix[NAME_MAX + 64];
	int fd = dup(t->dir_fd);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	int n = snprintf(prefix, sizeof prefix, ".%.200s.tmp.", t->name);
	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		char *end;
		long pid;
		if (strncmp(e->d_name, prefix, (size_t)n) != 0)
			continue;
		pid = strtol(e->d_name + n, &end, 10);
		if (*end || pid <= 0 || pid > INT_MAX)
			continue;
		if (kill((pid_t)pid, 0) != 0 && errno == ESRCH)
			unlinkat(t->dir_fd, e->d_name, 0);
	}
	closedir(d);
}

/* Gives the unnamed file its name. */
static int publish_unnamed(const struct target *t, int fd)
{
	char proc[64];

	snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, proc, t->dir_fd, t->name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	unlinkat(t->dir_fd, t->tmp, 0);
	if (linkat(AT_FDCWD, proc, t->dir_fd, t->tmp, AT_SYMLINK_FOLLOW) != 0)
		return -errno;
	if (renameat(t->dir_fd, t->tmp, t->dir_fd, t->name) != 0) {
		int rc = -errno;
		unlinkat(t->dir_fd, t->tmp, 0);
		return rc;
	}
	return 0;
}

static bool is_unsupported(int e)
{
	return e == EOPNOTSUPP || e == EISDIR || e == ENOENT || e == EINVAL;
}

/* 1: this file system (or a missing /proc) has no unnamed files. */
static int write_unnamed(const struct target *t, const void *data, size_t n)
{
	int fd = openat(t->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666), rc;

	if (fd < 0)
		return is_unsupported(errno) ? 1 : -errno;
	rc = write_and_flush(fd, data, n);
	if (rc == 0) {
		rc = publish_unnamed(t, fd);
		if (rc == -ENOENT)
			rc = 1;
	}
	close(fd);
	return rc;
}

static int write_named(const struct target *t, const void *data, size_t n)
{
	int fd = openat(t->dir_fd, t->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666), rc;

	if (fd < 0)
		return -errno;
	rc = write_and_flush(fd, data, n);
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && renameat(t->dir_fd, t->tmp, t->dir_fd, t->name) != 0)
		rc = -errno;
	if (rc != 0)
		unlinkat(t->dir_fd, t->tmp, 0);
	return rc;
}

static int write_in_place(const char *path, const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY), rc;

	if (fd < 0)
		return -errno;
	rc = write_and_flush(fd, data, n);
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	return rc;
}

static const char *advice(int rc)
{
	switch (rc) {
	case -ENOSPC:
	case -EDQUOT:
		return "; free some space or give another -o FILE";
	case -EISDIR:
	case -EACCES:
	case -EROFS:
	case -ENOENT:
		return "; give another -o FILE";
	default:
		return "";
	}
}

int db_file_write(const char *path, const void *data, size_t n, struct err *err)
{
	struct stat st;
	struct target t;
	int rc;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		rc = S_ISDIR(st.st_mode) ? -EISDIR : write_in_place(path, data, n);
	} else {
		rc = target_init(&t, path);
		if (rc == 0) {
			remove_leftovers(&t);
			rc = write_unnamed(&t, data, n);
			if (rc == 1)
				rc = write_named(&t, data, n);
			if (rc == 0)
				fsync(t.dir_fd);
		}
		target_fini(&t);
	}
	if (rc != 0)
		err_set(err, rc, "write %s: %s%s", path, strerror(-rc), advice(rc));
	return rc;
}

static int read_all(int fd, uint8_t *buf, size_t n, size_t *got)
{
	*got = 0;
	while (*got < n) {
		ssize_t r = read(fd, buf + *got, n - *got);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		*got += (size_t)r;
	}
	return 0;
}

/* Into memory rather than mapped: a file that shrinks meanwhile must not raise SIGBUS. */
int db_file_read(const char *path, uint8_t **out, size_t *n, struct err *err)
{
	struct stat st;
	uint8_t *buf = NULL;
	int rc, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO without writer must not hang us */

	if (fd < 0)
		return err_set(err, -errno, "open %s: %s", path, strerror(errno));
	if (fstat(fd, &st) != 0) {
		rc = err_set(err, -errno, "open %s: %s", path, strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		bool dir = S_ISDIR(st.st_mode);
		rc = err_set(err, dir ? -EISDIR : -EINVAL, "open %s: it is %s; give a profile file", path,
			     dir ? "a directory" : "not a regular file");
		goto out;
	}
	if (st.st_size > DB_MAX_FILE) {
		rc = err_set(err, -EFBIG, "open %s: %lld bytes are too many for a lockstep profile", path, (long long)st.st_size);
		goto out;
	}
	buf = malloc((size_t)st.st_size + 1);
	if (!buf) {
		rc = err_set(err, -ENOMEM, "read %s: out of memory", path);
		goto out;
	}
	rc = read_all(fd, buf, (size_t)st.st_size, n);
	if (rc != 0)
		err_set(err, rc, "read %s: %s", path, strerror(-rc));
out:
	close(fd);
	if (rc == 0)
		*out = buf;
	else
		free(buf);
	return rc;
}
