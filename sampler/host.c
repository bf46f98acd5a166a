/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static bool read_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(buf, (int)size, f);
	if (f)
		fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = 0;
	return ok;
}

static bool status_field(const char *name, char *out, size_t size)
{
	char line[256];
	bool found = false;
	FILE *f = fopen("/proc/self/status", "re");
	while (f && !found && fgets(line, sizeof line, f)) {
		size_t n = strlen(name);
		if (strncmp(line, name, n) != 0 || line[n] != ':')
			continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(out, size, "%s", line + n + 1 + strspn(line + n + 1, " \t"));
		found = true;
	}
	if (f)
		fclose(f);
	return found;
}

static void kernel_fact(struct host_fact *f)
{
	struct utsname u;
	int major = 0, minor = 0;
	f->name = "kernel";
	if (uname(&u) < 0)
		return;
	snprintf(f->value, sizeof f->value, "%.60s %.40s", u.release, u.machine);
	if (sscanf(u.release, "%d.%d", &major, &minor) == 2 && (major < 5 || (major == 5 && minor < 15))) {
		f->verdict = HOST_MISSING;
		snprintf(f->advice, sizeof f->advice, "the kernel backend needs 5.15 or newer");
	} else if (major == 5 && minor < 17) {
		f->verdict = HOST_LESS;
		snprintf(f->advice, sizeof f->advice, "5.17 or newer shows Python frames of short waits (bpf_loop)");
	}
}

static void btf_fact(struct host_fact *f)
{
	f->name = "BTF";
	if (access("/sys/kernel/btf/vmlinux", R_OK) == 0) {
		snprintf(f->value, sizeof f->value, "/sys/kernel/btf/vmlinux");
		return;
	}
	f->verdict = HOST_MISSING;
	snprintf(f->value, sizeof f->value, "%s", strerror(errno));
	snprintf(f->advice, sizeof f->advice, "the kernel backend needs a kernel with CONFIG_DEBUG_INFO_BTF; in a container mount /sys read-only");
}

static void caps_fact(struct host_fact *f)
{
	char hex[32] = "0";
	status_field("CapEff", hex, sizeof hex);
	unsigned long long c = strtoull(hex, NULL, 16);
	bool admin = c >> 21 & 1, bpf = c >> 39 & 1, perfmon = c >> 38 & 1, ptrace = c >> 19 & 1;
	f->name = "capabilities";
	snprintf(f->value, sizeof f->value, "%s%s%s%s%s", admin ? "SYS_ADMIN " : "", bpf ? "BPF " : "", perfmon ? "PERFMON " : "",
		 ptrace ? "SYS_PTRACE " : "", c ? "" : "none");
	if (admin || (bpf && perfmon)) {
		if (!ptrace) {
			f->verdict = HOST_LESS;
			snprintf(f->advice, sizeof f->advice, "CAP_SYS_PTRACE is needed for processes of other users");
		}
		return;
	}
	f->verdict = HOST_LESS;
	snprintf(f->advice, sizeof f->advice,
		 "exact waits need root or CAP_BPF+CAP_PERFMON: sudo lockstep ..., or docker run --cap-add BPF --cap-add PERFMON "
		 "--cap-add SYS_PTRACE --security-opt seccomp=unconfined --pid host");
}

static void bpf_fact(struct host_fact *f)
{
	union bpf_attr attr;
	memset(&attr, 0, sizeof attr);
	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = 4;
	attr.value_size = 8;
	attr.max_entries = 1;
	int fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr);
	f->name = "bpf()";
	if (fd >= 0) {
		close(fd);
		snprintf(f->value, sizeof f->value, "allowed");
		return;
	}
	f->verdict = HOST_LESS;
	snprintf(f->value, sizeof f->value, "%s", strerror(errno));
	snprintf(f->advice, sizeof f->advice, "a lack of capabilities, or a seccomp filter (Docker's default one): --security-opt seccomp=unconfined");
}

