#!/usr/bin/env bash
# Two and three devices: pairing, encrypted sync, conflicts, the daemon, refusals.
. "$(dirname "$0")/lib.sh"

same_digest() { equal "$(on "$1" digest --json)" "$(on "$2" digest --json)"; }

# --- pairing --------------------------------------------------------------------------------------
on a init --name alice --space team -q
printf '{"id":"d%d","n":%d,"t":"text"}\n' $(for i in $(seq 50); do echo "$i" "$i"; done) >docs.jsonl
on a import docs.jsonl --collection c -q
serve a
a_pid=$daemon a_address=$address
check "serve tells its address" contains "$a_address" "127.0.0.1:"
check "two daemons" fails 1 "in use by process" on a serve --listen 127.0.0.1:0 --no-discovery --no-http
ticket=$(on a invite -q)
check "join" contains "$(on b join "$ticket" --name bob --json)" '"space":"team"'
check "ticket used twice" fails 4 "used already" on c join "$ticket" --name carol --timeout 5s
check "members on both" contains "$(on b members --json)" '"name":"bob"'
check "sync" contains "$(on b sync "$a_address" --json)" '"received":'
check "same digest" same_digest a b
check "same export" equal "$(on a export)" "$(on b export)"
check "sync by name" contains "$(on b sync "localhost:${a_address#*:}" --json)" '"received":0'
check "sync again moves nothing" contains "$(on b sync --json)" '"received":0'
check "expired ticket" fails 4 "expired" on x1 join "$(on a invite --expires 1ms -q)" --timeout 5s
check "unknown ticket" fails 7 "let this device in" on x2 join "$(printf %s "$ticket" | tr -d '\n')" 127.0.0.1:9 --timeout 2s
check "invite a reader" contains "$(on a invite --role reader --json)" '"role":"reader"'
check "invite a king" fails 2 "reader, writer or admin" on a invite --role king
check "a member cannot invite" fails 4 "only an admin" on b invite

# --- same answers through the daemon ---------------------------------------------------------------
check "list through the daemon" equal "$(on a list c --limit 5 --sort -n --json)" "$(on b list c --limit 5 --sort -n --json | sed 's/"modified"/"modified"/')"
check "error through the daemon" fails 3 "no document" on a get c/nope
check "usage through the daemon" fails 2 "document name" on a set x y=1
check "import through the daemon" contains "$(on a import docs.jsonl --collection c --json)" '"unchanged":50'
check "connect through the daemon" contains "$(on a connect 127.0.0.1:1 --json)" '"address"'
check "status of the daemon" contains "$(on a status --json)" '"space":"team"'

# --- concurrent edits -----------------------------------------------------------------------------
on a set c/d1 n:=100 t=left -q
on b set c/d1 n:=200 u=right -q
on a set c/d2 n:=7 -q
on b delete c/d2 -q
on a set c/d3 same=x -q
on b set c/d3 same=x -q
check "sync of edits" contains "$(on b sync "$a_address" --json)" '"stuck":0'
check "merged alike" same_digest a b
check "different fields merge" contains "$(on b get c/d1 --json)" '"t":"left","u":"right"'
check "conflicts: the two" equal "$(on b conflicts --json | wc -l)" 2
check "conflict has both values" contains "$(on b conflicts c/d1 --json)" '"value":100'
check "conflict has both values" contains "$(on b conflicts c/d1 --json)" '"value":200'
check "edit beats delete, and is told" contains "$(on b conflicts c/d2 --json)" '"deleted":true'
check "equal values are none" equal "$(on b conflicts c/d3 --json)" ""
check "status --check" [ "$(on b status --check >/dev/null 2>&1; echo $?)" = 6 ]
keep=$(on b conflicts c/d1 --json | sed 's/},{/}\n{/g' | grep '"value":100' | sed 's/.*"change":"\([^"]*\)".*/\1/')
check "resolve --keep" contains "$(on b resolve c/d1 /n --keep "$keep" --json)" '"change":"'
check "resolved" equal "$(on b conflicts c/d1 --json)" ""
check "resolve what is none" fails 3 "no conflict" on b resolve c/d1 /n --value 1
check "resolve --value deletion" contains "$(on b resolve c/d2 /n --value 8 --json 2>&1; on b conflicts c/d2 --json)" ''
on b delete c/d2 -q 2>/dev/null
on b sync "$a_address" -q
check "resolution travels" equal "$(on a get c/d1 n --json)" 100
check "alike after resolution" same_digest a b

# --- live, acknowledgements ------------------------------------------------------------------------
serve b --connect "$a_address"
b_pid=$daemon
on b set c/d9 live=now -q
check "wait" contains "$(on b wait --for all --timeout 10s --json)" '"acknowledged":1'
check "live edit is there" equal "$(on a get c/d9 live --json)" '"now"'
check "wait for one by name" contains "$(on b wait --for alice --timeout 10s --json)" '"acknowledged":1'
check "wait for nobody" fails 3 "no such device" on b wait --for zoe
synced() { case $(on b status --json) in *'"state":"synced"'*) ;; *) return 1 ;; esac; }
check "status synced" until_true 10 synced
check "peers connected" contains "$(on b peers --json)" '"connected":true'
check "verify on both" contains "$(on a verify --json)$(on b verify --json)" '"ok":true'
stop "$b_pid"
on b set c/d9 live=later -q
before=$(date +%s)
check "wait for more than there are" fails 7 "--for 5: this space has 1 other device" on b wait --for 5 --timeout 20s
check "wait for itself" fails 7 "--for bob: that is this device" on b wait --for bob --timeout 20s
check "at once" [ $(($(date +%s) - before)) -lt 10 ]

# --- a chain: carol meets bob only ------------------------------------------------------------------
serve b --connect "$a_address" --no-gossip
b_pid=$daemon b_address=$address
on c join "$(on a invite -q)" "$a_address" --name carol -q
stop "$a_pid"
on b set c/d9 live=alone -q
check "wait runs out" fails 7 "have acknowledged everything after 1 s" on b wait --for all --timeout 1s
on c sync "$b_address" -q --timeout 20s
check "chain: carol has it all" same_digest b c
on c set c/d10 from=carol -q
on c sync "$b_address" -q
stop "$b_pid"
serve a --listen "$a_address"
a_pid=$daemon
on b sync "$a_address" -q
check "chain: it reaches alice" equal "$(on a get c/d10 from --json)" '"carol"'
check "chain: alike" same_digest a c

# --- refusals --------------------------------------------------------------------------------------
check "port in use" fails 1 "in use" on b serve --listen "$a_address" --no-discovery --no-http
check "nobody answers" fails 7 "reached nobody" on b sync 127.0.0.1:9 --timeout 1s
check "no address" fails 2 "HOST:PORT" on b sync nonsense --timeout 1s
on z init --name zoe --space other -q
check "another space" fails 7 "" on z sync "$a_address" --timeout 2s
head -c 100000 /dev/urandom >garbage
(exec 3<>"/dev/tcp/${a_address%:*}/${a_address#*:}" && cat garbage >&3) 2>/dev/null
check "garbage does not hurt" contains "$(on a status --json)" '"space":"team"'
check "sync still works" contains "$(on b sync "$a_address" --json)" '"seconds"'
stop "$a_pid"
report
