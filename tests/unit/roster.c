/* The roster against its definition, for every order of arrival.
 *
 * Generated sets of records - valid and void admissions, members without the right, records of the
 * future, deps that nobody holds - are judged twice: by the roster, and by reading the definition
 * in roster.h over the whole set.  Signatures are a keyed hash here, since there are many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/roster.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/ids.h"
#include "tests/support/rng.h"

enum { device_count = 6, record_max = 40 };

static void quick_sign(weft_sig *sig, const weft_key *seed, const weft_id *pub,
                       weft_bytes message) {
  (void)seed;
  weft_bytes parts[2] = {weft_bytes_of(pub->b, 32), message};
  weft_crypto_sodium()->hash(sig->b, 64, weft_bytes_of(NULL, 0), NULL, NULL, parts, 2);
}

static bool quick_verify(const weft_sig *sig, const weft_id *pub, weft_bytes message) {
  weft_sig want;
  quick_sign(&want, NULL, pub, message);
  return memcmp(&want, sig, sizeof want) == 0;
}

static weft_crypto quick_crypto(void) {
  weft_crypto c = *weft_crypto_sodium();
  c.sign = quick_sign;
  c.verify = quick_verify;
  return c;
}

static weft_identity device_of(unsigned number) { return test_identity(number + 1); }

/* What a test knows of one record of a set. */
typedef struct made {
  uint8_t raw[WEFT_RECORD_LEN_MAX];
  size_t len;
  weft_id id;
  uint64_t deps; /* bit set of earlier records */
  weft_id lost;  /* a dep that nobody holds */
  bool has_lost;
  unsigned author, subject;
  weft_role role;
  bool admits; /* a GENESIS or ADMIT without fault of its own */
  bool critical_unknown;
} made;

typedef struct record_set {
  weft_crypto crypto;
  weft_identity devices[device_count];
  weft_id space;
  made records[record_max];
  size_t count;
} record_set;

static void seal_into(record_set *s, const weft_record *record, unsigned author) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf buf;
  made *m = &s->records[s->count++];
  weft__buf_init(&buf, &mem, WEFT_RECORD_LEN_MAX);
  weft_err err = weft__record_sign(&buf, &s->crypto, &s->devices[author], record, &m->id);
  assert_int_equal(err, WEFT_OK);
  memcpy(m->raw, buf.at, buf.len);
  m->len = buf.len;
  m->author = author;
  weft__buf_free(&buf);
}

static void make_genesis(record_set *s) {
  weft_record g;
  memset(&g, 0, sizeof g);
  g.kind = WEFT_RECORD_GENESIS;
  g.flags = WEFT_RECORD_CRITICAL;
  g.genesis.x_public = s->devices[0].x_public;
  g.genesis.space_name = weft_bytes_str("kitchen");
  g.genesis.name = weft_bytes_str("device 0");
  seal_into(s, &g, 0);
  s->space = s->records[0].id;
  s->records[0].admits = true;
  s->records[0].role = WEFT_ROLE_ADMIN;
}

