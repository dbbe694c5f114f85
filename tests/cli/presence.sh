#!/usr/bin/env bash
# Who is where: seen on three devices over two hops, gone with goodbye, crash and time; edit says who else edits.
. "$(dirname "$0")/lib.sh"

# Chain: alice - bob - carol.  Alice and carol never meet.
on a init --name alice --space team -q
on a set notes/plan title=plan -q
serve a
a_pid=$daemon a_address=$address
pair a bob "$a_address"
pair a carol "$a_address"
serve bob --connect "$a_address" --no-remembered
b_pid=$daemon b_address=$address
on carol sync "$a_address" -q
serve carol --connect "$b_address" --no-remembered
c_pid=$daemon

sees() { case $(on "$1" presence --json) in *"$2"*) ;; *) return 1 ;; esac; }
sees_not() { case $(on "$1" presence --json) in *"$2"*) return 1 ;; esac; }

check "nobody is there" equal "$(on carol presence --json)" '{"sessions":[]}'
check "set, and seen here at once" contains "$(on a presence notes/plan --set '{"cursor":"/title"}' --json)" '"state":{"cursor":"/title"}'
check "seen one hop away" until_true 5 sees bob '"state":{"cursor":"/title"}'
check "seen two hops away" until_true 5 sees carol '"name":"alice"'
check "at its document" contains "$(on carol presence notes/plan --json)" '"doc":"notes/plan"'
check "not at another" equal "$(on carol presence notes/other --json)" '{"sessions":[]}'
check "with its session" contains "$(on carol presence --json)" '"session":"cli"'
check "itself" contains "$(on a presence --json)" '"self":true'
on a presence notes/plan --set '{"cursor":"/body"}' >/dev/null
check "state changes" until_true 5 sees carol '"cursor":"/body"'
on a presence notes/plan --leave >/dev/null
check "goodbye" until_true 5 sees_not carol alice
on bob presence --set 1 --session short --for 1s >/dev/null
check "at the space" until_true 5 sees carol '"doc":null'
check "a session ends with its time" until_true 5 sees_not carol short
check "a table for people" contains "$(on carol presence notes/plan --set '"here"' && on carol presence)" "notes/plan"

# --- errors ---------------------------------------------------------------------------------------
on x init --name x --space x -q
check "without a daemon" fails 5 "weft serve" on x presence
check "no JSON" fails 2 "not JSON" on a presence notes/plan --set '{'
check "no document name" fails 2 "document name" on a presence plan --set 1
check "too much" fails 1 "1024 bytes" on a presence notes/plan --set "\"$(printf '%2000s' | tr ' ' x)\""
check "nobody to leave" fails 3 "not at notes/plan" on a presence notes/plan --leave
check "a session without a name" fails 2 "1 to 64 bytes" on a presence --set 1 --session ''
check "no time" fails 2 "at most 1d" on a presence --set 1 --for 2d
check "set and leave" fails 2 "exclude each other" on a presence --set 1 --leave

# --- edit -----------------------------------------------------------------------------------------
cat >slow.sh <<'EOF'
#!/bin/sh
while [ ! -e "$WORLD/done" ]; do sleep 0.05; done
sed -i 's/plan"/plan of alice"/' "$1"
EOF
chmod +x slow.sh
WORLD=$world EDITOR="$world/slow.sh" on a edit notes/plan -q &
editing=$!
check "others see who edits" until_true 5 sees carol '"state":{"editing":true}'
EDITOR=true on carol edit notes/plan -q 2>quiet >/dev/null
check "quiet is quiet" equal "$(cat quiet)" ""
EDITOR=true on carol edit notes/plan 2>told >/dev/null
check "told before the editor opens" contains "$(cat told)" "alice is editing notes/plan too"
check "on one line" equal "$(wc -l <told)" 1
EDITOR=true on a edit notes/plan 2>told >/dev/null
check "another window of the same device" contains "$(cat told)" "(this device) is editing notes/plan too"
touch done
wait "$editing"
check "the edit was written" equal "$(on a get notes/plan title --json)" '"plan of alice"'
check "and its end is seen" until_true 5 sees_not carol editing
EDITOR=true on carol edit notes/plan 2>told >/dev/null
check "nobody else edits" equal "$(cat told)" ""
EDITOR=true on x edit notes/none >/dev/null 2>&1
on x set notes/plan a=1 -q
EDITOR=true on x edit notes/plan 2>told >/dev/null
check "edit without a daemon" equal "$(cat told)" ""

# --- ends -----------------------------------------------------------------------------------------
on a presence notes/plan --set 1 --for 1h --session long >/dev/null
check "seen" until_true 5 sees carol '"session":"long"'
stop "$b_pid"
serve bob --connect "$a_address" --listen "$b_address" --no-remembered
check "seen again after a reconnect" until_true 20 sees bob '"session":"long"'
stop "$a_pid"
check "a daemon that stops says goodbye" until_true 5 sees_not bob '"session":"long"'
# One that is killed says nothing: it is gone when its last word is too old, here by its own configuration.
stop "$c_pid"
printf 'heartbeat = 1s\ndead-after = 3s\n' >>"$world/carol/config"
serve carol --connect "$b_address" --no-remembered
on carol presence notes/plan --set 1 --for 1h --session doomed >/dev/null
check "seen before it is killed" until_true 5 sees bob '"session":"doomed"'
sleep 4
check "seen for as long as it lives" sees bob '"session":"doomed"'
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
check "no ghost" until_true 5 sees_not bob '"session":"doomed"'
report
