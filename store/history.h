/* The past of documents, put to use: versions, what differs between them, who wrote what stands,
 * names for versions, and taking things back as new changes.  A part of the replica's door.
 *
 * Nothing here changes what was written: restore, revert and redo are ordinary changes, made on
 * what is shown now, so they overwrite nothing that they have not seen, and can be reverted
 * themselves. Everything that returns views returns them in the arena given, unless said otherwise.
 */
#ifndef WEFT_HISTORY_H
#define WEFT_HISTORY_H

#include "replica.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- versions --- */

/* The version of a document that a change left behind, for people: itself, what it is known to have
 * seen of the document, and whatever else was written to it before by the authors' clocks.  The
 * last part is what makes the document whole: claims name only what stood at and below the paths
 * that were written.  It may hold a little that the author had not received yet.
 *
 * The change is told by the first bytes of its id, 4 at least, and looked for in the history of the
 * document first, then in the whole space; `change` (may be NULL) gets the id.  Replaces what
 * `out`, an initialised vector, holds: the logs that wrote to the document, and no others; on error
 * it is empty.  Costs the history of the document, wherever the change is one of it.
 * WEFT_ENOTFOUND: no such document, or the change is not held; WEFT_EMALFORMED: several fit, or the
 * prefix is too short or too long; WEFT_EBASE: it is not shown here; WEFT_EBADNAME; WEFT_ECORRUPT,
 * WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_version_after(weft_replica *r, weft_bytes doc, weft_bytes id_prefix,
                                             weft_vector *out, weft_id *change) WEFT_MUST_USE;
/* The version of a document at a time: what was written to it up to and in that millisecond by the
 * authors' clocks; nothing was: `out` is empty.  Else as weft_replica_version_after. */
WEFT_API weft_err weft_replica_version_at(weft_replica *r, weft_bytes doc, weft_ms wall,
                                          weft_vector *out) WEFT_MUST_USE;

/* --- differences --- */

typedef enum weft_diff_kind {
  WEFT_DIFF_ADDED,   /* `after` */
  WEFT_DIFF_REMOVED, /* `before`; `path` is as it was before */
  WEFT_DIFF_CHANGED, /* both */
  WEFT_DIFF_MOVED    /* an element: `from` was its pointer, `path` is; both values */
} weft_diff_kind;

typedef struct weft_diff_item {
  weft_diff_kind kind;
  weft_bytes path; /* JSON Pointer */
  weft_bytes from;
  weft_value before, after;
} weft_diff_item;

typedef struct weft_doc_diff {
  weft_order relation; /* of the two versions, by the changes of this document alone */
  const weft_diff_item *items;
  size_t count;
  /* RFC 6902 JSON Patch, an array of add, remove and replace: what turns the first into the second.
   * Where a document is not shown at all, its root is removed or added. */
  weft_value patch;
} weft_doc_diff;

/* Tells how version `b` of a document differs from version `a`; NULL: as it is shown now.  Elements
 * of arrays are told apart by what they are, not by where they stand, and moved ones are few.
 * Values are told apart by their stored form, so 1 and 1.0 differ.  Costs the whole history of the
 * document for a version that is not now.  WEFT_ENOTFOUND: no such document; WEFT_EBADNAME;
 * WEFT_EBASE: a version names changes not shown here; WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_diff(weft_replica *r, weft_arena *arena, weft_bytes doc,
                                    const weft_vector *a, const weft_vector *b,
                                    weft_doc_diff *out) WEFT_MUST_USE;

/* Gives the version that stood before the newest change of a document was shown: everything shown
 * now but that change and what its log wrote after it.  Replaces what `out`, an initialised vector,
 * holds.  `newest` (may be NULL) gets that change's id.  Errors as weft_replica_diff. */
WEFT_API weft_err weft_replica_vector_before_last(weft_replica *r, weft_bytes doc, weft_vector *out,
                                                  weft_id *newest) WEFT_MUST_USE;

typedef struct weft_blame_entry {
  weft_bytes pointer;
  weft_path path;
  weft_shape shape;
  bool leaf;                 /* a scalar, or a container with nothing in it */
  weft_history_entry change; /* whose write is shown there; op_count 0 */
} weft_blame_entry;

