#!/usr/bin/env bash
# What Prometheus itself says of our metrics.  Its Debian package is not among those that the tests
# install: it has 94 MB and starts a server.
command -v promtool >/dev/null || { echo "no promtool: install the package prometheus"; exit 77; }
. "$(dirname "$0")/lib.sh"

on a init --name alice -q
on a set notes/a n:=1 -q
on a metrics >metrics
check "without a daemon" promtool check metrics <metrics
serve a
on a set notes/a n:=2 -q
on a metrics >metrics
check "with a daemon" promtool check metrics <metrics
report
