/* One call of each public function that takes memory or touches files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crdt/embed.h"
#include "crdt/json.h"
#include "crdt/metrics.h"
#include "store/admission.h"
#include "store/events.h"
#include "store/memory_store.h"
#include "tests/disk/disk.h"
#include "tests/disk/kth.h"

static weft_bytes str(const char *s) { return weft_bytes_str(s); }
static const char doc_a[] = "t/a";

/* --- values --- */

static weft_err space_genesis(kth_world *w) {
  weft_space_names names = {str("kitchen"), str("phone")};
  uint8_t nonce[32] = {1};
  weft_id id;
  weft_buf_reset(&w->out);
  return weft_space_genesis(&w->out, w->s.crypto, &w->s.devices[0], &names, nonce, &id);
}

static weft_err json_parse(kth_world *w) {
  weft_value v;
  return weft_json_parse(&w->arena, str("{\"a\":[1,2,{\"b\":\"text\"}],\"c\":1.5}"), &v, NULL);
}

static weft_err json_write(kth_world *w) {
  weft_buf_free(&w->out);
  weft_json_write(&w->out, &w->value);
  return w->out.err;
}

static weft_err json_write_pretty(kth_world *w) {
  weft_buf_free(&w->out);
  weft_json_write_pretty(&w->out, &w->value, 2);
  return w->out.err;
}

static weft_err json_write_string(kth_world *w) {
  weft_buf_free(&w->out);
  weft_json_write_string(&w->out, str("a \"text\""));
  return w->out.err;
}

static weft_err path_push(kth_world *w) {
  weft_buf_free(&w->out);
  weft_path_push(&w->out, (weft_step){false, str("key")});
  return w->out.err;
}

static weft_err pointer_push(kth_world *w) {
  weft_buf_free(&w->out);
  weft_pointer_push(&w->out, str("key"));
  return w->out.err;
}

static weft_err pointer_split(kth_world *w) {
  weft_bytes *tokens;
  size_t count;
  return weft_pointer_split(&w->arena, str("/a~1b/c"), &tokens, &count);
}

static weft_err vector_copy(kth_world *w) {
  weft_vector_free(&w->vector);
  return weft_vector_copy(&w->vector, &w->base);
}

static weft_err vector_encode(kth_world *w) {
  weft_buf_free(&w->out);
  weft_vector_encode(&w->out, &w->base);
  return w->out.err;
}

static void vector_bytes(kth_world *w) {
  weft_buf b;
  weft_alloc mem = weft_alloc_libc();
  weft_buf_init(&b, &mem, SIZE_MAX);
  weft_vector_encode(&b, &w->base);
  if (weft__arena_copy(&w->own, weft_buf_view(&b), &w->record) != WEFT_OK) abort();
  weft_buf_free(&b);
}

static weft_err vector_decode(kth_world *w) {
  weft_vector_free(&w->vector);
  return weft_vector_decode(&w->vector, w->record);
}

static weft_err memory_store_new(kth_world *w) {
  weft_memory_options o;
  weft_store *s;
  weft_memory_options_init(&o);
  o.mem = w->mem;
  weft_err err = weft_memory_store_new(&o, &s);
  if (err == WEFT_OK) weft_store_free(s);
  return err;
}

/* --- opening and closing --- */

static void close_it(kth_world *w) { kth_close(w); }

static weft_err lmdb_store_open(kth_world *w) {
  weft_lmdb_options o;
  weft_store *s;
  weft_diag d;
  weft_lmdb_options_init(&o);
  o.mem = w->mem;
  o.path = w->path;
  o.map_size = 1u << 30;
  o.check_pages = true;
  weft_err err = weft_lmdb_store_open(&o, &s, &d);
  if (err == WEFT_OK) weft_store_free(s);
  return err;
}

static weft_err lmdb_store_make(kth_world *w) {
  char path[300];
  weft_lmdb_options o;
  weft_store *s;
  snprintf(path, sizeof path, "%s/fresh/data.mdb", w->temp.folder);
  weft_lmdb_options_init(&o);
  o.mem = w->mem;
  o.path = path;
  o.map_size = 1u << 30;
  weft_err err = weft_lmdb_store_open(&o, &s, NULL);
  if (err == WEFT_OK) weft_store_free(s);
  snprintf(path, sizeof path, "%s/fresh", w->temp.folder);
  if (err == WEFT_OK) test_folder_remove(path);
  return err;
}

