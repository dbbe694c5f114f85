#!/usr/bin/env bash
# Three processes in a chain A-B-C: A and C never connect; B is killed in the middle of a sync and starts again; with
# live push and without it.
. "$(dirname "$0")/lib.sh"
docs=${WEFT_CHAIN_DOCS:-40000}

# The "name" of every peer that has ever been seen connected by device $1, gathered by watch.
watch() { on "$1" peers --json | sed 's/},{/}\n{/g' | grep '"connected":true' | sed 's/.*"name":"\([^"]*\)".*/\1/' >>"$world/$1.seen"; }
held() { value "$(on "$1" status --json)" changes_held; }
digest() { value "$(on "$1" digest --json)" digest; }

alike() { for name in a b c; do watch "$name"; done; [ "$(digest a)" = "$(digest b)" ] && [ "$(digest b)" = "$(digest c)" ]; }

on a init --name alice --space chain -q
awk -v n="$docs" 'BEGIN { for (i = 0; i < n; i++) printf "{\"id\":\"d%d\",\"n\":%d,\"s\":\"text %d\"}\n", i, i, i * 7919 % n }' >docs.jsonl
on a import docs.jsonl --collection c -q

# --- bob is killed in mid-sync ----------------------------------------------------------------------
serve a
a_pid=$daemon a_address=$address
carol_ticket=$(on a invite -q)
total=$(held a)
# Killed a little later each time, until some and not all of it has arrived; a new bob when all had.
killed=0 tries=0
while [ "$killed" -eq 0 ] && [ "$tries" -lt 8 ]; do
  tries=$((tries + 1))
  rm -rf b
  pair a b "$a_address"
  for delay in $(seq 2 200); do
    "$weft" --dir b serve --listen 127.0.0.1:0 --no-discovery --no-http -q --connect "$a_address" >serve.out 2>&1 &
    b_pid=$!
    sleep "$(printf '0.%03d' $((delay * 4 + tries)))"
    kill -9 "$b_pid"
    wait "$b_pid" 2>/dev/null
    now=$(held b)
    [ "${now:-0}" -eq 0 ] || break
  done
  [ "$now" -lt "$total" ] && killed=1
done
check "bob was killed in mid-sync" [ "$killed" -eq 1 ]
echo "killed while holding $now of $total changes, with bob number $tries"
check "bob's store is sound" contains "$(on b verify --json)" '"ok":true'

# --- the chain ------------------------------------------------------------------------------------
# carol joins through alice, and from then on only bob's address is known to her.
on c join "$carol_ticket" "$a_address" --name carol -q
for gossip in "" --no-gossip; do
  [ "$gossip" = "" ] || { stop "$b_pid"; stop "$c_pid"; }
  rm -f "$world"/*.seen
  # shellcheck disable=SC2086
  serve b --connect "$a_address" $gossip
  b_pid=$daemon b_address=$address
  if [ "$gossip" = "" ]; then printf 'anti-entropy = 1s\n' >"$world/c/config"; fi
  # carol's memory of alice's address from joining is what a chain must not use
  # shellcheck disable=SC2086
  serve c --connect "$b_address" --no-remembered $gossip
  c_pid=$daemon
  check "chain converges ${gossip:-with live push}" until_true 60 alike
  on a set c/d1 from=alice -q
  on c set c/d2 from=carol -q
  check "edits cross the chain ${gossip:-with live push}" until_true 60 alike
  check "alice has carol's" equal "$(on a get c/d2 from --json)" '"carol"'
  check "carol has alice's" equal "$(on c get c/d1 from --json)" '"alice"'
  check "alice and carol never connected" equal "$(grep -c carol "$world/a.seen")$(grep -c alice "$world/c.seen")" 00
  check "bob is between them" [ "$(sort -u "$world/b.seen" | tr '\n' ' ')" = "alice carol " ]
done
check "members by name" equal "$(on c members | cut -d ' ' -f 1 | uniq | tr '\n' ' ')" "alice b carol "
for name in a b c; do check "verify $name" contains "$(on "$name" verify --json)" '"ok":true'; done
report
