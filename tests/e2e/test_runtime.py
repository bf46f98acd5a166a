# SPDX-License-Identifier: Apache-2.0
"""Python and Java under lockstep: the story of a Java parent and a Python child, waits that belong to the right caller, and
multiprocessing, whose findings must name a line of the user's."""
import glob
import math
import os
import re
import shutil
import subprocess
import unittest

from lib import SOURCE_DIR, Case, judge, main

RUNTIME = os.path.join(SOURCE_DIR, "examples", "runtime")
PYTHON = "/usr/bin/python3"


def sites(name):
    """{label: line} of the lines marked with `site: LABEL` in a source file."""
    found = {}
    with open(os.path.join(RUNTIME, name)) as f:
        for number, line in enumerate(f, 1):
            m = re.search(r"site: (\w+)", line)
            if m:
                found[m.group(1)] = number
    return found


def site(function, name, label):
    return {"function": function, "file": name, "line": sites(name)[label]}


def interpreters():
    """The system's Python and those of pyenv, from 3.8 on."""
    found = [PYTHON]
    for path in sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python3"))):
        if int(re.search(r"/3\.(\d+)", path).group(1)) >= 8:
            found.append(path)
    return found


class Java(Case):
    @unittest.skipUnless(shutil.which("javac"), "no javac here")
    def test_a_java_parent_and_its_python_child_are_named_with_method_and_line(self):
        subprocess.run(["javac", "-d", self.tmp.name, os.path.join(RUNTIME, "Feeder.java")], check=True, timeout=120)
        run = self.record(["java", "-cp", self.tmp.name, "Feeder", PYTHON, os.path.join(RUNTIME, "consumer.py"), "--seconds", "3"])
        truth, report = run.truth, run.report
        parent, child = (judge.pids_of(truth, r)[0] for r in ("parent", "child"))
        self.assertEqual([report.processes[p]["runtime"] for p in (parent, child)], ["java", "python"])
        waits, reads = site("next_message", "consumer.py", "child_waits"), site("readStatus", "Feeder.java", "parent_waits")
        for waiter, waker, where in ((child, parent, waits), (parent, child, reads)):
            edges = [e for e in report.edges if (e["waiter_pid"], e["waker_pid"]) == (waiter, waker)]
            self.assertTrue(any(report.has_site(e["waiter_stack"], where) for e in edges), (where, edges))
        if "lockstep" not in report.kinds() and ("run_queue" in report.kinds() or truth["items_per_s"] < 2000):
            self.skipTest(f"the machine had no CPU to spare: {truth['items_per_s']:.0f} batches a second, findings {report.kinds()}")
        finding = next(f for f in report.findings if f["kind"] == "lockstep")
        self.assertEqual(sorted(finding["pids"]), sorted([parent, child]))
        text = run.rows("SELECT where_text FROM findings WHERE kind = 'lockstep'")[0]["where_text"]
        self.assertIn(f"Feeder.readStatus (Feeder.java:{reads['line']})", text)
        self.assertIn(f"next_message (consumer.py:{waits['line']})", text)


class Python(Case):
    def waits_of(self, run, pid, function):
        """Seconds that the process was blocked on pipes below a function of that name, on the way of others or idle."""
        rows = run.rows("""SELECT coalesce(sum(w.blocked_ns + w.idle_ns), 0) AS ns FROM waits w WHERE w.pid = ? AND w.class = 'pipe_read' AND EXISTS
            (SELECT 1 FROM stack_frames s JOIN frames f ON f.ix = s.frame_ix WHERE s.stack_ix = w.stack_ix AND f.function = ?)""",
                        pid, function)
        return rows[0]["ns"] / 1e9

    def test_two_callers_of_one_read_get_their_own_waiting_time(self):
        for python in interpreters():
            with self.subTest(python=python):
                run = self.record([python, os.path.join(RUNTIME, "two_readers.py"), "4"])
                pid = judge.pids_of(run.truth, "reader")[0]
                seen = {f: self.waits_of(run, pid, f) for f in ("first", "second")}
                true = run.truth["waited"]
                share, true_share = seen["first"] / sum(seen.values()), true["first"] / sum(true.values())
                # One wait in 64 is sampled and the site's exact time is split by the samples (Horvitz-Thompson): a busy machine makes
                # a few long waits, whose lot decides.
                squares = run.truth["squares"]
                sigma = math.sqrt(63 * (squares["first"] * (1 - true_share) ** 2 + squares["second"] * true_share ** 2)) / sum(true.values())
                print(f"{run.truth['version']}: share {share:.3f}, true {true_share:.3f} of {sum(true.values()):.2f} s in "
                      f"{sum(run.truth['calls'].values())} waits, sampling error {sigma:.3f}", flush=True)
                if sigma > 0.05:
                    self.skipTest("the machine is too busy: a few long waits hold most of the time")
                error = 0.05 * true_share + 3 * sigma
                self.assertLess(abs(share - true_share), error, (seen, true))
                self.assertGreater(sum(seen.values()), 0.8 * sum(true.values()), (seen, true))

    def check_site(self, kind, function, *more):
        """Some finding or, where there is none, the busiest edge names that line of ours."""
        run = self.record([PYTHON, os.path.join(RUNTIME, "multi.py"), kind, "2", *more])
        line = sites("multi.py")[kind]
        where = " ".join(r["where_text"] for r in run.rows("SELECT where_text FROM findings"))
        self.assertIn(f"{function} (multi.py:{line})", where)
        return run

    def test_a_pipe_between_processes_names_both_lines(self):
        run = self.check_site("pipe", "pipe")
        self.assertIn(f"echo (multi.py:{sites('multi.py')['echo']})", run.rows("SELECT where_text FROM findings")[0]["where_text"])

    def test_a_pipe_to_a_spawned_child_names_both_lines(self):
        run = self.check_site("pipe", "pipe", "spawn")
        self.assertIn(f"echo (multi.py:{sites('multi.py')['echo']})", run.rows("SELECT where_text FROM findings")[0]["where_text"])

    def test_a_queue_names_our_line(self):
        self.check_site("queue", "queue")

    def test_a_managers_dict_names_our_line(self):
        run = self.record([PYTHON, os.path.join(RUNTIME, "multi.py"), "manager", "2"])
        line = sites("multi.py")["manager"]
        stacks = {e["waiter_stack"] for e in run.report.edges if e["class"] == "unix_read"} if run.report.edges and \
            "class" in run.report.edges[0] else {e["waiter_stack"] for e in run.report.edges}
        self.assertTrue(any(run.report.has_site(s, {"function": "count", "file": "multi.py", "line": line}) for s in stacks if s is not None))

    def test_frames_of_a_pool_are_shown_with_our_line(self):
        run = self.record([PYTHON, os.path.join(RUNTIME, "multi.py"), "pool", "2"])
        line = sites("multi.py")["pool"]
        self.assertTrue(run.rows("SELECT 1 FROM frames WHERE function = 'pool' AND line = ?", line))
        self.assertTrue(run.rows("SELECT 1 FROM frames WHERE language = 'python' AND file LIKE '%multiprocessing/pool.py'"))


if __name__ == "__main__":
    main()
