# shellcheck shell=bash
# Bash completion of lockstep. Commands, options and their choices are read from `lockstep --help` and `lockstep COMMAND --help`, so
# that what is completed is what this very binary knows.

# Words of the help's first column: "  run       observe ..." -> run
_lockstep_commands() {
	"$1" --help 2>/dev/null | sed -n 's/^  \([a-z]\{1,\}\)  .*/\1/p'
}

# "  -o, --output FILE   ..." -> -o --output
_lockstep_options() {
	"$1" "$2" --help 2>/dev/null | sed -n 's/^  \(-[a-zA-Z], \)\{0,1\} *\(--[a-z-]*\).*/\1\2/p' | tr -d ','
}

# The argument's name of option $3 of command $2: FILE, PID, SECS, ...; nothing for options that take none.
_lockstep_argument() {
	"$1" "$2" --help 2>/dev/null | sed -n "s/^  \(-[a-zA-Z], \)\{0,1\} *\(--[a-z-]*\) \([A-Z][A-Za-z0-9:,\[\]*\).*/\1\2 \3/p" | tr -d ',' |
		awk -v o="$3" '{ for (i = 1; i < NF; i++) if ($i == o) print $NF }'
}

# Choices that a refused value is answered with: "--format x: not one of folded|pprof; see ..." -> folded pprof
_lockstep_choices() {
	"$1" "$2" "$3" '?' 2>&1 | sed -n 's/.*: not one of \([a-z|-]*\).*/\1/p' | tr '|' '\n' | grep -vx replay
}

_lockstep() {
	local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]} word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} i
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_lockstep_commands "$program") help --help --version" -- "$word")
		return
	fi
	if [ "$command" = help ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_lockstep_commands "$program")" -- "$word")
		return
	fi
	# Behind "--" stands somebody else's command line.
	for ((i = 2; i < COMP_CWORD; i++)); do
		if [ "${COMP_WORDS[i]}" = -- ]; then
			if declare -F _command_offset >/dev/null; then
				_command_offset $((i + 1))
			else
				compopt -o default
			fi
			return
		fi
	done
	if [[ $previous == -* ]]; then
		local argument
		argument=$(_lockstep_argument "$program" "$command" "$previous")
		case $argument in
		'') ;;
		PID*)
			mapfile -t COMPREPLY < <(compgen -W "$(ps -eo pid= 2>/dev/null)" -- "$word")
			return
			;;
		NAME | KIND | WHEN)
			mapfile -t COMPREPLY < <(compgen -W "$(_lockstep_choices "$program" "$command" "$previous")" -- "$word")
			return
			;;
		FILE | OUT)
			compopt -o default 2>/dev/null
			return
			;;
		*) return ;;
		esac
	fi
	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_lockstep_options "$program" "$command") -h --help" -- "$word")
		return
	fi
	compopt -o default 2>/dev/null
}
complete -F _lockstep lockstep
