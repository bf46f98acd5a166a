#!/bin/bash
# web/dist is committed so that building lockstep needs no node: this checks that web/src still builds to the same bytes. Exit 77: skipped.
set -euo pipefail
cd "$(dirname "$0")/../../web"
command -v npm >/dev/null || { echo "SKIP: node and npm are not installed"; exit 77; }
if [ ! -d node_modules ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
	npm ci --no-fund --no-audit >/dev/null 2>&1 || { echo "SKIP: npm ci cannot reach a registry"; exit 77; }
fi
node build.mjs --check
