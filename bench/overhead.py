# SPDX-License-Identifier: Apache-2.0
"""What profilers cost their targets: one table, measured side by side with the runs interleaved.

In: the example programs (which time themselves) and the tools found on this machine; out: a Markdown table of slow-downs (time with
the tool / time alone, medians), then lockstep's own cost and the cost of starting and stopping. Each round runs every tool once on
every load, so drift of the machine hits all alike. Where the load is pinned to one CPU the tool runs on another.
"""
import argparse
import json
import os
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class Load:
    """A target that does a fixed amount of work and says how long that took."""

    def __init__(self, key, title, command, amount, quick_amount, seconds, pinned=False, slow_divisor=20):
        self.key, self.title, self.command = key, title, command
        self.amount, self.quick_amount, self.seconds = amount, quick_amount, seconds
        self.pinned, self.slow_divisor = pinned, slow_divisor


def truth_seconds(out):
    """Seconds as the example program measured them, and its CPU seconds (None when it does not say)."""
    for line in out.splitlines():
        if line.startswith('{"program"'):
            t = json.loads(line)
            return t["seconds"], t.get("cpu_seconds")
    return None, None


def messaging_seconds(out):
    m = re.search(r"Total time:\s*([0-9.]+)", out)
    return (float(m.group(1)) if m else None), None


def loads(build):
    ex = os.path.join(build, "examples")
    return [
        Load("a", "pinned pipe ping-pong", lambda n: [f"{ex}/lockstep_pipe", "--pin", "0", "--rounds", str(n)], 600000, 150000,
             truth_seconds, pinned=True),
        Load("b", "perf bench sched messaging", lambda n: ["perf", "bench", "sched", "messaging", "-g", "5", "-l", str(n)], 400, 100,
             messaging_seconds, slow_divisor=5),
        Load("c", "pipeline, ~20 k waits/s", lambda n: [f"{ex}/pipeline_paced", "--rounds", str(n)], 20000, 5000, truth_seconds,
             slow_divisor=5),
        Load("d", "CPU-bound", lambda n: [f"{ex}/cpu_bound", "--rounds", str(n)], 2000, 1000, truth_seconds, slow_divisor=1),
    ]


class Result:
    def __init__(self):
        self.seconds = None
        self.lost = None
        self.own_cpu = None
        self.own_rss_kb = None
        self.events = None
        self.error = None


def run_plain(argv, result, load):
    p = subprocess.run(argv, capture_output=True, text=True)
    out = p.stdout + "\n" + p.stderr
    result.seconds, _ = load.seconds(out)
    if result.seconds is None:
        result.error = (out.strip().splitlines() or ["no output"])[-1]
    return out


