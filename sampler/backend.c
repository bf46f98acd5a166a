/* SPDX-License-Identifier: Apache-2.0
 *
 * The one list of backends, best first, and how one is chosen.
 */
#include "sampler/backend.h"

#include "sampler/replay/replay.h"

#include <errno.h>
#include <string.h>

extern const struct backend_ops backend_kernel;
extern const struct backend_ops backend_user;

const struct backend_ops *const backend_table[] = {&backend_kernel, &backend_user, &backend_replay, NULL};

/* A replay is asked for by name only: it observes nothing. */
static bool observes(const struct backend_ops *ops)
{
	return ops != &backend_replay;
}

static int choose_best(const struct backend_ops **out, struct backend_probe *probe, struct err *err)
{
	char why[sizeof err->msg] = "";
	for (const struct backend_ops *const *b = backend_table; *b; b++) {
		if (!observes(*b))
			continue;
		(*b)->probe(probe);
		if (probe->usable) {
			*out = *b;
			return 0;
		}
		size_t n = strlen(why);
		err_set(err, 0, "%s%sbackend %s: %s", why, n ? "; " : "", (*b)->name, probe->why);
		if (err)
			memcpy(why, err->msg, sizeof why);
	}
	return err_set(err, -EPERM, "cannot observe: %s", why);
}

static int unknown_name(const char *name, struct err *err)
{
	char names[128] = "auto";
	for (const struct backend_ops *const *b = backend_table; *b; b++) {
		strncat(names, ", ", sizeof names - strlen(names) - 1);
		strncat(names, (*b)->name, sizeof names - strlen(names) - 1);
	}
	return err_set(err, -EINVAL, "backend %s: there is none of that name; use one of %s", name, names);
}

int backend_choose(const char *name, const struct backend_ops **out, struct backend_probe *probe, struct err *err)
{
	*probe = (struct backend_probe){0};
	if (!name || strcmp(name, "auto") == 0)
		return choose_best(out, probe, err);
	for (const struct backend_ops *const *b = backend_table; *b; b++) {
		if (strcmp((*b)->name, name) != 0)
			continue;
		(*b)->probe(probe);
		if (!probe->usable)
			return err_set(err, -EPERM, "backend %s: %s", name, probe->why);
		*out = *b;
		return 0;
	}
	return unknown_name(name, err);
}
