/* SPDX-License-Identifier: Apache-2.0
 *
 * libunwind as the oracle, and as a competitor in bench/unwind.c. In: a live process (stopped), its registers, a snapshot
 * of its stack. Out: the stack as libunwind's remote interface sees it. It shares nothing with the engine: mappings,
 * program headers and tables are read anew, from the process's memory.
 */
#ifndef LOCKSTEP_TEST_UNWIND_ORACLE_H
#define LOCKSTEP_TEST_UNWIND_ORACLE_H

#include "sampler/unwind/unwind.h"

#include <elf.h>
#include <errno.h>
#include <libunwind.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

extern int UNW_OBJ(dwarf_search_unwind_table)(unw_addr_space_t as, unw_word_t ip, unw_dyn_info_t *di, unw_proc_info_t *pi,
					      int need_unwind_info, void *arg);

struct oracle_table { /* one executable mapping */
	uint64_t start, end;
	uint64_t hdr, table, count; /* .eh_frame_hdr in memory; count 0: none */
};

struct oracle_range {
	uint64_t start, end;
};
struct oracle_page {
	uint64_t addr;
	uint8_t bytes[4096];
};
#define ORACLE_PAGES 256

struct oracle {
	pid_t pid;
	/* Read-only mappings: pages of them may be kept, which libunwind's word-wise reads need. */
	struct oracle_range constant[1024];
	size_t n_constant;
	struct oracle_page pages[ORACLE_PAGES];
	unw_addr_space_t space;
	struct oracle_table tables[256];
	size_t n_tables;
	struct unwind_regs regs;
	struct unwind_memory mem;
};

static inline bool oracle_memory(struct oracle *o, uint64_t addr, void *buf, size_t len)
{
	struct iovec to = {buf, len}, from = {(void *)(uintptr_t)addr, len};
	return process_vm_readv(o->pid, &to, 1, &from, 1, 0) == (ssize_t)len;
}

static inline void oracle_read_table(struct oracle *o, struct oracle_table *t, uint64_t base)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph;
	uint8_t head[12];
	uint64_t bias = 0;
	uint32_t count;
	if (!oracle_memory(o, base, &eh, sizeof eh) || memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0)
		return;
	for (int pass = 0; pass < 2; pass++) /* the first PT_LOAD tells the bias */
		for (size_t i = 0; i < eh.e_phnum; i++) {
			if (!oracle_memory(o, base + eh.e_phoff + i * sizeof ph, &ph, sizeof ph))
				return;
			if (pass == 0 && ph.p_type == PT_LOAD && ph.p_offset == 0)
				bias = base - ph.p_vaddr;
			if (pass == 1 && ph.p_type == PT_GNU_EH_FRAME)
				t->hdr = ph.p_vaddr + bias;
		}
	if (!t->hdr || !oracle_memory(o, t->hdr, head, sizeof head) || head[2] != 0x03 || head[3] != 0x3b)
		return;
	memcpy(&count, head + 8, 4);
	t->count = count;
	t->table = t->hdr + 12;
}

static inline void oracle_read_maps(struct oracle *o)
{
	char path[64], line[4400], last[4400] = "";
	uint64_t base = 0;
	snprintf(path, sizeof path, "/proc/%d/maps", (int)o->pid);
	FILE *f = fopen(path, "r");
	o->n_tables = o->n_constant = 0;
	memset(o->pages, 0, sizeof o->pages);
	while (f && fgets(line, sizeof line, f) && o->n_tables < 256) {
		unsigned long start, end, offset, inode;
		char perms[8], name[4300] = "";
		sscanf(line, "%lx-%lx %7s %lx %*s %lu %4299[^\n]", &start, &end, perms, &offset, &inode, name);
		if (offset == 0 && (inode != 0 || strcmp(name, "[vdso]") == 0) && strcmp(name, last) != 0) {
			base = start;
			snprintf(last, sizeof last, "%s", name);
		}
		if (perms[1] != 'w' && inode != 0 && o->n_constant < 1024)
			o->constant[o->n_constant++] = (struct oracle_range){start, end};
		if (perms[2] != 'x' || (inode == 0 && strcmp(name, "[vdso]") != 0))
			continue;
		struct oracle_table *t = &o->tables[o->n_tables++];
		*t = (struct oracle_table){.start = start, .end = end};
		if (base)
			oracle_read_table(o, t, base);
	}
	if (f)
		fclose(f);
}

