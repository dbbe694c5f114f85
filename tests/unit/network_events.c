/* What the network tells: differences between two looks at the interfaces, and notes of a node as
 * events, where they are new. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "net/uv_events.h"
#include "tests/support/space.h"

static void add(weft_interfaces *list, const char *name, const char *address) {
  weft__interfaces_add(list, weft_bytes_str(name), weft_bytes_str(address));
}

/* The differences as one text: "+" up, "-" down, "~" changed. */
static const char *differences(const weft_interfaces *before, const weft_interfaces *after) {
  static char text[4096];
  weft_interfaces_at at = {0, 0};
  weft_interface_change change;
  size_t len = 0;
  while (weft__interfaces_next(before, after, &at, &change)) {
    char sign = change.type == WEFT_EVENT_NETWORK_UP     ? '+'
                : change.type == WEFT_EVENT_NETWORK_DOWN ? '-'
                                                         : '~';
    text[len++] = sign;
    memcpy(text + len, change.text, change.len);
    len += change.len;
    text[len++] = ';';
  }
  text[len] = 0;
  return text;
}

static void test_interfaces(void **state) {
  (void)state;
  static weft_interfaces a, b;
  assert_string_equal(differences(&a, &b), "");
  add(&b, "wlan0", "192.0.2.7");
  add(&b, "eth0", "192.0.2.9");
  add(&b, "eth0", "192.0.2.10");
  add(&b, "eth0", "192.0.2.9");
  assert_int_equal(b.count, 3);
  assert_string_equal(differences(&a, &b), "+eth0 192.0.2.10 192.0.2.9;+wlan0 192.0.2.7;");
  assert_string_equal(differences(&b, &a), "-eth0 192.0.2.10 192.0.2.9;-wlan0 192.0.2.7;");
  assert_string_equal(differences(&b, &b), "");
  add(&a, "eth0", "192.0.2.9");
  add(&a, "lan1", "2001:db8::1");
  assert_string_equal(differences(&a, &b),
                      "~eth0 192.0.2.10 192.0.2.9;-lan1 2001:db8::1;+wlan0 192.0.2.7;");
  static weft_interfaces c, d;
  add(&c, "eth0", "192.0.2.1");
  add(&d, "eth0", "192.0.2.2");
  assert_string_equal(differences(&c, &d), "~eth0 192.0.2.2;");
}

static void test_interfaces_are_bounded(void **state) {
  (void)state;
  static weft_interfaces a, b;
  char name[8] = "eth000", address[48];
  memset(address, '1', sizeof address);
  address[47] = 0;
  add(&a, "", "192.0.2.1");
  add(&a, "eth0", "");
  add(&a, "a name that is longer than any name", "192.0.2.1");
  weft__interfaces_add(&a, weft_bytes_str("eth0"), weft_bytes_of(address, 48));
  assert_int_equal(a.count, 0);
  for (unsigned i = 0; i < WEFT_INTERFACES_MAX + 5; i++) {
    name[3] = (char)('0' + i / 100);
    name[4] = (char)('0' + i / 10 % 10);
    name[5] = (char)('0' + i % 10);
    add(&a, name, "192.0.2.1");
    address[0] = (char)(' ' + i % 90);
    add(&b, "eth0", address);
  }
  assert_int_equal(a.count, WEFT_INTERFACES_MAX);
  /* Text that grows too long ends after an address. */
  static weft_interfaces none;
  weft_interfaces_at at = {0, 0};
  weft_interface_change change;
  assert_true(weft__interfaces_next(&none, &b, &at, &change));
  assert_int_equal(change.len, 4 + 5 * 48);
}

/* --- notes --- */

typedef struct fixture {
  test_space s;
  weft_replica *r;
  weft_events *bus;
  weft_uv_teller t;
  weft_alloc mem;
  weft_arena arena;
  uint64_t from;
} fixture;

static int setup(void **state) {
  static fixture f;
  memset(&f, 0, sizeof f);
  f.mem = weft_alloc_libc();
  test_space_make(&f.s, 3, 9);
  f.r = test_space_memory(&f.s, 0);
  f.from = weft_replica_events_newest(f.r);
  weft__arena_init(&f.arena, &f.mem);
  assert_int_equal(weft_events_new(&f.bus, f.r, &f.mem), WEFT_OK);
  f.t.replica = f.r;
  f.t.bus = f.bus;
  f.t.self = f.s.devices[0].device;
  *state = &f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  weft_events_free(f->bus);
  weft_replica_free(f->r);
  weft__arena_free(&f->arena);
  return 0;
}

