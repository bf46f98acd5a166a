/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler/replay/format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- one row per field: how it is called, what it is, where it lives ---- */

enum field_type {
	F_END = 0,
	F_I32, /* pids, tids, fds, statuses */
	F_U32,
	F_U64,
	F_BOOL,	 /* a bare key, or key=0/1 */
	F_NAME,	 /* one of a list of names; stored as an int-sized enum */
	F_NAME8, /* the same, stored in a uint8_t */
	F_TEXT,
	F_TEXT_OR_NULL,
	F_TIME, /* u64, bounded */
};

typedef const char *(*name_fn)(int value); /* NULL beyond the last */

struct field {
	const char *key;
	enum field_type type;
	size_t offset; /* in struct event */
	name_fn names;
	int64_t initial; /* value when the key is absent; such values are not written */
};

#define AT(member) offsetof(struct event, member)

static const char *class_name_at(int v)
{
	return v >= 0 && v < WC_COUNT ? wait_class_name((enum wait_class)v) : NULL;
}

static const char *context_name_at(int v)
{
	static const char *const names[] = {"none", "task", "softirq", "hardirq"};
	return v >= 0 && v < 4 ? names[v] : NULL;
}

static const char *reason_name_at(int v)
{
	static const char *const names[] = {"seen", "fork", "exec", "renamed"};
	return v >= 0 && v < 4 ? names[v] : NULL;
}

static const char *runtime_name_at(int v)
{
	return v >= 0 && v < RT_COUNT ? runtime_kind_name((enum runtime_kind)v) : NULL;
}

static const char *state_name_at(int v)
{
	static const char *const names[] = {"", "running", "runnable", "blocked"};
	return v >= 0 && v < 4 ? names[v] : NULL;
}

/* CH_UDP is called "tcp" in reports; here the two must differ. */
static const char *kind_name_at(int v)
{
	return v == CH_UDP ? "udp" : v >= 0 && v < CH_COUNT ? channel_kind_name((enum channel_kind)v) : NULL;
}

static const char *role_name_at(int v)
{
	static const char *const names[] = {"", "reader", "writer", "both"};
	return v >= 0 && v < 4 ? names[v] : NULL;
}

static const char *language_name_at(int v)
{
	return v >= 0 && v < LANG_COUNT ? frame_language_name((enum frame_language)v) : NULL;
}

static const struct field process_fields[] = {
	{"pid", F_I32, AT(process.pid), NULL, 0},
	{"ppid", F_I32, AT(process.ppid), NULL, 0},
	{"in_tree", F_BOOL, AT(process.in_tree), NULL, 1},
	{"reason", F_NAME, AT(process.reason), reason_name_at, PROC_SEEN},
	{"runtime", F_NAME, AT(process.runtime), runtime_name_at, RT_NATIVE},
	{"comm", F_TEXT, AT(process.comm), NULL, 0},
	{"exe", F_TEXT, AT(process.exe), NULL, 0},
	{NULL, F_END, 0, NULL, 0},
};

static const struct field thread_fields[] = {
	{"pid", F_I32, AT(thread.pid), NULL, 0},
	{"tid", F_I32, AT(thread.tid), NULL, 0},
	{"comm", F_TEXT, AT(thread.comm), NULL, 0},
	{NULL, F_END, 0, NULL, 0},
};

static const struct field thread_exit_fields[] = {
	{"pid", F_I32, AT(thread_exit.pid), NULL, 0},
	{"tid", F_I32, AT(thread_exit.tid), NULL, 0},
	{NULL, F_END, 0, NULL, 0},
};

static const struct field process_exit_fields[] = {
	{"pid", F_I32, AT(process_exit.pid), NULL, 0},
	{"status", F_I32, AT(process_exit.status), NULL, -1},
	{NULL, F_END, 0, NULL, 0},
};

