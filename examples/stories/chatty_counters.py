# SPDX-License-Identifier: Apache-2.0
"""Workers that count in a manager process in their inner loop, one call per item; --fixed: local counters, flushed each half second."""
import argparse
import multiprocessing
import os
import time
from multiprocessing.managers import BaseManager

from truth import Truth


class Counters:
    def __init__(self):
        self.values = {}

    def add(self, name, n):
        self.values[name] = self.values.get(name, 0) + n

    def total(self):
        return sum(self.values.values())

    def pid(self):
        return os.getpid()


class Manager(BaseManager):
    pass


Manager.register("Counters", Counters)


def handle_item(i):
    return sum(range(i % 100, i % 100 + 2000))


def count_remotely(counters, name):
    counters.add(name, 1)  # site: count


def work(counters, seconds, fixed, calls):
    names = ("seen", "even")
    local = dict.fromkeys(names, 0)
    end = flush_at = time.monotonic()
    end += seconds
    i = done = 0
    while True:
        if i % 16 == 0 and time.monotonic() >= end:
            break
        handle_item(i)
        for name in names if i % 2 == 0 else names[:1]:
            if fixed:
                local[name] += 1
            else:
                count_remotely(counters, name)
                done += 1
        i += 1
        if fixed and i % 64 == 0 and time.monotonic() >= flush_at:
            flush_at = time.monotonic() + 0.5
            for name in names:
                counters.add(name, local[name])
                local[name] = 0
                done += 1
    calls.put((i, done))


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--seconds", type=float, default=3)
    ap.add_argument("--workers", type=int, default=4)
    ap.add_argument("--fixed", action="store_true")
    args = ap.parse_args()
    multiprocessing.set_start_method("fork")
    with Manager() as manager:
        counters = manager.Counters()
        hub = counters.pid()
        calls = multiprocessing.SimpleQueue()
        start = time.monotonic()
        workers = [multiprocessing.Process(target=work, args=(counters, args.seconds, args.fixed, calls)) for _ in range(args.workers)]
        for w in workers:
            w.start()
        results = [calls.get() for _ in workers]
        for w in workers:
            w.join()
        seconds = time.monotonic() - start
        t = Truth(__file__, "chatty_counters", "fixed" if args.fixed else "broken", "none" if args.fixed else "chatty_hub")
        if args.fixed:
            t.tolerated += ["hot_line", "run_queue"]
        t.process("parent", os.getpid())
        t.process("hub", hub)
        for n, w in enumerate(workers):
            t.process(f"worker{n}", w.pid)
        t.wait("worker", "hub", "unix_read", "unix", "count")
        n_calls = sum(c for _, c in results)
        t.print(sum(i for i, _ in results), seconds, channel="unix", calls=n_calls, rate_per_s=n_calls / seconds)


if __name__ == "__main__":
    main()
