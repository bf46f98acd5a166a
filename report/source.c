/* SPDX-License-Identifier: Apache-2.0
 * In: a path; out: its lines, read once. */
#include "report/source.h"
#include "report/frames.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SOURCE_MAX_BYTES (4u << 20)

static bool looks_like_source(const char *path)
{
	static const char *const suffixes[] = {
		"c",   "h",   "cc",  "cpp", "cxx", "c++", "hh",	  "hpp", "hxx",	  "inc",    "ipp", "tcc", "S",
		"s",   "rs",  "go",  "py",  "pyx", "pxd", "java", "kt",	 "scala", "groovy", "clj", "js",  "mjs",
		"cjs", "ts",  "tsx", "jsx", "rb",  "php", "pl",	  "pm",	 "lua",	  "swift",  "m",   "mm",  "d",
		"zig", "nim", "ml",  "mli", "hs",  "f",	  "f90",  "F90", "adb",	  "ads",    "y",   "l"};
	const char *dot = strrchr(frames_basename(path), '.');

	for (size_t i = 0; dot && i < sizeof suffixes / sizeof *suffixes; i++)
		if (strcmp(dot + 1, suffixes[i]) == 0)
			return true;
	return false;
}

static char *read_all(int fd, size_t size)
{
	char *text = malloc(size + 1);
	size_t got = 0;

	while (text && got < size) {
		ssize_t n = read(fd, text + got, size - got);
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	if (text)
		memset(text + got, 0, size + 1 - got);
	return text;
}

static bool index_lines(struct source *s, size_t size)
{
	uint32_t n = 1;

	for (size_t i = 0; i < size; i++)
		n += s->text[i] == '\n';
	s->start = malloc(n * sizeof *s->start);
	if (!s->start)
		return false;
	s->start[s->n_lines++] = 0;
	for (size_t i = 0; i < size; i++)
		if (s->text[i] == '\n') {
			s->text[i] = '\0';
			s->start[s->n_lines++] = (uint32_t)i + 1;
		}
	return true;
}

void source_read(struct source *s, const char *path, int64_t recorded_s)
{
	struct stat st;

	memset(s, 0, sizeof *s);
	if (!path || !looks_like_source(path))
		return;
	/* O_NONBLOCK: a FIFO of that name must not hang the report */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= SOURCE_MAX_BYTES) {
		s->newer = recorded_s && st.st_mtime > recorded_s;
		s->text = read_all(fd, (size_t)st.st_size);
		if (s->text && !index_lines(s, (size_t)st.st_size))
			source_free(s);
	}
	close(fd);
}

void source_free(struct source *s)
{
	free(s->text);
	free(s->start);
	memset(s, 0, sizeof *s);
}

const char *source_line(const struct source *s, uint32_t line)
{
	return s->text && line && line <= s->n_lines ? s->text + s->start[line - 1] : NULL;
}

int64_t source_recorded_at(const char *rfc3339)
{
	struct tm tm = {0};

	if (!rfc3339 || !strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm))
		return 0;
	time_t t = timegm(&tm);
	return t > 0 ? (int64_t)t : 0;
}
