#!/usr/bin/env bash
# events: numbers without a gap over processes and daemons, the same answers with and without one, following, and
# what the network tells.
. "$(dirname "$0")/lib.sh"
seqs() { grep -o '"seq":[0-9]*' | cut -d: -f2; }
types() { sed -n 's/.*"type":"\([^"]*\)".*/\1/p'; }
gap_free() { local n=$1 s; while read -r s; do [ "$s" = "$n" ] || return 1; n=$((n + 1)); done; }

on a init --name alice --space s -q
on a set t/x n:=1 -q -m first
on a set t/x n:=2 -q
on a delete t/x -q
on a undelete t/x -q
check "events of changes" equal "$(on a events --json | types | tr '\n' ' ')" \
  "change.committed doc.created change.committed doc.changed change.committed doc.deleted change.committed doc.restored "
check "numbers begin at 1" gap_free 1 < <(on a events --json | seqs)
check "since" equal "$(on a events --since 6 --json | seqs | tr '\n' ' ')" "7 8 "
check "since the newest: nothing" equal "$(on a events --since 8 --json)" ""
check "a pattern" equal "$(on a events 'doc.*' --json | seqs | tr '\n' ' ')" "2 4 6 8 "
check "patterns add up" equal "$(on a events doc.created '*.restored' --json | seqs | tr '\n' ' ')" "2 8 "
check "a collection" equal "$(on a events --collection u --json)" ""
check "a place" equal "$(on a events 'doc.*' --path /n --json | seqs | tr '\n' ' ')" "2 4 6 8 "
check "another place" equal "$(on a events doc.changed --path /m --json)" ""
check "the message" contains "$(on a events --json | head -1)" '"text":"first"'
check "the paths" contains "$(on a events --json | sed -n 4p)" '"paths":["/n"]'
check "the cause" contains "$(on a events --json | sed -n 4p)" '"cause":3'
check "each change once" equal "$(on a events 'change.**' --json | grep -o '"change":"[0-9a-f]*"' | sort)" \
  "$(on a log --json | grep -o '"change":"[0-9a-f]*"' | sort)"
check "debug" contains "$(on a events --since 7 --debug --json)" '"because":"a change began the document again"'
check "for people" contains "$(on a events | sed -n 2p)" "doc.created"

check "a bad pattern" fails 2 "is no pattern" on a events 'doc.'
check "a pattern of nothing" fails 2 "weft help events" on a events 'docs.*'
check "since in the future" fails 1 "newest event is 8" on a events --since 9
check "since is a number" fails 2 "whole number" on a events --since x
check "a bad collection" fails 2 "name such as" on a events --collection a//b
check "a bad place" fails 2 "JSON Pointer" on a events --path '/~x'

# --- following without a daemon ---------------------------------------------------------------------
begin a events --follow --since 8 --json >"$world/follow" 2>"$world/follow.err"
follower=$!
on a set t/y n:=1 -q
check "a follower sees a commit of another process" until_true 10 eval '[ "$(wc -l <"$world/follow")" -ge 2 ]'

# --- with a daemon ----------------------------------------------------------------------------------
before=$(on a events --json)
serve a
a_pid=$daemon
check "the daemon says the same" equal "$(on a events --json | head -10)" "$before"
on a set t/y n:=2 -q
check "the follower goes on with the daemon" until_true 20 eval '[ "$(wc -l <"$world/follow")" -ge 4 ]'
begin a events '**' --follow --debug --json >"$world/all" 2>/dev/null
all=$!
check "what is kept comes first" until_true 10 eval '[ "$(wc -l <"$world/all")" -ge 12 ]'
pair a b "$address"
check "a device is admitted" until_true 10 eval 'grep -q peer.admitted "$world/all"'
check "sync" contains "$(on b sync "$address" --json)" '"stuck":0'
on b set t/y n:=3 -q
check "sync back" contains "$(on b sync "$address" --json)" '"stuck":0'
for type in peer.connected network.online sync.done change.shown peer.disconnected network.offline; do
  check "$type is told" until_true 10 eval 'grep -q "\"$type\"" "$world/all"'
done
check "and to whom" contains "$(grep change.shown "$world/all")" '"to":['
check "numbers go on" gap_free 1 < <(seqs <"$world/all")
serve b --connect "$address" --no-remembered
b_pid=$daemon
on b presence t/y --set '{"at":1}' >/dev/null
check "presence is told" until_true 10 eval 'grep -q presence.joined "$world/all"'
check "without a number" [ -z "$(grep presence. "$world/all" | grep '"seq"')" ]
on b presence t/y --leave >/dev/null
check "and its end" until_true 10 eval 'grep -q presence.left "$world/all"'
check "nothing of it is kept" equal "$(on a events 'presence.*' --json)" ""
stop "$b_pid"
kill $all
check "the other device tells, too" contains "$(on b events --json)" '"type":"sync.done"'
check "its numbers" gap_free 1 < <(on b events --json | seqs)

stop "$a_pid"
check "the follower ends with it" until_true 10 eval '! kill -0 $follower 2>/dev/null'
kill $follower 2>/dev/null
check "a follower is told that the daemon ends" contains "$(cat "$world/follow.err")" "start weft events again"
check "the follower saw no gap" gap_free 9 < <(seqs <"$world/follow")
after=$(on a events --json)
check "numbers outlive the daemon" gap_free 1 < <(printf '%s\n' "$after" | seqs)
check "and what it told stays" contains "$after" '"type":"network.offline"'

# --- an address that does not answer ----------------------------------------------------------------
printf 'redial-cap = 500ms\nretries = 2\nnetwork-poll = 200ms\nevent-history = 100\n' >"$world/a/config"
serve a --connect 127.0.0.1:1 --no-remembered
# The other device, gone above, may have been found unreachable too.
gone() { on a events peer.unreachable --json | grep -c '"text":"127.0.0.1:1"'; }
check "told once" until_true 10 eval '[ "$(gone)" -gt 0 ]'
sleep 1
check "told once only" equal "$(gone)" 1
stop "$daemon"

# --- the ring ---------------------------------------------------------------------------------------
for i in $(seq 60); do printf '{"id":"d%s"}\n' "$i"; done | on a import - --collection t -q
check "what is no longer kept is refused" fails 1 "no longer kept" on a events --since 1
check "a hundred are kept" equal "$(on a events --json | wc -l)" 100
printf 'event-history = 7\n' >"$world/a/config"
check "a bad setting" fails 1 "whole number from 100" on a events
report
