#!/bin/bash
# Builds lockstep twice and runs its tests: Release (all of them) and Sanitize (the unit tests, under ASan and UBSan).
# Ends with one plain line: N passed, N failed, N skipped. A skip names its reason above. Exit status 0 only without failures.
#   ./test.sh [-R REGEX]      only tests whose name matches (as ctest -R)
#   ./test.sh -L field        the field tests instead: live programs against their own truth, on a quiet machine
set -euo pipefail
cd "$(dirname "$0")"
case "${1:-}" in
-h | --help)
	sed -n '2,5s/^# \{0,1\}//p' "$0"
	exit 0
	;;
esac
./setup.sh --tests
case " $* " in
*" -L "*) ;;
*)
	echo "Field tests (live programs against their own truth) are not run here; on a quiet machine: ./test.sh -L field"
	set -- "$@" -LE field
	;;
esac

jobs=$(nproc)
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
failed=0

build() { # DIRECTORY TYPE
	cmake -S . -B "$1" -DCMAKE_BUILD_TYPE="$2" >"$results/configure.log" || {
		cat "$results/configure.log"
		exit 1
	}
	make -C "$1" -j"$jobs" --no-print-directory >"$results/make.log" 2>&1 || {
		tail -n 60 "$results/make.log"
		exit 1
	}
	grep -E 'warning:' "$results/make.log" || true
}

echo "== Release"
build build Release
(cd build && ctest --output-on-failure -j"$jobs" --output-junit "$results/release.xml" "$@") || failed=1

echo "== Sanitize (unit tests)"
build build-san Sanitize
(cd build-san && ASAN_OPTIONS=detect_leaks=1 ctest --output-on-failure -j"$jobs" -L unit --output-junit "$results/sanitize.xml" "$@") || failed=1

tools/test_summary.py "$results/release.xml" "$results/sanitize.xml" || failed=1
exit "$failed"
