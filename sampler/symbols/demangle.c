/* SPDX-License-Identifier: Apache-2.0
 *
 * In: a symbol as the linker knows it. Out: the name that a programmer wrote. libiberty does the languages.
 */
#include "sampler/symbols/demangle.h"

#include <libiberty/demangle.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Longer names are shown raw: demanglers expand substitutions, and a hostile name of that size could grow without bound. */
#define MAX_MANGLED 16384

static bool is_variant(const char *dot)
{
	static const char *const suffixes[] = {".cold", ".part.", ".isra.", ".constprop.", ".lto_priv.", ".llvm.", ".localalias"};
	for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
		if (strncmp(dot, suffixes[i], strlen(suffixes[i])) == 0)
			return true;
	return false;
}

static char *without_variant(const char *raw)
{
	for (const char *dot = strchr(raw, '.'); dot; dot = strchr(dot + 1, '.'))
		if (dot != raw && is_variant(dot))
			return strndup(raw, (size_t)(dot - raw));
	return strdup(raw);
}

char *demangle_symbol(const char *raw)
{
	char *name = without_variant(raw), *plain = NULL;
	if (!name || strlen(name) > MAX_MANGLED)
		return name;
	bool cxx = strncmp(name, "_Z", 2) == 0, rust = strncmp(name, "_R", 2) == 0;
	if (cxx || rust)
		plain = rust_demangle(name, DMGL_NO_OPTS);
	if (cxx && !plain)
		plain = cplus_demangle_v3(name, DMGL_NO_OPTS);
	if (!plain)
		return name;
	free(name);
	return plain;
}
