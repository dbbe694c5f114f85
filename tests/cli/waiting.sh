#!/usr/bin/env bash
# What is held and not shown is told: what waits for others, and what only a later weft knows.
later=$(realpath "$2")
. "$(dirname "$0")/lib.sh"

on a init --name alice --space s -q
on a set t/x n:=1 -q
serve a
pair a bob "$address"
stop "$daemon"
check "nothing waits" contains "$(on a status --json)" '"stuck":[]'
check "all is known" contains "$(on a status --json)" '"needs_upgrade":[]'
check "changes of a later weft come" "$later" "$world/a" "$world/bob"
status=$(on a status --json)
check "who waits" contains "$status" '"stuck":[{"change":"'
check "for what" contains "$status" '"wants_seq":7'
check "who had it" contains "$status" '"last_had":{"device":"'"$(value "$(on bob id --json)" device)"
check "since when" contains "$status" '"since":"20'
check "how many are of a later weft" contains "$status" '"needs_upgrade":[{"count":1,'
check "a person sees what waits" contains "$(on a status)" "wait since 20"
check "and what to do" contains "$(on a status)" "need a later weft: upgrade this one"
check "doctor tells what waits" contains "$(on a doctor 2>/dev/null)" "LOOK  waiting: 1 wait since 20"
check "doctor tells of later forms" contains "$(on a doctor 2>/dev/null)" "LOOK  format: 1 change(s) of bob"
check "pending lists it" contains "$(on a pending --json)" '"state":"waiting"'
check "pending tells for what" contains "$(on a pending --json)" '"wants_seq":7'
check "pending for a person" contains "$(on a pending)" "seq 7, which bob"
check "status --check" [ "$(on a status --check >/dev/null 2>&1; echo $?)" = 6 ]
serve a
check "and the daemon, too" contains "$(on a status --json)" '"wants_seq":7'
stop "$daemon"
report
