#!/usr/bin/env bash
# Two columns: a conflict and a difference at 80 characters, to the letter; plain lines where nobody looks.
. "$(dirname "$0")/lib.sh"
tty() { TERM=xterm script -qec "stty cols $1 2>/dev/null; $2" /dev/null </dev/null | tr -d '\r'; }
times() { sed 's/20[0-9-]*T[0-9:.]*Z/2026-01-31T12:00:00.000Z/; s/20[0-9-]*T[0-9:.]*Z/2026-01-31T12:00:00.000Z/2; s/--keep [0-9a-f]*/--keep 0123456789ab/g'; }

on a init --name laptop --space home -q
serve a
pair a phone "$address"
on a set t/plan title="Beintag" steps:='["Kniebeuge","Beinpresse"]' notes="warm up first" -q
on phone sync "$address" -q
on a set t/plan title="脚の日 (あし)" -q
on phone set t/plan title="Beintag, schwer, mit langem Aufwärmen und noch mehr" -q
on a set t/plan notes:='{"before":"row 5 min","after":"stretch"}' -q
on phone set t/plan notes:='{"before":"row 10 min","during":"drink","after":"stretch"}' -q
on phone sync "$address" -q
stop "$daemon"

# --- a conflict -------------------------------------------------------------------------------------
want='t/plan /title  value
* phone  2026-01-31T12:00:00.000Z          laptop  2026-01-31T12:00:00.000Z
  --keep 0123456789ab                      --keep 0123456789ab
"Beintag, schwer, mit langem Aufwärmen | "脚の日 (あし)"
 und noch mehr"                        |'
sides=$(on a conflicts t/plan --side-by-side | times)
check "a conflict in two columns" contains "$sides" "$want"
check "at most 80 columns" [ "$(printf '%s\n' "$sides" | wc -L)" -le 80 ]
check "piped: one line a value" contains "$(on a conflicts t/plan | times)" 't/plan /title  value
  * "Beintag, schwer, mit langem Aufwärmen und noch mehr"  by phone  2026-01-31T12:00:00.000Z  --keep 0123456789ab
    "脚の日 (あし)"  by laptop  2026-01-31T12:00:00.000Z  --keep 0123456789ab'

# --- a difference -----------------------------------------------------------------------------------
on a set t/o o:='{"k":[1,2,3],"name":"before","same":true}' -q
on a set t/o o:='{"k":[1,3,4],"name":"after","same":true}' new:='{"x":1}' -q
on a unset t/o /o/same -q
first=$(on a log t/o --json | tail -1 | sed 's/.*"change":"\([0-9a-f]*\)".*/\1/')
want='+ /new
                                       > {
                                       >   "x": 1
                                       > }
~ /o/name
"before"                               | "after"
- /o/same
true                                   <
- /o/k/1
2                                      <
+ /o/k/2
                                       > 4'
check "a difference in two columns" equal "$(on a diff t/o "$first" --side-by-side)" "$want"
check "piped: one line a path" equal "$(on a diff t/o "$first")" '+ /new  {"x":1}
~ /o/name  "before" -> "after"
- /o/same  true
- /o/k/1  2
+ /o/k/2  4'
on a set t/o o:='{"k":{"deep":1,"l":2},"name":"x"}' -q
on a set t/o o:='["k",2]' -q
check "lines that are the same are not marked" contains "$(on a diff t/o --side-by-side)" '{                                      | [
  "k": {                               |   "k",
    "deep": 1,                         |   2
    "l": 2                             | ]'

# --- a terminal -------------------------------------------------------------------------------------
if has_terminal; then
  plain() { sed 's/\x1b\[[0-9;]*[mK]//g'; }
  export WEFT_DIR=$world/a
  check "a terminal has two columns by itself" equal "$(tty 80 "'$weft' diff t/o '$first' now" | plain)" "$(on a diff t/o "$first" now --side-by-side)"
  for cols in 40 61 80 133; do
    check "never wider than $cols" [ "$(tty $cols "'$weft' conflicts t/plan" | plain | wc -L)" -le "$cols" ]
  done
  check "too narrow for two: lines" contains "$(tty 30 "'$weft' diff t/o '$first' now" | plain)" '~ /o'
  check "colour" [ "$(tty 80 "'$weft' diff t/o '$first' now" | grep -c $'\x1b\[3[12]m')" -gt 0 ]
  check "NO_COLOR" equal "$(NO_COLOR=1 tty 80 "'$weft' diff t/o '$first' now" | grep -c $'\x1b\[')" 0
fi
report