static void make_record(record_set *s, test_rng *rng) {
  weft_record r;
  weft_key seed;
  made *m = &s->records[s->count];
  memset(&r, 0, sizeof r);
  memset(&seed, 0x77, sizeof seed);
  r.space = s->space;
  uint64_t want = 1 + test_rng_below(rng, 3);
  for (uint64_t i = 0; i < want; i++) {
    /* Mostly the newest, so that chains grow. */
    size_t back = test_rng_below(rng, s->count < 3 || test_rng_chance(rng, 30) ? s->count : 3);
    size_t dep = s->count - 1 - back;
    if (m->deps >> dep & 1) continue;
    m->deps |= (uint64_t)1 << dep;
    r.deps[r.dep_count++] = s->records[dep].id;
  }
  m->has_lost = test_rng_chance(rng, 5);
  if (m->has_lost) {
    test_rng_fill(rng, m->lost.b, 32);
    r.deps[r.dep_count++] = m->lost;
  }
  unsigned author = test_rng_chance(rng, 50) ? 0 : (unsigned)test_rng_below(rng, device_count);
  if (test_rng_chance(rng, 12)) {
    r.kind = test_rng_chance(rng, 50) ? WEFT_RECORD_REVOKE : 99;
    r.flags = test_rng_chance(rng, 40) ? WEFT_RECORD_CRITICAL : 0;
    uint8_t nonce[4];
    test_rng_fill(rng, nonce, sizeof nonce);
    r.body = weft_bytes_of(nonce, sizeof nonce);
    m->critical_unknown = r.flags;
    seal_into(s, &r, author);
    return;
  }
  r.kind = WEFT_RECORD_ADMIT;
  m->subject = (unsigned)test_rng_below(rng, device_count);
  m->role = test_rng_chance(rng, 60) ? WEFT_ROLE_ADMIN : (weft_role)(2 + test_rng_below(rng, 2));
  m->admits = !test_rng_chance(rng, 10);
  r.admit.role = m->role;
  char name[24];
  snprintf(name, sizeof name, "device %u by %zu", m->subject, s->count);
  r.admit.name = weft_bytes_str(name);
  weft__redeem_sign(&r.admit.redeem, &s->crypto, &s->devices[m->subject], &seed, &s->space);
  if (!m->admits) r.admit.redeem.by_device.b[5] ^= 1;
  seal_into(s, &r, author);
}

static void set_make(record_set *s, test_rng *rng, size_t count) {
  memset(s, 0, sizeof *s);
  s->crypto = quick_crypto();
  for (unsigned i = 0; i < device_count; i++) s->devices[i] = device_of(i);
  make_genesis(s);
  while (s->count < count) make_record(s, rng);
}

/* Everything a roster answers, in comparable form. */
typedef struct answers {
  size_t member_count, head_count, placed, waiting, missing_count;
  bool frozen;
  weft_id member_device[device_count], member_grant[device_count];
  weft_role member_role[device_count];
  weft_id heads[record_max], order[record_max], missing[record_max + 1];
  bool grants[record_max][device_count];
} answers;

static void ask(const weft_roster *r, const record_set *s, answers *out) {
  memset(out, 0, sizeof *out);
  const weft_roster_member *members;
  const weft_id *heads;
  weft__roster_members(r, &members, &out->member_count);
  assert_true(out->member_count <= device_count);
  for (size_t i = 0; i < out->member_count; i++) {
    const weft_roster_member *m = &members[i];
    out->member_device[i] = m->device;
    out->member_grant[i] = m->grant;
    out->member_role[i] = m->role;
    assert_ptr_equal(weft__roster_member_of(r, &m->device), m);
    for (unsigned k = 0; k < device_count; k++) {
      if (weft_id_cmp(&s->devices[k].device, &m->device) != 0) continue;
      assert_memory_equal(&m->x_public, &s->devices[k].x_public, 32);
    }
  }
  weft__roster_heads(r, &heads, &out->head_count);
  if (out->head_count) memcpy(out->heads, heads, out->head_count * sizeof *heads);
  out->placed = weft__roster_count(r);
  out->waiting = weft__roster_waiting(r);
  out->frozen = weft__roster_frozen(r);
  out->missing_count = weft__roster_missing(r, out->missing, record_max + 1);
  for (size_t i = 0; i < out->placed; i++) {
    weft_record record;
    weft_bytes raw = weft__roster_record_at(r, i);
    assert_int_equal(weft__record_parse(&record, &s->crypto, raw), WEFT_OK);
    out->order[i] = record.id;
  }
  for (size_t i = 0; i < s->count; i++) {
    for (unsigned k = 0; k < device_count; k++) {
      out->grants[i][k] = weft__roster_grants(r, &s->records[i].id, &s->devices[k].device);
    }
  }
}