static weft_err replica_open(kth_world *w) {
  weft_err err = kth_open(w);
  if (err == WEFT_OK) kth_close(w);
  return err;
}

static weft_err replica_free(kth_world *w) {
  kth_close(w);
  return WEFT_OK;
}

static weft_err replica_settle(kth_world *w) {
  weft_replica_settle(w->r);
  return WEFT_OK;
}

static void write_unmirrored(kth_world *w) {
  if (test_set(w->r, doc_a, "/x", "77") != WEFT_OK) abort();
}

/* --- writing --- */

static weft_err edit_begin(kth_world *w) {
  weft_edit *e;
  weft_edit_options o;
  weft_edit_options_init(&o);
  o.message = str("a message");
  o.base = &w->base;
  weft_err err = weft_edit_begin(&e, w->r, &o);
  if (err == WEFT_OK) weft_edit_free(e);
  return err;
}

static void edit_open(kth_world *w) {
  if (kth_open_edit(w) != WEFT_OK) abort();
}

/* After WEFT_ENOMEM only free may follow: each trial has an edit of its own. */
static weft_err edit_end(kth_world *w, weft_err err) {
  weft_edit_free(w->edit);
  w->edit = NULL;
  return err;
}

static weft_err edit_start(kth_world *w) { return w->edit ? WEFT_OK : kth_open_edit(w); }

#define EDIT_CASE(name, call)                                                                      \
  static weft_err name(kth_world *w) {                                                             \
    WEFT_TRY(edit_start(w));                                                                       \
    return edit_end(w, call);                                                                      \
  }
EDIT_CASE(edit_set, weft_edit_set(w->edit, str(doc_a), str("/new"), &w->value))
EDIT_CASE(edit_unset, weft_edit_unset(w->edit, str(doc_a), str("/x")))
EDIT_CASE(edit_insert, weft_edit_insert(w->edit, str(doc_a), str("/list"), 1, &w->value))
EDIT_CASE(edit_move, weft_edit_move(w->edit, str(doc_a), str("/list"), 0, 2))
EDIT_CASE(edit_delete, weft_edit_delete(w->edit, str(doc_a)))
EDIT_CASE(edit_undelete, weft_edit_undelete(w->edit, str("t/gone")))
EDIT_CASE(edit_import, weft_edit_import(w->edit, str(doc_a), &w->value, false))
EDIT_CASE(edit_keep, weft_edit_keep(w->edit, w->conflict, &w->conflict->values[1]))
EDIT_CASE(edit_resolve, weft_edit_resolve(w->edit, w->conflict->doc, w->conflict->path, &w->value))
EDIT_CASE(edit_remove_path, weft_edit_remove_path(w->edit, w->conflict->doc, w->conflict->path))

static weft_err edit_preview(kth_world *w) {
  weft_value v;
  WEFT_TRY(edit_start(w));
  weft_err err = weft_edit_set(w->edit, str(doc_a), str("/new"), &w->value);
  if (err == WEFT_OK) err = weft_edit_preview(w->edit, &w->arena, str(doc_a), &v);
  return edit_end(w, err);
}

static weft_err edit_commit(kth_world *w) {
  weft_commit done;
  WEFT_TRY(edit_start(w));
  weft_err err = weft_edit_set(w->edit, str(doc_a), str("/new"), &w->value);
  if (err == WEFT_OK) err = weft_edit_commit(w->edit, &done);
  return edit_end(w, err);
}

static weft_err group_end(kth_world *w) {
  WEFT_TRY(weft_group_begin(w->r));
  weft_err err = edit_commit(w);
  if (err == WEFT_OK) err = edit_commit(w);
  if (err != WEFT_OK) {
    weft_group_abort(w->r);
    return err;
  }
  return weft_group_end(w->r);
}

