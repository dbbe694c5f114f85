#!/usr/bin/env bash
# A store set back to a copy, after its daemon was killed: the mirror tells, and the device goes on in a new log instead
# of signing a seq twice.
. "$(dirname "$0")/lib.sh"
logs() { on a digest --json | grep -o '"[0-9a-f]\{64\}":' | wc -l; }

on a init --name a -q
on a set t/x n:=0 -q
serve a
on a set t/x n:=1 -q
store=$(echo a/spaces/*/data.mdb)
cp "$store" copy.mdb
on a set t/x n:=2 -q
sleep 1.6 # a daemon's mirror follows within a second or so
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemons=
cat copy.mdb >"$store" # in place, so that only its content tells
check "set back" equal "$(on a get t/x n --json)" 1
on a set t/x n:=3 -q
check "a new incarnation writes a new log" equal "$(logs)" 2
check "verify" contains "$(on a verify --json)" '"ok":true'
report
