/* Devices of one space, and their replicas on the disk. */
#include "bench/fleet.h"

#include "crdt/record.h"
#include "store/lmdb_store.h"

/* --- members --- */

static weft_err sign_record(fleet *f, unsigned idx, const weft_record *record) {
  weft_buf out;
  weft__buf_init(&out, &f->b->mem, FLEET_RECORD_LEN);
  weft_err err = weft__record_sign(&out, f->b->crypto, &f->devices[0], record, &f->grants[idx]);
  if (err == WEFT_OK) {
    for (size_t i = 0; i < out.len; i++) f->records[idx][i] = out.at[i];
    f->record_lens[idx] = out.len;
  }
  weft__buf_free(&out);
  return err;
}

weft_err fleet_make(fleet *f, bench *b) {
  *f = (fleet){.b = b, .clock_us = w1_import_us(0)};
  weft_record genesis = {.kind = WEFT_RECORD_GENESIS, .flags = WEFT_RECORD_CRITICAL};
  weft_key invite;
  weft_random(invite.b, sizeof invite.b);
  weft_random(genesis.genesis.nonce, sizeof genesis.genesis.nonce);
  for (unsigned i = 0; i < FLEET_DEVICES; i++) {
    weft_key seed;
    weft_random(seed.b, sizeof seed.b);
    weft_identity_derive(&f->devices[i], b->crypto, &seed);
  }
  genesis.genesis.x_public = f->devices[0].x_public;
  genesis.genesis.space_name = weft_bytes_str("bench");
  genesis.genesis.name = weft_bytes_str("device 0");
  WEFT_TRY(bench_fail(b, sign_record(f, 0, &genesis), "making a space"));
  f->space = f->grants[0];
  for (unsigned i = 1; i < FLEET_DEVICES; i++) {
    weft_record admit = {.kind = WEFT_RECORD_ADMIT, .space = f->space, .dep_count = 1};
    admit.deps[0] = f->grants[i - 1];
    admit.admit.role = WEFT_ROLE_WRITER;
    admit.admit.name = weft_bytes_str("another device");
    weft__redeem_sign(&admit.admit.redeem, b->crypto, &f->devices[i], &invite, &f->space);
    WEFT_TRY(bench_fail(b, sign_record(f, i, &admit), "admitting a device"));
  }
  return WEFT_OK;
}

/* --- replicas --- */

static weft_ms wall_ms(void *ctx) { return ((const fleet *)ctx)->clock_us / 1000; }

static void entropy(void *ctx, void *out, size_t len) {
  (void)ctx;
  weft_random(out, len);
}

static weft_err open_store(fleet *f, fleet_replica *out) {
  weft_lmdb_options o;
  weft_diag diag = {0};
  weft_lmdb_options_init(&o);
  o.mem = f->b->mem;
  o.path = out->path;
  return bench_fail(f->b, weft_lmdb_store_open(&o, &out->store, &diag), diag.text);
}

static weft_err open_replica(fleet *f, unsigned idx, fleet_replica *out) {
  weft_replica_options o;
  char mirror[BENCH_PATH_LEN_MAX];
  bench_path(f->b, "mirror", mirror);
  weft_replica_options_init(&o);
  o.mem = f->b->mem;
  o.crypto = f->b->crypto;
  o.platform = (weft_platform){f, wall_ms, entropy};
  o.identity = &f->devices[idx];
  o.space = f->space;
  o.store = out->store;
  o.mirror_dir = mirror;
  o.machine = weft_bytes_str("bench");
  weft_err err = weft_replica_open(&out->replica, &o);
  if (err != WEFT_OK) {
    weft_store_free(out->store);
    out->store = NULL;
  }
  return bench_fail(f->b, err, "opening a replica");
}

weft_err fleet_reopen(fleet *f, unsigned idx, fleet_replica *r) {
  WEFT_TRY(open_store(f, r));
  return open_replica(f, idx, r);
}

/* In the folder that `out` names. */
static weft_err open_in(fleet *f, unsigned idx, fleet_replica *out) {
  snprintf(out->path, sizeof out->path, "%.490s/data.mdb", out->folder);
  WEFT_TRY(fleet_reopen(f, idx, out));
  for (unsigned i = 0; i < FLEET_DEVICES; i++) {
    weft_bytes record = weft_bytes_of(f->records[i], f->record_lens[i]);
    WEFT_TRY(bench_fail(f->b, weft_replica_add_record(out->replica, record), "adding a member"));
  }
  return WEFT_OK;
}

weft_err fleet_open(fleet *f, unsigned idx, const char *name, fleet_replica *out) {
  *out = (fleet_replica){0};
  bench_path(f->b, name, out->folder);
  return open_in(f, idx, out);
}

