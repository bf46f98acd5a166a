#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rooms' borders: includes go one way, sampler <- aggregate <- report <- cli, through few narrow headers; kernel and ELF
interfaces stay inside the sampler; libraries neither print nor exit. In: the source tree; out: one line per breach, exit 1.

`check_includes.py --self-test` shows that each rule catches its breach."""

import pathlib
import re
import sys

ROOMS = ["sampler", "aggregate", "report", "cli"]  # each may include itself and those before it

# What rooms above see of the sampler. Everything else in it is its own affair.
SAMPLER_HEADERS = {"sampler/err.h", "sampler/event.h", "sampler/backend.h", "sampler/replay/recorder.h", "sampler/replay/replay.h"}
# The composition root, and it alone, also wires these together (dump and doctor look at single threads, without a run).
CLI_EXTRA = re.compile(r"sampler/(user|kernel|runtime)/\w+\.h|sampler/\w+\.h")

# <header> prefixes that speak of kernel, ELF or other machines' facts: above the sampler nobody may know them.
SAMPLER_ONLY = re.compile(r"(bpf/|elfutils/|libelf|gelf|dwarf|libunwind|libiberty|demangle|linux/perf_event|linux/bpf|sys/ptrace|sys/user)")

PRINTS = re.compile(r"(?<![\w.>])(printf|puts|putchar|perror|exit|_exit|abort|err|errx|warn|warnx)\s*\(|\bfprintf\s*\(\s*std(err|out)|"
                    r"\bfputs\s*\([^;]*,\s*std(err|out)")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')


def room_of(path):
    return path.split("/", 1)[0]


def strip_comments_and_strings(text):
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S)
    text = re.sub(r'"(\\.|[^"\\\n])*"', '""', text)
    return re.sub(r"//[^\n]*", "", text)


def check_include(path, kind, name, tree):
    room = room_of(path)
    if kind == "<":
        if room != "sampler" and SAMPLER_ONLY.match(name):
            return f"<{name}> is the sampler's business"
        return None
    if name.endswith((".skel.h", "vmlinux.h")):
        return None if room == "sampler" else f'"{name}" is the sampler\'s business'
    target = room_of(name)
    if target not in ROOMS:
        beside = str(pathlib.PurePosixPath(path).parent / name)
        if name in tree or beside in tree or "/" not in name:
            return f'"{name}": name includes from the top of the tree'
        return None
    if ROOMS.index(target) > ROOMS.index(room):
        return f'"{name}": {room} must not know {target}'
    if target == "sampler" and room != "sampler" and name not in SAMPLER_HEADERS:
        if not (room == "cli" and CLI_EXTRA.fullmatch(name)):
            return f'"{name}": not one of the sampler\'s narrow headers'
    return None


def check_file(path, text, tree):
    breaches = []
    for number, line in enumerate(text.splitlines(), 1):
        m = INCLUDE.match(line)
        if m:
            what = check_include(path, m.group(1), m.group(2), tree)
            if what:
                breaches.append(f"{path}:{number}: {what}")
    if room_of(path) != "cli" and not path.endswith(".bpf.c"):
        for number, line in enumerate(strip_comments_and_strings(text).splitlines(), 1):
            if PRINTS.search(line):
                breaches.append(f"{path}:{number}: libraries never print or exit: {line.strip()}")
    return breaches


def check_tree(root):
    files = sorted(str(p.relative_to(root)) for room in ROOMS for p in (root / room).rglob("*.[ch]") if "node_modules" not in p.parts)
    breaches = []
    for path in files:
        breaches += check_file(path, (root / path).read_text(errors="replace"), set(files))
    return files, breaches


def self_test():
    tree = {"aggregate/hist.h", "sampler/event.h", "aggregate/x.c"}
    bad = [
        ("sampler/a.c", '#include "aggregate/hist.h"'),
        ("aggregate/x.c", '#include "report/report.h"'),
        ("aggregate/x.c", '#include "hist.h"'),
        ("report/x.c", '# include "cli/command.h"'),
        ("report/x.c", '#include "sampler/unwind/unwind.h"'),
        ("aggregate/x.c", "#include <bpf/libbpf.h>"),
        ("aggregate/x.c", "#include <sys/ptrace.h>"),
        ("cli/x.c", '#include "wait.skel.h"'),
        ("aggregate/x.c", 'void f(void)\n{\n\tprintf("x");\n}'),
        ("sampler/x.c", "if (bad)\n\texit(1);"),
        ("report/x.c", 'fprintf(stderr, "x");'),
    ]
    good = [
        ("aggregate/x.c", '#include "sampler/event.h"'),
        ("cli/x.c", '#include "report/report.h"'),
        ("report/x.c", 'fprintf(out, "exit(1)"); /* exit(1) */ p->exit(1); do_exit(2); snprintf(a, 1, "");'),
        ("sampler/x.c", '#include "wait.skel.h"\n#include <bpf/libbpf.h>'),
        ("cli/x.c", "exit(1);"),
    ]
    for path, text in bad:
        assert check_file(path, text, tree), f"not caught: {path}: {text}"
    for path, text in good:
        assert not check_file(path, text, tree), f"wrongly caught: {path}: {text}"


def main():
    self_test()
    if "--self-test" in sys.argv:
        return 0
    root = pathlib.Path(__file__).resolve().parent.parent
    files, breaches = check_tree(root)
    print("\n".join(breaches) if breaches else f"{len(files)} files keep to their rooms")
    return 1 if breaches or not files else 0


if __name__ == "__main__":
    sys.exit(main())
