/* SPDX-License-Identifier: Apache-2.0
 *
 * --n short-lived children, --threads of them at a time. Each exits at once, or execs --exec PROGRAM.
 */
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

NOINLINE static pid_t spawn(const char *program)
{
	pid_t pid = AT("spawn", fork());
	if (pid == 0) {
		if (program) {
			execl(program, program, (char *)NULL);
			_exit(127);
		}
		_exit(0);
	}
	return pid;
}

/* One child's end; true when it ended with 0. */
NOINLINE static bool wait_for_one(void)
{
	int status;
	pid_t pid = AT("wait_child", waitpid(-1, &status, 0));
	if (pid < 0)
		die("waitpid");
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
	struct options o = {.n = 5000, .threads = 1};
	options_parse(&o, argc, argv, "n threads exec help", "a storm of short processes");
	uint64_t start = now_ns(), running = 0, failed = 0, started = 0, ended = 0;
	while (ended < o.n) {
		if (started < o.n && running < o.threads) {
			if (spawn(o.exec) < 0) {
				if (errno != EAGAIN || running == 0)
					die("fork");
			} else {
				started++;
				running++;
				continue;
			}
		}
		failed += !wait_for_one();
		running--;
		ended++;
	}
	uint64_t ns = now_ns() - start;
	struct truth *t = truth_new("fork_storm", "broken", "process_churn");
	truth_process(t, "parent", getpid());
	truth_throughput(t, ended, ns);
	truth_int(t, "children", ended);
	truth_int(t, "at_a_time", o.threads);
	truth_int(t, "failed", failed);
	truth_wait(t, "parent", "child", "child", "child", "wait_child", NULL, 0, 0);
	truth_print(t);
	return failed ? 1 : 0;
}
