#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The backend without privileges: as an unprivileged user, under a seccomp filter like Docker's, inside a user namespace; what the
target sees of it; and that it agrees with the kernel backend."""

import ctypes
import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import unittest

import cli_helper
from cli_helper import EXAMPLES, LOCKSTEP, TIMEOUT

UNPRIVILEGED = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


def why_no_setpriv():
    return None if os.geteuid() == 0 and shutil.which("setpriv") else "needs root and setpriv, to become another user"


class Unprivileged(unittest.TestCase):
    """Runs a copy of lockstep that any user may execute, in a folder that any user may write to."""

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory(prefix="lockstep.user.")
        os.chmod(cls.dir.name, 0o777)
        cls.lockstep = shutil.copy(LOCKSTEP, cls.dir.name)

    @classmethod
    def tearDownClass(cls):
        cls.dir.cleanup()

    def example(self, name):
        path = os.path.join(self.dir.name, name)
        if not os.path.exists(path):
            shutil.copy(os.path.join(EXAMPLES, name), path)
        return path

    def run_as_nobody(self, *args, prefix=(), **kwargs):
        if why_no_setpriv():
            self.skipTest(why_no_setpriv())
        return subprocess.run([*prefix, *UNPRIVILEGED, *args], capture_output=True, text=True, timeout=TIMEOUT, cwd=self.dir.name,
                              check=False, **kwargs)

    def report_of(self, *command, **kwargs):
        db = os.path.join(self.dir.name, "t.db")
        if os.path.exists(db):
            os.unlink(db)
        done = self.run_as_nobody(self.lockstep, "record", "-q", "-o", db, "--", *command, **kwargs)
        self.assertEqual(done.returncode, 0, done.stderr)
        shown = subprocess.run([LOCKSTEP, "report", db, "--json"], capture_output=True, text=True, timeout=TIMEOUT, check=True)
        return json.loads(shown.stdout), done.stdout

    def test_an_unprivileged_user_sees_waits_peers_and_lines(self):
        report, _ = self.report_of(self.example("lockstep_pipe"), "--seconds", "2")
        self.assertEqual(report["meta"]["backend"], "user")
        blocked = [e for e in report["edges"] if e["waker_pid"] and e["waker_pid"] != e["waiter_pid"]]
        self.assertTrue(blocked, report["edges"])
        self.assertTrue(all(e["confidence"] != "high" for e in blocked))
        names = {f["function"] for e in blocked for f in (report["stacks"][e["waiter_stack"]] if e["waiter_stack"] is not None else [])}
        self.assertTrue({"wait_for_ack", "wait_for_message"} & names, names)

    def test_rates_come_from_exact_counters(self):
        report, out = self.report_of(self.example("lockstep_pipe"), "--seconds", "2")
        truth = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
        waits = sum(w["count"] for p in report["processes"] for w in p["waits"])
        switches = truth["parent_switches"] + truth["child_switches"]
        self.assertLess(abs(waits - switches), 0.1 * switches + 100, (waits, switches))

    def test_works_where_bpf_and_perf_event_open_are_refused(self):
        done = self.run_as_nobody(self.lockstep, "run", "--", self.example("lockstep_pipe"), "--seconds", "1", prefix=refuse_profiling())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("backend user", done.stderr)
        self.assertIn("wait_for_", done.stderr)

    def test_works_in_a_user_namespace(self):
        probe = self.run_as_nobody("unshare", "-Ur", "true")
        if probe.returncode:
            self.skipTest("user namespaces are refused here: " + probe.stderr.strip())
        done = self.run_as_nobody("unshare", "-Ur", self.lockstep, "run", "--backend", "user", "--", self.example("lockstep_pipe"), "--seconds", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("wait_for_", done.stderr)

    def test_another_users_process_is_refused_in_one_line(self):
        done = self.run_as_nobody(self.lockstep, "record", "-p", str(os.getpid()), "-d", "1")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)

    def test_dump_shows_every_thread(self):
        target = subprocess.Popen([*UNPRIVILEGED, "/usr/bin/python3", "-c", PARKED], stdout=subprocess.PIPE, text=True) \
            if not why_no_setpriv() else self.skipTest(why_no_setpriv())
        try:
            self.assertEqual(target.stdout.readline(), "ready\n")
            pid = target.pid
            done = self.run_as_nobody(self.lockstep, "dump", "-p", str(pid), "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            dump = json.loads(done.stdout)
            threads = dump["processes"][0]["threads"]
            self.assertEqual(len(threads), 4)
            frames = {f["function"] for t in threads for f in t["stack"]}
            self.assertTrue({"sleeper", "locker", "getter"} <= frames, frames)
            self.assertIn("sleep", {t["state"] for t in threads})
        finally:
            target.kill()
            target.communicate()


PARKED = """
import threading, time, queue
q, lock = queue.Queue(), threading.Lock()
lock.acquire()
def sleeper(): time.sleep(1000)
def locker(): lock.acquire()
def getter(): q.get()
ts = [threading.Thread(target=f, daemon=True) for f in (sleeper, locker, getter)]
for t in ts: t.start()
time.sleep(0.3)
print('ready', flush=True)
time.sleep(1000)
"""


class Target(unittest.TestCase):
    @cli_helper.for_each_backend
    def test_a_target_that_watches_its_waits_is_not_disturbed(self, backend):
        done = cli_helper.run("run", "--backend", backend, "-q", "-F", "999", "-o", "/dev/null", "--", EXAMPLES / "quiet_target", "--seconds", "4")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        truth = json.loads(done.stdout)
        self.assertGreater(truth["calls"], 1000)
        self.assertEqual((truth["disturbed"], truth["signals"]), (0, 0))

    def test_both_backends_agree_on_shares(self):
        why = [f"{name}: {reason}" for name, reason in cli_helper.backends() if reason]
        if why:
            self.skipTest("; ".join(why))
        shares = {}
        for backend in ("kernel", "user"):
            with tempfile.TemporaryDirectory() as d:
                db = os.path.join(d, "t.db")
                done = cli_helper.run("record", "--backend", backend, "-q", "-o", db, "--", EXAMPLES / "pipeline_paced", "--seconds", "6", "--pace", "50", "--work-us", "3000")
                self.assertEqual(done.returncode, 0, done.stderr)
                shares[backend] = class_shares(db)
        for name, share in shares["kernel"].items():
            if share > 0.05:
                self.assertAlmostEqual(share, shares["user"].get(name, 0), delta=0.05, msg=f"{name}: {shares}")


def class_shares(db):
    """Share of all thread time by wait class (idle or not), and on-CPU."""
    con = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    sums = dict(con.execute("select class, sum(blocked_ns + idle_ns) from waits group by class"))
    cpu, queue = con.execute("select sum(on_cpu_ns), sum(run_queue_ns) from processes").fetchone()
    con.close()
    total = sum(sums.values()) + cpu + queue
    sums["on-CPU"] = cpu
    return {k: v / total for k, v in sums.items()}


def refuse_profiling():
    """A command prefix: a seccomp filter that answers bpf and perf_event_open with EPERM, as Docker's default profile does."""
    return [sys.executable, __file__, "--refuse-profiling"]


def install_filter():
    ld, jeq, ret = 0x20, 0x15, 0x06
    machine = os.uname().machine
    numbers = {"x86_64": (321, 298), "aarch64": (280, 241)}[machine]
    code = [(ld, 0, 0, 0), (jeq, 2, 0, numbers[0]), (jeq, 1, 0, numbers[1]), (ret, 0, 0, 0x7FFF0000), (ret, 0, 0, 0x00050000 | 1)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in code))
    fprog = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(fprog), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--refuse-profiling":
        install_filter()
        os.execvp(sys.argv[2], sys.argv[2:])
    result = unittest.main(exit=False, verbosity=2).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.skipped:
        for test, reason in result.skipped:
            print(f"SKIP {test}: {reason}")
        sys.exit(77)
