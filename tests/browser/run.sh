#!/bin/bash
# The HTML report in headless Chromium, and the exports in the tools that read them. Exit 77: skipped, the reason is printed.
#   run.sh BUILD_DIR [node --test's options]     screenshots go to BUILD_DIR/screenshots
set -euo pipefail
build=$(realpath "$1")
shift
cd "$(dirname "$0")"
skip() {
	echo "SKIP: $1"
	exit 77
}
command -v npm >/dev/null || skip "node and npm are not installed (./setup.sh --tests installs them)"
[ -x "${CHROMIUM:=/usr/bin/chromium}" ] || skip "$CHROMIUM is not there (./setup.sh --tests installs chromium)"
if [ ! -d node_modules ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
	npm ci --no-fund --no-audit >/dev/null 2>&1 || skip "npm ci cannot reach a registry"
fi
fixtures=$(mktemp -d)
trap 'rm -rf "$fixtures"' EXIT
LOCKSTEP_FIXTURES="$fixtures" "$build/tests/test_report_html" >/dev/null 2>&1 || skip "the fixtures could not be written (unit.test_report_html tells why)"
LOCKSTEP_FIXTURES="$fixtures" "$build/tests/test_export" >/dev/null 2>&1 || skip "the fixtures could not be written (unit.test_export tells why)"
mkdir -p "$build/screenshots"
CHROMIUM="$CHROMIUM" FIXTURES="$fixtures" SCREENSHOTS="$build/screenshots" LOCKSTEP="$build/lockstep" node --test "$@" ./*.test.mjs
