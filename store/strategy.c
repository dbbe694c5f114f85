/* Strategies: rules that say what of the conflicts is reported.
 *
 * The rules are documents of the reserved collection, so every replica that shows the same has the
 * same ones.  They are kept ready in memory, strongest first, and read again whenever one of their
 * documents was shown; then the counts of the documents they speak of are made anew, in the same
 * transaction: of a document that one strategy rules from its root on their sum is enough, others
 * are loaded.  So a rule costs the documents of its collection that have conflicts, and no others.
 * `contest` keeps every document that has conflicts, also those that no rule lets through, so that
 * nothing else has to be looked at. Failure modes: members that are no rules are passed over, and
 * so are damaged documents of rules, so that a damaged store can be opened and repaired. */
#include "store/strategy.h"

#include <string.h>

#include "crdt/limits.h"
#include "crdt/sort.h"
#include "store/history_internal.h"
#include "store/outcome.h"

static const char rules_prefix[] = "weft/strategies/";
static const char *const names[] = {"field", "lww", "manual"};

enum { PREFIX_LEN = sizeof rules_prefix - 1, STRATEGIES = sizeof names / sizeof *names };

/* A rule, ready to be matched. */
struct weft_ready_rule {
  weft_strategy_rule rule;
  weft_bytes *tokens;
  size_t token_count;
};

/* --- names --- */

/* The collection that a document of rules speaks of; empty: it is none. */
static weft_bytes rules_collection(weft_bytes doc) {
  if (doc.len <= PREFIX_LEN || memcmp(doc.at, rules_prefix, PREFIX_LEN) != 0) {
    return weft_bytes_of(NULL, 0);
  }
  return weft_bytes_of(doc.at + PREFIX_LEN, doc.len - PREFIX_LEN);
}

bool weft__strategy_doc(weft_bytes doc) { return rules_collection(doc).len > 0; }

static bool in_collection(weft_bytes doc, weft_bytes collection) {
  return doc.len > collection.len && weft__key_has_prefix(doc, collection) &&
         doc.at[collection.len] == '/';
}

static bool strategy_read(const weft_value *value, weft_strategy *out) {
  for (size_t i = 0; value->kind == WEFT_STRING && i < STRATEGIES; i++) {
    if (weft_bytes_cmp(value->as.bytes, weft_bytes_str(names[i])) != 0) continue;
    *out = (weft_strategy)i;
    return true;
  }
  return false;
}

/* --- reading the rules --- */

typedef struct rules_job {
  weft_replica *r;
  weft_txn *txn;
  weft_arena scratch;
  weft_ready_rule *rules;
  size_t count, cap;
} rules_job;

static weft_err rule_add(rules_job *job, weft_bytes collection, const weft_member *m) {
  weft_ready_rule rule = {.rule = {.strategy = WEFT_STRATEGY_FIELD}};
  weft_arena *arena = &job->r->rules_arena;
  void *at = job->rules;
  if (!strategy_read(&m->value, &rule.rule.strategy)) return WEFT_OK;
  WEFT_TRY(weft__arena_copy(arena, collection, &rule.rule.collection));
  WEFT_TRY(weft__arena_copy(arena, m->key, &rule.rule.pattern));
  weft_err err = weft_pointer_split(arena, rule.rule.pattern, &rule.tokens, &rule.token_count);
  if (err == WEFT_EBADPATH || err == WEFT_ELIMIT) return WEFT_OK;
  WEFT_TRY(err);
  WEFT_TRY(weft__arena_grow(arena, &at, job->count, &job->cap, job->count + 1, sizeof rule));
  job->rules = at;
  job->rules[job->count++] = rule;
  return WEFT_OK;
}

static weft_err rules_of_doc(rules_job *job, weft_bytes name, weft_bytes number) {
  weft_doc *doc;
  weft_value value;
  weft_rd rd = weft__rd(number);
  uint32_t n = weft__rd_u32(&rd);
  if (!weft__rd_done(&rd)) return WEFT_ECORRUPT;
  WEFT_TRY(weft__doc_load(job->r, job->txn, n, &doc));
  weft_err err = weft__doc_render(doc, weft_bytes_of(NULL, 0), &job->scratch, &value);
  weft__doc_free(doc);
  if (err == WEFT_ENOTFOUND) return WEFT_OK;
  WEFT_TRY(weft__was_whole(err));
  weft_bytes collection = rules_collection(name);
  for (size_t i = 0; i < value.as.object.count; i++) {
    WEFT_TRY(rule_add(job, collection, &value.as.object.at[i]));
  }
  return WEFT_OK;
}

