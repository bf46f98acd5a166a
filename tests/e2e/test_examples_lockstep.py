# SPDX-License-Identifier: Apache-2.0
"""Pairs in lock-step, over every transport, against what the programs say of themselves; and their healthy variants."""

from lib import Case, example, judge, main

SECONDS = ["--seconds", "2"]
APART = ["--apart"]  # on two CPUs both sides wait; on one, the scheduler lets one of them hand over instead
BOTH = [(0, "waits_at"), (0, "wakes_at"), (1, "waits_at"), (1, "wakes_at")]


class Lockstep(Case):
    def check_pair(self, program, channel, args=(), message=True):
        run = self.record([example(program), *SECONDS, *args])
        truth, report = run.truth, run.report
        self.assert_checks(judge.judge(report, truth, dict(roles=["parent", "child"], channel=channel, sites=BOTH, rate=True,
                                                           message=message)))
        self.assertEqual(report.findings[0]["kind"], "lockstep")
        self.assert_ledger(run)
        self.assertEqual(report.data["meta"]["lost"]["events"], 0)
        return run

    def edge_sum(self, run, waiter, waker):
        """Edges between two roles, summed over call sites."""
        w, k = (judge.pids_of(run.truth, r)[0] for r in (waiter, waker))
        return [e for e in run.report.edges if e["waiter_pid"] == w and e["waker_pid"] == k]

    def check_edges(self, run, size):
        """Each waits for the other as often as it left the CPU to wait, and the messages have their true sizes."""
        for waiter, waker, bytes_ in (("child", "parent", size), ("parent", "child", 1)):
            edges = self.edge_sum(run, waiter, waker)
            count = sum(e["count"] for e in edges)
            switches = run.truth[f"{waiter}_switches"]
            if run.truth["channel"] == "unix":
                # a peer that reads wakes readers too (one wait queue for both directions): those switches are no waits of their own
                self.assertLessEqual(count, switches * 1.02, waiter)
                self.assertGreater(count, switches * 0.8, waiter)
            else:
                self.assertTrue(judge.within(count, switches), f"{waiter}: {count} waits, {switches} voluntary switches")
            biggest = max(edges, key=lambda e: e["count"])
            if size:
                self.assertEqual(biggest["message_bytes"]["p50"], bytes_)
            self.assertEqual(biggest["confidence"], "high")

    def test_pipes(self):
        self.check_edges(self.check_pair("lockstep_pipe", "pipe", APART), 200)

    def test_pipes_with_both_processes_on_one_cpu(self):
        self.check_edges(self.check_pair("lockstep_pipe", "pipe", ["--pin", "0"]), 200)

    def test_message_size_is_exact_whatever_it_is(self):
        run = self.check_pair("lockstep_pipe", "pipe", ["--size", "3001"])
        self.check_edges(run, 3001)

    def test_a_paced_pair_keeps_its_rate(self):
        run = self.record([example("lockstep_pipe"), *SECONDS, "--pace", "500"])
        edges = self.edge_sum(run, "child", "parent")
        self.assertTrue(judge.within(sum(e["count"] for e in edges), run.truth["round_trips"]), (edges, run.truth))
        self.assert_ledger(run)

    def test_socketpair(self):
        self.check_edges(self.check_pair("lockstep_socketpair", "unix", APART), 200)

    def test_tcp_on_the_loopback(self):
        self.check_edges(self.check_pair("lockstep_tcp", "tcp", APART), 200)

    def test_shared_futex(self):
        self.check_edges(self.check_pair("lockstep_futex", "futex", APART, message=False), None)

    def test_ring_of_three(self):
        run = self.record([example("ring_pipe"), *SECONDS])
        self.assert_checks(judge.judge(run.report, run.truth, dict(roles=["member0", "member1", "member2"], channel="pipe",
                                                                   sites=[(0, "waits_at"), (0, "wakes_at")], rate=True, message=True)))
        self.assertEqual(run.report.findings[0]["kind"], "lockstep")
        self.assert_ledger(run)


class Healthy(Case):
    def check_none(self, program, args):
        run = self.record_quietly([example(program), *SECONDS, *args])
        self.assert_checks([judge.check_kind(run.report, run.truth)])
        self.assertNotIn("lockstep", run.report.kinds())
        self.assert_ledger(run)

    def test_batched_variants_of_every_transport(self):
        for program in ("lockstep_pipe", "lockstep_socketpair", "lockstep_tcp", "lockstep_futex"):
            with self.subTest(program):
                self.check_none(program, ["--batch", "1000"])

    def test_ring_with_many_tokens(self):
        self.check_none("ring_pipe", ["--batch", "64"])

    def test_streams_without_acknowledgements(self):
        for kind in ("pipe", "unix", "tcp"):
            with self.subTest(kind):
                self.check_none("control_stream", ["--kind", kind])

    def test_workers_in_parallel(self):
        for kind in ("futex", "pipe", "unix"):
            with self.subTest(kind):
                self.check_none("control_workers", ["--kind", kind])

    def test_a_pipeline_whose_source_sets_the_pace(self):
        self.check_none("pipeline_paced", [])

    def test_an_idle_tree(self):
        self.check_none("many_threads", ["--n", "50"])


if __name__ == "__main__":
    main()