static inline int oracle_find_proc_info(unw_addr_space_t as, unw_word_t ip, unw_proc_info_t *pi, int need, void *arg)
{
	struct oracle *o = arg;
	for (size_t i = 0; i < o->n_tables; i++) {
		const struct oracle_table *t = &o->tables[i];
		if (ip < t->start || ip >= t->end || t->count == 0)
			continue;
		unw_dyn_info_t di = {.format = UNW_INFO_FORMAT_REMOTE_TABLE, .start_ip = t->start, .end_ip = t->end};
		di.u.rti.segbase = t->hdr;
		di.u.rti.table_data = t->table;
		di.u.rti.table_len = t->count * 8 / sizeof(unw_word_t);
		return UNW_OBJ(dwarf_search_unwind_table)(as, ip, &di, pi, need, arg);
	}
	return -UNW_ENOINFO;
}

static inline void oracle_put_unwind_info(unw_addr_space_t as, unw_proc_info_t *pi, void *arg)
{
	(void)as;
	(void)pi;
	(void)arg;
}

static inline int oracle_dyn_list(unw_addr_space_t as, unw_word_t *list, void *arg)
{
	(void)as;
	(void)list;
	(void)arg;
	return -UNW_ENOINFO;
}

static inline bool oracle_constant(struct oracle *o, uint64_t addr, uint64_t *value)
{
	uint64_t base = addr & ~4095ull;
	struct oracle_page *page = &o->pages[base / 4096 % ORACLE_PAGES];
	if (addr - base > 4088)
		return false;
	if (page->addr != base) {
		size_t i = 0;
		while (i < o->n_constant && (addr < o->constant[i].start || addr >= o->constant[i].end))
			i++;
		page->addr = 0;
		if (i == o->n_constant || !oracle_memory(o, base, page->bytes, sizeof page->bytes))
			return false;
		page->addr = base;
	}
	memcpy(value, page->bytes + (addr - base), 8);
	return true;
}

static inline int oracle_access_mem(unw_addr_space_t as, unw_word_t addr, unw_word_t *value, int write, void *arg)
{
	struct oracle *o = arg;
	uint64_t off = addr - o->mem.stack_addr;
	(void)as;
	if (write)
		return -UNW_EINVAL;
	if (o->mem.stack_len >= 8 && off <= o->mem.stack_len - 8) {
		memcpy(value, o->mem.stack + off, 8);
		return 0;
	}
	if (oracle_constant(o, addr, value))
		return 0;
	return oracle_memory(o, addr, value, 8) ? 0 : -UNW_EINVAL;
}

static inline int oracle_access_reg(unw_addr_space_t as, unw_regnum_t reg, unw_word_t *value, int write, void *arg)
{
	const struct oracle *o = arg;
	(void)as;
	if (write || reg < 0 || reg > 32 || !(o->regs.valid >> reg & 1))
		return -UNW_EBADREG;
	*value = o->regs.r[reg];
	return 0;
}

static inline int oracle_access_fpreg(unw_addr_space_t as, unw_regnum_t reg, unw_fpreg_t *value, int write, void *arg)
{
	(void)as;
	(void)reg;
	(void)value;
	(void)write;
	(void)arg;
	return -UNW_EBADREG;
}

static inline int oracle_resume(unw_addr_space_t as, unw_cursor_t *c, void *arg)
{
	(void)as;
	(void)c;
	(void)arg;
	return -UNW_EINVAL;
}

static inline int oracle_proc_name(unw_addr_space_t as, unw_word_t a, char *buf, size_t len, unw_word_t *off, void *arg)
{
	(void)as;
	(void)a;
	(void)buf;
	(void)len;
	(void)off;
	(void)arg;
	return -UNW_ENOINFO;
}

static inline void oracle_init(struct oracle *o, pid_t pid)
{
	static unw_accessors_t accessors = {.find_proc_info = oracle_find_proc_info,
					    .put_unwind_info = oracle_put_unwind_info,
					    .get_dyn_info_list_addr = oracle_dyn_list,
					    .access_mem = oracle_access_mem,
					    .access_reg = oracle_access_reg,
					    .access_fpreg = oracle_access_fpreg,
					    .resume = oracle_resume,
					    .get_proc_name = oracle_proc_name};
	memset(o, 0, sizeof *o);
	o->pid = pid;
	o->space = unw_create_addr_space(&accessors, 0);
	unw_set_caching_policy(o->space, UNW_CACHE_GLOBAL);
	oracle_read_maps(o);
}

