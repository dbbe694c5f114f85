#!/usr/bin/env bash
# One device: documents, lists, history, errors.
. "$(dirname "$0")/lib.sh"

# --- before there is a device ---------------------------------------------------------------------
check "no device" fails 1 "not a device yet" on a get t/x
check "unknown command" fails 2 "did you mean status" on a stat
check "unknown option" fails 2 "did you mean" on a list --limti 3
check "no command" [ "$(on a >/dev/null 2>&1; echo $?)" = 2 ]
check "help" contains "$(on a help set)" "FIELD:=JSON"
check "version" contains "$(on a version --json)" '"version":'
check "bad ticket creates nothing" fails 4 "ticket" on new join weft1notaticket 127.0.0.1:1
check "bad ticket created nothing" [ ! -e "$world/new" ]
check "man page" contains "$(on a help --man)" ".TH WEFT 1"
for shell in bash zsh fish; do check "completion $shell" contains "$(on a completion $shell)" weft; done
check "completion sh" fails 2 "bash, zsh or fish" on a completion sh

# --- init -----------------------------------------------------------------------------------------
out=$(on a init --name laptop --space home --json)
check "init tells device" contains "$out" '"name":"laptop"'
check "init tells space" contains "$out" '"space":"home"'
check "init twice" fails 1 "a device already" on a init
check "identity is private" equal "$(stat -c %a "$world/a/identity")" 600
check "folder is private" equal "$(stat -c %a "$world/a")" 700

# --- set, get, unset ------------------------------------------------------------------------------
out=$(on a set templates/leg-day title="Leg day" reps:=8 /meta/load:=1.5 tags:='["a","b"]' --json -m first)
check "set answers" contains "$out" '"change":"'
check "set counts seq" contains "$out" '"seq":'
check "get" equal "$(on a get templates/leg-day --json)" \
  '{"meta":{"load":1.5},"reps":8,"tags":["a","b"],"title":"Leg day"}'
check "get pointer" equal "$(on a get templates/leg-day /tags/1 --json)" '"b"'
check "append" [ "$(on a set templates/leg-day /tags/-=c -q; on a get templates/leg-day tags --json)" = '["a","b","c"]' ]
check "set what is so writes nothing" contains "$(on a set templates/leg-day reps:=8 --json)" '"change":null'
check "doubles keep a point" equal "$(on a set templates/leg-day w:=1.0 -q; on a get templates/leg-day /w --json)" 1.0
check "unset" equal "$(on a unset templates/leg-day w -q; on a get templates/leg-day --json)" \
  '{"meta":{"load":1.5},"reps":8,"tags":["a","b","c"],"title":"Leg day"}'
check "unset what is not there" fails 3 "w" on a unset templates/leg-day w
check "below a plain value" fails 1 "/title" on a set templates/leg-day /title/x=1
check "no field" fails 2 "FIELD" on a set templates/leg-day
check "not an assignment" fails 2 "FIELD=TEXT" on a set templates/leg-day oops
check "bad JSON" fails 2 "JSON" on a set templates/leg-day x:='{'
check "index past the end" fails 2 "" on a set templates/leg-day /tags/9=x
check "get nothing there" fails 3 "nothing at" on a get templates/leg-day /nope
check "get no document" fails 3 "no document" on a get templates/nope
for name in "" x /x x/ a//b a/../b a/. "a/ b" $'a/b\x01' "$(printf 'a/%0300d' 1)"; do
  check "document name '$name'" fails 2 "document name" on a set "$name" x=1
done
check "not UTF-8" fails 2 "document name" on a set $'a/\xff' x=1
check "value not UTF-8" fails 1 "UTF-8" on a set t/x x=$'\xff'
head -c 300000 /dev/zero | tr '\0' x >big
printf '{"id":"big","x":"%s"}' "$(cat big)" >big.json
check "value over the limit" fails 1 "" on a import big.json
check "value over the limit: and tells" contains "$(on a import big.json 2>&1)" "nothing was written"
check "priority" fails 2 "critical, high" on a set t/x x=1 --priority urgent
check "message in log" contains "$(on a log templates/leg-day --json)" '"message":"first"'

