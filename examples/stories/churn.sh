#!/bin/sh
# A process per item: xargs runs a tool once for each of N names; fixed: once for all of them. Usage: churn.sh [--fixed] [N]
set -eu
per=1 variant=broken finding=process_churn tolerated=
if [ "${1:-}" = --fixed ]; then
	per=500 variant=fixed finding=none tolerated='"process_churn","hot_line"'
	shift
fi
n=${1:-5000}
start=$(date +%s%N)
lines=$(seq -f '/some/where/file%.0f.txt' "$n" | xargs -n "$per" basename -a | wc -l)
end=$(date +%s%N)
[ "$lines" = "$n" ]
ns=$((end - start))
awk -v n="$n" -v ns="$ns" -v per="$per" -v v="$variant" -v f="$finding" -v t="$tolerated" -v pid="$$" 'BEGIN {
	printf "{\"program\":\"churn\",\"variant\":\"%s\",\"finding\":\"%s\",\"items\":%d,\"seconds\":%.6f,\"items_per_s\":%.2f,", v, f, n, ns / 1e9, n * 1e9 / ns
	printf "\"children\":%d,\"processes\":[{\"role\":\"shell\",\"pid\":%d}],\"waits\":[],\"tolerated\":[%s]}\n", int((n + per - 1) / per), pid, t }'
