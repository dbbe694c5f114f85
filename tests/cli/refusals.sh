#!/usr/bin/env bash
# What the past does not hold, and what cannot be done with it: each with the one line that it is answered with.
. "$(dirname "$0")/lib.sh"

on a init --name laptop --space home -q
serve a
pair a b "$address"
stop "$daemon"
last() { on a log "$1" --limit 1 --json | sed 's/.*"change":"\([0-9a-f]*\)".*/\1/'; }
on a set t/x a:=1 l:='[1]' -q
meet
on a set t/x a:=2 -q
on b set t/x a:=3 -q
meet
change=$(last t/x)
base=$(on a resolve t/x /a --rule max --dry-run --json | sed 's/.*"base":"\([0-9a-f]*\)".*/\1/')
on a resolve t/x /a --rule max -q
on a set t/y a:=1 -q
on a delete t/y -q
on a set t/gone a:=1 -q
on a set t/m a:=1 -q
meet
on a set t/m a:=2 -q
on b set t/m a:=3 -q
on a strategy t /a manual -q
meet
none=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff

# Exit code, what is said (behind "weft: "), the command.
cases=$(
  cat <<END
3|no change $none: see weft log|show $none
3|no change $none: see weft log|revert $none
3|no change $none: see weft log|redo $none
3|no change $none: see weft log|get t/x --at $none
3|no change $none: see weft log|diff t/x $none
3|no change $none: see weft log|restore t/x $none
3|no change $none: see weft log|tag t/x v1 $none
3|no change $none: see weft log|resolve t/m /a --keep $none
2|change 0011: give at least 8 digits, and enough to fit one only|show 0011
3|no change xyz: an id is made of hex digits|show xyz
3|no change 00112233x: an id is made of hex digits|show 00112233x
2|change ${none}0: give at least 8 digits, and enough to fit one only|show ${none}0
2|change 0011223: give at least 8 digits, and enough to fit one only|show 0011223
3|nonsense: no such change or tag, and no time such as 2026-01-31T12:00:00Z: see weft log and weft tag|get t/x --at nonsense
3|nonsense: no such change or tag, and no time such as 2026-01-31T12:00:00Z: see weft log and weft tag|diff t/x nonsense
3|nonsense: no such change or tag, and no time such as 2026-01-31T12:00:00Z: see weft log and weft tag|restore t/x nonsense
3|1999-12-31: nothing was written to t/x before that|get t/x --at 1999-12-31
3|1999-12-31: nothing was written to t/x before that|diff t/x 1999-12-31
3|1999-12-31: nothing was written to t/x before that|restore t/x --at 1999-12-31
3|t/x has no tag v9|tag t/x v9 --delete
2|1st is no name for a tag: up to 64 bytes without spaces and slashes, not "now", no digit first, not hex digits alone|tag t/x 1st
3|no document t/none: see weft list|get t/none
3|no document t/none: see weft list|get t/none --at now
3|no document t/none: see weft list|get t/none --at 2030-01-01
3|no document t/none: see weft list|diff t/none
3|no document t/none: see weft list|blame t/none
3|no document t/none: see weft list|restore t/none $change
3|no document t/none: see weft list|tag t/none v1
3|no document t/none: see weft list|log t/none
3|no document t/none: see weft list|conflicts t/none
3|no document t/none: see weft list|resolve t/none /a --rule max
3|no document t/none: see weft list|export t/none
3|no document t/none: see weft list|unset t/none a
3|t/x has nothing at /nowhere|unset t/x nowhere
3|t/x has nothing at /nowhere|get t/x /nowhere
3|t/x had nothing at /nowhere at $change|restore t/x $change /nowhere
3|no conflict at /nowhere of t/x: see weft conflicts|resolve t/x /nowhere --rule max
3|no conflict at /a of t/x: see weft conflicts|resolve t/x /a --rule max
3|no conflict at /a of t/x: see weft conflicts|resolve t/x /a --rule max --base $base
3|change $change is no part of this conflict: see weft conflicts|resolve t/m /a --keep $change
2|--rule best: newest, oldest, mine, max or min is wanted|resolve t/m /a --rule best
2|--rule best: newest, oldest, mine, max or min is wanted|resolve --all --rule best
2|resolve: one of --keep CHANGE, --value JSON, --rule R is wanted|resolve t/m /a
2|resolve: one of --keep CHANGE, --value JSON, --rule R is wanted|resolve t/m /a --rule max --value 1
2|resolve --all: --rule R is wanted|resolve --all --value 1
2|--base: not what resolve --dry-run printed|resolve t/m /a --rule max --base 00ff
1|t/m: stands in conflict: resolve it first: weft conflicts lists it, weft resolve settles it|set t/m a:=9
2|strategy best: lww, field or manual is wanted, or none|strategy t /a best
3|t has no strategy at "/b"|strategy t /b none
2|weft is no collection that can have a strategy|strategy weft lww
3|--by nobody: no such device; see weft members|log --by nobody
2|--since yesterday: a time such as 2026-01-31T12:00:00Z is wanted|log --since yesterday
2|--since yesterday: a time such as 2026-01-31T12:00:00Z is wanted|audit --since yesterday
2|--until yesterday: a time such as 2026-01-31T12:00:00Z is wanted|log --until yesterday
2|--cursor: it belongs to another query; start without it|log --cursor xyz
2|--cursor: it belongs to another query; start without it|list --cursor xyz
2|--limit 0: a whole number from 1 to 10000 is wanted|log --limit 0
2|a//b is not a document name: it is collection/name, of up to 255 bytes, without empty segments, . or ..|get a//b
3|draft none: there is no such draft: see weft draft|draft show none
3|draft none: there is no such draft: see weft draft|draft commit none
2|usage: weft digest|digest t/x
2|connect: bad is no address: HOST:PORT is wanted|serve --connect bad
3|no space foo on this device: it has home|status --space foo
2|unknown command snyc: did you mean sync?|snyc
2|this version has no weft revoke: nobody can be removed from a space: weft export, and weft import into a new one|revoke b
2|this version has no weft compact: history is kept whole|help compact
7|sync has reached nobody after 1 s (127.0.0.1:9: nobody answers there): what arrived is kept; try again, or --timeout longer|sync 127.0.0.1:9 --timeout 1s
1|192.0.2.77:7 is no address of this machine: choose another --listen, 0.0.0.0 for all|serve --listen 192.0.2.77:7
END
)
while IFS='|' read -r code says words <&3; do
  out=$(eval "on a $words" 2>"$world/stderr")
  got=$?
  check "$words: exit" equal "$got" "$code"
  check "$words: line" equal "$(cat "$world/stderr")" "weft: $says"
  check "$words: nothing else" equal "$out" ""
