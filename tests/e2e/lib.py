# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: running programs under lockstep, reading profiles, and visible skips.

LOCKSTEP, EXAMPLES and SOURCE_DIR come from CTest; without them the build directory `build` of this tree is used.
"""
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest

SOURCE_DIR = os.environ.get("SOURCE_DIR", os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))
LOCKSTEP = os.environ.get("LOCKSTEP", os.path.join(SOURCE_DIR, "build", "lockstep"))
EXAMPLES = os.environ.get("EXAMPLES", os.path.join(SOURCE_DIR, "build", "examples"))
STORIES = os.path.join(SOURCE_DIR, "examples", "stories")
sys.path.insert(0, STORIES)
import judge  # noqa: E402

SKIP = 77
TIMEOUT_S = 120


def example(name):
    return os.path.join(EXAMPLES, name)


def why_no_kernel_backend():
    """A sentence when this host cannot run the kernel backend whatever lockstep does; None when it must work."""
    if os.geteuid() != 0:
        return "not root"
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        return "the kernel has no BTF"
    with open("/proc/self/status") as f:
        effective = next(int(line.split()[1], 16) for line in f if line.startswith("CapEff:"))
    if not effective & (1 << 21 | 1 << 39):
        return "neither CAP_SYS_ADMIN nor CAP_BPF"
    return None


class Run:
    """One finished `lockstep record`: status, stdout, stderr, truth, report, and the open profile."""

    def __init__(self, status, stdout, stderr, path):
        self.status, self.stdout, self.stderr, self.path = status, stdout, stderr, path
        self.truth = judge.find_truth(stdout)
        self._report = None

    @property
    def report(self):
        if self._report is None:
            p = subprocess.run([LOCKSTEP, "report", self.path, "--json"], capture_output=True, text=True, timeout=TIMEOUT_S)
            if p.returncode:
                raise AssertionError(f"report: status {p.returncode}: {p.stderr}")
            self._report = judge.Report(json.loads(p.stdout))
        return self._report

    def rows(self, sql, *args):
        """Rows of a query on the profile, as dictionaries."""
        db = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        db.row_factory = sqlite3.Row
        db.text_factory = lambda b: b.decode("utf-8", "surrogateescape")
        try:
            return [dict(r) for r in db.execute(sql, args)]
        finally:
            db.close()


class Case(unittest.TestCase):
    """A test with a temporary directory, in which nothing of lockstep may remain but what was asked for."""

    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory(prefix="lockstep.e2e.")
        self.addCleanup(self.tmp.cleanup)
        self.maxDiff = None

    def path(self, name):
        return os.path.join(self.tmp.name, name)

    def record(self, argv, options=(), check=True, backend="kernel", **kwargs):
        """Runs argv under `lockstep record`. CHECK: it must end with 0."""
        db = self.path(f"run{len(os.listdir(self.tmp.name))}.db")
        stdin_r, stdin_w = os.pipe()  # stays open, so that no program sees the end of its input
        try:
            p = subprocess.run([LOCKSTEP, "record", "--quiet", "--backend", backend, *options, "-o", db, "--", *argv], stdin=stdin_r,
                               capture_output=True, text=True, errors="surrogateescape", timeout=TIMEOUT_S, **kwargs)
        finally:
            os.close(stdin_r)
            os.close(stdin_w)
        if check:
            self.assertEqual(p.returncode, 0, f"{argv}: {p.stderr}")
        return Run(p.returncode, p.stdout, p.stderr, db)

    def record_quietly(self, argv, options=(), tries=3):
        """record() for programs whose health depends on getting their CPUs: tried again while others use the machine, and at last a
        visible skip."""
        for _ in range(tries):
            with judge.Machine() as machine:
                run = self.record(argv, options)
            if not machine.busy:
                return run
        self.skipTest(f"others use {machine.others:.0%} of the machine: what is healthy then, nobody knows")

    def attach(self, pids, options=()):
        """Starts `lockstep record -p`; returns an Attached to .stop()."""
        return Attached(self, pids, options)

    def assert_checks(self, checks):
        bad = [str(c) for c in checks if not c.ok]
        self.assertFalse(bad, "\n".join(bad))

    def assert_ledger(self, run, tolerance=0.001):
        """Each thread's parts sum to its lifetime, by the thread's own start and end; processes' to their threads'."""
        meta = run.rows("SELECT start_ns, end_ns FROM meta")[0]
        threads = run.rows("SELECT t.* FROM threads t JOIN processes p ON p.pid = t.pid WHERE p.in_tree = 1")
        self.assertTrue(threads)
        for t in threads:
            parts = t["on_cpu_ns"] + t["run_queue_ns"] + t["blocked_ns"] + t["idle_ns"] + t["lost_ns"]
            if t["n_siblings"] == 1:
                life = (t["ended_ns"] or meta["end_ns"]) - t["started_ns"]
                self.assertLessEqual(abs(life - parts), tolerance * life + 1000, f"{t['comm']} {t['tid']}: {parts} ns of a life of {life} ns")
            else:
                self.assertLessEqual(abs(t["observed_ns"] - parts), tolerance * t["observed_ns"] + 1000, dict(t))
        for p in run.rows("SELECT pid, on_cpu_ns + run_queue_ns + blocked_ns + idle_ns + lost_ns AS parts, observed_ns FROM processes "
                          "WHERE in_tree = 1"):
            self.assertLessEqual(abs(p["observed_ns"] - p["parts"]), tolerance * p["observed_ns"] + 1000, p)


class Attached:
    def __init__(self, case, pids, options):
        self.case = case
        self.db = case.path(f"attach{len(os.listdir(case.tmp.name))}.db")
        self.process = subprocess.Popen([LOCKSTEP, "record", "-v", "--backend", "kernel", *options, "-o", self.db, "-p",
                                         ",".join(map(str, pids))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        case.addCleanup(self._end)

    def _end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for f in (self.process.stdout, self.process.stderr):
            if not f.closed:
                f.close()

    def wait_attached(self):
        """Returns when the backend is open: -v says so as soon as it is."""
        line = self.process.stderr.readline()
        if not line.startswith("lockstep: backend kernel"):
            raise AssertionError("lockstep did not attach: " + line + self.process.stderr.read())

    def stop(self, interrupt=True):
        """Ends the recording as Ctrl-C does (or waits for its own end) and returns the Run."""
        if interrupt and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        self.case.assertEqual(self.process.returncode, 0, err)
        return Run(self.process.returncode, out, err, self.db)


def main():
    """Runs the module's tests; a host without the kernel backend is a visible skip."""
    why = why_no_kernel_backend()
    if why:
        print(f"SKIP: the kernel backend cannot run here: {why}")
        sys.exit(SKIP)
    if not os.access(LOCKSTEP, os.X_OK):
        print(f"no lockstep at {LOCKSTEP}: build first")
        sys.exit(1)
    unittest.main()
