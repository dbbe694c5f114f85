/* What the files that answer questions share: fields, their order, documents read one by one, and
 * cursors.
 *
 * Only store/query*.c, store/history*.c, store/verify*.c and store/replica_waiting.c include
 * this. */
#ifndef WEFT_STORE_QUERY_INTERNAL_H
#define WEFT_STORE_QUERY_INTERNAL_H

#include "store/replica_internal.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  WEFT_SORT_KEY_LEN_MAX = 248, /* with an index number and a name it fits a key of the store */
  WEFT_LIST_LIMIT_MAX = 10000,
  WEFT_LIST_LIMIT_DEFAULT = 100,
  WEFT_WHERE_COUNT_MAX = 64 /* a guess: nobody types more */
};

/* --- fields --- */

typedef enum weft_field_source {
  WEFT_FIELD_POINTER,
  WEFT_FIELD_CREATED, /* milliseconds since 1970 */
  WEFT_FIELD_MODIFIED,
  WEFT_FIELD_BY, /* the device key of the last author in hex */
  WEFT_FIELD_VERSIONS,
  WEFT_FIELD_CONTRIBUTORS /* of lists alone: it takes a walk over the history */
} weft_field_source;

/* What a condition, a sort or an index speaks of. */
typedef struct weft_field {
  weft_field_source source;
  weft_bytes pointer; /* borrowed */
} weft_field;

/* Takes the text of a field apart.  `scratch` is used and not reset.  WEFT_EBADPATH, WEFT_ELIMIT,
 * WEFT_ENOMEM. */
weft_err weft__field_parse(weft_arena *scratch, weft_bytes text, weft_field *out) WEFT_MUST_USE;

/* Gives the value of a field; `doc` may be NULL when it is no pointer.  Where nothing is shown:
 * false in `there`.  WEFT_ECORRUPT, WEFT_ENOMEM. */
weft_err weft__field_value(const weft_replica *r, const weft_field *field,
                           const weft_doc_record *record, const weft_doc *doc, weft_arena *arena,
                           bool *there, weft_value *out) WEFT_MUST_USE;

/* --- order --- */

/* A value as bytes that order like values do: null, false, true, numbers, strings, bytes, arrays,
 * objects; nothing at all before everything.  No key begins another.  Long strings are cut, so
 * values that begin alike may have one key; what orders before has never the greater one.
 * Containers of a kind have one key. */
typedef struct weft_sort_key {
  uint8_t b[WEFT_SORT_KEY_LEN_MAX];
  uint8_t len;
} weft_sort_key;

/* Makes the key of `value`; NULL: nothing is there. */
void weft__sort_key(const weft_value *value, weft_sort_key *out);
weft_bytes weft__sort_key_view(const weft_sort_key *key);
/* Finds where a key ends that something else follows; false when it begins with none. */
bool weft__sort_key_split(weft_bytes both, weft_bytes *key, weft_bytes *rest);
/* The key of the field of a document.  Errors as weft__field_value. */
weft_err weft__field_key(const weft_replica *r, const weft_field *field,
                         const weft_doc_record *record, const weft_doc *doc, weft_arena *arena,
                         weft_sort_key *out) WEFT_MUST_USE;

/* Whether a value meets a condition; NULL: nothing is there, which is unequal to everything. */
bool weft__where_holds(const weft_where *where, const weft_value *value);

/* The parts of the order that can meet a condition, as keys: what lies before strings, strings,
 * what lies behind them.  A part with `none` can meet nothing.  `to` is inclusive. */
enum { WEFT_ZONES = 3 };
typedef struct weft_zone {
  bool none;
  weft_sort_key from, to;
} weft_zone;

/* What the key of a value tells of a condition on it. */
typedef enum weft_known_by_key {
  WEFT_KEY_FAILS,
  WEFT_KEY_HOLDS,
  WEFT_KEY_UNSURE /* the value has to be looked at */
} weft_known_by_key;
weft_known_by_key weft__where_by_key(const weft_where *where, weft_bytes key);
/* The keys of the values that meet a condition, when these are few and nothing else has them; 0:
 * they are not. */
size_t weft__where_points(const weft_where *where, weft_sort_key points[WEFT_ZONES]);

/* Narrows `zones` to what `where` can meet.  WEFT_WHERE_NE and CONTAINS narrow nothing: false. */
bool weft__where_zones(const weft_where *where, weft_zone zones[WEFT_ZONES]);
/* Every value, and nothing at all. */
void weft__zones_all(weft_zone zones[WEFT_ZONES]);

