# SPDX-License-Identifier: Apache-2.0
"""Diluted illnesses: the finding must fade out with its predicted gain, without cliffs. Prints a Markdown table of sweeps: message size,
share of the time, number of callers of a hub, and healthy processes around a sick pair."""
import argparse
import os
import statistics
import sys
import tempfile

import run_stories

HERE = os.path.dirname(os.path.abspath(__file__))


def sweeps(ex):
    """[(title, [(label, argv)], kind)]: the pair's seconds are added by the caller."""
    pipe = [f"{ex}/lockstep_pipe"]
    around = ["sh", "-c", 'n=$1; shift; for i in $(seq "$n"); do "$0" --kind pipe --work-us 200 --seconds "$2" >/dev/null & done; '
              'shift; shift; "$@"; wait']
    return [
        ("message size (bytes)", [(str(s), pipe + ["--size", str(s)]) for s in (200, 400, 2000, 10000, 50000, 200000)], "lockstep"),
        ("lock-step for % of the time", [(str(p), pipe + ["--share", str(p)]) for p in (10, 20, 30, 50, 70, 90, 100)], "lockstep"),
        ("service time per message (us)", [(str(w), pipe + ["--work-us", str(w)]) for w in (1, 10, 50, 100, 500, 2000)], "lockstep"),
        ("round trips per second (paced)", [(str(p), pipe + ["--pace", str(p)]) for p in (10, 100, 1000, 3000, 10000)], "lockstep"),
        ("workers of one hub", [(str(n), [run_stories.PYTHON, os.path.join(HERE, "chatty_counters.py"), "--workers", str(n)])
                                for n in (2, 4, 8, 16, 32)], "chatty_hub"),
        ("healthy streams around the pair", [(str(n), (around, n)) for n in (0, 1, 2, 4, 8)], "lockstep"),
    ]


def argv_of(item, ex, seconds):
    if isinstance(item, tuple):
        around, n = item
        return around + [f"{ex}/control_stream", str(n), "--", str(seconds), f"{ex}/lockstep_pipe", "--seconds", str(seconds)]
    return item + ["--seconds", str(seconds)]


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = os.path.join(HERE, "..", "..")
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=2)
    ap.add_argument("--only")
    ap.add_argument("--lockstep", default=os.environ.get("LOCKSTEP", os.path.join(root, "build", "lockstep")))
    ap.add_argument("--examples", default=os.environ.get("EXAMPLES", os.path.join(root, "build", "examples")))
    options = ap.parse_args()
    print("| diluted by | value | found (of runs) | rank | share of wall | predicted speed-up | first finding |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="sweep.") as tmp:
        for title, points, kind in sweeps(options.examples):
            if options.only and options.only not in title:
                continue
            for label, item in points:
                found, ranks, shares, predictions, first = 0, [], [], [], []
                for _ in range(options.runs):
                    _, report = run_stories.run_recorded(argv_of(item, options.examples, options.seconds), dict(os.environ), options, tmp)
                    kinds = report.kinds()
                    first.append(kinds[0] if kinds else "none")
                    hits = [i for i, f in enumerate(report.findings) if f["kind"] == kind or kind in f.get("also", [])]
                    if not hits:
                        continue
                    f = report.findings[hits[0]]
                    found += 1
                    ranks.append(hits[0] + 1)
                    shares.append(f["share_of_wall"])
                    if f.get("predicted_speedup"):
                        predictions.append((f["predicted_speedup"]["low"], f["predicted_speedup"]["high"]))
                p = f"{statistics.median(a for a, _ in predictions):.2f}-{statistics.median(b for _, b in predictions):.2f}" if predictions else "-"
                print(f"| {title} | {label} | {found}/{options.runs} | {max(ranks) if ranks else '-'} | "
                      f"{statistics.median(shares):.2f} | {p} | " if shares else
                      f"| {title} | {label} | 0/{options.runs} | - | - | - | ", end="")
                print(", ".join(sorted(set(first))) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
