/* SPDX-License-Identifier: Apache-2.0
 *
 * The session's promises to the target, with a backend that fails on demand. session.c is compiled in with the two rooms below
 * it replaced, so that the tests need neither privileges nor a kernel.
 */
#define backend_choose fake_backend_choose
#define aggregator_new fake_aggregator_new
#define aggregator_free fake_aggregator_free
#define aggregator_event fake_aggregator_event
#define aggregator_profile fake_aggregator_profile
#include "cli/session.c"
#undef backend_choose

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* What the fake backend is to do, and what was seen of it. */
static struct {
	int choose_rc, open_rc, drain_rc, finish_rc, profile_rc;
	int drains_until_failure;
	bool reap; /* behaves as a ptrace loop may: reaps the command itself */
	bool alive;
	bool open_gate;
	bool marker_at_open; /* the command's mark was there when the backend was opened */
	int32_t root;
	int opened, drained, finished, closed, delivered;
	enum session_end end;
	int32_t meta_exit_status;
	pid_t meta_root;
} fake;

static char marker[64]; /* the command makes it */
static char gate[80];	/* a FIFO: a command that reads it goes on when the results have been delivered */

static bool marked(void)
{
	struct stat st;
	return stat(marker, &st) == 0;
}

static int fake_open(struct backend **out, const struct backend_options *opt, struct err *err)
{
	static struct backend b;
	fake.opened++;
	fake.root = opt->n_root_pids ? opt->root_pids[0] : 0;
	fake.marker_at_open = marked();
	if (fake.open_rc)
		return err_set(err, fake.open_rc, "open: no");
	*out = &b;
	return 0;
}
static int fake_poll_ms(const struct backend *b)
{
	(void)b;
	return 1;
}
static void tell_exit(event_fn fn, void *ctx, int32_t pid, int status)
{
	struct event ev = {.kind = EV_PROCESS_EXIT, .process_exit = {pid, status}};
	fn(ctx, &ev);
}
static int fake_drain(struct backend *b, event_fn fn, void *ctx, struct err *err)
{
	(void)b;
	int status;
	fake.drained++;
	if (fake.drain_rc && fake.drained > fake.drains_until_failure)
		return err_set(err, fake.drain_rc, "drain: broken");
	if (fake.reap && waitpid(fake.root, &status, WNOHANG) == fake.root)
		tell_exit(fn, ctx, fake.root, status);
	return 0;
}
static bool fake_alive(struct backend *b)
{
	(void)b;
	return fake.alive;
}
static int fake_finish(struct backend *b, event_fn fn, void *ctx, struct err *err)
{
	(void)b, (void)fn, (void)ctx;
	fake.finished++;
	return fake.finish_rc ? err_set(err, fake.finish_rc, "finish: broken") : 0;
}
static void fake_close(struct backend *b)
{
	fake.closed += b != NULL;
}
static const struct backend_ops fake_ops = {"fake",	NULL,	    fake_open,	 fake_poll_ms,
					    fake_drain, fake_alive, fake_finish, fake_close};

int fake_backend_choose(const char *name, const struct backend_ops **out, struct backend_probe *probe, struct err *err)
{
	(void)name;
	memset(probe, 0, sizeof *probe);
	if (fake.choose_rc)
		return err_set(err, fake.choose_rc, "no backend here: not root; use sudo");
	*out = &fake_ops;
	return 0;
}
struct aggregator *fake_aggregator_new(const struct aggregator_options *opt, struct err *err)
{
	(void)opt, (void)err;
	return calloc(1, 1);
}
void fake_aggregator_free(struct aggregator *a)
{
	free(a);
}
void fake_aggregator_event(void *ctx, const struct event *ev)
{
	(void)ctx, (void)ev;
}
int fake_aggregator_profile(struct aggregator *a, struct profile **out, struct err *err)
{
	(void)a;
	if (fake.profile_rc)
		return err_set(err, fake.profile_rc, "profile: no");
	*out = profile_new();
	return *out ? 0 : -ENOMEM;
}

