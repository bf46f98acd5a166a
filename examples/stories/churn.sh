#!/bin/sh
# A process per item: xargs runs a tool once for each of N files; fixed: once for 500 of them. Usage: churn.sh [--fixed] [N]
set -eu
per=1 variant=broken finding=process_churn tolerated=
if [ "${1:-}" = --fixed ]; then
	per=500 variant=fixed finding=none tolerated='"process_churn","hot_line"'
	shift
fi
n=${1:-5000}
file=$(mktemp)
trap 'rm -f "$file"' EXIT
head -c 400000 /dev/zero >"$file"
start=$(date +%s%N)
lines=$(yes "$file" | head -n "$n" | xargs -n "$per" sha256sum | wc -l)
end=$(date +%s%N)
[ "$lines" = "$n" ]
ns=$((end - start))
awk -v n="$n" -v ns="$ns" -v per="$per" -v v="$variant" -v f="$finding" -v t="$tolerated" -v pid="$$" 'BEGIN {
	printf "{\"program\":\"churn\",\"variant\":\"%s\",\"finding\":\"%s\",\"items\":%d,\"seconds\":%.6f,\"items_per_s\":%.2f,", v, f, n, ns / 1e9, n * 1e9 / ns
	printf "\"children\":%d,\"processes\":[{\"role\":\"shell\",\"pid\":%d}],\"waits\":[],\"tolerated\":[%s]}\n", int((n + per - 1) / per), pid, t }'
