#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""In: ctest's JUnit files; out: every skipped test with its reason, every failed one, and the last line
"N passed, N failed, N skipped". Exit 1 when any failed or nothing ran."""

import pathlib
import sys
import xml.etree.ElementTree as ET


def reason(case):
    """What a skipped test said last: tests print why before they exit with 77."""
    out = case.findtext("system-out") or ""
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def main(paths):
    passed, failed, skipped = 0, 0, 0
    for path in map(pathlib.Path, paths):
        if not path.exists():
            print(f"FAILED  {path.stem}: ctest left no results")
            failed += 1
            continue
        for case in ET.parse(path).getroot().iter("testcase"):
            name, status = f"{path.stem}: {case.get('name')}", case.get("status")
            if status == "run":
                passed += 1
            elif status in ("notrun", "disabled") or case.find("skipped") is not None:
                skipped += 1
                print(f"SKIPPED {name}: {reason(case)}")
            else:
                failed += 1
                print(f"FAILED  {name}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
