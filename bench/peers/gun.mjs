// GUN: a node for each template, in memory; messages as another peer would send them.
import { createRequire } from 'node:module';
import { FIELDS, idOf, templateOf, valueOf } from './w1.mjs';

console.log = () => {}; // it greets
const Gun = createRequire(import.meta.url)('gun/gun.js');
const FIRST_MS = 1750000000000;
const NODES = 1000; // of a message
let messages = 0;

const open = () => new Gun({ localStorage: false, radisk: false, multicast: false, axe: false });

function node(soul, values, state) {
  const states = {};
  for (const field of Object.keys(values)) states[field] = state;
  return { _: { '#': soul, '>': states }, ...values };
}

// Whether the last field of a message is in the graph, or what has overwritten it.
function landed(gun, put) {
  const want = Object.values(put).at(-1);
  const field = Object.keys(want).at(-1);
  const got = gun._.graph[want._['#']];
  return got && got._['>'][field] >= want._['>'][field];
}

// Hands messages in and waits until they are in the graph, since gun takes its time.  It takes short
// ones in the order they came, so a message of its own at the end tells also where clocks are equal;
// long ones take turns.
async function take(gun, graphs) {
  for (const put of graphs) gun.on('in', { '#': `m${messages++}.`, put });
  const soul = `end ${messages}`;
  gun.on('in', { '#': `m${messages++}.`, put: { [soul]: node(soul, { done: 1 }, FIRST_MS) } });
  while (!gun._.graph[soul] || !graphs.every((put) => landed(gun, put))) {
    await new Promise((done) => setImmediate(done));
  }
  delete gun._.graph[soul];
}

// The whole graph in messages of a thousand nodes.
function parts(graph) {
  const souls = Object.keys(graph);
  const out = [];
  for (let i = 0; i < souls.length; i += NODES) {
    out.push(Object.fromEntries(souls.slice(i, i + NODES).map((soul) => [soul, graph[soul]])));
  }
  return out;
}

const save = (gun) => new TextEncoder().encode(JSON.stringify(gun._.graph));

async function load(bytes) {
  const gun = open();
  await take(gun, parts(JSON.parse(new TextDecoder().decode(bytes))));
  return gun;
}

export default {
  keepsLosers: false,

  async build(templates) {
    const gun = open();
    const graph = {};
    for (let t = 0; t < templates; t++) graph[idOf(t)] = node(idOf(t), templateOf(t), FIRST_MS);
    await take(gun, parts(graph));
    return gun;
  },

  edit: (gun, updates) =>
    [...updates].map(({ i, t, f, k }) => ({
      [idOf(t)]: node(idOf(t), { [FIELDS[f]]: valueOf(t, f, k) }, FIRST_MS + 1 + i),
    })),

  merge: take,
  copy: (graphs) => structuredClone(graphs), // it keeps what it is handed

  save,
  load,
  read: (gun, t, f) => gun._.graph[idOf(t)][FIELDS[f]],

  storm(count) {
    const changes = [];
    for (let i = 0; i < count; i++) {
      changes.push({ field: node('field', { value: `value of device ${i}` }, FIRST_MS + 1) });
    }
    return { changes, fresh: open };
  },
  stormValue: (gun) => gun._.graph.field.value,
  stormLast: (texts) => texts.reduce((a, b) => (a > b ? a : b)), // of equal clocks the greater text
  stormValues: () => 1,
};
