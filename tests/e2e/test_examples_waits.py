# SPDX-License-Identifier: Apache-2.0
"""wait_zoo: one thread per way to wait, which counts and times its own waits. Class, channel, count, time and call site of each."""
from lib import Case, example, judge, main


class Zoo(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls("test_every_wait_has_its_class")
        case.setUp()
        cls.addClassCleanup(case.doCleanups)
        cls.run_ = case.record([example("wait_zoo"), "--seconds", "3"])

    def waits(self, name):
        return self.run_.rows("SELECT * FROM waits WHERE tid = ?", self.run_.truth[name + "_tid"])

    def of_site(self, wait):
        """The thread's waits whose stack holds the exhibit's call site."""
        site = wait["waits_at"]
        frames = self.run_.rows("SELECT s.stack_ix AS ix, f.function AS function, f.file AS file, f.line AS line FROM stack_frames s "
                                "JOIN frames f ON f.ix = s.frame_ix WHERE f.function = ?", site["function"])
        stacks = {f["ix"] for f in frames if judge.frame_is(f, site)}
        return [w for w in self.waits(wait["waiter"]) if w["stack_ix"] in stacks]

    def exhibits(self):
        """Waits that the machine lets wait: a file system in memory never blocks on the three disk exhibits."""
        for w in self.run_.truth["waits"]:
            if w["class"] in ("file_io", "page_fault") and not self.of_site(w):
                continue
            yield w

    def main_wait(self, wait):
        rows = self.of_site(wait)
        self.assertTrue(rows, f"{wait['waiter']}: no wait at {wait['waits_at']}, but {self.waits(wait['waiter'])}")
        return max(rows, key=lambda r: r["blocked_ns"] + r["idle_ns"] + r["run_queue_ns"])

    def test_every_wait_has_its_class(self):
        for w in self.exhibits():
            with self.subTest(w["waiter"]):
                self.assertIn(self.main_wait(w)["class"], w["class"].split("|"))

    def test_every_wait_has_its_channel(self):
        kinds = {c["id"]: c["kind"] for c in self.run_.rows("SELECT id, kind FROM channels")}
        kinds[0] = "none"
        for w in self.exhibits():
            if w["channel"] == "any":
                continue
            with self.subTest(w["waiter"]):
                kind = kinds[self.main_wait(w)["channel"]]
                self.assertIn("tcp" if kind == "udp" else kind, w["channel"].split("|"))

    def test_counts_and_times_are_the_threads_own(self):
        for w in self.exhibits():
            if w["class"] in ("file_io", "page_fault"):  # some need no wait, and faults also happen in the set-up
                continue
            with self.subTest(w["waiter"]):
                rows = self.of_site(w)
                seconds = sum(r["blocked_ns"] + r["idle_ns"] + r["run_queue_ns"] for r in rows) / 1e9
                count = sum(r["count"] for r in rows)
                expected = self.run_.truth[w["waiter"] + "_s"]
                self.assertLessEqual(abs(seconds - expected), 0.02 * expected + 0.005, f"{seconds} s for {expected} s")
                self.assertLessEqual(abs(count - w["count"]), 0.02 * w["count"] + 4, f"{count} waits for {w['count']}")

    def test_the_keeper_is_named_as_the_waker(self):
        keeper = judge.pids_of(self.run_.truth, "keeper")[0]
        zoo = judge.pids_of(self.run_.truth, "zoo")[0]
        for w in self.exhibits():
            if w["waker"] != "keeper":
                continue
            with self.subTest(w["waiter"]):
                edges = [e for e in self.run_.report.edges if e["waiter_pid"] == zoo and
                         self.run_.report.has_site(e["waiter_stack"], w["waits_at"])]
                named = sum(e["count"] for e in edges if e["waker_pid"] == keeper)
                self.assertGreaterEqual(named, 0.9 * w["count"], edges)

    def test_ledger_of_every_thread(self):
        self.assert_ledger(self.run_)


if __name__ == "__main__":
    main()
