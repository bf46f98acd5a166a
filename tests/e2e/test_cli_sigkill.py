# SPDX-License-Identifier: Apache-2.0
"""lockstep killed by SIGKILL at random moments, 100 times: the target goes on as if nothing had happened, and there is no profile
or a valid one. Half of the runs wrap a command, half attach to one; the moments are spread over start, observation and end."""

import pathlib
import random
import subprocess
import tempfile
import threading
import time
import unittest

import cli_helper as cli

ROUNDS = 50  # of each kind
# A pipeline that checks itself: every byte arrives, every process ends by itself, and the last word is only said when all is well.
TARGET = "seq 1 20000 | sed 's/$/ x/' | sort -n | tail -n 1 && echo whole"
EXPECTED = "20000 x\nwhole\n"


class Sigkill(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.random = random.Random(20251125)

    def profile_is_absent_or_valid(self, path):
        if not path.exists():
            return False
        done = cli.run("report", "--json", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        return True

    def span(self, backend):
        """How long a whole run takes here and now: the kills are spread over more than that, as the target's own work slows it."""
        start = time.monotonic()
        done = cli.run("record", "-q", "--backend", backend, "-o", pathlib.Path(self.dir.name) / "whole", "--", "sh", "-c", TARGET)
        self.assertEqual((done.returncode, done.stdout), (0, EXPECTED))
        return time.monotonic() - start

    def attach(self, backend, path, target):
        return subprocess.Popen([cli.LOCKSTEP, "record", "-q", "--backend", backend, "-d", "0.05", "-o", path, "-p", str(target.pid)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def attached_span(self, backend):
        target = subprocess.Popen(["sh", "-c", "read x"], stdin=subprocess.PIPE)
        start = time.monotonic()
        p = self.attach(backend, pathlib.Path(self.dir.name) / "whole", target)
        self.assertEqual(p.wait(timeout=60), 0)
        target.communicate(b"\n", timeout=60)
        return time.monotonic() - start

    def killed_wrapper(self, backend, moment, path):
        p = subprocess.Popen([cli.LOCKSTEP, "record", "-q", "--backend", backend, "-o", path, "--", "sh", "-c", TARGET],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)
        timer = threading.Timer(moment, p.kill)
        timer.start()
        out = p.stdout.read()  # until the target itself has ended: it holds the pipe
        timer.join()
        p.stdout.close()
        p.wait()
        return out

    @cli.for_each_backend
    def test_wrapped(self, backend):
        span, whole, never, profiles = self.span(backend), 0, 0, 0
        for i in range(ROUNDS):
            path = pathlib.Path(self.dir.name) / f"w{backend}{i}"
            out = self.killed_wrapper(backend, self.random.uniform(0, span * 1.1), path)
            self.assertIn(out, ("", EXPECTED), "the command runs whole or not at all")
            whole += out == EXPECTED
            never += out == ""
            profiles += self.profile_is_absent_or_valid(path)
        print(f"{backend}: {ROUNDS} killed, {whole} commands ran whole, {never} never started, {profiles} profiles written", flush=True)
        self.assertGreater(whole, 0)

    @cli.for_each_backend
    def test_attached(self, backend):
        span, profiles = self.attached_span(backend), 0
        for i in range(ROUNDS):
            path = pathlib.Path(self.dir.name) / f"a{backend}{i}"
            target = subprocess.Popen(["sh", "-c", f"read x; {TARGET}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            p = self.attach(backend, path, target)
            timer = threading.Timer(self.random.uniform(0, span * 1.5), p.kill)
            timer.start()
            out, _ = target.communicate("go\n", timeout=60)
            p.wait(timeout=60)
            timer.cancel()
            timer.join()
            self.assertEqual((target.returncode, out), (0, EXPECTED))
            profiles += self.profile_is_absent_or_valid(path)
        print(f"{backend}: {ROUNDS} attached and killed, {profiles} profiles written", flush=True)


if __name__ == "__main__":
    cli.main()
