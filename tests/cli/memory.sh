#!/usr/bin/env bash
# Memory: an empty replica gets a million changes of one field each, one signed chunk after another, over loopback.
# Both processes keep their anonymous memory under 200 MB, and "status" tells meanwhile how far they are.  With
# WEFT_MEMORY_LONG set, four times as many documents, with four million changes, take at most 1.1 times as much, or a
# megabyte more: so much differs from run to run in a sender of six, which has all it ever takes within half a second.
. "$(dirname "$0")/lib.sh"
docs=${WEFT_MEMORY_DOCS:-100000}
limit_kb=$((200 * 1000))

# write_rounds ROUNDS DEVICE: every document once, then one field of each again and again.
write_rounds() {
  local round
  for round in $(seq "$1"); do
    awk -v n="$docs" -v k="$round" 'BEGIN { for (i = 0; i < n; i++) printf "{\"id\":\"d%d\",\"n\":%d}\n", i, i * 64 + k }' |
      on "$2" import - --collection c -q || return 1
  done
}

held() { value "$(on "$1" status --json)" changes_held; }

# anonymous PID: its anonymous memory now, in kB; 0 when it is gone.
anonymous() {
  local key size unit
  while read -r key size unit; do
    [ "$key" = RssAnon: ] && { anon=$size; return; }
  done <"/proc/$1/status" 2>/dev/null
  anon=0
}

# Follows the memory of both daemons, and what the receiver's status tells, until the receiver holds and shows all.
# Sets sender_kb, receiver_kb, told (times that status told of progress) and backwards (times that it went back).
follow() { # sender pid, receiver pid, device, changes
  local last=0 phase='' done_now record total look=0 deadline=$((SECONDS + 600))
  sender_kb=0 receiver_kb=0 told=0 backwards=0
  while [ "$SECONDS" -lt "$deadline" ]; do
    anonymous "$1"; [ "$anon" -le "$sender_kb" ] || sender_kb=$anon
    anonymous "$2"; [ "$anon" -le "$receiver_kb" ] || receiver_kb=$anon
    look=$((look + 1))
    if [ $((look % 10)) -eq 0 ]; then
      record=$(on "$3" status --json)
      [ "$(value "$record" changes_shown)" != "$4" ] || return 0
      done_now=$(value "$record" done) total=$(value "$record" total)
      if [ -n "$done_now" ] && [ "$done_now" -gt 0 ] && [ "$done_now" -lt "$total" ]; then
        told=$((told + 1))
        [ "$phase" = "$(value "$record" phase)" ] || last=0
        [ "$done_now" -ge "$last" ] || backwards=$((backwards + 1))
        last=$done_now phase=$(value "$record" phase)
      fi
    fi
    sleep 0.02
  done
  return 1
}

about_as_much() { [ $(($1 * 10)) -le $(($2 * 11)) ] || [ "$1" -le $(($2 + 1024)) ]; }

# cold: a fresh pair of devices; sets sender_kb and receiver_kb.
cold() {
  local changes
  rm -rf a b
  on a init --name alice --space big -q
  check "10 rounds of $docs changes" write_rounds 10 a
  changes=$(held a)
  check "that many changes" [ "$changes" -ge $((10 * docs)) ]
  serve a
  a_pid=$daemon a_address=$address
  on b join "$(on a invite -q)" "$a_address" --name bob -q
  changes=$(held a)
  start=$SECONDS
  serve b --connect "$a_address"
  b_pid=$daemon
  check "everything arrives and is shown" follow "$a_pid" "$b_pid" b "$changes"
  echo "$changes changes in $((SECONDS - start)) s: RssAnon at most $sender_kb kB sender, $receiver_kb kB receiver; progress told $told times"
  check "alike" equal "$(on a digest --json)" "$(on b digest --json)"
  check "the sender's memory was seen" [ "$sender_kb" -gt 0 ]
  check "sender under 200 MB" [ "$sender_kb" -lt "$limit_kb" ]
  check "receiver's memory was seen" [ "$receiver_kb" -gt 0 ]
  check "receiver under 200 MB" [ "$receiver_kb" -lt "$limit_kb" ]
  check "status told of progress, and more than once" [ "$told" -gt 1 ]
  check "progress only goes on" [ "$backwards" -eq 0 ]
  stop "$a_pid"
  stop "$b_pid"
}

# The bar of a person who looks on: less of the same, but enough that it takes longer than a bar waits to be drawn.
on c init --name carol --space small -q
docs=100000 write_rounds 4 c
serve c
c_pid=$daemon
on d join "$(on c invite -q)" "$address" --name dave -q
if has_terminal; then
  bar=$(TERM=xterm script -qec "'$weft' --dir '$world/d' sync $address" /dev/null </dev/null | tr -d '\r')
  check "a terminal sees a bar" contains "$bar" " MB ["
fi
stop "$c_pid"

cold
if [ -n "${WEFT_MEMORY_LONG:-}" ]; then
  sender_once=$sender_kb receiver_once=$receiver_kb
  docs=$((4 * docs))
  cold
  check "four times as much: the sender" about_as_much "$sender_kb" "$sender_once"
  check "four times as much: the receiver" about_as_much "$receiver_kb" "$receiver_once"
fi
report
