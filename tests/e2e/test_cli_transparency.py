# SPDX-License-Identifier: Apache-2.0
"""What a wrapped command sees and what its caller sees of it: the same as without lockstep. For both backends."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import termios
import time
import unittest

import cli_helper as cli

QUIET = ("-q", "-o", "/dev/null")


def wrapped(backend, *command):
    return ["run", "--backend", backend, *QUIET, "--", *command]


class Streams(unittest.TestCase):
    @cli.for_each_backend
    def test_binary_data_passes(self, backend):
        data = os.urandom(1 << 20)
        done = cli.run(*wrapped(backend, "cat"), input=data, text=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertTrue(done.stdout == data)

    @cli.for_each_backend
    def test_standard_error_is_the_commands_own(self, backend):
        done = cli.run(*wrapped(backend, "sh", "-c", "echo out; echo err >&2"))
        self.assertEqual((done.stdout, done.stderr), ("out\n", "err\n"))

    @cli.for_each_backend
    def test_the_report_goes_to_standard_error_after_the_command(self, backend):
        done = cli.run("run", "--backend", backend, "--", "sh", "-c", "echo out; echo err >&2")
        self.assertEqual(done.stdout, "out\n")
        self.assertTrue(done.stderr.startswith("err\n"))
        self.assertGreater(done.stderr.count("\n"), 5)
        self.assertNotIn("\033", done.stderr)

    @cli.for_each_backend
    def test_closed_streams_stay_closed(self, backend):
        for fd in (0, 1, 2):
            with tempfile.NamedTemporaryFile("r") as told:
                probe = "for n in 0 1 2; do [ -e /proc/$$/fd/$n ] && echo $n >&9; done; exit 0"
                line = f"exec 9>'{told.name}'; exec '{cli.LOCKSTEP}' {' '.join(wrapped(backend))} sh -c '{probe}' {fd}>&-"
                done = subprocess.run(["sh", "-c", line], check=False, timeout=cli.TIMEOUT, stdin=subprocess.DEVNULL)
                self.assertEqual(done.returncode, 0)
                self.assertEqual(told.read().split(), [str(n) for n in range(3) if n != fd])


class Status(unittest.TestCase):
    @cli.for_each_backend
    def test_exit_codes(self, backend):
        for code in (0, 1, 2, 3, 42, 125, 126, 127, 255):
            self.assertEqual(cli.run(*wrapped(backend, "sh", "-c", f"exit {code}")).returncode, code)

    @cli.for_each_backend
    def test_signals(self, backend):
        for sig in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGINT, signal.SIGABRT):
            done = cli.run(*wrapped(backend, "sh", "-c", f"ulimit -c 0; kill -{int(sig)} $$"))
            self.assertEqual(done.returncode, 128 + sig)

    @cli.for_each_backend
    def test_commands_that_cannot_be_run(self, backend):
        for command, code, says in (("/no/such/command", 127, "No such file"), ("no-such-command-here", 127, "not found in PATH"),
                                    ("/etc/passwd", 126, "Permission denied"), ("/", 126, "Permission denied")):
            done = cli.run(*wrapped(backend, command))
            self.assertEqual((done.returncode, done.stderr.count("\n")), (code, 1), done.stderr)
            self.assertIn(says, done.stderr)
            self.assertIn(command, done.stderr)

    @cli.for_each_backend
    def test_exec_keeps_the_status(self, backend):
        self.assertEqual(cli.run(*wrapped(backend, "sh", "-c", "exec sh -c 'exec sh -c \"exit 77\"'")).returncode, 77)

    @cli.for_each_backend
    def test_the_profile_knows_the_status(self, backend):
        with tempfile.TemporaryDirectory() as d:
            done = cli.run("record", "-q", "--backend", backend, "-o", f"{d}/p", "--", "sh", "-c", "exit 9")
            self.assertEqual(done.returncode, 9)
            meta = json.loads(cli.run("report", "--json", f"{d}/p").stdout)["meta"]
            self.assertEqual((meta["exit_status"], meta["command"], meta["backend"]), (9, ["sh", "-c", "exit 9"], backend))
            self.assertEqual(len(meta["root_pids"]), 1)
            self.assertRegex(meta["started_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
            self.assertEqual(meta["host"], os.uname().nodename)
            self.assertEqual(meta["cpus"], os.cpu_count())

    @cli.for_each_backend
    def test_orphans_are_told_and_not_waited_for(self, backend):
        r, w = os.pipe()
        os.set_inheritable(r, True)
        # The orphan lives until we close our end of its pipe; the command long enough for a sampling backend to see both.
        done = cli.run("run", "--backend", backend, "-o", "/dev/null", "--", "sh", "-c",
                       f"cat <&{r} >/dev/null 2>&1 & for i in 1 2 3 4 5; do sleep 0.05; done; exit 6", pass_fds=(r,))
        os.close(w)
        os.close(r)
        self.assertEqual(done.returncode, 6)
        self.assertIn("1 of its descendants still run", done.stderr)


class Inheritance(unittest.TestCase):
    # What /proc/self/status tells of signals, credentials and bindings.
    FIELDS = ("Umask|Uid|Gid|Groups|SigBlk|SigIgn|SigCgt|SigQ|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp|Cpus_allowed|"
              "Mems_allowed|CoreDumping|TracerPid")

    PROBE = ("grep -E '^({fields}):' /proc/self/status | grep -v -e SigQ -e TracerPid; cat /proc/self/limits /proc/self/oom_score_adj "
             "/proc/self/cgroup; pwd; env | sort; "
             "for f in /proc/$$/fd/*; do [ -e $f ] && readlink $f | sed 's/:.*//'; done; "
             "ps -o nice=,cls= -p $$; [ $(ps -o pgid= -p $$) = $(ps -o pgid= -p $PPID) ] && echo same group; "
             "[ $(ps -o sid= -p $$) = $(ps -o sid= -p $PPID) ] && echo same session").format(fields=FIELDS)

    @cli.for_each_backend
    def test_everything_is_inherited_untouched(self, backend):
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]

        def prepare():
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
            os.umask(0o077)
            os.nice(3)

        how = dict(capture_output=True, text=True, timeout=cli.TIMEOUT, pass_fds=fds, preexec_fn=prepare, stdin=subprocess.DEVNULL,
                   env={**os.environ, "ODD": "a b\tc", "_": ""}, check=True)
        alone = subprocess.run(["sh", "-c", self.PROBE], **how).stdout
        under = subprocess.run([cli.LOCKSTEP, *wrapped(backend, "sh", "-c", self.PROBE)], **how).stdout
        for fd in fds:
            os.close(fd)
        self.assertIn("same group\nsame session\n", alone)
        self.assertEqual(under, alone)


class Signals(unittest.TestCase):
    def start(self, *args, **kwargs):
        process = subprocess.Popen([cli.LOCKSTEP, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   stdin=subprocess.DEVNULL, **kwargs)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(lambda: process.poll() is None and (process.kill(), process.wait()))
        return process

    @cli.for_each_backend
    def test_term_and_hup_are_sent_on(self, backend):
        for sig, name in ((signal.SIGTERM, "TERM"), (signal.SIGHUP, "HUP")):
            p = self.start(*wrapped(backend, "sh", "-c", f"trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.05; done"))
            self.assertEqual(p.stdout.readline(), "ready\n")
            p.send_signal(sig)
            out, _ = p.communicate(timeout=60)
            self.assertEqual((p.returncode, out), (9, "got\n"))

    @cli.for_each_backend
    def test_an_interrupt_sent_to_lockstep_alone_does_not_end_it(self, backend):
        r, w = os.pipe()
        p = self.start(*wrapped(backend, "sh", "-c", f"echo ready; read x <&{r}; exit 8"), pass_fds=(r,))
        os.close(r)
        self.assertEqual(p.stdout.readline(), "ready\n")
        p.send_signal(signal.SIGINT)
        p.send_signal(signal.SIGQUIT)
        os.write(w, b"\n")
        os.close(w)
        p.communicate(timeout=60)
        self.assertEqual(p.returncode, 8)

    @cli.for_each_backend
    def test_attached_the_first_interrupt_ends_and_reports(self, backend):
        target = subprocess.Popen(["sh", "-c", "echo ready; read x; exit 5"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(target.stdout.close)
        target.stdout.readline()
        for command in ("run", "record"):
            with tempfile.TemporaryDirectory() as d:
                extra = ["-o", f"{d}/p"] if command == "record" else []
                p = self.start(command, "--backend", backend, "-v", *extra, "-p", str(target.pid))
                self.assertIn("backend", p.stderr.readline())  # open
                p.send_signal(signal.SIGINT)
                _, err = p.communicate(timeout=60)
                self.assertEqual(p.returncode, 0, err)
                self.assertGreater(err.count("\n"), 5)
                self.assertEqual(os.path.exists(f"{d}/p"), command == "record")
        self.assertIsNone(target.poll())
        target.communicate(b"\n", timeout=60)
        self.assertEqual(target.returncode, 5)


class Terminal(unittest.TestCase):
    """A real terminal, with bash's job control on it."""

    def setUp(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(PS1="", PS2="", TERM="xterm")
            os.execvp("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])
        attributes = termios.tcgetattr(self.fd)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(self.fd, termios.TCSANOW, attributes)
        self.seen = ""
        self.type("PS1=; echo start-$((1+1))\n")
        self.expect("start-2")

    def tearDown(self):
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.fd)
        os.waitpid(self.pid, 0)

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, pattern, seconds=60):
        """Reads until the pattern is there; what follows it stays for the next call."""
        end = time.monotonic() + seconds
        while not (m := re.search(pattern, self.seen)):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                self.fail(f"no {pattern!r} in {self.seen!r}")
            self.seen += os.read(self.fd, 65536).decode(errors="replace")
        self.seen = self.seen[m.end():]
        return m

    def command(self, backend, script):
        return f"'{cli.LOCKSTEP}' {' '.join(wrapped(backend))} sh -c '{script}'"

    @cli.for_each_backend
    def test_the_command_reads_the_terminal(self, backend):
        self.type(self.command(backend, 'tty; echo ask; read x; echo "got<$x>"') + "; echo status-$?\n")
        self.expect(r"/dev/pts/\d+")
        self.expect("ask")
        self.type("hello\n")
        self.expect("got<hello>")
        self.expect("status-0")

    @cli.for_each_backend
    def test_ctrl_c_reaches_the_command_and_its_status_comes_back(self, backend):
        self.type(self.command(backend, 'trap "echo caught; exit 7" INT; echo ready; while :; do sleep 0.05; done') + "; echo status-$?\n")
        self.expect("ready")
        self.type("\x03")
        self.expect("caught")
        self.expect("status-7")

    @cli.for_each_backend
    def test_ctrl_c_kills_what_does_not_catch_it_and_the_report_still_comes(self, backend):
        self.type(f"'{cli.LOCKSTEP}' run --backend {backend} -- sh -c 'echo ready; exec sleep 1000'; echo status-$?\n")
        self.expect("ready")
        self.type("\x03")
        self.expect("VERDICT")
        self.expect("status-130")

    @cli.for_each_backend
    def test_ctrl_z_and_fg(self, backend):
        self.type(self.command(backend, 'echo ready; read x; echo "got<$x>"; exit 4') + "; echo status-$?\n")
        self.expect("ready")
        self.type("\x1a")
        self.expect("Stopped")
        self.type("jobs; echo listed-$((1+1))\n")
        self.expect("listed-2")
        self.type("fg; echo status-$?\n")
        self.expect("lockstep")
        self.type("again\n")
        self.expect("got<again>")
        self.expect("status-4")


if __name__ == "__main__":
    cli.main()
