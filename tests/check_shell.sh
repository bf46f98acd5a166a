#!/bin/sh
# Lints every shell script of the tree. Exit 77 when shellcheck is not installed.
set -eu
cd "$(dirname "$0")/.."
command -v shellcheck >/dev/null || {
	echo "shellcheck is not installed (./setup.sh --tests)"
	exit 77
}
scripts=$(git ls-files | while read -r f; do
	case $f in
	*.sh | *.bash | .ci/run) echo "$f" ;;
	esac
done)
# shellcheck disable=SC2086
exec shellcheck $scripts
