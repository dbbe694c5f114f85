#!/usr/bin/env bash
# Strangers on the sockets, damaged and unsuitable files, ends at the wrong moment.
talk=$(realpath "$3")
. "$(dirname "$0")/lib.sh"

# --- the control socket -----------------------------------------------------------------------------
on a init --name a --space s -q
serve a
a_pid=$daemon a_address=$address
sock=$world/a/control.sock
frame() { printf '\x00\x00\x00'; printf "\\x$(printf %02x "$(printf '%b' "$1" | wc -c)")"; printf '%b' "$1"; }
# [1, "version", {"args": [], "options": [], "input": nil, "space": nil}] and the same for digest.
request() { frame '\x93\x01'"$1"'\x84\xa4args\x90\xa5input\xc0\xa7options\x90\xa5space\xc0'; }
check "raw request" contains "$(request '\xa6digest' | "$talk" "$sock" | tr -d '\0')" digest
check "many requests at once" equal "$(for _ in $(seq 300); do request '\xa6digest'; done | "$talk" "$sock" | grep -ao digest | wc -l)" 300
check "a local command is refused" contains "$(request '\xa4init' | "$talk" "$sock" | tr -d '\0')" "does not run in the daemon"
check "an unknown command is refused" contains "$(request '\xa4oops' | "$talk" "$sock" | tr -d '\0')" "another version"
check "no request" contains "$(frame '\xc0' | "$talk" "$sock" | tr -d '\0')" "no request"
printf '\xff\xff\xff\xff' | "$talk" "$sock" >/dev/null
head -c 300000 /dev/urandom | "$talk" "$sock" >/dev/null
printf '\x00\x00\x10\x00half' | "$talk" "$sock" >/dev/null
check "garbage does not hurt" contains "$(on a status --json)" '"space":"s"'

# --- ends at the wrong moment -----------------------------------------------------------------------
on a sync 127.0.0.1:9 --timeout 20s 2>pending.err &
pending=$!
sleep 0.3
stop "$a_pid"
wait "$pending"
check "stop during a sync: the command ends" equal "$?" 1
check "stop during a sync: and tells" contains "$(cat pending.err)" "was stopped"
check "stop during a sync: nothing to tell" equal "$(cat a.err)" ""
serve a
on a sync 127.0.0.1:9 --timeout 20s 2>/dev/null &
pending=$!
sleep 0.3
kill "$pending"
wait "$pending" 2>/dev/null
check "gone during a sync: the daemon goes on" contains "$(on a status --json)" '"space":"s"'
stop "$daemon"
check "gone during a sync: nothing to tell" equal "$(cat a.err)" ""
check "no socket is left" [ ! -e "$sock" ]

# --- somebody else's socket -------------------------------------------------------------------------
"$talk" --bind "$sock" &
stranger=$!
sleep 0.2
check "a stranger's socket stays" fails 1 "answered by process $stranger" on a serve --listen 127.0.0.1:0 --no-discovery --no-http
check "a stranger's socket is there" [ -S "$sock" ]
kill "$stranger"
wait "$stranger" 2>/dev/null
check "a stale socket is no daemon" contains "$(on a digest --json)" '"digest"'
serve a
check "a stale socket is replaced" contains "$address" 127.0.0.1
stop "$daemon"
deep=$world/$(printf 'long%.0s' $(seq 40))
mkdir -p "$deep"
cp -r a "$deep/a"
"$weft" --dir "$deep/a" serve --listen 127.0.0.1:0 --no-discovery --no-http --json >deep.serve 2>&1 &
daemon=$!
daemons="$daemons $daemon"
for _ in $(seq 100); do [ -s deep.serve ] && break; sleep 0.05; done
check "a long path" contains "$("$weft" --dir "$deep/a" status --json)" '"peers"'
check "a long path goes to the daemon" fails 1 "in use by process" env WEFT_DIR="$deep/a" "$weft" serve --listen 127.0.0.1:0
stop "$daemon"
report
