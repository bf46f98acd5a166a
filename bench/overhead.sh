#!/bin/sh
# What profilers cost their targets, side by side in one run: prints one table. See --help; needs root.
#   bench/overhead.sh [--quick] [--tools LIST] [--loads LIST] [--runs N] [--build DIR]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
case " $* " in *" --help "*) exec python3 "$here/overhead.py" --help ;; esac
if [ "$(id -u)" != 0 ]; then
	echo "overhead.sh: needs root: the tracers it compares do; run: sudo $0 $*" >&2
	exit 3
fi
if [ ! -e /sys/kernel/tracing/events ]; then
	mount -t tracefs tracefs /sys/kernel/tracing || {
		echo "overhead.sh: no tracefs at /sys/kernel/tracing and it cannot be mounted" >&2
		exit 3
	}
fi
exec python3 "$here/overhead.py" "$@"
