/* SPDX-License-Identifier: Apache-2.0
 *
 * The data of the HTML page, "lockstep-page/1": a JSON object that web/src/model.js reads. In: a view (and the profile it is
 * compared with, if any); out: JSON that may stand inside a <script> element: '<' never appears in it.
 *
 *   strings   every text, neutralised; other parts refer to it by number
 *   frames    [function, file, line, module, language + 16 if of the C library] of each frame in use, flattened
 *   nodes     the stacks as one tree, outermost frame first: parent and frame of each node; node 0 is the root, without a frame.
 * Parents
 *             stand before their children.
 *   groups, channels, edges, sites, waits, hot, findings, timeline, critical, trace, sources: see page_*.c beside each writer
 */
#ifndef LOCKSTEP_PAGE_H
#define LOCKSTEP_PAGE_H

#include "report/report.h"
#include "report/strtab.h"
#include "report/view.h"

struct page_node {
	uint32_t parent, frame; /* frame: of page.frame_list */
};

struct page {
	const struct view *v;
	const struct view *base; /* what it is compared with; NULL: nothing */
	bool no_source;
	FILE *out;
	struct strtab strings;
	bool failed; /* out of memory at some time */
	/* frames in use, of v's profile and then of base's, interned by what they say */
	struct page_frame {
		uint32_t function, file, line, module;
		enum frame_language language;
		bool libc;
	} * frames;
	size_t n_frames, cap_frames;
	uint32_t *frame_slots; /* open addressing over frames */
	size_t n_frame_slots;
	uint32_t *frame_of[2]; /* profile frame -> page frame, of v and base; IX_NONE: not yet */
	/* the tree */
	struct page_node *nodes;
	size_t n_nodes, cap_nodes;
	uint32_t *node_slots;
	size_t n_node_slots;
	uint32_t *node_of[2]; /* stack -> node, of v and base; IX_NONE: not yet */
};

int page_init(struct page *x, const struct view *v, const struct view *base, bool no_source, FILE *out);
void page_fini(struct page *x);

/* The node of a stack (0 for the empty one); which: 0 of the profile, 1 of the base. */
uint32_t page_stack(struct page *x, unsigned which, uint32_t stack_ix);
/* A text's number. */
uint32_t page_string(struct page *x, const char *raw);
/* A JSON string literal that is harmless inside <script>. */
void page_put_string(struct page *x, const char *harmless);

/* Writes the whole object. Returns 0 or -ENOMEM; the stream's errors are the caller's to check. */
int page_write(struct page *x);

/* Parts: each writes `"name":value` without a separator. */
void page_put_meta(struct page *x);
void page_put_groups(struct page *x);
void page_put_channels(struct page *x);
void page_put_edges(struct page *x);
void page_put_sites(struct page *x);
void page_put_waits(struct page *x);
void page_put_hot(struct page *x);
void page_put_findings(struct page *x);
void page_put_timeline(struct page *x);
void page_put_critical(struct page *x);
void page_put_trace(struct page *x);
void page_put_sources(struct page *x);

#endif
