/* SPDX-License-Identifier: Apache-2.0
 *
 * A library for test_symbols.c: tells addresses in itself and the lines on which they lie.
 */
#include <stdio.h>
#include <stdlib.h>

#define ALWAYS static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline, noclone))

int inner_line, middle_line, outer_line, plain_line, static_line;
int some_data = 1234;

#if defined(__x86_64__)
#define HERE(p) __asm__ volatile("1: lea 1b(%%rip), %0" : "=r"(p))
#else
#define HERE(p) __asm__ volatile("adr %0, ." : "=r"(p))
#endif

ALWAYS void *inner(void)
{
	void *p;
	inner_line = __LINE__ + 1;
	HERE(p);
	return p;
}

ALWAYS void *middle(void)
{
	middle_line = __LINE__ + 1;
	return inner();
}

NOINLINE void *outer(void)
{
	outer_line = __LINE__ + 1;
	return middle();
}

NOINLINE void *plain(void)
{
	void *p;
	plain_line = __LINE__ + 1;
	HERE(p);
	if (some_data == 0)
		puts(""); /* through the PLT */
	return p;
}

NOINLINE static void *not_exported(void)
{
	void *p;
	static_line = __LINE__ + 1;
	HERE(p);
	return p;
}

void *call_not_exported(void)
{
	char *p = not_exported();
	return p + (abs(static_line) == 0);
}

__attribute__((cold, noinline, noclone)) void complain(const char *what, int n)
{
	some_data += n + what[0];
}

/* Its unlikely branch is moved away, into "with_cold_part.cold". */
NOINLINE int with_cold_part(int n, int *v)
{
	int sum = abs(n);
	for (int i = 0; i < n; i++) {
		if (v[i] < 0) {
			complain("negative", i);
			complain("value", v[i]);
			puts("given up");
			abort();
		}
		sum += v[i] + abs(sum);
	}
	return sum + some_data;
}
