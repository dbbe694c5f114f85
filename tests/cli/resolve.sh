#!/usr/bin/env bash
# Conflicts of every kind with all that is told of them; every rule, alone and for all, tried first; a resolution
# taken back; one conflict settled on two devices at once.
. "$(dirname "$0")/lib.sh"

on a init --name laptop --space home -q
serve a
pair a b "$address"
pair a c "$address"
stop "$daemon"
meet() {
  serve a --listen "$address"
  for d in b c b c; do on $d sync "$address" -q; done
  stop "$daemon"
}
change() { on "$1" log "$2" --limit 1 --json | sed 's/.*"change":"\([0-9a-f]*\)".*/\1/'; }
hex='[0-9a-f]\{64\}' time='20[0-9-]*T[0-9:.]*Z'
side() { # NAME VALUE WINNER: one value of a conflict, with everything
  printf '{"change":"%s","device":"%s","name":"%s","time":"%s",%s"winner":%s}' "$hex" "$hex" "$1" "$time" "$2" "$3"
}
like() { printf '%s\n' "$1" | grep -qx "$2" || { printf '  got:  %s\n  like: %s\n' "$1" "$2"; return 1; }; }

# --- kinds ------------------------------------------------------------------------------------------
on a set k/value x:=0 -q
on a set k/shape x:=0 -q
on a set k/gone x:=0 y:=0 -q
on a set k/same x:=0 -q
on a set k/list l:='[{"id":"p","n":0},{"id":"q","n":0}]' -q
meet
on a set k/value x:=1 -q
on a set k/shape x:=1 -q
on a delete k/gone -q
on a set k/same x:=7 -q
on a set k/list /l/1/n:=1 -q
on b set k/value x:=2 -q
on b set k/shape x:='{"deep":true}' -q
on b set k/gone x:=5 -q
on b set k/same x:=7 -q
on b set k/list /l/1/n:=2 -q
on c set k/same x:=8 -q
on c unset k/list /l/0 -q
meet
check "value" like "$(on a conflicts k/value --json)" "{\"doc\":\"k/value\",\"kind\":\"value\",\"path\":\"/x\",\"strategy\":\"field\",\"typed_path\":\"/x\",\"values\":\\[$(side b '"value":2,' true),$(side laptop '"value":1,' false)\\]}"
check "shape" like "$(on a conflicts k/shape --json)" "{\"doc\":\"k/shape\",\"kind\":\"shape\",\"path\":\"/x\",.*\"values\":\\[$(side b '"value":{"deep":true},' true),$(side laptop '"value":1,' false)\\]}"
check "edit against delete" like "$(on a conflicts k/gone --json)" "{\"doc\":\"k/gone\",\"kind\":\"edit-delete\",\"path\":\"\",.*\"values\":\\[$(side b '"value":{"x":5,"y":0},' true),{\"change\":\"$hex\",\"deleted\":true,.*\\]}"
check "the edit brought it back whole" equal "$(on a get k/gone --json)" '{"x":5,"y":0}'
check "equal values are one" equal "$(on a conflicts k/same --json | grep -o '"value":[0-9]*' | sort | tr '\n' ' ')" '"value":7 "value":8 '
check "with all who wrote it" like "$(on a conflicts k/same --json)" ".*\"also\":\\[{\"change\":\"$hex\",\"device\":\"$hex\",\"name\":\"[a-z]*\",\"time\":\"$time\"}\\].*"
check "people see them too" contains "$(on a conflicts k/same)" "also by "
check "in a list that moved: where it is now" contains "$(on a conflicts k/list --json)" '"path":"/l/0/n"'
check "one winner each" equal "$(on a conflicts --json | grep -o '"winner":true' | wc -l)" "$(on a conflicts --json | wc -l)"
check "the same everywhere" equal "$(on b conflicts --json)$(on c conflicts --json)" "$(on a conflicts --json)$(on a conflicts --json)"
check "counted" contains "$(on a status --json)" '"conflicts":5'

