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
byte() { printf '\\x%02x' "$1"; }
# [1, "set", {"args": [DOC, ASSIGNMENT], ...}]
write() {
  frame '\x93\x01\xa3set\x84\xa4args\x92\xc4'"$(byte ${#1})$1"'\xc4'"$(byte ${#2})$2"'\xa5input\xc0\xa7options\x90\xa5space\xc0'
}
# Writes sent together are committed together, in order; what fails among them fails alone, and what
# is no write sees those before it.
transactions() { on a metrics | sed -n 's/^weft_store_transactions_total //p'; }
before=$(transactions)
{
  for i in $(seq 100); do write t/together n:=$i; done
  write t/together/x n
  for i in $(seq 101 200); do write t/together n:=$i; done
  request '\xa6digest'
  write t/together last:=true
} >together.frames
"$talk" "$sock" <together.frames | tr -d '\0' >together.out
check "writes at once: every one is answered" equal "$(LC_ALL=C grep -ao $'\xa3end' together.out | wc -l)" 202
check "writes at once: one was wrong" equal "$(LC_ALL=C grep -ao $'\xa5error' together.out | wc -l)" 1
check "writes at once: the last one counts" equal "$(on a get t/together --json)" '{"last":true,"n":200}'
check "writes at once: each is a change" equal "$(on a log t/together --limit 1000 --json | wc -l)" 201
check "writes at once: few transactions" [ "$(($(transactions) - before))" -lt 20 ]
check "a local command is refused" contains "$(request '\xa4init' | "$talk" "$sock" | tr -d '\0')" "does not run in the daemon"
check "an unknown command is refused" contains "$(request '\xa4oops' | "$talk" "$sock" | tr -d '\0')" "another version"
check "no request" contains "$(frame '\xc0' | "$talk" "$sock" | tr -d '\0')" "no request"
printf '\xff\xff\xff\xff' | "$talk" "$sock" >/dev/null
head -c 300000 /dev/urandom | "$talk" "$sock" >/dev/null
printf '\x00\x00\x10\x00half' | "$talk" "$sock" >/dev/null
check "garbage does not hurt" contains "$(on a status --json)" '"space":"s"'

# --- ends at the wrong moment -----------------------------------------------------------------------
begin a sync 127.0.0.1:9 --timeout 20s 2>pending.err
pending=$!
sleep 0.3
stop "$a_pid"
wait "$pending"
check "stop during a sync: the command ends" equal "$?" 1
check "stop during a sync: and tells" contains "$(cat pending.err)" "was stopped"
check "stop during a sync: nothing to tell" equal "$(cat a.err)" ""
serve a
begin a sync 127.0.0.1:9 --timeout 20s 2>/dev/null
pending=$!
sleep 0.3
kill "$pending"
wait "$pending" 2>/dev/null
check "gone during a sync: the daemon goes on" contains "$(on a status --json)" '"space":"s"'
stop "$daemon"
check "gone during a sync: nothing to tell" equal "$(cat a.err)" ""
check "no socket is left" [ ! -e "$sock" ]

# --- the same answers with and without a daemon -------------------------------------------------------
deep=1
for _ in $(seq 62); do deep="{\"a\":$deep}"; done
on a import <(printf '[{"id":"deep","v":%s}]' "$deep") -q
seq 20000 | sed 's/.*/{"id":"d&","text":"some text &"}/' >large.jsonl
answers() {
  on a import large.jsonl --collection large --json 2>&1
  for words in "export templates/deep" "list templates --fields v" "get templates/deep --with-base" "log templates/deep" \
    "sync nonsense" "get t/none" $'get t/\xff' $'set t/x /\xff/y=1' $'show \xc3' "log t/$(printf 'é%.0s' $(seq 250))" "list t --fields v,v,doc" $'list t --fields \xff' "get x" "list --limit 0" "show 12" "get templates/deep --at 00000000" "members" "digest" "conflicts" "doctor" "audit --raw"; do
    on a $words --json 2>&1
    echo "exit $?"
  done
}
on a import large.jsonl --collection large -q
printf '{"id":"huge","v":["%0200000d","%0200000d"]}' 1 2 | on a import - --collection t -q # a change longer than a text may be
answers >without
serve a
answers >with
check "the same answers" cmp without with
check "a large file through the daemon" contains "$(head -n 1 with)" '"unchanged":20000'
check "a deep document through the daemon" equal "$(sed -n 2p with)" "{\"doc\":\"templates/deep\",\"value\":{\"id\":\"deep\",\"v\":$deep}}"
check "a wrong address" fails 2 "HOST:PORT" on a sync nonsense
stop "$daemon"

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

