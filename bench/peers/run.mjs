// weft-bench peers: weft and other programs of its kind by turns, on the same workloads.
//
// Every measurement is a process of its own, with bounded memory and time; in each round everybody
// measures a workload once, and who begins changes from round to round, so that what else the
// machine does slows all of them.  "times" is weft's rate over the peer's in the same round: the
// median of the rounds.  Peers whose modules or programs are not there are left out and named.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const BENCH = process.env.WEFT_BENCH ?? join(HERE, '..', 'weft-bench');
const PLAIN = join(dirname(BENCH), 'weft-bench-plain');
const NODE_MEMORY_MB = 3000;
const ABSENT = 3; // exit code of a plain peer whose database is not there

const USAGE = `usage: weft-bench peers [--install] [--quick] [--runs N] [--only NAME,...] [--json FILE]

Lets weft and others take turns at W1, W2, W4 and W6, and prints how many times as fast weft is.

  --install        fetches the peers' modules with npm, into the build folder; then ends
  --quick          small sizes, one round
  --runs N         rounds (1 to 9; 3 by default)
  --only NAME,...  these peers or workloads: yjs, automerge, loro, tinybase, pouchdb, gun, sqlite,
                   redis, W1, W2, W4, W6
  --json FILE      records as JSON lines
`;

// What each one does with a change besides merging it, for the table; `losers`: concurrent values
// stay side by side.
const PEERS = {
  yjs: { module: 'yjs', durable: false, losers: false },
  automerge: { module: '@automerge/automerge', durable: false, losers: true },
  loro: { module: 'loro-crdt', durable: false, losers: false },
  tinybase: { module: 'tinybase', durable: false, losers: false },
  pouchdb: { module: 'pouchdb-core', durable: false, losers: true },
  gun: { module: 'gun', durable: false, losers: false },
  sqlite: { plain: true, durable: true, losers: false },
  redis: { plain: true, durable: true, losers: false },
};
const MERGING = Object.keys(PEERS).filter((name) => !PEERS[name].plain);

// templates, updates and seconds of one measurement; which of weft's figures stand beside them.
const WORKLOADS = {
  W1: {
    what: 'edits, each synced before the next one',
    often: 3, // a disk that others use is slow and fast by turns
    full: [10000, 3000, 10],
    quick: [2000, 500, 1],
    weft: 'W1:single,W5:sustained', // the latter does not wait, and is told when it is durable
    beside: ['single', 'sustained'],
    peers: ['sqlite', 'redis'],
  },
  W2: {
    what: 'single-field changes of eight devices merged',
    full: [10000, 100000, 20],
    quick: [2000, 20000, 2],
    weft: 'W2:held',
    beside: ['held', 'shown', 'both'],
    peers: Object.keys(PEERS),
  },
  W4: {
    what: 'cold sync of a replica that has nothing',
    full: [83334, 1, 60],
    quick: [5000, 1, 10],
    weft: 'W4:held',
    beside: ['held', 'shown'],
    peers: Object.keys(PEERS),
  },
  W6: {
    what: 'devices write one field at once, then meet',
    full: [1, 1540, 10],
    quick: [1, 200, 2],
    weft: 'W6',
    beside: ['held', 'shown', 'both'],
    losers: true, // is what this is about
    peers: Object.keys(PEERS),
  },
};

function usage(code) {
  (code ? process.stderr : process.stdout).write(USAGE);
  process.exit(code);
}

function parse(args) {
  const out = { quick: false, runs: 0, only: [], json: null, install: false };
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '--help') usage(0);
    else if (args[i] === '--quick') out.quick = true;
    else if (args[i] === '--install') out.install = true;
    else if (args[i] === '--runs' && /^[1-9]$/.test(args[i + 1] ?? '')) out.runs = Number(args[++i]);
    else if (args[i] === '--only' && args[i + 1]) out.only = args[++i].split(',');
    else if (args[i] === '--json' && args[i + 1]) out.json = args[++i];
    else usage(2);
  }
  if (out.only.some((name) => !PEERS[name] && !WORKLOADS[name])) usage(2);
  out.runs ||= out.quick ? 1 : 3;
  return out;
}

