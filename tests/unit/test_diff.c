/* SPDX-License-Identifier: Apache-2.0
 *
 * diff: who is who, what changed and why, which rules break; and what is not fair to compare.
 */
#include "aggregate/diff_internal.h"
#include "report/diff_words.h"
#include "tests/unit/diff_fixtures.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *const defaults[] = {"round_trips{process=*} > 10%",
				       "messages{process=*} > 10%",
				       "message_bytes{process=*} > 20%",
				       "processes{process=*} > 20%",
				       "waits{process=*,class=futex} > 100%",
				       "user_cpu{process=*} > 5%",
				       "cpu{process=*} > 25%",
				       "new_finding",
				       NULL};

/* Makes n + n runs and judges them by the rules (NULL: the default ones). */
static void judged(struct fixture *f, size_t n, const struct spec *base, const struct spec *fresh, const char *const *rules)
{
	fixture_make(f, n, base, fresh);
	if (fixture_diff(f) != 0 || fixture_judge(f, rules ? rules : defaults) != 0)
		fail_msg("%s", f->err.msg);
}

static void verdict_is(const struct fixture *f, const char *says)
{
	struct words w = words_verdict(f->d);

	if (!strstr(w.s, says))
		fail_msg("\"%s\" does not say \"%s\"", w.s, says);
}

static const struct diff_role *role(const struct diff *d, const char *path)
{
	for (size_t i = 0; i < d->n_roles; i++)
		if (d->roles[i].path && strcmp(d->roles[i].path, path) == 0)
			return &d->roles[i];
	fail_msg("no role %s", path);
	return NULL;
}

/* --- verdicts --- */

static void test_default_rules_are_those_of_the_tests(void **state)
{
	(void)state;
	for (size_t i = 0; defaults[i] || diff_default_rules[i]; i++)
		assert_string_equal(defaults[i], diff_default_rules[i]);
}

static void test_equal_programs_pass(void **state)
{
	(void)state;
	for (unsigned trial = 0; trial < 200; trial++) {
		struct fixture f;
		struct spec noisy = fixture_base;
		noisy.noise = 0.02;
		judged(&f, 5, &noisy, &noisy, NULL);
		if (diff_outcome(f.d) != DIFF_ALL_PASSED)
			fail_msg("trial %u: %s", trial, words_verdict(f.d).s);
		fixture_free(&f);
	}
}

static void caught(const struct spec *fresh, const char *says)
{
	for (unsigned trial = 0; trial < 20; trial++) {
		struct fixture f;
		judged(&f, 5, &fixture_base, fresh, NULL);
		assert_int_equal(diff_outcome(f.d), DIFF_ALL_FAILED);
		verdict_is(&f, says);
		fixture_free(&f);
	}
}

static void test_half_the_batch_names_the_pair(void **state)
{
	struct spec s = fixture_base;

	(void)state;
	s.batch /= 2;
	caught(&s, "FAILED: client");
	caught(&s, "server over pipe: messages per unit of work 0.01 -> 0.02 (x2.00");
}

static void test_one_more_query_names_the_pair(void **state)
{
	struct spec s = fixture_base;

	(void)state;
	s.queries = 2;
	caught(&s, "FAILED: server <-> store over unix: round trips per unit of work 1 -> 2 (x2.00");
}

static void test_larger_messages_name_the_pair(void **state)
{
	struct spec s = fixture_base;

	(void)state;
	s.size *= 2;
	caught(&s, "FAILED: client -> server over pipe: bytes per message 5.9 KiB -> 11.7 KiB (x2.00");
}

static void test_a_slower_function_is_named(void **state)
{
	struct spec s = fixture_base;

	(void)state;
	s.parse_us *= 1.15;
	caught(&s, "FAILED: parse_record (app.c:");
	caught(&s, "in server: user CPU time per unit of work");
}

static void test_a_new_lock_is_named_with_the_function_that_takes_it(void **state)
{
	struct spec s = fixture_base;

	(void)state;
	s.futex_waits = 4000;
	caught(&s, "FAILED: server: waits in futex per unit of work 0.02 -> 0.4 (x20.00");
	caught(&s, "most in with_lock");
}

static void test_more_processes_are_named(void **state)
{
	struct spec a = fixture_base, b = fixture_base;
	struct fixture f;

	(void)state;
	a.workers = 4;
	b.workers = 8;
	judged(&f, 5, &a, &b, NULL);
	verdict_is(&f, "FAILED: worker: processes per unit of work");
	assert_true(role(f.d, "client/server/worker")->n_base == 4);
	assert_true(role(f.d, "client/server/worker")->n_new == 8);
	fixture_free(&f);
}

