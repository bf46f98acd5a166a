#!/bin/sh
# Whether everything of ours compiles for aarch64: each C file by the cross compiler (syntax and types; the libraries' headers are the
# host's, which are the same on both), each BPF program for arm64's registers. Not linked and not run: that needs arm64 libraries
# and hardware. In: the build folder, for the generated skeletons. Exit 77 without a cross compiler.
set -eu
build=$1
cd "$(dirname "$0")/.."
cc=aarch64-linux-gnu-gcc
command -v $cc >/dev/null || {
	echo "$cc is not installed (./setup.sh --tests)"
	exit 77
}
# libunwind alone keeps its headers in a folder of one architecture, and names the target by a macro.
status=0
for f in $(git ls-files 'sampler/*.c' 'aggregate/*.c' 'report/*.c' 'cli/*.c' 'examples/*.c' | grep -v '\.bpf\.c$'); do
	$cc -std=gnu11 -D_GNU_SOURCE -DLOCKSTEP_VERSION='"check"' -Wall -Wextra -Wno-missing-field-initializers -Werror -fsyntax-only \
		-I. -I"$build/sampler" -I"$build/report" -Iexamples/common -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu "$f" || {
		echo "aarch64: $f does not compile"
		status=1
	}
done
for f in $(git ls-files '*.bpf.c'); do
	clang -target bpf -mcpu=v3 -D__TARGET_ARCH_arm64 -O2 -g -Wall -I. -idirafter /usr/aarch64-linux-gnu/include -c "$f" -o /dev/null || {
		echo "aarch64: $f does not compile"
		status=1
	}
done
exit $status