static void perf_fact(struct host_fact *f)
{
	char level[32] = "?";
	struct perf_event_attr attr = {.size = sizeof attr,
				       .type = PERF_TYPE_SOFTWARE,
				       .config = PERF_COUNT_SW_TASK_CLOCK,
				       .sample_period = 10000000,
				       .exclude_kernel = 1,
				       .exclude_hv = 1};
	read_line("/proc/sys/kernel/perf_event_paranoid", level, sizeof level);
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	int e = errno;
	f->name = "perf_event";
	snprintf(f->value, sizeof f->value, "paranoid %.16s, %s", level, fd >= 0 ? "allowed" : strerror(e));
	if (fd >= 0) {
		close(fd);
		return;
	}
	f->verdict = HOST_LESS;
	snprintf(f->advice, sizeof f->advice,
		 "no stacks of running code: sysctl kernel.perf_event_paranoid=2, and in a container --security-opt seccomp=unconfined");
}

static void yama_fact(struct host_fact *f)
{
	char scope[16];
	f->name = "ptrace_scope";
	if (!read_line("/proc/sys/kernel/yama/ptrace_scope", scope, sizeof scope)) {
		snprintf(f->value, sizeof f->value, "no yama");
		return;
	}
	snprintf(f->value, sizeof f->value, "%.8s", scope);
	if (atoi(scope) == 0 || geteuid() == 0)
		return;
	f->verdict = HOST_LESS;
	snprintf(f->advice, sizeof f->advice,
		 "only lockstep's own children (lockstep run -- CMD) can be read, -p cannot: sysctl kernel.yama.ptrace_scope=0, or sudo");
}

static void seccomp_fact(struct host_fact *f)
{
	char mode[16] = "?";
	status_field("Seccomp", mode, sizeof mode);
	f->name = "seccomp";
	snprintf(f->value, sizeof f->value, "%s", mode[0] == '0' ? "no filter" : mode[0] == '2' ? "filtered" : mode);
	if (mode[0] == '2') {
		f->verdict = HOST_LESS;
		snprintf(f->advice, sizeof f->advice, "what the filter refuses is shown by bpf() and perf_event above");
	}
}

static void namespace_fact(struct host_fact *f)
{
	char own[64], init[64];
	ssize_t n = readlink("/proc/self/ns/pid", own, sizeof own), m = readlink("/proc/1/ns/pid", init, sizeof init);
	char nspid[64] = "";
	status_field("NSpid", nspid, sizeof nspid);
	bool nested = strchr(nspid, '\t') || (n > 0 && m > 0 && (n != m || memcmp(own, init, n) != 0));
	f->name = "PID namespace";
	snprintf(f->value, sizeof f->value, "%s", nested ? "nested" : "this one's init is PID 1");
	if (nested) {
		f->verdict = HOST_LESS;
		snprintf(f->advice, sizeof f->advice, "the kernel backend counts PIDs of the host: run with --pid host, or use --backend user");
	}
}

static void tracefs_fact(struct host_fact *f)
{
	f->name = "kernel symbols";
	char line[128] = "";
	bool ok = read_line("/proc/kallsyms", line, sizeof line) && strtoull(line, NULL, 16) != 0;
	snprintf(f->value, sizeof f->value, "%s", ok ? "readable" : "hidden");
	if (!ok) {
		f->verdict = HOST_LESS;
		snprintf(f->advice, sizeof f->advice, "kernel functions have no names: run as root, or sysctl kernel.kptr_restrict=0");
	}
}

size_t host_facts(struct host_fact facts[HOST_FACTS_MAX])
{
	static void (*const all[])(struct host_fact *) = {kernel_fact, btf_fact,  caps_fact,	bpf_fact,    perf_fact,
							  yama_fact,   seccomp_fact, namespace_fact, tracefs_fact};
	size_t n = sizeof all / sizeof *all;
	memset(facts, 0, HOST_FACTS_MAX * sizeof *facts);
	for (size_t i = 0; i < n; i++)
		all[i](&facts[i]);
	return n;
}
