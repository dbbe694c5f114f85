#!/usr/bin/env bash
# Drafts: written into, previewed, committed, dropped; what they would do to others' writes; kept through kill -9.
. "$(dirname "$0")/lib.sh"

on a init --name laptop --space home -q
serve a
pair a b "$address"
stop "$daemon"
on a set t/x a:=1 b:='{"k":[1,2]}' -q
meet

# --- one device -------------------------------------------------------------------------------------
check "no drafts" equal "$(on a draft --json)" '{"items":[]}'
check "a write into a draft" equal "$(on a set t/x a:=2 --draft plan -m "heavier" --json)" '{"draft":"plan"}'
on a set t/x /b/k/-:=3 --draft plan -q
on a unset t/x /b/k/0 --draft plan -q
check "nothing is shown of it" equal "$(on a get t/x --json)" '{"a":1,"b":{"k":[1,2]}}'
check "but in the draft" equal "$(on a get t/x --draft plan --json)" '{"a":2,"b":{"k":[2,3]}}'
check "a part of it" equal "$(on a get t/x /b/k/1 --draft plan)" 3
check "nothing there" fails 3 "t/x has nothing at /c" on a get t/x /c --draft plan
check "no such draft" fails 3 "draft none: there is no such draft" on a get t/x --draft none
check "a version of a draft" fails 2 "either --at or --draft" on a get t/x --draft plan --at now
list=$(on a draft --json)
check "it is listed" contains "$list" '"draft":"plan","message":"heavier","ops":3,"refusal":null'
# However busy the machine is: seconds, a minute at most.
check "with its age" [ "$(printf '%s' "$list" | grep -cE '"age_seconds":[0-5]?[0-9],"begun":"2')" = 1 ]
check "and for people" [ "$(on a draft | grep -cE 'plan  3 written, [0-5]?[0-9]s old: t/x  heavier')" = 1 ]
check "log says nothing" equal "$(on a log t/x --json | wc -l)" 1
check "shown" contains "$(on a draft show plan --json)" '"documents":[{"doc":"t/x","value":{"a":2,"b":{"k":[2,3]}}}]'
check "commit" contains "$(on a draft commit plan --json)" '"ops":3'
check "one change, with the draft's message" contains "$(on a log t/x --limit 1 --json)" '"message":"heavier"'
check "it stands" equal "$(on a get t/x --json)" '{"a":2,"b":{"k":[2,3]}}'
check "the draft is gone" equal "$(on a draft --json)" '{"items":[]}'
check "a commit can be taken back" equal "$(on a revert "$(on a log t/x --limit 1 --json | sed 's/.*"change":"\([0-9a-f]*\)".*/\1/')" -q; on a get t/x --json)" '{"a":1,"b":{"k":[1,2]}}'
on a draft open empty -q
check "an empty one commits nothing" equal "$(on a draft commit empty --json)" '{"change":null,"log":null,"ops":0,"seq":null}'
on a delete t/x --draft gone -q
check "a deletion" contains "$(on a draft show gone --json)" '"documents":[{"deleted":true,"doc":"t/x"}]'
check "deleted in it" fails 3 "no document t/x in draft gone" on a get t/x --draft gone
check "dropped" equal "$(on a draft drop gone --json)" '{"dropped":"gone"}'
check "dropped twice" fails 3 "draft gone: there is no such draft" on a draft drop gone
check "an editor" equal "$(EDITOR='sed -i s/1/100/' on a edit t/x --draft ed --json; on a get t/x /a --draft ed)" $'{"draft":"ed"}\n100'
check "again, on what the draft has" equal "$(EDITOR='sed -i s/100/200/' on a edit t/x --draft ed -q; on a get t/x /a --draft ed)" 200
on a draft drop ed -q
check "bad name" fails 2 "no name for a draft" on a set t/x a:=1 --draft "a b"
check "no name" fails 2 "the name of a draft is wanted" on a draft show
check "no such verb" fails 2 "open, show, commit or drop" on a draft sing plan

# --- others write meanwhile -------------------------------------------------------------------------
on a set t/x a:=10 --draft mine -q
on b set t/x a:=20 c:=1 -q
meet
show=$(on a draft show mine --json)
check "a conflict is foreseen" contains "$show" '"conflicts":[{"doc":"t/x","kind":"value","path":"/a"'
check "its own side has no change yet" contains "$show" '{"change":null,'
check "what would be shown, with theirs" contains "$show" '"value":{"a":10,"b":{"k":[1,2]},"c":1}'
check "people are told" contains "$(on a draft show mine)" "10  by laptop  in this draft"
check "in the list" contains "$(on a draft)" "would conflict at 1 places"
on a draft commit mine -q
check "and so it comes" equal "$(on a conflicts --json | wc -l)$(on a get t/x /a)" 110
meet
check "everywhere" equal "$(on b get t/x --json)" '{"a":10,"b":{"k":[1,2]},"c":1}'

# --- refused: the draft stays -----------------------------------------------------------------------
on a strategy t manual -q
on a set t/x a:=30 --draft later -q
check "refused by the strategy" fails 1 "stands in conflict, so it stays a draft" on a draft commit later
check "it says so" contains "$(on a draft --json)" '"refusal":"stands in conflict under the strategy manual"'
on a resolve t/x /a --rule max -q
check "what it rests on is old now" fails 1 "changed here meanwhile, so it stays a draft" on a draft commit later
check "and is still there" equal "$(on a get t/x /a --draft later)" 30
on a draft drop later -q
# A rule that comes after a commit refuses nothing that is done: it stands, listed, until it is settled or taken back.
on a strategy t none -q
meet
on a set t/x a:=41 --draft early -q
on a draft commit early -q
on b set t/x a:=42 -q
on b strategy t manual -q
meet
check "visible" contains "$(on a conflicts --json)" '"strategy":"manual"'
check "and counted" contains "$(on a status --json)" '"unresolved":1'
on a resolve t/x /a --value 43 -q
check "settled" equal "$(on a conflicts --json)$(on a get t/x /a)" 43
on a strategy t none -q

# --- kill -9 ----------------------------------------------------------------------------------------
serve a
on a set t/x a:=5 --draft kept -m "before the crash" -q
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
check "a draft outlives its daemon" equal "$(on a get t/x /a --draft kept)" 5
check "with what was said" contains "$(on a draft --json)" '"message":"before the crash"'
check "and its base" equal "$(on b set t/x z:=1 -q; meet; on a draft commit kept -q; on a get t/x --json)" '{"a":5,"b":{"k":[1,2]},"c":1,"z":1}'
lost=0 torn=0
for i in 1 2 3 4 5 6 7 8; do
  rm -f "$world/acknowledged" "$world/enough"
  serve a
  (
    n=0
    while [ ! -e "$world/enough" ] && on a set t/k n:=$n twin:=$n --draft race -q 2>/dev/null; do
      echo $n >"$world/acknowledged"
      n=$((n + 1))
    done
  ) &
  writer=$!
  sleep 0.$i
  kill -9 "$daemon"
  wait "$daemon" 2>/dev/null
  touch "$world/enough" # what is being written ends by itself: it may hold the store by now
  wait "$writer"
  got=$(on a get t/k --draft race --json 2>/dev/null)
  n=${got#*\"n\":} n=${n%%,*}
  [ -n "$got" ] || [ -e "$world/acknowledged" ] || continue # the first write was not answered
  last=$(cat "$world/acknowledged" 2>/dev/null || echo 0)
  [ "${n:-0}" -ge "$last" ] 2>/dev/null || lost=$((lost + 1))
  [ "$got" = "{\"n\":$n,\"twin\":$n}" ] || torn=$((torn + 1))
  on a draft drop race -q
done
check "what was acknowledged is there" equal "$lost" 0
check "whole" equal "$torn" 0
check "verify" contains "$(on a verify --json)" '"ok":true'
report
