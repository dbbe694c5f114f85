#!/usr/bin/env bash
# What people and scripts see: options anywhere, terminals, colours, pipes, one-line errors, output that is lost.
here=$(cd "$(dirname "$0")" && pwd)
. "$(dirname "$0")/lib.sh"

# tty COLUMNS COMMAND: what COMMAND prints on a terminal of that width.
tty() { TERM=xterm script -qec "stty cols $1 2>/dev/null; $2" /dev/null </dev/null | tr -d '\r'; }
widest() { sed 's/\x1b\[[0-9;]*[mK]//g' | awk '{ if (length($0) > w) w = length($0) } END { print w + 0 }'; }

on a init --name laptop --space home -q
on a set t/x a=1 b:=2 -m "first change" -q
export WEFT_DIR=$world/a

# --- options ----------------------------------------------------------------------------------------
check "options before the command" equal "$("$weft" --limit 3 --json list | cut -c 1-9)" '{"items":'
check "--version" equal "$("$weft" --version)" "$("$weft" version)"
check "letters together" equal "$("$weft" -vqm note set t/x c=1)" ""
check "unknown option names the nearest" fails 2 "did you mean --limit" "$weft" log --limti=3
check "two dashes" equal "$("$weft" set t/dash -q -- --json=x; "$weft" get t/dash -- --json 2>/dev/null)" '"x"'

# --- help -------------------------------------------------------------------------------------------
check "help is 80 columns wide" equal "$(for c in "" $("$weft" help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'); do "$weft" help $c; done | awk '{ sub(/^usage.*/, "") } length($0) > 79')" ""
check "help knows every command" [ "$("$weft" help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p' | wc -l)" -gt 45 ]

types=$(sed -nE 's/^\| `([a-z]+)\.([a-z]+)`.*/\1.\2/p' "$here/../../docs/events.md")
check "events.md has a table" [ "$(wc -l <<<"$types")" -gt 25 ]
check "help events names each" equal "$(help=$("$weft" help events); for t in $types; do [[ $help =~ ${t#*.}[,\;.[:space:]] ]] || echo "$t"; done)" ""
check "log ends no line with a space" equal "$("$weft" log | grep -c ' $')" 0

# --- errors -----------------------------------------------------------------------------------------
check "an error is one line" fails 2 "a?b is not a document name" "$weft" get $'a\nb'
check "lost output is an error" [ "$("$weft" export >/dev/full 2>/dev/null; echo $?)" = 1 ]
check "lost output is told" contains "$("$weft" list --json 2>&1 >/dev/full)" "could not be written"
# What is opened must not get the number of an output that is not there, or that is written into it.
"$weft" events --json >&- 2>/dev/null
check "closed output is an error" equal "$?" 1
check "closed output goes into no file" equal "$(cat a/spaces/*/lock)" 0000000000
check "all is closed" equal "$("$weft" verify --json <&- >&- 2>&-; echo $?)" 1
check "all is closed: nothing was written" contains "$("$weft" verify --json)" '"ok":true'
check "a reader that leaves is none" equal "$("$weft" export | :; echo "${PIPESTATUS[0]}")" 0

# --- terminals --------------------------------------------------------------------------------------
if has_terminal; then
  red=$'x\x1b[31m' hidden=$'t/bob\xe2\x80\xae' # made here: not every shell that script calls could
  "$weft" set t/esc v=$'\x1b[31mred\xc2\x9b' -q
  check "no control characters" equal "$(tty 80 "'$weft' list t --fields v" | grep -ac $'\x1b\[31m\|\xc2\x9b')" 0
  check "no control characters in errors" equal "$(tty 80 "'$weft' get '$red'" | grep -ac $'\x1b\[31m')" 0
  "$weft" set "$hidden" v=$'a\xe2\x81\xa6b' -q
  check "what is not seen is escaped" contains "$(tty 80 "'$weft' list t --fields v" | tr -s ' ')" 't/bob\u202e a\u2066b'
  check "and in JSON" contains "$(tty 80 "'$weft' get '$hidden' --json")" '{"v":"a\u2066b"}'
  check "but not in a pipe" equal "$("$weft" get "$hidden" --json)" $'{"v":"a\xe2\x81\xa6b"}'
  check "nor in a table there" contains "$("$weft" list t --fields v)" "$hidden  "
  "$weft" delete "$hidden" -q
  long=$(printf 'long%.0s' $(seq 40))
  "$weft" set t/long v="$long" w="$long" x="$long" -q
  for words in "list t --fields v,w,x,v,w,x,v,w,x" "members" "peers" "doctor" "events"; do
    check "80 columns: $words" [ "$(tty 80 "'$weft' $words" | widest)" -le 80 ]
  done
  seq 4000 | sed 's/.*/{"id":"d&"}/' >many.jsonl
  check "an import shows how far it is" contains "$(tty 80 "'$weft' import many.jsonl")" "import [####"
  check "quiet shows none" equal "$(tty 80 "'$weft' import many.jsonl -q")" ""
  check "colour" equal "$(tty 80 "'$weft' log --limit 1" | grep -ac $'\x1b\[33m')" 1
  check "events at 80 columns" contains "$(tty 80 "'$weft' events doc.created")" "t/long"
  check "NO_COLOR" equal "$(NO_COLOR=1 tty 80 "'$weft' log --limit 1" | grep -ac $'\x1b\[')" 0
fi
check "quiet keeps data" contains "$("$weft" digest -q)" "digest: "
check "all fields in a pipe" equal "$("$weft" set t/z v=1 -q; "$weft" list t --where v=1 --fields v,v,v,v,v,v,v,v,v,v | tr -s ' ')" "t/z 1 1 1 1 1 1 1 1 1 1"
check "a field asked for twice is one member" equal "$("$weft" list t --where v=1 --fields v,v,doc --json)" '{"items":[{"doc":"t/z","v":"1"}],"next":null}'
check "status --watch goes on" equal "$(timeout 10 "$weft" status --watch --json | head -n 2 | grep -c '"state":"alone"')" 2
check "status --watch ends with its reader" equal "$(timeout 10 "$weft" status --watch --json | :; echo "${PIPESTATUS[0]}")" 0
check "status --watch ends with the device" [ "$(WEFT_DIR=$world/none timeout 10 "$weft" status --watch >/dev/null 2>&1; echo $?)" = 1 ]
check "doctor is one document" equal "$("$weft" doctor --json | wc -l)" 1
check "no colour in a pipe" equal "$("$weft" log --limit 1 | grep -ac $'\x1b\[')" 0
report