static int deliver_rc;
static int deliver(void *ctx, const struct profile *p, enum session_end end, struct err *err)
{
	(void)ctx;
	fake.delivered++;
	fake.end = end;
	fake.meta_exit_status = p->meta.exit_status;
	fake.meta_root = p->meta.n_root_pids ? p->meta.root_pids[0] : 0;
	if (fake.open_gate) {
		int fd = open(gate, O_WRONLY | O_CLOEXEC);
		ssize_t n = write(fd, "\n", 1);
		(void)n;
		close(fd);
	}
	return deliver_rc ? err_set(err, deliver_rc, "deliver: disk full") : 0;
}

/* Runs a session over /bin/sh -c SCRIPT (NULL: attached to ourselves) in a process of its own, as it changes signals; gives its exit
 * status. `fake` comes back through a pipe; stderr is dropped. */
static int run_session(const char *script, uint64_t duration_ns)
{
	int tell[2], status = 0;

	assert_int_equal(pipe(tell), 0);
	pid_t pid = fork();
	if (pid == 0) {
		char *argv[] = {(char *)"/bin/sh", (char *)"-c", (char *)script, NULL};
		int null = open("/dev/null", O_RDWR);
		const int32_t self = getppid();
		struct session_options opt = {.backend = "auto", .duration_ns = duration_ns, .quiet = true};
		opt.command = script ? argv : NULL;
		opt.pids = script ? NULL : &self;
		opt.n_pids = script ? 0 : 1;
		dup2(null, STDERR_FILENO);
		int code = session_run(&opt, deliver, NULL);
		ssize_t n = write(tell[1], &fake, sizeof fake);
		(void)n;
		_exit(code);
	}
	close(tell[1]);
	waitpid(pid, &status, 0);
	ssize_t n = read(tell[0], &fake, sizeof fake);
	close(tell[0]);
	assert_int_equal(n, sizeof fake);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static char script[512];
/* A script that ends only after the delivery. */
static const char *outlasting(const char *more)
{
	snprintf(script, sizeof script, "echo ran > %s; read x < %s; %s", marker, gate, more);
	fake.open_gate = true;
	return script;
}

/* A script that leaves its mark and then does more. */
static const char *marking(const char *more)
{
	snprintf(script, sizeof script, "echo ran > %s; %s", marker, more);
	return script;
}

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof fake);
	deliver_rc = 0;
	strcpy(marker, "/tmp/test_cli_session.XXXXXX");
	close(mkstemp(marker));
	unlink(marker);
	snprintf(gate, sizeof gate, "%s.fifo", marker);
	return mkfifo(gate, 0600);
}

static int teardown(void **state)
{
	(void)state;
	unlink(marker);
	unlink(gate);
	return 0;
}

static void test_a_good_run_passes_the_status_and_describes_itself(void **state)
{
	(void)state;
	assert_int_equal(run_session(marking("exit 5"), 0), 5);
	assert_true(marked());
	assert_false(fake.marker_at_open);
	assert_int_equal(fake.finished, 1);
	assert_int_equal(fake.closed, 1);
	assert_int_equal(fake.delivered, 1);
	assert_int_equal(fake.end, SESSION_TARGET_ENDED);
	assert_int_equal(fake.meta_exit_status, 5);
	assert_int_equal(fake.meta_root, fake.root);
}

static void test_without_a_backend_the_command_does_not_run(void **state)
{
	(void)state;
	fake.choose_rc = -EPERM;
	assert_int_equal(run_session(marking("exit 0"), 0), EXIT_LOCKSTEP);
	assert_false(marked());
	assert_int_equal(fake.opened, 0);
}

static void test_when_opening_fails_the_command_does_not_run(void **state)
{
	(void)state;
	fake.open_rc = -ENOMEM;
	assert_int_equal(run_session(marking("exit 0"), 0), EXIT_LOCKSTEP);
	assert_false(marked());
	assert_int_equal(fake.delivered, 0);
}

