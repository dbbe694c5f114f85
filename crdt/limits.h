/* Every bound of the format and of memory, with its reason.  No limit can be turned off. */
#ifndef WEFT_LIMITS_H
#define WEFT_LIMITS_H

#include "base.h"

/* --- a change: part of the format; a change that breaks one is invalid content --- */
#define WEFT_CHANGE_OPS_MAX      65536u       /* a batch a person can wait for */
#define WEFT_CHANGE_LEN_MAX      (4u << 20)   /* one change must fit one chunk */
#define WEFT_VALUE_LEN_MAX       (256u << 10) /* encoded scalar; larger things are files */
#define WEFT_TEXT_LEN_MAX        (WEFT_VALUE_LEN_MAX - 5u) /* string or bytes: less its header */
#define WEFT_NAME_LEN_MAX        255u                      /* document name, object key */
#define WEFT_ELEMENT_LEN_MAX     32u                       /* element id */
#define WEFT_PATH_LEN_MAX        1024u                     /* encoded path */
#define WEFT_PATH_STEPS_MAX      64u    /* also bounds every walk over ancestors */
#define WEFT_POSITION_LEN_MAX    64u    /* encoded position of an array element */
#define WEFT_POSITION_LEN_WINDOW 32u    /* a rewritten window leaves this much room */
#define WEFT_MESSAGE_LEN_MAX     1024u  /* a person's note on a change */
#define WEFT_CHANGE_CLAIMS_MAX   65536u /* logs a change can claim */

/* --- a chunk --- */
#define WEFT_CHUNK_CHANGES_MAX 4096u
#define WEFT_CHUNK_LEN_MAX     (256u << 10) /* canonical bytes, unless it is one change */
#define WEFT_CHUNK_RUNS_MAX    64u          /* logs that share one chunk on the wire */
#define WEFT_SIGN_CHANGES_MAX  4096u        /* unsigned changes an author leaves behind */
#define WEFT_SIGN_LEN_MAX      (128u << 10) /* canonical bytes it leaves unsigned */

/* --- JSON and values in memory --- */
#define WEFT_JSON_DEPTH_MAX 72u /* a document as deep as a path can reach, in what wraps it */
#define WEFT_JSON_LEN_MAX   (64u << 20)

/* --- membership --- */
#define WEFT_RECORD_LEN_MAX       4096u
#define WEFT_RECORD_DEPS_MAX      16u
#define WEFT_DEVICE_NAME_LEN_MAX  64u
#define WEFT_SPACE_NAME_LEN_MAX   64u
#define WEFT_ROSTER_RECORDS_MAX   65536u /* a device costs one record */
#define WEFT_ROSTER_WAITING_MAX   4096u  /* each new record is held against all that wait */
#define WEFT_TICKET_ADDRESSES_MAX 4u     /* a QR code of this many is still read by telephones */
#define WEFT_ADDRESS_LEN_MAX      64u
#define WEFT_TICKET_LEN_MAX       599u /* text: "weft1" and base32 of 371 bytes */

/* --- drafts: they never leave the device --- */
#define WEFT_DRAFT_NAME_LEN_MAX 64u
#define WEFT_DRAFTS_MAX         1000u /* nobody oversees more */

/* --- version vectors --- */
#define WEFT_BRANCHES_MAX     16u     /* of a log, taken unasked: its key could make any number */
#define WEFT_VECTOR_HEADS_MAX 131072u /* twice the logs a change can claim */

/* --- keys of the store: LMDB's own limit --- */
#define WEFT_KEY_LEN_MAX            511u
#define WEFT_STORE_META_KEY_LEN_MAX 64u         /* names we chose ourselves */
#define WEFT_STORE_VALUE_LEN_MAX    (16u << 20) /* the largest chunk, with room to spare */

