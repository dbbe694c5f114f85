#!/usr/bin/env bash
# A directory that cannot be written: reads answer, writes fail with one clear line, and a writer is kept out meanwhile.
. "$(dirname "$0")/lib.sh"

on a init --name alice --space s -q
on a set t/x n:=1 -q
on a digest >digest
chmod a+rx "$world"
if [ "$(id -u)" = 0 ]; then
  # Root writes anywhere: the readers are somebody else, who owns the files.
  chown -R 65534 "$world/a"
  as() { setpriv --reuid 65534 --clear-groups env XDG_STATE_HOME="$XDG_STATE_HOME" "$weft" --dir "$world/$1" "${@:2}"; }
else
  as() { on "$@"; }
fi
if ! as a version >/dev/null 2>&1; then
  echo "skipped: the program cannot be run by another user here"
  exit 77
fi
chmod 500 "$world/a" "$world/a/spaces" "$world"/a/spaces/*
chmod 400 "$world"/a/spaces/*/*
check "get" equal "$(as a get t/x n --json)" 1
check "list" contains "$(as a list t --json)" '"doc":"t/x"'
check "digest" equal "$(as a digest)" "$(cat digest)"
check "export" contains "$(as a export)" '"n":1'
check "log" contains "$(as a log --json)" '"doc":"t/x"'
check "status" contains "$(as a status --json)" '"state":"alone"'
check "verify" contains "$(as a verify --json)" '"ok":true'
check "set" fails 1 "read-only" as a set t/x n:=2
check "delete" fails 1 "read-only" as a delete t/x
check "import" fails 1 "read-only" as a import - <<<'{"id":"y"}'
check "resolve" fails 1 "read-only" as a strategy t manual
check "invite" fails 1 "read-only" as a invite
check "sync" fails 1 "cannot be written" as a sync 127.0.0.1:9 --timeout 1s
check "serve" fails 1 "cannot be written" as a serve --listen 127.0.0.1:0
check "nothing was written" equal "$(as a digest)" "$(cat digest)"
chmod 700 "$world/a" "$world/a/spaces" "$world"/a/spaces/*
chmod 600 "$world"/a/spaces/*/*
check "and writes again" as a set t/x n:=2 -q
report
