# SPDX-License-Identifier: Apache-2.0
"""The ground truth of a Python story, in the same form as the C programs' (docs/EXAMPLES.md). A call site is a line that ends
with `# site: LABEL`."""
import json
import os
import re
import sys


def sites(path):
    """{label: {"function", "file", "line"}} of the marked lines of a source file."""
    found, functions = {}, []
    with open(path) as f:
        for number, line in enumerate(f, 1):
            indent = len(line) - len(line.lstrip())
            if line.strip():
                functions = [x for x in functions if x[0] < indent]
            m = re.match(r"\s*def (\w+)", line)
            if m:
                functions.append((indent, m.group(1)))
            m = re.search(r"# site: (\w+)", line)
            if m:
                found[m.group(1)] = {"function": functions[-1][1] if functions else "<module>", "file": os.path.basename(path), "line": number}
    return found


class Truth:
    def __init__(self, path, program, variant, finding):
        self.sites = sites(path)
        self.keys = {"program": program, "variant": variant, "finding": finding}
        self.processes, self.waits, self.tolerated = [], [], []

    def process(self, role, pid):
        self.processes.append({"role": role, "pid": pid})

    def wait(self, waiter, waker, cls, channel, waits_at, wakes_at=None, message_bytes=None, count=None):
        w = {"waiter": waiter, "waker": waker, "class": cls, "channel": channel, "waits_at": self.sites[waits_at]}
        if wakes_at:
            w["wakes_at"] = self.sites[wakes_at]
        if message_bytes:
            w["message_bytes"] = message_bytes
        if count:
            w["count"] = count
        self.waits.append(w)

    def print(self, items, seconds, **more):
        self.keys.update(items=items, seconds=seconds, items_per_s=items / seconds, **more)
        print(json.dumps({**self.keys, "processes": self.processes, "waits": self.waits, "tolerated": self.tolerated}))
        sys.stdout.flush()