/* --- a session: what one connection may take --- */
#define WEFT_SESSION_MESSAGE_MAX  1024u       /* of the handshake: ours have 352 bytes at most */
#define WEFT_SESSION_HANDSHAKE_MS 5000u       /* three messages over any line */
#define WEFT_SESSION_DROP_MS_MAX  5000u       /* silence before a refused one is closed */
#define WEFT_SESSION_RECORD_MS    30000u      /* for one record: 2 KiB/s at least */
#define WEFT_SESSION_FLUSH_MS     1000u       /* for last words */
#define WEFT_SESSION_LIFETIME_MS  86400000u   /* then new keys from new curve points */
#define WEFT_SESSION_REKEY_EVERY  65536u      /* records under one key */
#define WEFT_SESSION_CONTROL_MAX  (16u << 10) /* body of a frame that is not bulk */
#define WEFT_SESSION_BODY_MAX     (5u << 20)  /* of one that is: the largest chunk and its head */
#define WEFT_SESSION_UNSENT_MAX   (8u << 20)  /* bytes queued: one such body, and more behind it */

/* --- presence: who is where, never stored --- */
#define WEFT_PRESENCE_SESSIONS_MAX    16u        /* of one device: windows and tabs of a person */
#define WEFT_PRESENCE_SESSION_LEN_MAX 64u        /* its name */
#define WEFT_PRESENCE_STATE_LEN_MAX   1024u      /* encoded: a cursor, a selection, no content */
#define WEFT_PRESENCE_BODY_LEN_MAX    (8u << 10) /* of a device: fits a control frame */
#define WEFT_PRESENCE_LIFE_MS_MAX     45000u     /* of a statement: three heartbeats */
#define WEFT_PRESENCE_DEVICES_MAX     1024u      /* remembered: 8 MiB at most */

/* --- the gate: what a node remembers of those who knocked --- */
#define WEFT_GATE_SECRETS_MAX     1024u     /* spaces times epochs, and open invites */
#define WEFT_GATE_WINDOW_MS       120000u   /* how far clocks may be apart */
#define WEFT_GATE_WINDOW_KEEP_MAX 2048u     /* handshakes in 4 minutes before it shrinks */
#define WEFT_GATE_SLOW_MS         60000u    /* between answers outside of the window */
#define WEFT_GATE_SLOW_KEEP_MS    86400000u /* how long those are remembered */
#define WEFT_GATE_SLOW_KEEP_MAX   1440u     /* so there are this many at most */

/* --- clocks --- */
#define WEFT_CLOCK_AHEAD_MAX_MS 600000u /* further ahead is shown, not merged */

WEFT_STATIC_ASSERT(WEFT_SIGN_LEN_MAX <= WEFT_CHUNK_LEN_MAX, "a signature falls within every chunk");
WEFT_STATIC_ASSERT(WEFT_SIGN_CHANGES_MAX <= WEFT_CHUNK_CHANGES_MAX, "likewise by count");
WEFT_STATIC_ASSERT(WEFT_VALUE_LEN_MAX < WEFT_CHANGE_LEN_MAX, "one value fits a change");
WEFT_STATIC_ASSERT(WEFT_POSITION_LEN_WINDOW < WEFT_POSITION_LEN_MAX, "a window frees room");

WEFT_STATIC_ASSERT(WEFT_CHANGE_LEN_MAX * 2u <= WEFT_STORE_VALUE_LEN_MAX, "a chunk fits a value");
WEFT_STATIC_ASSERT(WEFT_CHANGE_LEN_MAX < WEFT_SESSION_BODY_MAX, "a chunk fits a frame");
WEFT_STATIC_ASSERT(WEFT_SESSION_BODY_MAX < WEFT_SESSION_UNSENT_MAX, "a frame fits the queue");
WEFT_STATIC_ASSERT(WEFT_PRESENCE_BODY_LEN_MAX * 3u / 2u < WEFT_SESSION_CONTROL_MAX,
                   "a statement and its head fit a frame");
WEFT_STATIC_ASSERT(WEFT_GATE_SLOW_KEEP_MS / WEFT_GATE_SLOW_MS <= WEFT_GATE_SLOW_KEEP_MAX,
                   "one answer a minute fills no more than the table of a day");

#endif
