# SPDX-License-Identifier: Apache-2.0
"""The child half of Feeder.java: reads batches as JSON lines on stdin, sums them, acknowledges each on stdout."""
import json
import sys


def process_records(records):
    return sum(int(r["data"]) for r in records)


def acknowledge(message):
    sys.stdout.write(json.dumps({"action": "status", "responseFor": message["action"], "status": "ok"}) + "\n")
    sys.stdout.flush()  # site: child_writes


def next_message():
    return sys.stdin.readline()  # site: child_waits


def main():
    total = 0
    for line in iter(next_message, ""):
        message = json.loads(line)
        total += process_records(message["records"])
        acknowledge(message)


main()