static void sort_ids(weft_id *ids, size_t count) {
  for (size_t i = 1; i < count; i++) {
    for (size_t k = i; k > 0 && weft_id_cmp(&ids[k - 1], &ids[k]) > 0; k--) {
      weft_id swap = ids[k];
      ids[k] = ids[k - 1];
      ids[k - 1] = swap;
    }
  }
}

typedef struct judged {
  uint64_t before[record_max]; /* the records each leads to */
  unsigned depth[record_max];
  bool placed[record_max], counts[record_max];
} judged;

static bool comes_first(const record_set *s, const judged *j, size_t a, size_t b) {
  if (j->depth[a] != j->depth[b]) return j->depth[a] < j->depth[b];
  return weft_id_cmp(&s->records[a].id, &s->records[b].id) < 0;
}

/* The first grant of `device` among `within`, or -1. */
static int first_grant(const record_set *s, const judged *j, uint64_t within, unsigned device) {
  int first = -1;
  for (size_t i = 0; i < s->count; i++) {
    if (!(within >> i & 1) || !j->counts[i] || s->records[i].subject != device) continue;
    if (first < 0 || comes_first(s, j, i, (size_t)first)) first = (int)i;
  }
  return first;
}

/* The definition of roster.h over the records of `held`. */
static void judge(const record_set *s, uint64_t held, answers *out) {
  judged j;
  memset(&j, 0, sizeof j);
  memset(out, 0, sizeof *out);
  uint64_t placed = 0, named = 0;
  for (size_t i = 0; i < s->count; i++) { /* deps stand before what names them */
    const made *m = &s->records[i];
    if (!(held >> i & 1) || m->has_lost || (m->deps & ~placed) != 0) continue;
    j.placed[i] = true;
    placed |= (uint64_t)1 << i;
    named |= m->deps;
    for (size_t k = 0; k < i; k++) {
      if (!(m->deps >> k & 1)) continue;
      j.before[i] |= j.before[k] | (uint64_t)1 << k;
      if (j.depth[k] + 1 > j.depth[i]) j.depth[i] = j.depth[k] + 1;
    }
    int right = first_grant(s, &j, j.before[i], m->author);
    bool admin = i == 0 || (right >= 0 && s->records[right].role == WEFT_ROLE_ADMIN);
    j.counts[i] = m->admits && admin;
    if (m->critical_unknown && admin) out->frozen = true;
  }
  for (size_t i = 0; i < s->count; i++) {
    const made *m = &s->records[i];
    if (!(held >> i & 1)) continue;
    if (j.counts[i]) out->grants[i][m->subject] = true;
    if (!j.placed[i]) out->waiting++;
    if (j.placed[i]) out->placed++;
    if (j.placed[i] && !(named >> i & 1)) out->heads[out->head_count++] = m->id;
    if (!j.placed[i] && m->has_lost) out->missing[out->missing_count++] = m->lost;
    for (size_t k = 0; k < i && !j.placed[i]; k++) {
      if (!(m->deps >> k & 1) || (held >> k & 1)) continue;
      bool twice = false;
      for (size_t n = 0; n < out->missing_count; n++) {
        twice = twice || weft_id_cmp(&out->missing[n], &s->records[k].id) == 0;
      }
      if (!twice) out->missing[out->missing_count++] = s->records[k].id;
    }
  }
  bool asked = false;
  for (size_t n = 0; n < out->missing_count; n++) {
    asked = asked || weft_id_cmp(&out->missing[n], &s->space) == 0;
  }
  if (!(held & 1) && !asked) out->missing[out->missing_count++] = s->space;
  sort_ids(out->heads, out->head_count);
  sort_ids(out->missing, out->missing_count);
  size_t used = 0; /* order: by depth, then id */
  for (unsigned depth = 0; depth < record_max; depth++) {
    size_t start = used;
    for (size_t i = 0; i < s->count; i++) {
      if (j.placed[i] && j.depth[i] == depth) out->order[used++] = s->records[i].id;
    }
    sort_ids(out->order + start, used - start);
  }
  weft_id devices[device_count];
  for (unsigned k = 0; k < device_count; k++) devices[k] = s->devices[k].device;
  sort_ids(devices, device_count);
  for (unsigned n = 0; n < device_count; n++) {
    for (unsigned k = 0; k < device_count; k++) {
      if (weft_id_cmp(&devices[n], &s->devices[k].device) != 0) continue;
      int grant = first_grant(s, &j, placed, k);
      if (grant < 0) continue;
      out->member_device[out->member_count] = devices[n];
      out->member_grant[out->member_count] = s->records[grant].id;
      out->member_role[out->member_count++] = s->records[grant].role;
    }
  }
}

