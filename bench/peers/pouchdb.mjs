// PouchDB with its memory adapter: a document for each template, a revision for each change.
import PouchDB from 'pouchdb-core';
import memory from 'pouchdb-adapter-memory';
import replication from 'pouchdb-replication';
import { FIELDS, idOf, templateOf, valueOf } from './w1.mjs';

PouchDB.plugin(memory).plugin(replication);
const BATCH = 100;
let databases = 0;

const open = () => new PouchDB(`peer-${databases++}`, { adapter: 'memory' });
const hash = (...numbers) => numbers.map((n) => n.toString(16).padStart(8, '0')).join('').padStart(32, '0');

// What a replication brings of a document: its content, and the ids of all its revisions.
function revision(id, content, ids) {
  const _revisions = { start: ids.length, ids };
  return { _id: id, _rev: `${ids.length}-${ids[0]}`, _revisions, ...content };
}

// In batches of a hundred, as a replication brings them.
async function add(db, docs) {
  for (let i = 0; i < docs.length; i += BATCH) {
    await db.bulkDocs(docs.slice(i, i + BATCH), { new_edits: false });
  }
}

// Documents as a replication over HTTP fetches them: the leaves with all their revisions.
async function save(db) {
  const { rows } = await db.allDocs();
  const docs = rows.map((row) => ({ id: row.id, rev: row.value.rev }));
  const got = await db.bulkGet({ docs, revs: true, latest: true });
  return new TextEncoder().encode(JSON.stringify(got.results.map((r) => r.docs[0].ok)));
}

export default {
  keepsLosers: true,
  updatesMost: 20000, // more would take minutes
  templatesMost: 20000,

  async build(templates) {
    const db = open();
    const docs = [];
    for (let t = 0; t < templates; t++) docs.push(revision(idOf(t), templateOf(t), [hash(t, 0)]));
    await add(db, docs);
    return db;
  },

  // The revisions that eight devices would make one after the other; nothing reads the source.
  edit(db, updates) {
    const contents = new Map();
    return [...updates].map(({ i, t, f, k }) => {
      const had = contents.get(t) ?? { content: templateOf(t), ids: [hash(t, 0)] };
      const now = {
        content: { ...had.content, [FIELDS[f]]: valueOf(t, f, k) },
        ids: [hash(t, 1 + i), ...had.ids],
      };
      contents.set(t, now);
      return revision(idOf(t), now.content, now.ids);
    });
  },

  merge: add,

  save,
  async load(bytes) {
    const db = open();
    const docs = JSON.parse(new TextDecoder().decode(bytes));
    await add(db, docs);
    return db;
  },
  async sync(from) {
    const to = open();
    await PouchDB.replicate(from, to, { batch_size: BATCH });
    return to;
  },
  read: async (db, t, f) => (await db.get(idOf(t)))[FIELDS[f]],

  storm(count) {
    const changes = [];
    for (let i = 0; i < count; i++) {
      changes.push(revision('field', { value: `value of device ${i}` }, [hash(i), hash(0)]));
    }
    return {
      changes,
      async fresh() {
        const db = open();
        await add(db, [revision('field', { value: 'first' }, [hash(0)])]);
        return db;
      },
    };
  },
  stormValue: async (db) => (await db.get('field')).value,
  stormValues: async (db) => 1 + (await db.get('field', { conflicts: true }))._conflicts.length,
};
