#!/usr/bin/env bash
# Backups: made while the space is used, with the daemon and without; put back after more was written, after the
# store was lost, and on another device.  No edit that another device has is lost, and nothing is signed twice.
. "$(dirname "$0")/lib.sh"

same_digest() { equal "$(on "$1" digest --json)" "$(on "$2" digest --json)"; }
forks() { on "$1" conflicts --json | grep -c '"kind":"fork"'; }
why() { on "$1" status --json | sed 's/.*"incarnations":\[//; s/\].*//'; }

on a init --name alice --space team -q
on a set t/one x:=1 -q
serve a
a_pid=$daemon a_address=$address
pair a b "$a_address"
on b set t/two y:=1 -q
on b sync "$a_address" -q

# --- made ------------------------------------------------------------------------------------------
out=$(on b backup "$world/b.weft" --json)
check "a backup says what is in it" contains "$out" '"documents":2'
check "it is there" [ -s "$world/b.weft" ]
check "and nothing beside it" equal "$(ls "$world" | grep -c 'b.weft')" 1
check "nobody else may read it" equal "$(stat -c %a "$world/b.weft")" 600
check "its name may be any bytes" contains "$(on b backup "$world/b"$'\xff'.weft --json)" '/b?.weft"'
check "it does not overwrite" fails 1 "there is something already" on b backup "$world/b.weft"
check "a folder must be there" fails 1 "its folder does not exist" on b backup "$world/no/b.weft"
mkdir "$world/kept"
check "in a folder it has a name of its own" on b backup "$world/kept" -q
check "one file" equal "$(ls "$world/kept" | wc -l)" 1
secret=$(od -An -v -tx1 b/identity | tr -d ' \n' | cut -c15-78)
check "the identity is not in it" equal "$(od -An -v -tx1 b.weft | tr -d ' \n' | grep -c "$secret")" 0
secret=$(od -An -v -tx1 b/secrets | tr -d ' \n' | cut -c97-160)
check "nor is the space's secret" equal "$(od -An -v -tx1 b.weft | tr -d ' \n' | grep -c "$secret")" 0

# Beside a daemon and a writer.
for n in $(seq 40); do on a set t/many "f$n:=$n" -q; done &
writer=$!
for n in 1 2 3; do check "a backup beside the daemon $n" on a backup "$world/a$n.weft" -q; done
wait "$writer"
check "the daemon goes on" contains "$(on a get t/many --json)" '"f40":40'

# --- put back: more was written since, and others have it ------------------------------------------------
on b set t/two late:=1 -q
on b sync "$a_address" -q
check "not without being asked" fails 1 "--replace" on b restore-backup "$world/b.weft"
check "what is not there is refused" fails 1 "no such file" on b restore-backup "$world/none"
echo nonsense >"$world/nonsense"
check "nonsense is refused" fails 1 "no backup" on b restore-backup "$world/nonsense" --replace
out=$(on b restore-backup "$world/b.weft" --replace --json)
check "it says what it keeps" contains "$out" 'replaced-1'
file=$(find "$world/b" -name data.mdb)
for n in $(seq 2 1000); do echo copy >"$file.replaced-$n"; done
check "a name is found beside a thousand copies" contains "$(on b restore-backup "$world/b.weft" --replace --json)" 'replaced-1001'
check "none of which is overwritten" equal "$(cat "$file".replaced-1000)" copy
rm "$file".replaced-*
check "it is set back" contains "$(on b get t/two late --json 2>&1)" "no"
on b set t/two after:=1 -q
check "the person is told in status" contains "$(why b)" "restored from a backup"
check "and by doctor" contains "$(on b doctor 2>/dev/null)" "restored from a backup"
check "and by an event" contains "$(on b events --json)" "restored from a backup"
on b sync "$a_address" -q
check "what was lost came back" contains "$(on b get t/two --json)" '"late":1'
check "what came after is there" contains "$(on b get t/two --json)" '"after":1'
check "no log has forked" equal "$(forks b)" 0
check "the same as the others" same_digest a b
check "verify" on b verify -q

# --- with its mirror as it was then: the fence alone can tell ----------------------------------------------
on b backup "$world/b2.weft" -q
cp -a "$XDG_STATE_HOME" "$world/state-then"
on b set t/two lost:=1 -q
on b sync "$a_address" -q
rm -rf "$XDG_STATE_HOME"
cp -a "$world/state-then" "$XDG_STATE_HOME"
cat "$world/b2.weft" >"$(find "$world/b" -name data.mdb)" # by hand, in place
on b set t/two again:=1 -q
on b sync "$a_address" -q
check "put back by hand, too" equal "$(forks a)" 0
check "nothing is lost" contains "$(on b get t/two --json)" '"lost":1'

# --- the store was lost -------------------------------------------------------------------------------------
rm -rf "$world/b/spaces"
check "put back where there is none" on b restore-backup "$world/b2.weft" -q
on b set t/two third:=1 -q
on b sync "$a_address" -q
check "the same again" same_digest a b

# --- the device was lost, with an edit that nobody has -----------------------------------------------------------
on b set t/alone only:=1 -q
on b backup "$world/b3.weft" -q
rm -rf "$world/b"
check "not where there is no device" fails 1 "is no device" on b restore-backup "$world/b3.weft"
on c init --name carol --space other -q
check "not without the space's key" fails 1 "lacks the key" on c restore-backup "$world/b3.weft"
pair a d "$a_address"
check "a new member takes it" on d restore-backup "$world/b3.weft" --replace -q
check "the edit is there" contains "$(on d get t/alone --json)" '"only":1'
check "it joined after the backup: it syncs" on d sync "$a_address" -q
on d set t/alone new:=1 -q
on d sync "$a_address" -q
check "others have the edit now" contains "$(on a get t/alone --json)" '"only":1'
check "the same everywhere" same_digest a d
check "its own log is its own" contains "$(on d log t/alone --json | head -n 1)" '"name":"d"'
check "verify" on d verify -q
check "not while the daemon runs" fails 1 "in use by process" on a restore-backup "$world/a1.weft" --replace
stop "$a_pid"
report
