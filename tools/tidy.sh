#!/bin/sh
# clang-tidy (configuration: .clang-tidy) over C files, by the compile commands of build/.
#   tools/tidy.sh [FILE...]   default: all files of the four rooms
set -eu
cd "$(dirname "$0")/.."
[ -f build/compile_commands.json ] || {
	echo "no build/compile_commands.json; run: cmake -S . -B build && make -C build" >&2
	exit 1
}
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(git ls-files 'sampler/*.c' 'aggregate/*.c' 'report/*.c' 'cli/*.c' | grep -v '\.bpf\.c$')
exec clang-tidy --quiet -p build "$@"
