# SPDX-License-Identifier: Apache-2.0
"""lockstep diff and compare: equal programs pass, seeded regressions fail with the right reason in the first line, bad input gets one
line. The target (bench/gate_target.c) does a fixed amount of work and has a knob per regression."""

import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree

import cli_helper as cli

TARGET = cli.EXAMPLES.parent / "bench" / "gate_target"
RECORDS = 4800
RUNS = 4  # a side: the least that can decide
WORK = r"done: ([0-9]+)"


def target(*options):
    return " ".join([str(TARGET), "--records", str(RECORDS), *options])


class Folder(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="test_gate."))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.tmp = self.dir / "tmp"
        self.tmp.mkdir()
        self.env = dict(os.environ, TMPDIR=str(self.tmp))

    def run_it(self, *args, **kwargs):
        return cli.run(*args, env=self.env, cwd=self.dir, **kwargs)

    def says(self, done, status, *words):
        """Exit status, and one line on stderr with these words."""
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("lockstep"), done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)


class Usage(Folder):
    """No privileges needed."""

    def test_diff_needs_two_sides(self):
        self.says(self.run_it("diff"), 2, "--vs is missing")
        self.says(self.run_it("diff", "a.db"), 2, "--vs is missing")
        self.says(self.run_it("diff", "--vs", "a.db"), 2, "no profile precedes --vs")
        self.says(self.run_it("diff", "a.db", "--vs"), 2, "no profile follows --vs")
        self.says(self.run_it("diff", "a.db", "--vs", "b.db", "--vs", "c.db"), 2, "given twice")

    def test_compare_needs_two_commands(self):
        self.says(self.run_it("compare"), 2, "--base is missing")
        self.says(self.run_it("compare", "--base", "true"), 2, "--new is missing")
        self.says(self.run_it("compare", "--base", "true", "--new", " "), 2, "the command is empty")
        self.says(self.run_it("compare", "--base", "true", "--new", "ls", "-l"), 2)
        self.says(self.run_it("compare", "--base", "true", "--new", "ls", "x"), 2, "'x' belongs to no option")

    def test_values_are_checked_before_anything_runs(self):
        two = ["compare", "--base", "touch ran", "--new", "touch ran"]
        for bad, word in [
            (["--fail-on", "wal > 5%"], "unknown metric 'wal'"),
            (["--fail-on", "wall > 5"], "needs a unit"),
            (["--runs", "0"], "from 1 to"),
            (["--runs", "3", "--fail-on", "default"], "--runs 4 or more"),
            (["--work", "-1"], "above 0"),
            (["--work", "5:x"], "above 0"),
            (["--work-from-syscalls", "open"], "write or read"),
            (["--work-from-output", "(["], "regular expression"),
            (["--work", "5", "--work-from-output", "x"], "one of them"),
            (["--work", "5", "--work-from-syscalls", "write"], "one of them"),
            (["--json", "--markdown"], "one of --json and --markdown"),
            (["--junit", "x.xml"], "give --fail-on"),
            (["--per", "minute"], "not one of run|second|work"),
        ]:
            with self.subTest(bad=bad):
                self.says(self.run_it(*two, *bad), 2, word)
        done = self.run_it(*two, "-o", "no/such/folder/x")
        self.assertEqual(done.returncode, 3)
        self.assertFalse((self.dir / "ran").exists())

    def test_profiles_that_are_none_get_one_line(self):
        (self.dir / "text.db").write_text("SELECT")
        (self.dir / "empty.db").write_text("")
        sqlite3.connect(self.dir / "foreign.db").execute("CREATE TABLE t(a)").connection.close()
        for name, word in [("missing.db", "No such file"), ("text.db", "not a lockstep profile"), ("empty.db", "is empty"), (".", "a directory"),
                           ("foreign.db", "not a lockstep profile")]:
            with self.subTest(name=name):
                self.says(self.run_it("diff", name, "--vs", name), 3, word)


