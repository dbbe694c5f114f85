#!/usr/bin/env bash
# Copies of a device: a copied folder, with its mirror and without, and a restored backup.  Nothing that
# anybody wrote is lost, everybody comes to the same, and the person is told.
. "$(dirname "$0")/lib.sh"

same_digest() { equal "$(on "$1" digest --json)" "$(on "$2" digest --json)"; }
forks() { on "$1" conflicts --json | grep -c '"kind":"fork"'; }
why() { on "$1" status --json | sed 's/.*"incarnations":\[//; s/\].*//'; }
# A perfect copy: the same mirror, and one that fits (as when a whole disk was copied).
state=$XDG_STATE_HOME

on a init --name alice --space team -q
on a set t/one x:=1 -q
serve a
a_pid=$daemon a_address=$address
pair a b "$a_address"
on b set t/two y:=1 -q
on b sync "$a_address" -q
check "paired" same_digest a b

# --- a folder is copied, and both go on --------------------------------------------------------------
cp -a "$world/b" "$world/c"
on c set t/two copy:=1 -q
on b set t/two own:=1 -q
check "the copy is noticed" contains "$(why c)" "moved or copied"
check "the original goes on" [ "$(why b | grep -c "moved or copied")" = 0 ]
on c sync "$a_address" -q
on b sync "$a_address" -q
on c sync "$a_address" -q
check "the copy's write is there" contains "$(on b get t/two --json)" '"copy":1'
check "the original's write is there" contains "$(on c get t/two --json)" '"own":1'
check "all the same" same_digest b c
check "no log has forked" equal "$(forks b)" 0
check "doctor tells why" contains "$(on c doctor 2>/dev/null)" "moved or copied"
check "verify" on c verify -q

# --- a copy with another state folder ------------------------------------------------------------------
cp -a "$world/b" "$world/d"
export XDG_STATE_HOME=$world/state-d
on d set t/two elsewhere:=1 -q
check "no mirror is noticed" contains "$(why d)" "no mirror"
on d sync "$a_address" -q
export XDG_STATE_HOME=$state
on b sync "$a_address" -q
check "its write is there" contains "$(on b get t/two --json)" '"elsewhere":1'
check "no log has forked" equal "$(forks b)" 0

# --- a backup is put back into the same file ------------------------------------------------------------
file=$(find "$world/b" -name data.mdb)
cp "$file" "$world/backup.mdb"
on b set t/two late:=1 -q
on b sync "$a_address" -q
cat "$world/backup.mdb" >"$file"
check "the store is set back" contains "$(on b get t/two late --json 2>&1)" "no"
on b set t/two after:=1 -q
check "the backup is noticed" contains "$(why b)" "set back"
on b sync "$a_address" -q
check "what was lost came back" contains "$(on b get t/two --json)" '"late":1'
check "what came after is there" contains "$(on b get t/two --json)" '"after":1'
check "no log has forked" equal "$(forks b)" 0
check "the same as the others" same_digest a b

# --- a backup with its mirror: nothing can tell, until a peer shows it ------------------------------------
file=$(find "$world/b" -name data.mdb)
cp "$file" "$world/backup.mdb"
cp -a "$state" "$world/state-then"
on b set t/three first:=1 -q
on b sync "$a_address" -q
cat "$world/backup.mdb" >"$file"
rm -rf "$state"
cp -a "$world/state-then" "$state"
on b set t/three second:=1 -q
on b sync "$a_address" -q
check "the log has forked" equal "$(forks b)" 1
check "the others know" equal "$(forks a)" 1
check "both writes are there" contains "$(on b get t/three --json)" '"first":1'
check "both writes are there" contains "$(on b get t/three --json)" '"second":1'
on b set t/three third:=1 -q
check "it goes on anew, and tells why" contains "$(why b)" "a peer showed"
on b sync "$a_address" -q
check "the same everywhere" same_digest a b
check "no further fork" equal "$(forks a)" 1
check "status tells of the fork" contains "$(on b status --json)" '"forks":[{"device":"'
check "conflicts tell of the fork" contains "$(on b conflicts)" "signed more than once"
check "doctor tells of the fork" contains "$(on b doctor 2>/dev/null)" "1 fork(s)"
check "a fork record" contains "$(on b conflicts --json)" '"kind":"fork","log":"'
check "verify over branches" on b verify -q
check "repair over branches" on b repair -q
check "still the same" same_digest a b

# --- two daemons of one device ------------------------------------------------------------------------
cp -a "$world/b" "$world/e"
serve b
b_pid=$daemon b_address=$address
serve e
e_pid=$daemon e_address=$address
on b set t/four b:=1 -q
on e set t/four e:=1 -q
on b connect "$a_address" -q
on e connect "$a_address" -q
for _ in $(seq 100); do
  case $(on a get t/four --json 2>/dev/null) in *'"b":1'*'"e":1'*) break ;; esac
  sleep 0.1
done
check "both daemons are heard" contains "$(on a get t/four --json)" '"b":1,"e":1'
check "no further fork" equal "$(forks a)" 1
stop "$b_pid"
stop "$e_pid"
stop "$a_pid"
report
