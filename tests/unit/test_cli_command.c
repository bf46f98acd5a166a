/* SPDX-License-Identifier: Apache-2.0
 *
 * Options by table, suggestions, messages. stderr is caught in a temporary file.
 */
#include "cli/command.h"
#include "cli/message.h"
#include "cli/suggest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPT_MODE = OPTION_OWN, OPT_HIDDEN };
static const struct command_option options[] = {
	{'o', "output", "FILE", "where to", NULL},	{'q', "quiet", NULL, "silent", NULL},
	{'v', "verbose", NULL, "loud", NULL},		{OPT_MODE, "mode", "NAME", "how", "fast|slow"},
	{OPT_HIDDEN, "hidden-one", "FILE", NULL, NULL}, {0},
};
static struct command probe = {.name = "probe",
			       .summary = "s",
			       .usage = "probe [OPTIONS]",
			       .about = "about",
			       .options = options,
			       .examples = {"one", "two"}};

struct seen {
	char text[512];
};

static int take(void *ctx, int id, const char *value, struct err *err)
{
	struct seen *s = ctx;
	char item[128];
	if (value && strcmp(value, "refuse-me") == 0)
		return err_set(err, -1, "not that one");
	snprintf(item, sizeof item, "%d=%s ", id, value ? value : "-");
	strcat(s->text, item);
	return 0;
}

struct outcome {
	int status, first;
	struct seen seen;
	char said[2048];
};

/* Runs the reader over words with the given stream (1 or 2) caught. */
static struct outcome read_words(int stream, char **words)
{
	struct outcome o = {0};
	int argc = 0;
	FILE *file = stream == 1 ? stdout : stderr;
	char name[] = "/tmp/test_cli_command.XXXXXX";
	int fd = mkstemp(name), saved;

	unlink(name);
	while (words[argc])
		argc++;
	fflush(file);
	saved = dup(stream);
	dup2(fd, stream);
	o.status = command_read_options(&probe, argc, words, take, &o.seen, &o.first);
	fflush(file);
	dup2(saved, stream);
	close(saved);
	ssize_t n = pread(fd, o.said, sizeof o.said - 1, 0);
	o.said[n > 0 ? n : 0] = '\0';
	close(fd);
	return o;
}
#define WORDS(...) ((char *[]){(char *)"probe", __VA_ARGS__, NULL})

static void test_all_forms_of_an_option_are_read(void **state)
{
	(void)state;
	struct outcome o = read_words(2, WORDS("-o", "a", "-ob", "--output", "c", "--output=d", "-qv", "-qoe", "--mode=slow"));
	assert_int_equal(o.status, -1);
	assert_string_equal(o.seen.text, "111=a 111=b 111=c 111=d 113=- 118=- 113=- 111=e 300=slow ");
	assert_string_equal(o.said, "");
}

static void test_operands_are_permuted_to_the_end(void **state)
{
	(void)state;
	char **w = WORDS("file", "-q", "other", "-o", "a");
	struct outcome o = read_words(2, w);
	assert_int_equal(o.status, -1);
	assert_int_equal(o.first, 4);
	assert_string_equal(w[4], "file");
	assert_string_equal(w[5], "other");
}

static void test_a_foreign_command_line_is_left_alone(void **state)
{
	(void)state;
	probe.stop_at_operand = true;
	char **w = WORDS("-q", "ls", "-o", "--unknown");
	struct outcome o = read_words(2, w);
	assert_int_equal(o.status, -1);
	assert_int_equal(o.first, 2);
	assert_string_equal(o.seen.text, "113=- ");
	w = WORDS("-q", "--", "-ls", "-q");
	o = read_words(2, w);
	assert_int_equal(o.first, 3);
	assert_string_equal(o.seen.text, "113=- ");
	probe.stop_at_operand = false;
}

static void test_bad_options_get_one_line_that_names_them(void **state)
{
	(void)state;
	static const struct {
		const char *word, *next, *said;
	} bad[] = {
		{"--outptu", NULL, "unknown option --outptu, did you mean --output?"},
		{"--outp", "x", "unknown option --outp"},
		{"--outp=x", NULL, "unknown option --outp"},
		{"--zzzzzz", NULL, "unknown option --zzzzzz;"},
		{"-z", NULL, "unknown option -z"},
		{"-qz", NULL, "unknown option -z"},
		{"--quiet=yes", NULL, "--quiet takes no argument"},
		{"--output", NULL, "--output needs an argument (FILE)"},
		{"-o", NULL, "-o needs an argument (FILE)"},
		{"--mode", "middling", "--mode middling: not one of fast|slow"},
		{"--mode", "fas", "not one of"},
		{"--mode", "", "not one of"},
		{"--output", "refuse-me", "--output: not that one"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct outcome o = read_words(2, WORDS((char *)bad[i].word, (char *)bad[i].next));
		assert_int_equal(o.status, EXIT_USAGE);
		if (!strstr(o.said, bad[i].said))
			fail_msg("'%s' said: %s", bad[i].word, o.said);
		assert_non_null(strstr(o.said, "see 'lockstep probe --help'"));
		assert_int_equal(strlen(o.said), strcspn(o.said, "\n") + 1);
	}
}

static void test_help_lists_options_but_not_hidden_ones_and_ends_with_examples(void **state)
{
	(void)state;
	struct outcome o = read_words(1, WORDS("-q", "--help", "--unknown"));
	assert_int_equal(o.status, EXIT_FINE);
	assert_non_null(strstr(o.said, "usage: lockstep probe [OPTIONS]\n"));
	assert_non_null(strstr(o.said, "-o, --output FILE"));
	assert_non_null(strstr(o.said, "    --mode NAME"));
	assert_null(strstr(o.said, "hidden-one"));
	const char *end = strstr(o.said, "\nExamples:\n  one\n  two\n");
	assert_non_null(end);
	assert_string_equal(end, "\nExamples:\n  one\n  two\n");
}

static void test_suggestions_are_near_or_none(void **state)
{
	(void)state;
	static const char *const names[] = {"run", "record", "report", "export", NULL};
	assert_string_equal(suggest("recrod", names), "record");
	assert_string_equal(suggest("reprot", names), "report");
	assert_string_equal(suggest("rnu", names), "run");
	assert_string_equal(suggest("exprot", names), "export");
	assert_null(suggest("frobnicate", names));
	assert_null(suggest("", names));
	assert_null(suggest("a-word-that-is-much-longer-than-any-command-could-be-at-all", names));
}

static void test_messages_neutralise_control_characters(void **state)
{
	(void)state;
	struct outcome o = read_words(2, WORDS("--mode", "\033[2Jevil\nline\r\x7f"));
	assert_int_equal(o.status, EXIT_USAGE);
	assert_non_null(strstr(o.said, "?[2Jevil?line??"));
	assert_null(strchr(o.said, '\033'));
	assert_int_equal(strlen(o.said), strcspn(o.said, "\n") + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_forms_of_an_option_are_read),
		cmocka_unit_test(test_operands_are_permuted_to_the_end),
		cmocka_unit_test(test_a_foreign_command_line_is_left_alone),
		cmocka_unit_test(test_bad_options_get_one_line_that_names_them),
		cmocka_unit_test(test_help_lists_options_but_not_hidden_ones_and_ends_with_examples),
		cmocka_unit_test(test_suggestions_are_near_or_none),
		cmocka_unit_test(test_messages_neutralise_control_characters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
