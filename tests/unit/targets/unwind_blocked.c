/* SPDX-License-Identifier: Apache-2.0
 *
 * A target of test_unwind.c: blocks in read under main -> target_outer -> (something) -> target_inner -> target_leaf. The
 * argument says what: "none"; "dynamic", a function with a frame of variable size; generated code with or without
 * "(no-)frame-pointer". It closes descriptor 9 when it is about to block.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))

volatile int sink;
void (*between)(void (*call)(void));
int blocked_on;

NOINLINE void target_leaf(void)
{
	char c;
	sink += (int)read(blocked_on, &c, 1);
}

NOINLINE void target_inner(void)
{
	volatile long room[9];
	room[sink] = 1;
	target_leaf();
	sink += room[sink];
}

NOINLINE void target_dynamic(void (*call)(void))
{
	char room[sink + 99]; /* CFA from the frame pointer */
	room[sink] = 1;
	call();
	sink += room[sink];
}

NOINLINE void target_outer(void)
{
	if (between)
		between(target_inner);
	else
		target_inner();
	sink++;
}

/* push %rbp; mov %rsp, %rbp; call *%rdi; pop %rbp; ret */
static const unsigned char with_frame_pointer[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
/* push %rbp; xor %ebp, %ebp; sub $32, %rsp; call *%rdi; add $32, %rsp; pop %rbp; ret: only its author can unwind it */
static const unsigned char without_frame_pointer[] = {0x55, 0x31, 0xed, 0x48, 0x83, 0xec, 0x20, 0xff,
						      0xd7, 0x48, 0x83, 0xc4, 0x20, 0x5d, 0xc3};

static void generate(const unsigned char *code, size_t len)
{
	void *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(page, code, len);
	mprotect(page, 4096, PROT_READ | PROT_EXEC);
	between = (void (*)(void (*)(void)))page;
}

int main(int argc, char **argv)
{
	int fds[2];
	if (pipe(fds) != 0)
		return 1;
	blocked_on = fds[0];
	if (argc > 1 && strcmp(argv[1], "dynamic") == 0)
		between = target_dynamic;
	if (argc > 1 && strcmp(argv[1], "frame-pointer") == 0)
		generate(with_frame_pointer, sizeof with_frame_pointer);
	if (argc > 1 && strcmp(argv[1], "no-frame-pointer") == 0)
		generate(without_frame_pointer, sizeof without_frame_pointer);
	close(9);
	target_outer();
	return sink;
}