/* Tells for every visible path of a document, the root first and then as a reader meets them, which
 * change wrote what is shown there: of a scalar the winner; of a container the newest mark that
 * survives, or without one the newest write alive in it.  WEFT_ENOTFOUND: no such document, or it
 * is deleted; WEFT_EBADNAME; WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_blame(weft_replica *r, weft_arena *arena, weft_bytes doc,
                                     weft_blame_entry **out, size_t *count) WEFT_MUST_USE;

/* --- tags: names for versions of a document ---
 *
 * The tags of a document are the members of the document `weft/tags/` + its name, so they replicate
 * and merge like anything else.  The value of a tag is a string: the ids of one or more changes in
 * hex, separated by single spaces: of each log the last one that is in it.  It means these, what
 * came before them in their logs, and what these claim. */

typedef struct weft_tag {
  weft_bytes name;
  const weft_id *changes; /* at least one */
  size_t count;
} weft_tag;

/* Names the version of `doc` that `change` left behind, or with NULL the one shown now; a name that
 * is used already is moved.  `o` may be NULL.  A name is 1 to 64 bytes of UTF-8 without control
 * characters, spaces or slashes, and must not look like anything else that names a version: not
 * `now`, not hex digits alone, no digit first.  WEFT_EBADVALUE: it is no such name; WEFT_ENOTFOUND:
 * no such document or change; WEFT_ELIMIT: the document's own name is over 245 bytes; and the
 * errors of weft_edit_commit. */
WEFT_API weft_err weft_replica_tag(weft_replica *r, weft_bytes doc, weft_bytes name,
                                   const weft_id *change, const weft_edit_options *o,
                                   weft_commit *out) WEFT_MUST_USE;
/* Drops a tag.  WEFT_ENOTFOUND; and as weft_replica_tag. */
WEFT_API weft_err weft_replica_untag(weft_replica *r, weft_bytes doc, weft_bytes name,
                                     const weft_edit_options *o, weft_commit *out) WEFT_MUST_USE;
/* Lists the tags of a document by name; what is no tag there is left out.  WEFT_EBADNAME,
 * WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_tags(weft_replica *r, weft_arena *arena, weft_bytes doc,
                                    weft_tag **out, size_t *count) WEFT_MUST_USE;
/* The version that a tag names.  Replaces what `out` holds; on error it is empty.  WEFT_ENOTFOUND:
 * no such tag; WEFT_EBASE: it names changes not shown here (yet). */
WEFT_API weft_err weft_replica_vector_at_tag(weft_replica *r, weft_bytes doc, weft_bytes name,
                                             weft_vector *out) WEFT_MUST_USE;

/* --- taking back --- */

/* Writes what stood at `pointer` ("" the whole document) in an old version as a new change on what
 * is shown now, which says in WEFT_EXT_RESTORED_FROM where it came from: `from`, or with NULL the
 * newest change of the document in that version.  A deleted document comes back.  An element that
 * is gone comes back in its place.  Nothing differs: nothing is written.  `o` may be NULL; its base
 * and extensions are not used.  WEFT_ENOTFOUND: no such document, or nothing stood there then;
 * WEFT_EBADPATH: what contained it is not there any more; WEFT_EBADNAME; WEFT_EBASE; and the errors
 * of weft_edit_commit. */
WEFT_API weft_err weft_replica_restore(weft_replica *r, weft_bytes doc, weft_bytes pointer,
                                       const weft_vector *version, const weft_id *from,
                                       const weft_edit_options *o, weft_commit *out) WEFT_MUST_USE;

typedef enum weft_revert_outcome {
  WEFT_REVERT_DONE,
  WEFT_REVERT_ALREADY, /* what stood before the change stands again */
  WEFT_REVERT_CHANGED, /* somebody wrote there since, or beside it: `by` */
  WEFT_REVERT_GONE     /* what contained it is not shown any more */
} weft_revert_outcome;

typedef struct weft_revert_item {
  weft_bytes doc;
  weft_path path;
  weft_bytes pointer; /* as it is shown before the revert; at NULL when not visible */
  weft_revert_outcome outcome;
  weft_id by; /* WEFT_REVERT_CHANGED */
} weft_revert_item;

/* Writes the inverse of a change as a new change on what is shown now: each place it wrote, where
 * what it wrote still stands and nobody else has written there or beside it, goes back to what the
 * change had found.  The others are left alone, and `items` (in the arena) accounts for all of
 * them. WEFT_EXT_REVERTS names the change.  A container that the change made stays when others
 * wrote in it.  `o` as for restore.  WEFT_ENOTFOUND: no such change is held; WEFT_EBASE: it is not
 * shown; WEFT_EMISUSE: it wrote nothing; and the errors of weft_edit_commit. */