static void test_a_new_finding_fails_and_a_lost_one_does_not(void **state)
{
	static const char *const rules[] = {"new_finding:lockstep", NULL}, *const other[] = {"new_finding:disk_wait", NULL};
	struct spec s = fixture_base;
	struct fixture f;

	(void)state;
	s.finding = true;
	judged(&f, 5, &fixture_base, &s, rules);
	verdict_is(&f, "FAILED");
	assert_int_equal(f.d->verdicts[0].n_findings, 1);
	assert_string_equal(f.d->findings[0].roles, "server, store");
	fixture_free(&f);
	judged(&f, 5, &fixture_base, &s, other);
	assert_int_equal(diff_outcome(f.d), DIFF_ALL_PASSED);
	fixture_free(&f);
	judged(&f, 5, &s, &fixture_base, rules);
	assert_int_equal(diff_outcome(f.d), DIFF_ALL_PASSED);
	assert_true(f.d->findings[0].vanished);
	fixture_free(&f);
}

/* A change that is real and smaller than the threshold passes; the same one above it fails. */
static void test_thresholds_are_kept(void **state)
{
	static const char *const loose[] = {"cpu{process=server} > 20%", NULL}, *const tight[] = {"cpu{process=server} > 1.05x",
												  NULL};
	static const char *const below[] = {"cpu{process=server} < -5%", NULL};
	struct spec s = fixture_base;
	struct fixture f;

	(void)state;
	s.parse_us *= 1.15;
	judged(&f, 5, &fixture_base, &s, loose);
	assert_int_equal(diff_outcome(f.d), DIFF_ALL_PASSED);
	assert_true(f.d->verdicts[0].has_closest);
	fixture_free(&f);
	judged(&f, 5, &fixture_base, &s, tight);
	assert_int_equal(diff_outcome(f.d), DIFF_ALL_FAILED);
	fixture_free(&f);
	judged(&f, 5, &s, &fixture_base, below);
	assert_int_equal(diff_outcome(f.d), DIFF_ALL_FAILED);
	fixture_free(&f);
}

/* Ranks alone would call it: four of five new runs were disturbed, the quietest says that nothing changed. */
static void test_disturbed_runs_are_no_regression(void **state)
{
	static const char *const rules[] = {"cpu > 5%", NULL};
	const double factor[5] = {1.0, 1.2, 1.3, 1.25, 1.4};
	struct spec still = fixture_base;
	struct fixture f;

	(void)state;
	still.noise = 0.0005;
	fixture_make(&f, 5, &still, &still);
	for (unsigned i = 0; i < 5; i++) {
		struct profile *p = (struct profile *)f.fresh[i].profile;
		for (size_t k = 0; k < p->n_processes; k++)
			p->processes[k].ledger.on_cpu_ns =
				(uint64_t)((double)p->processes[k].ledger.on_cpu_ns * (factor[i] + 0.004));
	}
	assert_int_equal(fixture_diff(&f), 0);
	assert_int_equal(fixture_judge(&f, rules), 0);
	assert_int_equal(diff_outcome(f.d), DIFF_ALL_PASSED);
	assert_true(f.d->verdicts[0].closest.stats.p_more <= DIFF_ALPHA);
	fixture_free(&f);
}

/* More runs are worth making where times are near a threshold, and only there. */
static void test_close_calls_are_told(void **state)
{
	const struct {
		double parse, queries;
		bool close;
	} cases[] = {{1, 1, false}, {1.04, 1, true}, {1.2, 1, true}, {1.2, 2, false}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct spec still = fixture_base, s;
		struct fixture f;
		still.noise = 0.001;
		s = still;
		s.parse_us *= cases[i].parse;
		s.queries = cases[i].queries;
		judged(&f, 5, &still, &s, NULL);
		assert_int_equal(diff_is_close(f.d), cases[i].close);
		fixture_free(&f);
	}
}

/* --- who is who --- */

static void renamed(const char *base, const char *fresh)
{
	struct spec a = fixture_base, b = fixture_base;
	struct fixture f;

	a.client = base;
	b.client = fresh;
	judged(&f, 5, &a, &b, NULL);
	assert_int_equal(diff_outcome(f.d), DIFF_ALL_PASSED);
	assert_string_equal(role(f.d, base)->new_path, fresh);
	fixture_free(&f);
}