static weft_roster *roster_of(const record_set *s, const weft_alloc *mem) {
  weft_roster *r;
  assert_int_equal(weft__roster_new(&r, mem, &s->crypto, &s->space), WEFT_OK);
  return r;
}

static void add(weft_roster *r, const made *m, bool want_fresh) {
  bool fresh;
  assert_int_equal(weft__roster_add(r, weft_bytes_of(m->raw, m->len), &fresh), WEFT_OK);
  assert_int_equal(fresh, want_fresh);
}

static void assert_answers(const weft_roster *r, const record_set *s, uint64_t held) {
  answers got, want;
  ask(r, s, &got);
  judge(s, held, &want);
  assert_memory_equal(&got, &want, sizeof got);
}

/* Next permutation in lexicographic order; false after the last. */
static bool next_order(unsigned *order, size_t count) {
  size_t i = count - 1, k = count - 1;
  while (i > 0 && order[i - 1] > order[i]) i--;
  if (i == 0) return false;
  while (order[k] < order[i - 1]) k--;
  unsigned swap = order[i - 1];
  order[i - 1] = order[k];
  order[k] = swap;
  for (k = count - 1; i < k; i++, k--) {
    swap = order[i];
    order[i] = order[k];
    order[k] = swap;
  }
  return true;
}

static void every_order_gives_the_same(uint64_t seed, size_t count) {
  test_rng rng = test_rng_of(seed);
  weft_alloc mem = weft_alloc_libc();
  static record_set s;
  answers got, want;
  unsigned order[8];
  set_make(&s, &rng, count);
  judge(&s, ((uint64_t)1 << count) - 1, &want);
  for (unsigned i = 0; i < count; i++) order[i] = i;
  do {
    weft_roster *r = roster_of(&s, &mem);
    for (size_t i = 0; i < count; i++) add(r, &s.records[order[i]], true);
    ask(r, &s, &got);
    if (memcmp(&got, &want, sizeof got) != 0) print_error("seed=%zu\n", (size_t)seed);
    assert_memory_equal(&got, &want, sizeof got);
    weft__roster_free(r);
  } while (next_order(order, count));
}

static void all_orders_of_few(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 150; seed++) every_order_gives_the_same(seed, 2 + seed % 4);
  for (uint64_t seed = 1000; seed < 1010; seed++) every_order_gives_the_same(seed, 6);
  for (uint64_t seed = 2000; seed < 2002; seed++) every_order_gives_the_same(seed, 7);
}

