# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on bad days: targets that exit, exec or fork while lockstep attaches, storms, reused numbers, foreign namespaces,
stripped and deleted binaries, hostile names, and lockstep itself being killed."""
import os
import random
import shutil
import signal
import subprocess
import time

from lib import LOCKSTEP, TIMEOUT_S, Case, Run, example, judge, main

PYTHON = "/usr/bin/python3"


def fine_or_gone(case, process):
    """Ends by itself with 0, or with 3 and one line; never by a signal."""
    out, err = process.communicate(timeout=TIMEOUT_S)
    case.assertIn(process.returncode, (0, 3), err)
    if process.returncode == 3:
        case.assertEqual(len(err.strip().splitlines()), 1, err)
        case.assertTrue(err.startswith("lockstep: "), err)


class Attach(Case):
    def record_pid(self, pid, name, *options):
        return subprocess.Popen([LOCKSTEP, "record", "--quiet", "--backend", "kernel", *options, "-o", self.path(name), "-p", str(pid)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_a_target_that_exits_during_attach(self):
        for i in range(12):
            target = subprocess.Popen(["sleep", str(0.02 * i)])
            p = self.record_pid(target.pid, f"{i}.db")
            target.wait()
            fine_or_gone(self, p)

    def test_a_target_that_is_gone(self):
        target = subprocess.Popen(["true"])
        target.wait()
        p = self.record_pid(target.pid, "gone.db")
        fine_or_gone(self, p)
        self.assertEqual(p.returncode, 3)
        self.assertFalse(os.path.exists(self.path("gone.db")))

    def test_a_target_that_execs_again_and_again_keeps_its_identity(self):
        script = self.path("again.sh")
        with open(script, "w") as f:
            f.write('#!/bin/sh\n[ "$1" -gt 0 ] && exec "$0" $(($1 - 1))\nexec sleep 0.3\n')
        os.chmod(script, 0o755)
        target = subprocess.Popen([script, "400"])
        p = self.record_pid(target.pid, "exec.db")
        self.assertEqual(target.wait(), 0)
        out, err = p.communicate(timeout=TIMEOUT_S)
        self.assertEqual(p.returncode, 0, err)
        run = Run(0, out, err, self.path("exec.db"))
        rows = run.rows("SELECT * FROM processes WHERE in_tree = 1")
        self.assertEqual([(r["pid"], r["comm"]) for r in rows], [(target.pid, "sleep")])
        self.assert_ledger(run)

    def test_no_fork_during_attach_is_missed(self):
        stdin_r, stdin_w = os.pipe()
        target = subprocess.Popen([example("many_threads"), "--n", "200", "--pace", "200"], stdin=stdin_r, stdout=subprocess.PIPE, text=True)
        try:
            self.assertTrue(target.stdout.readline().startswith("ready"))
            a = self.attach([target.pid])
            a.wait_attached()
            os.close(stdin_w)  # the program ends its forks, wakes all and waits for them
            out, _ = target.communicate(timeout=TIMEOUT_S)
            run = a.stop(interrupt=False)
            truth = judge.find_truth(out)
            seen = run.rows("SELECT sum(n_siblings) AS n FROM processes WHERE in_tree = 1")[0]["n"]
            self.assertEqual(seen, 1 + truth["processes_started"] + truth["processes_late"])
            threads = run.rows("SELECT sum(n_siblings) AS n FROM threads t WHERE pid IN (SELECT pid FROM processes WHERE in_tree = 1)")[0]["n"]
            self.assertEqual(threads, 1 + truth["threads_per_process"] * (truth["processes_started"] + truth["processes_late"]))
            self.assert_ledger(run)
        finally:
            os.close(stdin_r)
            if target.poll() is None:
                target.kill()
                target.wait()

    def test_a_thousand_processes_of_four_threads(self):
        stdin_r, stdin_w = os.pipe()
        target = subprocess.Popen([example("many_threads")], stdin=stdin_r, stdout=subprocess.PIPE, text=True)
        try:
            self.assertTrue(target.stdout.readline().startswith("ready"))
            a = self.attach([target.pid])
            a.wait_attached()
            run = a.stop()
            n = run.rows("SELECT (SELECT sum(n_siblings) FROM processes WHERE in_tree = 1) AS p, (SELECT sum(n_siblings) FROM threads) AS t")[0]
            self.assertEqual((n["p"], n["t"]), (1001, 4001))
            self.assertEqual(run.report.kinds(), [])
            self.assertIsNone(target.poll())
        finally:
            os.close(stdin_w)
            target.communicate(timeout=TIMEOUT_S)
            os.close(stdin_r)
        self.assertEqual(target.returncode, 0)


class Storms(Case):
    def test_five_thousand_short_processes(self):
        run = self.record([example("fork_storm"), "--n", "5000", "--threads", "4"])
        seen = run.rows("SELECT sum(n_siblings) AS n FROM processes WHERE in_tree = 1")[0]["n"]
        self.assertEqual(seen, 5001)
        self.assert_ledger(run)
        self.assertLess(os.path.getsize(run.path), 2 << 20)
        self.assertLess(len(run.report.data["processes"]), 20)

    def test_short_processes_that_exec(self):
        run = self.record([example("fork_storm"), "--n", "500", "--exec", "/bin/true"])
        rows = run.rows("SELECT comm, sum(n_siblings) AS n FROM processes WHERE in_tree = 1 GROUP BY comm")
        self.assertEqual({r["comm"]: r["n"] for r in rows}, {"fork_storm": 1, "true": 500})

    def test_a_reused_pid_is_another_process(self):
        """A child's number is given to a later child by ns_last_pid; both must be there, with their own names and times."""
        run = self.record([PYTHON, "-c", REUSE_PID])
        if "reused" not in run.stdout:
            self.skipTest("the kernel did not give the same PID twice")
        attempts = int(run.stdout.split()[1]) + 1
        rows = run.rows("SELECT comm, sum(n_siblings) AS n FROM processes WHERE in_tree = 1 GROUP BY comm")
        seen = {r["comm"]: r["n"] for r in rows}
        self.assertEqual((seen.get("sleep"), seen.get("true")), (attempts, attempts), seen)
        self.assert_ledger(run)

    def test_a_reused_descriptor_is_another_channel(self):
        run = self.record(["sh", "-c", f"ulimit -n 4096; exec {example('fd_reuse')}"])
        reader = judge.pids_of(run.truth, "reader")[0]
        rows = run.rows("SELECT w.class, c.kind, sum(w.count) AS n FROM waits w LEFT JOIN channels c ON c.id = w.channel "
                        "WHERE w.pid = ? AND w.class IN ('pipe_read', 'unix_read') GROUP BY w.class, c.kind", reader)
        seen = {(r["class"], r["kind"]): r["n"] for r in rows}
        for w in run.truth["waits"]:
            self.assertEqual(seen.get((w["class"], w["channel"])), w["count"], seen)
        self.assertEqual(len(seen), 2, seen)


