/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose frame is it: the user's, or a library's? In: a source frame's strings; out: a verdict, so that a report can point at
 * the first line of the user's own. Packages of the JDK and directories of installed Python code are libraries; everything
 * else is the user's.
 */
#include "sampler/runtime/runtime.h"

#include <string.h>

static bool python_is_library(const struct source_frame *f)
{
	static const char *const dirs[] = {"/site-packages/", "/dist-packages/", "/lib/python2.", "/lib/python3.",
					   "/lib64/python3."};

	if (!f->file)
		return true; /* an unresolved frame is no one's line */
	if (strncmp(f->file, "<frozen ", 8) == 0)
		return true;
	for (unsigned i = 0; i < sizeof dirs / sizeof dirs[0]; i++)
		if (strstr(f->file, dirs[i]))
			return true;
	return false;
}

static bool java_is_library(const struct source_frame *f)
{
	static const char *const packages[] = {"java.",	  "javax.",   "jdk.",	"sun.", "com.sun.",
					       "kotlin.", "kotlinx.", "scala.", "["};

	for (unsigned i = 0; i < sizeof packages / sizeof packages[0]; i++)
		if (strncmp(f->function, packages[i], strlen(packages[i])) == 0)
			return true;
	return false;
}

bool runtime_frame_is_library(const struct source_frame *f)
{
	switch (f->language) {
	case LANG_PYTHON:
		return python_is_library(f);
	case LANG_JAVA:
		return java_is_library(f);
	case LANG_GO:
	case LANG_JS:
		return false;
	default:
		return true;
	}
}
