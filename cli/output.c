/* SPDX-License-Identifier: Apache-2.0
 *
 * In: a path that the user gave; out: a verdict before the work, a stream after it.
 */
#include "cli/output.h"

#include "aggregate/profile_db.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* SQLite's file header: the magic, and the application id as 4 big-endian bytes at offset 68 (sqlite.org/fileformat.html). */
enum { HEADER_BYTES = 100, HEADER_APPLICATION_ID = 68 };

static int check_folder(const char *path, struct err *err)
{
	char *copy = strdup(path);
	if (!copy)
		return err_set(err, -ENOMEM, "write %s: out of memory", path);
	const char *dir = dirname(copy);
	int code = access(dir, W_OK | X_OK) ? -errno : 0;
	if (code)
		err_set(err, code, "write %s: folder %s: %s; give another file with -o", path, dir, strerror(-code));
	free(copy);
	return code;
}

/* 1: a lockstep profile or empty, 0: something else, -errno: unreadable. */
static int is_replaceable(const char *path)
{
	uint8_t h[HEADER_BYTES];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, h, sizeof h);
	int code = -errno;
	close(fd);
	if (n < 0)
		return code;
	if (n == 0)
		return 1;
	if (n < HEADER_BYTES || memcmp(h, "SQLite format 3", 16) != 0)
		return 0;
	const uint8_t *id = h + HEADER_APPLICATION_ID;
	return ((uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3]) == PROFILE_DB_APPLICATION_ID;
}

static int check_replaceable(const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st))
		return errno == ENOENT ? 0 : err_set(err, -errno, "write %s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "write %s: it is a folder; give a file with -o", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EEXIST, "write %s: not a regular file; a profile needs one, give it with -o", path);
	int rc = is_replaceable(path);
	if (rc < 0)
		return err_set(err, rc, "write %s: %s; give another file with -o", path, strerror(-rc));
	if (rc == 0)
		return err_set(err, -EEXIST, "write %s: the file is there and is no lockstep profile; give another file with -o",
			       path);
	return 0;
}

int output_check_profile(const char *path, char **resolved, struct err *err)
{
	if (!path[0])
		return err_set(err, -ENOENT, "-o: the file's name is empty");
	*resolved = realpath(path, NULL);
	if (!*resolved)
		*resolved = strdup(path);
	if (!*resolved)
		return err_set(err, -ENOMEM, "write %s: out of memory", path);
	int rc = check_replaceable(*resolved, err);
	if (!rc)
		rc = check_folder(*resolved, err);
	if (rc) {
		free(*resolved);
		*resolved = NULL;
	}
	return rc;
}

int output_check_text(const char *path, struct err *err)
{
	struct stat st;

	if (!path[0])
		return err_set(err, -ENOENT, "-o: the file's name is empty");
	if (stat(path, &st)) {
		if (errno != ENOENT)
			return err_set(err, -errno, "write %s: %s", path, strerror(errno));
		return check_folder(path, err);
	}
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "write %s: it is a folder; give a file with -o", path);
	if (access(path, W_OK))
		return err_set(err, -errno, "write %s: %s; give another file with -o", path, strerror(errno));
	return 0;
}

FILE *output_open(const char *path, struct err *err)
{
	if (!path || strcmp(path, "-") == 0)
		return stdout;
	FILE *out = fopen(path, "we");
	if (!out)
		err_set(err, -errno, "write %s: %s", path, strerror(errno));
	return out;
}

int output_close(FILE *out, const char *path, struct err *err)
{
	const char *name = out == stdout ? "standard output" : path;
	int code = 0;

	errno = 0;
	if (fflush(out) || ferror(out))
		code = errno ? -errno : -EIO;
	if (out != stdout && fclose(out) && !code)
		code = -errno;
	return code ? err_set(err, code, "write %s: %s", name, strerror(-code)) : 0;
}