/* Strongest first. */
static int rule_cmp(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  const weft_strategy_rule *x = &((const weft_ready_rule *)a)->rule;
  const weft_strategy_rule *y = &((const weft_ready_rule *)b)->rule;
  if (x->collection.len != y->collection.len) return x->collection.len > y->collection.len ? -1 : 1;
  if (x->pattern.len != y->pattern.len) return x->pattern.len > y->pattern.len ? -1 : 1;
  int order = weft_bytes_cmp(x->collection, y->collection);
  return order != 0 ? order : weft_bytes_cmp(x->pattern, y->pattern);
}

static weft_err rules_sort(rules_job *job) {
  weft_replica *r = job->r;
  const void **order = weft__arena_zero(&r->rules_arena, job->count, sizeof *order);
  const void **scratch = weft__arena_zero(&r->rules_arena, job->count, sizeof *scratch);
  if (!order || !scratch) return WEFT_ENOMEM;
  for (size_t i = 0; i < job->count; i++) order[i] = &job->rules[i];
  weft__sort(order, scratch, job->count, rule_cmp, NULL);
  r->rules = order;
  r->rule_count = job->count;
  return WEFT_OK;
}

static weft_err rules_walk(rules_job *job) {
  weft_cursor *cursor;
  weft_entry entry;
  weft_bytes prefix = weft_bytes_of(rules_prefix, PREFIX_LEN);
  WEFT_TRY(weft_cursor_open(job->txn, WEFT_TABLE_DOCID, &cursor));
  weft_err err = weft_cursor_seek(cursor, prefix, &entry);
  while (err == WEFT_OK && weft__key_has_prefix(entry.key, prefix)) {
    err = rules_of_doc(job, entry.key, entry.value);
    if (err == WEFT_ECORRUPT) err = WEFT_OK;
    if (err == WEFT_OK) err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  return weft__walked(err);
}

void weft__rules_clear(weft_replica *r) {
  r->rules = NULL;
  r->rule_count = 0;
  weft__arena_reset(&r->rules_arena);
}

weft_err weft__rules_load(weft_replica *r, weft_txn *txn) {
  rules_job job = {.r = r, .txn = txn};
  weft__rules_clear(r);
  weft__arena_init(&job.scratch, &r->mem);
  weft_err err = rules_walk(&job);
  if (err == WEFT_OK) err = rules_sort(&job);
  weft__arena_free(&job.scratch);
  if (err != WEFT_OK) weft__rules_clear(r);
  return err;
}

/* --- matching --- */

static bool pattern_matches(const weft_ready_rule *rule, weft_path path) {
  size_t at = 0;
  weft_step step;
  for (size_t i = 0; i < rule->token_count; i++) {
    bool any = rule->tokens[i].len == 1 && rule->tokens[i].at[0] == '*';
    if (!weft_path_next(path, &at, &step)) return false;
    if (!any && (step.element || weft_bytes_cmp(step.name, rule->tokens[i]) != 0)) return false;
  }
  return true;
}

weft_strategy weft__strategy_of(const weft_replica *r, weft_bytes doc, weft_path path) {
  if (weft__doc_reserved(doc)) return WEFT_STRATEGY_FIELD;
  for (size_t i = 0; i < r->rule_count; i++) {
    const weft_ready_rule *rule = r->rules[i];
    if (!in_collection(doc, rule->rule.collection)) continue;
    if (pattern_matches(rule, path)) return rule->rule.strategy;
  }
  return WEFT_STRATEGY_FIELD;
}

bool weft__strategy_manual(const weft_replica *r, weft_bytes doc) {
  if (weft__doc_reserved(doc)) return false;
  for (size_t i = 0; i < r->rule_count; i++) {
    const weft_ready_rule *rule = r->rules[i];
    bool manual = rule->rule.strategy == WEFT_STRATEGY_MANUAL;
    if (manual && in_collection(doc, rule->rule.collection)) return true;
  }
  return false;
}

/* The strategy that holds everywhere in a document; false: it depends on the path. */
static bool strategy_uniform(const weft_replica *r, weft_bytes doc, weft_strategy *out) {
  *out = WEFT_STRATEGY_FIELD;
  if (weft__doc_reserved(doc)) return true;
  for (size_t i = 0; i < r->rule_count; i++) {
    const weft_ready_rule *rule = r->rules[i];
    if (!in_collection(doc, rule->rule.collection)) continue;
    *out = rule->rule.strategy;
    return rule->token_count == 0;
  }
  return true;
}

void weft__strategy_count(const weft_replica *r, const weft_conflict *list, size_t count,
                          weft_doc_record *record) {
  record->conflicts = record->hidden = record->manual = 0;
  for (size_t i = 0; i < count; i++) {
    switch (weft__strategy_of(r, record->name, list[i].path)) {
    case WEFT_STRATEGY_LWW: record->hidden++; break;
    case WEFT_STRATEGY_MANUAL:
      record->manual++;
      record->conflicts++;
      break;
    case WEFT_STRATEGY_FIELD: record->conflicts++; break;
    }
  }
}

/* --- counting again --- */

/* Numbers of the documents that have conflicts. */
static weft_err contested_numbers(weft_txn *txn, weft_arena *arena, uint32_t **out, size_t *count) {
  weft_cursor *cursor;
  weft_entry entry;
  uint64_t most;
  *count = 0;
  WEFT_TRY(weft_txn_count(txn, WEFT_TABLE_CONTEST, &most));
  *out = weft__arena_zero(arena, (size_t)most, sizeof **out);
  if (!*out) return WEFT_ENOMEM;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_CONTEST, &cursor));
  weft_err err = weft_cursor_first(cursor, &entry);
  while (err == WEFT_OK && *count < most) {
    weft_rd k = weft__rd(entry.key);
    (*out)[(*count)++] = weft__rd_u32(&k);
    err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  return weft__walked(err);
}

