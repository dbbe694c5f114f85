#!/usr/bin/env bash
# A clock set ahead a year, and one set back a year: nothing is lost, nothing is blocked, and it is told.
preload=$(realpath "$2")
. "$(dirname "$0")/lib.sh"
year=31536000

# at SECONDS DEVICE COMMAND...: with the clock of the machine moved.
at() {
  local offset=$1 name=$2
  shift 2
  WEFT_CLOCK_OFFSET=$offset LD_PRELOAD=$preload "$weft" --dir "$world/$name" "$@"
}
this_year=$(date -u +%Y) next_year=$(date -u -d "+$year seconds" +%Y) last_year=$(date -u -d "-$year seconds" +%Y)
time_of() { on "$1" show "$2" --json | sed 's/.*"time":"\(....\).*/\1/'; }
log_of() { on "$1" show "$2" --json | sed 's/.*"log":"\([^"]*\)".*/\1/'; }
write() { value "$(at "$1" "$2" set t/x "$3" --json)" change; }

on a init --name alice --space s -q
serve a
pair a b "$address"
stop "$daemon"

# --- ahead ------------------------------------------------------------------------------------------
before=$(write 0 a n:=1)
ahead=$(write $year a n:=2)
check "ahead: the clock is moved" equal "$(time_of a "$ahead")" "$next_year"
check "ahead: doctor tells" contains "$(on a doctor 2>&1)" "ahead"
after=$(write 0 a n:=3)
check "set right again: the right time" equal "$(time_of a "$after")" "$this_year"
check "set right again: a new incarnation" [ "$(log_of a "$after")" != "$(log_of a "$ahead")" ]
check "set right again: the same before" equal "$(log_of a "$ahead")" "$(log_of a "$before")"
check "what was written last is shown" equal "$(on a get t/x n --json)" 3

# --- the other device is not dragged along ----------------------------------------------------------
serve a
check "sync" contains "$(on b sync "$address" --json)" '"stuck":0'
check "digests" equal "$(on a digest --json)" "$(on b digest --json)"
change=$(write 0 b n:=4)
check "the other's clock is its own" equal "$(time_of b "$change")" "$this_year"
check "what it has seen it replaces" equal "$(on b get t/x n --json)" 4

# --- back -------------------------------------------------------------------------------------------
at -$year b sync "$address" -q
back=$(write -$year b n:=5)
check "back: later than what it has seen" [ "$(time_of b "$back")" != "" ]
check "back: what was written last is shown" equal "$(on b get t/x n --json)" 5
check "back: syncs" contains "$(at -$year b sync "$address" --json)" '"stuck":0'
check "back: alice shows it" equal "$(on a get t/x n --json)" 5
fresh=$(write -$year b fresh:=true)
check "back: a year ago" equal "$(time_of b "$fresh")" "$last_year"
check "set right again: writes" [ -n "$(write 0 b n:=6)" ]
on b sync "$address" -q
check "no conflict came of it" equal "$(on a conflicts --json)$(on a get t/x n --json)" 6
check "digests at the end" equal "$(on a digest --json)" "$(on b digest --json)"

# --- ahead and back under a daemon --------------------------------------------------------------------
stop "$daemon"
echo 0 >"$world/offset"
LD_PRELOAD=$preload WEFT_CLOCK_FILE=$world/offset serve a
said() { value "$(on a set t/x "$1" --json)" change; }
before=$(said n:=7)
echo $year >"$world/offset"
ahead=$(said n:=8)
check "under a daemon: the clock is moved" equal "$(time_of a "$ahead")" "$next_year"
echo 0 >"$world/offset"
after=$(said n:=9)
check "under a daemon: the right time again" equal "$(time_of a "$after")" "$this_year"
check "under a daemon: a new incarnation" [ "$(log_of a "$after")" != "$(log_of a "$ahead")" ]
check "under a daemon: which status names" contains "$(on a status --json)" '"why":"its clock was far ahead"'
check "under a daemon: what was written last is shown" equal "$(on a get t/x n --json)" 9
check "under a daemon: others follow" contains "$(on b sync "$address" --json)" '"stuck":0'
check "under a daemon: and show the same" equal "$(on a digest --json)" "$(on b digest --json)"
check "under a daemon: no conflict" equal "$(on b conflicts --json)" ""
stop "$daemon"
for name in a b; do check "verify $name" contains "$(on $name verify --json)" '"ok":true'; done
report
