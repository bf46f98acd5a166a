#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two variants of one service: a server keeps records for a client, in a dict of its own (--store plain) or in a native library (--store
native: SQLite, in memory). Both answer the same requests; the native one burns several times the CPU. `lockstep diff` says which code it goes
into (docs/DIFF.md). Prints "requests done: N"."""

import argparse
import os
import socket
import sqlite3


class PlainStore:
    def __init__(self):
        self.records = {}

    def put(self, key, value):
        self.records[key] = value
        return len(self.records)


class NativeStore:
    def __init__(self):
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.execute("CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB)")

    def put(self, key, value):
        self.db.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (key, value))
        return self.db.execute("SELECT count(*) FROM records").fetchone()[0]


def handle_request(store, request):
    key, _, value = request.partition(b"=")
    return store.put(key.decode(), value)


def serve(sock, store):
    while True:
        request = sock.recv(4096)
        if not request:
            return
        sock.send(b"%d" % handle_request(store, request))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=["plain", "native"], default="plain")
    parser.add_argument("--requests", type=int, default=20000)
    args = parser.parse_args()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        serve(theirs, PlainStore() if args.store == "plain" else NativeStore())
        os._exit(0)
    theirs.close()
    for i in range(args.requests):
        ours.send(b"key%d=%s" % (i % 97, b"v" * 64))
        ours.recv(64)
    ours.close()
    os.waitpid(pid, 0)
    print(f"requests done: {args.requests}")


if __name__ == "__main__":
    main()