# --- new, delete, undelete ------------------------------------------------------------------------
name=$(on a new notes)
check "new" equal "$(on a get "$name" --json)" '{}'
check "new from input" equal "$(n=$(echo '{"z":1}' | on a new notes -) && on a get "$n" --json)" '{"z":1}'
check "delete" contains "$(on a delete "$name" --json)" '"count":1'
check "deleted is gone" fails 3 "no document" on a get "$name"
check "deleted is listed" contains "$(on a list --deleted --json)" "$name"
check "undelete" contains "$(on a undelete "$name" --json)" '"count":1'
check "undeleted is back" equal "$(on a get "$name" --json)" '{}'
check "delete what is not there" fails 3 "nothing was done" on a delete notes/nope
check "undelete the living" fails 3 "no deleted document" on a undelete "$name"
check "delete wants something" fails 2 "documents or --where" on a delete
check "delete where" contains "$(on a delete --where 'z=1' --json)" '"count":1'
check "write to the deleted" equal "$(on a delete "$name" -q; on a set "$name" again:=true -q; on a get "$name" --json)" '{"again":true}'

# --- import, list, export -------------------------------------------------------------------------
cat >in.json <<'J'
[{"id":"one","level":"easy","n":3,"s":"3","when":{"day":1}},
 {"id":"two","level":"hard","n":10,"x":null},
 {"id":"three","level":"easy","n":-1.5,"name":"Überkopf"}]
J
check "import" contains "$(on a import in.json --collection c --json)" '"created":3'
check "import again writes nothing" contains "$(on a import in.json --collection c --json)" '"fields_written":0,"unchanged":3'
check "import equals the file" equal "$(on a get c/one --json)" '{"id":"one","level":"easy","n":3,"s":"3","when":{"day":1}}'
echo '[{"id":"one","level":"easy","n":4}]' >in2.json
check "import removes what the file lacks" equal "$(on a import in2.json --collection c -q; on a get c/one --json)" '{"id":"one","level":"easy","n":4}'
on a import in.json --collection c -q
check "import --merge keeps" equal "$(on a import in2.json --collection c --merge -q; on a get c/one --json)" \
  '{"id":"one","level":"easy","n":4,"s":"3","when":{"day":1}}'
docs() { sed 's/},{/}\n{/g' | sed -n 's/.*"doc":"\([^"]*\)".*/\1/p' | tr '\n' ' '; }
check "list where" equal "$(on a list c --where level=easy --json | docs)" "c/one c/three "
check "list where and" equal "$(on a list c --where level=easy --where 'n>=0' --json | docs)" "c/one "
check "list where !=" equal "$(on a list c --where 'level!=easy' --json | docs)" "c/two "
check "explain by names" contains "$(on a list c --where level=easy --explain --json)" \
  '"plan":{"ordered":true,"probed":0,"read":3,"walk":"names","walked":3,"where":[{"by":"document","field":"/level"}]}'
check "index" equal "$(on a index c n)" "c /n"
check "index again" equal "$(on a index c n)" "c /n"
check "index of another field" contains "$(on a index c level --json)" '{"collection":"c","field":"/level"}'
check "explain" contains "$(on a list c --where level=easy --sort n --explain --json)" \
  '"plan":{"index":"/n","ordered":true,"probed":3,"read":0,"walk":"index","walked":3,"where":[{"by":"index","field":"/level"}]}'
