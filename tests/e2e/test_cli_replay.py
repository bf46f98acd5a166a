# SPDX-License-Identifier: Apache-2.0
"""Recorded event streams through the whole command line: the production path from events to every output, without privileges."""

import json
import pathlib
import tempfile
import unittest

import cli_helper as cli

STREAM = """\
process 1000000 pid=10 comm=reader exe=/usr/bin/reader cmdline=reader%00-x%00
thread 1000000 pid=10 tid=10
process 1000000 pid=20 comm=%1b[31mwriter
thread 1000000 pid=20 tid=20
channel 1000000 id=1 kind=pipe name=pipe:[7] capacity=65536
channel_end 1000000 channel=1 pid=10 fd=3 role=reader
channel_end 1000000 channel=1 pid=20 fd=4 role=writer
frame 1000000 id=1 fn=read_request file=/src/reader.c line=42 module=/usr/bin/reader
stack 1000000 id=1 frames=1
wait 2000000 tid=10 class=pipe_read wake=5000000 run=5100000 ctx=task waker=20 channel=1 site=1 stack=1 bytes=200
sample 8000000 tid=10 stack=1 period=1000000
end 10000000
"""


class Replay(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.path = pathlib.Path(self.dir.name)
        self.stream = self.path / "stream"
        self.stream.write_text(STREAM)

    def replayed(self):
        profile = self.path / "profile"
        done = cli.run("record", "-q", "--replay", self.stream, "-o", profile)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        return profile

    def test_the_figures_are_those_of_the_stream(self):
        report = json.loads(cli.run("report", "--json", self.replayed()).stdout)
        self.assertEqual(report["meta"]["backend"], "replay")
        reader = next(p for p in report["processes"] if p["pid"] == 10)
        self.assertEqual(reader["cmdline"], ["reader", "-x"])
        waits = [(w["class"], w["count"], round((w["blocked_s"] + w["idle_s"]) * 1e9)) for w in reader["waits"]]
        self.assertEqual(waits, [("pipe_read", 1, 3000000)])
        self.assertEqual(round(reader["run_queue_s"] * 1e9), 100000)
        self.assertEqual(round(reader["on_cpu_s"] * 1e9), 9000000 - 3100000)
        edge, = report["edges"]
        self.assertEqual((edge["waiter_pid"], edge["waker_pid"], edge["count"]), (10, 20, 1))

    def test_run_prints_the_report_on_standard_error(self):
        done = cli.run("run", "--replay", self.stream)
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("reader", done.stderr)
        self.assertNotIn("\033", done.stderr)

    def test_colour_only_when_asked_for(self):
        self.assertIn("\033[", cli.run("run", "--color", "always", "--replay", self.stream).stderr)
        self.assertIn("\033[", cli.run("report", "--color", "always", self.replayed()).stdout)
        self.assertNotIn("\033", cli.run("report", self.replayed()).stdout)

    def test_every_output_of_it_works_and_pid_narrows_it(self):
        profile = self.replayed()
        formats = cli.run("export", profile, "--format", "?").stderr.split("not one of ")[1].split(";")[0].split("|")
        self.assertIn("folded", formats)
        outputs = [["report"], ["report", "--json"], ["report", "--markdown"]] + [["export", "--format", f] for f in formats]
        for args in outputs:
            done = cli.run(*args, profile, text=False)
            self.assertEqual((done.returncode, done.stderr), (0, b""), args)
            self.assertTrue(done.stdout, args)
            out = self.path / "out"
            self.assertEqual(cli.run(*args, profile, "-o", out).returncode, 0)
            self.assertTrue(out.stat().st_size, args)
        self.assertEqual(cli.run("report", profile, "--pid", "10").returncode, 0)
        done = cli.run("report", profile, "--pid", "11")
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (3, "", 1))

    def test_a_recording_replays_to_the_same_profile(self):
        again = self.path / "again"
        first = self.path / "first"
        cli.run("record", "-q", "--replay", self.stream, "--record-events", again, "-o", first)
        second = self.path / "second"
        cli.run("record", "-q", "--replay", again, "-o", second)
        one, two = (json.loads(cli.run("report", "--json", p).stdout) for p in (first, second))
        one["meta"].pop("started_at"), two["meta"].pop("started_at")
        self.assertEqual(one, two)

    @cli.for_each_backend
    def test_a_live_recording_replays_to_the_same_tables(self, backend):
        live, events, again = self.path / "live", self.path / "events", self.path / "again"
        done = cli.run("record", "-q", "--backend", backend, "--record-events", events, "-o", live, "--", "sh", "-c",
                       "seq 20000 | sort -n | tail -n 1")
        self.assertEqual((done.returncode, done.stdout), (0, "20000\n"), done.stderr)
        self.assertEqual(cli.run("record", "-q", "--replay", events, "-o", again).returncode, 0)
        one, two = (json.loads(cli.run("report", "--json", p).stdout) for p in (live, again))
        self.assertTrue(one["processes"])
        for table in ("processes", "channels", "edges", "findings", "stacks", "hot"):
            self.assertEqual(one[table], two[table], table)

    def test_bad_streams_get_one_line(self):
        for text, says in (("nonsense 1 a=b\n", ":1:"), (STREAM.replace("wait 2000000", "wait x"), ":10:")):
            self.stream.write_text(text)
            done = cli.run("record", "-q", "--replay", self.stream, "-o", self.path / "no")
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (3, "", 1), done.stderr)
            self.assertIn(says, done.stderr)
        done = cli.run("record", "--replay", self.path / "missing", "-o", self.path / "no")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (3, 1), done.stderr)
        done = cli.run("record", "--replay", self.stream, "--", "true")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)


if __name__ == "__main__":
    cli.main()
