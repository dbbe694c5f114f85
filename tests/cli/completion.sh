#!/usr/bin/env bash
# The completion in the shell it is for: it loads, and completes commands and options as a person types them.
# usage: completion.sh WEFT SHELL     exit 77: the shell is not installed
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
shell=$2
command -v "$shell" >/dev/null || { echo "skipped: $shell is not installed"; exit 77; }
mkdir "$world/zsh"
"$weft" completion bash >"$world/weft.bash"
"$weft" completion zsh >"$world/zsh/_weft"
"$weft" completion fish >"$world/weft.fish"

in_bash() { # LINE: the words that may stand in its last place
  bash --norc -c '. "$1"; COMP_WORDS=($2); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _weft; echo "${COMPREPLY[*]}"' - "$world/weft.bash" "$1"
}
in_zsh() { timeout 60 zsh -f "$here/completion.zsh" "$world/zsh" "$1" 2>&1 | tail -n 1 | sed 's/ *$//; s/.* //'; }
in_fish() { HOME=$world fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$world/weft.fish" "$1" | cut -f 1 | xargs; }

check "$shell: a command" equal "$("in_$shell" "weft und")" undelete
check "$shell: an option of a command" equal "$("in_$shell" "weft list --so")" --sort
check "$shell: an option of all commands" equal "$("in_$shell" "weft list --js")" --json
check "$shell: behind options" equal "$("in_$shell" "weft --json --dir x list --so")" --sort
report