// --- processes ---

let running = null;
let scratch = null;

// weft-bench and the databases remove what they have written, given a moment.
function stop(code) {
  const end = () => {
    if (scratch) rmSync(scratch, { recursive: true, force: true });
    process.exit(code);
  };
  if (!running) return end();
  running.once('close', end);
  running.kill('SIGTERM');
  setTimeout(() => running?.kill('SIGKILL'), 5000);
}

// Runs a program to its end: its exit code and what it printed; code null: it took too long.
function run(program, args, seconds) {
  return new Promise((done) => {
    let out = '';
    let err = '';
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: HERE });
    const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
    running = child;
    child.stdout.on('data', (text) => (out += text));
    child.stderr.on('data', (text) => (err = (err + text).slice(-4000)));
    child.on('error', () => done({ code: 127, out, err }));
    child.on('close', (code) => {
      clearTimeout(timer);
      running = null;
      done({ code, out, err });
    });
  });
}

const records = (text) => text.split('\n').filter((l) => l[0] === '{').map((l) => JSON.parse(l));

function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

// --- measuring ---

async function measureWeft(name, options) {
  const workload = WORKLOADS[name];
  const args = ['run', workload.weft, '--runs', '1', '--json', '-'];
  if (options.quick) args.push('--quick');
  const { code, out, err } = await run(BENCH, args, options.quick ? 60 : 600);
  if (code === null) return null; // a round less: the disk was too slow for it
  if (code !== 0) throw new Error(`weft-bench ${args.join(' ')}: ${err}`);
  return records(out);
}

async function measurePeer(name, peer, options) {
  const [templates, updates, seconds] = WORKLOADS[name][options.quick ? 'quick' : 'full'];
  const sizes = [String(templates), String(updates), String(seconds)];
  const limit = options.quick ? 30 : 240; // with making the data
  if (PEERS[peer].plain) {
    const folder = mkdtempSync(join(scratch, 'p'));
    const got = await run(PLAIN, [peer, name, ...sizes, folder], limit);
    rmSync(folder, { recursive: true, force: true });
    return got;
  }
  const memory = `--max-old-space-size=${NODE_MEMORY_MB}`;
  return run(process.execPath, [memory, join(HERE, 'one.mjs'), peer, name, ...sizes], limit);
}

const median = (list) => {
  const sorted = [...list].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

// Rounds of one workload.  Gives weft's records of each, and the peers' figures by name.
async function measure(name, peers, options) {
  const weft = [];
  const rows = new Map();
  const failed = new Map();
  const everybody = ['weft', ...peers];
  const rounds = options.runs * (WORKLOADS[name].often ?? 1);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < everybody.length; i++) {
      const who = everybody[(i + round) % everybody.length];
      progress(`${name}, round ${round + 1} of ${rounds}: ${who}`);
      if (who === 'weft') {
        weft[round] = await measureWeft(name, options);
        continue;
      }
      if (failed.has(who)) continue;
      const { code, out, err } = await measurePeer(name, who, options);
      if (code === ABSENT) failed.set(who, 'is not there');
      else if (code === null) failed.set(who, 'took too long');
      else if (code !== 0) failed.set(who, `failed: ${err.trim().split('\n')[0]}`);
      for (const r of records(out)) {
        const key = `${who} ${r.variant}`;
        if (!rows.has(key)) rows.set(key, { ...r, values: [] });
        rows.get(key).values[round] = r.value;
      }
    }
  }
  const first = weft.find((round) => round);
  if (!first) throw new Error(`${name}: weft took too long in every round`);
  return { name, weft, first, rows: [...rows.values()], failed };
}

// --- telling ---