WEFT_API weft_err weft_replica_revert(weft_replica *r, weft_arena *arena, const weft_id *change,
                                      const weft_edit_options *o, weft_revert_item **items,
                                      size_t *count, weft_commit *out) WEFT_MUST_USE;

/* Writes the ops of a change that is held and not shown as a change of this device, with the claims
 * of what is shown now; WEFT_EXT_REDOES names it.  WEFT_ENOTFOUND; WEFT_EMISUSE: it is shown, or
 * has no ops; and the errors of weft_edit_commit. */
WEFT_API weft_err weft_replica_redo(weft_replica *r, const weft_id *change,
                                    const weft_edit_options *o, weft_commit *out) WEFT_MUST_USE;

/* --- resolving by rule --- */

typedef enum weft_rule {
  WEFT_RULE_NEWEST, /* by the authors' clocks */
  WEFT_RULE_OLDEST,
  WEFT_RULE_MINE, /* the newest that this device wrote */
  WEFT_RULE_MAX,  /* the greatest value, in the order of weft_where; ties: the newest */
  WEFT_RULE_MIN
} weft_rule;

/* Picks one of the values of a conflict; deletions and containers have no size, so max and min pass
 * over them.  NULL: the rule does not decide here.  View into `conflict`. */
WEFT_API const weft_conflict_value *
weft_conflict_pick(const weft_replica *r, const weft_conflict_entry *conflict, weft_rule rule);
/* Writes into an edit that a conflict is settled in favour of one of its values.  Errors as
 * weft_edit_set. */
WEFT_API weft_err weft_edit_keep(weft_edit *e, const weft_conflict_entry *conflict,
                                 const weft_conflict_value *value) WEFT_MUST_USE;

/* --- strategies: what is reported, never what is stored ---
 *
 * A strategy holds for a collection and a pattern: a JSON Pointer whose token `*` stands for any
 * key and any element; it holds at the paths it matches and below.  The rules of a collection are
 * the members of the document `weft/strategies/` + its name, pattern to "lww", "field" or "manual".
 * Of the rules that match, those of the longest collection count, of these the longest pattern,
 * then the first in byte order.  Without a rule, and within `weft/`, the strategy is field. */

typedef enum weft_strategy {
  WEFT_STRATEGY_FIELD,
  WEFT_STRATEGY_LWW,   /* conflicts are neither listed nor counted */
  WEFT_STRATEGY_MANUAL /* listed, and plain writes at, above or below them are refused */
} weft_strategy;

typedef struct weft_strategy_rule {
  weft_bytes collection;
  weft_bytes pattern;
  weft_strategy strategy;
} weft_strategy_rule;

/* Lists the rules in force, strongest first.  WEFT_ENOMEM, WEFT_EIO. */
WEFT_API weft_err weft_replica_strategies(weft_replica *r, weft_arena *arena,
                                          weft_strategy_rule **out, size_t *count) WEFT_MUST_USE;
/* Sets the rule of a collection and pattern, as a change.  `o` may be NULL.
 * WEFT_EBADNAME: the collection is none, over 239 bytes, or `weft`; WEFT_EBADPATH: the pattern is
 * no pointer, or over 255 bytes; and the errors of weft_edit_commit. */
WEFT_API weft_err weft_replica_set_strategy(weft_replica *r, const weft_strategy_rule *rule,
                                            const weft_edit_options *o,
                                            weft_commit *out) WEFT_MUST_USE;
/* Drops it, as a change.  WEFT_ENOTFOUND: there is none; and the errors of setting it. */
WEFT_API weft_err weft_replica_drop_strategy(weft_replica *r, weft_bytes collection,
                                             weft_bytes pattern, const weft_edit_options *o,
                                             weft_commit *out) WEFT_MUST_USE;
/* The strategy that holds at a path.  WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_strategy_of(weft_replica *r, weft_bytes doc, weft_path path,
                                           weft_strategy *out) WEFT_MUST_USE;

/* --- audit --- */

typedef struct weft_audit_entry {
  weft_history_entry change; /* ops of a DATA */
  weft_change_kind kind;     /* meaningless when not VALID */
  weft_change_state state;
  weft_start start; /* of a START */
  weft_bytes raw;   /* the canonical bytes */
  bool shown;
  bool is_signed; /* by itself: `sig` */
  weft_sig sig;
  uint64_t signed_seq; /* the change whose signature covers it */
  bool proven;         /* chain and that signature were checked now, and hold */
} weft_audit_entry;

