// Measures one workload of one peer and prints its figures, a JSON line each.
//
//   node one.mjs PEER W2|W4|W6 TEMPLATES UPDATES SECONDS
//
// Every peer is a module with the same functions: build a replica of the templates, make the edits
// of eight devices as messages, merge messages, save a replica for one that has nothing, load it.
// Making data is not timed.  What takes longer than SECONDS is cut off and told by its rate so far.
import { BLOCK, FIELDS, idOf, updatesOf, valueOf } from './w1.mjs';

const print = console.log;
const [name, workload, templatesText, updatesText, secondsText] = process.argv.slice(2);
const peer = (await import(`./${name}.mjs`)).default;
const seconds = Number(secondsText);
const templates = Math.min(Number(templatesText), peer.templatesMost ?? Infinity);
const updates = Math.min(Number(updatesText), peer.updatesMost ?? Infinity);
const now = () => performance.now() / 1000;
const tell = (record) => print(JSON.stringify({ ...record, peer: name }));

function must(what, condition) {
  if (!condition) throw new Error(`${name} ${workload}: ${what}`);
}

// The last value of every field that was updated must be the one that is read.
async function check(replica, count) {
  const last = new Map();
  for (const { t, f, k } of updatesOf(templates, count)) last.set(t * FIELDS.length + f, k);
  for (const [at, k] of [...last].slice(-1000)) {
    const t = Math.floor(at / FIELDS.length);
    const f = at % FIELDS.length;
    const got = await peer.read(replica, t, f);
    must(`${idOf(t)} ${FIELDS[f]} is ${got}`, got === valueOf(t, f, k));
  }
}

// Merges turn by turn, each change a message of its own; gives how many were merged, and how fast.
async function mergeTurns(replica, changes) {
  await peer.read(replica, 0, 0); // what is put off until the first look is not timed
  const start = now();
  let done = 0;
  for (; done < changes.length && now() - start < seconds; done += BLOCK) {
    replica = (await peer.merge(replica, changes.slice(done, done + BLOCK))) ?? replica;
  }
  done = Math.min(done, changes.length);
  return { replica, done, rate: done / (now() - start) };
}

async function w2() {
  const source = await peer.build(templates);
  const base = await peer.save(source);
  const mark = peer.mark?.(source);
  const changes = await peer.edit(source, updatesOf(templates, updates));
  must(`${changes.length} changes`, changes.length === updates);
  const turns = await mergeTurns(await peer.load(base), changes);
  await check(turns.replica, turns.done);
  tell({ variant: 'turns', metric: 'rate', unit: 'changes/s', value: turns.rate, done: turns.done });
  let whole = turns; // what merged most, for the bytes
  if (peer.since) {
    const bytes = peer.since(peer.edited ?? source, mark);
    let replica = await peer.load(base);
    const start = now();
    replica = peer.mergeAll(replica, bytes) ?? replica;
    await peer.read(replica, 0, 0);
    const rate = updates / (now() - start);
    await check(replica, updates);
    tell({ variant: 'away', metric: 'rate', unit: 'changes/s', value: rate, done: updates });
    whole = { replica, done: updates };
  }
  const value = (await peer.save(whole.replica)).length / (templates * FIELDS.length);
  tell({ variant: 'wire', metric: 'bytes_per_field', unit: 'bytes', value, done: whole.done });
}

async function w4() {
  const source = await peer.build(templates);
  const start = now();
  const target = peer.sync ? await peer.sync(source) : await peer.load(await peer.save(source));
  const got = await peer.read(target, templates - 1, FIELDS.length - 1);
  const value = (templates * FIELDS.length) / (now() - start);
  must(`the last field is ${got}`, got === valueOf(templates - 1, FIELDS.length - 1, 0));
  tell({ variant: 'cold', metric: 'rate', unit: 'fields/s', value, done: templates * FIELDS.length });
}

// A storm is over soon, so it comes again and again for a second; the median counts.
async function w6() {
  const count = updates;
  const { changes, fresh } = await peer.storm(count);
  must(`${changes.length} changes`, changes.length === count);
  const texts = Array.from({ length: count }, (_, i) => `value of device ${i}`);
  const rates = [];
  let values = 0;
  const begin = now();
  while (rates.length < 3 || (now() - begin < Math.min(seconds, 1) && rates.length < 100)) {
    let replica = await fresh();
    const messages = peer.copy?.(changes) ?? changes;
    const start = now();
    replica = (await peer.merge(replica, messages)) ?? replica;
    const shown = await peer.stormValue(replica);
    rates.push(count / (now() - start));
    values = await peer.stormValues(replica);
    must(`${shown} is shown`, peer.stormLast ? shown === peer.stormLast(texts) : texts.includes(shown));
  }
  must(`${values} values are left`, values === (peer.keepsLosers ? count : 1));
  rates.sort((a, b) => a - b);
  const value = rates[rates.length >> 1];
  tell({ variant: 'storm', metric: 'rate', unit: 'changes/s', value, done: count });
}

await { W2: w2, W4: w4, W6: w6 }[workload]();
process.exit(0); // some peers keep timers
