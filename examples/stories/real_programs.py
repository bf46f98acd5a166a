# SPDX-License-Identifier: Apache-2.0
"""Programs from Debian's packages, which we did not write, in pathological use: what they say of themselves (or /proc, or bpftrace)
against what lockstep says. Prints a Markdown table; --only TEXT, --keep DIR keeps the reports.

Each scenario's truth comes from outside lockstep: the program's own counters, the server's statistics, /proc or bpftrace, named in the
table. `expect` lists the kinds of first finding that are right; 'none' where the program is well.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import judge
import servers

HERE = os.path.dirname(os.path.abspath(__file__))


class Context:
    def __init__(self, options, tmp):
        self.options, self.tmp = options, tmp

    def path(self, name):
        return os.path.join(self.tmp, name)

    def record(self, argv, pids=(), **kwargs):
        """Runs argv under lockstep (or, with PIDS, alone while lockstep watches those); returns (stdout + stderr, Report)."""
        db = self.path("real.db")
        if pids:
            tool = subprocess.Popen([self.options.lockstep, "record", "-o", db, "-p", ",".join(map(str, pids))], stderr=subprocess.PIPE,
                                    text=True)
            time.sleep(1)  # until it is attached; what it misses before counts for neither side
            p = subprocess.run(argv, capture_output=True, text=True, **kwargs)
            tool.send_signal(2)
            _, err = tool.communicate()
            if tool.returncode:
                raise RuntimeError(err.strip()[-300:])
        else:
            p = subprocess.run([self.options.lockstep, "record", "--quiet", "-o", db, "--", *argv], capture_output=True, text=True, **kwargs)
        r = subprocess.run([self.options.lockstep, "report", db, "--json"], capture_output=True, text=True)
        if r.returncode:
            raise RuntimeError(f"{p.stderr.strip()[-300:]} {r.stderr.strip()[-300:]}")
        if self.options.keep:
            os.makedirs(self.options.keep, exist_ok=True)
            name = re.sub(r"\W+", "-", self.scenario)
            shutil.copy(db, os.path.join(self.options.keep, name + ".db"))
        os.unlink(db)
        return p.stdout + p.stderr, judge.Report(json.loads(r.stdout))


def need(*programs):
    for p in programs:
        if not shutil.which(p):
            raise servers.Missing(p)


def comms(report, finding):
    return sorted({report.processes[p]["comm"] for p in finding["pids"] if p in report.processes})


def close(seen, expected, tolerance=0.05):
    return seen is not None and abs(seen - expected) <= tolerance * expected


class Verdict:
    """truth: sentence; expect: right kinds; facts: [(what, expected, seen, ok)]."""

    def __init__(self, truth, expect, report, facts=()):
        self.truth, self.expect, self.report, self.facts = truth, expect, report, list(facts)


def rate_fact(report, per_s):
    seen = report.findings[0].get("round_trips_per_s") if report.findings else None
    return ("round trips/s", f"{per_s:.0f}", f"{seen:.0f}" if seen else "-", close(seen, per_s))


def named_fact(report, *wanted):
    seen = comms(report, report.findings[0]) if report.findings else []
    return ("processes", "+".join(wanted), "+".join(seen) or "-", all(any(s.startswith(w) for s in seen) for w in wanted))


# ---- the scenarios


def pgbench_select(c):
    """pgbench -S -c 1 over TCP: one client, one statement at a time."""
    need("pgbench")
    with servers.Postgres() as pg:
        at = ["-h", "127.0.0.1", "-p", str(pg.port), "-U", "postgres", "postgres"]
        subprocess.run(["pgbench", "-i", "-q", *at], check=True, capture_output=True)
        out, report = c.record(["pgbench", "-S", "-c", "1", "-T", "4", *at])
        tps = float(re.search(r"tps = ([0-9.]+)", out).group(1))
        return Verdict(f"{tps:.0f} transactions/s of one SELECT each (pgbench's own count)", ["n_plus_one", "lockstep"], report,
                       [rate_fact(report, tps), named_fact(report, "pgbench")])


def pgbench_write(c):
    """pgbench's TPC-B with one client: every transaction ends in a flush of the log. Server and client watched."""
    need("pgbench")
    with servers.Postgres() as pg:
        at = ["-h", "127.0.0.1", "-p", str(pg.port), "-U", "postgres", "postgres"]
        subprocess.run(["pgbench", "-i", "-q", *at], check=True, capture_output=True)
        pg.sql("ALTER SYSTEM SET track_wal_io_timing = on")
        pg.sql("SELECT pg_reload_conf()")
        pg.sql("SELECT pg_stat_reset_shared('wal')")
        out, report = c.record(["pgbench", "-N", "-c", "1", "-T", "4", *at], pids=[pg.pid])
        tps = float(re.search(r"tps = ([0-9.]+)", out).group(1))
        syncs, ms = pg.sql("SELECT wal_sync, wal_sync_time FROM pg_stat_wal").strip().split("|")
        share = float(ms) / 4000
        return Verdict(f"{tps:.0f} transactions/s, {syncs} log flushes taking {share:.0%} of the run (pg_stat_wal)",
                       ["disk_wait"] if share > 0.3 else ["disk_wait", "n_plus_one", "lockstep", "hot_line", "none"], report,
                       [named_fact(report, "postgres")])