static bool tell(fixture *f, weft_ms now, weft_node_note note, size_t device, const char *text,
                 weft_err why) {
  weft_node_action a = {
      .kind = WEFT_NODE_NOTE, .note = note, .text = weft_bytes_str(text), .why = why};
  if (device) a.device = f->s.devices[device].device;
  return weft__uv_tell_note(&f->t, now, &a);
}

/* The names of what was told since the last time, joined by spaces. */
static const char *told(fixture *f) {
  static char text[2048];
  weft_event *events;
  size_t count, len = 0;
  assert_int_equal(weft_replica_flush_events(f->r), WEFT_OK);
  assert_int_equal(weft_replica_events(f->r, &f->arena, f->from, 100, &events, &count), WEFT_OK);
  for (size_t i = 0; i < count; i++) {
    const char *name = weft_event_name(events[i].type);
    memcpy(text + len, name, strlen(name));
    len += strlen(name);
    text[len++] = ' ';
  }
  text[len] = 0;
  f->from += count;
  return text;
}

static void test_links(void **state) {
  fixture *f = *state;
  assert_true(tell(f, 0, WEFT_NOTE_UP, 1, "192.0.2.1:7117", WEFT_OK));
  assert_false(tell(f, 0, WEFT_NOTE_UP, 2, "192.0.2.2:7117", WEFT_OK));
  assert_string_equal(told(f), "network.online peer.connected peer.connected ");
  for (unsigned i = 0; i < 5; i++) {
    assert_false(tell(f, i, WEFT_NOTE_IN_STEP, 1, "", WEFT_OK));
    assert_false(tell(f, i, WEFT_NOTE_DIGEST, 1, "", WEFT_ECORRUPT));
    assert_false(tell(f, i, WEFT_NOTE_CLONE, 2, "", WEFT_OK));
  }
  assert_string_equal(told(f), "sync.done sync.mismatch peer.clone ");
  assert_false(tell(f, 9, WEFT_NOTE_DOWN, 1, "192.0.2.1:7117", WEFT_ETIMEOUT));
  assert_false(tell(f, 9, WEFT_NOTE_UP, 1, "192.0.2.1:7117", WEFT_OK));
  assert_false(tell(f, 9, WEFT_NOTE_IN_STEP, 1, "", WEFT_OK));
  assert_string_equal(told(f), "peer.disconnected peer.connected sync.done ");
  assert_false(tell(f, 9, WEFT_NOTE_DOWN, 1, "", WEFT_OK));
  assert_true(tell(f, 9, WEFT_NOTE_DOWN, 2, "", WEFT_OK));
  assert_string_equal(told(f), "peer.disconnected peer.disconnected network.offline ");
  assert_false(tell(f, 9, WEFT_NOTE_DOWN, 2, "", WEFT_OK));
  assert_string_equal(told(f), "peer.disconnected ");
}

/* More links than the table has places are told too, only more often. */
static void test_many_links(void **state) {
  fixture *f = *state;
  weft_node_action a = {.kind = WEFT_NODE_NOTE, .note = WEFT_NOTE_UP};
  for (unsigned i = 0; i < WEFT_TOLD_LINKS_MAX + 1; i++) {
    a.device.b[0] = (uint8_t)i;
    a.device.b[1] = (uint8_t)(1 + i / 256);
    assert_true(weft__uv_tell_note(&f->t, 0, &a) == (i == 0));
  }
  assert_int_equal(f->t.link_count, WEFT_TOLD_LINKS_MAX);
  a.note = WEFT_NOTE_IN_STEP;
  size_t before = weft_replica_events_waiting(f->r);
  assert_false(weft__uv_tell_note(&f->t, 0, &a));
  assert_false(weft__uv_tell_note(&f->t, 0, &a));
  assert_int_equal(weft_replica_events_waiting(f->r), before + 2);
  a.note = WEFT_NOTE_DOWN;
  for (unsigned i = 0; i < WEFT_TOLD_LINKS_MAX + 1; i++) {
    a.device.b[0] = (uint8_t)i;
    a.device.b[1] = (uint8_t)(1 + i / 256);
    assert_true(weft__uv_tell_note(&f->t, 0, &a) == (i == WEFT_TOLD_LINKS_MAX));
  }
  assert_int_equal(f->t.link_count, 0);
}

