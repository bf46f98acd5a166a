/* SPDX-License-Identifier: Apache-2.0
 *
 * A membership test in the inner loop: a linear search through a list (broken) or a look-up in a hash table (fixed). One process, no
 * waits: what is slow is one line.
 */
#include "common.h"

#include <stdlib.h>
#include <unistd.h>

#define MEMBERS 2000
#define SLOTS 8192

static uint32_t list[MEMBERS], table[SLOTS];

NOINLINE static bool in_list(uint32_t key)
{
	for (int i = 0; i < MEMBERS; i++)
		if (AT("compare", list[i]) == key)
			return true;
	return false;
}

static uint32_t slot(uint32_t key)
{
	return (key * 2654435761u) % SLOTS;
}

NOINLINE static bool in_table(uint32_t key)
{
	for (uint32_t s = slot(key); table[s]; s = (s + 1) % SLOTS)
		if (table[s] == key)
			return true;
	return false;
}

static void fill(void)
{
	for (uint32_t i = 0; i < MEMBERS; i++) {
		uint32_t key = i * 7919u + 1, s = slot(key);
		list[i] = key;
		while (table[s])
			s = (s + 1) % SLOTS;
		table[s] = key;
	}
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3};
	options_parse(&o, argc, argv, "seconds rounds fixed help", "a membership test in a list");
	fill();
	struct pacer p;
	uint64_t r = 0, hits = 0;
	for (pacer_start(&p, &o); pacer_next(&p, r); r++) {
		uint32_t key = (uint32_t)(r * 2246822519u) >> 8;
		hits += o.fixed ? in_table(key) : in_list(key);
		work_iterations(200);
	}
	struct truth *t = truth_new("membership", o.fixed ? "fixed" : "broken", o.fixed ? "none" : "hot_line");
	if (o.fixed)
		truth_tolerate(t, "hot_line"); /* the rest of the loop is hot then */
	truth_process(t, "main", getpid());
	truth_throughput(t, r, now_ns() - p.start_ns);
	truth_int(t, "hits", hits);
	truth_wait(t, "main", "", "none", "none", "compare", NULL, 0, 0);
	truth_print(t);
	return 0;
}
