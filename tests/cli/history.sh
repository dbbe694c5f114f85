#!/usr/bin/env bash
# The past and its uses, two devices: diff, blame, tag, restore, revert, resolve by rule, strategy,
# audit; and every way to ask for what is not there.
here=$(realpath "$(dirname "$0")")
. "$here/lib.sh"
python=
for p in python3 /usr/bin/python3; do
  if "$p" -c 'import nacl' 2>/dev/null; then python=$p; break; fi
done
last() { on "$1" log "$2" --limit 1 --json | sed 's/.*"change":"\([0-9a-f]*\)".*/\1/'; }

on a init --name laptop --space home -q
serve a
pair a b "$address"
stop "$daemon"

# --- diff, blame ----------------------------------------------------------------------------------
on a set t/one x:=1 l:='[1,2,3]' o:='{"k":"v"}' -q
first=$(last a t/one)
check "diff of the first" contains "$(on a diff t/one --json)" '"changes":[{"after":{"l":[1,2,3]'
on a set t/one x:=2 /l/0:=9 -q
on a unset t/one o -q
check "diff: what the last change made" equal "$(on a diff t/one --json)" \
  '{"changes":[{"before":{"k":"v"},"path":"/o"}],"doc":"t/one","relation":"before"}'
check "diff of a change against now" equal "$(on a diff t/one "$first" --json)" \
  '{"changes":[{"before":{"k":"v"},"path":"/o"},{"after":2,"before":1,"path":"/x"},{"after":9,"before":1,"path":"/l/0"}],"doc":"t/one","relation":"before"}'
check "diff back" contains "$(on a diff t/one now "$first" --json)" '"relation":"after"'
check "people are told as well" contains "$(on a diff t/one now "$first")" "(the first version is the later one)"
check "diff of one with itself" equal "$(on a diff t/one "$first" "$first" --json)" \
  '{"changes":[],"doc":"t/one","relation":"equal"}'
check "patch" equal "$(on a diff t/one "$first" --patch --json)" \
  '[{"op":"remove","path":"/o"},{"op":"replace","path":"/x","value":2},{"op":"replace","path":"/l/0","value":9}]'
check "diff for people" contains "$(on a diff t/one "$first")" "~ /x  1 -> 2"
check "diff --at" equal "$(on a diff t/one --at "$first" --json)" "$(on a diff t/one "$first" now --json)"
check "diff of two versions and --at" fails 2 "at most" on a diff t/one --at "$first" now now
check "blame" equal "$(on a blame t/one --json | sed 's/.*"name":"\([^"]*\)","path":"\([^"]*\)".*/\1 \2/' | tr '\n' ' ')" \
  "laptop /l/0 laptop /l/1 laptop /l/2 laptop /x "
check "blame names the change" contains "$(on a blame t/one --json | grep '/l/1')" "\"change\":\"$first\""
check "blame of all" equal "$(on a blame t/one --all --json | wc -l)" 6

# --- tags -----------------------------------------------------------------------------------------
check "no tag yet" equal "$(on a tag t/one --json)" '{"doc":"t/one","tags":[]}'
on a tag t/one begun "$first" -q
on a tag t/one v2 -q
check "tags" contains "$(on a tag t/one --json)" "{\"changes\":[\"$first\"],\"name\":\"begun\"}"
check "get --at a tag" equal "$(on a get t/one --at begun --json)" '{"l":[1,2,3],"o":{"k":"v"},"x":1}'
names() { on a "$@" --json | grep -o '"doc":"[^"]*"' | tr '\n' ' '; }
check "tags are no documents of a list" equal "$(names list)" '"doc":"t/one" '
check "nor of a condition" equal "$(on a list --where 'begun~a' --json)" '{"items":[],"next":null}'
check "nor of an export" equal "$(names export)" '"doc":"t/one" '
check "nor counted" contains "$(on a status --json)" '"docs":1'
check "unless asked for" equal "$(names list --all)" '"doc":"t/one" "doc":"weft/tags/t/one" '
check "by the collection's name" equal "$(names list weft)" '"doc":"weft/tags/t/one" '
check "in an export of all" equal "$(names export --all)" '"doc":"t/one" "doc":"weft/tags/t/one" '
check "in one of the collection" equal "$(names export --collection weft)" '"doc":"weft/tags/t/one" '
check "export of all of one" fails 2 "either --collection or --all" on a export --all --collection t
check "export says what it leaves out" contains "$(on a help export)" "but those of the collection weft"
on a set t/one x:=5 -q
check "get --at the other" equal "$(on a get t/one /x --at v2 --json)" 2
check "diff of tags" contains "$(on a diff t/one begun v2 --json)" '"relation":"before"'
check "bad name" fails 2 "no name for a tag" on a tag t/one 12
check "tag of an unknown change" fails 3 "no change" on a tag t/one x 00112233
check "tag of no document" fails 3 "no document" on a tag t/none x
on a tag t/one gone -q
check "dropped" equal "$(on a tag t/one gone --delete -q; on a get t/one --at gone 2>&1 | grep -c 'no such change or tag')" 1
check "dropped twice" fails 3 "no tag gone" on a tag t/one gone --delete
meet
check "tags travel" equal "$(on b get t/one /x --at v2 --json)" 2

