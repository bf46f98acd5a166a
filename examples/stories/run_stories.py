# SPDX-License-Identifier: Apache-2.0
"""Runs every story under lockstep, compares the report with what the program says of itself, and prints a Markdown table.

Each round runs, for each story: broken and fixed alone (for the measured speed-up) and each variant under `lockstep record`. A variant
passes when in every run the first finding has the right kind, processes, channel and call sites (rates within 2 %, the
message's median size exact); a fixed variant or control when there is no finding that its own truth does not own up to.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

import judge
import servers

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
WAIT, WAKE = "waits_at", "wakes_at"


class Story:
    """broken/fixed: argv after the program; None: no such variant."""

    def __init__(self, name, program, broken, fixed, server=None, timed=True, **expect):
        self.name, self.program, self.broken, self.fixed, self.server, self.expect = name, program, broken, fixed, server, expect
        self.timed = timed  # takes --seconds


BOTH = [(0, WAIT), (0, WAKE), (1, WAIT), (1, WAKE)]
WORK = ["--work-us", "20"]  # what a message costs to handle: without any, no price of a round trip says what is left after the fix
PAIR = dict(roles=["parent", "child"], sites=BOTH, rate=True)

STORIES = [
    Story("lock-step, pipes", "lockstep_pipe", ["--apart", *WORK], ["--apart", *WORK, "--batch", "1000"], channel="pipe", message=True, **PAIR),
    Story("lock-step, one CPU", "lockstep_pipe", ["--pin", "0", *WORK], ["--pin", "0", *WORK, "--batch", "1000"], channel="pipe", message=True, **PAIR),
    Story("lock-step, socketpair", "lockstep_socketpair", ["--apart", *WORK], ["--apart", *WORK, "--batch", "1000"], channel="unix", message=True, **PAIR),
    Story("lock-step, TCP", "lockstep_tcp", ["--apart", *WORK], ["--apart", *WORK, "--batch", "1000"], channel="tcp", message=True, **PAIR),
    Story("lock-step, futex", "lockstep_futex", ["--apart", *WORK], ["--apart", *WORK, "--batch", "1000"], channel="futex", **PAIR),
    Story("ring of three", "ring_pipe", WORK, [*WORK, "--batch", "64"], channel="pipe", roles=["member0", "member1", "member2"],
          sites=[(0, WAIT), (0, WAKE)], rate=True, message=True),
    Story("chatty counters", "chatty_counters.py", [], ["--fixed"], channel="unix", roles=["hub", "worker"], sites=[(0, WAIT)]),
    Story("starved buffer", "starved_buffer", [], ["--fixed"], channel="pipe", roles=["producer", "consumer"], sites=[(0, WAIT), (1, WAIT)]),
    Story("two of twenty", "two_of_twenty", ["--rounds", "3000"], ["--rounds", "3000", "--fixed"], timed=False, roles=["busy"],
          sites=[(0, WAKE)]),
    Story("round trips, PostgreSQL", "record_lookup", ["--kind", "pg"], ["--kind", "pg", "--fixed"], server=servers.Postgres,
          channel="tcp", roles=["client"], sites=[(0, WAIT)], rate=True),
    Story("round trips, redis", "record_lookup", ["--kind", "redis"], ["--kind", "redis", "--fixed"], server=servers.Redis,
          channel="tcp", roles=["client"], sites=[(0, WAIT)], rate=True),
    Story("slow middle", "slow_middle", [], ["--fixed"], roles=["transform"], sites=[(2, WAIT)]),
    Story("convoy, futex", "convoy", ["--kind", "futex"], ["--kind", "futex", "--fixed"], channel="futex", roles=["main"],
          sites=[(0, WAIT), (0, WAKE)]),
    Story("convoy, fcntl", "convoy", ["--kind", "fcntl"], ["--kind", "fcntl", "--fixed"], roles=["worker"], sites=[(0, WAIT), (0, WAKE)]),
    Story("membership test, C", "membership", [], ["--fixed"], roles=["main"], sites=[(0, WAIT)]),
    Story("membership test, Python", "membership.py", [], ["--fixed"], roles=["main"], sites=[(0, WAIT)]),
    Story("flush per record", "flush_per_record", [], ["--fixed"], roles=["store"], sites=[(0, WAIT)]),
    Story("own brake", "own_brake", [], ["--fixed"], roles=["brake"], sites=[(0, WAIT)]),
    Story("one server", "one_server", [], ["--fixed"], roles=["server"], sites=[(0, WAIT)]),
    Story("one server, backend", "one_server", ["--kind", "backend"], ["--kind", "backend", "--fixed"], roles=["server"],
          sites=[(0, WAIT)]),
    Story("a process per item", "churn.sh", ["1500"], ["--fixed", "1500"], timed=False),
    Story("hidden hop", "hidden_hop", [], ["--fixed"], channel="pipe", roles=["parent", "child"], sites=BOTH, rate=True, message=True),
    Story("no CPU", "no_cpu", [], None, roles=["worker"]),
    Story("control: stream, pipe", "control_stream", None, ["--kind", "pipe"]),
    Story("control: stream, unix", "control_stream", None, ["--kind", "unix"]),
    Story("control: stream, TCP", "control_stream", None, ["--kind", "tcp"]),
    Story("control: workers, futex", "control_workers", None, ["--kind", "futex"]),
    Story("control: workers, pipe", "control_workers", None, ["--kind", "pipe"]),
    Story("control: pipeline", "pipeline_paced", None, []),
    Story("control: one on its CPU", "no_cpu", None, ["--fixed"]),
    Story("control: idle, 50 x 4 threads", "many_threads", None, ["--n", "50"]),
]


def argv_of(story, args, options):
    if story.program.endswith(".py"):
        argv = [PYTHON, os.path.join(HERE, story.program)]
    elif story.program.endswith(".sh"):
        argv = [os.path.join(HERE, story.program)]
    else:
        argv = [os.path.join(options.examples, story.program)]
    return argv + (["--seconds", str(options.seconds)] if story.timed else []) + args


KEEP_OPEN = os.pipe()  # stdin of the programs: no program sees its end


def run_alone(argv, env):
    p = subprocess.run(argv, env=env, capture_output=True, text=True, stdin=KEEP_OPEN[0])
    truth = judge.find_truth(p.stdout)
    if p.returncode or not truth:
        raise RuntimeError(f"{argv[0]}: status {p.returncode}: {p.stderr.strip()[-200:]}")
    return truth


def run_recorded(argv, env, options, tmp, extra=()):
    """(truth, Report) of one run under lockstep."""
    db = os.path.join(tmp, "story.db")
    p = subprocess.run([options.lockstep, "record", "--quiet", *extra, "-o", db, "--", *argv], env=env, capture_output=True, text=True,
                       stdin=KEEP_OPEN[0])
    truth = judge.find_truth(p.stdout)
    if p.returncode or not truth:
        raise RuntimeError(f"status {p.returncode}: {p.stderr.strip()[-200:]}")
    r = subprocess.run([options.lockstep, "report", db, "--json"], capture_output=True, text=True)
    os.unlink(db)
    if r.returncode:
        raise RuntimeError(f"report: status {r.returncode}: {r.stderr.strip()[-200:]}")
    return truth, judge.Report(json.loads(r.stdout))


class Outcome:
    """What the runs of one variant gave."""

    def __init__(self):
        self.runs, self.passed, self.failures, self.kinds, self.predictions, self.lost = 0, 0, {}, [], [], 0

    def add(self, checks, report):
        self.runs += 1
        bad = [c for c in checks if not c.ok]
        self.passed += not bad
        for c in bad:
            self.failures.setdefault(c.name, []).append(str(c))
        self.kinds.append((report.kinds() or ["none"])[0])
        self.lost += report.data["meta"]["lost"]["events"]
        if report.findings and report.findings[0].get("predicted_speedup"):
            p = report.findings[0]["predicted_speedup"]
            self.predictions.append((p["low"], p["high"]))

    def fail(self, why):
        self.runs += 1
        self.failures.setdefault("error", []).append(why)

    def said(self):
        return ", ".join(f"{k} {self.kinds.count(k)}x" if self.kinds.count(k) < self.runs else k for k in sorted(set(self.kinds))) or "-"


def run_story(story, options, tmp):
    """{"broken": Outcome, "fixed": Outcome, "speeds": {...}}"""
    result = {"broken": Outcome() if story.broken is not None else None, "fixed": Outcome() if story.fixed is not None else None,
              "speeds": {"broken": [], "fixed": []}, "others": []}
    variants = [(n, a) for n, a in (("broken", story.broken), ("fixed", story.fixed)) if a is not None]
    server = story.server() if story.server else None
    env = dict(os.environ)
    if server:
        server.__enter__()
        env["DB_ADDRESS"] = server.address
    try:
        for _ in range(options.runs):
            for name, args in variants:
                argv = argv_of(story, args, options)
                if len(variants) == 2:
                    result["speeds"][name].append(run_alone(argv, env)["items_per_s"])
                try:
                    with judge.Machine() as machine:
                        truth, report = run_recorded(argv, env, options, tmp)
                    result["others"].append(machine.others)
                    checks = judge.judge(report, truth, story.expect)
                    result[name].add(checks, report)
                    if options.verbose:
                        for c in checks:
                            print(f"  {story.name} {name}: {c}", file=sys.stderr)
                except (RuntimeError, ValueError, KeyError) as e:
                    result[name].fail(f"{type(e).__name__}: {e}")
    finally:
        if server:
            server.__exit__()
    return result


def speedup(result):
    b, f = result["speeds"]["broken"], result["speeds"]["fixed"]
    return statistics.median(f) / statistics.median(b) if b and f else None


def row(story, result):
    b, f = result["broken"], result["fixed"]
    measured = speedup(result)
    predicted, holds, width = "-", "-", "-"
    if b and b.predictions:
        low = statistics.median(x for x, _ in b.predictions)
        high = statistics.median(x for _, x in b.predictions)
        predicted = f"{low:.2f}-{high:.2f}"
        width = f"{high / low:.2f}" if low else "-"
        if measured:
            holds = "yes" if low <= measured <= high else "no"
    cells = [story.name]
    for o in (b, f):
        cells.append(f"{o.said()} ({o.passed}/{o.runs})" if o else "-")
    cells += [predicted, f"{measured:.2f}" if measured else "-", holds, width]
    return "| " + " | ".join(cells) + " |"


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = os.path.join(HERE, "..", "..")
    ap.add_argument("--runs", type=int, default=10)
    ap.add_argument("--seconds", type=float, default=2)
    ap.add_argument("--only", help="stories whose name contains this")
    ap.add_argument("--lockstep", default=os.environ.get("LOCKSTEP", os.path.join(root, "build", "lockstep")))
    ap.add_argument("--examples", default=os.environ.get("EXAMPLES", os.path.join(root, "build", "examples")))
    ap.add_argument("--verbose", action="store_true", help="every check to stderr")
    options = ap.parse_args()
    options.lockstep = shutil.which(options.lockstep) or ap.error(f"no lockstep at {options.lockstep}: build first")
    stories = [s for s in STORIES if not options.only or options.only in s.name]
    print("| story | broken: first finding (right/runs) | fixed or control | predicted speed-up | measured | holds | high/low |")
    print("|---|---|---|---|---|---|---|")
    problems, held, defined, others = [], 0, 0, []
    with tempfile.TemporaryDirectory(prefix="stories.") as tmp:
        for story in stories:
            try:
                result = run_story(story, options, tmp)
            except servers.Missing as e:
                print(f"| {story.name} | skipped: {e} is not installed | | | | | |", flush=True)
                continue
            text = row(story, result)
            others += result["others"]
            print(text, flush=True)
            if "| yes |" in text or "| no |" in text:
                defined += 1
                held += "| yes |" in text
            for name in ("broken", "fixed"):
                if result[name] and result[name].failures:
                    problems += [f"{story.name}, {name}: {len(v)}x {v[0]}" for v in result[name].failures.values()]
    if defined:
        print(f"\nThe predicted range contains the measured speed-up in {held} of {defined} stories.")
    if others:
        print(f"\nOthers used {statistics.median(others):.0%} of the machine meanwhile (median; most {max(others):.0%}).")
    for p in problems:
        print(f"problem: {p}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