static const struct field wait_fields[] = {
	{"tid", F_I32, AT(wait.tid), NULL, 0},
	{"class", F_NAME8, AT(wait.cls), class_name_at, WC_NONE},
	{"wake", F_TIME, AT(wait.t_wake), NULL, 0}, /* absent: the event's time */
	{"run", F_TIME, AT(wait.t_run), NULL, 0},   /* absent: wake */
	{"ctx", F_NAME8, AT(wait.waker_ctx), context_name_at, WAKER_NONE},
	{"waker", F_I32, AT(wait.waker_tid), NULL, 0},
	{"channel", F_U32, AT(wait.channel), NULL, 0},
	{"site", F_U32, AT(wait.site), NULL, 0},
	{"stack", F_U32, AT(wait.stack), NULL, 0},
	{"waker_site", F_U32, AT(wait.waker_site), NULL, 0},
	{"waker_stack", F_U32, AT(wait.waker_stack), NULL, 0},
	{"bytes", F_U32, AT(wait.bytes), NULL, 0},
	{"want", F_U32, AT(wait.want_bytes), NULL, 0},
	{"rd_calls", F_U32, AT(wait.rd_calls), NULL, 0},
	{"rd_bytes", F_U32, AT(wait.rd_bytes), NULL, 0},
	{"wr_calls", F_U32, AT(wait.wr_calls), NULL, 0},
	{"wr_bytes", F_U32, AT(wait.wr_bytes), NULL, 0},
	{"folded", F_U32, AT(wait.folded_count), NULL, 0},
	{"folded_ns", F_TIME, AT(wait.folded_ns), NULL, 0},
	{"handoffs", F_U32, AT(wait.handoff_count), NULL, 0},
	{"handoff_tid", F_I32, AT(wait.handoff_tid), NULL, 0},
	{"lost_count", F_U32, AT(wait.lost_count), NULL, 0},
	{NULL, F_END, 0, NULL, 0},
};

static const struct field sample_fields[] = {
	{"tid", F_I32, AT(sample.tid), NULL, 0},	   {"cpu", F_U32, AT(sample.cpu), NULL, 0},
	{"stack", F_U32, AT(sample.stack), NULL, 0},	   {"period", F_U32, AT(sample.period_ns), NULL, 0},
	{"kernel", F_BOOL, AT(sample.in_kernel), NULL, 0}, {NULL, F_END, 0, NULL, 0},
};

static const struct field tick_fields[] = {
	{"tid", F_I32, AT(tick.tid), NULL, 0},
	{"state", F_NAME, AT(tick.state), state_name_at, 0},
	{"class", F_NAME8, AT(tick.cls), class_name_at, WC_NONE},
	{"same", F_BOOL, AT(tick.same), NULL, 0},
	{"dt", F_U32, AT(tick.dt_ns), NULL, 0},
	{"channel", F_U32, AT(tick.channel), NULL, 0},
	{"stack", F_U32, AT(tick.stack), NULL, 0},
	{"peer", F_I32, AT(tick.peer_tid), NULL, 0},
	{NULL, F_END, 0, NULL, 0},
};

static const struct field counts_fields[] = {
	{"tid", F_I32, AT(counts.tid), NULL, 0},
	{"on_cpu", F_TIME, AT(counts.on_cpu_ns), NULL, 0},
	{"run_queue", F_TIME, AT(counts.run_queue_ns), NULL, 0},
	{"voluntary", F_U64, AT(counts.switches_voluntary), NULL, 0},
	{"involuntary", F_U64, AT(counts.switches_involuntary), NULL, 0},
	{"rd_calls", F_U64, AT(counts.rd_calls), NULL, 0},
	{"rd_bytes", F_U64, AT(counts.rd_bytes), NULL, 0},
	{"wr_calls", F_U64, AT(counts.wr_calls), NULL, 0},
	{"wr_bytes", F_U64, AT(counts.wr_bytes), NULL, 0},
	{NULL, F_END, 0, NULL, 0},
};

static const struct field channel_fields[] = {
	{"id", F_U32, AT(channel.id), NULL, 0},		 {"kind", F_NAME, AT(channel.kind), kind_name_at, CH_NONE},
	{"name", F_TEXT, AT(channel.name), NULL, 0},	 {"capacity", F_U64, AT(channel.capacity_bytes), NULL, 0},
	{"remote", F_BOOL, AT(channel.remote), NULL, 0}, {NULL, F_END, 0, NULL, 0},
};