/* Where an audit stands; zero-initialise. */
typedef struct weft_audit_place {
  size_t log;
  uint64_t seq;
} weft_audit_place;

/* Gives the next run of changes that ends on a signature: logs in no particular order, each from
 * its START on; count 0 at the end.  Chain and signature of each run are checked as it is read.
 * WEFT_ECORRUPT: a log cannot be read; WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_audit(weft_replica *r, weft_arena *arena, weft_audit_place *place,
                                     weft_audit_entry **out, size_t *count) WEFT_MUST_USE;

/* --- drafts ---
 *
 * An edit may stay open as long as somebody thinks about it: its base is remembered, and what it
 * writes is shown nowhere but in its previews.  Commit is immediate and local.  By itself an open
 * edit ends with the process; saved under a name it lies in the store until it is committed or
 * dropped, outlives crashes, and never travels. */

/* Renders a document as it would be after an edit, by what its base shows.  WEFT_ENOTFOUND: it
 * would be deleted; errors of weft_edit_set. */
WEFT_API weft_err weft_edit_preview(weft_edit *e, weft_arena *arena, weft_bytes doc,
                                    weft_value *out) WEFT_MUST_USE;

/* What committing an edit now would come to, on what is shown now. */
typedef struct weft_forecast_doc {
  weft_bytes name;
  bool live;        /* false: deleted, or never there */
  weft_value value; /* the document as it would be shown; when live */
} weft_forecast_doc;
typedef struct weft_forecast {
  weft_err refusal; /* what weft_edit_commit would say: WEFT_OK, WEFT_ESTALE, WEFT_ECONFLICT,
                       WEFT_EDENIED, WEFT_EFROZEN */
  const weft_forecast_doc *docs; /* that it writes to, in the order in which they were met */
  size_t doc_count;
  /* Conflicts that would come, or that its values would join, as weft_replica_conflicts tells them.
   * The side of the edit has a change of id 0 and seq 0. */
  weft_conflict_entry *conflicts;
  size_t conflict_count;
} weft_forecast;
/* Tells it, and changes nothing.  Costs the documents it writes to.  WEFT_EMISUSE: it is committed;
 * WEFT_EBASE; WEFT_ELIMIT; WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_edit_forecast(weft_edit *e, weft_arena *arena,
                                     weft_forecast *out) WEFT_MUST_USE;

/* Gives the vector that an edit rests on.  Replaces what `out` holds.  WEFT_EIO, WEFT_ECORRUPT,
 * WEFT_ENOMEM. */
WEFT_API weft_err weft_edit_rests_on(weft_edit *e, weft_vector *out) WEFT_MUST_USE;

/* Keeps an open edit in the store under a name, in place of what was kept there; durable on return.
 * From then on its commit takes it out of there; freeing it does not.  A name is 1 to 64 bytes of
 * UTF-8 without control characters, spaces and slashes.  WEFT_EBADVALUE: it is no such name;
 * WEFT_ELIMIT: there are 1,000 drafts, or the edit is over the limits of a change; WEFT_EMISUSE: it
 * is committed, or within a group; and the errors of writes. */
WEFT_API weft_err weft_edit_save(weft_edit *e, weft_bytes name) WEFT_MUST_USE;
/* Opens an edit as it was saved, on the base it had.  Of `o` (may be NULL) only a message that is
 * not empty counts, in place of the draft's.  WEFT_ENOTFOUND: no such draft; WEFT_EBASE: what it
 * rests on is not shown here any more; WEFT_ECORRUPT; and the errors of weft_edit_begin. */
WEFT_API weft_err weft_edit_resume(weft_edit **out, weft_replica *r, weft_bytes name,
                                   const weft_edit_options *o) WEFT_MUST_USE;

typedef struct weft_draft {
  weft_bytes name;
  weft_ms begun, saved; /* by this device's clock */
  weft_bytes message;
  weft_bytes *docs; /* that it writes to */
  size_t doc_count;
  size_t op_count;
} weft_draft;
/* Lists the drafts in the store by name.  WEFT_ECORRUPT: one is damaged, drop it; WEFT_EIO,
 * WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_drafts(weft_replica *r, weft_arena *arena, weft_draft **out,
                                      size_t *count) WEFT_MUST_USE;
/* Drops a draft.  WEFT_ENOTFOUND; and the errors of writes. */
WEFT_API weft_err weft_replica_drop_draft(weft_replica *r, weft_bytes name) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
