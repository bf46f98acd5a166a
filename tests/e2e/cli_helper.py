# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests of the command line share. A test that needs a backend which this host refuses is skipped with its
reason, and the whole file then counts as skipped (exit 77), never as passed."""

import os
import pathlib
import subprocess
import sys
import unittest

LOCKSTEP = os.environ.get("LOCKSTEP") or str(pathlib.Path(__file__).resolve().parents[2] / "build" / "lockstep")
SOURCE = pathlib.Path(os.environ.get("SOURCE_DIR") or pathlib.Path(__file__).resolve().parents[2])
EXAMPLES = pathlib.Path(os.environ.get("EXAMPLES") or SOURCE / "build" / "examples")
TIMEOUT = 120


def run(*args, **kwargs):
    """lockstep with these arguments; output captured as text unless told otherwise."""
    kwargs.setdefault("stdout", subprocess.PIPE)
    kwargs.setdefault("stderr", subprocess.PIPE)
    kwargs.setdefault("timeout", TIMEOUT)
    if "input" not in kwargs:
        kwargs.setdefault("stdin", subprocess.DEVNULL)
    kwargs.setdefault("text", True)
    return subprocess.run([LOCKSTEP, *map(str, args)], check=False, **kwargs)


_refusals = {}


def refusal(backend):
    """Why this host refuses the backend, or None."""
    if backend not in _refusals:
        done = run("run", "--backend", backend, "-q", "-o", "/dev/null", "--", "true")
        _refusals[backend] = None if done.returncode == 0 else (done.stderr.strip() or f"exit status {done.returncode}")
    return _refusals[backend]


def backends():
    """(name, reason why not or None) of both backends."""
    return [(name, refusal(name)) for name in ("kernel", "user")]


def for_each_backend(method):
    """Runs a test method once per backend, as method(self, backend); skips it for those that are refused."""

    def both(self):
        refused = []
        for name, why in backends():
            if why:
                refused.append(f"{name}: {why}")
                continue
            with self.subTest(backend=name):
                method(self, name)
        if refused:
            self.skipTest("; ".join(refused))

    both.__name__ = method.__name__
    both.__doc__ = method.__doc__
    return both


def needs_backend(name="auto"):
    why = refusal(name)
    return unittest.skipIf(why, f"backend {name}: {why}")


def main():
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]))
    if not result.wasSuccessful() or result.testsRun == 0:
        sys.exit(1)
    if result.skipped:
        reasons = sorted({reason for _, reason in result.skipped})
        print(f"{len(result.skipped)} of {result.testsRun} tests skipped: {' | '.join(reasons)}")
        sys.exit(77)
