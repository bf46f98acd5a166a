#!/bin/sh
# Installs what building and testing lockstep needs, from Debian's packages. Root, or sudo.
set -eu
SUDO=
[ "$(id -u)" = 0 ] || SUDO=sudo
PACKAGES="gcc g++ make cmake pkg-config git clang bpftool libbpf-dev libelf-dev libdw-dev libunwind-dev libiberty-dev
libsqlite3-dev libjansson-dev uthash-dev libcmocka-dev libcap-ng-dev libseccomp-dev python3 sqlite3 procps iproute2 util-linux"
missing=
for p in $PACKAGES; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
export DEBIAN_FRONTEND=noninteractive
$SUDO apt-get update -qq
# shellcheck disable=SC2086
$SUDO apt-get install -y -qq --no-install-recommends $missing
