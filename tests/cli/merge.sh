#!/usr/bin/env bash
# Two devices edit the same real documents offline and meet: the conflicts listed are the fields both changed, counted
# here without weft; arrays edited on both sides keep everything once.
if [ -z "${WEFT_TEST_DATA:-}" ] || [ ! -d "$WEFT_TEST_DATA" ]; then
  echo "skipped: no WEFT_TEST_DATA"
  exit 0
fi
. "$(dirname "$0")/lib.sh"
exercises=$WEFT_TEST_DATA/exercises/exercises.json
edits=${WEFT_MERGE_EDITS:-1000}
seed=${WEFT_MERGE_SEED:-1}
echo "seed=$seed edits=$edits"

# --- both import the same file before they meet ----------------------------------------------------
on a init --name a --space s -q
serve a
pair a b "$address"
stop "$daemon"
on a import "$exercises" --collection x -q
on b import "$exercises" --collection x -q
serve a --listen "$address"
check "sync" contains "$(on b sync "$address" --json)" '"stuck":0'
check "two imports: no conflict" equal "$(on b conflicts --json)" ""
check "two imports: each once" equal "$(on b export | wc -l)" 873
check "two imports: digests" equal "$(on a digest --json)" "$(on b digest --json)"
stop "$daemon"

# --- random fields ---------------------------------------------------------------------------------
on a export --collection x | sed 's/^{"doc":"\([^"]*\)".*/\1/' >names
# picks SIDE: `edits` distinct (document, field) pairs, as "document field", from a generator of its own seed.
picks() {
  awk -v n="$edits" -v seed="$seed$1" '
    BEGIN { srand(seed); split("level category equipment force mechanic name", f) }
    { doc[NR] = $0 }
    END { while (count < n) { k = doc[1 + int(rand() * NR)] " " f[1 + int(rand() * 6)]; if (!(k in seen)) { seen[k]; print k; count++ } } }
  ' names | sort
}
# Lines {"doc": ..., "value": {field: value}} for import --merge; values differ between the sides.
as_lines() { awk -v side="$1" '{ print "{\"doc\":\"" $1 "\",\"value\":{\"" $2 "\":\"" side " " NR "\"}}" }'; }
picks 1 >a.picks
picks 2 >b.picks
as_lines left <a.picks >a.lines
as_lines right <b.picks >b.lines
merge_lines() { # several lines of one document become one, since a document may stand once in a file
  awk -F'"value":' '{ key = $1; v = $2; sub(/^\{/, "", v); sub(/\}\}$/, "", v);
    if (key == last) line = line "," v; else { if (last) print last "\"value\":{" line "}}"; line = v; last = key } }
    END { print last "\"value\":{" line "}}" }' "$1"
}
on a import <(merge_lines a.lines) --merge -q
on b import <(merge_lines b.lines) --merge -q
comm -12 a.picks b.picks | wc -l >expected
serve a --listen "$address"
on b sync "$address" -q
check "random fields: digests" equal "$(on a digest --json)" "$(on b digest --json)"
check "random fields: conflicts on b" equal "$(on b conflicts --limit 10000 --json | wc -l)" "$(cat expected)"
check "random fields: conflicts on a" equal "$(on a conflicts --limit 10000 --json | wc -l)" "$(cat expected)"
on b conflicts --limit 10000 --json | sed 's/.*"doc":"\([^"]*\)".*"path":"\/\([^"]*\)".*/\1 \2/' | sort >listed
comm -12 a.picks b.picks >both
check "random fields: exactly those" cmp listed both
echo "fields changed on both sides: $(cat expected)"
stop "$daemon"

# --- arrays of dashboards --------------------------------------------------------------------------
boards=$WEFT_TEST_DATA/dashboards/dashboards.jsonl
on a import "$boards" --id name --collection boards -q
serve a --listen "$address"
on b sync "$address" -q
stop "$daemon"
# Dashboards whose doc/panels is an array of at least four.
for name in $(on a list boards --limit 100 --json | sed 's/"doc"/\n"doc"/g' | sed -n 's/^"doc":"\([^"]*\)".*/\1/p'); do
  on a get "$name" /doc/panels/3 >/dev/null 2>&1 && echo "$name"
done | head -n 12 >with_panels
check "dashboards with panels" [ "$(wc -l <with_panels)" -ge 5 ]
while read -r name; do
  on a set "$name" /doc/panels/-:='{"id":9001,"title":"from a","gridPos":{}}' /doc/panels/0/title="edited by a" -q
  on a unset "$name" /doc/panels/2 -q
  on b set "$name" /doc/panels/-:='{"id":9002,"title":"from b","gridPos":{}}' /doc/panels/1/title="edited by b" /doc/panels/0/title="b too" -q
done <with_panels
serve a --listen "$address"
on b sync "$address" -q
check "arrays: digests" equal "$(on a digest --json)" "$(on b digest --json)"
while read -r name; do
  panels=$(on b get "$name" /doc/panels --json)
  check "arrays: both inserts once in $name" equal "$(echo "$panels" | grep -o '"title":"from [ab]"' | sort | tr '\n' ' ')" '"title":"from a" "title":"from b" '
  check "arrays: the edit of another panel is there" contains "$panels" '"title":"edited by b"'
  check "arrays: one conflict, the title both changed" equal "$(on b conflicts "$name" --json | sed 's/.*"path":"\([^"]*\)".*/\1/')" "/doc/panels/0/title"
  check "arrays: same on both" equal "$(on a get "$name" /doc/panels --json)" "$panels"
done <with_panels
check "verify a" contains "$(on a verify --json)" '"ok":true'
check "verify b" contains "$(on b verify --json)" '"ok":true'
report
