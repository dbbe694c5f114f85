// Yjs: one Y.Doc, a Y.Map of templates, each a Y.Map.
import * as Y from 'yjs';
import { deviceOf, FIELDS, idOf, templateOf, valueOf } from './w1.mjs';

function load(bytes) {
  const doc = new Y.Doc();
  Y.applyUpdate(doc, bytes);
  return doc;
}

export default {
  keepsLosers: false,

  build(templates) {
    const doc = new Y.Doc();
    doc.clientID = 100;
    doc.transact(() => {
      const all = doc.getMap('templates');
      for (let t = 0; t < templates; t++) {
        all.set(idOf(t), new Y.Map(Object.entries(templateOf(t))));
      }
    });
    return doc;
  },

  // Everybody has been shown everything before a turn, so one document whose client changes from
  // turn to turn makes the very updates that eight would.
  edit(doc, updates) {
    const out = [];
    const all = doc.getMap('templates');
    const keep = (update) => out.push(update);
    doc.on('update', keep);
    for (const { i, t, f, k } of updates) {
      doc.clientID = 1 + deviceOf(i);
      all.get(idOf(t)).set(FIELDS[f], valueOf(t, f, k));
    }
    doc.off('update', keep);
    return out;
  },

  merge(doc, changes) {
    doc.transact(() => changes.forEach((change) => Y.applyUpdate(doc, change)));
  },

  mark: (doc) => Y.encodeStateVector(doc),
  since: (doc, mark) => Y.encodeStateAsUpdate(doc, mark),
  mergeAll(doc, bytes) {
    Y.applyUpdate(doc, bytes);
  },

  save: (doc) => Y.encodeStateAsUpdate(doc),
  load,
  read: (doc, t, f) => doc.getMap('templates').get(idOf(t)).get(FIELDS[f]),

  storm(count) {
    const base = new Y.Doc();
    base.getMap('field').set('value', 'first');
    const bytes = Y.encodeStateAsUpdate(base);
    const changes = [];
    for (let i = 0; i < count; i++) {
      const doc = load(bytes);
      doc.on('update', (update) => changes.push(update));
      doc.getMap('field').set('value', `value of device ${i}`);
    }
    return { changes, fresh: () => load(bytes) };
  },
  stormValue: (doc) => doc.getMap('field').get('value'),
  stormValues: () => 1,
};
