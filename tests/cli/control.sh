#!/usr/bin/env bash
# The daemon and whoever talks to it: long answers wait for slow readers, and nobody waits for a daemon that hangs.
. "$(dirname "$0")/lib.sh"
on a init --name alice --space s -q
on a set t/x n:=1 -q
seq 30000 | sed 's/.*/{"id":"d&","text":"some longer text so that this becomes several megabytes of text in all, xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}/' >many.jsonl
on a import many.jsonl --collection c -q
serve a
check "export whole" equal "$(on a export | wc -l)" 30001
check "audit whole" equal "$(on a audit | wc -l)" 30003
rss() { awk '/RssAnon/ {print $2}' /proc/$daemon/status; }
before=$(rss)
(on a export | { sleep 4; wc -l; } >slow.out; on a export | head -n 1 >/dev/null; on a audit | head -n 1 >/dev/null) &
sleep 2
after=$(rss)
check "a slow reader costs little" [ $((after - before)) -lt 16384 ]
check "others are served meanwhile" equal "$(on a get t/x n --json)" 1
wait $!
check "slow gets all" equal "$(tr -d ' ' <slow.out)" 30001
check "others are served after" equal "$(on a get t/x n --json)" 1
ticks() { awk '{print $14 + $15}' /proc/$daemon/stat; } # hundredths of a second that the daemon has worked
before=$(ticks)
check "doctor asks the daemon, and proves the store" contains "$(on a doctor --json)" '"check":"verify","ok":true'
check "in its own process" [ $(($(ticks) - before)) -lt 20 ]
check "doctor --quick proves nothing" equal "$(on a doctor --quick --json | grep -c '"check":"verify"')" 0
check "and says so" contains "$(on a doctor --quick)" "ok    clock"
kill -STOP $daemon
check "verify takes none of the daemon's time" contains "$(WEFT_CONTROL_TIMEOUT=500ms on a verify --json)" '"ok":true'
check "silent" fails 1 "no answer for 0.5 s" env WEFT_CONTROL_TIMEOUT=500ms "$weft" --dir "$world/a" get t/x
kill -CONT $daemon
check "back" equal "$(on a get t/x n --json)" 1
stop $daemon

# Of several spaces it is the daemon's that is proved and looked at.
on b init --name bob --space own -q
on b set t/x n:=1 -q
serve a
on b join "$(on a invite -q)" "$address" -q
stop $daemon
serve b --space own
check "verify takes the daemon's space" contains "$(on b verify --json)" '"changes":2,'
check "doctor, too" contains "$(on b doctor --json)" '"check":"verify","ok":true'
stop $daemon
check "without a daemon one has to be named" fails 2 "this device holds 2 spaces: name one with --space: " on b verify
check "which is looked at" contains "$(on b verify --space own --json)" '"changes":2,'

# An address that does not answer is told with what is known of it.
on e init --name erin --space s -q
serve e
pair e f "$address"
stop $daemon
there=$address
check "remembered without a daemon" contains "$(on f peers --json)" "\"address\":\"$there\""
serve f --connect 127.0.0.1:1
row() { on f peers --json | sed 's/},{/}\n{/g' | grep "$1"; }
silent() { row '"name":"erin"' | grep -q '"last_error":"nobody answers there"'; }
check "whose address does not answer" until_true 10 silent
check "which one that is" contains "$(row '"name":"erin"')" "\"address\":\"$there\""
check "and no row without a name beside it" equal "$(on f peers --json | grep -o "$there" | wc -l)" 1
check "one that nobody ever answered at" contains "$(row 127.0.0.1:1)" '"last_name":null'
check "a person sees all of it" contains "$(on f peers | tr -s ' ')" "erin false 0 0 $there "
check "and why" contains "$(on f peers | grep erin)" "nobody answers there"
check "and that nobody is known there" contains "$(on f peers | tr -s ' ')" "(unknown) false 0 0 127.0.0.1:1 "
stop $daemon
report
