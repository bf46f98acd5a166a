/* SPDX-License-Identifier: Apache-2.0
 *
 * Phrases that the text, Markdown and HTML reports share: one wording, one figure. All write raw bytes (the caller neutralises
 * them).
 */
#ifndef LOCKSTEP_REPORT_TEXT_H
#define LOCKSTEP_REPORT_TEXT_H

#include "report/frames.h"
#include "report/textout.h"
#include "report/view.h"
#include "sampler/err.h"

void text_target(const struct profile *p, char *dst, size_t size);	 /* the command line, or "attached to pid 12, 13" */
void text_run_facts(const struct view *v, char *dst, size_t size);	 /* "10.0 s, 2 CPUs, 2 processes, ..." */
bool text_losses(const struct view *v, char *dst, size_t size);		 /* false: nothing was lost */
bool text_windows(const struct view *v, char *dst, size_t size);	 /* false: the analysed windows cover the run */
bool text_estimates(const struct view *v, char *dst, size_t size);	 /* false: nothing is estimated */
void text_finding_tags(const struct finding *f, char *dst, size_t size); /* "[lockstep, chatty_hub; medium confidence]" */
void text_waiting_for(const struct view *v, const struct view_group *g, bool brief, char *dst,
		      size_t size); /* "pipe_read: pong 12"; brief: "pong 12" */
void text_end_name(const struct view *v, const struct view_edge *e, bool waker, char *dst, size_t size);
void text_channel_name(const struct view_edge *e, char *dst, size_t size);
void text_frame(const struct profile *p, const struct frame_line *l, char *fn, size_t fn_size, char *where, size_t where_size);

/* Name and pid in a cell of exactly `columns`: the name is cut, never the pid. No pid for groups of several. */
void text_group_cell(const struct textout *t, const struct view *v, uint32_t group, unsigned columns, bool last);

/* The sections of the text report; `top` bounds their rows. */
void text_processes(const struct textout *t, const struct view *v, unsigned top);
void text_edges(const struct textout *t, const struct view *v, unsigned top);
/* Hot stacks; `top` bounds the processes. */
void text_stacks(const struct textout *t, const struct view *v, unsigned top);

/* The stream's error as the report's: flushes; 0 or -errno with a sentence. */
int report_finish(FILE *out, struct err *err);

#endif
