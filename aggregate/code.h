/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames and stacks, interned. In: EV_FRAME and EV_STACK in any order, ids of the event stream; out: the profile's frame
 * and stack rows, each distinct content once, inlined frames expanded.
 *
 * Bounds: CODE_MAX_STACKS distinct stacks and CODE_MAX_WORDS frame references; what comes after is refused (the caller counts
 * it as lost), so a target that makes up code for ever cannot eat the memory.
 */
#ifndef LOCKSTEP_CODE_H
#define LOCKSTEP_CODE_H

#include "aggregate/intmap.h"
#include "aggregate/profile.h"

#define CODE_MAX_STACKS (1u << 17)
#define CODE_MAX_WORDS (1u << 23)

struct code {
	struct strings {
		char *bytes; /* NUL-terminated strings, one after the other; offset 0: "" */
		size_t n, capacity;
		uint32_t *index; /* open addressing: offset + 1 */
		size_t n_index, index_capacity;
	} strings;
	struct source { /* one line of source, distinct */
		uint32_t function, file, module; /* offsets into strings; file 0: unknown */
		uint32_t line;
		uint32_t language;
	} *sources;
	size_t n_sources, sources_capacity;
	uint32_t *source_index;
	size_t source_index_capacity;
	uint32_t *words; /* runs of [n, ...]: source indexes of a frame, frame ids of a stack ([n | truncated bit, ...]); before a
			  * stack's run stands the first id that had this content */
	size_t n_words, words_capacity;
	struct intmap frames, stacks; /* id -> offset into words */
	uint32_t *stack_index;	      /* distinct stacks by content: offset + 1 */
	size_t n_stack_index, stack_index_capacity;
	uint32_t n_stacks;
};

void code_fini(struct code *c);
/* Offset of the interned copy of s; 0 ("") for NULL or out of memory. */
uint32_t code_string(struct code *c, const char *s);
const char *code_text(const struct code *c, uint32_t offset);
bool code_frame(struct code *c, const struct ev_frame *f); /* false: refused */
bool code_stack(struct code *c, const struct ev_stack *s); /* false: refused */
/* Whether two stack ids stand for equal content is told by equal keys; 0 for id 0 and for ids not introduced (yet). */
uint32_t code_stack_content(const struct code *c, uint32_t stack_id);
/* The first id that was introduced with the same content; stack_id itself when it was not introduced (yet). */
uint32_t code_stack_canonical(const struct code *c, uint32_t stack_id);

/* Builds the rows of a profile. Stack 0 of the profile is the empty stack. */
struct code_export {
	const struct code *code;
	struct profile *profile;
	struct intmap by_content;  /* content key -> stack_ix */
	struct intmap by_source;   /* source index + 1 -> frame_ix */
	uint32_t *expanded;	   /* distinct expanded stacks: stack_ix + 1, open addressing */
	size_t expanded_capacity;
	size_t stacks_capacity, frames_capacity;
	bool failed; /* out of memory */
};
void code_export_begin(struct code_export *e, const struct code *c, struct profile *p);
uint32_t code_export_stack(struct code_export *e, uint32_t stack_id); /* stack_ix; 0 unknown or out of memory */
void code_export_end(struct code_export *e);

#endif