static inline void oracle_fini(struct oracle *o)
{
	unw_destroy_addr_space(o->space);
}

/* Return addresses, leaf first. */
static inline size_t oracle_stack(struct oracle *o, uint64_t *pcs, size_t max)
{
	unw_cursor_t cursor;
	size_t n = 0;
	if (unw_init_remote(&cursor, o->space, o) != 0)
		return 0;
	do {
		unw_word_t ip = 0;
		unw_get_reg(&cursor, UNW_REG_IP, &ip);
		if (ip == 0)
			break;
		pcs[n++] = ip;
	} while (n < max && unw_step(&cursor) > 0);
	return n;
}

/* ---- a stopped process ---- */

#if defined(__x86_64__)
static inline bool oracle_get_regs(pid_t tid, struct unwind_regs *out)
{
	struct user_regs_struct u;
	if (ptrace(PTRACE_GETREGS, tid, NULL, &u) != 0)
		return false;
	const uint64_t r[17] = {u.rax, u.rdx, u.rcx, u.rbx, u.rsi, u.rdi, u.rbp, u.rsp, u.r8,
				u.r9,  u.r10, u.r11, u.r12, u.r13, u.r14, u.r15, u.rip};
	memcpy(out->r, r, sizeof r);
	out->valid = (1u << 17) - 1;
	return true;
}
#else
static inline bool oracle_get_regs(pid_t tid, struct unwind_regs *out)
{
	struct user_regs_struct u;
	struct iovec iov = {&u, sizeof u};
	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov) != 0)
		return false;
	memcpy(out->r, &u, 33 * 8); /* x0..x30, sp, pc */
	out->valid = (1ull << 33) - 1;
	return true;
}
#endif

/* Attaches without a signal, stops, reads registers and the stack from sp to the end of its mapping (at most cap bytes).
 * The process stays stopped until oracle_release. */
static inline bool oracle_capture(pid_t tid, struct unwind_regs *regs, uint8_t *stack, size_t cap, struct unwind_memory *mem)
{
	int status;
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0 || ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) != 0 ||
	    waitpid(tid, &status, __WALL) != tid || !oracle_get_regs(tid, regs))
		return false;
#if defined(__x86_64__)
	uint64_t sp = regs->r[7];
#else
	uint64_t sp = regs->r[31];
#endif
	size_t len = 0;
	while (len < cap) { /* page by page: what lies beyond the stack is not there */
		size_t n = 4096 - (sp + len) % 4096;
		struct iovec to = {stack + len, n < cap - len ? n : cap - len},
			     from = {(void *)(uintptr_t)(sp + len), to.iov_len};
		if (process_vm_readv(tid, &to, 1, &from, 1, 0) != (ssize_t)to.iov_len)
			break;
		len += to.iov_len;
	}
	*mem = (struct unwind_memory){stack, sp, len, 0};
	return len > 0;
}

static inline void oracle_release(pid_t tid)
{
	ptrace(PTRACE_DETACH, tid, NULL, NULL);
}

/* ---- targets compiled at test time, so that they are the same in all build types ---- */

#ifdef SOURCE_DIR
/* Compiles tests/unit/targets/<source>; program receives the path of the result. False without a working compiler. */
static inline bool target_build(const char *compiler, const char *flags, const char *source, char program[64])
{
	char dir[] = "/tmp/lockstep-unwind-XXXXXX", command[1024];
	if (!mkdtemp(dir))
		return false;
	snprintf(program, 64, "%s/target", dir);
	snprintf(command, sizeof command, "%s -w %s -o %s %s/tests/unit/targets/%s 2>/dev/null", compiler, flags, program,
		 SOURCE_DIR, source);
	if (system(command) == 0)
		return true;
	rmdir(dir);
	return false;
}

static inline void target_remove(const char *program)
{
	char dir[64];
	unlink(program);
	snprintf(dir, sizeof dir, "%s", program);
	*strrchr(dir, '/') = 0;
	rmdir(dir);
}
#endif

#endif
