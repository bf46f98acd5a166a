# SPDX-License-Identifier: Apache-2.0
"""Parks one thread per way to be somewhere in Python and prints what the interpreter itself says of each thread's stack:

    thread NATIVE_ID NAME
    frame FUNCTION<tab>FILE<tab>LINE        youngest first
    end
    ready                                   then it waits for end of file on stdin

Runs on CPython 3.8 and later. Used by tests/unit/test_runtime_python.c and bench/runtime.c. Options: --threads N parks N more
threads of ten frames; --gil makes one thread keep the GIL in C (ctypes.PyDLL) while the others wait for it."""
import asyncio
import ctypes
import functools
import itertools
import json
import os
import re
import sys
import threading
import time

gate_r, gate_w = os.pipe()
native_ids = {}
parked = threading.Semaphore(0)


def park():
    parked.release()
    os.read(gate_r, 1)


def recurse(n):
    if n == 0:
        return park()
    return recurse(n - 1)


def generator():
    yield 1
    park()
    yield 2


def in_generator():
    for _ in generator():
        pass


def delegating():
    yield from generator()


def in_yield_from():
    list(delegating())


def in_sorted():
    sorted([3, 1, 2], key=lambda x: park())


def in_map_reduce():
    return functools.reduce(lambda a, b: park(), map(lambda x: x, [1, 2]))


def in_regex():
    re.sub("x",
           lambda m:
           park() or "",
           "x")


def in_json():
    json.loads('{"a": 1}', object_hook=lambda d: park())


class Thing:
    def __init__(self):
        self.value = 1

    def __repr__(self):
        park()
        return ""

    @property
    def prop(self):
        return park()

    def __getattr__(self, name):
        if name == "missing":
            park()
        raise AttributeError(name)

    @classmethod
    def build(cls):
        return [cls.helper(x) for x in (1,)]

    @staticmethod
    def helper(x):
        return park()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        park()


def in_repr():
    return repr([Thing()])


def in_property():
    return Thing().prop


def in_getattr():
    return getattr(Thing(), "missing", None)


def in_class_method():
    return Thing.build()


def in_with():
    with Thing():
        pass


def in_qsort():
    """libc calls back into Python: a C frame between two Python frames."""
    libc = ctypes.CDLL(None)
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda a, b: park() or 0)
    array = (ctypes.c_int * 2)(2, 1)
    libc.qsort(array, 2, 4, compare)


def in_lock():
    lock = threading.Lock()
    lock.acquire()
    parked.release()
    lock.acquire()


def in_condition():
    cond = threading.Condition()
    with cond:
        parked.release()
        cond.wait()


def in_sleep():
    parked.release()
    time.sleep(100000)


def in_except():
    try:
        raise ValueError
    except ValueError:
        try:
            1 / 0
        finally:
            park()


async def coroutine(n):
    if n:
        await coroutine(n - 1)
    else:
        park()


def in_asyncio():
    loop = asyncio.new_event_loop()
    loop.run_until_complete(coroutine(3))


def naïve_функция():
    park()


def in_unicode_names():
    naïve_функция()


def in_exec():
    code = "def 数():\n\n    park()\n数()\n"
    exec(compile(code, "<строка>", "exec"), {"park": park})


def many_lines(a=None):
    a = [x for x in
         range(3)]

    if a:

        for b in itertools.chain(a,
                                 [4]):
            if b == 4:
                return (park(),
                        b)


def deep_caller(n):
    return many_lines() if n == 0 else deep_caller(n - 1)


def mixed(n):
    """Python and C in turn: an entry frame per level."""
    if n == 0:
        return park()
    return sorted([1], key=lambda _: mixed(n - 1))


WAYS = [lambda: recurse(500), lambda: recurse(3), in_generator, in_yield_from, in_sorted, in_map_reduce, in_regex, in_json, in_repr,
        in_property, in_getattr, in_class_method, in_with, in_qsort, in_lock, in_condition, in_sleep, in_except, in_asyncio,
        in_unicode_names, in_exec, many_lines, lambda: deep_caller(5), lambda: mixed(40)]


def run(way):
    native_ids[threading.get_ident()] = threading.get_native_id()
    way()


def start(way, name):
    threading.Thread(target=run, args=(way,), name=name, daemon=True).start()
    parked.acquire()


def snapshot():
    """What the interpreter says, and where the kernel says that the threads are blocked."""
    names = {t.ident: t.name for t in threading.enumerate()}
    out = []
    places = []
    for ident, frame in sys._current_frames().items():
        if ident not in native_ids:
            continue
        with open("/proc/self/task/%d/syscall" % native_ids[ident]) as f:
            places.append(f.read())
        out.append("thread %d %s" % (native_ids[ident], names.get(ident, "?")))
        while frame:
            code = frame.f_code
            out.append("frame %s\t%s\t%d" % (getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno))
            frame = frame.f_back
        out.append("end")
    return out, places


def settled():
    """A thread that just parked may still wait for the GIL on its way: look until nothing moved while we let go of it."""
    while True:
        before = snapshot()
        time.sleep(0.02)
        if snapshot() == before and "running" not in " ".join(before[1]):
            return before[0]


def hold_gil():
    """One thread sleeps in C with the GIL; the main thread and another one wait for it."""
    libc = ctypes.PyDLL(None)

    def keep():
        os.write(1, b"holder %d\n" % threading.get_native_id())
        os.write(1, b"ready\n")
        libc.sleep(100000)

    def spin():
        os.write(1, b"waiter %d\n" % threading.get_native_id())
        parked.release()
        while True:
            pass

    threading.Thread(target=spin, daemon=True).start()
    parked.acquire()
    threading.Thread(target=keep, daemon=True).start()
    while True:
        pass


def main():
    sys.setrecursionlimit(5000)
    threading.stack_size(16 << 20)
    if "--gil" in sys.argv:
        hold_gil()
    if "--threads" in sys.argv:
        for i in range(int(sys.argv[sys.argv.index("--threads") + 1])):
            start(lambda: recurse(10), "extra-%d" % i)
    else:
        for i, way in enumerate(WAYS):
            start(way, "way-%d-%s" % (i, way.__name__))
    print("\n".join(settled()))
    print("ready", flush=True)
    os.read(0, 1)
    os._exit(0)


sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
main()