def own_cost(argv, out_path):
    """Runs argv; returns (status, CPU seconds of that process alone without its children, its peak RSS in kB).

    The zombie's own times are read before it is reaped; the peak RSS comes from /proc while it lives."""
    rss = 0
    with open(out_path, "w") as out:
        p = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT)
        while True:
            done = os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if done:
                break
            try:
                with open(f"/proc/{p.pid}/status") as f:
                    m = re.search(r"VmHWM:\s*(\d+)", f.read())
                    rss = max(rss, int(m.group(1)) if m else 0)
            except OSError:
                pass
            time.sleep(0.05)
        with open(f"/proc/{p.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        status = p.wait()
    return status, cpu, rss


class Tool:
    wraps = True
    slow = False

    def __init__(self, name, binary, prefix=None):
        self.name, self.binary, self.prefix = name, binary, prefix

    def present(self):
        return self.binary is None or shutil.which(self.binary) is not None

    def run(self, load, n, place, tmp):
        r = Result()
        argv = load.command(n)
        if self.prefix:
            argv = place + self.prefix(tmp) + argv
        run_plain(argv, r, load)
        if self.prefix and self.binary == "perf" and os.path.exists(f"{tmp}/perf.data"):
            r.lost = perf_lost(f"{tmp}/perf.data")
            os.unlink(f"{tmp}/perf.data")
        return r


class Slow(Tool):
    slow = True


class Background(Tool):
    """A system-wide tracer that is started, attached, before the target and interrupted after it."""

    def run(self, load, n, place, tmp):
        r = Result()
        with open(f"{tmp}/tracer.out", "w") as out:
            t = subprocess.Popen(place + [self.binary], stdout=out, stderr=subprocess.STDOUT)
            try:
                if not attached(t, 20):
                    r.error = "did not attach"
                    return r
                run_plain(load.command(n), r, load)
            finally:
                t.send_signal(signal.SIGINT)
                try:
                    t.wait(60)
                except subprocess.TimeoutExpired:
                    t.kill()
                    t.wait()
        return r


def attached(p, seconds):
    """A BPF tracer is attached once its count of BPF links and perf events has stopped growing."""
    last, since, end = -1, time.monotonic(), time.monotonic() + seconds
    while time.monotonic() < end and p.poll() is None:
        n = 0
        try:
            for fd in os.listdir(f"/proc/{p.pid}/fd"):
                t = os.readlink(f"/proc/{p.pid}/fd/{fd}")
                n += "bpf_link" in t or "bpf-link" in t or "perf_event" in t
        except OSError:
            pass
        if n != last:
            last, since = n, time.monotonic()
        elif n > 0 and time.monotonic() - since > 0.5:
            return True
        time.sleep(0.05)
    return False


def perf_lost(path):
    """Events that perf says it lost; None when it cannot say."""
    p = subprocess.run(["perf", "report", "--stats", "-i", path], capture_output=True, text=True)
    m = re.findall(r"LOST(?:_SAMPLES)? events:\s*(\d+)", p.stdout)
    if p.returncode != 0:
        return None
    if not m:
        return 0
    d = subprocess.run(f"perf report -D -i '{path}' 2>/dev/null | grep -E 'PERF_RECORD_LOST' | grep -oE 'lost [0-9]+'", shell=True,
                       capture_output=True, text=True)
    return sum(int(x.split()[1]) for x in d.stdout.splitlines()) or sum(int(x) for x in m)


class Lockstep(Tool):
    def __init__(self, name, binary, backend):
        super().__init__(name, binary)
        self.backend = backend

    def present(self):
        return os.access(self.binary, os.X_OK)

    def run(self, load, n, place, tmp):
        r = Result()
        db = f"{tmp}/lockstep.db"
        argv = place + [self.binary, "record", "--backend", self.backend, "-o", db, "--"] + load.command(n)
        status, r.own_cpu, r.own_rss_kb = own_cost(argv, f"{tmp}/out")
        with open(f"{tmp}/out") as f:
            out = f.read()
        r.seconds, _ = load.seconds(out)
        if status != 0 or r.seconds is None:
            r.error = (out.strip().splitlines() or [f"status {status}"])[-1]
            return r
        try:
            p = subprocess.run([self.binary, "report", db, "--json"], capture_output=True, text=True)
            meta = json.loads(p.stdout)["meta"]
            r.lost = meta["lost"]["events"]
            con = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
            r.events = con.execute("SELECT n_events FROM meta").fetchone()[0]
            con.close()
        except (OSError, ValueError, KeyError, sqlite3.Error):
            pass
        return r


def tools(lockstep):
    sched = ["-e", "sched:sched_switch", "-e", "sched:sched_waking"]
    return [
        Tool("alone", None),
        Lockstep("lockstep", lockstep, "kernel"),
        Lockstep("lockstep-user", lockstep, "user"),
        Background("offcputime", "offcputime"),
        Background("wakeuptime", "wakeuptime"),
        Tool("perf-sched", "perf", lambda tmp: ["perf", "sched", "record", "-o", f"{tmp}/perf.data", "--"]),
        Tool("perf-offcpu", "perf",
             lambda tmp: ["perf", "record", "-q", "-o", f"{tmp}/perf.data", *sched, "--call-graph", "fp", "--"]),
        Slow("perf-trace", "perf", lambda tmp: ["perf", "trace", "-s", "-o", "/dev/null", "--"]),
        Slow("strace", "strace", lambda tmp: ["strace", "-f", "-c", "-o", "/dev/null"]),
    ]


TITLES = {
    "alone": "the target alone",
    "lockstep-user": "lockstep --backend user",
    "offcputime": "offcputime (libbpf-tools)",
    "wakeuptime": "wakeuptime (libbpf-tools)",
    "perf-sched": "perf sched record",
    "perf-offcpu": "perf record, sched events, fp stacks",
    "perf-trace": "perf trace -s",
    "strace": "strace -f -c",
}


def measure(selected_tools, selected_loads, runs, quick, tmp):
    """{(tool, load): [seconds per unit of work]}, and the last Results by the same key."""
    times, results = {}, {}
    cpus = sorted(os.sched_getaffinity(0))
    spare = cpus[1] if len(cpus) > 1 else None
    total = runs * len(selected_tools) * len(selected_loads)
    done = 0
    for _ in range(runs):
        for load in selected_loads:
            for tool in selected_tools:
                done += 1
                if sys.stderr.isatty():
                    print(f"\r{done}/{total} {tool.name} ({load.key})          ", end="", file=sys.stderr)
                if not tool.present():
                    continue
                n = load.quick_amount if quick else load.amount
                if tool.slow:
                    n = max(1, n // load.slow_divisor)
                place = ["taskset", "-c", str(spare)] if load.pinned and spare is not None else []
                r = tool.run(load, n, place, tmp)
                if r.seconds is not None:
                    times.setdefault((tool.name, load.key), []).append(r.seconds / n)
                results.setdefault((tool.name, load.key), []).append(r)
    if sys.stderr.isatty():
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    return times, results


def start_stop(lockstep, runs, tmp):
    """Median seconds of profiling `true`: {name: seconds}."""
    commands = {"true": ["true"]}
    if os.access(lockstep, os.X_OK):
        commands["lockstep run -- true"] = [lockstep, "run", "--backend", "kernel", "-o", f"{tmp}/r", "--", "true"]
    if shutil.which("perf"):
        commands["perf sched record true"] = ["perf", "sched", "record", "-o", f"{tmp}/p.data", "true"]
    took = {k: [] for k in commands}
    for _ in range(runs):
        for name, argv in commands.items():
            t = time.monotonic()
            subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            took[name].append(time.monotonic() - t)
    return {k: statistics.median(v) for k, v in took.items()}


def cell(tool, load, times, results):
    if not tool.present():
        return "not installed"
    key = (tool.name, load.key)
    if key not in times:
        errors = [r.error for r in results.get(key, []) if r.error]
        return "failed: " + errors[0][:60] if errors else "not run"
    if ("alone", load.key) not in times:
        return "no baseline"
    base = statistics.median(times[("alone", load.key)])
    ratios = sorted(t / base for t in times[key])
    text = f"{statistics.median(ratios):.2f}"
    if len(ratios) > 1:
        text += f" ({ratios[0]:.2f}-{ratios[-1]:.2f})"
    lost = [r.lost for r in results[key] if r.lost is not None]
    if lost and max(lost) > 0:
        text += f", lost {int(statistics.median(lost))}"
    return text


def print_tables(args, selected_tools, selected_loads, times, results, start):
    print(f"Slow-down (time with the tool / time alone): median of {args.runs} interleaved runs (least-most), {os.cpu_count()} CPUs, "
          f"Linux {os.uname().release}; 'lost' are events that the tool says it lost.\n")
    print("| tool | " + " | ".join(f"({x.key}) {x.title}" for x in selected_loads) + " |")
    print("|---|" + "---|" * len(selected_loads))
    for t in selected_tools:
        print(f"| {TITLES.get(t.name, t.name)} | " + " | ".join(cell(t, x, times, results) for x in selected_loads) + " |")
    print()
    for x in selected_loads:
        if ("alone", x.key) in times:
            print(f"({x.key}) alone: {statistics.median(times[('alone', x.key)]) * 1e6:.2f} us per unit of work")
    for t in selected_tools:
        if not isinstance(t, Lockstep) or not t.present():
            continue
        print(f"\n| {t.name} itself | CPU s | events | ns CPU per event | peak RSS MB | events lost |\n|---|---|---|---|---|---|")
        for x in selected_loads:
            rs = [r for r in results.get((t.name, x.key), []) if not r.error]
            if not rs:
                continue
            cpu = statistics.median(r.own_cpu for r in rs)
            events = statistics.median([r.events for r in rs if r.events] or [0])
            per = f"{cpu / events * 1e9:.0f}" if events else "?"
            print(f"| ({x.key}) {x.title} | {cpu:.2f} | {int(events) or '?'} | {per} | {max(r.own_rss_kb for r in rs) / 1024:.0f} | "
                  f"{max((r.lost or 0) for r in rs)} |")
    if ("offcputime", "a") in times and ("lockstep", "a") in times:
        base = statistics.median(times[("alone", "a")])
        mine = statistics.median(times[("lockstep", "a")]) - base
        theirs = statistics.median(times[("offcputime", "a")]) - base
        if theirs > 0:
            print(f"\nadded time on (a): lockstep {mine * 1e6:.2f} us, offcputime {theirs * 1e6:.2f} us per round trip: "
                  f"{mine / theirs:.2f} of it")
    if start:
        print("\nstart and stop, median seconds: " + ", ".join(f"{k}: {v:.3f}" for k, v in start.items()))


def main():
    ap = argparse.ArgumentParser(prog="overhead.sh", description=__doc__.splitlines()[0])
    ap.add_argument("--quick", action="store_true", help="less work per run and 3 runs")
    ap.add_argument("--tools", help="comma-separated: alone,lockstep,lockstep-user,offcputime,wakeuptime,perf-sched,perf-offcpu,"
                    "perf-trace,strace (default: all but lockstep-user)")
    ap.add_argument("--loads", help="comma-separated: a,b,c,d (default: all)")
    ap.add_argument("--runs", type=int, help="rounds (default 7, quick 3)")
    ap.add_argument("--build", default=os.path.join(HERE, "..", "build"), help="build directory")
    args = ap.parse_args()
    args.runs = args.runs or (3 if args.quick else 7)
    build = os.path.abspath(args.build)
    lockstep = os.path.join(build, "lockstep")
    if not os.path.exists(os.path.join(build, "examples", "lockstep_pipe")):
        ap.error(f"no example programs in {build}/examples: build first")
    every = tools(lockstep)
    names = args.tools.split(",") if args.tools else [t.name for t in every if t.name != "lockstep-user"]
    unknown = set(names) - {t.name for t in every}
    if unknown:
        ap.error("unknown tool: " + ", ".join(sorted(unknown)))
    selected_tools = [t for t in every if t.name in names or t.name == "alone"]
    keys = args.loads.split(",") if args.loads else ["a", "b", "c", "d"]
    selected_loads = [x for x in loads(build) if x.key in keys]
    if not shutil.which("perf"):
        selected_loads = [x for x in selected_loads if x.key != "b"]
    with tempfile.TemporaryDirectory(prefix="overhead.") as tmp:
        times, results = measure(selected_tools, selected_loads, args.runs, args.quick, tmp)
        start = start_stop(lockstep, max(args.runs, 5), tmp)
    print_tables(args, selected_tools, selected_loads, times, results, start)


if __name__ == "__main__":
    main()