@cli.needs_backend("kernel")
class Gate(Folder):
    VARIANTS = {"base": [], "equal": [], "batch": ["--batch", "200"], "queries": ["--queries", "2"], "size": ["--size", "128"],
                # 40 % here, so that a test machine under any load sees it; bench/gate_power.sh measures 10 %
                "slow": ["--slow", "40"]}

    @classmethod
    def setUpClass(cls):
        """Profiles of each variant, made once and interleaved."""
        cls.profiles = pathlib.Path(tempfile.mkdtemp(prefix="test_gate_profiles."))
        cls.addClassCleanup(shutil.rmtree, cls.profiles, ignore_errors=True)
        for i in range(RUNS):
            for name, options in cls.VARIANTS.items():
                done = cli.run("record", "-q", "-F", "1999", "-o", cls.profiles / f"{name}{i}.db", "--", *target(*options).split())
                assert done.returncode == 0, done.stderr

    def diff(self, variant, *options):
        files = [[self.profiles / f"{name}{i}.db" for i in range(RUNS)] for name in ("base", variant)]
        return self.run_it("diff", *files[0], "--vs", *files[1], "--work", RECORDS, *options)

    def fails(self, variant, *words):
        done = self.diff(variant, "--fail-on", "default")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        first = re.sub(r"\s+", " ", done.stdout.split(f"{RUNS} base runs")[0])
        self.assertTrue(first.startswith("FAILED: "), first)
        for word in words:
            self.assertIn(word, first)
        return done

    def test_equal_programs_pass(self):
        # Counts here: with four runs a side on any test machine, times are for bench/gate_power.sh
        rules = [f"{m}{{process=*}} > 10%" for m in ("messages", "round_trips", "message_bytes", "processes")]
        done = self.diff("equal", *[word for rule in rules for word in ("--fail-on", rule)])
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue(done.stdout.startswith("PASSED 4 rules"), done.stdout)

    def test_half_the_batch_names_client_and_server(self):
        self.fails("batch", "gate_target", "gate_target:server", "over pipe", "messages per unit of work")

    def test_one_more_query_names_server_and_store(self):
        self.fails("queries", "gate_target:server", "gate_target:store", "over pipe", "per unit of work", "-> 2 (x2.0")

    def test_larger_messages_name_client_and_server(self):
        self.fails("size", "gate_target -> gate_target:server over pipe: bytes per message", "(x2.00")

    def test_a_slower_function_is_named(self):
        done = self.fails("slow", "parse_record (gate_target.c:", "gate_target:server", "user CPU time per unit of work")
        self.assertIn("handle_record < worker_main", re.sub(r"\s+", " ", done.stdout))

    def test_compare_runs_both_in_turn_and_all_outputs_tell_the_same(self):
        log = self.dir / "log"
        two = [f"echo {side} >>{log}; {target(*self.VARIANTS[v])}" for side, v in (("A", "base"), ("B", "queries"))]
        done = self.run_it("compare", "--base", two[0], "--new", two[1], "--runs", RUNS, "--warmup", 1, "--work-from-output", WORK, "--fail-on",
                           "messages{process=*} > 50%", "--json", "--junit", "g.xml", "--summary", "s.md", "--folded", "f.txt", "--keep", "kept")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(log.read_text().split(), list("AB" + "ABBAABBA"))
        self.assertEqual(list(self.tmp.iterdir()), [], "left behind")
        diff = json.loads(done.stdout)
        self.assertEqual((diff["schema"], diff["outcome"], diff["per"]), ("lockstep-diff/1", "failed", "work"))
        hits = diff["rules"][0]["hits"]
        self.assertEqual({h["process"] for h in hits}, {"gate_target:server", "gate_target:store"})
        for h in hits:
            self.assertEqual(len(h["base"]), RUNS)
            self.assertAlmostEqual(h["ratio"], 2, delta=0.02)
            self.assertTrue(h["low"] <= h["ratio"] <= h["high"])
        self.assertIn("server", diff["cause"]["process"] + (diff["cause"]["peer"] or ""))
        xml = ElementTree.parse(self.dir / "g.xml").getroot()
        self.assertEqual([c.get("name") for c in xml.iter("testcase")], ["messages{process=*} > 50%"])
        self.assertEqual(len(list(xml.iter("failure"))), 1)
        summary = (self.dir / "s.md").read_text()
        self.assertIn(":x: FAILED", summary)
        self.assertLess(len(summary), 65536)
        folded = (self.dir / "f.txt").read_text().splitlines()
        self.assertTrue(all(re.fullmatch(r"\S+ [0-9.]+ [0-9.]+", line) for line in folded), folded[:3])
        self.assertTrue(any("parse_record" in line for line in folded))
        kept = sorted(p.name for p in (self.dir / "kept").iterdir())
        self.assertEqual(kept, sorted(f"{side}-{i}.db" for side in ("base", "new") for i in range(1, RUNS + 1)))
        # The kept profiles say the same again, by diff.
        again = self.run_it("diff", *[f"kept/base-{i}.db" for i in range(1, RUNS + 1)], "--vs", *[f"kept/new-{i}.db" for i in range(1, RUNS + 1)],
                            "--work", RECORDS, "--fail-on", "messages{process=*} > 50%", "--json")
        self.assertEqual(again.returncode, 1)
        self.assertEqual([h["new"] for h in json.loads(again.stdout)["rules"][0]["hits"]], [h["new"] for h in hits])

    def test_one_run_a_side_differs_without_verdict(self):
        one = ["diff", self.profiles / "base0.db", "--vs", self.profiles / "queries0.db", "--work", RECORDS]
        done = self.run_it(*one)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("CHANGED: ", done.stdout)
        self.assertIn("one run a side", re.sub(r"\s+", " ", done.stdout))
        judged = self.run_it(*one, "--fail-on", "messages > 10%")
        self.assertEqual(judged.returncode, 3)
        self.assertIn("too few", judged.stderr)

    def test_profiles_of_other_hosts_and_versions_are_compared_where_that_is_fair(self):
        other = self.dir / "other.db"
        shutil.copy(self.profiles / "equal0.db", other)
        db = sqlite3.connect(other)
        db.execute("UPDATE meta SET host = 'elsewhere', version = '9.9.9'")
        db.commit()
        db.close()
        base = [self.profiles / f"base{i}.db" for i in range(RUNS)]
        four = ["diff", *base, "--vs", *[other] * RUNS, "--work", RECORDS]
        done = self.run_it(*four, "--fail-on", "messages{process=*} > 10%")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("elsewhere", done.stdout)
        self.assertIn("9.9.9", done.stdout)
        self.assertEqual(self.run_it(*four, "--fail-on", "cpu > 1000%").returncode, 3)
        self.assertEqual(self.run_it(*four, "--fail-on", "cpu > 1000%", "--same-machine").returncode, 0)

    def test_corrupt_profiles_are_refused(self):
        bad = self.dir / "bad.db"
        data = bytearray((self.profiles / "base0.db").read_bytes())
        bad.write_bytes(data[: len(data) // 2])
        self.says(self.run_it("diff", bad, "--vs", bad), 3, "truncated")
        data[3000:9000] = b"x" * 6000
        bad.write_bytes(data)
        self.says(self.run_it("diff", bad, "--vs", bad), 3, "corrupt")

    def test_a_failing_command_stops_it_and_is_shown(self):
        script = "n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) >n; echo this is run $n; [ $n -lt 4 ] || { echo out of luck >&2; exit 7; }"
        done = self.run_it("compare", "--base", script, "--new", script, "--fail-on", "default")
        self.assertEqual(done.returncode, 3)
        self.assertIn("| out of luck", done.stderr)
        self.assertIn("new run 2 failed with status 7", done.stderr)
        self.assertEqual((self.dir / "n").read_text().strip(), "5")
        self.assertEqual(list(self.tmp.iterdir()), [], "left behind")

    def test_commands_that_cannot_run_are_told(self):
        done = self.run_it("compare", "--base", "/no/such/program", "--new", "true")
        self.assertEqual(done.returncode, 3)
        self.assertIn("failed with status 127", done.stderr)

    def test_output_without_the_work_is_told(self):
        done = self.run_it("compare", "--base", "echo hello", "--new", "echo hello", "--work-from-output", "items ([0-9]+)")
        self.assertEqual(done.returncode, 3)
        self.assertIn("--work-from-output", done.stderr)
        self.assertIn("| hello", done.stderr)

    def test_interrupts_leave_nothing(self):
        for sig in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(sig=sig):
                started = self.dir / "started"
                started.unlink(missing_ok=True)
                child = subprocess.Popen([cli.LOCKSTEP, "compare", "--base", f"touch {started}; exec sleep 60", "--new", "true"], cwd=self.dir,
                                         env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
                deadline = time.monotonic() + 60
                while not started.exists() and time.monotonic() < deadline:
                    time.sleep(0.02)
                os.killpg(child.pid, sig)
                child.communicate(timeout=60)
                self.assertEqual(child.returncode, 128 + sig)
                self.assertEqual(list(self.tmp.iterdir()), [], "left behind")

    def test_hostile_names_are_harmless_in_every_output(self):
        evil = self.dir / "e\x1b[31mv|i<l>`&\"x"
        shutil.copy(shutil.which("true"), evil)
        for name in ("a.db", "b.db"):
            self.assertEqual(self.run_it("record", "-q", "-o", name, "--", evil).returncode, 0)
        for fmt in ([], ["--json"], ["--markdown"]):
            done = self.run_it("diff", "a.db", "a.db", "a.db", "a.db", "--vs", "b.db", "b.db", "b.db", "b.db", "--fail-on", "cpu{process=*} > 0.001%",
                               "--junit", "h.xml", "--folded", "h.txt", *fmt)
            self.assertIn(done.returncode, (0, 1), done.stderr)
            for text in (done.stdout, (self.dir / "h.xml").read_text(), (self.dir / "h.txt").read_text()):
                self.assertNotIn("\x1b", text)
            ElementTree.parse(self.dir / "h.xml")
            if fmt == ["--json"]:
                json.loads(done.stdout)
            if fmt == ["--markdown"]:
                self.assertNotIn("<l>", done.stdout.replace("<details>", ""))

    def test_renamed_and_resized_programs_are_still_matched(self):
        shutil.copy(TARGET, self.dir / "service-1.4")
        shutil.copy(TARGET, self.dir / "service-1.5")
        done = self.run_it("compare", "--base", f"./service-1.4 --records {RECORDS}", "--new", f"./service-1.5 --records {RECORDS} --workers 4",
                           "--runs", RUNS, "--warmup", 0, "--work", RECORDS, "--fail-on", "messages{process=*} > 10%")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("service-1.4 is service-1.5 in new", re.sub(r"\s+", " ", done.stdout))


@cli.needs_backend("kernel")
class Script(Folder):
    """examples/ci_gate.sh."""

    def gate(self, *options):
        env = dict(self.env, LOCKSTEP=str(cli.LOCKSTEP), GATE_DIR=str(self.dir))
        env.pop("GITHUB_STEP_SUMMARY", None)
        return subprocess.run([cli.SOURCE / "examples" / "ci_gate.sh", target(), target(*options), "--work-from-output", WORK, "--runs", str(RUNS), "--warmup", "0",
                               "--fail-on", "messages{process=*} > 10%"], env=env, check=False,
                              capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL)

    def test_passes_on_equal_programs_and_fails_on_the_regressed_one_for_the_right_reason(self):
        done = self.gate()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        done = self.gate("--queries", "2")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(re.sub(r"\s+", " ", done.stdout), r"^FAILED: gate_target:\w+ \S+ gate_target:\w+ over pipe: .* -> 2 \(x2")
        self.assertIn("FAILED", (self.dir / "lockstep-gate.md").read_text())
        ElementTree.parse(self.dir / "lockstep-gate.xml")

    def test_usage(self):
        done = subprocess.run([cli.SOURCE / "examples" / "ci_gate.sh", "one"], check=False, capture_output=True, text=True, timeout=20)
        self.assertEqual((done.returncode, done.stderr[:6]), (2, "usage:"))


@cli.needs_backend("user")
class Unprivileged(Folder):
    def test_the_user_backend_catches_doubled_queries(self):
        done = self.run_it("compare", "--backend", "user", "--base", target(), "--new", target("--queries", "2"), "--runs", RUNS, "--warmup", 0,
                           "--work-from-output", WORK, "--fail-on", "messages{process=*} > 50%")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"FAILED: gate_target:(server|store)")


if __name__ == "__main__":
    cli.main()