static void test_renamed_programs_are_matched(void **state)
{
	(void)state;
	renamed("client", "other");
	renamed("client-1.9", "client-1.10");
	renamed("client", "client_new");
	renamed("a", "b");
}

static void test_children_of_a_renamed_program_keep_their_roles(void **state)
{
	struct spec b = fixture_base;
	struct fixture f;

	(void)state;
	b.client = "renamed";
	b.queries = 2;
	judged(&f, 5, &fixture_base, &b, NULL);
	verdict_is(&f, "FAILED: server <-> store over unix");
	assert_string_equal(role(f.d, "client/server")->new_path, "renamed/server");
	fixture_free(&f);
}

static void test_commands_are_named_by_what_they_run(void **state)
{
	static char *const script[] = {"/usr/bin/python3", "-u", "/srv/serve.py", "--port", "80", NULL};
	static char *const module[] = {"python3", "-m", "http.server", NULL}, *const jar[] = {"java", "-cp",	    "x:y",
											      "-jar", "/a/app.jar", NULL};
	static char *const java[] = {"java", "-Xmx1g", "-cp", "a.jar", "com.example.Main", NULL}, *const inline_[] = {"sh", "-c",
														      "x", NULL};
	const struct {
		struct process_row row;
		const char *name;
	} cases[] = {
		{{.comm = "python3", .exe = "/usr/bin/python3.11", .runtime = RT_PYTHON, .cmdline = (char **)script},
		 "python:serve.py"},
		{{.comm = "python3", .exe = "/usr/bin/python3.11", .cmdline = (char **)module}, "python:http.server"},
		{{.comm = "java", .exe = "/usr/lib/jvm/bin/java", .runtime = RT_JAVA, .cmdline = (char **)jar}, "java:app.jar"},
		{{.comm = "java", .exe = "/usr/lib/jvm/bin/java", .runtime = RT_JAVA, .cmdline = (char **)java},
		 "java:com.example.Main"},
		{{.comm = "sh", .exe = "/usr/bin/dash", .cmdline = (char **)inline_}, "sh"},
		{{.comm = "worker-1", .exe = "/opt/app"}, "app:worker-1"},
		{{.comm = "a_very_long_nam", .exe = "/opt/a_very_long_name_indeed"}, "a_very_long_name_indeed"},
		{{.comm = "kthread"}, "kthread"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *name = diff_command_name(&cases[i].row);
		assert_string_equal(name, cases[i].name);
		free(name);
	}
}

/* --- sums --- */

/* Whatever it is grouped by, a metric's parts add up to the whole, run by run. */
static void test_parts_add_up(void **state)
{
	struct spec s = fixture_base;
	struct fixture f;

	(void)state;
	s.workers = 3;
	fixture_make(&f, 4, &fixture_base, &s);
	assert_int_equal(fixture_diff(&f), 0);
	for (unsigned m = 0; m < DIFF_METRIC_COUNT; m++) {
		struct diff_series *whole;
		size_t n_whole;
		if (m == DIFF_MESSAGE_BYTES || m == DIFF_MESSAGES || m == DIFF_BYTES)
			continue; /* below the process these come from edges, which know part of them */
		assert_int_equal(diff_group(f.d, (enum diff_metric)m, DIFF_PER_RUN, 0, NULL, &whole, &n_whole), 0);
		for (unsigned by = 1; by < 64 && n_whole; by++) {
			struct diff_series *parts;
			size_t n;
			if (by & DIFF_BY_PEER && m != DIFF_ROUND_TRIPS)
				continue;
			assert_int_equal(diff_group(f.d, (enum diff_metric)m, DIFF_PER_RUN, by, NULL, &parts, &n), 0);
			for (size_t run = 0; run < 8; run++) {
				double sum = 0;
				for (size_t i = 0; i < n; i++)
					sum += parts[i].base[run];
				assert_true(fabs(sum - whole[0].base[run]) <= 1e-9 * whole[0].base[run]);
			}
			diff_series_free(parts, n);
		}
		diff_series_free(whole, n_whole);
	}
	fixture_free(&f);
}

static void test_cpu_of_a_process_is_the_ledgers_and_samples_only_split_it(void **state)
{
	struct diff_series *s;
	struct fixture f;
	size_t n;

	(void)state;
	fixture_make(&f, 4, &fixture_base, &fixture_base);
	((struct profile *)f.base[0].profile)->processes[1].ledger.on_cpu_ns = 123456789;
	assert_int_equal(fixture_diff(&f), 0);
	assert_int_equal(diff_group(f.d, DIFF_CPU, DIFF_PER_RUN, DIFF_BY_PROCESS, NULL, &s, &n), 0);
	for (size_t i = 0; i < n; i++)
		if (strcmp(f.d->roles[s[i].key.process].name, "server") == 0)
			assert_true(fabs(s[i].base[0] - 123456789) < 1);
	diff_series_free(s, n);
	fixture_free(&f);
}

/* --- what is not fair --- */

static bool has_note(const struct fixture *f, const char *says)
{
	for (size_t i = 0; i < f->d->n_notes; i++)
		if (strstr(f->d->notes[i], says))
			return true;
	return false;
}

static void test_one_run_a_side_shows_differences_and_judges_nothing(void **state)
{
	struct spec s = fixture_base;
	struct fixture f;

	(void)state;
	s.queries = 2;
	judged(&f, 1, &fixture_base, &s, NULL);
	assert_int_equal(diff_outcome(f.d), DIFF_ALL_NOT_JUDGED);
	assert_non_null(strstr(f.d->verdicts[0].why, "too few"));
	assert_true(f.d->n_changes > 0);
	assert_int_equal(f.d->n_sure, 0);
	assert_true(has_note(&f, "one run a side"));
	fixture_free(&f);
}

static void test_other_hosts_compare_counts_but_not_times(void **state)
{
	static const char *const rules[] = {"messages{process=*} > 10%", "cpu > 5%", NULL};
	struct spec s = fixture_base;
	struct fixture f;

	(void)state;
	s.host = "elsewhere";
	judged(&f, 5, &fixture_base, &s, rules);
	assert_int_equal(f.d->verdicts[0].outcome, DIFF_PASSED);
	assert_int_equal(f.d->verdicts[1].outcome, DIFF_NOT_JUDGED);
	assert_non_null(strstr(f.d->verdicts[1].why, "different hosts (h, elsewhere)"));
	fixture_free(&f);
	fixture_make(&f, 5, &fixture_base, &s);
	f.opt.same_machine = true;
	assert_int_equal(fixture_diff(&f), 0);
	assert_int_equal(fixture_judge(&f, rules), 0);
	assert_int_equal(f.d->verdicts[1].outcome, DIFF_PASSED);
	assert_true(has_note(&f, "--same-machine"));
	fixture_free(&f);
}

static void test_other_backends_compare_what_both_count_alike(void **state)
{
	static const char *const rules[] = {"waits > 10%", "cpu > 5%", NULL};
	struct spec s = fixture_base;
	struct fixture f;

	(void)state;
	s.backend = "user";
	s.version = "2";
	judged(&f, 5, &fixture_base, &s, rules);
	assert_int_equal(f.d->verdicts[0].outcome, DIFF_NOT_JUDGED);
	assert_int_equal(f.d->verdicts[1].outcome, DIFF_PASSED);
	assert_true(has_note(&f, "different backends (kernel, user)"));
	assert_true(has_note(&f, "different versions"));
	fixture_free(&f);
}

static void test_attached_runs_of_other_lengths_are_compared_per_second(void **state)
{
	struct spec a = fixture_base, b = fixture_base;
	struct fixture f;

	(void)state;
	a.attached = b.attached = true;
	b.seconds *= 2;
	b.records *= 2;
	b.futex_waits *= 2;
	a.noise = b.noise = 0.001;
	fixture_make(&f, 5, &a, &b);
	for (unsigned i = 0; i < 5; i++)
		f.base[i].work = f.fresh[i].work = 0;
	assert_int_equal(fixture_diff(&f), 0);
	assert_int_equal(f.d->norm, DIFF_PER_SECOND);
	assert_true(has_note(&f, "per second"));
	if (f.d->cause)
		fail_msg("%s", words_sentence(f.d, f.d->cause).s);
	fixture_free(&f);
}

static void test_empty_profiles_and_missing_work_are_refused(void **state)
{
	struct spec empty = fixture_base;
	struct fixture f;

	(void)state;
	empty.empty = true;
	fixture_make(&f, 4, &fixture_base, &empty);
	assert_int_equal(fixture_diff(&f), -EINVAL);
	assert_non_null(strstr(f.err.msg, "new.db is empty"));
	fixture_free(&f);
	fixture_make(&f, 4, &fixture_base, &fixture_base);
	f.base[2].work = 0;
	assert_int_equal(fixture_diff(&f), -EINVAL);
	assert_non_null(strstr(f.err.msg, "7 of 8 runs"));
	fixture_free(&f);
	fixture_make(&f, 4, &fixture_base, &fixture_base);
	for (unsigned i = 0; i < 4; i++)
		f.base[i].work = f.fresh[i].work = 0;
	f.opt.norm = DIFF_PER_WORK;
	assert_int_equal(fixture_diff(&f), -EINVAL);
	assert_non_null(strstr(f.err.msg, "--work"));
	fixture_free(&f);
}

static void test_a_misspelt_process_is_no_pass(void **state)
{
	static const char *const rules[] = {"cpu{process=sever} > 5%", NULL};
	struct fixture f;

	(void)state;
	judged(&f, 4, &fixture_base, &fixture_base, rules);
	assert_int_equal(f.d->verdicts[0].outcome, DIFF_NOT_JUDGED);
	assert_non_null(strstr(f.d->verdicts[0].why, "no process is called 'sever'; there are client, server, store"));
	fixture_free(&f);
}

static void test_work_is_read_off_system_calls(void **state)
{
	struct profile *p = fixture_run(&fixture_base);
	struct diff_work w;
	struct err err = {""};

	(void)state;
	assert_int_equal(diff_work_parse(&w, "write:pipe", &err), 0);
	/* the client's 100 batches; the server's acks go over the pipe too, its queries do not */
	assert_in_range((long)diff_work_of(p, &w), 199, 201);
	assert_int_equal(diff_work_parse(&w, "write", &err), 0);
	assert_int_equal((long)diff_work_of(p, &w), 20200);
	assert_int_equal(diff_work_parse(&w, "read:tcp", &err), 0);
	assert_int_equal((long)diff_work_of(p, &w), 0);
	assert_int_equal(diff_work_parse(&w, "open", &err), -EINVAL);
	assert_int_equal(diff_work_parse(&w, "write:pope", &err), -EINVAL);
	assert_non_null(strstr(err.msg, "pope"));
	profile_free(p);
}

/* --- the grammar --- */

static void test_rules_that_make_sense_are_understood(void **state)
{
	const struct {
		const char *text;
		enum diff_metric metric;
		int norm;
		double factor;
		unsigned by;
		bool below;
	} cases[] = {
		{"wall > 5%", DIFF_WALL, -1, 1.05, 0, false},
		{"round_trips_per_work > 10%", DIFF_ROUND_TRIPS, DIFF_PER_WORK, 1.1, 0, false},
		{"messages_per_second>1.5x", DIFF_MESSAGES, DIFF_PER_SECOND, 1.5, 0, false},
		{" blocked { class = pipe_read , process = worker* } > 20 % ", DIFF_BLOCKED, -1, 1.2,
		 DIFF_BY_CLASS | DIFF_BY_PROCESS, false},
		{"cpu{process=\"a,b}c\"} < 0.5x", DIFF_CPU, -1, 0.5, DIFF_BY_PROCESS, true},
		{"waits{peer=store,channel=unix} < -5%", DIFF_WAITS, -1, 0.95, DIFF_BY_PEER | DIFF_BY_CHANNEL, true},
		{"cpu_per_run{function=parse_*} > 0%", DIFF_CPU, DIFF_PER_RUN, 1, DIFF_BY_FUNCTION, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct diff_rule r;
		struct err err = {""};
		if (diff_rule_parse(&r, cases[i].text, &err) != 0)
			fail_msg("%s", err.msg);
		assert_int_equal(r.metric, cases[i].metric);
		assert_int_equal(r.norm, cases[i].norm);
		assert_true(fabs(r.factor - cases[i].factor) < 1e-12);
		assert_int_equal(r.by, cases[i].by);
		assert_int_equal(r.below, cases[i].below);
		diff_rule_fini(&r);
	}
}

static void test_rules_that_make_no_sense_are_explained(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"", "begins with no metric"},
		{"> 5%", "begins with no metric"},
		{"wal > 5%", "unknown metric 'wal'; one of wall, cpu, user_cpu,"},
		{"wall", "'>' or '<' and a threshold must follow"},
		{"wall > ", "must be a percentage or a factor"},
		{"wall > 5", "needs a unit"},
		{"wall > five%", "must be a percentage or a factor"},
		{"wall >= 5%", "without '='"},
		{"wall > 5% and cpu > 5%", "'and cpu > 5%' is left over"},
		{"wall > -5%", "fails when nothing changes"},
		{"wall < 5%", "fails when nothing changes"},
		{"wall < -200%", "more than 100%"},
		{"wall{process=x} > 5%", "wall is not known by process"},
		{"cpu{proces=x} > 5%", "unknown key 'proces'"},
		{"cpu{process} > 5%", "'=' and a pattern must follow 'process'"},
		{"cpu{process=} > 5%", "pattern of 'process' is empty"},
		{"cpu{process=\"x} > 5%", "quote is not closed"},
		{"cpu{process=x > 5%", "'}' is missing"},
		{"cpu{process=x,process=y} > 5%", "process is given twice"},
		{"waits{class=pipe} > 5%", "unknown wait class 'pipe'"},
		{"waits{channel=pipes} > 5%", "unknown channel kind 'pipes'"},
		{"new_finding:lockstop", "unknown finding 'lockstop'; one of lockstep, chatty_hub"},
		{"new_finding > 1x", "takes no threshold"},
		{"cpu > 1e999x", "must be a percentage or a factor"},
		{"cpu > nan%", "must be a percentage or a factor"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct diff_rule r;
		struct err err = {""};
		assert_int_equal(diff_rule_parse(&r, cases[i].text, &err), -EINVAL);
		if (!strstr(err.msg, cases[i].says))
			fail_msg("\"%s\" does not say \"%s\"", err.msg, cases[i].says);
		assert_null(r.text);
	}
}

/* Whatever bytes come, the parser ends, and frees what it took. */
static void test_any_bytes_as_a_rule_are_survived(void **state)
{
	static const char alphabet[] = "wallcpu_per_work{}=,*\"<>%x5.- processclass:new_finding\n\t";

	(void)state;
	for (unsigned trial = 0; trial < 20000; trial++) {
		char text[40];
		size_t n = (size_t)(fixture_uniform() * 39);
		struct diff_rule r;
		struct err err = {""};
		for (size_t i = 0; i < n; i++)
			text[i] = alphabet[(size_t)(fixture_uniform() * (sizeof alphabet - 1))];
		text[n] = 0;
		if (diff_rule_parse(&r, text, &err) == 0)
			diff_rule_fini(&r);
		else
			assert_true(err.msg[0] != 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default_rules_are_those_of_the_tests),
		cmocka_unit_test(test_equal_programs_pass),
		cmocka_unit_test(test_half_the_batch_names_the_pair),
		cmocka_unit_test(test_one_more_query_names_the_pair),
		cmocka_unit_test(test_larger_messages_name_the_pair),
		cmocka_unit_test(test_a_slower_function_is_named),
		cmocka_unit_test(test_a_new_lock_is_named_with_the_function_that_takes_it),
		cmocka_unit_test(test_more_processes_are_named),
		cmocka_unit_test(test_a_new_finding_fails_and_a_lost_one_does_not),
		cmocka_unit_test(test_thresholds_are_kept),
		cmocka_unit_test(test_disturbed_runs_are_no_regression),
		cmocka_unit_test(test_close_calls_are_told),
		cmocka_unit_test(test_renamed_programs_are_matched),
		cmocka_unit_test(test_children_of_a_renamed_program_keep_their_roles),
		cmocka_unit_test(test_commands_are_named_by_what_they_run),
		cmocka_unit_test(test_parts_add_up),
		cmocka_unit_test(test_cpu_of_a_process_is_the_ledgers_and_samples_only_split_it),
		cmocka_unit_test(test_one_run_a_side_shows_differences_and_judges_nothing),
		cmocka_unit_test(test_other_hosts_compare_counts_but_not_times),
		cmocka_unit_test(test_other_backends_compare_what_both_count_alike),
		cmocka_unit_test(test_attached_runs_of_other_lengths_are_compared_per_second),
		cmocka_unit_test(test_empty_profiles_and_missing_work_are_refused),
		cmocka_unit_test(test_a_misspelt_process_is_no_pass),
		cmocka_unit_test(test_work_is_read_off_system_calls),
		cmocka_unit_test(test_rules_that_make_sense_are_understood),
		cmocka_unit_test(test_rules_that_make_no_sense_are_explained),
		cmocka_unit_test(test_any_bytes_as_a_rule_are_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
