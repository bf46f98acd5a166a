/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler/replay/recorder.h"

#include "sampler/replay/format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct replay_recorder {
	FILE *out;
	char *path;
};

int replay_recorder_open(struct replay_recorder **out, const char *path, struct err *err)
{
	struct replay_recorder *r = calloc(1, sizeof *r);
	if (r)
		r->path = strdup(path);
	if (!r || !r->path) {
		free(r);
		return err_set(err, -ENOMEM, "record events: out of memory");
	}
	r->out = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
	if (!r->out) {
		int code = errno;
		free(r->path);
		free(r);
		return err_set(err, -code, "record events to %s: %s; choose another file", path, strerror(code));
	}
	fputs("# lockstep event stream, version 1; the format is described in docs/REPLAY.md\n", r->out);
	*out = r;
	return 0;
}

void replay_recorder_event(void *ctx, const struct event *ev)
{
	struct replay_recorder *r = ctx;
	replay_print(r->out, ev);
}

int replay_recorder_close(struct replay_recorder *r, struct err *err)
{
	if (!r)
		return 0;
	int code = 0;
	errno = 0;
	if (ferror(r->out) || fflush(r->out))
		code = errno ? errno : EIO;
	if (r->out != stdout && fclose(r->out) && !code)
		code = errno;
	if (code)
		err_set(err, -code, "record events to %s: %s; the recording is not complete", r->path, strerror(code));
	free(r->path);
	free(r);
	return -code;
}