check "explain for people" contains "$(on a list c --where 'n>=0' --where level=easy --explain)" "walk: index /level, in the order asked for
where /n: by document
where /level: by walk
looked at: 2, by other indexes: 0, documents read: 2"
check "index of everything" contains "$(on a index '*' @modified)" "* @modified"
check "index dropped" equal "$(on a index '*' @modified none; on a index c level none >/dev/null; on a index c n none)" "c /n
c /level"
check "index wants a field" fails 2 "the field is wanted" on a index c
check "index drops with none" fails 2 "only none can follow" on a index c n nothing
check "no index to drop" fails 3 "no index over" on a index c n none
check "no index over people" fails 2 "no field that can have an index" on a index c @contributors
check "list where contains" equal "$(on a list c --where 'name~KOPF' --json | docs)" "c/three "
check "list where pointer" equal "$(on a list c --where '/when/day=1' --json | docs)" "c/one "
check "list where text and number" equal "$(on a list c --where 's=3' --json | docs)" "c/one "
check "list sort" equal "$(on a list c --sort n --json | docs)" "c/three c/one c/two "
check "list sort down" equal "$(on a list c --sort -n --json | docs)" "c/two c/one c/three "
page=$(on a list c --sort n --limit 2 --json)
check "list page one" equal "$(echo "$page" | docs)" "c/three c/one "
check "list page two" equal "$(on a list c --sort n --limit 2 --cursor "$(value "$page" next)" --json | docs)" "c/two "
check "list foreign cursor" fails 2 "another query" on a list c --cursor "$(value "$page" next)"
check "list limit" fails 2 "1 to 10000" on a list --limit 0
check "list bad where" fails 2 "--where" on a list --where nothing
check "list metadata" contains "$(on a list c --fields @versions,@by --json)" '"@by":"laptop"'
check "export keys are sorted" equal "$(on a export c/two)" '{"doc":"c/two","value":{"id":"two","level":"hard","n":10,"x":null}}'
on a export >all.jsonl
check "export goes back in" contains "$(on a import all.jsonl --json)" '"fields_written":0'
check "import lines" contains "$(printf '{"id":"l1"}\n\n{"id":"l2"}\n' | on a import - --collection lines --json)" '"created":2'
check "import malformed line" fails 1 "line 2" on a import <(printf '{"id":"l3"}\n{oops\n') --collection lines
check "import wrote nothing" fails 3 "no document" on a get lines/l3
check "import not UTF-8" fails 1 "" on a import <(printf '{"id":"\xff"}')
check "import NUL" fails 1 "" on a import <(printf '{"id":"a\\u0000"}\0')
check "import too deep" fails 1 "" on a import <(printf '[%.0s' $(seq 5000))
check "import huge number" fails 1 "" on a import <(printf '[{"id":"n","v":123456789012345678901234567890}]')
check "import no id" fails 1 "--id" on a import <(printf '[{"name":"x"}]')
check "import empty" fails 1 "empty" on a import /dev/null
check "import no file" fails 1 "no file" on a import nofile.json

# --- edit -----------------------------------------------------------------------------------------
printf '#!/bin/sh\nsed -i s/hard/harder/ "$1"\n' >editor
chmod +x editor
check "edit" equal "$(EDITOR=$world/editor on a edit c/two -q; on a get c/two level --json)" '"harder"'
check "an interrupt is the editor's" equal "$(EDITOR='trap "" INT; kill -INT 0; sed -i s/harder/hardest/' setsid -w "$weft" --dir "$world/a" edit c/two -q; on a get c/two level --json)" '"hardest"'
check "edit nothing" contains "$(EDITOR=true on a edit c/two --json)" '"change":null'
check "edit broken" fails 1 "JSON" env EDITOR='echo {oops >' "$weft" --dir "$world/a" edit c/two
check "editor fails" fails 1 "nothing was written" env EDITOR=false "$weft" --dir "$world/a" edit c/two
rm -f /tmp/weft-edit-*
base=$(on a get c/two --with-base --json)
on a set c/two level=now -q
check "stale base" fails 1 "changed here meanwhile" on a assign c/two <(echo '{"id":"two","level":"then"}') --base "$(value "$base" base)"

