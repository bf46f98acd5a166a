#!/bin/bash
# From a fresh checkout to a first report: installs what is missing, builds, and observes a pipeline of two processes that do
# nothing but wait for each other; then its fixed variant. Root or sudo gives the exact backend; without, the sampled one runs.
set -euo pipefail
cd "$(dirname "$0")"
./setup.sh
cmake -S . -B build -DCMAKE_BUILD_TYPE=Release >/dev/null
make -C build -j"$(nproc)" --no-print-directory lockstep lockstep_pipe 2>&1 | grep -E 'warning|error|\*\*\*' || true

lockstep=(build/lockstep)
if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null && sudo -v; then
	lockstep=(sudo "${lockstep[@]}")
fi

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

say '$ lockstep run -- build/examples/lockstep_pipe --seconds 3'
"${lockstep[@]}" run -- build/examples/lockstep_pipe --seconds 3
say 'The same with batches of 1,000 messages: $ lockstep run -- build/examples/lockstep_pipe --seconds 3 --batch 1000'
"${lockstep[@]}" run -- build/examples/lockstep_pipe --seconds 3 --batch 1000