def redis_benchmark(c):
    """redis-benchmark -c 1 -P 1: one connection, no pipelining; only the client watched."""
    need("redis-server", "redis-benchmark")
    with servers.Redis() as r:
        out, report = c.record(["redis-benchmark", "-p", str(r.port), "-c", "1", "-P", "1", "-t", "get", "-n", "100000", "--csv"])
        rps = [float(x) for x in re.findall(r'"GET","([0-9.]+)"', out)][-1]
        return Verdict(f"{rps:.0f} requests/s (redis-benchmark's own count)", ["n_plus_one", "lockstep"], report,
                       [rate_fact(report, rps), named_fact(report, "redis-benchmark")])


def redis_pipelined(c):
    """The healthy control: 50 connections, 16 requests under way on each."""
    need("redis-server", "redis-benchmark")
    with servers.Redis() as r:
        out, report = c.record(["redis-benchmark", "-p", str(r.port), "-c", "50", "-P", "16", "-t", "get", "-n", "2000000", "--csv"])
        rps = [float(x) for x in re.findall(r'"GET","([0-9.]+)"', out)][-1]
        return Verdict(f"{rps:.0f} requests/s: the server is busy", ["none", "hot_line"], report)


def memcached(c):
    """memcslap with one connection against memcached; both watched in one tree."""
    need("memcached", "memcslap")
    port = servers.free_port()
    script = (f"memcached -u nobody -l 127.0.0.1 -p {port} -t 1 & M=$!; "
              f"until bash -c '</dev/tcp/127.0.0.1/{port}' 2>/dev/null; do sleep 0.05; done; "
              f"memcslap --servers=127.0.0.1:{port} --concurrency=1 --execute-number=60000 --test=get; "
              f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'stats\\r\\n' >&3; while read -r a b v <&3; do "
              f"[ \"$a\" = \"END$(printf '\\r')\" ] && break; [ \"$b\" = cmd_get ] && echo \"cmd_get $v\"; done; kill $M; wait $M 2>/dev/null; true")
    out, report = c.record(["bash", "-c", script])
    gets = int(re.search(r"cmd_get (\d+)", out).group(1))
    return Verdict(f"{gets} gets, one at a time (memcached's stats)", ["lockstep", "n_plus_one"], report,
                   [named_fact(report, "memcslap", "memcached")])


def xargs_n1(c):
    """xargs -n 1: a process per file name."""
    n = 3000
    script = f"seq 1 {n} | xargs -n 1 basename > /dev/null"
    before = forks()
    out, report = c.record(["sh", "-c", script])
    made = forks() - before
    seen = sum(p.get("siblings", 1) for p in report.data["processes"] if p["comm"] == "basename")
    return Verdict(f"{n} children of xargs (its input; /proc/stat counts {made} forks on the machine)", ["process_churn"], report,
                   [("children", n, seen, seen == n)])


def forks():
    with open("/proc/stat") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("processes"))


