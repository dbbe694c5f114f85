#!/usr/bin/env bash
# Runs docs/tour.md, or the page $2 of docs: each "DEVICE$ COMMAND" line of its code blocks, in one shell, and compares
# what it prints with the lines below it, where "..." matches anything.  What only looks is looked at again for a while,
# since devices that talk need a moment.  The ports of the page become free ones; `kill %1` ends the device's daemon.
page=${2:-}
case $page in *.md) ;; *) page=tour.md ;; esac
tour=$(realpath "$(dirname "$0")/../../docs/$page")
. "$(dirname "$0")/lib.sh"
device=
declare -A address_of daemon_of
weft() { "$weft" --dir "$world/$device" "$@"; }

# Puts the addresses that daemons really listen on into $line.
real_addresses() {
  local port
  for port in "${!address_of[@]}"; do line=${line//127.0.0.1:$port/${address_of[$port]}}; done
}

# serve_as DEVICE OPTION...: as the page says, on a free port.
serve_as() {
  local name=$1 port=7117 options=()
  shift
  while [ $# -gt 0 ] && [ "$1" != "&" ]; do
    if [ "$1" = --listen ]; then port=${2##*:}; shift; else options+=("$1"); fi
    shift
  done
  serve "$name" "${options[@]}"
  address_of[$port]=$address daemon_of[$name]=$daemon
}

matches() { # shellcheck disable=SC2053
  [[ $1 == $2 ]]
}

# step DEVICE COMMAND EXPECTED
step() {
  device=$1
  local line=$2 want=${3%$'\n'} got pattern tries=1
  real_addresses
  case $line in
    "weft serve"*)
      # shellcheck disable=SC2086
      serve_as "$device" ${line#weft serve}
      return
      ;;
    "kill %1") stop "${daemon_of[$device]}"; return ;;
    "weft events"* | "weft presence "[a-z]*/* | "weft presence" | "weft status"* | "weft peers"* | "weft pending"* | \
      "weft metrics"* | "weft get"*) tries=100 ;;
  esac
  pattern=$(printf '%s' "$want" | sed 's/[][*?\\]/\\&/g; s/\.\.\./*/g')
  case $line in *--set*) tries=1 ;; esac
  while :; do
    eval "$line" >"$world/out" 2>&1
    got=$(cat "$world/out")
    matches "$got" "$pattern" && break
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || break
    sleep 0.1
  done
  if matches "$got" "$pattern"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED: %s$ %s\n  got:  %s\n  want: %s\n' "$device" "$line" "$got" "$want"
  fi
}

block= command= want= who=
flush() {
  [ -z "$command" ] || step "$who" "$command" "$want"
  command= want=
}
while IFS= read -r line <&3; do
  if [ "$line" = "## With real documents" ] && [ -z "${WEFT_TEST_DATA:-}" ]; then
    echo "skipped: no WEFT_TEST_DATA"
    break
  fi
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
check "the tour was read" [ "$((passed + failed))" -gt 20 ]
report
