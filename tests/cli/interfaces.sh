#!/usr/bin/env bash
# Interfaces that come, change and go are told, and lead to a redial: in a network of its own, where the machine lets
# us make one.
if [ -z "${WEFT_OWN_NETWORK:-}" ]; then
  try='ip link set lo up && ip link add v0 type veth peer name v1'
  if ! command -v ip >/dev/null || ! unshare -n sh -c "$try" 2>/dev/null; then
    echo "skipped: this machine makes no network interfaces for us"
    exit 77
  fi
  WEFT_OWN_NETWORK=1 exec unshare -n "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
ip link set lo up
on a init --name alice --space s -q
serve a
pair a b "$address"
stop "$daemon"
serve b --listen 0.0.0.0:7117
printf 'network-poll = 100ms\nredial-cap = 1h\n' >"$world/a/config"
since=$(on a events --json | tail -1 | sed 's/.*"seq":\([0-9]*\).*/\1/')
serve a --connect 192.0.2.7:7117 --no-remembered
told() { on a events --since "$since" --json | grep -qF "$1"; }
check "nobody is there" until_true 10 told peer.unreachable
check "what is there at the start is not told" equal "$(on a events network.up --since "$since")" ""
ip link add v0 type veth peer name v1
ip addr add 192.0.2.7/24 dev v0
ip link set v0 up
ip link set v1 up
check "an interface comes" until_true 10 told '"text":"v0 192.0.2.7'
check "it is up" told '"type":"network.up"'
check "and who could not be reached is dialled" until_true 5 told '"type":"peer.connected"'
check "somebody can be reached" told '"type":"network.online"'
ip addr add 192.0.2.8/24 dev v0
check "it gets an address" until_true 10 told '"type":"network.changed"'
ip link del v0
check "it goes" until_true 10 told '"type":"network.down"'
stop "$daemon"
report
