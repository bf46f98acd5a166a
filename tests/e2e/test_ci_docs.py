# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/CI.md are run as they stand: in a clone with a base branch and a change, with the real lockstep, on a small workload.
Only the number of runs is lowered, and rules on times are left to test_gate.py: here the question is whether a reader can copy them."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

import cli_helper as cli

TARGET = cli.EXAMPLES.parent / "bench" / "gate_target"
DOCS = cli.SOURCE / "docs" / "CI.md"

LOCKSTEP = """#!/bin/bash
args=()
for a in "$@"; do [ "$a" = default ] && a='messages{process=*} > 10%'; args+=("$a"); done
[ "$1" = compare ] && args+=(--runs 4 --warmup 0)
exec "$REAL_LOCKSTEP" "${args[@]}"
"""
SUDO = '#!/bin/sh\n[ "$1" = -E ] && shift\nexec "$@"\n'
MAKEFILE = "app:\n\tprintf '#!/bin/sh\\nexec %s --records 1600 $(OPTIONS)\\n' \"$$TARGET\" >app && chmod +x app\n"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCS.read_text(), re.M | re.S)


def git(cwd, *args):
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *args], cwd=cwd, check=True, capture_output=True)


@cli.needs_backend("kernel")
class Examples(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="test_ci_docs."))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        bin_dir = self.dir / "bin"
        bin_dir.mkdir()
        for name, text in (("lockstep", LOCKSTEP), ("sudo", SUDO)):
            (bin_dir / name).write_text(text)
            (bin_dir / name).chmod(0o755)
        origin = self.dir / "origin"
        origin.mkdir()
        git(origin, "init", "-q", "-b", "main")
        (origin / "Makefile").write_text(MAKEFILE)
        git(origin, "add", "Makefile")
        git(origin, "commit", "-q", "-m", "base")
        git(self.dir, "clone", "-q", "origin", "clone")
        self.clone = self.dir / "clone"
        self.env = dict(os.environ, PATH=f"{bin_dir}:{os.environ['PATH']}", REAL_LOCKSTEP=str(cli.LOCKSTEP), TARGET=str(TARGET), GITHUB_BASE_REF="main",
                        CI_MERGE_REQUEST_TARGET_BRANCH_NAME="main", GITHUB_STEP_SUMMARY=str(self.clone / "gate.md"))

    def regress(self, options):
        """The change under test makes the program worse."""
        makefile = self.clone / "Makefile"
        makefile.write_text(makefile.read_text().replace("$(OPTIONS)", options))

    def run_script(self, script, shell=("bash", "-eo", "pipefail", "-c")):
        return subprocess.run([*shell, script], cwd=self.clone, env=self.env, check=False, capture_output=True, text=True, timeout=250,
                              stdin=subprocess.DEVNULL)

    def check(self, script):
        done = self.run_script(script)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("PASSED", (self.clone / "gate.md").read_text())
        ElementTree.parse(self.clone / "gate.xml")

    def yaml(self):
        try:
            import yaml
        except ImportError:
            self.skipTest("python3-yaml is not installed (./setup.sh --tests)")
        return [yaml.safe_load(b) for b in blocks("yaml")]

    def test_github_actions(self):
        steps = self.yaml()[0]["jobs"]["gate"]["steps"]
        self.check("\n".join(s["run"] for s in steps if "run" in s))

    def test_gitlab(self):
        self.check("\n".join(self.yaml()[1]["performance"]["script"]))

    def test_make(self):
        with open(self.clone / "Makefile", "a") as f:
            f.write(blocks("make")[0])
        self.check("make gate")

    def test_make_fails_on_a_regression(self):
        self.regress("--queries 2")
        with open(self.clone / "Makefile", "a") as f:
            f.write(blocks("make")[0])
        done = self.run_script("make gate")
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"FAILED: gate_target:(server|store)")
        self.assertIn(":x: FAILED", (self.clone / "gate.md").read_text())

    def test_baselines_and_the_unprivileged_example(self):
        unprivileged, keep, later = blocks("sh")
        self.run_script("git worktree add base origin/main; make -C base app; make app")
        done = self.run_script(keep + later, shell=("sh", "-ec"))
        self.assertIn(done.returncode, (0, 1), done.stdout + done.stderr)
        self.assertTrue((self.clone / "baseline.tar.gz").exists())
        if not cli.refusal("user"):
            done = self.run_script(unprivileged, shell=("sh", "-ec"))
            self.assertIn(done.returncode, (0, 1), done.stdout + done.stderr)


if __name__ == "__main__":
    cli.main()