static void after_every_arrival_of_many(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  static record_set s;
  unsigned frozen = 0, waited = 0, crowds = 0;
  for (uint64_t seed = 1; seed <= 150; seed++) {
    test_rng rng = test_rng_of(seed);
    size_t count = 8 + test_rng_below(&rng, record_max - 7);
    set_make(&s, &rng, count);
    weft_roster *r = roster_of(&s, &mem);
    unsigned order[record_max];
    uint64_t held = 0;
    assert_answers(r, &s, held);
    for (unsigned i = 0; i < count; i++) order[i] = i;
    for (size_t i = count - 1; i > 0; i--) {
      size_t k = test_rng_chance(&rng, 50) ? test_rng_below(&rng, i + 1) : i;
      unsigned swap = order[i];
      order[i] = order[k];
      order[k] = swap;
    }
    for (size_t i = 0; i < count; i++) {
      add(r, &s.records[order[i]], true);
      held |= (uint64_t)1 << order[i];
      assert_answers(r, &s, held);
      add(r, &s.records[order[test_rng_below(&rng, i + 1)]], false);
      if (weft__roster_waiting(r)) waited++;
    }
    frozen += weft__roster_frozen(r);
    size_t members;
    const weft_roster_member *list;
    weft__roster_members(r, &list, &members);
    crowds += members > 3;
    assert_int_equal(weft_bytes_cmp(weft__roster_space_name(r), weft_bytes_str("kitchen")), 0);
    weft__roster_free(r);
  }
  assert_true(frozen > 20);
  assert_true(frozen < 140);
  assert_true(waited > 100);
  assert_true(crowds > 20);
}

static void beyond_lists_what_a_peer_lacks(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  static record_set s;
  for (uint64_t seed = 1; seed <= 100; seed++) {
    test_rng rng = test_rng_of(seed);
    set_make(&s, &rng, 25);
    weft_roster *mine = roster_of(&s, &mem), *theirs = roster_of(&s, &mem);
    size_t few = test_rng_below(&rng, 26);
    for (size_t i = 0; i < s.count; i++) add(mine, &s.records[i], true);
    for (size_t i = 0; i < few; i++) add(theirs, &s.records[i], true);
    const weft_id *heads;
    weft_id known[record_max + 3];
    size_t count, head_count, waiting = weft__roster_waiting(theirs);
    weft__roster_heads(theirs, &heads, &head_count);
    if (head_count) memcpy(known, heads, head_count * sizeof *heads);
    test_rng_fill(&rng, known[head_count].b, 32); /* a head that is not held here */
    known[head_count + 1] = known[0];             /* one twice, one that waits */
    known[head_count + 2] = known[0];
    for (size_t i = 0; i < s.count; i++) {
      if (s.records[i].has_lost) known[head_count + 2] = s.records[i].id;
    }
    weft_arena arena;
    weft_bytes *records;
    weft__arena_init(&arena, &mem);
    assert_int_equal(weft__roster_beyond(mine, known, head_count + 3, &arena, &records, &count),
                     WEFT_OK);
    assert_int_equal(count, weft__roster_count(mine) - weft__roster_count(theirs));
    for (size_t i = 0; i < count; i++) { /* parents before children: nothing new ever waits */
      assert_int_equal(weft__roster_add(theirs, records[i], NULL), WEFT_OK);
      assert_int_equal(weft__roster_waiting(theirs), waiting);
    }
    uint8_t root[2][16];
    weft__roster_root(mine, root[0]);
    weft__roster_root(theirs, root[1]);
    assert_memory_equal(root[0], root[1], 16);
    assert_int_equal(weft__roster_count(mine), weft__roster_count(theirs));
    weft__arena_free(&arena);
    weft__roster_free(mine);
    weft__roster_free(theirs);
  }
}

static bool never(const weft_sig *sig, const weft_id *pub, weft_bytes message) {
  (void)sig, (void)pub, (void)message;
  return false;
}

