/* SPDX-License-Identifier: Apache-2.0
 *
 * Time by source line. In: the hot stacks of one process (or of all) and of one kind; out: a row per line that has time.
 */
#ifndef LOCKSTEP_VIEW_LINES_H
#define LOCKSTEP_VIEW_LINES_H

#include "report/view.h"

struct line_row {
	const char *file; /* the profile's; never NULL */
	uint32_t line;
	const char *function;
	/* own: the innermost line of a stack outside the kernel and the C library (where every wait has its leaf); total: the
	 * line is anywhere in the stack, counted once however often it recurs */
	uint64_t own_ns, total_ns;
};

struct line_table {
	struct line_row *rows; /* by file (most own time first, equal ones by name), then line */
	size_t n;
	uint64_t ns;	     /* all time of the stacks looked at */
	uint64_t unlined_ns; /* of it, in stacks without any source line */
};

/* group IX_NONE: all. cls: WC_NONE: on-CPU; WC_COUNT: any wait; else that class. Returns 0 or -ENOMEM. */
int view_lines(const struct view *v, uint32_t group, enum wait_class cls, struct line_table *out);
void line_table_free(struct line_table *t);

/* The group with most on-CPU time, and the group and class with most blocked time; IX_NONE when there is none. With a filter: of
 * it. */
uint32_t view_hot_process(const struct view *v);
uint32_t view_hot_wait(const struct view *v, enum wait_class *cls);

#endif