REUSE_PID = """
import os
def child(*argv):
    pid = os.fork()
    if pid == 0:
        os.execvp(argv[0], argv)
    return pid
for attempt in range(100):
    first = child('sleep', '0.02')
    os.waitpid(first, 0)
    with open('/proc/sys/kernel/ns_last_pid', 'w') as f:
        f.write(str(first - 1))
    second = child('true')
    os.waitpid(second, 0)
    if second == first:
        print('reused', attempt, flush=True)
        break
"""


class Foreign(Case):
    BOTH = [(0, "waits_at"), (0, "wakes_at"), (1, "waits_at"), (1, "wakes_at")]

    def test_a_target_in_other_mount_and_pid_namespaces(self):
        """The binary lies on a file system that only the target sees."""
        where = self.path("private")
        os.mkdir(where)
        script = (f"mount -t tmpfs none {where} && cp {example('lockstep_pipe')} {where}/ping_pong && "
                  f"exec {where}/ping_pong --seconds 1")
        run = self.record(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script])
        self.assertEqual(run.report.kinds()[:1], ["lockstep"])
        names = {run.report.processes[p]["comm"] for p in run.report.findings[0]["pids"]}
        self.assertEqual(names, {"ping_pong"})
        self.assert_checks(judge.check_sites(run.report, run.truth, self.BOTH))
        self.assertEqual(os.listdir(where), [])

    def test_a_stripped_binary(self):
        binary = self.path("stripped")
        shutil.copy(example("lockstep_pipe"), binary)
        subprocess.run(["strip", binary], check=True)
        run = self.record([binary, "--seconds", "1"])
        self.assert_checks([judge.check_kind(run.report, run.truth), judge.check_roles(run.report, run.truth, ["parent", "child"])])
        modules = {f["module"] for e in run.report.findings[0]["evidence"] for f in run.report.stack(e["stack"])}
        self.assertIn(binary, modules)

    def test_a_binary_that_is_deleted_while_it_runs(self):
        binary = self.path("deleted")
        shutil.copy(example("lockstep_pipe"), binary)
        target = subprocess.Popen([binary, "--seconds", "3"], stdout=subprocess.PIPE, text=True)
        while os.readlink(f"/proc/{target.pid}/exe") != binary:
            pass
        os.unlink(binary)
        a = self.attach([target.pid])
        out, _ = target.communicate(timeout=TIMEOUT_S)
        run = a.stop(interrupt=False)
        run.truth = judge.find_truth(out)
        self.assertEqual(run.report.kinds()[:1], ["lockstep"])
        self.assert_checks(judge.check_sites(run.report, run.truth, self.BOTH))

    def test_symbols_of_processes_that_have_ended(self):
        """Attached to nothing at the end: the map was kept while the process lived."""
        run = self.record(["sh", "-c", f"{example('lockstep_pipe')} --rounds 3000"])
        self.assert_checks(judge.check_sites(run.report, run.truth, self.BOTH))

    def test_an_unprivileged_user_gets_one_clear_line(self):
        p = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", LOCKSTEP, "record", "--backend", "kernel",
                            "-o", "/tmp/never.db", "-p", "1"], capture_output=True, text=True, timeout=TIMEOUT_S)
        if "Permission denied" in p.stderr and "lockstep:" not in p.stderr:
            self.skipTest("the build directory is not readable by others")
        self.assertEqual(p.returncode, 3, p.stderr)
        self.assertEqual(len(p.stderr.strip().splitlines()), 1, p.stderr)
        self.assertTrue(p.stderr.startswith("lockstep: "), p.stderr)



