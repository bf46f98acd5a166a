/* SPDX-License-Identifier: Apache-2.0
 *
 * Words for findings: names of processes, call sites, numbers. In: rows of the profile; out: short strings for people.
 */
#include "aggregate/finding_rules.h"

#include <stdio.h>
#include <string.h>

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

char *finding_name(const struct finding_context *c, int32_t pid, char buf[FINDING_NAME])
{
	const struct process_info *i = finding_process(c, pid);
	const char *comm = i && i->row->comm && *i->row->comm ? i->row->comm : "process";
	if (i && i->row->n_siblings > 1)
		snprintf(buf, FINDING_NAME, "%s (%u processes)", comm, i->row->n_siblings);
	else
		snprintf(buf, FINDING_NAME, "%s (pid %d)", comm, pid);
	return buf;
}

/* Libraries whose frames tell how a program waits, not where in it: the C library, loaders, runtimes and their glue. */
static bool is_plumbing(const struct frame_row *f)
{
	static const char *const modules[] = {"libc.so",	  "libc-",	     "libpthread",   "ld-linux",  "libm.so",
					      "libpython",	  "libjvm.so",	     "libnio.so",    "libnet.so", "libjava.so",
					      "libuv.so",	  "libnode.so",	     "libstdc++.so", "libgcc_s",  "[vdso]",
					      "[kernel]",	  "[kernel.kallsyms]", "libselinux",  "linux-vdso", "libasan", "libevent"};
	if (f->language == LANG_KERNEL)
		return true;
	if (!f->module)
		return !f->file;
	const char *base = base_name(f->module);
	for (size_t i = 0; i < sizeof(modules) / sizeof(*modules); i++)
		if (strncmp(base, modules[i], strlen(modules[i])) == 0)
			return true;
	return false;
}

/* Files of a language's standard library: the program's author would not look there. */
static bool is_standard_library(const struct frame_row *f)
{
	static const char *const parts[] = {"/lib/python3", "<frozen", "/usr/lib/go", "/go/src/", "node:internal", "node:", "java.base"};
	if (f->language == LANG_JAVA)
		return strncmp(f->function, "java.", 5) == 0 || strncmp(f->function, "jdk.", 4) == 0 ||
		       strncmp(f->function, "sun.", 4) == 0;
	if (f->language == LANG_GO && (strncmp(f->function, "runtime.", 8) == 0 || strncmp(f->function, "internal/", 9) == 0 ||
				       strncmp(f->function, "syscall.", 8) == 0))
		return true;
	for (size_t i = 0; f->file && i < sizeof(parts) / sizeof(*parts); i++)
		if (strstr(f->file, parts[i]))
			return true;
	return false;
}

static bool is_python_native(const struct frame_row *f)
{
	return f->language == LANG_NATIVE && f->module && strncmp(base_name(f->module), "python", 6) == 0;
}

static bool is_nameless(const struct frame_row *f)
{
	return !f->function || f->function[0] == '[' || f->function[0] == '\0';
}

/* Best first: a managed frame outside its standard library, a native one with a source line outside the plumbing, any such
 * frame with a name, any managed frame. */
static int frame_rank(const struct frame_row *f)
{
	bool managed = f->language != LANG_NATIVE && f->language != LANG_KERNEL;
	if (managed)
		return is_standard_library(f) ? 1 : 4;
	if (is_plumbing(f) || is_python_native(f))
		return 0;
	if (f->file && f->line)
		return 3;
	return is_nameless(f) ? 0 : 2;
}

uint32_t finding_user_frame(const struct finding_context *c, uint32_t stack_ix)
{
	if (stack_ix == IX_NONE || stack_ix >= c->p->n_stacks)
		return IX_NONE;
	const struct stack_row *s = &c->p->stacks[stack_ix];
	uint32_t best = IX_NONE;
	int best_rank = 0;
	for (uint32_t i = 0; i < s->n; i++) {
		if (s->frame_ix[i] >= c->p->n_frames)
			continue;
		int rank = frame_rank(&c->p->frames[s->frame_ix[i]]);
		if (rank > best_rank) {
			best_rank = rank;
			best = s->frame_ix[i];
		}
	}
	return best;
}

char *finding_site(const struct finding_context *c, uint32_t stack_ix, char buf[FINDING_SITE])
{
	buf[0] = '\0';
	uint32_t ix = finding_user_frame(c, stack_ix);
	if (ix == IX_NONE)
		return buf;
	const struct frame_row *f = &c->p->frames[ix];
	if (f->file && f->line)
		snprintf(buf, FINDING_SITE, "%.110s (%.60s:%u)", f->function, base_name(f->file), f->line);
	else if (f->module)
		snprintf(buf, FINDING_SITE, "%.110s (%.60s)", f->function, base_name(f->module));
	else
		snprintf(buf, FINDING_SITE, "%.110s", f->function);
	return buf;
}

/* Three significant digits above 1,000, grouped: more would pretend. */
char *finding_count(double n, char buf[32])
{
	if (n < 10 && n != (double)(long)n) {
		snprintf(buf, 32, "%.1f", n);
		return buf;
	}
	long long v = (long long)(n + 0.5), unit = 1;
	while (v / unit >= 1000)
		unit *= 10;
	if (unit > 1)
		v = (v + unit / 2) / unit * unit;
	char digits[24], *out = buf;
	int len = snprintf(digits, sizeof(digits), "%lld", v);
	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*out++ = ',';
		*out++ = digits[i];
	}
	*out = '\0';
	return buf;
}

char *finding_duration(double ns, char buf[32])
{
	if (ns < 1e3)
		snprintf(buf, 32, "%.0f ns", ns);
	else if (ns < 1e6)
		snprintf(buf, 32, ns < 1e4 ? "%.1f µs" : "%.0f µs", ns / 1e3);
	else if (ns < 1e9)
		snprintf(buf, 32, ns < 1e7 ? "%.1f ms" : "%.0f ms", ns / 1e6);
	else
		snprintf(buf, 32, "%.1f s", ns / 1e9);
	return buf;
}

char *finding_size(double bytes, char buf[32])
{
	char n[32];
	if (bytes < 8192)
		snprintf(buf, 32, "%s byte%s", finding_count(bytes, n), bytes == 1 ? "" : "s");
	else if (bytes < 8e6)
		snprintf(buf, 32, "%.0f KiB", bytes / 1024);
	else
		snprintf(buf, 32, "%.0f MiB", bytes / 1048576);
	return buf;
}

const char *finding_medium(const struct finding_context *c, uint32_t channel)
{
	const struct channel_row *ch = profile_channel(c->p, channel);
	static const char *const words[CH_COUNT] = {
		[CH_NONE] = "an unknown channel", [CH_PIPE] = "a pipe", [CH_UNIX] = "a Unix socket",
		[CH_TCP] = "a TCP connection",	  [CH_UDP] = "UDP",	[CH_FUTEX] = "a shared futex",
		[CH_EVENTFD] = "an eventfd",	  [CH_EPOLL] = "epoll", [CH_SYSV] = "System V IPC",
		[CH_POSIX] = "POSIX IPC",	  [CH_FILE] = "a file", [CH_CHILD] = "child exit",
		[CH_TIMER] = "a timer"};
	return ch && (unsigned)ch->kind < CH_COUNT ? words[ch->kind] : words[CH_NONE];
}
