# SPDX-License-Identifier: Apache-2.0
"""multiprocessing in the ways people use it. Usage: multi.py pool|pipe|queue|manager|futures [SECONDS [fork|spawn|forkserver]].
What it waits for lies in library code (connection.py, queues.py, managers.py); where a person looks is a line of this file."""
import concurrent.futures
import json
import multiprocessing
import os
import sys
import time

SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0


def square(x):
    return x * x


def pool(end):
    n = 0
    with multiprocessing.Pool(2) as p:
        while time.monotonic() < end:
            p.map(square, range(100), chunksize=1)  # site: pool
            n += 1
    return n


def echo(conn):
    while True:
        message = conn.recv()  # site: echo
        if message is None:
            return
        conn.send(message)


def pipe(end):
    n = 0
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.Process(target=echo, args=(theirs,))
    child.start()
    while time.monotonic() < end:
        ours.send("x" * 100)
        ours.recv()  # site: pipe
        n += 1
    ours.send(None)
    child.join()
    return n


def forward(inbox, outbox):
    while True:
        message = inbox.get()  # site: forward
        if message is None:
            return
        outbox.put(message)


def queue(end):
    n = 0
    there, back = multiprocessing.Queue(), multiprocessing.Queue()
    child = multiprocessing.Process(target=forward, args=(there, back))
    child.start()
    while time.monotonic() < end:
        there.put("x")
        back.get()  # site: queue
        n += 1
    there.put(None)
    child.join()
    return n


def count(shared, end):
    while time.monotonic() < end:
        shared["hits"] = shared.get("hits", 0) + 1  # site: manager


def manager(end):
    with multiprocessing.Manager() as m:
        shared = m.dict()
        workers = [multiprocessing.Process(target=count, args=(shared, end)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return shared["hits"]


def futures(end):
    n = 0
    with concurrent.futures.ProcessPoolExecutor(1) as executor:
        while time.monotonic() < end:
            executor.submit(square, n).result()  # site: futures
            n += 1
    return n


if __name__ == "__main__":
    if len(sys.argv) > 3:
        multiprocessing.set_start_method(sys.argv[3])
    items = globals()[sys.argv[1]](time.monotonic() + SECONDS)
    print(json.dumps({"program": "multi", "variant": sys.argv[1], "items": items, "processes": [{"role": "main", "pid": os.getpid()}]}))
