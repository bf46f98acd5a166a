#!/bin/bash
# Whether lockstep is an aarch64 program too: cross-builds all of it, BPF programs included, against Debian's arm64 packages
# (unpacked into a folder, nothing is installed), without warnings, and runs those unit tests under qemu that need no kernel of their
# own. What that cannot show: the BPF programs' loading and the unwinder on real hardware.
# In: the build folder, in which it keeps its own. Exit 77 when compiler, emulator or packages cannot be had.
set -euo pipefail
build=$(mkdir -p "$1/aarch64" && cd "$1/aarch64" && pwd)
cd "$(dirname "$0")/.."
root=$build/sysroot
packages="libbpf-dev libelf-dev libdw-dev libunwind-dev libiberty-dev liblzma-dev libsqlite3-dev libjansson-dev libcmocka-dev
libcap-ng-dev libseccomp-dev uthash-dev zlib1g-dev"
run_tests="test_hist test_report test_export test_profile_db test_cli_command test_cli_output"

skip() {
	echo "$*"
	exit 77
}

command -v aarch64-linux-gnu-gcc >/dev/null || skip "aarch64-linux-gnu-gcc is not installed (./setup.sh --tests)"

# apt with lists, status and cache of its own: the host's stay as they are, and root is not needed.
apt_arm64() {
	apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User="$(id -un)" \
		-o Dir::State="$build/apt" -o Dir::State::Lists="$build/apt/lists" -o Dir::State::status="$build/apt/status" \
		-o Dir::Cache="$build/apt/cache" -o Debug::NoLocking=1 "$@"
}

make_sysroot() {
	mkdir -p "$build/apt/lists/partial" "$build/apt/cache/archives/partial" "$root.new"
	touch "$build/apt/status"
	# shellcheck disable=SC2086
	if ! apt_arm64 update >"$build/apt.log" 2>&1 ||
		! apt_arm64 install -y --no-install-recommends --download-only $packages >>"$build/apt.log" 2>&1; then
		skip "arm64 packages cannot be had: $(tail -n 1 "$build/apt.log")"
	fi
	for deb in "$build"/apt/cache/archives/*.deb; do
		dpkg -x "$deb" "$root.new"
	done
	rm -rf "$build/apt"
	mv "$root.new" "$root"
}

[ -d "$root" ] || make_sysroot
export LOCKSTEP_SYSROOT=$root
cmake -S . -B "$build/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/aarch64.cmake" >"$build/cmake.log" 2>&1 || {
	cat "$build/cmake.log"
	exit 1
}
# shellcheck disable=SC2086
make -C "$build/build" -j2 --no-print-directory lockstep $run_tests >"$build/make.log" 2>&1 || {
	tail -n 30 "$build/make.log"
	exit 1
}
if grep -E 'warning:' "$build/make.log"; then
	exit 1
fi
command -v qemu-aarch64-static >/dev/null || skip "built, but qemu-aarch64-static is not installed (./setup.sh --tests)"
for t in $run_tests; do
	timeout 300 qemu-aarch64-static -L "$root" "$build/build/tests/$t" >"$build/$t.log" 2>&1 || {
		tail -n 30 "$build/$t.log"
		exit 1
	}
done
qemu-aarch64-static -L "$root" "$build/build/lockstep" --version
