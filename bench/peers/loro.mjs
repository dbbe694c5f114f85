// Loro: one document, a map of templates, each a map.
import { LoroDoc, LoroMap } from 'loro-crdt';
import { BLOCK, deviceOf, FIELDS, idOf, templateOf, valueOf } from './w1.mjs';

function load(bytes) {
  const doc = new LoroDoc();
  doc.import(bytes);
  return doc;
}

export default {
  keepsLosers: false,

  build(templates) {
    const doc = new LoroDoc();
    doc.setPeerId(100n);
    const all = doc.getMap('templates');
    for (let t = 0; t < templates; t++) {
      const template = all.setContainer(idOf(t), new LoroMap());
      for (const [field, value] of Object.entries(templateOf(t))) template.set(field, value);
    }
    doc.commit();
    return doc;
  },

  // One document whose peer changes from turn to turn makes the changes that eight would.
  edit(doc, updates) {
    const out = [];
    const all = doc.getMap('templates');
    const stop = doc.subscribeLocalUpdates((bytes) => out.push(bytes));
    for (const { i, t, f, k } of updates) {
      if (i % BLOCK === 0) doc.setPeerId(BigInt(1 + deviceOf(i)));
      all.get(idOf(t)).set(FIELDS[f], valueOf(t, f, k));
      doc.commit();
    }
    stop();
    return out;
  },

  // One by one is faster but for long runs.
  merge(doc, changes) {
    if (changes.length > BLOCK) doc.importBatch(changes);
    else changes.forEach((change) => doc.import(change));
  },

  mark: (doc) => doc.version(),
  since: (doc, mark) => doc.export({ mode: 'update', from: mark }),
  mergeAll(doc, bytes) {
    doc.import(bytes);
  },

  save: (doc) => doc.export({ mode: 'snapshot' }),
  load,
  read: (doc, t, f) => doc.getMap('templates').get(idOf(t)).get(FIELDS[f]),

  storm(count) {
    const base = new LoroDoc();
    base.getMap('field').set('value', 'first');
    const bytes = base.export({ mode: 'snapshot' });
    const changes = [];
    for (let i = 0; i < count; i++) {
      const doc = load(bytes);
      doc.setPeerId(BigInt(2 + i));
      const version = doc.version();
      doc.getMap('field').set('value', `value of device ${i}`);
      doc.commit();
      changes.push(doc.export({ mode: 'update', from: version }));
    }
    return { changes, fresh: () => load(bytes) };
  },
  stormValue: (doc) => doc.getMap('field').get('value'),
  stormValues: () => 1,
};