static weft_err group_abort(kth_world *w) {
  WEFT_TRY(weft_group_begin(w->r));
  weft_err err = edit_commit(w);
  weft_group_abort(w->r);
  return err;
}

static weft_err add_record(kth_world *w) { return weft_replica_add_record(w->r, w->record); }

static weft_err admit(kth_world *w) {
  weft_invite_terms terms = {.uses = 3, .expires_ms = WEFT_NEVER, .role = WEFT_ROLE_WRITER};
  weft_redeem redeem;
  weft_key seed = {{9}}, key = {{8}};
  weft_identity joiner;
  uint16_t refuse;
  weft_identity_derive(&joiner, w->s.crypto, &key);
  weft__redeem_sign(&redeem, w->s.crypto, &joiner, &seed, &w->s.id);
  terms.invite = redeem.invite;
  return weft_replica_admit(w->r, w->s.crypto, &w->s.devices[0], &terms, &redeem, str("new"),
                            w->s.platforms[0].now, &refuse);
}

static weft_err hold(kth_world *w) {
  weft_hold_report report;
  return weft_replica_hold(w->r, &w->arena, w->chunks, w->chunk_count, &report);
}

static void hold_all(kth_world *w) {
  weft_hold_report report;
  if (weft_replica_hold(w->r, &w->own, w->chunks, w->chunk_count, &report) != WEFT_OK) abort();
}

static weft_err show(kth_world *w) {
  weft_show_report report;
  do {
    WEFT_TRY(weft_replica_show(w->r, 40, &report));
  } while (report.more);
  return WEFT_OK;
}

static weft_err put_ack(kth_world *w) {
  return weft_replica_put_ack(w->r, &w->s.devices[2].device, str("an acknowledgement"));
}

static weft_err put_address(kth_world *w) {
  return weft_replica_put_address(w->r, str("10.0.0.9:7117"), &w->s.devices[2].device);
}

static weft_err declare_index(kth_world *w) {
  return weft_replica_declare_index(w->r, str("t"), str("/n"));
}

static weft_err drop_index(kth_world *w) {
  return weft_replica_drop_index(w->r, str("t"), str("/x"));
}

static weft_err set_strategy(kth_world *w) {
  weft_commit done;
  weft_strategy_rule rule = {str("t"), str("/y"), WEFT_STRATEGY_LWW};
  return weft_replica_set_strategy(w->r, &rule, NULL, &done);
}

static weft_err drop_strategy(kth_world *w) {
  weft_commit done;
  return weft_replica_drop_strategy(w->r, str("t"), str("/m"), NULL, &done);
}

static weft_err tag(kth_world *w) {
  weft_commit done;
  return weft_replica_tag(w->r, str(doc_a), str("second"), &w->shown_id, NULL, &done);
}

static weft_err untag(kth_world *w) {
  weft_commit done;
  return weft_replica_untag(w->r, str(doc_a), str("first"), NULL, &done);
}

static void old_version(kth_world *w) {
  if (weft_replica_vector_before_last(w->r, str("t/b"), &w->vector, NULL) != WEFT_OK) abort();
}

static weft_err restore(kth_world *w) {
  weft_commit done;
  return weft_replica_restore(w->r, str("t/b"), str(""), &w->vector, NULL, NULL, &done);
}

static weft_err revert(kth_world *w) {
  weft_revert_item *items;
  size_t count;
  weft_commit done;
  return weft_replica_revert(w->r, &w->arena, &w->shown_id, NULL, &items, &count, &done);
}

static weft_err redo(kth_world *w) {
  weft_commit done;
  return weft_replica_redo(w->r, &w->stuck, NULL, &done);
}

static weft_err repair(kth_world *w) {
  weft_verify_report report;
  return weft_replica_repair(w->r, NULL, NULL, &report);
}

/* --- reading --- */

static weft_err verify(kth_world *w) {
  weft_verify_report report;
  return weft_replica_verify(w->r, NULL, NULL, &report);
}

static weft_err record(kth_world *w) {
  weft_bytes out;
  return weft_replica_record(w->r, &w->arena, &w->s.id, &out);
}