static void test_when_attaching_fails_the_status_is_could_not(void **state)
{
	(void)state;
	fake.open_rc = -EPERM;
	assert_int_equal(run_session(NULL, 0), EXIT_CANNOT);
}

static void test_a_failure_in_mid_run_leaves_the_command_alone(void **state)
{
	(void)state;
	fake.drain_rc = -EIO;
	fake.drains_until_failure = 3;
	assert_int_equal(run_session(outlasting("exit 9"), 0), 9);
	assert_true(marked());
	assert_int_equal(fake.delivered, 1);
	assert_int_equal(fake.end, SESSION_FAILED);
	assert_int_equal(fake.meta_exit_status, -1);
}

static void test_a_failure_to_finish_still_delivers(void **state)
{
	(void)state;
	fake.finish_rc = -EIO;
	assert_int_equal(run_session(marking("exit 4"), 0), 4);
	assert_int_equal(fake.delivered, 1);
}

static void test_a_result_that_cannot_be_delivered_is_no_success(void **state)
{
	(void)state;
	deliver_rc = -ENOSPC;
	assert_int_equal(run_session(marking("exit 0"), 0), EXIT_LOCKSTEP);
	assert_int_equal(run_session(marking("exit 6"), 0), 6);
	deliver_rc = 0;
	fake.profile_rc = -ENOMEM;
	assert_int_equal(run_session(marking("exit 0"), 0), EXIT_LOCKSTEP);
}

static void test_after_the_duration_the_command_goes_on(void **state)
{
	(void)state;
	assert_int_equal(run_session(outlasting("exit 8"), 20000000), 8);
	assert_int_equal(fake.end, SESSION_DURATION);
	assert_int_equal(fake.meta_exit_status, -1);
	assert_int_equal(fake.closed, 1);
}

static void test_a_status_reaped_by_the_backend_is_passed_on(void **state)
{
	(void)state;
	fake.reap = true;
	assert_int_equal(run_session(marking("exit 11"), 0), 11);
	assert_int_equal(run_session(marking("kill -TERM $$"), 0), 128 + SIGTERM);
}

static void test_an_attached_session_ends_when_the_target_does(void **state)
{
	(void)state;
	fake.alive = false;
	assert_int_equal(run_session(NULL, 0), EXIT_FINE);
	assert_int_equal(fake.end, SESSION_TARGET_ENDED);
	fake.alive = true;
	assert_int_equal(run_session(NULL, 20000000), EXIT_FINE);
	assert_int_equal(fake.end, SESSION_DURATION);
}

static void test_a_command_that_cannot_be_executed_delivers_nothing(void **state)
{
	(void)state;
	int tell = 0;
	pid_t pid = fork();
	if (pid == 0) {
		char *argv[] = {(char *)"/no/such/command", NULL};
		struct session_options opt = {.backend = "auto", .command = argv, .quiet = true};
		int null = open("/dev/null", O_RDWR);
		dup2(null, STDERR_FILENO);
		int code = session_run(&opt, deliver, NULL);
		_exit(fake.delivered ? 1 : code);
	}
	waitpid(pid, &tell, 0);
	assert_int_equal(WEXITSTATUS(tell), EXIT_NOT_FOUND);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_good_run_passes_the_status_and_describes_itself),  T(test_without_a_backend_the_command_does_not_run),
		T(test_when_opening_fails_the_command_does_not_run),	    T(test_when_attaching_fails_the_status_is_could_not),
		T(test_a_failure_in_mid_run_leaves_the_command_alone),	    T(test_a_failure_to_finish_still_delivers),
		T(test_a_result_that_cannot_be_delivered_is_no_success),    T(test_after_the_duration_the_command_goes_on),
		T(test_a_status_reaped_by_the_backend_is_passed_on),	    T(test_an_attached_session_ends_when_the_target_does),
		T(test_a_command_that_cannot_be_executed_delivers_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