const number = (v) => (v >= 100 ? v.toFixed(0) : v.toPrecision(3));

// `both`: held, and then shown, as one rate; of W4 `shown` has it in it.
function weftValue(round, variant, metric) {
  if (variant === 'both') {
    const [held, shown] = ['held', 'shown'].map((v) => weftValue(round, v, metric));
    return held > 0 && shown > 0 ? 1 / (1 / held + 1 / shown) : undefined;
  }
  return round?.find((r) => r.variant === variant && r.metric === metric)?.value;
}

// How many times as good weft is, as a median of the rounds in which both were measured.
function times(result, row, variant, metric) {
  const list = [];
  result.weft.forEach((round, i) => {
    const mine = weftValue(round, variant, metric);
    const theirs = row.values[i];
    if (mine > 0 && theirs > 0) list.push(metric === 'rate' ? mine / theirs : theirs / mine);
  });
  return list.length ? median(list) : null;
}

function line(...cells) {
  const widths = [18, 12, 11, 11, 11, 13, 13, 13];
  console.log(cells.map((c, i) => (i ? String(c).padStart(widths[i]) : c.padEnd(widths[i]))).join(' ').trimEnd());
}

const besides = (v) => (v === undefined || v === null ? '' : `${number(v)} x`);

function tellRates(result) {
  const { beside, what, losers } = WORKLOADS[result.name];
  const unit = result.first.find((r) => r.variant === beside[0] && r.metric === 'rate').unit;
  console.log(`\n${result.name}: ${what}`);
  line('', unit, 'min', 'max', 'of', ...beside.map((v) => `weft ${v}`));
  for (const variant of beside) {
    const values = result.weft.map((round) => weftValue(round, variant, 'rate')).filter((v) => v > 0);
    if (values.length === 0) continue; // W5 without a weft program
    line(`weft ${variant}`, number(median(values)), number(Math.min(...values)), number(Math.max(...values)), '');
  }
  const rates = result.rows.filter((r) => r.metric === 'rate');
  for (const kept of losers ? [true, false] : [null]) {
    const some = rates.filter((row) => kept === null || PEERS[row.peer].losers === kept);
    if (kept !== null && some.length) console.log(kept ? 'which keep every value:' : 'which keep one:');
    for (const row of some) tellRow(row, result);
  }
  for (const [peer, why] of result.failed) console.log(`${peer} ${why}`);
}

function tellRow(row, result) {
  const values = row.values.filter((v) => v > 0);
  const ratios = WORKLOADS[result.name].beside.map((variant) => besides(times(result, row, variant, 'rate')));
  line(`${row.peer} ${row.variant}`, number(median(values)), number(Math.min(...values)),
    number(Math.max(...values)), row.done, ...ratios);
}

// Bytes of the whole data for one that has nothing: weft's figure is of W4, the peers' of W2.
function tellBytes(results) {
  const weft = results.find((r) => r.name === 'W4');
  const rows = results.flatMap((r) => r.rows).filter((r) => r.metric === 'bytes_per_field');
  if (!weft || rows.length === 0) return;
  console.log('\nBytes for one that has nothing, by live field, after the changes of W2');
  line('', 'bytes', '', '', 'changes', 'to weft');
  const mine = weftValue(weft.first, 'held', 'wire_bytes_per_field');
  line('weft, with history', number(mine), '', '', 100000);
  for (const row of rows) {
    const value = median(row.values.filter((v) => v > 0));
    line(row.peer, number(value), '', '', row.done, besides(value / mine));
  }
}

