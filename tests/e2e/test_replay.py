#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Recorded and hand-written event streams along the production path: replay, aggregate, save, report. Needs no privileges but for the
recording of a live command, which is skipped without them."""
import json
import os
import subprocess
import tempfile
import unittest

LOCKSTEP = os.environ["LOCKSTEP"]
STREAMS = os.path.join(os.environ["SOURCE_DIR"], "tests", "replay")


def lockstep(*args):
    return subprocess.run([LOCKSTEP, *args], capture_output=True, text=True, timeout=120)


class Replay(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def profile(self, stream, name="p.db"):
        done = lockstep("record", "--quiet", "--replay", stream, "-o", self.path(name))
        self.assertEqual(done.returncode, 0, done.stderr)
        done = lockstep("report", self.path(name), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_numbers_of_a_written_stream(self):
        report = self.profile(os.path.join(STREAMS, "reader_writer.events"))
        self.assertEqual(report["meta"]["backend"], "replay")
        reader, writer = (next(p for p in report["processes"] if p["comm"] == c) for c in ("reader", "writer"))
        self.assertAlmostEqual(reader["blocked_s"], 3e-6, places=12)
        self.assertAlmostEqual(reader["run_queue_s"], 1e-7, places=12)
        self.assertAlmostEqual(reader["on_cpu_s"], 0.01 - 3.1e-6, places=12)
        self.assertAlmostEqual(writer["blocked_s"] + writer["idle_s"], 8e-3, places=12)
        edge = next(e for e in report["edges"] if e["waiter_pid"] == 10)
        self.assertEqual((edge["waker_pid"], edge["count"], edge["confidence"]), (20, 1, "high"))
        self.assertEqual(edge["message_bytes"]["p50"], 200)
        leaf = report["stacks"][edge["waiter_stack"]][0]
        self.assertEqual((leaf["function"], leaf["file"], leaf["line"]), ("read_request", "/src/reader.c", 42))
        self.assertEqual(report["stacks"][edge["waker_stack"]][0]["function"], "send_request")

    def ping_pong(self, path, rounds):
        """Two processes over two pipes, never both running: 10 us a round trip."""
        with open(path, "w", encoding="ascii") as f:
            for pid, comm in ((10, "client"), (20, "server")):
                f.write(f"process 1000 pid={pid} comm={comm}\nthread 1000 pid={pid} tid={pid}\n")
            for ch, reader, writer in ((1, 10, 20), (2, 20, 10)):
                f.write(f"channel 1000 id={ch} kind=pipe name=pipe:[{ch}]\n")
                f.write(f"channel_end 1000 channel={ch} pid={reader} fd=3 role=reader\n")
                f.write(f"channel_end 1000 channel={ch} pid={writer} fd=4 role=writer\n")
            t = 10000
            for _ in range(rounds):
                f.write(f"wait {t} tid=10 class=pipe_read wake={t + 4000} run={t + 5000} ctx=task waker=20 channel=1 bytes=100\n")
                f.write(f"wait {t + 4500} tid=20 class=pipe_read wake={t + 9000} run={t + 10500} ctx=task waker=10 channel=2 bytes=200\n")
                t += 10000
            f.write(f"end {t + 1000}\n")

    def test_a_lock_stepped_stream_is_found_and_equal_streams_give_equal_reports(self):
        stream = self.path("ping.events")
        self.ping_pong(stream, 100000)
        one, two = self.profile(stream, "1.db"), self.profile(stream, "2.db")
        found = [f for f in one["findings"] if f["kind"] == "lockstep"]
        self.assertEqual(len(found), 1, one["findings"])
        self.assertEqual(sorted(found[0]["pids"]), [10, 20])
        self.assertAlmostEqual(found[0]["round_trips_per_s"] / 100000, 1, delta=0.02)
        for key in one:
            if key != "meta":
                self.assertEqual(one[key], two[key], key)

    def test_a_bad_line_is_told_in_one_line(self):
        stream = self.path("bad.events")
        with open(os.path.join(STREAMS, "reader_writer.events"), encoding="ascii") as f:
            lines = f.readlines()
        with open(stream, "w", encoding="ascii") as f:
            f.writelines(lines[:-2] + ["wait soon\n"])
        done = lockstep("record", "--quiet", "--replay", stream, "-o", self.path("p.db"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"{stream}:{len(lines) - 1}: wait: bad time", done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)

    def test_a_live_run_and_its_replay_tell_the_same(self):
        events, live = self.path("e"), self.path("live.db")
        done = lockstep("record", "--quiet", "--record-events", events, "-o", live, "--", "sh", "-c", "seq 20000 | sort -n | tail -1")
        if done.returncode == 125:
            self.skipTest(done.stderr.strip())
        self.assertEqual((done.returncode, done.stdout), (0, "20000\n"), done.stderr)
        a = json.loads(lockstep("report", live, "--json").stdout)
        b = self.profile(events)
        for key in ("processes", "channels", "edges", "stacks", "hot"):
            self.assertEqual(a[key], b[key], key)


if __name__ == "__main__":
    unittest.main()