static weft_err records(kth_world *w) {
  weft_id *ids;
  size_t count;
  return weft_replica_records(w->r, &w->arena, &ids, &count);
}

static weft_err stuck(kth_world *w) {
  weft_stuck *out;
  size_t count;
  weft_err err = weft_replica_stuck(w->r, &w->arena, &out, &count);
  return err == WEFT_OK && count == 0 ? WEFT_EPROTO : err;
}

static weft_err find(kth_world *w) {
  weft_span span;
  weft_id id;
  WEFT_TRY(weft_replica_id_at(w->r, &w->log, WEFT_BRANCH_ANY, 2, &id));
  return weft_replica_find(w->r, &w->log, 2, &id, &span);
}

static weft_err missing(kth_world *w) {
  weft_span *spans;
  size_t count;
  weft_vector none = {.count = 0};
  return weft_replica_missing(w->r, &w->arena, &none, 50, &spans, &count);
}

static weft_err arrivals(kth_world *w) {
  weft_span *spans;
  size_t count;
  uint64_t last;
  return weft_replica_arrivals(w->r, &w->arena, 0, 50, &spans, &count, &last);
}

static weft_err read_chunk(kth_world *w) {
  uint64_t last;
  weft_buf_free(&w->out);
  return weft_replica_read_chunk(w->r, &w->log, WEFT_BRANCH_ANY, 1, 9, &w->out, &last);
}

static weft_err forks(kth_world *w) {
  weft_fork *out;
  size_t count;
  weft_err err = weft_replica_forks(w->r, &w->arena, &out, &count);
  return err == WEFT_OK && count == 0 ? WEFT_EPROTO : err;
}

static weft_err begun(kth_world *w) {
  weft_begun *out;
  size_t count;
  return weft_replica_begun(w->r, &w->arena, &out, &count);
}

static weft_err acks(kth_world *w) {
  weft_bytes *out;
  size_t count;
  return weft_replica_acks(w->r, &w->arena, &out, &count);
}

static weft_err addresses(kth_world *w) {
  weft_known_address *out;
  size_t count;
  return weft_replica_addresses(w->r, &w->arena, &out, &count);
}

static weft_err get(kth_world *w) {
  weft_value v;
  return weft_replica_get(w->r, &w->arena, str(doc_a), str(""), &v);
}

static weft_err get_at(kth_world *w) {
  weft_value v;
  return weft_replica_get_at(w->r, &w->arena, str(doc_a), str(""), &w->base, &v);
}

static weft_err vector_at_change(kth_world *w) {
  weft_vector_free(&w->vector);
  return weft_replica_vector_at_change(w->r, &w->shown_id, &w->vector);
}

static weft_err vector_at_time(kth_world *w) {
  weft_vector_free(&w->vector);
  return weft_replica_vector_at_time(w->r, WEFT_NEVER / 2, &w->vector);
}

static weft_err vector_at_tag(kth_world *w) {
  weft_vector_free(&w->vector);
  return weft_replica_vector_at_tag(w->r, str(doc_a), str("first"), &w->vector);
}

static weft_err vector_before_last(kth_world *w) {
  weft_vector_free(&w->vector);
  return weft_replica_vector_before_last(w->r, str(doc_a), &w->vector, NULL);
}

static weft_err version_after(kth_world *w) {
  weft_vector_free(&w->vector);
  weft_bytes id = weft_bytes_of(w->shown_id.b, sizeof w->shown_id.b);
  return weft_replica_version_after(w->r, str("t/b"), id, &w->vector, NULL);
}

static weft_err version_at(kth_world *w) {
  weft_vector_free(&w->vector);
  return weft_replica_version_at(w->r, str(doc_a), w->s.platforms[0].now, &w->vector);
}

static weft_err doc_info(kth_world *w) {
  weft_doc_info info;
  return weft_replica_doc_info(w->r, &w->arena, str(doc_a), &info);
}

static weft_err list(kth_world *w) {
  weft_list out;
  weft_query q;
  weft_where where = {.pointer = str("/x"), .op = WEFT_WHERE_NE};
  where.value = (weft_value){.kind = WEFT_INT, .as.integer = 99};
  weft_query_init(&q);
  q.collection = str("t");
  q.where = &where;
  q.where_count = 1;
  q.sort = str("/x");
  return weft_replica_list(w->r, &w->arena, &q, &out);
}

