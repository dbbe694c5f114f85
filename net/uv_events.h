/* What a node on real sockets has to tell, as events of its replica.
 *
 * The node says more than people want to keep: a dial that fails every minute, peers that agree
 * after every change, strangers that knock.  Of each the first is told, and then only what is new,
 * so that nobody outside can fill the history. */
#ifndef WEFT_UV_EVENTS_H
#define WEFT_UV_EVENTS_H

#include "net/interfaces.h"
#include "net/node.h"
#include "store/events.h"

enum { WEFT_TOLD_LINKS_MAX = 256, WEFT_TOLD_DIALS_MAX = 64, WEFT_TOLD_REFUSED_MS = 60000 };

/* A device that is linked, and what has been told of it since. */
typedef struct weft_told_link {
  weft_id device;
  bool done, mismatch, clone;
} weft_told_link;

/* An address that did not answer, and why. */
typedef struct weft_told_dial {
  char address[WEFT_ADDRESS_LEN_MAX];
  size_t len;
  weft_err why;
} weft_told_dial;

typedef struct weft_uv_teller {
  weft_replica *replica;
  weft_events *bus; /* for what is transient; NULL: nobody hears of it */
  weft_id self;
  weft_told_link links[WEFT_TOLD_LINKS_MAX];
  size_t link_count;
  size_t up; /* links, those beyond the table too */
  weft_told_dial dials[WEFT_TOLD_DIALS_MAX];
  size_t dial_count; /* ever; the oldest makes place */
  uint64_t refused;  /* since it was told */
  weft_ms refused_at;
  bool refused_told;
  weft_interfaces interfaces;
} weft_uv_teller;

/* Tells what a note says, where it is new.  True when somebody can be reached now and nobody could
 * before, or the other way round. */
bool weft__uv_tell_note(weft_uv_teller *t, weft_ms now, const weft_node_action *note);
/* Looks at the interfaces.  Tells what changed since the last look, but at the first; true when
 * something did. */
bool weft__uv_tell_interfaces(weft_uv_teller *t, bool first);

#endif
