#!/usr/bin/env bash
# Runs docs/tour.md: each "DEVICE$ COMMAND" line of its code blocks, in one shell, and compares what it prints with the
# lines below it, where "..." matches anything.
tour=$(realpath "$(dirname "$0")/../../docs/tour.md")
. "$(dirname "$0")/lib.sh"
device= address=127.0.0.1:7117
weft() { "$weft" --dir "$world/$device" "$@"; }

# step DEVICE COMMAND EXPECTED
step() {
  device=$1
  local command=$2 want=$3 got
  case $command in
    "weft serve"*) serve "$device"; return ;;
  esac
  eval "${command//127.0.0.1:7117/$address}" >"$world/out" 2>&1
  got=$(cat "$world/out")
  want=${want%$'\n'}
  local pattern
  pattern=$(printf '%s' "$want" | sed 's/[][*?\\]/\\&/g; s/\.\.\./*/g')
  # shellcheck disable=SC2053
  if [[ $got == $pattern ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED: %s$ %s\n  got:  %s\n  want: %s\n' "$device" "$command" "$got" "$want"
  fi
}

block= command= want= who=
flush() {
  [ -z "$command" ] || step "$who" "$command" "$want"
  command= want=
}
while IFS= read -r line <&3; do
  if [ "$line" = '```' ]; then
    flush
    [ -n "$block" ] && block= || block=1
  elif [ -n "$block" ] && [[ $line =~ ^(laptop|phone|desk)\$\ (.*)$ ]]; then
    flush
    who=${BASH_REMATCH[1]} command=${BASH_REMATCH[2]}
  elif [ -n "$block" ]; then
    want+=$line$'\n'
  fi
done 3<"$tour"
check "the tour was read" [ "$((passed + failed))" -gt 50 ]
report
