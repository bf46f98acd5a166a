#!/bin/sh
# Rewrites the golden files from what the code says now. Read the diff as a reader of the report would before committing it.
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
for t in "$BUILD"/tests/test_report* "$BUILD"/tests/test_export*; do
	[ -x "$t" ] && [ -f "$t" ] && LOCKSTEP_UPDATE_GOLDEN=1 "$t" >/dev/null
done
git --no-pager diff --stat -- tests/golden