def sqlite_autocommit(c):
    """sqlite3 with one transaction per INSERT: each waits for the disk."""
    need("sqlite3")
    sql = c.path("in.sql")
    with open(sql, "w") as f:
        f.write("CREATE TABLE t(x);\n" + "INSERT INTO t VALUES(1);\n" * 1500)
    script = f"sqlite3 {c.path('a.db')} < {sql}"
    counted = bpftrace("tracepoint:syscalls:sys_enter_fdatasync,tracepoint:syscalls:sys_enter_fsync /comm == \"sqlite3\"/ "
                       "{ @n = count(); @t[tid] = nsecs; } tracepoint:syscalls:sys_exit_fdatasync,tracepoint:syscalls:sys_exit_fsync "
                       "/@t[tid]/ { @ns = sum(nsecs - @t[tid]); delete(@t[tid]); }", ["sh", "-c", script])
    os.unlink(c.path("a.db"))
    out, report = c.record(["sh", "-c", script])
    wall = report.data["meta"]["duration_s"]
    p = next((p for p in report.data["processes"] if p["comm"] == "sqlite3"), None)
    disk = sum(w["blocked_s"] for w in p["waits"] if w["class"] == "file_io") if p else 0
    n = sum(w["count"] for w in p["waits"] if w["class"] == "file_io") if p else 0
    facts = [named_fact(report, "sqlite3")]
    truth = "1,500 commits"
    if counted:
        truth += f"; {counted['n']} flushes of {counted['ns'] / 1e9:.2f} s in all (bpftrace, a run of its own)"
        facts.append(("waits for the disk", counted["n"], n, n >= 0.9 * counted["n"]))
    truth += f"; lockstep's run: {disk:.2f} s of {wall:.2f} s"
    return Verdict(truth, ["disk_wait"], report, facts)


def bpftrace(program, argv):
    """{name: number} of the maps @name after argv has run; None without bpftrace."""
    if not shutil.which("bpftrace"):
        return None
    p = subprocess.Popen(["bpftrace", "-q", "-e", "BEGIN { printf(\"ready\\n\"); } " + program], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True)
    line = p.stdout.readline()
    if "ready" not in line:
        p.kill()
        p.communicate()
        return None
    subprocess.run(argv, capture_output=True)
    for _ in range(10):  # an interrupt before its handler is set is lost
        p.send_signal(2)
        try:
            out, _ = p.communicate(timeout=5)
            break
        except subprocess.TimeoutExpired:
            continue
    else:
        p.kill()
        p.communicate()
        return None
    return {k: int(v) for k, v in re.findall(r"@(\w+): (\d+)", out)}


def bc_coprocess(c):
    """bash asks bc one sum at a time through a coprocess."""
    need("bc")
    n = 60000
    script = f"coproc bc; for ((i = 0; i < {n}; i++)); do echo $i+1 >&${{COPROC[1]}}; read -r x <&${{COPROC[0]}}; done; echo last $x"
    out, report = c.record(["bash", "-c", script])
    seconds = report.data["meta"]["duration_s"]
    assert f"last {n}" in out, out
    return Verdict(f"{n} questions and answers in {seconds:.2f} s (the script's count)", ["lockstep"], report,
                   [rate_fact(report, n / seconds), named_fact(report, "bash", "bc")])


def git_cat_file(c):
    """A script that asks `git cat-file --batch-check` for one object at a time."""
    need("git")
    repo = c.path("repo")
    subprocess.run(f"git init -q {repo} && cd {repo} && git config user.email a@b && git config user.name n && "
                   f"for i in $(seq 200); do echo $i > $i; done && git add . && git commit -qm x", shell=True, check=True)
    n = 40000
    script = (f"cd {repo}; ids=($(git rev-list --objects HEAD | cut -d' ' -f1)); coproc git cat-file --batch-check; "
              f"for ((i = 0; i < {n}; i++)); do echo ${{ids[i % ${{#ids[@]}}]}} >&${{COPROC[1]}}; read -r x <&${{COPROC[0]}}; done")
    out, report = c.record(["bash", "-c", script])
    return Verdict(f"{n} questions and answers (the script's count)", ["lockstep"], report,
                   [named_fact(report, "bash", "git"),
                    ("round trips", n, *_round_trips(report, n))])


