// The W1 data in JavaScript: the same templates and updates, to the byte, as bench/w1.c makes.
//
// Nothing is stored but how often each field was written.  Run as a program it prints the sha256 of
// the check text for `node w1.mjs TEMPLATES UPDATES`, which a test compares with what is published.
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';

const KEY_VALUES = 0x70656572;
const KEY_UPDATES = 0x6f707331;

const WORDS = (
  'alpha amber anchor arrow atlas basil beacon birch bravo cedar cipher cobalt copper coral ' +
  'delta drift echo ember falcon fern flint forge garnet glacier harbor hazel indigo iron ivory ' +
  'jade jasper juniper kestrel lagoon lantern laurel linen lotus maple marble meadow mesa nickel ' +
  'nova oak onyx opal orchid pearl pine quartz raven ridge river saffron sage slate sparrow ' +
  'summit tango thistle umber velvet willow'
).split(' ');
const CATEGORIES =
  'invoice letter label report badge ticket receipt notice form card menu poster'.split(' ');
const LANGS = (
  'en-GB en-US de-DE de-AT fr-FR fr-CA es-ES es-MX it-IT nl-NL pl-PL pt-BR sv-SE da-DK fi-FI cs-CZ'
).split(' ');

export const FIELDS =
  'name category body author version priority weight updated enabled locked lang tags'.split(' ');
export const DEVICES = 8; // who take turns with the updates
export const BLOCK = 100; // updates of a turn

function mix(x) {
  x ^= x >>> 16;
  x = Math.imul(x, 0x85ebca6b);
  x ^= x >>> 13;
  x = Math.imul(x, 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

const valueHash = (t, f, k, j) => mix(mix(mix(mix(KEY_VALUES + t) + f) + k) + j);
const updateHash = (i, j) => mix(mix(KEY_UPDATES + i) + j);
const word = (t, f, k, j) => WORDS[valueHash(t, f, k, j) % 64];

function body(t, k) {
  const count = 8 + (valueHash(t, 2, k, 0) % 17);
  let text = `rev ${k}:`;
  for (let j = 1; j <= count; j++) text += ` ${word(t, 2, k, j)}`;
  return text;
}

// The k-th value ever written to field f of template t.  The sums are not reduced modulo 2^32.
export function valueOf(t, f, k) {
  const stable = valueHash(t, f, 0, 0);
  switch (f) {
    case 0: return `${word(t, 0, k, 0)}-${word(t, 0, k, 1)} rev ${k}`;
    case 1: return CATEGORIES[(stable + k) % 12];
    case 2: return body(t, k);
    case 3: return `user-${String((stable + k) % 5000).padStart(4, '0')}`;
    case 4: return (stable % 1000) + k;
    case 5: return (stable + k) % 10;
    case 6: return ((stable % 100000) + k) / 1000;
    case 7: return 1700000000000 + (stable % 1000000000) + 1000 * k;
    case 8:
    case 9: return ((stable + k) & 1) === 1;
    case 10: return LANGS[(stable + k) % 16];
    default: return `${word(t, 11, k, 0)},${word(t, 11, k, 1)},${word(t, 11, k, 2)},#${k}`;
  }
}

export const idOf = (t) => `tpl-${String(t).padStart(6, '0')}`;

// A whole template as first written.
export function templateOf(t) {
  const template = {};
  for (let f = 0; f < FIELDS.length; f++) template[FIELDS[f]] = valueOf(t, f, 0);
  return template;
}

// The first `count` updates of `templates` templates: template, field, how often it was written.
export function* updatesOf(templates, count) {
  const written = new Uint32Array(templates * FIELDS.length);
  for (let i = 0; i < count; i++) {
    const t = updateHash(i, 0) % templates;
    const f = updateHash(i, 1) % FIELDS.length;
    yield { i, t, f, k: ++written[t * FIELDS.length + f] };
  }
}

export const deviceOf = (i) => Math.floor(i / BLOCK) % DEVICES;

function line(t, f, k) {
  const value = valueOf(t, f, k);
  return `${idOf(t)}\t${FIELDS[f]}\t${f === 6 ? value.toFixed(3) : value}\n`;
}

function checksum(templates, count) {
  const hash = createHash('sha256');
  for (let t = 0; t < templates; t++) {
    for (let f = 0; f < FIELDS.length; f++) hash.update(line(t, f, 0));
  }
  for (const { t, f, k } of updatesOf(templates, count)) hash.update(line(t, f, k));
  return hash.digest('hex');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log(checksum(Number(process.argv[2]), Number(process.argv[3])));
}