static const struct field channel_end_fields[] = {
	{"channel", F_U32, AT(channel_end.channel), NULL, 0},
	{"pid", F_I32, AT(channel_end.pid), NULL, 0},
	{"fd", F_I32, AT(channel_end.fd), NULL, -1},
	{"role", F_NAME, AT(channel_end.role), role_name_at, END_BOTH},
	{NULL, F_END, 0, NULL, 0},
};

static const struct field frame_fields[] = {{"id", F_U32, AT(frame.id), NULL, 0}, {NULL, F_END, 0, NULL, 0}};
static const struct field stack_fields[] = {
	{"id", F_U32, AT(stack.id), NULL, 0},
	{"truncated", F_BOOL, AT(stack.truncated), NULL, 0},
	{NULL, F_END, 0, NULL, 0},
};
static const struct field lost_fields[] = {
	{"events", F_U64, AT(lost.events), NULL, 0},
	{"stacks", F_U64, AT(lost.stacks), NULL, 0},
	{NULL, F_END, 0, NULL, 0},
};
static const struct field end_fields[] = {{NULL, F_END, 0, NULL, 0}};

static const struct kind {
	const char *name;
	enum event_kind kind;
	const struct field *fields;
} kinds[] = {
	{"process", EV_PROCESS, process_fields},
	{"thread", EV_THREAD, thread_fields},
	{"thread_exit", EV_THREAD_EXIT, thread_exit_fields},
	{"process_exit", EV_PROCESS_EXIT, process_exit_fields},
	{"wait", EV_WAIT, wait_fields},
	{"sample", EV_SAMPLE, sample_fields},
	{"tick", EV_TICK, tick_fields},
	{"counts", EV_COUNTS, counts_fields},
	{"channel", EV_CHANNEL, channel_fields},
	{"channel_end", EV_CHANNEL_END, channel_end_fields},
	{"frame", EV_FRAME, frame_fields},
	{"stack", EV_STACK, stack_fields},
	{"lost", EV_LOST, lost_fields},
	{"end", EV_END, end_fields},
};

/* ---- reading ---- */

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes %XX in place; *len (may be NULL) is the decoded length, which may include NULs. */
static bool decode(char *s, size_t *len)
{
	char *to = s, *from = s;
	for (; *s; s++) {
		if (*s != '%') {
			*to++ = *s;
			continue;
		}
		int high = hex(s[1]), low = high < 0 ? -1 : hex(s[2]);
		if (low < 0)
			return false;
		*to++ = (char)(high << 4 | low);
		s += 2;
	}
	if (len)
		*len = (size_t)(to - from);
	*to = '\0';
	return true;
}

static bool parse_unsigned(const char *s, uint64_t max, uint64_t *out)
{
	char *end;
	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*out = strtoull(s, &end, 10);
	return !*end && !errno && *out <= max;
}

static bool parse_signed(const char *s, int32_t *out)
{
	uint64_t magnitude;
	bool minus = *s == '-';
	if (!parse_unsigned(s + minus, minus ? 1ull << 31 : INT32_MAX, &magnitude))
		return false;
	*out = minus ? (int32_t) - (int64_t)magnitude : (int32_t)magnitude;
	return true;
}

static bool parse_name(const char *s, name_fn names, int *out)
{
	const char *name;
	for (int v = 0; (name = names(v)); v++)
		if (*name && strcmp(name, s) == 0) {
			*out = v;
			return true;
		}
	return false;
}

static void store_number(struct event *ev, const struct field *f, int64_t value)
{
	char *at = (char *)ev + f->offset;
	if (f->type == F_I32 || f->type == F_NAME)
		*(int32_t *)at = (int32_t)value;
	else if (f->type == F_U32)
		*(uint32_t *)at = (uint32_t)value;
	else if (f->type == F_U64 || f->type == F_TIME)
		*(uint64_t *)at = (uint64_t)value;
	else if (f->type == F_BOOL)
		*(bool *)at = value != 0;
	else if (f->type == F_NAME8)
		*(uint8_t *)at = (uint8_t)value;
	else
		*(const char **)at = f->type == F_TEXT ? "" : NULL;
}