def _round_trips(report, n):
    seen = (report.findings[0].get("round_trips_per_s") or 0) * report.data["meta"]["duration_s"] if report.findings else 0
    return f"{seen:.0f}", close(seen, n, 0.1)


def nginx_wrk(c):
    """wrk with one connection and one thread against nginx with one worker, both in the tree."""
    need("nginx", "wrk")
    port = servers.free_port()
    conf = c.path("nginx.conf")
    with open(conf, "w") as f:
        f.write(f"daemon off; worker_processes 1; pid {c.path('pid')}; error_log {c.path('err')}; events {{}} http {{ access_log off; "
                f"client_body_temp_path {c.path('b')}; proxy_temp_path {c.path('p')}; fastcgi_temp_path {c.path('f')}; "
                f"uwsgi_temp_path {c.path('u')}; scgi_temp_path {c.path('s')}; keepalive_requests 100000000; "
                f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 hello; }} }} }}")
    script = (f"nginx -c {conf} & N=$!; until bash -c '</dev/tcp/127.0.0.1/{port}' 2>/dev/null; do sleep 0.05; done; "
              f"wrk -t1 -c1 -d4s http://127.0.0.1:{port}/; kill $N; wait $N")
    os.chmod(c.tmp, 0o755)
    out, report = c.record(["bash", "-c", script])
    rps = float(re.search(r"Requests/sec:\s*([0-9.]+)", out).group(1))
    seconds = report.data["meta"]["duration_s"]
    return Verdict(f"{rps:.0f} requests/s on one connection (wrk's own count)", ["lockstep", "n_plus_one"], report,
                   [rate_fact(report, rps * 4 / seconds), named_fact(report, "wrk", "nginx")])


def gzip_pipe(c):
    """cat into gzip -9: gzip computes, cat waits for it on a full pipe."""
    data = c.path("data")
    subprocess.run(f"base64 /dev/urandom | head -c 60000000 > {data}", shell=True, check=True)
    out, report = c.record(["sh", "-c", f"cat {data} | gzip -9 > /dev/null"])
    p = {x["comm"]: x for x in report.data["processes"]}
    gz = p.get("gzip", {})
    return Verdict("gzip computes all the time (its rusage), cat waits on a full pipe", ["slow_consumer", "hot_line"], report,
                   [named_fact(report, "gzip"),
                    ("gzip's CPU share", ">0.9", f"{gz.get('on_cpu_s', 0) / report.data['meta']['duration_s']:.2f}",
                     gz.get("on_cpu_s", 0) > 0.9 * report.data["meta"]["duration_s"])])


def dd_tiny_blocks(c):
    """dd bs=64 | dd bs=64: a system call per 64 bytes on both sides."""
    n = 1000000
    out, report = c.record(["sh", "-c", f"dd if=/dev/zero bs=64 count={n} | dd of=/dev/null bs=64 iflag=fullblock"])
    copied = len(re.findall(rf"{n}\+0 records", out))
    edges = report.edges
    sizes = {(e["message_bytes"] or {}).get("p50") for e in edges if e["message_bytes"]}
    return Verdict(f"{n} blocks of 64 bytes on both sides ({copied} such lines of dd's own count); both compute in the kernel",
                   ["none", "hot_line", "slow_producer", "slow_consumer"], report, [("message size", 64, sorted(sizes), 64 in sizes or not sizes)])


def rsync_bwlimit(c):
    """rsync held back by its own --bwlimit: the sender sleeps."""
    need("rsync")
    src, dst = c.path("src"), c.path("dst")
    os.makedirs(src)
    subprocess.run(f"head -c 12000000 /dev/urandom > {src}/file", shell=True, check=True)
    out, report = c.record(["rsync", "-a", "--bwlimit=3000", src, dst])
    own = max((w["blocked_s"] + w.get("idle_s", 0) for p in report.data["processes"] for w in p["waits"]
               if p["comm"] == "rsync" and w["class"] in ("sleep", "poll")), default=0)
    return Verdict(f"12 MB at 3 MB/s take 4 s whatever the disk; lockstep's run {report.data['meta']['duration_s']:.1f} s, the longest own "
                   f"sleep of one rsync process {own:.1f} s", ["self_paced"], report, [named_fact(report, "rsync")])