static weft_err recount_doc(weft_replica *r, weft_txn *txn, weft_reader *reader,
                            weft_doc_record *record) {
  weft_conflict *list;
  size_t count;
  weft_strategy everywhere;
  weft_doc_record was = *record;
  if (strategy_uniform(r, record->name, &everywhere)) { /* then their number is enough */
    uint64_t all = was.conflicts + was.hidden;
    record->hidden = everywhere == WEFT_STRATEGY_LWW ? all : 0;
    record->conflicts = all - record->hidden;
    record->manual = everywhere == WEFT_STRATEGY_MANUAL ? all : 0;
  } else {
    WEFT_TRY(weft__reader_load(reader, record->number));
    weft_err err =
        weft__doc_conflicts(reader->doc, weft_bytes_of(NULL, 0), &reader->arena, &list, &count);
    WEFT_TRY(weft__was_whole(err));
    weft__strategy_count(r, list, count, record);
  }
  bool same = was.conflicts == record->conflicts && was.hidden == record->hidden &&
              was.manual == record->manual;
  if (same) return WEFT_OK;
  r->now.conflicts += record->conflicts - was.conflicts;
  weft_buf row;
  weft__buf_init(&row, &r->mem, SIZE_MAX);
  weft_err err = weft__doc_record_put(txn, record, &row);
  weft__buf_free(&row);
  return err;
}

static weft_err recount(weft_replica *r, weft_txn *txn, const weft_bytes *docs, size_t doc_count,
                        weft_arena *arena, weft_reader *reader) {
  uint32_t *numbers;
  size_t count;
  WEFT_TRY(contested_numbers(txn, arena, &numbers, &count));
  for (size_t i = 0; i < count; i++) {
    weft_doc_record record;
    bool meant = false;
    weft__reader_reset(reader);
    weft_err err = weft__doc_record_read(r, txn, numbers[i], &reader->arena, &record);
    WEFT_TRY(weft__promised(err));
    for (size_t k = 0; k < doc_count && !meant; k++) {
      meant = in_collection(record.name, rules_collection(docs[k]));
    }
    if (meant) WEFT_TRY(recount_doc(r, txn, reader, &record));
  }
  return WEFT_OK;
}

weft_err weft__rules_changed(weft_replica *r, weft_txn *txn, const weft_bytes *docs, size_t count) {
  weft_arena arena;
  weft_reader reader = {.r = NULL};
  WEFT_TRY(weft__rules_load(r, txn));
  weft__arena_init(&arena, &r->mem);
  weft_err err = weft__reader_begin(&reader, r, txn);
  if (err == WEFT_OK) err = recount(r, txn, docs, count, &arena, &reader);
  weft__reader_end(&reader);
  weft__arena_free(&arena);
  return err;
}

static weft_err unresolved(weft_replica *r, weft_txn *txn, weft_arena *arena, uint64_t *out) {
  uint32_t *numbers;
  size_t count;
  WEFT_TRY(contested_numbers(txn, arena, &numbers, &count));
  for (size_t i = 0; i < count; i++) {
    weft_doc_record record;
    weft_err err = weft__doc_record_read(r, txn, numbers[i], arena, &record);
    WEFT_TRY(weft__promised(err));
    *out += record.manual > 0;
  }
  return WEFT_OK;
}

