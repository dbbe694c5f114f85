#!/usr/bin/env bash
# A disk that fills up while a backlog comes in: it is told, what is here is read and served, and it goes on when
# there is room.  The disk is a small one in memory, where this may be mounted.
. "$(dirname "$0")/lib.sh"

mkdir -m 700 b
if ! mount -t tmpfs -o size=6m tmpfs "$world/b" 2>/dev/null; then
  echo "skipped: nothing may be mounted here"
  exit 77
fi
unmount() {
  for pid in $daemons; do kill "$pid" 2>/dev/null; done
  for pid in $daemons; do wait "$pid" 2>/dev/null; done
  umount "$world/b"
  finish
}
trap unmount EXIT
on a init --name alice --space s -q
seq 40000 | sed 's/.*/{"id":"d&","text":"some longer text","n":[1,2,3,4]}/' >many.jsonl
printf '{"id":"own","text":"%s"}\n' "$(head -c 200000 /dev/zero | tr '\0' x)" >big.json
on a import many.jsonl --collection c -q
serve a
pair a b "$address"
a_address=$address
serve b --connect "$a_address"
check "the daemon tells" until_true 60 grep -q "the disk is full: nothing new" b.err
check "status tells" contains "$(on b status --json)" '"disk_full":true'
check "and of which space" contains "$(on b status --json)" '"space":"s"'
check "reads go on" contains "$(on b list c --limit 1 --json)" '"c/d'
check "writes say why" fails 1 "storage is full; free some space" on b import big.json --collection c
check "sync says why" fails 1 "the disk is full: free some space" on b sync "$a_address" --timeout 20s
mount -o remount,size=200m "$world/b"
check "it goes on" until_true 60 grep -q "there is room again" b.err
check "and gets all" until_true 60 eval '[ "$(value "$(on b status --json)" docs)" = 40000 ]'
check "nothing is lost" equal "$(on b digest --json)" "$(on a digest --json)"
check "status is well again" contains "$(on b status --json)" '"disk_full":false'
check "verify" contains "$(on b verify --json)" '"ok":true'
report
