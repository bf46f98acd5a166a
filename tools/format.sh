#!/bin/sh
# clang-format over our C files. BPF programs are left out: their map definitions and section macros are no C that it knows.
#   tools/format.sh           lists files that differ, exit 1 when there are any
#   tools/format.sh --fix     rewrites them
set -eu
cd "$(dirname "$0")/.."
command -v clang-format >/dev/null || {
	echo "clang-format is not installed"
	exit 77
}
files=$(git ls-files '*.c' '*.h' | grep -Ev '\.bpf\.[ch]$|kernel_types\.h$|records\.h$')
if [ "${1:-}" = --fix ]; then
	# shellcheck disable=SC2086
	exec clang-format -i $files
fi
status=0
for f in $files; do
	clang-format "$f" | cmp -s - "$f" || {
		echo "$f"
		status=1
	}
done
[ $status = 0 ] || echo "these files differ from .clang-format; run tools/format.sh --fix"
exit $status