class Hostile(Case):
    NAME = "\x1b[31mE\x07\n\u202ev"  # colour, bell, newline, right-to-left override

    def test_names_cannot_reach_the_terminal(self):
        binary = self.path(self.NAME)
        shutil.copy(example("lockstep_pipe"), binary)
        run = self.record([binary, "--seconds", "1"])
        self.assertEqual(run.report.kinds()[:1], ["lockstep"])
        for form in ([], ["--markdown"], ["--json"]):
            out = subprocess.run([LOCKSTEP, "report", run.path, "--color", "never", *form], capture_output=True, timeout=TIMEOUT_S)
            if out.returncode == 2:  # --color is not for this form
                out = subprocess.run([LOCKSTEP, "report", run.path, *form], capture_output=True, timeout=TIMEOUT_S)
            self.assertEqual(out.returncode, 0, out.stderr)
            text = out.stdout.decode()  # must be UTF-8
            bad = {c for c in text if ord(c) < 32 and c not in "\n\t" or 0x7f <= ord(c) < 0xa0 or c in "\u202e\u202d\u2066\u2067"}
            self.assertFalse(bad, f"{form}: {bad!r}")

    def test_names_that_are_no_utf8(self):
        script = "import os; open('/proc/self/comm', 'wb').write(b'\\xff\\xfe\\x1b]0;x'); import time; time.sleep(0.2)"
        run = self.record([PYTHON, "-c", script, "\udcff"])
        self.assertTrue(run.report.processes)


class Killed(Case):
    def test_sigkill_at_random_moments_leaves_target_and_files_whole(self):
        """Seeded; a killed run leaves no file or a valid one, and the target goes on as if nothing had been."""
        rng = random.Random(int(os.environ.get("SEED", "1")))
        target = subprocess.Popen([example("lockstep_pipe"), "--seconds", "60", "--pace", "2000"], stdout=subprocess.PIPE, text=True)
        try:
            for i in range(int(os.environ.get("KILLS", "25"))):
                db = self.path(f"kill{i}.db")
                p = subprocess.Popen([LOCKSTEP, "record", "--quiet", "--backend", "kernel", "-d", "0.2", "-o", db, "-p", str(target.pid)],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(rng.random() * 0.8)
                p.send_signal(signal.SIGKILL)
                p.wait()
                self.assertIsNone(target.poll())
                if os.path.exists(db):
                    self.assertEqual(Run(0, "", "", db).report.data["schema"], "lockstep-report/1")
            self.assertEqual([f for f in os.listdir(self.tmp.name) if not f.startswith("kill")], [])
            with open(f"/proc/{target.pid}/status") as f:
                self.assertIn("TracerPid:\t0", f.read())
        finally:
            target.kill()
            target.communicate()

    def test_target_killed_by_a_signal_is_told_as_the_shell_does(self):
        run = self.record(["sh", "-c", "kill -TERM $$"], check=False)
        self.assertEqual(run.status, 128 + signal.SIGTERM)
        self.assertTrue(os.path.exists(run.path))


if __name__ == "__main__":
    main()