// The table that a reader wants first: against the fastest one that merges; where values are lost
// in merging, against the fastest one that loses none, too.
function tellFastest(results) {
  console.log('\nWeft beside the fastest peer that merges, and beside the databases');
  for (const result of results) {
    const { beside, losers } = WORKLOADS[result.name];
    const rows = result.rows.filter((r) => r.metric === 'rate');
    for (const variant of beside) {
      const ratio = (row) => times(result, row, variant, 'rate');
      const fastest = (peers) => rows.filter((r) => peers.includes(r.peer)).map((r) => [ratio(r), r])
        .filter(([x]) => x).sort((a, b) => a[0] - b[0])[0];
      const parts = [];
      const keeping = losers && fastest(MERGING.filter((name) => PEERS[name].losers));
      if (keeping) parts.push(`${besides(keeping[0])} ${keeping[1].peer}, which keeps every value`);
      const any = fastest(MERGING);
      if (any) parts.push(`${besides(any[0])} ${any[1].peer}`);
      for (const row of rows.filter((r) => PEERS[r.peer].plain)) {
        parts.push(`${besides(ratio(row))} ${row.peer}`);
      }
      if (parts.length) console.log(`${result.name} ${variant}: ${parts.join(', ')}`);
    }
  }
}

function writeJson(path, results, options) {
  const lines = [];
  for (const result of results) {
    const { machine } = result.first[0];
    lines.push(...result.first);
    for (const row of result.rows) {
      const values = row.values.filter((v) => v > 0);
      const record = {
        workload: result.name, variant: `${row.peer} ${row.variant}`, metric: row.metric,
        unit: row.unit, value: median(values), min: Math.min(...values), max: Math.max(...values),
        runs: values.length, better: row.metric === 'rate' ? 'more' : 'less', quick: options.quick, machine, peer: row.peer, done: row.done,
      };
      // The figure that asks most of weft: what is durable at once, or what can be read.
      const beside = result.name === 'W1' ? 'single' : 'shown';
      const ratio = row.metric === 'rate' ? times(result, row, beside, 'rate') : null;
      if (ratio) Object.assign(record, { beside, times: ratio });
      lines.push(record);
    }
  }
  writeFileSync(path, lines.map((r) => `${JSON.stringify(r)}\n`).join(''));
}

// --- all ---

async function install() {
  const args = ['ci', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund'];
  const { code, err } = await run('npm', args, 600);
  if (code === 0) return 0;
  process.stderr.write(`npm ${args.join(' ')}: ${err}\n`);
  return 1;
}

async function main(options) {
  const named = (all) => {
    const wanted = options.only.filter((name) => all.includes(name));
    return wanted.length ? wanted : all;
  };
  const wanted = named(Object.keys(PEERS));
  const there = wanted.filter((name) =>
    PEERS[name].plain ? existsSync(PLAIN) : existsSync(join(HERE, 'node_modules', PEERS[name].module)));
  const absent = wanted.filter((name) => !there.includes(name));
  if (absent.length) {
    console.error(`left out: ${absent.join(', ')} (weft-bench peers --install fetches the modules)`);
  }
  const results = [];
  if (options.json) writeFileSync(options.json, '', { flag: 'a' }); // or it fails before all the work
  const start = performance.now();
  for (const name of named(Object.keys(WORKLOADS))) {
    const peers = WORKLOADS[name].peers.filter((peer) => there.includes(peer));
    results.push(await measure(name, peers, options));
    progress('');
    tellRates(results.at(-1));
  }
  tellBytes(results);
  tellFastest(results);
  console.log(`\nrounds: ${options.runs}; minutes: ${Math.ceil((performance.now() - start) / 60000)}`);
  if (options.json) writeJson(options.json, results, options);
}

const options = parse(process.argv.slice(2));
process.on('SIGINT', () => stop(130));
process.on('SIGTERM', () => stop(130));
try {
  if (options.install) {
    process.exitCode = await install();
  } else {
    scratch = mkdtempSync(join(process.env.TMPDIR ?? tmpdir(), 'weft-peers-'));
    await main(options);
    rmSync(scratch, { recursive: true, force: true });
  }
} catch (error) {
  progress('');
  console.error(`weft-bench peers: ${error.message}`);
  stop(1);
}