def socat_chain(c):
    """A question-and-answer through two socats: bash | socat <-TCP-> socat | cat."""
    need("socat")
    port = servers.free_port()
    n = 8000
    script = (f"socat TCP-LISTEN:{port},reuseaddr,bind=127.0.0.1 EXEC:cat & S=$!; sleep 0.5; coproc socat - TCP:127.0.0.1:{port}; "
              f"for ((i = 0; i < {n}; i++)); do echo $i >&${{COPROC[1]}}; read -r x <&${{COPROC[0]}}; done; echo last $x; "
              f"eval \"exec ${{COPROC[1]}}>&-\"; wait $S")
    out, report = c.record(["bash", "-c", script])
    assert f"last {n - 1}" in out, out
    return Verdict(f"{n} questions and answers through four processes (the script's count)", ["lockstep"], report,
                   [named_fact(report, "bash"), ("round trips", n, *_round_trips(report, n))])


def flock_convoy(c):
    """Eight shells that compute under one flock."""
    lock = c.path("lock")
    script = (f"for w in 1 2 3 4 5 6 7 8; do for i in $(seq 10); do flock {lock} bash -c 'for ((j = 0; j < 10000; j++)); do :; done'; done & done; "
              f"wait")
    out, report = c.record(["bash", "-c", script])
    return Verdict("80 turns, one at a time: by construction", ["lock_convoy"], report)


def idle_tree(c):
    """Nothing to do: a shell that waits, a sleeping server, an event loop."""
    need("memcached")
    port = servers.free_port()
    script = f"memcached -u nobody -l 127.0.0.1 -p {port} & sleep 3; kill %1; wait"
    out, report = c.record(["bash", "-c", script])
    return Verdict("nothing happens for 3 s", ["none"], report)


def idle_postgres(c):
    """An idle PostgreSQL with its background processes."""
    with servers.Postgres() as pg:
        time.sleep(1)
        out, report = c.record(["sleep", "4"], pids=[pg.pid])
        return Verdict("no connection for 4 s", ["none"], report)


SCENARIOS = [pgbench_select, pgbench_write, redis_benchmark, redis_pipelined, memcached, xargs_n1, sqlite_autocommit, bc_coprocess,
             git_cat_file, nginx_wrk, gzip_pipe, dd_tiny_blocks, rsync_bwlimit, socat_chain, flock_convoy, idle_tree, idle_postgres]


def said(report):
    if not report.findings:
        return "none"
    f = report.findings[0]
    return f"{f['kind']}: {f['title']}".replace("|", "\\|")


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = os.path.join(HERE, "..", "..")
    ap.add_argument("--only")
    ap.add_argument("--keep")
    ap.add_argument("--lockstep", default=os.environ.get("LOCKSTEP", os.path.join(root, "build", "lockstep")))
    options = ap.parse_args()
    print("| program | truth, and how it is known | lockstep's first finding | facts (true / said) | right |\n|---|---|---|---|---|")
    wrong = 0
    for scenario in SCENARIOS:
        if options.only and options.only not in scenario.__name__:
            continue
        title = scenario.__doc__.splitlines()[0].replace("|", "\\|")
        with tempfile.TemporaryDirectory(prefix="real.", dir="/var/tmp") as tmp:
            c = Context(options, tmp)
            c.scenario = scenario.__name__
            try:
                v = scenario(c)
            except servers.Missing as e:
                print(f"| {title} | skipped: {e} is not installed | | | |", flush=True)
                continue
            except (RuntimeError, AssertionError, AttributeError, OSError, IndexError, subprocess.CalledProcessError) as e:
                print(f"| {title} | failed: {str(e)[-200:]!r} | | | no |", flush=True)
                wrong += 1
                continue
        kind = (v.report.kinds() or ["none"])[0]
        facts = "; ".join(f"{w}: {e} / {s}{'' if ok else ' (!)'}" for w, e, s, ok in v.facts)
        right = kind in v.expect and all(ok for *_, ok in v.facts)
        wrong += not right
        print(f"| {title} | {v.truth} | {said(v.report)} | {facts} | {'yes' if right else 'no: expected ' + ' or '.join(v.expect)} |", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