weft_err fleet_open_memory(fleet *f, unsigned idx, const char *name, fleet_replica *out) {
  *out = (fleet_replica){0};
  bench_memory_path(f->b, name, out->folder);
  return open_in(f, idx, out);
}

void fleet_close(fleet_replica *r) {
  weft_replica_free(r->replica);
  if (r->folder[0]) bench_tree_remove(r->folder);
  *r = (fleet_replica){0};
}

/* --- writing --- */

static weft_err commit(fleet *f, weft_replica *r, weft_edit *e) {
  weft_commit done;
  weft_err err = weft_edit_commit(e, &done);
  if (err == WEFT_OK && !done.written) {
    return bench_fail(f->b, WEFT_EMISUSE, "an update that changes nothing");
  }
  return bench_fail(f->b, err, weft_replica_error(r));
}

weft_err fleet_insert(fleet *f, weft_replica *r, uint32_t t) {
  char name[W1_NAME_LEN_MAX];
  weft_edit *e;
  w1_document(name, t);
  f->clock_us = w1_import_us(t);
  WEFT_TRY(bench_fail(f->b, weft_edit_begin(&e, r, NULL), "beginning an edit"));
  weft_err err = WEFT_OK;
  for (uint32_t i = 0; i < W1_FIELDS && err == WEFT_OK; i++) {
    w1_value v;
    char pointer[W1_NAME_LEN_MAX];
    w1_value_of(&v, (w1_place){t, i, 0});
    snprintf(pointer, sizeof pointer, "/%s", w1_field(i));
    err = weft_edit_set(e, weft_bytes_str(name), weft_bytes_str(pointer), &v.value);
  }
  if (err == WEFT_OK) err = commit(f, r, e);
  weft_edit_free(e);
  return bench_fail(f->b, err, "inserting a template");
}

weft_err fleet_import(fleet *f, weft_replica *r, uint32_t templates, uint32_t group) {
  for (uint32_t t = 0; t < templates; t += group) {
    uint32_t end = templates - t < group ? templates : t + group;
    WEFT_TRY(bench_fail(f->b, weft_group_begin(r), "beginning a group"));
    weft_err err = WEFT_OK;
    for (uint32_t i = t; i < end && err == WEFT_OK; i++) err = fleet_insert(f, r, i);
    if (err == WEFT_OK) {
      err = weft_group_end(r);
    } else {
      weft_group_abort(r);
    }
    WEFT_TRY(bench_fail(f->b, err, "importing"));
    WEFT_TRY(bench_progress(f->b, "import"));
  }
  return WEFT_OK;
}

void fleet_change_make(fleet_change *out, w1_place at) {
  w1_document(out->document, at.template);
  snprintf(out->pointer, sizeof out->pointer, "/%s", w1_field(at.field));
  w1_value_of(&out->value, at);
  out->clock_us = 0;
}

weft_err fleet_change_write(fleet *f, weft_replica *r, const fleet_change *change) {
  weft_edit *e;
  if (change->clock_us > 0) f->clock_us = change->clock_us;
  WEFT_TRY(bench_fail(f->b, weft_edit_begin(&e, r, NULL), "beginning an edit"));
  weft_err err = weft_edit_set(e, weft_bytes_str(change->document), weft_bytes_str(change->pointer),
                               &change->value.value);
  if (err == WEFT_OK) err = commit(f, r, e);
  weft_edit_free(e);
  return bench_fail(f->b, err, "writing an update");
}

weft_err fleet_update(fleet *f, weft_replica *r, w1_place at) {
  fleet_change change;
  fleet_change_make(&change, at);
  return fleet_change_write(f, r, &change);
}

/* --- receiving --- */

weft_err fleet_hold(fleet *f, weft_replica *r, const weft_bytes *chunks, size_t count,
                    uint64_t *held) {
  weft_arena arena;
  weft_hold_report report;
  weft__arena_init(&arena, &f->b->mem);
  weft_err err = weft_replica_hold(r, &arena, chunks, count, &report);
  *held += report.changes;
  weft__arena_free(&arena);
  return bench_fail(f->b, err, weft_replica_error(r));
}

bool fleet_shown_all(const weft_replica *r) {
  return weft__vector_compare(weft_replica_held(r), weft_replica_shown(r), NULL) ==
         WEFT_ORDER_EQUAL;
}

weft_err fleet_show(fleet *f, weft_replica *r, uint64_t batch, uint64_t *shown) {
  weft_show_report report;
  do {
    WEFT_TRY(bench_fail(f->b, weft_replica_show(r, batch, &report), weft_replica_error(r)));
    *shown += report.changes;
    WEFT_TRY(bench_progress(f->b, "show"));
  } while (report.more);
  if (report.waiting == 0) return WEFT_OK;
  return bench_fail(f->b, WEFT_EMISUSE, "changes wait that should have been shown");
}