/* What was found of a record stands for its signatures, where it was judged. */
static void what_was_taken_is_restored(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  static record_set s, blind;
  size_t verdicts[3] = {0};
  for (uint64_t seed = 1; seed <= 100; seed++) {
    test_rng rng = test_rng_of(seed);
    set_make(&s, &rng, 25);
    blind = s;
    blind.crypto.verify = never;
    weft_roster *mine = roster_of(&s, &mem), *again = roster_of(&s, &mem);
    weft_roster *trusting = roster_of(&blind, &mem);
    for (size_t i = 0; i < s.count; i++) add(mine, &s.records[i], true);
    for (size_t i = 0; i < s.count; i++) {
      weft_bytes raw = weft_bytes_of(s.records[i].raw, s.records[i].len);
      weft_roster_verdict verdict = weft__roster_verdict(mine, &s.records[i].id);
      verdicts[verdict]++;
      assert_int_equal(weft__roster_restore(again, raw, verdict), WEFT_OK);
      assert_int_equal(weft__roster_restore(again, raw, verdict), WEFT_OK);
      assert_int_equal(weft__roster_verdict(again, &s.records[i].id), verdict);
      assert_int_equal(weft__roster_restore(trusting, raw, verdict),
                       verdict == WEFT_ROSTER_UNJUDGED ? WEFT_EBADSIG : WEFT_OK);
    }
    assert_answers(again, &s, ((uint64_t)1 << s.count) - 1);
    weft__roster_free(mine);
    weft__roster_free(again);
    weft__roster_free(trusting);
  }
  for (size_t i = 0; i < 3; i++) assert_true(verdicts[i] > 50);
}

static void refusals_leave_no_trace(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  static record_set s, foreign;
  test_rng rng = test_rng_of(3);
  set_make(&s, &rng, 6);
  foreign = s;
  foreign.count = 0;
  foreign.devices[0] = s.devices[1];
  make_genesis(&foreign);
  while (foreign.count < 3) make_record(&foreign, &rng);
  weft_roster *r = roster_of(&s, &mem);
  uint8_t root[16], zeros[16] = {0};
  weft__roster_root(r, root);
  assert_memory_equal(root, zeros, 16);
  assert_int_equal(weft__roster_space_name(r).len, 0);
  add(r, &s.records[0], true);
  for (size_t i = 0; i < 2; i++) {
    weft_bytes other = weft_bytes_of(foreign.records[i].raw, foreign.records[i].len);
    assert_int_equal(weft__roster_add(r, other, NULL), WEFT_EFOREIGN);
  }
  made *m = &s.records[1];
  m->raw[m->len - 1] ^= 1;
  assert_int_equal(weft__roster_add(r, weft_bytes_of(m->raw, m->len), NULL), WEFT_EBADSIG);
  assert_int_equal(weft__roster_add(r, weft_bytes_of(m->raw, 40), NULL), WEFT_EMALFORMED);
  assert_answers(r, &s, 1);
  assert_int_equal(weft__roster_record(r, &m->id).len, 0);
  m->raw[m->len - 1] ^= 1;
  add(r, m, true);
  weft_bytes back = weft__roster_record(r, &m->id);
  assert_int_equal(weft_bytes_cmp(back, weft_bytes_of(m->raw, m->len)), 0);
  assert_null(weft__roster_member_of(r, &s.space));
  assert_int_equal(weft__roster_missing(r, NULL, 0), 0);
  weft__roster_free(r);
  weft__roster_free(NULL);
}

