# SPDX-License-Identifier: Apache-2.0
"""Disk full, no privileges, hostile names, targets that vanish: one clear line and no harm, or a report that tells it."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

import cli_helper as cli

NOBODY = 65534


class Base(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.path = pathlib.Path(self.dir.name)
        self.path.chmod(0o755)


class DiskFull(Base):
    """A tmpfs of 64 KiB, mounted where nobody else sees it."""

    def in_full_disk(self, script):
        mount = self.path / "disk"
        mount.mkdir(exist_ok=True)
        setup = f"mount -t tmpfs -o size=64k none '{mount}' || exit 77; cd '{mount}'; L='{cli.LOCKSTEP}'\n"
        done = subprocess.run(["unshare", "-m", "sh", "-c", setup + script], capture_output=True, text=True, timeout=cli.TIMEOUT,
                              check=False, stdin=subprocess.DEVNULL)
        if done.returncode == 77 or "unshare failed" in done.stderr:
            self.skipTest(f"no private mount here: {done.stderr.strip()}")
        return done

    FILL = "head -c 65000 /dev/zero > filler 2>/dev/null; dd if=/dev/zero of=rest bs=4096 2>/dev/null\n"

    @cli.needs_backend()
    def test_a_profile_that_does_not_fit(self):
        done = self.in_full_disk(self.FILL + "$L record -q -- sh -c 'echo ran; exit 0'; echo status-$?; ls -A")
        self.assertIn("ran\nstatus-125\n", done.stdout)
        self.assertEqual(done.stdout.split("status-125\n")[1].split(), ["filler", "rest"], "no file and no temporary one")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, r"^lockstep: .*(full|No space)")

    @cli.needs_backend()
    def test_the_commands_own_failure_comes_first(self):
        done = self.in_full_disk(self.FILL + "$L record -q -- sh -c 'exit 9'; echo status-$?")
        self.assertIn("status-9\n", done.stdout)

    @cli.needs_backend()
    def test_an_older_profile_survives(self):
        keep = self.path / "old.db"
        self.assertEqual(cli.run("record", "-q", "-o", keep, "--", "true").returncode, 0)
        size = keep.stat().st_size
        script = f"mount -o remount,size={size // 4096 * 4 + 4}k . ; cp '{keep}' lockstep.db; dd if=/dev/zero of=rest bs=4096 2>/dev/null\n"
        done = self.in_full_disk(script + f"$L record -q -- true; echo status-$?; cmp lockstep.db '{keep}' && echo same")
        self.assertIn("status-125\nsame\n", done.stdout, done.stderr)

    @cli.needs_backend()
    def test_a_report_that_does_not_fit(self):
        done = self.in_full_disk(self.FILL + "$L run -q -o report -- true; echo status-$?")
        self.assertIn("status-125\n", done.stdout)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        done = self.in_full_disk("$L record -q -o /dev/shm/lockstep-test.$$ -- true; $L report /dev/shm/lockstep-test.$$ > /dev/full; "
                                 "echo status-$?; rm /dev/shm/lockstep-test.$$")
        self.assertIn("status-3\n", done.stdout)
        self.assertIn("No space left", done.stderr)


class Unprivileged(Base):
    def as_nobody(self, *args, cwd=None):
        """lockstep as nobody, without capabilities; a copy of the binary, as nobody may not enter the build folder."""
        binary = self.path / "lockstep"
        if not binary.exists():
            shutil.copy(cli.LOCKSTEP, binary)
            binary.chmod(0o755)
        command = [str(binary), *map(str, args)]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
                       *command]
        return subprocess.run(command, capture_output=True, text=True, timeout=cli.TIMEOUT, check=False, stdin=subprocess.DEVNULL, cwd=cwd)

    def test_the_kernel_backend_says_what_is_missing_and_what_to_do(self):
        mark = self.path / "ran"
        done = self.as_nobody("run", "--backend", "kernel", "--", "touch", mark)
        self.assertEqual(done.returncode, 125, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, r"root|sudo|CAP_")
        self.assertRegex(done.stderr, r"--backend user|sudo|setcap|doctor")
        self.assertFalse(mark.exists())

    def test_another_users_process_cannot_be_attached_to(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to own a process that nobody may not see")
        target = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(lambda: (target.kill(), target.wait()))
        done = self.as_nobody("record", "-o", "/dev/shm/no", "-d", "0.1", "-p", target.pid)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn(str(target.pid), done.stderr)
        self.assertIsNone(target.poll())

    @cli.needs_backend("user")
    def test_auto_takes_the_user_backend(self):
        done = self.as_nobody("run", "-v", "--", "sh", "-c", "echo ran; exit 4")
        self.assertEqual((done.returncode, done.stdout), (4, "ran\n"), done.stderr)
        self.assertIn("user", done.stderr)

    def test_an_unwritable_folder_is_told_before_the_command_runs(self):
        shared = self.path / "shared"
        shared.mkdir(mode=0o755)
        done = self.as_nobody("record", "--", "touch", "/dev/shm/never", cwd=shared)
        self.assertEqual(done.returncode, 125)
        self.assertIn("Permission denied", done.stderr)
        self.assertFalse(os.path.exists("/dev/shm/never"))


class Hostile(Base):
    NAMES = ["\033[2J\033[31mred", "a\nb\rc\td", "<script>alert(1)<!--", "\xff\xfe", "$(reboot)`x`;'\"", "pipe|table", "x" * 200, "\u202egpj.exe"]

    @cli.for_each_backend
    def test_names_never_drive_the_terminal(self, backend):
        for i, name in enumerate(self.NAMES):
            program = self.path / os.fsdecode(name.encode("latin-1") if "\xff" in name else name.encode())
            shutil.copy("/bin/sh", program)
            profile = self.path / f"profile{i}"
            done = cli.run("record", "-q", "--backend", backend, "-o", profile, "--", os.fspath(program), "-c", "sleep 0.02; exit 3")
            self.assertEqual(done.returncode, 3, done.stderr)
            outputs = {"text": ["report", "--color", "never"], "markdown": ["report", "--markdown"], "json": ["report", "--json"],
                       "folded": ["export", "--format", "folded"]}
            for kind, args in outputs.items():
                with self.subTest(name=name, output=kind):
                    shown = cli.run(*args, profile, text=False)
                    self.assertEqual(shown.returncode, 0, shown.stderr)
                    text = shown.stdout.decode("utf-8")  # fails on invalid UTF-8
                    self.assertEqual(re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text), [])
                    if kind == "json":
                        json.loads(text)

    @cli.for_each_backend
    def test_a_thread_that_renames_itself(self, backend):
        code = r"open('/proc/self/comm','wb').write(b'\x1b[31m\x07\xff'); import time; time.sleep(0.2)"
        done = cli.run("run", "--backend", backend, "--", "/usr/bin/python3", "-c", code, text=False)
        self.assertEqual(done.returncode, 0)
        self.assertNotIn(b"\x1b", done.stderr)
        self.assertNotIn(b"\x07", done.stderr)
        done.stderr.decode("utf-8")


class Vanishing(Base):
    @cli.for_each_backend
    def test_a_target_that_ends_while_attached(self, backend):
        target = subprocess.Popen(["sh", "-c", "read x; exit 5"], stdin=subprocess.PIPE)
        p = subprocess.Popen([cli.LOCKSTEP, "run", "-v", "--backend", backend, "-p", str(target.pid)], stderr=subprocess.PIPE,
                             stdin=subprocess.DEVNULL, text=True)
        self.assertIn("backend", p.stderr.readline())
        target.communicate(b"\n", timeout=60)
        _, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 0, err)
        self.assertEqual(target.returncode, 5)

    @cli.for_each_backend
    def test_a_command_killed_from_outside(self, backend):
        p = subprocess.Popen([cli.LOCKSTEP, "run", "-q", "-o", "/dev/null", "--backend", backend, "--", "sh", "-c", "echo $$; read x"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        os.kill(int(p.stdout.readline()), signal.SIGKILL)
        p.communicate(timeout=60)
        self.assertEqual(p.returncode, 128 + signal.SIGKILL)

    @cli.for_each_backend
    def test_the_shortest_command(self, backend):
        for _ in range(10):
            done = cli.run("run", "--backend", backend, "--", "true")
            self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    cli.main()