# --- history --------------------------------------------------------------------------------------
log=$(on a log c/two --json)
check "log newest first" contains "$(echo "$log" | head -n 1)" '"now"'
first=$(echo "$log" | tail -n 1)
change=$(value "$first" change)
check "show" contains "$(on a show "$change" --json)" "$change"
check "show by prefix" contains "$(on a show "${change:0:12}" --json)" "$change"
check "show unknown" fails 3 "no change" on a show 00000000000000
check "get --at" equal "$(on a get c/two level --at "$change" --json)" '"hard"'
check "get --at time" fails 3 "" on a get c/two --at 2001-01-01T00:00:00Z
check "log of a path" equal "$(on a log c/two /level --json | wc -l)" "$(on a log c/two --json | wc -l)"
check "log by" equal "$(on a log --by laptop --limit 3 --json | wc -l)" 3
check "log by nobody" fails 3 "no such device" on a log --by nobody
check "log since the future" equal "$(on a log --since 2099-01-01 --json)" ""
check "log every change once" equal "$(on a log --limit 10000 --json | sed 's/.*"change":"\([^"]*\)".*/\1/' | sort | uniq -d)" ""

# --- trust ----------------------------------------------------------------------------------------
check "verify" contains "$(on a verify --json)" '"ok":true'
check "repair" contains "$(on a repair --json)" '"ok":true'
before=$(on a digest --json)
check "repair changes nothing" equal "$(on a digest --json)" "$before"
check "doctor" contains "$(on a doctor --json)" '"check":"verify","ok":true'
check "conflicts" equal "$(on a conflicts --json)" ""
check "status" contains "$(on a status --json)" '"state":"alone"'
check "status --check" [ "$(on a status --check >/dev/null; echo $?)" = 0 ]
check "id" contains "$(on a id --json)" '"fingerprint":'
check "id --qr" [ "$(on a id --qr | wc -l)" -gt 12 ]
check "a ticket that is good for nothing" fails 2 "--expires 0" on a invite --expires 0
check "members" contains "$(on a members --json)" '"role":"admin"'
check "connect needs the daemon" fails 5 "daemon" on a connect 127.0.0.1:1
on a set c/place 'steps:=[1,2]' n:=5 -q
check "a path that does not fit: an index" fails 2 '/steps/7 does not fit: its segment 2, "7", leads into /steps, where an array of 2 stands' on a get c/place /steps/7
check "a path that does not fit: a key" fails 2 '"x", leads into /steps, where an array of 2 stands' on a set c/place /steps/x:=1
check "a path that does not fit: through a value" fails 2 '"a", leads into /n, where a number stands' on a get c/place /n/a
check "sync knows no address" fails 1 "no address" on a sync
check "no space" fails 3 "no space" on a list --space nope

# --- several commands at a time -------------------------------------------------------------------
for i in $(seq 6); do { on a set many/d$i n:=$i -q && on a get many/d$i n || echo failed; } & done >many.out
wait
check "commands wait for each other" equal "$(sort -n many.out | tr '\n' ' ')" "1 2 3 4 5 6 "
check "what they wrote is sound" contains "$(on a verify --json)" '"ok":true'

# --- a full disk ------------------------------------------------------------------------------------
seq 20000 | sed 's/.*/{"id":"d&","text":"some longer text"}/' >full.jsonl
(
  failed=0
  ulimit -f "$(($(stat -c %s a/spaces/*/data.mdb) / 1024 + 100))"
  check "full: import" fails 1 "storage is full" on a import full.jsonl --collection full
  check "full: reads go on" equal "$(on a get c/two level --json)" '"now"'
  check "full: and lists" contains "$(on a list c --json)" '"c/two"'
  echo "$failed" >full.failed
)
failed=$((failed + $(cat full.failed)))
on full init -q
(ulimit -f 2600; on full import full.jsonl --json >partly 2>&1; echo "exit $?" >>partly)
check "full: part of an import is told" contains "$(cat partly)" "the other"
check "full: with its own code" contains "$(cat partly)" "exit 8"
check "full: as many as it says" contains "$(cat partly)" "the first $(on full export | wc -l) documents are imported"
check "full: then there is room again" contains "$(on a import full.jsonl --collection full --json)" '"documents":20000'
check "full: sound" contains "$(on a verify --json)" '"ok":true'

# --- damaged and foreign files --------------------------------------------------------------------
cp -r a b
chmod 644 b/identity
check "identity readable by others" fails 1 "chmod 600" on b list
cp a/identity b/identity
chmod 600 b/identity
printf 'garbage' >b/identity
check "identity is no weft file" fails 1 "not a weft file" on b list
cp a/identity b/identity
store=$(echo b/spaces/*/data.mdb)
printf 'this is no database' >"$store"
check "store is foreign" fails 1 "no weft store, or damaged" on b list
head -c 5000 a/spaces/*/data.mdb >"$store"
check "store is cut" fails 1 "" on b list
# --- little address space ---------------------------------------------------------------------------
# Sanitizers want more of it than is left here; then there is nothing to see.
if (ulimit -v 1000000; "$weft" version) >/dev/null 2>&1; then
  little() { (ulimit -v 1000000; on little "$@"); }
  check "a space with little address space" little init --name little -q
  check "that is written to" little set t/x a:=1 -q
  check "and read with all there is" equal "$(on little get t/x --json)" '{"a":1}'
fi
report
