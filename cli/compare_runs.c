/* SPDX-License-Identifier: Apache-2.0
 *
 * In: two commands; out: their profiles. The order is A B B A A B B A ...: what drifts evenly (a warming CPU, a filling cache, a
 * neighbour that starts) hits both sides alike, and blocks of A B B A let the statistics take the drift out. Warm-up runs are not kept.
 *
 * Everything temporary lies in one folder that is removed on every way out, signals included.
 */
#include "cli/compare_runs.h"
#include "aggregate/profile_db.h"
#include "cli/message.h"
#include "cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TAIL_BYTES 4096	      /* of a failed command's output */
#define OUTPUT_MAX (64 << 20) /* read for the work: a command that prints more should not be matched line by line */

static const char *const side_names[] = {"base", "new"};

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
	caught = sig;
}

/* A second signal quits at once, as everywhere. */
static void catch_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

	caught = 0;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

struct job {
	const struct compare_plan *plan;
	char dir[PATH_MAX], profile[PATH_MAX + 32], output[PATH_MAX + 32];
	struct err *err;
};

/* --- the folder --- */

static int job_open(struct job *j)
{
	const char *tmp = getenv("TMPDIR");

	if (snprintf(j->dir, sizeof j->dir, "%s/lockstep-compare.XXXXXX", tmp && *tmp ? tmp : "/tmp") >= (int)sizeof j->dir ||
	    !mkdtemp(j->dir))
		return err_set(j->err, -errno, "make a temporary folder in %s: %s; set TMPDIR", tmp && *tmp ? tmp : "/tmp",
			       strerror(errno));
	snprintf(j->output, sizeof j->output, "%s/output", j->dir);
	snprintf(j->profile, sizeof j->profile, "%s/profile.db", j->dir);
	if (j->plan->keep && mkdir(j->plan->keep, 0777) != 0 && errno != EEXIST)
		return err_set(j->err, -errno, "make %s: %s", j->plan->keep, strerror(errno));
	return 0;
}

static void job_close(const struct job *j)
{
	if (!j->dir[0])
		return;
	unlink(j->output);
	unlink(j->profile);
	rmdir(j->dir);
}

/* --- one run --- */

#define WORDS_MAX 256

/* A command without anything that a shell would act on needs none, and the tree has a process less: its words, in `copy`. Returns
 * their number, 0: give it to a shell. */
