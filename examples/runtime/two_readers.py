# SPDX-License-Identifier: Apache-2.0
"""Two functions read one pipe in turn; one of them waits twice as long. Since Python 3.11 both block with the same instruction and stack
pointers, so only a profiler that looks at the Python frames of that very moment can tell their waiting times apart.

Usage: two_readers.py [SECONDS]. Prints its truth as one line of JSON: the seconds that each was blocked in read(), which is the time it
took less the time that the thread was ready and had no CPU (schedstat), so that a busy machine does not blur it."""
import json
import os
import signal
import sys
import time

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
r, w = os.pipe()
waited = {"first": 0.0, "second": 0.0}
squares = {"first": 0.0, "second": 0.0}  # sums of squared waits: what a sampling error follows from
calls = {"first": 0, "second": 0}


def note(name, seconds):
    waited[name] += seconds
    squares[name] += seconds * seconds
    calls[name] += 1


def writer():
    long = True
    while True:
        time.sleep(0.0003 if long else 0.0001)
        long = not long
        os.write(w, b"x")


def clock():
    """Seconds, without those spent waiting for a CPU."""
    return time.monotonic() - int(os.pread(schedstat, 64, 0).split()[1]) / 1e9


def read():
    return os.read(r, 1)


def first():
    start = clock()
    read()
    note("first", clock() - start)


def second():
    start = clock()
    read()
    note("second", clock() - start)


def main():
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        first()
        second()


child = os.fork()
if child == 0:
    writer()
os.close(w)
schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
main()
os.kill(child, signal.SIGTERM)
os.waitpid(child, 0)
print(json.dumps({"program": "two_readers", "waited": waited, "squares": squares, "calls": calls, "version": sys.version.split()[0],
                  "processes": [{"role": "reader", "pid": os.getpid()}, {"role": "writer", "pid": child}]}))
