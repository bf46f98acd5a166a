# SPDX-License-Identifier: Apache-2.0
"""Help, man pages and completion tell the same, for every command that this binary has. Needs no privileges."""

import os
import re
import shutil
import subprocess
import unittest

import cli_helper as cli

OPTION = re.compile(r"^  (?:(-\w), )? *(--[a-z-]+)(?: (\S+))?", re.M)


def commands():
    return re.findall(r"^  ([a-z]+)  ", cli.run("--help").stdout, re.M)


def options(command):
    """[(short or "", long, argument or "")] of the command's help."""
    return OPTION.findall(cli.run(command, "--help").stdout.split("\nExamples:")[0])


def complete(*words):
    """What bash offers for the last of these words."""
    quoted = " ".join(f"'{w}'" for w in words)
    script = f"""
        . '{cli.SOURCE}/completion/lockstep.bash'
        COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
        _lockstep 2>/dev/null
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


class Help(unittest.TestCase):
    def test_there_are_commands(self):
        self.assertGreaterEqual(set(commands()), {"run", "record", "report", "export"})

    def test_every_help_fits_a_screen_and_ends_with_two_examples(self):
        for args in [["--help"]] + [[c, "--help"] for c in commands()]:
            with self.subTest(args=args):
                done = cli.run(*args)
                lines = done.stdout.splitlines()
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertLessEqual(len(lines), 24)
                self.assertLessEqual(max(map(len, lines)), 80)
                self.assertEqual(lines[-3], "Examples:")
                self.assertTrue(all(re.match("  (sudo )?lockstep ", line) for line in lines[-2:]))

    def test_help_is_the_same_in_all_its_forms(self):
        for c in commands():
            self.assertEqual(cli.run(c, "--help").stdout, cli.run("help", c).stdout)
            self.assertEqual(cli.run(c, "--help").stdout, cli.run(c, "-h").stdout)

    def test_examples_use_options_that_exist(self):
        for c in commands():
            known = {o for short, long, _ in options(c) for o in (short, long) if o}
            for line in cli.run(c, "--help").stdout.splitlines()[-2:]:
                first = re.split(r" -- | \| | && | > ", re.sub(r"\$\(.*?\)", "PID", line))[0]
                for word in re.findall(r"(?<=\s)-{1,2}[A-Za-z][a-z-]*", first):
                    self.assertIn(word, known, line)

    def test_without_a_command_help_goes_to_stderr_and_the_status_says_so(self):
        done = cli.run()
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(done.stderr, cli.run("--help").stdout)

    def test_version(self):
        self.assertRegex(cli.run("--version").stdout, r"\Alockstep \d+\.\d+\.\d+\n\Z")


class Man(unittest.TestCase):
    def page(self, name):
        return (cli.SOURCE / "docs" / "man" / f"{name}.1").read_text()

    def test_every_option_of_every_help_is_in_its_man_page(self):
        for c in commands():
            text = self.page(f"lockstep-{c}")
            for short, long, _ in options(c):
                with self.subTest(command=c, option=long):
                    self.assertRegex(text, rf"Fl -{re.escape(long[2:])}(?![a-z-])")
                    if short:
                        self.assertRegex(text, rf"\.It Fl {short[1]} , Fl -{re.escape(long[2:])}")

    def test_no_man_page_tells_of_options_that_are_not_there(self):
        for c in commands():
            known = {long[2:] for _, long, _ in options(c)}
            told = re.findall(r"^\.It Fl (?:\w , Fl )?-([a-z-]+)", self.page(f"lockstep-{c}"), re.M)
            self.assertEqual(set(told) - known, set(), c)

    def test_the_examples_of_help_and_man_page_are_the_same(self):
        for c in commands():
            told = [line.strip() for line in cli.run(c, "--help").stdout.splitlines()[-2:]]
            self.assertEqual(re.findall(r"^\.Dl (.*)", self.page(f"lockstep-{c}"), re.M), told, c)

    def test_the_overview_lists_every_command(self):
        listed = re.findall(r"^\.It Xr lockstep-(\w+) 1", self.page("lockstep"), re.M)
        self.assertEqual(listed, commands())

    def test_pages_are_sound(self):
        if not shutil.which("mandoc"):
            self.skipTest("mandoc is not installed (./setup.sh --tests)")
        for path in sorted((cli.SOURCE / "docs" / "man").glob("*.1")):
            done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True, check=False)
            self.assertEqual(done.stdout, "", path.name)


class Completion(unittest.TestCase):
    def test_all_commands(self):
        self.assertGreaterEqual(set(complete(cli.LOCKSTEP, "")), set(commands()))
        self.assertEqual(set(complete(cli.LOCKSTEP, "rec")), {"record"})
        self.assertEqual(set(complete(cli.LOCKSTEP, "help", "")), set(commands()))

    def test_all_options_of_all_commands(self):
        for c in commands():
            expected = {o for short, long, _ in options(c) for o in (short, long) if o}
            self.assertEqual(set(complete(cli.LOCKSTEP, c, "-")), expected, c)

    def test_choices(self):
        self.assertEqual(set(complete(cli.LOCKSTEP, "run", "--color", "")), {"auto", "always", "never"})
        self.assertEqual(set(complete(cli.LOCKSTEP, "run", "--backend", "")), {"auto", "kernel", "user"})
        self.assertIn("folded", complete(cli.LOCKSTEP, "export", "--format", "fo"))

    def test_pids(self):
        self.assertIn(str(os.getpid()), complete(cli.LOCKSTEP, "record", "-p", ""))

    def test_the_wrapped_command_is_not_ours_to_complete(self):
        self.assertEqual(complete(cli.LOCKSTEP, "run", "--", "ls", "--"), [])


if __name__ == "__main__":
    cli.main()
