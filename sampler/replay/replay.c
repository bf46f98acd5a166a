/* SPDX-License-Identifier: Apache-2.0
 *
 * The replay backend. In: a file of the replay format, which may be anything; out: its events.
 */
#include "sampler/replay/replay.h"

#include "sampler/replay/format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 4096 /* events per drain: so that a caller sees its signals in between */

struct replay {
	struct backend base;
	FILE *in;
	char *path, *line;
	struct replay_scratch scratch;
	uint64_t line_number, latest_ns;
	bool over;  /* the file is read, or an "end" was met, or a line made no sense */
	bool ended; /* EV_END was handed out */
};

static void replay_probe(struct backend_probe *out)
{
	*out = (struct backend_probe){.usable = true, .costs = "replayed from a recording: nothing was observed now"};
}

static void replay_close(struct backend *b)
{
	struct replay *r = (struct replay *)b;
	if (!r)
		return;
	if (r->in && r->in != stdin)
		fclose(r->in);
	replay_scratch_fini(&r->scratch);
	free(r->path);
	free(r->line);
	free(r);
}

static int replay_open(struct backend **out, const struct backend_options *opt, struct err *err)
{
	if (!opt->replay_path)
		return err_set(err, -EINVAL, "replay: no file; give the recording to replay");
	struct replay *r = calloc(1, sizeof *r);
	if (r) {
		r->path = strdup(opt->replay_path);
		r->line = malloc(REPLAY_MAX_LINE + 2);
	}
	if (!r || !r->path || !r->line) {
		replay_close((struct backend *)r);
		return err_set(err, -ENOMEM, "replay: out of memory");
	}
	r->base.ops = &backend_replay;
	r->in = strcmp(r->path, "-") == 0 ? stdin : fopen(r->path, "re");
	if (!r->in) {
		int code = errno;
		replay_close(&r->base);
		return err_set(err, -code, "replay %s: %s; give a file written by --record-events", opt->replay_path,
			       strerror(code));
	}
	*out = &r->base;
	return 0;
}

/* Reads one line into r->line. 1: read; 0: end of the file; -errno. A NUL byte would hide the rest of its line: an error. */
static int read_line(struct replay *r, struct err *err)
{
	size_t n = 0;
	int c;
	while ((c = getc_unlocked(r->in)) != EOF && c != '\n') {
		if (n >= REPLAY_MAX_LINE)
			return err_set(err, -EINVAL, "%s:%llu: the line is too long; is it a recording?", r->path,
				       (unsigned long long)r->line_number + 1);
		if (!c)
			return err_set(err, -EINVAL, "%s:%llu: a NUL byte; is it a recording?", r->path,
				       (unsigned long long)r->line_number + 1);
		r->line[n++] = (char)c;
	}
	r->line[n] = '\0';
	if (ferror(r->in))
		return err_set(err, -EIO, "replay %s: cannot read: %s", r->path, strerror(errno));
	if (c == EOF && !n)
		return 0;
	r->line_number++;
	return 1;
}

static void note_time(struct replay *r, const struct event *ev)
{
	uint64_t t = ev->time_ns;
	if (ev->kind == EV_WAIT && ev->wait.t_run > t && !ev->wait.lost)
		t = ev->wait.t_run;
	if (t > r->latest_ns)
		r->latest_ns = t;
}

/* Hands out the next event. 1: done; 0: nothing more; -errno. */
static int next(struct replay *r, event_fn fn, void *ctx, struct err *err)
{
	struct event ev;
	struct err why = {""};
	for (;;) {
		int rc = read_line(r, err);
		if (rc <= 0)
			return rc;
		rc = replay_parse(r->line, &ev, &r->scratch, &why);
		if (rc < 0)
			return err_set(err, rc, "%s:%llu: %s", r->path, (unsigned long long)r->line_number, why.msg);
		if (rc)
			break;
	}
	note_time(r, &ev);
	if (ev.kind == EV_END)
		r->ended = r->over = true;
	fn(ctx, &ev);
	return 1;
}

static int replay_drain(struct backend *b, event_fn fn, void *ctx, struct err *err)
{
	struct replay *r = (struct replay *)b;
	int n = 0;
	while (!r->over && n < CHUNK) {
		int rc = next(r, fn, ctx, err);
		if (rc <= 0)
			r->over = true;
		if (rc < 0)
			return rc;
		n += rc;
	}
	return n;
}

static int replay_poll_ms(const struct backend *b)
{
	(void)b;
	return 0;
}

static bool replay_alive(struct backend *b)
{
	return !((struct replay *)b)->over;
}

static int replay_finish(struct backend *b, event_fn fn, void *ctx, struct err *err)
{
	struct replay *r = (struct replay *)b;
	(void)err;
	if (!r->ended) {
		const struct event end = {.kind = EV_END, .time_ns = r->latest_ns};
		r->ended = r->over = true;
		fn(ctx, &end);
	}
	return 0;
}

const struct backend_ops backend_replay = {
	.name = "replay",
	.probe = replay_probe,
	.open = replay_open,
	.poll_ms = replay_poll_ms,
	.drain = replay_drain,
	.alive = replay_alive,
	.finish = replay_finish,
	.close = replay_close,
};