static int plain_words(char *copy, const char *words[WORDS_MAX])
{
	int n = 0;

	if (copy[strspn(copy, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,@%+- ")])
		return 0;
	for (char *rest = NULL, *w = strtok_r(copy, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
		if (n == WORDS_MAX)
			return 0;
		words[n++] = w;
	}
	return n;
}

static void exec_record(const struct job *j, const char *command)
{
	const char *argv[WORDS_MAX + 16] = {"lockstep", "record", "--quiet", "-o", j->profile}, *words[WORDS_MAX];
	char *copy = strdup(command);
	int n_words = copy ? plain_words(copy, words) : 0;
	int n = 5, in = open("/dev/null", O_RDONLY), out = open(j->output, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);

	if (j->plan->backend) {
		argv[n++] = "--backend";
		argv[n++] = j->plan->backend;
	}
	if (j->plan->frequency) {
		argv[n++] = "-F";
		argv[n++] = j->plan->frequency;
	}
	argv[n++] = "--";
	for (int i = 0; i < n_words; i++)
		argv[n++] = words[i];
	if (!n_words) {
		argv[n++] = "sh";
		argv[n++] = "-c";
		argv[n++] = command;
	}
	argv[n] = NULL;
	if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(125);
	if (in > 2)
		close(in);
	if (out > 2)
		close(out);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	execv("/proc/self/exe", (char *const *)argv);
	_exit(125);
}

/* Returns the exit status as a shell tells it, or -errno. */
static int run_once(const struct job *j, const char *command)
{
	int status;
	pid_t pid;

	unlink(j->profile);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		exec_record(j, command);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
		/* Ctrl-C reached the whole group; what was sent to us alone is passed on. lockstep record passes it to its command. */
		if (caught == SIGTERM || caught == SIGHUP)
			kill(pid, SIGTERM);
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static char *read_output(const struct job *j, size_t max, bool tail)
{
	FILE *f = fopen(j->output, "re");
	long size;
	char *text;
	size_t n;

	if (!f)
		return NULL;
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	fseek(f, tail && size > (long)max ? size - (long)max : 0, SEEK_SET);
	text = malloc(max + 1);
	n = text ? fread(text, 1, max, f) : 0;
	fclose(f);
	if (text)
		text[n] = 0;
	/* A command may print anything: bytes after a NUL count too. */
	for (size_t i = 0; i < n; i++)
		if (!text[i])
			text[i] = ' ';
	return text;
}

static void show_tail(const struct job *j)
{
	char *text = read_output(j, TAIL_BYTES, true), *line, *rest = NULL;

	for (line = text ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest))
		message_note("| %s", line);
	free(text);
}

double compare_work_in_output(const regex_t *re, const char *output)
{
	regmatch_t m[2];
	double work = 0;

	for (const char *line = output; *line;) {
		size_t n = strcspn(line, "\r\n"); /* progress lines often end in \r */
		char *copy = strndup(line, n);
		if (copy && regexec(re, copy, 2, m, 0) == 0) {
			if (re->re_nsub == 0)
				work++;
			else if (m[1].rm_so >= 0)
				work = strtod(copy + m[1].rm_so, NULL);
		}
		free(copy);
		line += n + (line[n] != 0);
	}
	return isfinite(work) && work > 0 ? work : 0;
}

static int read_work(const struct job *j, const char *name, double *work)
{
	char *text;

	if (!j->plan->work)
		return 0;
	text = read_output(j, OUTPUT_MAX, true);
	*work = text ? compare_work_in_output(j->plan->work, text) : 0;
	free(text);
	if (!(*work > 0)) {
		show_tail(j);
		return err_set(j->err, -EINVAL, "%s: no line of its output matches --work-from-output; its output ends above",
			       name);
	}
	return 0;
}

static char *keep_profile(const struct job *j, unsigned side, size_t i)
{
	char *name = NULL;

	if (asprintf(&name, "%s%s%s-%zu%s", j->plan->keep ? j->plan->keep : "", j->plan->keep ? "/" : "", side_names[side], i + 1,
		     j->plan->keep ? ".db" : "") < 0)
		return NULL;
	return name;
}

static int take_run(const struct job *j, struct compare_runs *r, unsigned side, uint32_t block)
{
	struct diff_run *run = &r->run[side][r->n[side]];
	struct profile *p = NULL;
	int rc = profile_load(&p, j->profile, j->err);

	if (rc != 0)
		return rc;
	*run = (struct diff_run){.profile = p, .block = block};
	run->name = keep_profile(j, side, r->n[side]);
	r->n[side]++;
	if (!run->name)
		return err_set(j->err, -ENOMEM, "out of memory");
	rc = read_work(j, run->name, &run->work);
	if (rc == 0 && j->plan->keep)
		rc = profile_save(p, run->name, j->err);
	return rc;
}

/* --- all of them --- */

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* done < total: one line, rewritten; else it is removed. */
static void progress(const struct compare_plan *plan, size_t done, size_t total, unsigned side, double began)
{
	if (plan->quiet || !terminal_is_interactive())
		return;
	if (done == total)
		fprintf(stderr, "\r\x1b[K");
	else if (done == 0)
		fprintf(stderr, "\r\x1b[Kcompare: run 1 of %zu (%s)", total, side_names[side]);
	else
		fprintf(stderr, "\r\x1b[Kcompare: run %zu of %zu (%s), %.0f s left", done + 1, total, side_names[side],
			(now_s() - began) / (double)done * (double)(total - done));
	fflush(stderr);
}

static int failed_run(const struct job *j, unsigned side, size_t number, int status)
{
	if (status < 0)
		return err_set(j->err, status, "%s run %zu: cannot be started: %s", side_names[side], number, strerror(-status));
	show_tail(j);
	return err_set(j->err, -ECHILD, "%s run %zu failed with status %d; its output ends above, nothing was compared",
		       side_names[side], number, status);
}

static int one(const struct job *j, struct compare_runs *r, unsigned side, uint32_t block, bool counts)
{
	int status = run_once(j, j->plan->command[side]);

	if (caught)
		return -EINTR;
	if (status != 0)
		return failed_run(j, side, counts ? r->n[side] + 1 : 0, status);
	return counts ? take_run(j, r, side, block) : 0;
}

static int all_runs(const struct job *j, struct compare_runs *r, uint32_t warmup)
{
	const struct compare_plan *plan = j->plan;
	size_t total = 2 * ((size_t)plan->runs + warmup), done = 0;
	double began = now_s();
	int rc = 0;

	for (size_t i = 0; i < 2 * (size_t)warmup && rc == 0; i++, done++) {
		progress(plan, done, total, i % 2, began);
		rc = one(j, r, i % 2, 0, false);
	}
	for (size_t i = 0; i < 2 * (size_t)plan->runs && rc == 0; i++, done++) {
		unsigned side = (i + 1) / 2 % 2; /* 0 1 1 0, 0 1 1 0, ... */
		progress(plan, done, total, side, began);
		r->blocks += i % 4 == 0;
		rc = one(j, r, side, r->blocks, true);
	}
	progress(plan, total, total, 0, began);
	return rc;
}

/* Room for as many runs as the plan has, beside those that are there. */
static int make_room(struct compare_runs *r, const struct compare_plan *plan)
{
	for (unsigned side = 0; side < 2; side++) {
		struct diff_run *grown = realloc(r->run[side], (r->n[side] + plan->runs) * sizeof *grown);
		if (!grown)
			return -ENOMEM;
		r->run[side] = grown;
	}
	return 0;
}

int compare_runs_make(struct compare_runs *r, const struct compare_plan *plan, int *signal, struct err *err)
{
	struct job j = {.plan = plan, .err = err};
	int rc;

	if (make_room(r, plan) != 0)
		return err_set(err, -ENOMEM, "out of memory");
	catch_signals();
	rc = job_open(&j);
	if (rc == 0)
		rc = all_runs(&j, r, r->n[0] ? 0 : plan->warmup);
	job_close(&j);
	*signal = caught;
	return rc;
}

void compare_runs_fini(struct compare_runs *r)
{
	for (unsigned side = 0; side < 2; side++) {
		for (size_t i = 0; i < r->n[side]; i++) {
			profile_free((struct profile *)r->run[side][i].profile);
			free((char *)r->run[side][i].name);
		}
		free(r->run[side]);
	}
}