done 3<<<"$cases"

# Folders that are none, and what is accepted without effect.
touch "$world/file"
check "a file in place of a folder" fails 1 "$world/file: a file stands there, not a folder" "$weft" --dir "$world/file" init
check "a file above it" fails 1 "$world/file/x: a file stands there, not a folder" "$weft" --dir "$world/file/x" init
on a invite --role reader >"$world/ticket" 2>"$world/stderr"
check "a reader's ticket tells" equal "$(cat "$world/stderr")" "weft: this version does not enforce roles yet: a reader can write"
check "a ticket made without a daemon names no address" contains "$(on a invite --json)" '"addresses":[]'
check "a writer's ticket is quiet" equal "$(on a invite 2>&1 | wc -l)" 1

# A change by the first digits of its id, an odd number of them, too.
id=$(on a log --limit 1 --json | sed 's/.*"change":"\([0-9a-f]*\)".*/\1/')
doc=$(on a log --limit 1 --json | sed 's/.*"doc":"\([^"]*\)".*/\1/')
for count in 8 9 10 31 63 64; do
  check "$count digits" contains "$(on a show "${id:0:count}" --json)" "\"change\":\"$id\""
done
other=${id:0:8}$([ "${id:8:1}" = 0 ] && echo 1 || echo 0)
check "another ninth digit" fails 3 "no change $other: see weft log" on a show "$other"
check "9 digits name a version" equal "$(on a get "$doc" --at "${id:0:9}" --json)" "$(on a get "$doc" --at "$id" --json)"
check "another ninth digit is none" fails 3 "no change $other" on a get "$doc" --at "$other"

# A name that looks like another is none.
check "a hidden device name" fails 2 "--name: up to 64 bytes of text without control and invisible characters" on n init --name $'bob\xe2\x80\xae'
check "a hidden space name" fails 2 "--space: up to 64 bytes of text without control and invisible characters" on n init --name n --space $'ho\xe2\x80\x8bme'
check "nothing was made" [ ! -e "$world/n/identity" ]
check "a hidden name does not join" fails 2 "invisible" on n join "$(on a invite -q)" 127.0.0.1:9 --name $'\xef\xbb\xbfbob'

# Two spaces in one directory.
on c init --name c --space own -q
serve a
on c join "$(on a invite -q)" "$address" -q
stop "$daemon"
check "one of two spaces is to be named" fails 2 "this device holds 2 spaces: name one with --space: " on c status
check "the first is told" contains "$(cat "$world/stderr")" own
check "and the second" contains "$(cat "$world/stderr")" home

# A stale base: what was decided on has been settled here since, and stands in conflict anew.
on b set t/x a:=50 -q
on a set t/x a:=60 -q
meet
check "stale base: exit" equal "$(on a resolve t/x /a --rule max --base "$base" >/dev/null 2>"$world/stderr"; echo $?)" 1
check "stale base: line" equal "$(cat "$world/stderr")" "weft: t/x /a: changed here meanwhile; read it again, then write"
on a get t/gone --with-base --json >"$world/read"
stale=$(sed 's/.*"base":"\([0-9a-f]*\)".*/\1/' "$world/read")
on a set t/gone a:=2 -q
check "stale base of an editor" fails 1 "t/gone: changed here meanwhile" on a assign t/gone <(echo '{"a":5}') --base "$stale"
foreign=$(on b get t/x --with-base --json | sed 's/.*"base":"\([0-9a-f]*\)".*/\1/')
on b set t/x q:=1 -q
foreign=$(on b get t/x --with-base --json | sed 's/.*"base":"\([0-9a-f]*\)".*/\1/')
check "a base that is not here" fails 1 "--base names changes that are not shown here" on a assign t/x <(echo '{"a":5}') --base "$foreign"
report
