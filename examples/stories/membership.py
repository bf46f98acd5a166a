# SPDX-License-Identifier: Apache-2.0
"""A membership test in a list in the inner loop; --fixed: in a set. One process that never waits: what is slow is one line."""
import argparse
import os
import time

from truth import Truth

KEYS = [str(i * 7919) for i in range(300)]


def known(key, members):
    return key in members  # site: test


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--seconds", type=float, default=3)
    ap.add_argument("--fixed", action="store_true")
    args = ap.parse_args()
    members = set(KEYS) if args.fixed else KEYS
    start, i, hits = time.monotonic(), 0, 0
    while i % 16 or time.monotonic() - start < args.seconds:
        hits += known(str(i * 3), members)
        i += 1
    t = Truth(__file__, "membership_py", "fixed" if args.fixed else "broken", "none" if args.fixed else "hot_line")
    if args.fixed:
        t.tolerated += ["hot_line"]
    t.process("main", os.getpid())
    t.wait("main", "", "none", "none", "test")
    t.print(i, time.monotonic() - start, hits=hits)


if __name__ == "__main__":
    main()