static bool parse_value(struct event *ev, const struct field *f, char *s)
{
	char *at = (char *)ev + f->offset;
	uint64_t u = 0;
	int v = 0;
	switch (f->type) {
	case F_I32:
		return parse_signed(s, (int32_t *)at);
	case F_U32:
	case F_U64:
	case F_TIME:
		if (!parse_unsigned(s, f->type == F_U32 ? UINT32_MAX : f->type == F_TIME ? REPLAY_MAX_TIME : UINT64_MAX, &u))
			return false;
		store_number(ev, f, (int64_t)u);
		return true;
	case F_BOOL:
		if (*s && !parse_unsigned(s, 1, &u))
			return false;
		store_number(ev, f, *s ? (int64_t)u : 1);
		return true;
	case F_NAME:
	case F_NAME8:
		if (!parse_name(s, f->names, &v))
			return false;
		store_number(ev, f, v);
		return true;
	case F_TEXT:
	case F_TEXT_OR_NULL:
		*(const char **)at = s;
		return decode(s, NULL);
	case F_END:
		break;
	}
	return false;
}

static const struct field *field_of(const struct field *fields, const char *key)
{
	for (; fields->key; fields++)
		if (strcmp(fields->key, key) == 0)
			return fields;
	return NULL;
}

/* The keys that are no plain fields. Each returns 1 when taken, 0 when the key is not theirs, or -errno. */

static int wait_key(struct event *ev, const char *key, const char *value)
{
	uint64_t on = 1;
	if (*value && !parse_unsigned(value, 1, &on))
		on = 2;
	if (strcmp(key, "at_start") == 0)
		ev->wait.at_start = on & 1;
	else if (strcmp(key, "in_progress") == 0)
		ev->wait.in_progress = on & 1;
	else if (strcmp(key, "spurious") == 0)
		ev->wait.spurious = on & 1;
	else if (strcmp(key, "preempted") == 0)
		ev->wait.preempted = on & 1;
	else if (strcmp(key, "lost") == 0)
		ev->wait.lost = on & 1;
	else
		return 0;
	return on <= 1 ? 1 : -EINVAL;
}

static int process_key(struct event *ev, const char *key, char *value)
{
	if (strcmp(key, "cmdline") != 0)
		return 0;
	size_t len;
	if (!decode(value, &len))
		return -EINVAL;
	ev->process.cmdline = value;
	ev->process.cmdline_len = len;
	return 1;
}

static void *room_for(void *array, size_t n, size_t *capacity, size_t size)
{
	if (n < *capacity)
		return array;
	size_t bigger = *capacity ? *capacity * 2 : 64;
	void *moved = realloc(array, bigger * size);
	if (moved)
		*capacity = bigger;
	return moved;
}

/* Each fn= begins a source frame; file, line, module and lang belong to the latest. */
static int frame_key(struct event *ev, const char *key, char *value, struct replay_scratch *s)
{
	struct ev_frame *f = &ev->frame;
	if (strcmp(key, "fn") == 0) {
		struct source_frame *moved = room_for(s->frames, f->n, &s->frames_capacity, sizeof *moved);
		if (!moved)
			return -ENOMEM;
		s->frames = moved;
		f->frames = moved;
		moved[f->n++] = (struct source_frame){.function = value, .module = ""};
		return decode(value, NULL) ? 1 : -EINVAL;
	}
	struct source_frame *last = f->n ? &s->frames[f->n - 1] : NULL;
	uint64_t line;
	int language;
	bool ok = last;
	if (strcmp(key, "file") == 0) {
		ok = ok && decode(value, NULL);
		if (ok)
			last->file = value;
	} else if (strcmp(key, "module") == 0) {
		ok = ok && decode(value, NULL);
		if (ok)
			last->module = value;
	} else if (strcmp(key, "line") == 0) {
		ok = ok && parse_unsigned(value, UINT32_MAX, &line);
		if (ok)
			last->line = (uint32_t)line;
	} else if (strcmp(key, "lang") == 0) {
		ok = ok && parse_name(value, language_name_at, &language);
		if (ok)
			last->language = (enum frame_language)language;
	} else {
		return 0;
	}
	return ok ? 1 : -EINVAL;
}