# --- pages, filters, who ----------------------------------------------------------------------------
ids() { sed 's/.*"change":"\([0-9a-f]*\)".*/\1/'; }
all=$(on a log t/one --json | ids)
page=$(on a log t/one --limit 2 --json)
cursor=$(printf '%s' "$page" | sed -n 's/.*"next":"\([^"]*\)".*/\1/p')
rest=$(on a log t/one --limit 100 --cursor "$cursor" --json)
check "pages follow each other" equal "$(printf '%s\n%s\n' "$page" "$rest" | ids)" "$all"
check "the last page has no next" equal "$(printf '%s' "$rest" | grep -c '"next"')" 0
check "people are told how to go on" contains "$(on a log t/one --limit 1 2>&1)" "more: --cursor "
check "a cursor of another query" fails 2 "--cursor: it belongs to another query" on a log --cursor "$cursor"
at=$(on a log t/one --json | sed -n '2s/.*"time":"\([^"]*\)".*/\1/p')
check "until a time" equal "$(on a log t/one --until "$at" --json | ids)" "$(printf '%s\n' "$all" | tail -n +2)"
check "since and until" equal "$(on a log t/one --since "$at" --until "$at" --json | ids)" "$(printf '%s\n' "$all" | sed -n 2p)"
on b set t/one who=b -q
meet
check "by device" equal "$(on a log t/one --by b --json | wc -l)" 1
check "of a path" equal "$(on a log t/one /who --json | wc -l)$(on a log t/one /l --json | wc -l)" 22
check "contributors, the busiest first" contains "$(on a list t --fields @contributors,@versions,@by --json)" '"@by":"b","@contributors":["laptop","b"],"@versions":5,"doc":"t/one"'
on a set t/solo x:=1 -q
check "sorted by how many" equal "$(on a list t --sort -@contributors --fields @contributors --json | grep -o '"doc":"[^"]*"' | tr '\n' ' ')" '"doc":"t/one" "doc":"t/solo" '
check "sorted by versions" equal "$(on a list t --sort @versions --json | grep -o '"doc":"[^"]*"' | tr '\n' ' ')" '"doc":"t/solo" "doc":"t/one" '
on a delete t/solo -q
check "the deleted are listed" equal "$(on a list --deleted --json | grep -o '"doc":"[^"]*"')" '"doc":"t/solo"'
check "and come back" equal "$(on a undelete t/solo -q; on a get t/solo --json)" '{"x":1}'
on a unset t/one who -q

# --- restore --------------------------------------------------------------------------------------
out=$(on a restore t/one begun -m "as it began" --json)
check "restore answers" contains "$out" '"change":"'
check "it says from where" contains "$(on a log t/one --limit 1 --json)" "\"restored_from\":\"$first\""
check "restore" equal "$(on a get t/one --json)" '{"l":[1,2,3],"o":{"k":"v"},"x":1}'
check "restore of what is so" contains "$(on a restore t/one begun --json)" '"change":null'
check "restore a part" equal "$(on a restore t/one v2 /x -q; on a get t/one --json)" '{"l":[1,2,3],"o":{"k":"v"},"x":2}'
on a delete t/one -q
check "a deleted document comes back" equal "$(on a restore t/one begun -q; on a get t/one --json)" '{"l":[1,2,3],"o":{"k":"v"},"x":1}'
now=$(date -u +%Y-%m-%dT%H:%M:%S.999Z)
on a set t/one x:=7 -q
check "restore by time" contains "$(on a restore t/one --at 2099-01-01 --json)" '"change":null'
check "restore --at and a pointer" contains "$(on a restore t/one --at "$now" /x --json)" '"ops":'
check "no version" fails 2 "which version" on a restore t/one
check "before the beginning" fails 3 "nothing was written to t/one before that" on a restore t/one 1999-12-31
check "get before the beginning" fails 3 "nothing was written to t/one before that" on a get t/one --at 1999-12-31
check "diff before the beginning" fails 3 "nothing was written to t/one before that" on a diff t/one 1999-12-31
check "nothing stood there" fails 3 "had nothing" on a restore t/one begun /none
check "unknown version" fails 3 "no such change or tag" on a restore t/one nonsense
check "unknown change" fails 3 "no change 0011223344" on a restore t/one 0011223344
check "not there then" fails 3 "was not there" on a restore weft/tags/t/one "$first"
check "unknown document" fails 3 "no document" on a diff t/none
check "blame of no document" fails 3 "no document" on a blame t/none

# --- revert ---------------------------------------------------------------------------------------
on a set t/two a:=1 b:=1 -q
on a set t/two a:=2 b:=2 n:='{"x":1}' -q
change=$(last a t/two)
out=$(on a revert "$change" --json)
check "revert" equal "$(on a get t/two --json)" '{"a":1,"b":1}'
check "it says what" contains "$(on a log t/two --limit 1 --json)" "\"reverts\":\"$change\""
check "people are told" contains "$(on a log t/two --limit 1 2>/dev/null)" "(reverts ${change:0:12})"
check "revert tells" contains "$out" '"outcome":"reverted"'
on a revert "$(last a t/two)" -q
check "revert of the revert" equal "$(on a get t/two --json)" '{"a":2,"b":2,"n":{"x":1}}'
change=$(last a t/two)
on a set t/two b:=3 -q
since=$(last a t/two)
out=$(on a revert "$change" --json 2>"$world/stderr")
check "partly: exit" equal "$?" 8
check "partly: says what" contains "$out" "\"by\":\"$since\",\"doc\":\"t/two\",\"outcome\":\"changed\",\"path\":\"/b\""
check "partly: says so" contains "$(cat stderr)" "left alone"
check "partly: the rest" equal "$(on a get t/two --json)" '{"a":1,"b":3}'
check "revert of nothing" fails 3 "no change" on a revert 00112233
start=$(on a audit --json | grep '"kind":"start"' | head -1 | sed 's/.*"change":"\([0-9a-f]*\)".*/\1/')
check "revert of a start" fails 1 "wrote nothing" on a revert "$start"
check "redo of what is shown" fails 1 "nothing to redo" on a redo "$change"
check "redo of nothing" fails 3 "no change" on a redo 00112233

# --- resolve by rule ------------------------------------------------------------------------------
conflict() { # both set t/three x, a first
  meet
  on a set t/three x:="$1" -q
  on b set t/three x:="$2" -q
  meet
}
conflict 5 3
check "one conflict" equal "$(on a conflicts --json | wc -l)" 1
check "with its strategy" contains "$(on a conflicts --json)" '"strategy":"field"'
out=$(on a resolve t/three /x --rule max --dry-run --json)
check "dry run tells" contains "$out" '"value":5'
check "dry run writes nothing" equal "$(on a conflicts --json | wc -l)" 1
check "all, dry" contains "$(on a resolve --all --rule min --dry-run --json)" '"value":3'
check "unknown rule" fails 2 "newest, oldest, mine" on a resolve t/three /x --rule best
check "rule and value" fails 2 "one of --keep" on a resolve t/three /x --rule max --value 1
check "all without a rule" fails 2 "--rule" on a resolve --all --value 1
check "all of nothing" fails 3 "no document" on a resolve --all --rule max t/none
base=$(printf '%s' "$out" | sed 's/.*"base":"\([0-9a-f]*\)".*/\1/')
check "bad base" fails 2 "--base" on a resolve t/three /x --rule max --base 00ff00
on b set t/three x:=8 -q # b resolves it in its own way meanwhile
on b set t/three y:=1 -q
on a resolve t/three /x --rule max --base "$base" -q
check "it says which" contains "$(on a log t/three --limit 1 --json)" '"resolves":["'
check "resolved" equal "$(on a get t/three /x --json)" 5
check "no longer a conflict" fails 3 "no conflict at" on a resolve t/three /x --rule max
meet
check "what was not seen is a conflict" equal "$(on a conflicts t/three --json | wc -l)" 1
check "stale base" fails 1 "changed here meanwhile" on a resolve t/three /x --rule max --base "$base"
check "all" contains "$(on a resolve --all --rule newest --json)" '"resolved":1'
check "none left" equal "$(on a conflicts --json)" ""
conflict 1 2
check "mine" equal "$(on b resolve t/three /x --rule mine -q; on b get t/three /x --json)" 2
conflict 11 12
check "oldest" equal "$(on b resolve t/three /x --rule oldest -q; on b get t/three /x --json)" 11
meet

# A conflict within a conflict: the upper one decides, and what it leaves is looked at again.
serve a --listen "$address"
pair a c "$address"
on a set t/four o:='{"k":1}' -q
on b sync "$address" -q
on c sync "$address" -q
on a set t/four /o/k:=2 -q
on b set t/four /o/k:=3 -q
on c set t/four o:=7 -q
on b sync "$address" -q
on c sync "$address" -q
check "two conflicts" equal "$(on a conflicts t/four --json | wc -l)" 2
check "dry: the upper one" equal "$(on a resolve --all t/four --rule oldest --dry-run)" 't/four /o  {"k":3}'
on a resolve --all t/four --rule oldest -q
check "none within" equal "$(on a conflicts t/four --json)$(on a get t/four --json)" '{"o":{"k":3}}'
stop "$daemon"

# --- strategies -----------------------------------------------------------------------------------
check "no rules" equal "$(on a strategy --json)" '{"items":[]}'
conflict 10 20
on a strategy t lww -q
check "lww: nothing is listed" equal "$(on a conflicts --json)" ""
check "lww: nor counted" contains "$(on a status --json)" '"conflicts":0'
check "lww: status is content" [ "$(on a status --check >/dev/null 2>&1; echo $?)" = 0 ]
on a strategy t /x manual -q
check "manual counts" contains "$(on a status --json)" '"unresolved":1'
check "status minds" [ "$(on a status --check >/dev/null 2>&1; echo $?)" = 6 ]
check "manual refuses a write" fails 1 "weft resolve settles it" on a set t/three x:=1
check "manual refuses an import" fails 1 "conflict" on a import <(echo '{"doc":"t/three","value":{"x":9}}')
check "and leaves the rest alone" equal "$(on a set t/three y:=2 -q; on a get t/three /y --json)" 2
check "rules, strongest first" equal "$(on a strategy --json)" \
  '{"items":[{"collection":"t","pattern":"/x","strategy":"manual"},{"collection":"t","pattern":"","strategy":"lww"}]}'
check "rules of one" equal "$(on a strategy u --json)" '{"items":[]}'
meet
check "rules travel" fails 1 "conflict" on b set t/three x:=1
check "resolve is the way" equal "$(on b resolve t/three /x --rule max -q; on b set t/three x:=1 -q; on b get t/three /x --json)" 1
check "drop" equal "$(on a strategy t /x none -q; on a strategy --json)" \
  '{"items":[{"collection":"t","pattern":"","strategy":"lww"}]}'
check "drop twice" fails 3 "no strategy" on a strategy t /x none
check "unknown strategy" fails 2 "lww, field or manual" on a strategy t /x best
check "reserved" fails 2 "no collection" on a strategy weft lww
meet

# --- audit ----------------------------------------------------------------------------------------
check "audit has every change" equal "$(on a audit --json | grep -c '"kind":"change"')" "$(on a log --limit 10000 --json | wc -l)"
check "audit: all valid" equal "$(on a audit --json | grep -vc '"signature":"valid"')" 0
check "audit: since" equal "$(on a audit --since 2099-01-01 --json | grep -c '"kind":"change"')" 0
check "audit: bad time" fails 2 "a time such as" on a audit --since yesterday
check "audit: raw and since" fails 2 "without --since" on a audit --raw --since 2020-01-01
if [ -n "$python" ]; then
  verify="$python $here/../../docs/examples/verify_log.py"
  on a audit --raw --json >log.jsonl
  check "the log verifies without weft" contains "$($verify log.jsonl)" "verified: 3 records, 3 logs"
  sed '5s/"raw":"\(......................\)./"raw":"\1f/' log.jsonl >bent.jsonl
  cmp -s log.jsonl bent.jsonl && sed '5s/"raw":"\(......................\)./"raw":"\10/' log.jsonl >bent.jsonl
  check "a bent byte is found" contains "$($verify bent.jsonl)" "NOT VERIFIED"
  sed 5d log.jsonl >short.jsonl
  check "a missing change is found" contains "$($verify short.jsonl)" "NOT VERIFIED"
  sed 2d log.jsonl >stranger.jsonl
  check "a device nobody admitted is found" contains "$($verify stranger.jsonl)" "NOT VERIFIED"
  sed '/"seq":1,/s/"sig":"[0-9a-f]*"/"sig":"00"/; /"seq":2,/s/"sig":"[0-9a-f][0-9a-f]/"sig":"55/' log.jsonl >forged.jsonl
  check "a forged signature is found" contains "$($verify forged.jsonl)" "NOT VERIFIED"
else
  echo "skipped: python3-nacl is not there, so the export is not verified by itself"
fi
check "verify a" contains "$(on a verify --json)" '"ok":true'
check "verify tells its rate" contains "$(on a verify)" "changes_per_second: "
check "verify b" contains "$(on b verify --json)" '"ok":true'
check "digests" equal "$(on a digest --json)" "$(on b digest --json)"
report