static weft_err indexes(kth_world *w) {
  weft_index_info *list;
  size_t count;
  return weft_replica_indexes(w->r, &w->arena, &list, &count);
}

static weft_err counts(kth_world *w) {
  weft_counts c;
  return weft_replica_counts(w->r, &c);
}

static weft_err history(kth_world *w) {
  weft_history_query q;
  weft_history_entry *out;
  size_t count;
  weft_bytes next;
  weft_history_query_init(&q);
  q.doc = str(doc_a);
  q.pointer = str("/x");
  q.has_pointer = true;
  return weft_replica_history(w->r, &w->arena, &q, &out, &count, &next);
}

static weft_err change(kth_world *w) {
  weft_history_entry e;
  weft_change_state state;
  return weft_replica_change(w->r, &w->arena, weft_bytes_of(w->shown_id.b, 8), &e, &state);
}

static weft_err conflicts(kth_world *w) {
  weft_conflict_entry *out;
  size_t count;
  weft_err err = weft_replica_conflicts(w->r, &w->arena, str(""), 0, &out, &count);
  return err == WEFT_OK && count == 0 ? WEFT_EPROTO : err;
}

static weft_err diff(kth_world *w) {
  weft_doc_diff out;
  return weft_replica_diff(w->r, &w->arena, str("t/b"), &w->vector, &w->base, &out);
}

static weft_err blame(kth_world *w) {
  weft_blame_entry *out;
  size_t count;
  return weft_replica_blame(w->r, &w->arena, str(doc_a), &out, &count);
}

static weft_err tags(kth_world *w) {
  weft_tag *out;
  size_t count;
  return weft_replica_tags(w->r, &w->arena, str(doc_a), &out, &count);
}

static weft_err strategies(kth_world *w) {
  weft_strategy_rule *out;
  size_t count;
  return weft_replica_strategies(w->r, &w->arena, &out, &count);
}

static weft_err strategy_of(kth_world *w) {
  weft_strategy out;
  return weft_replica_strategy_of(w->r, str(doc_a), w->conflict->path, &out);
}

static weft_err audit(kth_world *w) {
  weft_audit_place place = {0};
  weft_audit_entry *out;
  size_t count;
  do {
    WEFT_TRY(weft_replica_audit(w->r, &w->arena, &place, &out, &count));
  } while (count > 0);
  return WEFT_OK;
}

/* --- drafts, events, figures --- */

static weft_err edit_forecast(kth_world *w) {
  weft_forecast out;
  WEFT_TRY(edit_start(w));
  weft_err err = weft_edit_set(w->edit, str(doc_a), str("/new"), &w->value);
  if (err == WEFT_OK) err = weft_edit_forecast(w->edit, &w->arena, &out);
  return edit_end(w, err);
}

static weft_err edit_rests_on(kth_world *w) {
  WEFT_TRY(edit_start(w));
  weft_vector_free(&w->vector);
  return edit_end(w, weft_edit_rests_on(w->edit, &w->vector));
}

static weft_err contributors(kth_world *w) {
  weft_contributor *out;
  size_t count;
  return weft_replica_contributors(w->r, &w->arena, str(doc_a), &out, &count);
}

static weft_err own(kth_world *w) {
  weft_own_change *out;
  size_t count;
  uint64_t total;
  weft_vector none = {.count = 0};
  return weft_replica_own(w->r, &w->arena, &none, 50, &out, &count, &total);
}

/* Nothing is left of what could not be made, unless removing fails as well. */
static weft_err backup_left(kth_world *w, weft_err err, const char *path) {
  char fresh[320];
  snprintf(fresh, sizeof fresh, "%s.new", path);
  bool made = access(path, F_OK) == 0;
  bool left = access(fresh, F_OK) == 0 || (err != WEFT_OK && made);
  if (left && !test_disk()->names) return WEFT_EPROTO;
  if (err == WEFT_OK) unlink(path);
  (void)w;
  return err;
}