/* --- documents, one after another --- */

/* Loads documents into one weft_doc again and again. */
typedef struct weft_reader {
  weft_replica *r;
  weft_txn *txn;
  weft_doc *doc;    /* what was read last */
  weft_arena arena; /* good until the next document */
  uint64_t entries; /* of `state`, that all documents loaded were made of: their segments */
} weft_reader;

weft_err weft__reader_begin(weft_reader *reader, weft_replica *r, weft_txn *txn) WEFT_MUST_USE;
/* Harmless on a zeroed reader. */
void weft__reader_end(weft_reader *reader);
/* Empties document and arena. */
void weft__reader_reset(weft_reader *reader);
/* Loads a document as it is shown; what was read before is forgotten, the arena, in which it lies,
 * is not. */
weft_err weft__reader_load(weft_reader *reader, uint32_t number) WEFT_MUST_USE;

/* --- cursors --- */

/* Begins a cursor that belongs to the question `hash`. */
void weft__mark_begin(weft_buf *b, uint64_t hash);
/* Turns what was appended behind that into printable text in `arena`.  WEFT_ENOMEM. */
weft_err weft__mark_text(const weft_buf *b, weft_arena *arena, weft_bytes *out) WEFT_MUST_USE;
/* Takes the text of a cursor apart: `out` reads what was appended, in `arena`.  WEFT_EMALFORMED: it
 * is none, or another question's; WEFT_ENOMEM. */
weft_err weft__mark_read(weft_arena *arena, weft_bytes text, uint64_t hash,
                         weft_rd *out) WEFT_MUST_USE;
/* The hash of what makes a question. */
uint64_t weft__mark_hash(const weft_replica *r, weft_bytes question);

/* --- indexes (store/query_index.c) --- */

/* Finds the index over `text` of a collection; NULL when there is none. */
const weft_index *weft__index_find(const weft_replica *r, weft_bytes collection, weft_bytes text);
/* Makes the key of an entry, or with an empty name where entries of a value begin. */
weft_bytes weft__index_key(weft_dbkey *out, const weft_index *index, weft_bytes sort_key,
                           weft_bytes name);

/* --- people (store/query_people.c) --- */

/* Who wrote to a document, in no particular order; array in `arena`. */
weft_err weft__contributors(weft_replica *r, weft_txn *txn, const weft_doc_record *record,
                            weft_arena *arena, weft_contributor **out, size_t *count) WEFT_MUST_USE;

/* --- conflicts (store/query_conflicts.c) --- */

/* A document as it is shown, and as it would be with a change that nobody has made. */
typedef struct weft_foresight {
  weft_replica *r;
  weft_txn *txn;
  const weft_doc *now, *then;
  weft_dot dot; /* of the change; no log has its number */
  const weft_history_entry *change;
} weft_foresight;
/* Tells the conflicts of `then` that the change makes or has a part in.  Errors as
 * weft_replica_conflicts. */
weft_err weft__conflicts_foresee(const weft_foresight *f, weft_bytes name, weft_arena *arena,
                                 weft_conflict_entry **out, size_t *count) WEFT_MUST_USE;

/* --- history (store/query_history.c) --- */

/* Tells of a change: who, when and why; views into `change`.  No ops. */
void weft__history_of(const weft_log *log, uint64_t seq, const weft_id *id,
                      const weft_change *change, weft_history_entry *out);
/* Reads the change of a dot, without its ops, into `out`.  WEFT_ECORRUPT: it is not held. */
weft_err weft__history_at(weft_replica *r, weft_txn *txn, weft_dot dot, weft_arena *out,
                          weft_history_entry *entry) WEFT_MUST_USE;
/* Finds a held change by (a prefix of) its id.  WEFT_ENOTFOUND, WEFT_EMALFORMED: ambiguous or too
 * short; WEFT_ECORRUPT, WEFT_ENOMEM, WEFT_EIO. */
weft_err weft__change_find(weft_replica *r, weft_txn *txn, weft_bytes id_prefix, weft_log **log,
                           uint64_t *seq) WEFT_MUST_USE;
/* The newest shown seq of a log whose clock is at most `hlc`, or 0.  A change that says no clock
 * counts as written with the one before it.  WEFT_ECORRUPT, WEFT_ENOMEM, WEFT_EIO. */
weft_err weft__log_before(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t hlc,
                          uint64_t *seq) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