# --- rules ------------------------------------------------------------------------------------------
# world: a writes 5, then b 9, then c 1, concurrently; a's clock is first.
rule_world() {
  on a set "r/$1" x:=0 -q
  meet
  on a set "r/$1" x:=5 -q
  on b set "r/$1" x:=9 -q
  on c set "r/$1" x:=1 -q
  meet
}
for rule in newest:1 oldest:5 mine:9 max:9 min:1; do
  name=${rule%:*} want=${rule#*:}
  rule_world "$name"
  tried=$(on b resolve "r/$name" /x --rule "$name" --dry-run --json)
  check "$name: tried" contains "$tried" "\"value\":$want"
  check "$name: nothing is written by that" equal "$(on b conflicts "r/$name" --json | wc -l)" 1
  on b resolve "r/$name" /x --rule "$name" -q
  check "$name" equal "$(on b get "r/$name" /x)$(on b conflicts "r/$name" --json)" "$want"
  check "$name: it names what it settled" equal "$(on b log "r/$name" --limit 1 --json | sed 's/.*"resolves":\[\([^]]*\)\].*/\1/' | grep -o "$hex" | wc -l)" 3
done
meet
for rule in newest oldest mine max min; do
  on a set all/one x:=0 y:=0 -q
  meet
  on a set all/one x:=3 y:=1 -q
  on b set all/one x:=4 y:=2 -q
  meet
  on a resolve --all --rule $rule all/one --dry-run --json >tried
  check "$rule for all: tried" equal "$(grep -o '"resolved":0' tried; on a conflicts all/one --json | wc -l)" $'"resolved":0\n2'
  on a resolve --all --rule $rule all/one -q
  want=$(sed 's/.*"items":\[\(.*\)\].*/\1/' tried | grep -o '"value":[0-9]*' | tr -d '"a-z:' | tr '\n' ' ')
  check "$rule for all: as tried" equal "$(on a get all/one /x) $(on a get all/one /y) " "$want"
  check "$rule for all: none left" equal "$(on a conflicts all/one --json)" ""
  meet
done
check "another value" equal "$(on a resolve k/value /x --value 77 -q; on a get k/value /x)" 77
check "a choice" equal "$(keep=$(on a conflicts k/shape --json | sed 's/.*"change":"\([0-9a-f]*\)"[^}]*"value":1.*/\1/'); on a resolve k/shape /x --keep "$keep" -q; on a get k/shape /x)" 1
check "a deletion can be kept" fails 3 "no document k/gone" eval 'keep=$(on a conflicts k/gone --json | sed "s/.*{\"change\":\"\([0-9a-f]*\)\",\"deleted\":true.*/\1/"); on a resolve k/gone "" --keep "$keep" -q; on a get k/gone'

# --- taken back -------------------------------------------------------------------------------------
rule_world undo
on b resolve r/undo /x --rule max -q
check "settled" equal "$(on b get r/undo /x)" 9
on b revert "$(change b r/undo)" -q
check "a resolution taken back: what was shown before" equal "$(on b get r/undo /x)" 1
check "which says so" contains "$(on b log r/undo --limit 1 --json)" '"reverts":"'
on b revert "$(change b r/undo)" -q
check "and that as well" equal "$(on b get r/undo /x)" 9

# --- on two devices at once -------------------------------------------------------------------------
rule_world twice
on a resolve r/twice /x --rule max -q
on b resolve r/twice /x --rule oldest -q
meet
check "just a conflict again" equal "$(on c conflicts r/twice --json | grep -o '"value":[0-9]*' | sort | tr '\n' ' ')" '"value":5 "value":9 '
on c resolve r/twice /x --value 6 -q
meet
check "until somebody settles it" equal "$(on a get r/twice /x)$(on a conflicts r/twice --json)" 6
on a set r/alike x:=0 -q
meet
on a set r/alike x:=5 -q
on b set r/alike x:=9 -q
meet
on a resolve r/alike /x --rule max -q
on b resolve r/alike /x --rule max -q
meet
check "settled alike on two devices: none" equal "$(on c get r/alike /x)$(on c conflicts r/alike --json)" 9
check "verify" contains "$(on c verify --json)" '"ok":true'
report
