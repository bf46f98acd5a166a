/* SPDX-License-Identifier: Apache-2.0
 * The names of the enumerations of event.h, in one place. */
#include "sampler/event.h"

#include <string.h>

static const char *const wait_class_names[WC_COUNT] = {
	[WC_NONE] = "run_queue",
	[WC_PIPE_READ] = "pipe_read",
	[WC_PIPE_WRITE] = "pipe_write",
	[WC_UNIX_READ] = "unix_read",
	[WC_UNIX_WRITE] = "unix_write",
	[WC_TCP_READ] = "tcp_read",
	[WC_TCP_WRITE] = "tcp_write",
	[WC_TCP_CONNECT] = "tcp_connect",
	[WC_ACCEPT] = "accept",
	[WC_POLL] = "poll",
	[WC_FUTEX] = "futex",
	[WC_LOCK] = "lock",
	[WC_GIL] = "gil",
	[WC_SLEEP] = "sleep",
	[WC_CHILD] = "child",
	[WC_FILE_IO] = "file_io",
	[WC_PAGE_FAULT] = "page_fault",
	[WC_IPC_QUEUE] = "ipc_queue",
	[WC_SIGNAL] = "signal",
	[WC_STOPPED] = "stopped",
	[WC_OTHER] = "other",
};

static const char *const channel_kind_names[CH_COUNT] = {
	[CH_NONE] = "none",   [CH_PIPE] = "pipe",	[CH_UNIX] = "unix",   [CH_TCP] = "tcp",	  [CH_UDP] = "tcp",
	[CH_FUTEX] = "futex", [CH_EVENTFD] = "eventfd", [CH_EPOLL] = "epoll", [CH_SYSV] = "sysv", [CH_POSIX] = "posix",
	[CH_FILE] = "file",   [CH_CHILD] = "child",	[CH_TIMER] = "timer",
};

static const char *const runtime_kind_names[RT_COUNT] = {"native", "python", "java", "go", "node"};
static const char *const frame_language_names[LANG_COUNT] = {"native", "kernel", "python", "java", "go", "js"};

const char *wait_class_name(enum wait_class c)
{
	return (unsigned)c < WC_COUNT ? wait_class_names[c] : "other";
}

enum wait_class wait_class_parse(const char *name)
{
	for (unsigned c = 0; c < WC_COUNT; c++)
		if (strcmp(wait_class_names[c], name) == 0)
			return (enum wait_class)c;
	return WC_COUNT;
}

const char *channel_kind_name(enum channel_kind k)
{
	return (unsigned)k < CH_COUNT ? channel_kind_names[k] : "none";
}

const char *runtime_kind_name(enum runtime_kind r)
{
	return (unsigned)r < RT_COUNT ? runtime_kind_names[r] : "native";
}

const char *frame_language_name(enum frame_language l)
{
	return (unsigned)l < LANG_COUNT ? frame_language_names[l] : "native";
}