static weft_err backup(kth_world *w) {
  char path[256];
  test_temp_path(&w->temp, "backup", path);
  unlink(path);
  return backup_left(w, weft_replica_backup(w->r, path), path);
}

static weft_err backup_restore(kth_world *w) {
  char path[256];
  weft_diag d;
  test_temp_path(&w->temp, "restored", path);
  unlink(path);
  return backup_left(w, weft_backup_restore(w->path, path, &d), path);
}

/* Two chunks that follow each other. */
static weft_err pack_chunks(kth_world *w) {
  weft_bytes chunks[2];
  size_t count = 2;
  uint64_t last = 0;
  for (size_t i = 0; i < 2; i++) {
    weft_buf_free(&w->out);
    WEFT_TRY(weft_replica_read_chunk(w->r, &w->log, WEFT_BRANCH_ANY, last + 1, last + 1, &w->out,
                                     &last));
    WEFT_TRY(weft__arena_copy(&w->arena, weft_buf_view(&w->out), &chunks[i]));
  }
  return weft_replica_pack_chunks(w->r, &w->arena, chunks, &count);
}

static weft_err edit_save(kth_world *w) {
  WEFT_TRY(edit_start(w));
  weft_err err = weft_edit_set(w->edit, str(doc_a), str("/new"), &w->value);
  if (err == WEFT_OK) err = weft_edit_save(w->edit, str("draft"));
  return edit_end(w, err);
}

static void draft_saved(kth_world *w) {
  if (edit_save(w) != WEFT_OK) abort();
}

static weft_err edit_resume(kth_world *w) {
  weft_edit *e;
  weft_err err = weft_edit_resume(&e, w->r, str("draft"), NULL);
  if (err == WEFT_OK) weft_edit_free(e);
  return err;
}

static weft_err drafts(kth_world *w) {
  weft_draft *out;
  size_t count;
  return weft_replica_drafts(w->r, &w->arena, &out, &count);
}

static weft_err drop_draft(kth_world *w) { return weft_replica_drop_draft(w->r, str("draft")); }

static weft_err later(kth_world *w) {
  weft_later *out;
  size_t count;
  return weft_replica_later(w->r, &w->arena, &out, &count);
}

static weft_err events(kth_world *w) {
  weft_event *out;
  size_t count;
  weft_err err = weft_replica_events(w->r, &w->arena, 0, 50, &out, &count);
  return err == WEFT_OK && count == 0 ? WEFT_EPROTO : err;
}

static weft_err events_span(kth_world *w) {
  uint64_t first, last;
  return weft_replica_events_span(w->r, &first, &last);
}

static weft_err post_event(kth_world *w) {
  weft_event e = {.type = WEFT_EVENT_STORE_FULL, .text = str("text")};
  WEFT_TRY(weft_replica_post_event(w->r, &e));
  return weft_replica_flush_events(w->r);
}

static weft_err keep_events(kth_world *w) { return weft_replica_keep_events(w->r, 100); }

/* A bus with a subscription, from its making to what it delivers. */
static weft_err bus(kth_world *w) {
  weft_events *b;
  weft_delivery got;
  weft_subscription_options o;
  uint64_t id;
  weft_event e = {.type = WEFT_EVENT_PRESENCE_JOINED, .text = str("text")};
  weft_subscription_options_init(&o);
  o.has_since = true;
  WEFT_TRY(weft_events_new(&b, w->r, &w->mem));
  weft_err err = weft_events_subscribe(b, &o, &id);
  if (err == WEFT_OK) err = weft_events_publish(b, 1000, &e);
  if (err == WEFT_OK) err = weft_events_pump(b, 1000);
  while (err == WEFT_OK && weft_events_next(b, 2000, &got)) continue;
  if (err == WEFT_OK && weft_events_take(b, 3000, id, &got)) err = WEFT_OK;
  if (err == WEFT_OK) err = weft_events_unsubscribe(b, id);
  weft_events_free(b);
  return err;
}

