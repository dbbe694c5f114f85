#!/usr/bin/env bash
# What is on its way and what holds it back: the list, pauses, retry, export, waiting for others, acknowledgements
# that come through a third device.
. "$(dirname "$0")/lib.sh"

fails_check() { [ "$(on "$1" status --check >/dev/null 2>&1; echo $?)" = 6 ]; }
on a init --name alice --space s -q
on a set t/x n:=1 -m "first words" -q
check "alone nothing is pending" equal "$(on a pending)" ""
check "alone is told" contains "$(on a status --json)" '"state":"alone"'
serve a
a_address=$address
pair a bob "$a_address"
check "what joined lacks it" equal "$(on a pending --json | wc -l)" 1
on bob sync "$a_address" -q
check "all is there" until_true 10 eval '[ -z "$(on a pending)" ]'

# --- while the other is away ------------------------------------------------------------------------
on a set t/x n:=2 -m "second words" --priority high -q
on a set t/y text="$(printf 'y%.0s' $(seq 300))" -q
list=$(on a pending --json)
check "two wait" equal "$(printf '%s\n' "$list" | wc -l)" 2
check "the oldest first" contains "$(printf '%s\n' "$list" | head -n 1)" '"message":"second words"'
check "its lane" contains "$(printf '%s\n' "$list" | head -n 1)" '"priority":"high"'
check "its id is in the log" contains "$(on a log --json)" "$(value "$(printf '%s\n' "$list" | head -n 1)" change)"
check "for whom" contains "$list" '"waiting_for":[{"attempts":0,"connected":false,"device":"'
check "how large" [ "$(value "$(printf '%s\n' "$list" | tail -n 1)" bytes)" -gt 300 ]
check "which document" contains "$(printf '%s\n' "$list" | tail -n 1)" '"docs":["t/y"]'
check "a limit" equal "$(on a pending --limit 1 --json | wc -l)" 1
check "for people" contains "$(on a pending)" "for bob"
check "status counts" contains "$(on a status --json)" '"pending":2'
check "wait says who lacks what" fails 7 "0 of 1" on a wait --timeout 300ms
(cd "$world/a" && "$weft" --dir "$world/a" pending export out.jsonl -q)
check "an export through the daemon" equal "$(wc -l <"$world/a/out.jsonl")" 2
check "has the whole change" contains "$(tail -n 1 "$world/a/out.jsonl")" '"path":"/text","value":"yyy'
check "an export spoils no file" fails 1 "there already" on a pending export "$world/a/out.jsonl"
check "nothing else is known" fails 2 "retry, export FILE" on a pending nonsense

# --- pauses -----------------------------------------------------------------------------------------
on a pause bob -q
check "a paused member is told" contains "$(on a peers --json)" '"paused":true'
check "who is paused does not come in" [ "$(on bob sync "$a_address" --timeout 2s >/dev/null 2>&1; echo $?)" != 0 ]
check "nothing was lost" equal "$(on a pending --json | wc -l)" 2
check "status says so" contains "$(on a status --json)" "paused for 1 member"
stop "$daemon"
serve a --listen "$a_address"
check "a pause outlives the daemon" contains "$(on a peers --json)" '"paused":true'
check "nobody of that name" fails 3 "no such device" on a pause nobody
on a resume bob -q
check "resumed" on bob sync "$a_address" -q
check "nothing waits any more" until_true 10 eval '[ -z "$(on a pending)" ]'
on a pause -q
check "all are paused" [ "$(on bob sync "$a_address" --timeout 2s >/dev/null 2>&1; echo $?)" != 0 ]
check "one cannot be let out" fails 1 "weft resume" on a resume bob
on a resume -q
check "all go on" on bob sync "$a_address" -q

# --- status does not lie ----------------------------------------------------------------------------
serve bob --connect "$a_address"
bob_daemon=$daemon
check "all have all: synced" until_true 20 eval 'on a status --json | grep -q "\"state\":\"synced\""'
check "what is known of bob" contains "$(on a status --json)" '"has_mine":true'
check "and since when" contains "$(on a status --json)" '"have_theirs":true,"have_theirs_at":"20'
check "the way there is measured" contains "$(on a peers --json)" '"clock_offset_ms":'
on a strategy m manual -q
on a set m/one v:=0 -q
on bob wait --timeout 5s -q 2>/dev/null
check "the document is there" until_true 10 eval '[ "$(on bob get m/one v --json 2>/dev/null)" = 0 ]'
on a pause -q
on a set m/one v:=1 -q
on bob set m/one v:=2 -q
check "paused is a state" contains "$(on a status --json)" '"state":"paused"'
on a resume -q
check "an open conflict is not synced" until_true 20 eval 'on a status --json | grep -q "\"state\":\"attention\""'
check "it says why" contains "$(on a status)" "1 document stands in conflict in a manual collection"
check "and fails a check" fails_check a
on a resolve --all --rule newest -q
check "resolved: synced again" until_true 20 eval 'on a status --json | grep -q "\"state\":\"synced\""'
stop "$bob_daemon"
check "nobody there is not synced" until_true 10 eval 'on a status --json | grep -q "\"state\":\"offline\""'

# --- through a third device -------------------------------------------------------------------------
pair a carol "$a_address"
serve bob --connect "$a_address"
bob_daemon=$daemon bob_address=$address
check "bob is there" until_true 10 eval 'on a peers --json | grep -q "\"connected\":true"'
stop "$(printf %s "$daemons" | awk '{print $1}')" 2>/dev/null
on bob set t/z n:=1 -q
check "bob waits for two" equal "$(on bob pending --json | tail -n 1 | grep -o '"name"' | wc -l)" 2
check "carol gets it from bob" on carol sync "$bob_address" -q
check "bob knows of carol" until_true 10 eval '[ "$(on bob pending --json | tail -n 1 | grep -o "\"name\"" | wc -l)" = 1 ]'
check "wait for one" contains "$(on bob wait --for 1 --timeout 5s --json)" '"acknowledged":1'
check "wait for carol" contains "$(on bob wait --for carol --timeout 5s --json)" '"acknowledged":1'
check "not for all" [ "$(on bob wait --timeout 300ms >/dev/null 2>&1; echo $?)" = 7 ]
check "retry is tried" contains "$(on bob pending retry --json)" '"retried":0'
stop "$bob_daemon"
report
