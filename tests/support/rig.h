/* One real node over a real replica, and puppets that connect to it: sessions whose frames the test
 * writes by hand.  Everything is in memory and at once; time moves when the test moves it. */
#ifndef WEFT_TESTS_RIG_H
#define WEFT_TESTS_RIG_H

#include "net/message.h"
#include "net/node.h"
#include "net/replica_source.h"
#include "net/session.h"
#include "tests/support/space.h"

enum { RIG_CONNS_MAX = 96, RIG_FRAMES_MAX = 512 };

typedef struct rig_pipe {
  uint64_t conn;
  uint8_t *at; /* what the node sent and nobody took */
  size_t len;
  bool closed;
  weft_err why;
} rig_pipe;

typedef struct rig rig;

struct rig {
  test_space space;
  weft_alloc mem;
  weft_replica *replica;
  weft_replica_source *source;
  weft_node *node;
  weft_node_epoch epoch;
  weft_ms now;
  rig_pipe pipes[RIG_CONNS_MAX];
  size_t pipe_count;
  unsigned notes[WEFT_NOTE_PARKED + 1];
  unsigned holds, records;
  weft_err hold_err; /* not WEFT_OK: HOLDs fail with it and do nothing */
  bool stall;        /* streams take nothing */
  bool hold_late;    /* HOLDs wait for rig_hold */
  weft_node_action late;
  bool late_set;
  uint16_t refuse; /* ADMIT is answered with this code; 0: admitted */
  unsigned admits;
  uint64_t dialled; /* conn of the last DIAL */
  unsigned dials;
  /* Not NULL: asked about each HOLD, RECORD and ADMIT; true: it saw to the action. */
  bool (*odd)(rig *r, const weft_node_action *a);
  void *odd_ctx;
};

/* A rig of device 0 in a space of `devices`. */
void rig_make(rig *r, size_t devices, uint64_t seed);
/* The same with options the caller fills in further; see rig_options. */
void rig_make_with(rig *r, weft_node_options *o);
void rig_free(rig *r);
/* Makes the space and replica and fills in the options of the node to come. */
weft_node_options rig_options(rig *r, size_t devices, uint64_t seed);
/* The same of a rig that knows the records of the first `known` of the devices only. */
weft_node_options rig_options_knowing(rig *r, size_t devices, size_t known, uint64_t seed);
/* A rig that knows the records of the first `known` of the devices only. */
void rig_make_knowing(rig *r, size_t devices, size_t known, uint64_t seed);

/* Carries out actions until there are none. */
void rig_pump(rig *r);
/* Moves time, with every deadline on the way. */
void rig_wait(rig *r, weft_ms ms);
/* Carries out the HOLD that was put off. */
void rig_hold(rig *r);
rig_pipe *rig_pipe_of(rig *r, uint64_t conn);
/* Makes place for another pipe: this one's link has ended or will not be looked at again. */
void rig_forget(rig *r, uint64_t conn);
/* A connection that says nothing by itself. */
uint64_t rig_accept(rig *r, const char *host);
void rig_feed(rig *r, uint64_t conn, weft_bytes bytes);

/* Device 0 writes so many changes. */
void rig_write(rig *r, unsigned count);

/* What another device of the space wrote: a replica of its own, and a chunk of its one log. */
typedef struct rig_other {
  weft_replica *replica;
  weft_buf chunk;
  weft_id log, head;
  uint64_t last;
} rig_other;

/* Lets device `idx` write so many changes. */
rig_other rig_other_make(rig *r, size_t idx, unsigned count);
void rig_other_free(rig_other *o);

typedef struct rig_frame {
  uint8_t type;
  uint8_t *at;
  size_t len;
} rig_frame;

static inline weft_bytes rig_bytes(const rig_frame *f) { return weft_bytes_of(f->at, f->len); }

typedef struct puppet {
  rig *r;
  uint64_t conn;
  weft_alloc mem;
  weft_session *session;
  bool established, closed;
  weft_err why;
  rig_frame frames[RIG_FRAMES_MAX];
  size_t frame_count;
} puppet;

/* Connects as `identity` with the space's epoch; goes on until nothing moves. */
void puppet_make(puppet *p, rig *r, const weft_identity *identity);
/* The same with another secret. */
void puppet_make_with(puppet *p, rig *r, const weft_identity *identity,
                      const weft_session_secret *secret);
void puppet_free(puppet *p);
weft_session_secret rig_secret(const rig *r);
/* Sends a frame and lets everything flow. */
void puppet_send(puppet *p, uint8_t type, weft_bytes body);
void puppet_send_buf(puppet *p, uint8_t type, weft_buf *body);
void puppet_flow(puppet *p);
/* The last frame of a type, NULL when none came. */
const rig_frame *puppet_last(const puppet *p, uint8_t type);
size_t puppet_count(const puppet *p, uint8_t type);
void puppet_forget(puppet *p);
/* The code of the ERROR frame that came, 0 without one. */
unsigned puppet_error(const puppet *p);
/* A HELLO of an empty store, which a test may change before it sends it. */
weft_msg_hello puppet_hello(const puppet *p);
/* Says that HELLO. */
void puppet_greet(puppet *p);
/* Connects device `idx` of the space and greets. */
void puppet_open(puppet *p, rig *r, size_t idx);
weft_buf puppet_body(void);
/* Sends the message `m` (a pointer; of a CREDIT the number) of weft__msg_KIND_put. */
#define puppet_say(p, type, kind, m)                                                               \
  do {                                                                                             \
    weft_buf puppet_said = puppet_body();                                                          \
    weft__msg_##kind##_put(&puppet_said, m);                                                       \
    puppet_send_buf(p, type, &puppet_said);                                                        \
  } while (0)

/* Sends one record or chunk. */
void puppet_send_blob(puppet *p, uint8_t type, weft_bytes blob);

/* --- a test of its own rig --- */

/* For the list of tests: one that finds a rig of so many `devices`, 1 to 3, and a puppet that it
 * may open, both freed behind it. */
#define rig_unit_test(test, devices)                                                               \
  cmocka_unit_test_setup_teardown(test, rig_setup_##devices, rig_teardown)
int rig_setup_1(void **state);
int rig_setup_2(void **state);
int rig_setup_3(void **state);
int rig_teardown(void **state);
rig *rig_of(void **state);
puppet *puppet_of(void **state);

#endif