/* A GENESIS that says something forbidden, or that only a newer version understands. */
static void strange_roots(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_crypto c = quick_crypto();
  weft_identity creator = device_of(0);
  for (int kind = 0; kind < 3; kind++) { /* void, unknown, unknown and critical */
    uint8_t raw[3 + 64 + 1 + 2 + 65 + 64] = {1, WEFT_RECORD_GENESIS, kind == 2};
    size_t covered = sizeof raw - 64;
    memcpy(raw + 35, creator.device.b, 32);
    raw[69] = 65;
    raw[70 + 64] = kind != 0; /* the policy */
    weft_record record;
    assert_int_equal(weft__record_parse(&record, &c, weft_bytes_of(raw, sizeof raw)), WEFT_OK);
    uint8_t message[14 + 32] = "weft-v1 record";
    memcpy(message + 14, record.id.b, 32);
    weft_sig sig;
    c.sign(&sig, NULL, &creator.device, weft_bytes_of(message, sizeof message));
    memcpy(raw + covered, sig.b, 64);
    weft_roster *r;
    const weft_roster_member *members;
    size_t count;
    assert_int_equal(weft__roster_new(&r, &mem, &c, &record.id), WEFT_OK);
    assert_int_equal(weft__roster_add(r, weft_bytes_of(raw, sizeof raw), NULL), WEFT_OK);
    weft__roster_members(r, &members, &count);
    assert_int_equal(count, 0);
    assert_int_equal(weft__roster_frozen(r), kind == 2);
    weft_record child; /* nobody is an admin below such a root */
    weft_id id;
    weft_buf buf;
    memset(&child, 0, sizeof child);
    child.kind = 99;
    child.flags = WEFT_RECORD_CRITICAL;
    child.space = child.deps[0] = record.id;
    child.dep_count = 1;
    weft__buf_init(&buf, &mem, WEFT_RECORD_LEN_MAX);
    assert_int_equal(weft__record_sign(&buf, &c, &creator, &child, &id), WEFT_OK);
    assert_int_equal(weft__roster_add(r, weft__buf_view(&buf), NULL), WEFT_OK);
    weft__buf_free(&buf);
    assert_int_equal(weft__roster_frozen(r), kind == 2);
    assert_int_equal(weft__roster_count(r), 2);
    weft__roster_free(r);
  }
}

static void missing_gives_the_least(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  static record_set s;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    test_rng rng = test_rng_of(seed);
    set_make(&s, &rng, 30);
    weft_roster *r = roster_of(&s, &mem);
    for (size_t i = 0; i < s.count; i++) {
      if (i % 3) add(r, &s.records[i], true);
    }
    weft_id all[record_max], few[record_max];
    size_t count = weft__roster_missing(r, all, record_max);
    for (size_t cap = 0; cap <= count; cap++) {
      assert_int_equal(weft__roster_missing(r, few, cap), cap);
      assert_memory_equal(few, all, cap * sizeof *all);
    }
    weft__roster_free(r);
  }
}

/* Adds a record of an unknown kind that follows `deps`; gives its id. */
static weft_err add_numbered(weft_roster *r, const record_set *s, uint32_t number,
                             const weft_id *deps, size_t dep_count, weft_id *id) {
  weft_alloc mem = weft_alloc_libc();
  weft_record record;
  weft_buf buf;
  memset(&record, 0, sizeof record);
  record.kind = 99;
  record.space = s->space;
  memcpy(record.deps, deps, dep_count * sizeof *deps);
  record.dep_count = dep_count;
  record.body = weft_bytes_of(&number, sizeof number);
  weft__buf_init(&buf, &mem, WEFT_RECORD_LEN_MAX);
  assert_int_equal(weft__record_sign(&buf, &s->crypto, &s->devices[0], &record, id), WEFT_OK);
  weft_err err = weft__roster_add(r, weft__buf_view(&buf), NULL);
  weft__buf_free(&buf);
  return err;
}

static void growth_is_bounded(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  static record_set s;
  test_rng rng = test_rng_of(1);
  set_make(&s, &rng, 2);
  weft_roster *r = roster_of(&s, &mem);
  weft_id lost = {{1}}, id;
  uint32_t number = 0;
  for (size_t i = 0; i < WEFT_ROSTER_WAITING_MAX; i++) {
    assert_int_equal(add_numbered(r, &s, number++, &lost, 1, &id), WEFT_OK);
  }
  assert_int_equal(add_numbered(r, &s, number++, &lost, 1, &id), WEFT_EAGAIN);
  assert_int_equal(weft__roster_waiting(r), WEFT_ROSTER_WAITING_MAX);
  weft__roster_free(r);
  r = roster_of(&s, &mem);
  add(r, &s.records[0], true);
  weft_id last = s.space;
  for (size_t i = 1; i < WEFT_ROSTER_RECORDS_MAX; i++) {
    assert_int_equal(add_numbered(r, &s, number++, &last, 1, &id), WEFT_OK);
    last = id;
  }
  assert_int_equal(add_numbered(r, &s, number++, &last, 1, &id), WEFT_ELIMIT);
  assert_int_equal(weft__roster_count(r), WEFT_ROSTER_RECORDS_MAX);
  weft__roster_free(r);
}

