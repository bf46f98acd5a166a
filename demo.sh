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

# The program counts for itself and says so in JSON; here one figure of it is enough.
observe() {
	say "\$ lockstep run -- $*"
	"${lockstep[@]}" run -- "$@" | sed -n 's/.*"items_per_s":\([0-9.e+]*\).*/The program itself counted \1 messages a second./p'
}

observe build/examples/lockstep_pipe --seconds 3
say 'The fixed variant, which sends batches of 1,000 messages:'
observe build/examples/lockstep_pipe --seconds 3 --batch 1000
