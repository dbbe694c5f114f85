// TinyBase: a MergeableStore with a table of templates.
import { createMergeableStore } from 'tinybase/mergeable-store';
import { FIELDS, idOf, templateOf, valueOf } from './w1.mjs';

function load(bytes) {
  const store = createMergeableStore('receiver');
  store.setMergeableContent(JSON.parse(new TextDecoder().decode(bytes)));
  return store;
}

const save = (store) => new TextEncoder().encode(JSON.stringify(store.getMergeableContent()));

export default {
  keepsLosers: false,
  templatesMost: 20000, // more would take a minute

  build(templates) {
    const store = createMergeableStore('device');
    store.transaction(() => {
      for (let t = 0; t < templates; t++) store.setRow('templates', idOf(t), templateOf(t));
    });
    return store;
  },

  // One store writes for all eight devices: what merging costs depends on the clocks alone.
  edit(store, updates) {
    const out = [];
    const id = store.addDidFinishTransactionListener(() => {
      out.push(structuredClone(store.getTransactionMergeableChanges()));
    });
    for (const { t, f, k } of updates) {
      store.setCell('templates', idOf(t), FIELDS[f], valueOf(t, f, k));
    }
    store.delListener(id);
    return out;
  },

  merge(store, changes) {
    store.transaction(() => changes.forEach((change) => store.applyMergeableChanges(change)));
  },

  save,
  load,
  read: (store, t, f) => store.getCell('templates', idOf(t), FIELDS[f]),

  storm(count) {
    const base = createMergeableStore('first');
    base.setCell('all', 'field', 'value', 'first');
    const bytes = save(base);
    const changes = [];
    for (let i = 0; i < count; i++) {
      const store = createMergeableStore(`device-${i}`);
      store.setMergeableContent(JSON.parse(new TextDecoder().decode(bytes)));
      store.addDidFinishTransactionListener(() => {
        changes.push(structuredClone(store.getTransactionMergeableChanges()));
      });
      store.setCell('all', 'field', 'value', `value of device ${i}`);
    }
    return { changes, fresh: () => load(bytes) };
  },
  stormValue: (store) => store.getCell('all', 'field', 'value'),
  stormValues: () => 1,
};
