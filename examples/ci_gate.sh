#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A performance gate for CI in one script: runs the old and the new program in turn, compares what they wait for, and fails when the
# new one got worse. Wall time is not judged. docs/CI.md tells how to use it in GitHub Actions, GitLab CI and make.
#
#   ci_gate.sh 'BASE COMMAND' 'NEW COMMAND' [options of lockstep compare]
#
# LOCKSTEP  the program (default: lockstep)
# GATE_DIR  where lockstep-gate.md and lockstep-gate.xml go (default: .)
#
# Exit status: 0 no rule failed; 1 a rule failed; 2 usage; 3 it could not be judged.
set -eu

if [ $# -lt 2 ]; then
	echo "usage: ci_gate.sh 'BASE COMMAND' 'NEW COMMAND' [options of lockstep compare]" >&2
	exit 2
fi
base=$1 new=$2
shift 2
lockstep=${LOCKSTEP:-lockstep}
dir=${GATE_DIR:-.}
summary=${GITHUB_STEP_SUMMARY:-$dir/lockstep-gate.md}

# Rules of your own replace the default ones.
case " $* " in
*" --fail-on "*) ;;
*) set -- --fail-on default "$@" ;;
esac

"$lockstep" compare --base "$base" --new "$new" --junit "$dir/lockstep-gate.xml" --summary "$summary" "$@"