# --- strangers on the network ---------------------------------------------------------------------------
wakeups() { awk '/ctxt_switches/ { n += $2 } END { print n }' "/proc/$1/status"; }
(ulimit -n 40; exec "$weft" --dir "$world/a" serve --listen 127.0.0.1:0 --no-discovery --no-http --json) >few.serve 2>few.err &
daemon=$!
daemons="$daemons $daemon"
for _ in $(seq 100); do [ -s few.serve ] && break; sleep 0.05; done
address=$(sed -n 's/.*"listening":\["\([^"]*\)".*/\1/p' few.serve)
dial() { exec {fd}<>"/dev/tcp/${address%:*}/${address#*:}"; }
(
  for _ in $(seq 60); do dial; done 2>/dev/null
  printf 'half a frame' >&"$fd"
  sleep 0.3
  before=$(wakeups "$daemon")
  sleep 1
  echo $(($(wakeups "$daemon") - before)) >spins
) 2>/dev/null
check "out of descriptors: no busy loop" [ "$(cat spins)" -le 100 ]
check "out of descriptors: and then again" contains "$(on a status --json)" '"space":"s"'
before=$(wakeups "$daemon")
sleep 1
check "nobody waits any more: quiet" [ $(($(wakeups "$daemon") - before)) -le 20 ]
stop "$daemon"
check "out of descriptors: nothing to tell" equal "$(cat few.err)" ""

# --- at the same time ---------------------------------------------------------------------------------
both=0
for i in 1 2 3 4 5 6; do
  begin "twice$i" init --name one -q 2>/dev/null
  first=$!
  on "twice$i" init --name two -q 2>/dev/null
  second=$?
  wait "$first" && [ "$second" = 0 ] && both=$((both + 1))
  check "two at once make one device $i" on "twice$i" set t/x n:=1 -q
done
check "two at once: one is refused" equal "$both" 0

# --- very many tickets ----------------------------------------------------------------------------------
# with_invites COUNT: the newest invite of many, so many times more.  An invite has 142 bytes, a seal 8.
with_invites() {
  head -c -8 many/secrets >unsealed
  tail -c 142 unsealed >invite
  for _ in $(seq "$1"); do cat invite; done >>unsealed
  { cat unsealed; printf "$(b2sum -l 256 unsealed | cut -c 1-16 | sed 's/../\\x&/g')"; } >many/secrets
}
on many init --name many --space s -q
on many invite --expires 1ms -q >/dev/null
with_invites 5000
ticket=$(on many invite -q)
check "expired tickets make room" [ "$(stat -c %s many/secrets)" -lt 1000 ]
with_invites 1500
serve many
check "more tickets than a node knows: it serves" contains "$address" 127.0.0.1
check "more tickets than a node knows: the newest is good" on one join "$ticket" "$address" --name one -q
stop "$daemon"

# --- unsuitable files ---------------------------------------------------------------------------------
check "a folder as input" fails 1 "/ cannot be read" on a import /
cp -r a f
rm f/identity
mkfifo -m 600 f/identity
check "the identity is a pipe" fails 1 "f/identity" timeout 5 "$weft" --dir "$world/f" list
rm f/identity
ln -s "$world/a/identity" f/identity
check "the identity is a link" fails 1 "f/identity" on f list
rm f/identity
cp a/identity f/identity
head -c 20 a/secrets >f/secrets
check "the secrets are cut" fails 1 "f/secrets" on f list
printf 'listen = x\noops\n' >f/config
cp a/secrets f/secrets
check "the configuration is damaged" fails 1 "config line 2" on f list

# --- half-made devices --------------------------------------------------------------------------------
cp -r a h
rm -r h/spaces h/secrets
check "a device without a space" fails 1 "holds no space" on h list
check "init makes the space of a half-made device" contains "$(on h init --name other --space later --json)" '"name":"other","space":"later"'
check "and then is over" fails 1 "a device already" on h init
check "join: a wrong address makes nothing" fails 2 "HOST:PORT" on n join "$(on a invite -q)" nonsense
check "join: made nothing" [ ! -e "$world/n" ]
serve a
check "join gives up" fails 7 "did not let" on n join "$(on a invite -q)" 127.0.0.1:9 --name first --timeout 1s
check "join again under another name" contains "$(on n join "$(on a invite -q)" "$address" --name second --json)" '"name":"second"'
check "join what was joined" fails 1 "a member of this space already" on n join "$(on a invite -q)" "$address"
stop "$daemon"

# --- secrets written by two processes -------------------------------------------------------------------
on g init --name g --space two -q
serve a
a_pid=$daemon
serve g
g_pid=$daemon g_address=$address
ticket=$(on g invite -q)
check "join another space while the daemon runs" contains "$(on a join "$ticket" "$g_address" --json)" '"space":"two"'
on a invite -q >/dev/null
stop "$a_pid"
check "the other space's key is still there" contains "$(on a --space two sync "$g_address" --json)" '"stuck":0'
serve a --space s
check "two daemons of one directory" fails 1 "is answered by process $daemon" on a serve --space two --listen 127.0.0.1:0
check "the first one is still asked" contains "$(on a --space s status --json)" '"space":"s"'
stop "$daemon"
together=0
for _ in 1 2 3 4 5; do
  for space in s two; do
    begin a serve --space "$space" --listen 127.0.0.1:0 --no-discovery --no-http >/dev/null 2>"$world/$space.err"
    eval "${space}_pid=\$!"
  done
  # shellcheck disable=SC2154
  wait -n "$s_pid" "$two_pid"
  on a status --json >/dev/null || together=$((together + 1))
  kill "$s_pid" "$two_pid" 2>/dev/null
  wait "$s_pid" "$two_pid"
  grep -qs 'is answered by process' "$world/s.err" "$world/two.err" || together=$((together + 1))
done
check "of two daemons that start at once one is left, and answers" equal "$together" 0
stop "$g_pid"
report
