// Automerge: one document, an object of templates.
import * as A from '@automerge/automerge';
import { deviceOf, FIELDS, idOf, templateOf, valueOf } from './w1.mjs';

const actor = (number) => number.toString(16).padStart(32, '0');

export default {
  keepsLosers: true,
  updatesMost: 2000, // more would take minutes
  templatesMost: 10000,

  build(templates) {
    const all = {};
    for (let t = 0; t < templates; t++) all[idOf(t)] = templateOf(t);
    return A.from({ templates: all }, actor(100));
  },

  edit(doc, updates) {
    const out = [];
    let device = -1;
    for (const { i, t, f, k } of updates) {
      if (deviceOf(i) !== device) {
        device = deviceOf(i);
        doc = A.clone(doc, actor(1 + device));
      }
      doc = A.change(doc, (d) => {
        d.templates[idOf(t)][FIELDS[f]] = valueOf(t, f, k);
      });
      out.push(A.getLastLocalChange(doc));
    }
    this.edited = doc;
    return out;
  },

  merge(doc, changes) {
    return A.applyChanges(doc, changes)[0];
  },

  mark: (doc) => A.getHeads(doc),
  since: (doc, mark) => A.saveSince(doc, mark),
  mergeAll: (doc, bytes) => A.loadIncremental(doc, bytes),

  save: (doc) => A.save(doc),
  load: (bytes) => A.load(bytes),
  read: (doc, t, f) => doc.templates[idOf(t)][FIELDS[f]],

  storm(count) {
    const base = A.save(A.from({ value: 'first' }, actor(1)));
    const changes = [];
    for (let i = 0; i < count; i++) {
      const doc = A.change(A.load(base, actor(2 + i)), (d) => {
        d.value = `value of device ${i}`;
      });
      changes.push(A.getLastLocalChange(doc));
    }
    return { changes, fresh: () => A.load(base) };
  },
  stormValue: (doc) => doc.value,
  stormValues: (doc) => Object.keys(A.getConflicts(doc, 'value')).length,
};
