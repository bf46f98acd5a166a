#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# How good the gate is: false alarms among comparisons of equal programs, misses among seeded regressions, and whether the first line
# of the verdict names what was changed. Default rules, 5 + 5 runs each, the way a user runs it: `lockstep compare --fail-on default`.
#
#   gate_power.sh BUILD_DIR [EQUAL] [REGRESSED]      numbers of comparisons, 50 and 50 by default
#
# STRESS   busy loops beside it (default: one per CPU); 0 on a machine that is noisy anyway
# RECORDS  records per run (default 6000: 1 to 2 s on a busy machine)
# LOG      results are appended there, so that it can be done in instalments (default: BUILD_DIR/gate_power.log)
#
# Takes about 15 s per comparison. docs/DIFF.md shows a measured table.
set -eu
build=${1:?usage: gate_power.sh BUILD_DIR [EQUAL] [REGRESSED]}
equal=${2:-50} regressed=${3:-50}
records=${RECORDS:-6000}
log=${LOG:-$build/gate_power.log}
target="$build/bench/gate_target --records $records"
out=$(mktemp)
pids=
cleanup() {
	for p in $pids; do kill "$p" 2>/dev/null || :; done
	rm -f "$out"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

for _ in $(seq "${STRESS:-$(nproc)}"); do
	timeout 7200 sh -c 'while :; do :; done' &
	pids="$pids $!"
done

# try KIND EXPECTED_STATUS REASON OPTIONS...: one comparison, one line in the log.
try() {
	kind=$1 expected=$2 reason=$3
	shift 3
	status=0
	"$build/lockstep" compare --runs 5 --base "$target" --new "$target $*" --work-from-output 'done: ([0-9]+)' --fail-on default \
		>"$out" 2>&1 || status=$?
	first=$(sed -n '1,/^[0-9]* base runs/p' "$out" | sed '$d' | tr '\n' ' ' | tr -s ' ')
	named=no
	echo "$first" | grep -Eq "^FAILED: $reason" && named=yes
	[ "$status" = "$expected" ] && verdict=right || verdict=wrong
	echo "$kind $verdict named=$named load=$(cut -d' ' -f1 /proc/loadavg) status=$status $first" | tee -a "$log"
}

for _ in $(seq "$equal"); do
	try equal 0 -
done
i=0
while [ "$i" -lt "$regressed" ]; do
	case $((i % 5)) in
	0) try batch 1 'gate_target.*server.* over pipe: messages' --batch 200 ;;
	1) try query 1 'gate_target:(server|store).*gate_target:(server|store).* over pipe' --queries 2 ;;
	2) try lock 1 'gate_target:server: waits in futex .* most in handle_record' --lock ;;
	3) try slow 1 'parse_record .* in gate_target:server|gate_target:server: .* most in parse_record' --slow 10 ;;
	4) try size 1 'gate_target -> gate_target:server over pipe: bytes per message' --size 128 ;;
	esac
	i=$((i + 1))
done

echo
echo "kind      comparisons  right  named"
for kind in equal batch query lock slow size; do
	awk -v k=$kind '$1 == k { n++; r += $2 == "right"; m += $3 == "named=yes" }
		END { if (n) printf "%-9s %11d %6d %6s\n", k, n, r, k == "equal" ? "-" : m }' "$log"
done
