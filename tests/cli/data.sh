#!/usr/bin/env bash
# Real documents: import, list, edit, export back to equal JSON, sync.
if [ -z "${WEFT_TEST_DATA:-}" ] || [ ! -d "$WEFT_TEST_DATA" ]; then
  echo "skipped: no WEFT_TEST_DATA"
  exit 0
fi
json_equal=$(realpath "$2")
. "$(dirname "$0")/lib.sh"
exercises=$WEFT_TEST_DATA/exercises/exercises.json

on a init --name a --space s -q
check "exercises" contains "$(on a import "$exercises" --collection exercises --json)" '"created":873'
check "again writes nothing" contains "$(on a import "$exercises" --collection exercises --json)" '"fields_written":0'
check "dashboards" contains "$(on a import "$WEFT_TEST_DATA/dashboards/dashboards.jsonl" --collection dashboards --id name --json)" '"created":48'
check "dashboards again" contains "$(on a import "$WEFT_TEST_DATA/dashboards/dashboards.jsonl" --collection dashboards --id name --json)" '"fields_written":0'
on a export --collection exercises >exercises.jsonl
check "exercises export equal" "$json_equal" --export exercises.jsonl "$exercises"
on a export --collection dashboards >boards.jsonl
check "dashboards export equal" "$json_equal" --export boards.jsonl "$WEFT_TEST_DATA/dashboards/dashboards.jsonl"
check "list where" equal "$(on a list exercises --where category=strength --limit 1000 --json | sed 's/"doc"/\n"doc"/g' | grep -c '^"doc"')" 581
check "list expert" equal "$(on a list exercises --where level=expert --limit 1000 --json | sed 's/"doc"/\n"doc"/g' | grep -c '^"doc"')" 57
serve a
pair a b "$address"
check "sync" contains "$(on b sync "$address" --json)" '"stuck":0'
check "digests" equal "$(on a digest --json)" "$(on b digest --json)"
on b export >b.jsonl
on a export >a.jsonl
check "exports byte-equal" cmp a.jsonl b.jsonl
check "verify" contains "$(on b verify --json)" '"ok":true'
report
