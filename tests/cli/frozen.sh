#!/usr/bin/env bash
# A membership record that only a later weft knows: the space is read, held and relayed, not written or shown, and
# people are told to upgrade.
freeze=$(realpath "$2")
. "$(dirname "$0")/lib.sh"

on a init --name alice --space s -q
on a set t/x n:=1 -q
serve a
pair a b "$address"
on b sync "$address" -q
ticket=$(on a invite -q)
stop "$daemon"
check "an unknown record comes" "$freeze" "$world/a"

check "frozen: set" fails 1 "upgrade" on a set t/x n:=2
check "frozen: delete" fails 1 "upgrade" on a delete t/x
check "frozen: reads go on" equal "$(on a get t/x n --json)" 1
check "frozen: doctor tells" contains "$(on a doctor --json 2>/dev/null)" '"check":"version","ok":false'
check "frozen: doctor fails" [ "$(on a doctor >/dev/null 2>&1; echo $?)" = 1 ]
check "frozen: verify holds" contains "$(on a verify --json)" '"ok":true'

# Bob writes before he has heard of it.
on b set t/x n:=3 -q
serve a
timeout 20 "$weft" --dir "$world/b" sync "$address" --timeout 3s >/dev/null 2>&1
check "frozen: the change of another is held" until_true 5 eval '[ "$(value "$(on a status --json)" changes_held)" -gt "$(value "$(on a status --json)" changes_shown)" ]'
check "frozen: and not shown" equal "$(on a get t/x n --json)" 1
check "frozen: nobody is invited" fails 1 "upgrade" on a invite
check "frozen: nobody is admitted" [ "$(on c join "$ticket" "$address" --timeout 2s >/dev/null 2>&1; echo $?)" != 0 ]
check "frozen: the other is, too" fails 1 "upgrade" on b set t/x n:=4
stop "$daemon"
report
