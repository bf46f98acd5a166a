/* SPDX-License-Identifier: Apache-2.0
 *
 * In: /proc/PID/maps. Out: the mappings that matter for stacks (executable memory, and all parts of files), merged into
 * what is known: what has not changed keeps its time and its object, what has gone retires now.
 *
 * When did a mapping that the scan finds appear? If nothing was known at its addresses: "always", since whoever asks may
 * hold a stack from a moment ago. If it replaces something: some time after we last heard of the mappings, so from then on.
 */
#include "sampler/unwind/address_space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- text ---- */

static bool hex(const char **p, uint64_t *v)
{
	const char *s = *p;
	for (*v = 0;; s++) {
		unsigned d = (unsigned)(*s - '0');
		if (d > 9) {
			d = (unsigned)(*s - 'a');
			if (d > 5)
				break;
			d += 10;
		}
		*v = *v << 4 | d;
	}
	bool any = s != *p;
	*p = s;
	return any;
}

static bool skip(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

/* The kernel writes a newline in a path as \012. */
static void unescape(char *path)
{
	char *w = path;
	for (char *r = path; *r; w++) {
		if (strncmp(r, "\\012", 4) == 0) {
			*w = '\n';
			r += 4;
		} else {
			*w = *r++;
		}
	}
	*w = 0;
}

/* "start-end rwxp offset major:minor inode   path" */
static bool parse_line(char *line, struct mapping *m, char **path)
{
	const char *p = line;
	uint64_t major, minor;
	*m = (struct mapping){.until_ns = UINT64_MAX};
	if (!hex(&p, &m->start) || !skip(&p, '-') || !hex(&p, &m->end) || !skip(&p, ' ') || strlen(p) < 5)
		return false;
	m->executable = p[2] == 'x';
	p += 5;
	if (!hex(&p, &m->file_offset) || !skip(&p, ' ') || !hex(&p, &major) || !skip(&p, ':') || !hex(&p, &minor) ||
	    !skip(&p, ' '))
		return false;
	m->dev_major = (uint32_t)major;
	m->dev_minor = (uint32_t)minor;
	for (; *p >= '0' && *p <= '9'; p++)
		m->inode = m->inode * 10 + (uint64_t)(*p - '0');
	while (*p == ' ')
		p++;
	*path = line + (p - line);
	unescape(*path);
	return m->start < m->end;
}

static ssize_t read_maps(struct object_cache *c, int fd)
{
	size_t len = 0;
	for (;;) {
		if (c->scratch_size - len < 65536) {
			char *grown = realloc(c->scratch, c->scratch_size + 131072);
			if (!grown)
				return -ENOMEM;
			c->scratch = grown;
			c->scratch_size += 131072;
		}
		ssize_t n = read(fd, c->scratch + len, c->scratch_size - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	c->scratch[len] = 0;
	return (ssize_t)len;
}

static int parse_maps(struct object_cache *c, struct mapping_list *out)
{
	for (char *line = c->scratch, *next; *line; line = next) {
		struct mapping m;
		char *path, *end = strchrnul(line, '\n');
		next = *end ? end + 1 : end;
		*end = 0;
		if (!parse_line(line, &m, &path) || (!m.executable && m.inode == 0))
			continue;
		m.path = object_cache_intern(c, path);
		if (!m.path || !mapping_list_push(out, &m))
			return -ENOMEM;
	}
	return 0;
}

/* ---- merging ---- */

static bool same(const struct mapping *a, const struct mapping *b)
{
	return a->start == b->start && a->end == b->end && a->file_offset == b->file_offset && a->inode == b->inode &&
	       a->dev_major == b->dev_major && a->dev_minor == b->dev_minor && a->path == b->path &&
	       a->executable == b->executable;
}

/* Both lists are sorted. Keeps time and object of what is unchanged; returns whether all of both lists is. */
static bool carry_over(struct mapping_list *fresh, const struct mapping_list *known, uint64_t known_ns)
{
	bool unchanged = fresh->n == known->n;
	size_t k = 0;
	for (size_t i = 0; i < fresh->n; i++) {
		struct mapping *m = &fresh->v[i];
		while (k < known->n && known->v[k].end <= m->start)
			k++;
		bool is_same = k < known->n && same(m, &known->v[k]);
		if (is_same && (known->v[k].object || !m->executable || !m->inode || known->v[k].tries >= MAPPING_TRIES)) {
			*m = known->v[k];
			continue;
		}
		m->tries = is_same ? known->v[k].tries : 0;
		unchanged = false;
		if (k < known->n && known->v[k].start < m->end)
			m->since_ns = is_same ? known->v[k].since_ns : known_ns + 1;
	}
	return unchanged;
}

static void retire_gone(struct mapping_set *set, const struct mapping_list *fresh, uint64_t time)
{
	size_t f = 0;
	for (size_t i = 0; i < set->now.n; i++) {
		const struct mapping *m = &set->now.v[i];
		while (f < fresh->n && fresh->v[f].end <= m->start)
			f++;
		bool replaced = f < fresh->n && fresh->v[f].start < m->end;
		if (replaced && same(m, &fresh->v[f]))
			continue;
		mapping_set_retire(set, m, replaced ? fresh->v[f].since_ns : time);
	}
}

static int merge(struct address_space *as, struct mapping_list *fresh)
{
	uint64_t time = now_ns();
	bool unchanged = carry_over(fresh, &as->set->now, as->known_ns);
	as->known_ns = time;
	if (unchanged)
		return 0;
	struct mapping_set *set = address_space_own(as);
	if (!set)
		return -ENOMEM;
	for (int code = 1; code >= 0; code--) /* code first: it opens the files that data segments belong to */
		for (size_t i = 0; i < fresh->n; i++)
			if (!fresh->v[i].object && fresh->v[i].executable == code && (!code || fresh->v[i].tries < MAPPING_TRIES))
				mapping_resolve(as, &fresh->v[i]);
	retire_gone(set, fresh, time);
	struct mapping_list old = set->now;
	set->now = *fresh;
	*fresh = old;
	mapping_set_changed(set);
	return 0;
}

int address_space_scan(struct address_space *as, struct err *err)
{
	char path[64];
	struct mapping_list fresh = {0};
	snprintf(path, sizeof path, "/proc/%d/maps", (int)as->pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "read the mappings of process %d: %s", (int)as->pid, strerror(errno));
	ssize_t n = read_maps(as->cache, fd);
	close(fd);
	if (n < 0)
		return err_set(err, (int)n, "read the mappings of process %d: %s", (int)as->pid, strerror((int)-n));
	int ret = parse_maps(as->cache, &fresh);
	if (!ret)
		ret = merge(as, &fresh);
	free(fresh.v);
	return ret ? err_set(err, ret, "read the mappings of process %d: %s", (int)as->pid, strerror(-ret)) : 0;
}