/* Layers that each follow all of the layer before: the number of ways down is 16 to the layers. */
static void walks_visit_each_record_once(void **state) {
  (void)state;
  enum { layers = 40, wide = WEFT_RECORD_DEPS_MAX };
  weft_alloc mem = weft_alloc_libc();
  static record_set s;
  test_rng rng = test_rng_of(1);
  weft_id below[wide], layer[wide];
  set_make(&s, &rng, 1);
  weft_roster *r = roster_of(&s, &mem);
  add(r, &s.records[0], true);
  for (uint32_t i = 0; i < wide; i++) {
    assert_int_equal(add_numbered(r, &s, i, &s.space, 1, &below[i]), WEFT_OK);
  }
  for (uint32_t n = 1; n <= layers; n++) {
    for (uint32_t i = 0; i < wide; i++) {
      assert_int_equal(add_numbered(r, &s, n * wide + i, below, wide, &layer[i]), WEFT_OK);
    }
    memcpy(below, layer, sizeof below);
  }
  weft_arena arena;
  weft_bytes *records;
  size_t count;
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft__roster_beyond(r, below, 1, &arena, &records, &count), WEFT_OK);
  assert_int_equal(count, wide - 1); /* the rest of the last layer */
  weft__arena_free(&arena);
  weft__roster_free(r);
}

static void every_failed_allocation_is_survived(void **state) {
  (void)state;
  static record_set s;
  test_rng rng = test_rng_of(8);
  set_make(&s, &rng, 36);
  for (int sticky = 0; sticky < 2; sticky++) {
    bool done = false;
    for (size_t at = 1; !done; at++) {
      test_fault_alloc fault = {.fail_at = at, .sticky = sticky};
      weft_alloc mem = test_fault_alloc_of(&fault);
      weft_roster *r;
      weft_arena arena;
      weft_err err = weft__roster_new(&r, &mem, &s.crypto, &s.space);
      uint64_t held = 0;
      for (size_t i = 0; i < s.count && err == WEFT_OK; i++) {
        weft_bytes raw = weft_bytes_of(s.records[i].raw, s.records[i].len);
        err = weft__roster_add(r, raw, NULL);
        if (err == WEFT_OK) held |= (uint64_t)1 << i;
      }
      if (r) assert_answers(r, &s, held);
      weft__arena_init(&arena, &mem);
      weft_bytes *records;
      size_t count;
      if (err == WEFT_OK) err = weft__roster_beyond(r, NULL, 0, &arena, &records, &count);
      if (err == WEFT_OK) assert_int_equal(count, weft__roster_count(r));
      done = err == WEFT_OK;
      if (!done) assert_int_equal(err, WEFT_ENOMEM);
      weft__arena_free(&arena);
      weft__roster_free(r);
      assert_int_equal(fault.live, 0);
      assert_true(at < 500);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_orders_of_few),
      cmocka_unit_test(after_every_arrival_of_many),
      cmocka_unit_test(beyond_lists_what_a_peer_lacks),
      cmocka_unit_test(what_was_taken_is_restored),
      cmocka_unit_test(refusals_leave_no_trace),
      cmocka_unit_test(strange_roots),
      cmocka_unit_test(missing_gives_the_least),
      cmocka_unit_test(growth_is_bounded),
      cmocka_unit_test(walks_visit_each_record_once),
      cmocka_unit_test(every_failed_allocation_is_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