static int stack_key(struct event *ev, const char *key, char *value, struct replay_scratch *s)
{
	if (strcmp(key, "frames") != 0)
		return 0;
	ev->stack.n = 0;
	for (char *id; (id = strsep(&value, ","));) {
		uint64_t v;
		uint32_t *moved = room_for(s->frame_ids, ev->stack.n, &s->frame_ids_capacity, sizeof *moved);
		if (!moved)
			return -ENOMEM;
		s->frame_ids = moved;
		if (!*id && !value && !ev->stack.n)
			break; /* frames= alone: the empty stack */
		if (!parse_unsigned(id, UINT32_MAX, &v))
			return -EINVAL;
		moved[ev->stack.n++] = (uint32_t)v;
	}
	ev->stack.frames = s->frame_ids;
	return 1;
}

static int special_key(struct event *ev, const char *key, char *value, struct replay_scratch *s)
{
	switch (ev->kind) {
	case EV_PROCESS:
		return process_key(ev, key, value);
	case EV_WAIT:
		return wait_key(ev, key, value);
	case EV_FRAME:
		return frame_key(ev, key, value, s);
	case EV_STACK:
		return stack_key(ev, key, value, s);
	default:
		return 0;
	}
}

static int parse_pair(struct event *ev, const struct kind *k, char *word, struct replay_scratch *s, struct err *err)
{
	static char none[1];
	char *value = strchr(word, '=');
	if (value)
		*value++ = '\0';
	else
		value = none;
	const struct field *f = field_of(k->fields, word);
	int rc = f ? (parse_value(ev, f, value) ? 1 : -EINVAL) : special_key(ev, word, value, s);
	if (rc == 1)
		return 0;
	if (rc == -ENOMEM)
		return err_set(err, rc, "out of memory");
	/* what is wrong may be long or hostile: only the key is repeated, and only when it is plain */
	if (strspn(word, "abcdefghijklmnopqrstuvwxyz_") != strlen(word) || strlen(word) > 32)
		word = none;
	return rc ? err_set(err, rc, "%s: bad value of \"%s\"; see docs/REPLAY.md", k->name, word)
		  : err_set(err, -EINVAL, "%s: unknown key \"%s\"; see docs/REPLAY.md", k->name, word);
}

/* Values that depend on others, and those that make no sense. */
static int complete(struct event *ev, bool has_wake, bool has_run, struct err *err)
{
	if (ev->kind == EV_WAIT) {
		if (!has_wake)
			ev->wait.t_wake = ev->time_ns;
		if (!has_run)
			ev->wait.t_run = ev->wait.t_wake;
	}
	if (ev->kind == EV_TICK && !ev->tick.state)
		return err_set(err, -EINVAL, "tick: \"state\" is missing; give running, runnable or blocked");
	if (ev->kind == EV_FRAME && !ev->frame.n)
		return err_set(err, -EINVAL, "frame: \"fn\" is missing; give the function's name");
	return 0;
}

static const struct kind *kind_of(const char *name)
{
	for (size_t i = 0; name && i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

int replay_parse(char *line, struct event *ev, struct replay_scratch *s, struct err *err)
{
	char *rest = line, *word;
	line[strcspn(line, "\r\n")] = '\0';
	line += strspn(line, " \t");
	if (!*line || *line == '#')
		return 0;
	rest = line;
	const struct kind *k = kind_of(strsep(&rest, " \t"));
	if (!k)
		return err_set(err, -EINVAL, "unknown kind of event; see docs/REPLAY.md");
	*ev = (struct event){.kind = k->kind};
	while (rest && (*rest == ' ' || *rest == '\t'))
		rest++;
	word = strsep(&rest, " \t");
	if (!word || !parse_unsigned(word, REPLAY_MAX_TIME, &ev->time_ns))
		return err_set(err, -EINVAL, "%s: bad time; give nanoseconds after the kind", k->name);
	for (const struct field *f = k->fields; f->key; f++)
		store_number(ev, f, f->initial);
	bool has_wake = false, has_run = false;
	while ((word = strsep(&rest, " \t"))) {
		if (!*word)
			continue;
		has_wake |= strncmp(word, "wake=", 5) == 0;
		has_run |= strncmp(word, "run=", 4) == 0;
		int rc = parse_pair(ev, k, word, s, err);
		if (rc)
			return rc;
	}
	int rc = complete(ev, has_wake, has_run, err);
	return rc ? rc : 1;
}

void replay_scratch_fini(struct replay_scratch *s)
{
	free(s->frames);
	free(s->frame_ids);
	*s = (struct replay_scratch){0};
}

/* ---- writing ---- */

static void print_text(FILE *out, const char *s, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c > ' ' && c < 0x7f && c != '%') {
			putc_unlocked(c, out);
		} else {
			putc_unlocked('%', out);
			putc_unlocked(digits[c >> 4], out);
			putc_unlocked(digits[c & 15], out);
		}
	}
}

