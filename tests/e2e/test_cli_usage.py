# SPDX-License-Identifier: Apache-2.0
"""Bad input of every option of run, record, report and export: one clear line, exit 2 or 3 (125 where a command was to be wrapped),
and the command is not run. Needs no privileges."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import cli_helper as cli


class BadInput(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.path = pathlib.Path(self.dir.name)

    def refused(self, status, *args, says="", **kwargs):
        done = cli.run(*args, cwd=self.path, **kwargs)
        told = f"{args}: {done.returncode}: {done.stderr!r}"
        self.assertEqual(done.returncode, status, told)
        self.assertEqual(done.stdout, "", told)
        self.assertEqual(done.stderr.count("\n"), 1, told)
        self.assertTrue(done.stderr.startswith("lockstep"), told)
        self.assertIn(says, done.stderr)
        self.assertTrue(all(ch == "\n" or ch.isprintable() for ch in done.stderr), told)

    def both(self, status, *args, says=""):
        """The same for run and record, with a command that must not run."""
        for command in ("run", "record"):
            self.refused(status, command, *args, "--", "touch", self.path / "ran", says=says)
            self.assertFalse((self.path / "ran").exists())

    def test_commands(self):
        self.refused(2, "recrod", says="did you mean 'record'?")
        self.refused(2, "frobnicate", says="see 'lockstep --help'")
        self.refused(2, "", says="unknown command")
        self.refused(2, "--frobnicate", says="a command comes first")
        self.refused(2, "help", "frobnicate", says="unknown command")
        self.refused(2, "\033[31mred\033[0m", says="?[31mred")

    def test_durations(self):
        for value in ("-1", "0", "-0.5", "x", "", "nan", "inf", "1e99", "5 s", "1,5", "99999h", "3d"):
            self.both(2, f"--duration={value}", says="--duration")
        self.both(2, "-d", "-1", says="above 0")

    def test_frequencies(self):
        for value in ("-1", "10001", "1e9", "99.5", "x", "", "99999999999999999999999"):
            self.both(2, f"--frequency={value}", says="no sampling frequency")

    def test_choices(self):
        self.both(2, "--backend", "ebpf", says="not one of auto|kernel|user")
        self.both(2, "--backend=", says="not one of")
        self.both(2, "--color", "yes", says="not one of auto|always|never")

    def test_options(self):
        self.both(2, "--frequncy", "1", says="did you mean --frequency?")
        self.both(2, "--freq", "1", says="unknown option --freq")
        self.both(2, "-Z", says="unknown option -Z")
        self.both(2, "--quiet=1", says="takes no argument")
        self.refused(2, "run", "-o", says="needs an argument")
        self.refused(2, "run", "--duration", says="needs an argument")

    def test_targets(self):
        for command in ("run", "record"):
            self.refused(2, command, says="nothing to observe")
            self.refused(2, command, "--", says="nothing to observe")
            self.refused(2, command, "-d", "1", says="nothing to observe")
            self.refused(2, command, "-p", str(os.getpid()), "--", "true", says="both -p and a command")
            self.refused(2, command, "--", "", says="the command's name is empty")

    def test_pids(self):
        for value in ("", "0", "-1", "x", "1x", "1,,2", ",1", "1,", "4294967297", "99999999999999999999", "1 2"):
            self.refused(2, "record", f"--pid={value}", says="--pid")
        gone = subprocess.Popen(["true"])
        gone.wait()
        self.refused(3, "record", "-p", gone.pid, says="no such process")
        self.refused(3, "record", "-p", f"{os.getpid()},{gone.pid}", says=str(gone.pid))
        self.assertEqual(list(self.path.iterdir()), [])

    def test_pid_one(self):
        if os.getpid() == 1:
            self.skipTest("we are PID 1 ourselves")
        self.refused(3, "record", "-p", "1", says="whole machine")

    def test_a_zombie(self):
        child = subprocess.Popen(["true"])
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        self.refused(3, "record", "-p", child.pid, says="zombie")
        child.wait()

    def test_own_pid(self):
        # exec keeps the PID: the shell's becomes lockstep's.
        done = subprocess.run(["sh", "-c", f'exec "{cli.LOCKSTEP}" record -p $$'], capture_output=True, text=True, timeout=60,
                              check=False, cwd=self.path)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (3, 1))
        self.assertIn("lockstep itself", done.stderr)

    def test_outputs_are_checked_before_the_command_runs(self):
        (self.path / "notes.txt").write_text("dear diary")
        (self.path / "folder").mkdir()
        for output, says in (("notes.txt", "no lockstep profile"), ("folder", "is a folder"), ("/dev/null", "not a regular file"),
                             ("no/such/folder.db", "No such file"), ("", "empty"), ("notes.txt/x", "Not a directory")):
            self.refused(125, "record", "-o", output, "--", "touch", "ran", says=says)
            self.refused(125, "run", "--save", output, "--", "touch", "ran", says=says)
            self.refused(3, "record", "-o", output, "-p", os.getpid(), says=says)
        for output, says in (("folder", "is a folder"), ("no/such/file", "No such file"), ("", "empty")):
            self.refused(125, "run", "-o", output, "--", "touch", "ran", says=says)
        self.assertFalse((self.path / "ran").exists())
        self.assertEqual((self.path / "notes.txt").read_text(), "dear diary")

    def test_report_and_export(self):
        (self.path / "text").write_text("hello")
        (self.path / "empty").write_text("")
        self.refused(2, "report", says="which profile?")
        self.refused(2, "report", "a", "b", says="one profile")
        self.refused(2, "report", "x", "--json", "--markdown", says="one format at a time")
        for value in ("0", "-1", "x", "", "100001"):
            self.refused(2, "report", "x", f"--top={value}", says="--top")
            self.refused(2, "report", "x", f"--pid={value if value != '100001' else '1e3'}", says="--pid")
        self.refused(2, "export", "x", says="--format is missing")
        self.refused(2, "export", "x", "--format", "svg", says="not one of")
        self.refused(2, "export", "x", "--format", "folded", "--kind", "io", says="not one of cpu|wait|all")
        self.refused(2, "export", "--format", "folded", says="which profile?")
        for command in (["report"], ["report", "--json"], ["export", "--format", "folded"]):
            for file in ("missing", "text", "empty", ".", "/dev/null", ""):
                self.refused(3, *command, file)
        self.assertEqual(sorted(p.name for p in self.path.iterdir()), ["empty", "text"])


if __name__ == "__main__":
    cli.main()