weft_err weft__strategy_unresolved(weft_replica *r, uint64_t *out) {
  weft_txn *txn;
  weft_arena arena;
  bool manual = false;
  *out = 0;
  for (size_t i = 0; i < r->rule_count && !manual; i++) {
    const weft_ready_rule *rule = r->rules[i];
    manual = rule->rule.strategy == WEFT_STRATEGY_MANUAL;
  }
  if (!manual) return WEFT_OK;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft__arena_init(&arena, &r->mem);
  weft_err err = unresolved(r, txn, &arena, out);
  weft__arena_free(&arena);
  weft__read_end(r, txn);
  return err;
}

/* --- the public calls --- */

weft_err weft_replica_strategies(weft_replica *r, weft_arena *arena, weft_strategy_rule **out,
                                 size_t *count) {
  *out = NULL;
  *count = 0;
  if (r->stale) WEFT_TRY(weft__reload(r));
  weft_strategy_rule *list = weft__arena_zero(arena, r->rule_count, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  for (size_t i = 0; i < r->rule_count; i++) {
    const weft_ready_rule *rule = r->rules[i];
    list[i].strategy = rule->rule.strategy;
    WEFT_TRY(weft__arena_copy(arena, rule->rule.collection, &list[i].collection));
    WEFT_TRY(weft__arena_copy(arena, rule->rule.pattern, &list[i].pattern));
  }
  *out = list;
  *count = r->rule_count;
  return WEFT_OK;
}

weft_err weft_replica_strategy_of(weft_replica *r, weft_bytes doc, weft_path path,
                                  weft_strategy *out) {
  if (r->stale) WEFT_TRY(weft__reload(r));
  *out = weft__strategy_of(r, doc, path);
  return WEFT_OK;
}

/* The document and the pointer at which a rule stands. */
static weft_err rule_place(weft_arena *arena, weft_bytes collection, weft_bytes pattern,
                           weft_bytes *doc, weft_bytes *pointer) {
  weft_bytes *tokens;
  size_t count;
  bool ours =
      weft_bytes_cmp(collection, weft_bytes_str("weft")) == 0 || weft__doc_reserved(collection);
  if (ours || collection.len + PREFIX_LEN > WEFT_NAME_LEN_MAX) return WEFT_EBADNAME;
  uint8_t *name = weft__arena_take(arena, collection.len + PREFIX_LEN);
  if (!name) return WEFT_ENOMEM;
  memcpy(name, rules_prefix, PREFIX_LEN);
  if (collection.len > 0) memcpy(name + PREFIX_LEN, collection.at, collection.len);
  *doc = weft_bytes_of(name, collection.len + PREFIX_LEN);
  WEFT_TRY(weft_document_name_check(*doc));
  weft_err err = weft_pointer_split(arena, pattern, &tokens, &count);
  if (err == WEFT_ELIMIT || pattern.len > WEFT_NAME_LEN_MAX) return WEFT_EBADPATH;
  WEFT_TRY(err);
  return weft__pointer_child(arena, weft_bytes_of("", 0), pattern, pointer);
}

/* Writes a rule; `name` NULL drops it. */
static weft_err rule_write(weft_replica *r, weft_bytes collection, weft_bytes pattern,
                           const char *name, const weft_edit_options *o, weft_commit *out) {
  weft_arena arena;
  weft_bytes doc, pointer;
  weft_edit *e = NULL;
  memset(out, 0, sizeof *out);
  weft__arena_init(&arena, &r->mem);
  weft_err err = rule_place(&arena, collection, pattern, &doc, &pointer);
  if (err == WEFT_OK) err = weft__edit_begin_with(&e, r, o, 0, NULL);
  if (err == WEFT_OK && name) {
    weft_value value = {.kind = WEFT_STRING, .as.bytes = weft_bytes_str(name)};
    err = weft_edit_set(e, doc, pointer, &value);
  } else if (err == WEFT_OK) {
    err = weft_edit_unset(e, doc, pointer);
  }
  if (err == WEFT_OK) err = weft_edit_commit(e, out);
  weft_edit_free(e);
  weft__arena_free(&arena);
  return err;
}

weft_err weft_replica_set_strategy(weft_replica *r, const weft_strategy_rule *rule,
                                   const weft_edit_options *o, weft_commit *out) {
  if ((unsigned)rule->strategy >= STRATEGIES) return WEFT_EMISUSE;
  return rule_write(r, rule->collection, rule->pattern, names[rule->strategy], o, out);
}

weft_err weft_replica_drop_strategy(weft_replica *r, weft_bytes collection, weft_bytes pattern,
                                    const weft_edit_options *o, weft_commit *out) {
  return rule_write(r, collection, pattern, NULL, o, out);
}
