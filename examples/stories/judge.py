# SPDX-License-Identifier: Apache-2.0
"""A report (report --json) against the truth that a program printed about itself. Used by run_stories.py and by tests/e2e."""
import json
import os
import resource
import time

RATE_TOLERANCE = 0.02


def find_truth(stdout):
    """The last truth line of a program's output, or None."""
    found = None
    for line in stdout.splitlines():
        if line.startswith('{"program"'):
            found = json.loads(line)
    return found


class Machine:
    """How much of the machine others used during a run: with CPUs missing, the truth of a program that computes is another one."""

    BUSY = 0.15

    def __enter__(self):
        self.before = self._now()
        return self

    def __exit__(self, *_):
        wall, busy, own = (b - a for a, b in zip(self.before, self._now()))
        self.others = max(0.0, (busy - own) / (wall * os.cpu_count())) if wall > 0 else 0.0

    @property
    def busy(self):
        return self.others > self.BUSY

    @staticmethod
    def _now():
        """(wall, CPU seconds of the machine without idle and iowait, CPU seconds of our ended children and ourselves)."""
        with open("/proc/stat") as f:
            t = [int(x) for x in f.readline().split()[1:9]]
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        me = resource.getrusage(resource.RUSAGE_SELF)
        return (time.monotonic(), (sum(t) - t[3] - t[4]) / os.sysconf("SC_CLK_TCK"),
                own.ru_utime + own.ru_stime + me.ru_utime + me.ru_stime)


class Check:
    def __init__(self, name, ok, expected, seen):
        self.name, self.ok, self.expected, self.seen = name, bool(ok), expected, seen

    def __str__(self):
        return f"{'ok  ' if self.ok else 'FAIL'} {self.name}: expected {self.expected}, seen {self.seen}"


class Report:
    """The JSON report with the look-ups that a judge needs."""

    def __init__(self, data):
        self.data = data
        self.findings = data["findings"]
        self.edges = data["edges"]
        self.processes = {p["pid"]: p for p in data["processes"]}
        self.channels = {c["id"]: c for c in data["channels"]}

    def stack(self, ix):
        return self.data["stacks"][ix] if ix is not None else []

    def has_site(self, ix, site):
        """True when the stack has a frame of that function at that line of that file."""
        return any(frame_is(f, site) for f in self.stack(ix))

    def kinds(self):
        return [f["kind"] for f in self.findings]


def frame_is(frame, site):
    return (frame.get("function") == site["function"] or (frame.get("function") or "").endswith("." + site["function"])) and \
        os.path.basename(frame.get("file") or "") == site["file"] and frame.get("line") == site["line"]


def within(seen, expected, tolerance=RATE_TOLERANCE):
    return seen is not None and expected and abs(seen - expected) <= tolerance * expected


def pids_of(truth, role):
    """PIDs of a role; 'worker' also means worker0, worker1, ..."""
    return [p["pid"] for p in truth["processes"] if p["role"] == role or p["role"].rstrip("0123456789") == role]


def check_kind(report, truth):
    """The first finding is of the true kind; a healthy program gets none, or only what its truth tolerates."""
    expected = truth["finding"]
    seen = report.kinds()
    tolerated = set(truth.get("tolerated", []))
    if expected == "none":
        ok = not seen or set(seen) <= tolerated
    else:
        ok = bool(seen) and seen[0] == expected or not seen and "none" in tolerated
    return Check("kind", ok, expected + (f" (or {', '.join(sorted(tolerated))})" if tolerated else ""), seen or "none")


def check_roles(report, truth, roles):
    """The first finding names at least one process of each of these roles."""
    finding = report.findings[0]
    missing = [r for r in roles if not set(pids_of(truth, r)) & set(finding["pids"])]
    return Check("processes", not missing, ", ".join(roles), "all named" if not missing else f"not named: {missing} in {finding['pids']}")


def check_channel(report, truth, kind):
    finding = report.findings[0]
    kinds = {report.channels[c]["kind"] for c in finding["channel_ids"] if c in report.channels}
    return Check("channel", kind in kinds, kind, sorted(kinds))


def check_sites(report, truth, labels):
    """The first finding's evidence has each of these call sites: [(wait's index in the truth, 'waits_at' | 'wakes_at')]."""
    finding = report.findings[0]
    checks = []
    for index, end in labels:
        site = truth["waits"][index].get(end)
        if not site:
            continue
        ok = any(report.has_site(e["stack"], site) for e in finding["evidence"])
        seen = "named" if ok else "; ".join(sorted({leaf_text(report.stack(e["stack"])) for e in finding["evidence"]}))
        checks.append(Check(f"{end} of {truth['waits'][index]['waiter']}", ok, f"{site['function']} {site['file']}:{site['line']}", seen))
    return checks


def leaf_text(stack):
    """The first frames that have a source line, for messages."""
    named = [f"{f.get('function')} {os.path.basename(f.get('file') or '?')}:{f.get('line')}" for f in stack if f.get("line")]
    return " < ".join(named[:3]) or " < ".join(str(f.get("function")) for f in stack[:4]) or "(no stack)"


def check_rate(report, truth):
    """Round trips per second of the first finding, over the time that the program measured."""
    seen = report.findings[0].get("round_trips_per_s")
    return Check("round trips/s", within(seen, truth["rate_per_s"]), f"{truth['rate_per_s']:.1f} +-2 %", seen)


def check_message(report, truth):
    seen = (report.findings[0].get("message_bytes") or {}).get("p50")
    return Check("message p50", seen == truth["message_bytes"], truth["message_bytes"], seen)


def judge(report, truth, expect):
    """All checks that a story asks for. EXPECT: {"roles": [...], "channel": kind, "sites": [(i, end)], "rate": bool, "message": bool}."""
    checks = [check_kind(report, truth)]
    if truth["finding"] == "none" or not checks[0].ok or not report.findings:
        return checks
    if report.findings[0]["kind"] != truth["finding"]:
        return checks
    checks.append(check_roles(report, truth, expect.get("roles", [])))
    if expect.get("channel"):
        checks.append(check_channel(report, truth, expect["channel"]))
    checks += check_sites(report, truth, expect.get("sites", []))
    if expect.get("rate"):
        checks.append(check_rate(report, truth))
    if expect.get("message"):
        checks.append(check_message(report, truth))
    return checks
