# Sourced by the scripts of tests/cli: a temporary world of devices, and checks that count themselves.
# Each script is called with the path of the weft program.
set -u
weft=$(realpath "$1")
world=$(mktemp -d)
export XDG_STATE_HOME=$world/state
unset WEFT_DIR
cd "$world" || exit 1
passed=0 failed=0 daemons=

finish() {
  for pid in $daemons; do kill "$pid" 2>/dev/null; done
  for pid in $daemons; do wait "$pid" 2>/dev/null; done
  [ "$failed" -eq 0 ] || [ -z "${WEFT_KEEP:-}" ] || { echo "kept: $world"; return; }
  rm -rf "$world"
}
trap finish EXIT

# Device NAME runs a command.
on() {
  local name=$1
  shift
  "$weft" --dir "$world/$name" "$@"
}

# The same in the background: $! is the program itself, so that a signal reaches it, not a shell that waits for it.
begin() {
  local name=$1
  shift
  "$weft" --dir "$world/$name" "$@" &
}

# check WHAT CONDITION...: counts, and tells what was seen when it does not hold.
check() {
  local what=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $what: $*"
  fi
}

equal() { [ "$1" = "$2" ] || { printf '  got:  %s\n  want: %s\n' "$1" "$2"; return 1; }; }
contains() { case $1 in *"$2"*) ;; *) printf '  got:  %s\n  want: ...%s...\n' "$1" "$2"; return 1 ;; esac; }

# Whether `script` can make a terminal here: it wants the program and /dev/pts.
has_terminal() { command -v script >/dev/null && script -qec true /dev/null </dev/null >/dev/null 2>&1; }

# fails CODE TEXT COMMAND...: exit code CODE, one or two lines on stderr that contain TEXT, nothing on stdout.
fails() {
  local code=$1 text=$2 got out
  shift 2
  out=$("$@" 2>"$world/stderr")
  got=$?
  equal "$got" "$code" || { cat "$world/stderr"; return 1; }
  equal "$out" "" || return 1
  [ "$(wc -l <"$world/stderr")" -le 2 ] || { cat "$world/stderr"; return 1; }
  contains "$(cat "$world/stderr")" "$text"
}

# Starts a daemon on a free port (or --listen given); sets $daemon and $address.
serve() {
  local name=$1
  shift
  : >"$world/$name.serve"
  case " $* " in *" --listen "*) ;; *) set -- "$@" --listen 127.0.0.1:0 ;; esac
  "$weft" --dir "$world/$name" serve --no-discovery --no-http --json "$@" >"$world/$name.serve" 2>"$world/$name.err" &
  daemon=$!
  daemons="$daemons $daemon"
  for _ in $(seq 200); do
    [ -s "$world/$name.serve" ] && break
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.05
  done
  address=$(sed -n 's/.*"listening":\["\([^"]*\)".*/\1/p' "$world/$name.serve")
}

stop() {
  kill "$1" 2>/dev/null
  wait "$1" 2>/dev/null
  daemons=${daemons/ $1/}
}

# pair ISSUER DEVICE ADDRESS: DEVICE joins with a fresh ticket of ISSUER.
pair() { on "$2" join "$(on "$1" invite -q)" "$3" --name "$2" >/dev/null; }

# Lets b, which has joined a, sync with it where it served before.
meet() {
  serve a --listen "$address"
  on b sync "$address" -q
  stop "$daemon"
}

# value JSON KEY: the value of a key of a compact JSON object, by text; enough for flat records.
value() { printf '%s' "$1" | sed -n "s/.*\"$2\":\(\"[^\"]*\"\|[^,}]*\).*/\1/p" | tr -d '"'; }

# until_true SECONDS CONDITION...: waits for it.
until_true() {
  local left=$(($1 * 10))
  shift
  while [ "$left" -gt 0 ]; do
    "$@" && return 0
    sleep 0.1
    left=$((left - 1))
  done
  return 1
}

report() {
  [ "$passed" -eq 0 ] || echo "[  PASSED  ] $passed test(s)."
  [ "$failed" -eq 0 ] || echo "[  FAILED  ] $failed test(s)."
  [ "$failed" -eq 0 ]
}
