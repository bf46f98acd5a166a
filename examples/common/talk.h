/* SPDX-License-Identifier: Apache-2.0
 *
 * A parent that sends messages to its child and waits for one acknowledgement per message (broken), or per batch with two
 * batches under way (fixed): the same conversation over every transport. A program brings the transport's four calls, each
 * a function of its own in its own file, so that its lines are what a profiler must name.
 */
#ifndef LOCKSTEP_EXAMPLES_TALK_H
#define LOCKSTEP_EXAMPLES_TALK_H

#include "common.h"

/* What the program passes around; -1 where unused. */
struct link {
	int rd, wr;	      /* of this side */
	int setup[4];	      /* descriptors made before fork */
	void *shared;	      /* memory made before fork */
	uint64_t sent, acked; /* this side's sequence numbers */
};

struct transport {
	const char *program, *help;
	const char *channel;					/* the JSON report's channel kind */
	const char *wait_class;					/* of both waits */
	bool sizes;						/* the message's size is visible to the kernel */
	void (*setup)(struct link *l, const struct options *o); /* before fork */
	void (*parent)(struct link *l);				/* after fork */
	void (*child)(struct link *l);
	/* Labels "send", "wait_ack", "wait_message", "send_ack" are these functions' call sites. */
	bool (*send)(struct link *l, const unsigned char *buf, size_t n);
	bool (*wait_ack)(struct link *l);
	bool (*wait_message)(struct link *l, unsigned char *buf, size_t n);
	bool (*send_ack)(struct link *l);
	void (*close)(struct link *l); /* the parent's end: the child's wait_message returns false */
};

int talk_main(const struct transport *t, int argc, char **argv);

#endif