static void test_dials(void **state) {
  fixture *f = *state;
  char text[] = "192.0.2.00:7117";
  for (unsigned i = 0; i < 5; i++) tell(f, i, WEFT_NOTE_FAILED, 0, "192.0.2.1:1", WEFT_ETIMEOUT);
  assert_string_equal(told(f), "peer.unreachable ");
  tell(f, 9, WEFT_NOTE_FAILED, 0, "192.0.2.1:1", WEFT_EUNREACHABLE);
  assert_string_equal(told(f), "peer.unreachable ");
  tell(f, 9, WEFT_NOTE_UP, 1, "192.0.2.1:1", WEFT_OK);
  tell(f, 9, WEFT_NOTE_FAILED, 0, "192.0.2.1:1", WEFT_EUNREACHABLE);
  assert_string_equal(told(f), "network.online peer.connected peer.unreachable ");
  /* Of many addresses the oldest is forgotten. */
  for (unsigned i = 0; i < WEFT_TOLD_DIALS_MAX; i++) {
    text[8] = (char)('0' + i / 10);
    text[9] = (char)('0' + i % 10);
    tell(f, 9, WEFT_NOTE_FAILED, 0, text, WEFT_ETIMEOUT);
  }
  (void)told(f);
  tell(f, 9, WEFT_NOTE_FAILED, 0, "192.0.2.1:1", WEFT_EUNREACHABLE);
  assert_string_equal(told(f), "peer.unreachable ");
}

/* Strangers that knock cannot fill the history: one a minute, with their number. */
static void test_refused(void **state) {
  fixture *f = *state;
  weft_event *events;
  size_t count;
  for (weft_ms now = 0; now < 120000; now += 100) {
    tell(f, now, WEFT_NOTE_REFUSED, 0, "192.0.2.66:1", WEFT_EAUTH);
  }
  uint64_t from = f->from;
  assert_string_equal(told(f), "peer.refused peer.refused ");
  assert_int_equal(weft_replica_events(f->r, &f->arena, from, 100, &events, &count), WEFT_OK);
  assert_true(events[0].count == 1 && events[1].count == 600);
  assert_int_equal(events[1].why, WEFT_EAUTH);
}

static void test_presence(void **state) {
  fixture *f = *state;
  weft_delivery d;
  uint64_t id;
  weft_subscription_options o;
  weft_subscription_options_init(&o);
  assert_int_equal(weft_events_subscribe(f->bus, &o, &id), WEFT_OK);
  tell(f, 0, WEFT_NOTE_JOINED, 1, "t/a", WEFT_OK);
  tell(f, 0, WEFT_NOTE_UPDATED, 1, "t/a", WEFT_OK);
  tell(f, 0, WEFT_NOTE_LEFT, 1, "t/a", WEFT_OK);
  static const weft_event_type types[] = {WEFT_EVENT_PRESENCE_JOINED, WEFT_EVENT_PRESENCE_CHANGED,
                                          WEFT_EVENT_PRESENCE_LEFT};
  for (unsigned i = 0; i < 3; i++) {
    assert_true(weft_events_next(f->bus, 0, &d));
    assert_int_equal(d.event->type, types[i]);
    assert_true(d.event->seq == 0 && d.event->has_device && d.event->doc.len == 3);
  }
  f->t.bus = NULL;
  tell(f, 0, WEFT_NOTE_JOINED, 1, "t/a", WEFT_OK);
  assert_string_equal(told(f), "");
}

/* The machine's own interfaces: the first look tells nothing, a second without a change neither,
 * and what was not there before is told. */
static void test_looking(void **state) {
  fixture *f = *state;
  assert_false(weft__uv_tell_interfaces(&f->t, true));
  assert_false(weft__uv_tell_interfaces(&f->t, false));
  assert_string_equal(told(f), "");
  add(&f->t.interfaces, "gone0", "192.0.2.1");
  assert_true(weft__uv_tell_interfaces(&f->t, false));
  assert_string_equal(told(f), "network.down ");
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_interfaces),
      cmocka_unit_test(test_interfaces_are_bounded),
      WITH(test_links),
      WITH(test_many_links),
      WITH(test_dials),
      WITH(test_refused),
      WITH(test_presence),
      WITH(test_looking),
  };
#undef WITH
  return cmocka_run_group_tests(tests, NULL, NULL);
}
