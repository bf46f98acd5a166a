#!/bin/sh
# Installs what building and running lockstep needs, from Debian 12's packages. Root, or sudo.
#   ./setup.sh            to build and to run the demo
#   ./setup.sh --tests    and to run all tests: without these, their checks are skipped
set -eu
SUDO=
[ "$(id -u)" = 0 ] || SUDO=sudo
PACKAGES="gcc g++ make cmake pkg-config git clang bpftool libbpf-dev libelf-dev libdw-dev libunwind-dev libiberty-dev liblzma-dev
libsqlite3-dev zlib1g-dev libjansson-dev uthash-dev libcmocka-dev libcap-ng-dev libseccomp-dev python3 sqlite3 procps iproute2 util-linux"
TEST_PACKAGES="clang-format shellcheck mandoc python3-yaml bash-completion gcc-aarch64-linux-gnu libc6-dev-arm64-cross linux-libc-dev-arm64-cross qemu-user-static
chromium fonts-dejavu-core protobuf-compiler golang-go"
command -v npm >/dev/null || TEST_PACKAGES="$TEST_PACKAGES nodejs npm" # another node than Debian's will do
[ "${1:-}" != --tests ] || PACKAGES="$PACKAGES $TEST_PACKAGES"
missing=
for p in $PACKAGES; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
export DEBIAN_FRONTEND=noninteractive
$SUDO apt-get update -qq
# shellcheck disable=SC2086
$SUDO apt-get install -y -qq --no-install-recommends $missing