static void print_string(FILE *out, const char *key, const char *s)
{
	fprintf(out, " %s=", key);
	print_text(out, s, strlen(s));
}

static void print_field(FILE *out, const struct event *ev, const struct field *f)
{
	const char *at = (const char *)ev + f->offset;
	int64_t n = 0;
	switch (f->type) {
	case F_TEXT:
	case F_TEXT_OR_NULL: {
		const char *s = *(const char *const *)at;
		if (s && (*s || f->type == F_TEXT_OR_NULL))
			print_string(out, f->key, s);
		return;
	}
	case F_I32:
		n = *(const int32_t *)at;
		break;
	case F_NAME: {
		unsigned e;
		memcpy(&e, at, sizeof e);
		n = e;
		break;
	}
	case F_NAME8:
		n = *(const uint8_t *)at;
		break;
	case F_U32:
		n = *(const uint32_t *)at;
		break;
	case F_BOOL:
		n = *(const bool *)at;
		break;
	case F_U64:
	case F_TIME: {
		uint64_t u = *(const uint64_t *)at;
		if (u != (uint64_t)f->initial)
			fprintf(out, " %s=%" PRIu64, f->key, u);
		return;
	}
	case F_END:
		return;
	}
	if (n == f->initial)
		return;
	const char *name = f->names ? f->names((int)n) : NULL;
	if (name)
		fprintf(out, " %s=%s", f->key, name);
	else if (!f->names)
		fprintf(out, " %s=%" PRId64, f->key, n);
}

static void print_wait_flags(FILE *out, const struct ev_wait *w)
{
	if (w->at_start)
		fputs(" at_start", out);
	if (w->in_progress)
		fputs(" in_progress", out);
	if (w->spurious)
		fputs(" spurious", out);
	if (w->preempted)
		fputs(" preempted", out);
	if (w->lost)
		fputs(" lost", out);
}

static void print_frames(FILE *out, const struct ev_frame *f)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct source_frame *s = &f->frames[i];
		print_string(out, "fn", s->function ? s->function : "");
		if (s->file)
			print_string(out, "file", s->file);
		if (s->line)
			fprintf(out, " line=%" PRIu32, s->line);
		if (s->module && *s->module)
			print_string(out, "module", s->module);
		if (s->language != LANG_NATIVE)
			fprintf(out, " lang=%s", frame_language_name(s->language));
	}
}

static void print_special(FILE *out, const struct event *ev)
{
	switch (ev->kind) {
	case EV_WAIT:
		print_wait_flags(out, &ev->wait);
		break;
	case EV_PROCESS:
		if (ev->process.cmdline) {
			fputs(" cmdline=", out);
			print_text(out, ev->process.cmdline, ev->process.cmdline_len);
		}
		break;
	case EV_FRAME:
		print_frames(out, &ev->frame);
		break;
	case EV_STACK:
		fputs(" frames=", out);
		for (size_t i = 0; i < ev->stack.n; i++)
			fprintf(out, "%s%" PRIu32, i ? "," : "", ev->stack.frames[i]);
		break;
	default:
		break;
	}
}

void replay_print(FILE *out, const struct event *ev)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (kinds[i].kind != ev->kind)
			continue;
		fprintf(out, "%s %" PRIu64, kinds[i].name, ev->time_ns);
		for (const struct field *f = kinds[i].fields; f->key; f++)
			print_field(out, ev, f);
		print_special(out, ev);
		putc_unlocked('\n', out);
		return;
	}
}
