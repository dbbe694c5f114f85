#!/usr/bin/env bash
# Metrics: well-formed with a daemon and without, and true.
. "$(dirname "$0")/lib.sh"
read_metrics=$2

# sample NAME: its value in the file `metrics`.
sample() { sed -n "s/^$1 //p" metrics; }
well_formed() { [ "$("$read_metrics" <metrics | sed 's/ .*//')" -gt "$1" ] || { "$read_metrics" <metrics; return 1; }; }
positive() { case $1 in '' | 0) printf '  got: %s\n' "$1"; return 1 ;; esac; }

on a init --name alice --space team -q
on a set notes/a n:=1 -q
on a metrics >metrics
check "well-formed without a daemon" well_formed 15
check "what the store knows" equal "$(sample weft_documents)" 1
check "and nothing else" equal "$(sample weft_commits_total)" ""
serve a
a_address=$address
pair a b "$a_address"
serve b --connect "$a_address"
on a set notes/a n:=2 -q
on b set notes/a n:=3 -q
on a wait --timeout 10s -q
on b wait --timeout 10s -q
on a set notes/a n:=4 -q
on a wait --timeout 10s -q
on a metrics >metrics
check "well-formed with a daemon" well_formed 100
check "commits" equal "$(sample weft_commits_total)" 2
check "commit durations" equal "$(sample weft_commit_duration_seconds_count)" 2
check "received changes" positive "$(sample weft_verified_changes_total)"
check "nothing waits" equal "$(sample weft_show_lag_changes)" 0
check "nothing pending" equal "$(sample weft_pending_changes)" 0
check "a link" equal "$(sample weft_open_links)" 1
check "bytes by link" positive "$(sample 'weft_link_received_bytes_total{link="accepted"}')"
check "bytes by frame" positive "$(sample 'weft_frame_sent_bytes_total{for="changes"}')"
check "acknowledgement round trips" positive "$(sample weft_ack_round_trip_seconds_count)"
check "in step" positive "$(sample weft_syncs_total)"
check "as JSON" contains "$(on a metrics --json)" '"kind":"counter","labels":{},"name":"weft_commits_total","unit":"changes","value":2'
report