static weft_err measure(kth_world *w) {
  weft_metrics_options o;
  weft_metrics *m;
  weft_metrics_options_init(&o);
  o.mem = w->mem;
  WEFT_TRY(weft_metrics_new(&m, &o));
  weft_buf_free(&w->out);
  weft_err err = weft_replica_measure(w->r, m);
  if (err == WEFT_OK) weft_metrics_write(&w->out, m, false);
  if (err == WEFT_OK) err = w->out.err;
  weft_metrics_free(m);
  return err;
}

#define VALUE(function)                                                                            \
  { "weft_" #function, NULL, function, KTH_VALUE }
#define READ(function)                                                                             \
  { "weft_replica_" #function, NULL, function, 0 }
#define EDIT(function)                                                                             \
  { "weft_" #function, edit_open, function, 0 }

const kth_case kth_cases[] = {
    VALUE(space_genesis),
    VALUE(json_parse),
    VALUE(json_write),
    VALUE(json_write_pretty),
    VALUE(json_write_string),
    VALUE(path_push),
    VALUE(pointer_push),
    VALUE(pointer_split),
    VALUE(memory_store_new),
    {"weft_vector_copy", NULL, vector_copy, 0},
    {"weft_vector_encode", NULL, vector_encode, 0},
    {"weft_vector_decode", vector_bytes, vector_decode, 0},
    {"weft_lmdb_store_open", close_it, lmdb_store_open, KTH_CLOSED},
    {"weft_lmdb_store_open", close_it, lmdb_store_make, KTH_CLOSED},
    {"weft_replica_open", close_it, replica_open, KTH_CLOSED},
    {"weft_replica_free", write_unmirrored, replica_free, KTH_CLOSED},
    {"weft_replica_settle", write_unmirrored, replica_settle, 0},
    {"weft_edit_begin", NULL, edit_begin, 0},
    EDIT(edit_set),
    EDIT(edit_unset),
    EDIT(edit_insert),
    EDIT(edit_move),
    EDIT(edit_delete),
    EDIT(edit_undelete),
    EDIT(edit_import),
    EDIT(edit_keep),
    EDIT(edit_resolve),
    EDIT(edit_remove_path),
    EDIT(edit_preview),
    EDIT(edit_commit),
    {"weft_group_begin", NULL, group_end, 0},
    {"weft_group_end", NULL, group_end, 0},
    {"weft_group_abort", NULL, group_abort, 0},
    READ(add_record),
    READ(admit),
    READ(hold),
    {"weft_replica_show", hold_all, show, KTH_STEPS},
    READ(put_ack),
    READ(put_address),
    READ(declare_index),
    READ(drop_index),
    READ(set_strategy),
    READ(drop_strategy),
    READ(tag),
    READ(untag),
    {"weft_replica_restore", old_version, restore, 0},
    READ(revert),
    READ(redo),
    {"weft_replica_repair", NULL, repair, KTH_STEPS},
    READ(verify),
    READ(record),
    READ(records),
    READ(stuck),
    READ(find),
    {"weft_replica_id_at", NULL, find, 0},
    READ(missing),
    READ(arrivals),
    READ(read_chunk),
    READ(forks),
    READ(begun),
    READ(acks),
    READ(addresses),
    READ(get),
    READ(get_at),
    READ(vector_at_change),
    READ(vector_at_time),
    READ(vector_at_tag),
    READ(vector_before_last),
    READ(version_after),
    READ(version_at),
    READ(doc_info),
    READ(list),
    READ(counts),
    READ(indexes),
    READ(history),
    READ(change),
    READ(conflicts),
    {"weft_replica_diff", old_version, diff, 0},
    READ(blame),
    READ(tags),
    READ(strategies),
    READ(strategy_of),
    READ(audit),
    EDIT(edit_forecast),
    EDIT(edit_rests_on),
    READ(backup),
    {"weft_backup_restore", close_it, backup_restore, KTH_CLOSED},
    READ(contributors),
    READ(own),
    READ(pack_chunks),
    EDIT(edit_save),
    {"weft_edit_resume", draft_saved, edit_resume, 0},
    READ(drafts),
    {"weft_replica_drop_draft", draft_saved, drop_draft, 0},
    READ(later),
    READ(events),
    READ(events_span),
    {"weft_replica_post_event", NULL, post_event, KTH_STEPS},
    {"weft_replica_flush_events", NULL, post_event, KTH_STEPS},
    READ(keep_events),
    {"weft_events_new", NULL, bus, 0},
    {"weft_events_subscribe", NULL, bus, 0},
    {"weft_events_unsubscribe", NULL, bus, 0},
    {"weft_events_publish", NULL, bus, 0},
    {"weft_events_pump", NULL, bus, 0},
    {"weft_events_next", NULL, bus, 0},
    {"weft_events_take", NULL, bus, 0},
    READ(measure),
    {"weft_metrics_new", NULL, measure, 0},
    {"weft_metrics_write", NULL, measure, 0},
};
const size_t kth_case_count = sizeof kth_cases / sizeof *kth_cases;

const char *const kth_nothing[] = {
    "weft_alloc_libc",
    "weft_arena_free",
    "weft_arena_init",
    "weft_arena_reset",
    "weft_begun_why_str",
    "weft_buf_free",
    "weft_buf_init",
    "weft_buf_reset",
    "weft_buf_view",
    "weft_bytes_cmp",
    "weft_bytes_str",
    "weft_cert_decode",
    "weft_cert_encode",
    "weft_cert_sign",
    "weft_cert_verify",
    "weft_conflict_pick",
    "weft_crypto_sodium",
    "weft_document_name_check",
    "weft_edit_free",
    "weft_edit_options_init_sized",
    "weft_epoch_id",
    "weft_err_name",
    "weft_err_str",
    "weft_event_cause",
    "weft_event_kind_of",
    "weft_event_name",
    "weft_event_passes",
    "weft_event_pattern",
    "weft_events_deadline",
    "weft_events_free",
    "weft_events_stats",
    "weft_events_subscriptions",
    "weft_fingerprint_of",
    "weft_history_query_init_sized",
    "weft_hlc_is_ahead",
    "weft_hlc_join",
    "weft_hlc_merge",
    "weft_hlc_now",
    "weft_hlc_ok",
    "weft_id_cmp",
    "weft_identity_derive",
    "weft_identity_wipe",
    "weft_joiner_deadline",
    "weft_joiner_free",
    "weft_joiner_result",
    "weft_lmdb_options_init_sized",
    "weft_memory_options_init_sized",
    "weft_metrics_at",
    "weft_metrics_free",
    "weft_metrics_options_init_sized",
    "weft_node_deadline",
    "weft_node_free",
    "weft_node_options_init_sized",
    "weft_path_check",
    "weft_path_depth",
    "weft_path_head",
    "weft_path_last",
    "weft_path_next",
    "weft_path_parent",
    "weft_path_under",
    "weft_query_init_sized",
    "weft_random",
    "weft_replica_apply_level",
    "weft_replica_arrival",
    "weft_replica_clock",
    "weft_replica_digest",
    "weft_replica_error",
    "weft_replica_events_newest",
    "weft_replica_events_waiting",
    "weft_replica_held",
    "weft_replica_instance",
    "weft_replica_lane",
    "weft_replica_options_init_sized",
    "weft_replica_roster",
    "weft_replica_showable",
    "weft_replica_shown",
    "weft_replica_space",
    "weft_roster_frozen",
    "weft_roster_member_of",
    "weft_roster_members",
    "weft_roster_space_name",
    "weft_set_assert_handler",
    "weft_store_free",
    "weft_store_get_diag",
    "weft_subscription_options_init_sized",
    "weft_ticket_encode",
    "weft_ticket_keys_derive",
    "weft_ticket_keys_wipe",
    "weft_ticket_parse",
    "weft_ticket_wipe",
    "weft_uv_node_core",
    "weft_uv_node_listening",
    "weft_uv_node_now",
    "weft_uv_node_options_init_sized",
    "weft_value_check",
    "weft_value_equal",
    "weft_value_is_scalar",
    "weft_value_member",
    "weft_vector_free",
    "weft_vector_init",
};
const size_t kth_nothing_count = sizeof kth_nothing / sizeof *kth_nothing;
