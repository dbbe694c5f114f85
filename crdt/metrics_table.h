/* The table of metrics, and counting.
 *
 * Internal to the library.  A row is (id, kind, name, label key, label value, unit, help); rows of
 * one name follow each other and share kind, unit and help.  docs/metrics.md says the same for
 * people, and tests/unit/metrics.c compares. */
#ifndef WEFT_METRICS_TABLE_H
#define WEFT_METRICS_TABLE_H

#include "crdt/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_HELP_LINK_IN   "Bytes that came in over links, sealed, by who dialled"
#define WEFT_HELP_LINK_OUT  "Bytes that went out over links, sealed, by who dialled"
#define WEFT_HELP_FRAME_IN  "Bytes of bodies of frames that came in, by what they are for"
#define WEFT_HELP_FRAME_OUT "Bytes of bodies of frames that went out, by what they are for"
#define WEFT_HELP_QUEUE                                                                            \
  "Bytes that wait: to be sealed, those that overtake them, to be taken by the stream, to be held"

/* clang-format off */
#define WEFT_METRICS(X)                                                                            \
  X(COMMITS, COUNTER, "weft_commits_total", "", "", "changes",                                     \
    "Own changes committed: durable and shown")                                                    \
  X(COMMIT_OPS, COUNTER, "weft_commit_ops_total", "", "", "ops", "Ops of these changes")           \
  X(HELD, COUNTER, "weft_held_changes_total", "", "", "changes",                                   \
    "Changes that entered the logs, own and received")                                             \
  X(SHOWN, COUNTER, "weft_shown_changes_total", "", "", "changes",                                 \
    "Changes that became visible, own and received")                                               \
  X(TRANSACTIONS, COUNTER, "weft_store_transactions_total", "", "", "transactions",                \
    "Synced transactions of the store")                                                            \
  X(SIGNATURES, COUNTER, "weft_verified_signatures_total", "", "", "signatures",                   \
    "Signatures of received runs that were verified")                                              \
  X(VERIFIED, COUNTER, "weft_verified_changes_total", "", "", "changes",                           \
    "Changes under these signatures")                                                              \
  X(REFUSED, COUNTER, "weft_refused_holds_total", "", "", "calls",                                 \
    "Received batches refused: a bad signature, chain or encoding")                                \
  X(SYNCS, COUNTER, "weft_syncs_total", "", "", "times",                                           \
    "Times a peer and this device came to hold and show the same")                                 \
  X(LINK_IN_DIALLED, COUNTER, "weft_link_received_bytes_total", "link", "dialled", "bytes",        \
    WEFT_HELP_LINK_IN)                                                                             \
  X(LINK_IN_ACCEPTED, COUNTER, "weft_link_received_bytes_total", "link", "accepted", "bytes",      \
    WEFT_HELP_LINK_IN)                                                                             \
  X(LINK_OUT_DIALLED, COUNTER, "weft_link_sent_bytes_total", "link", "dialled", "bytes",           \
    WEFT_HELP_LINK_OUT)                                                                            \
  X(LINK_OUT_ACCEPTED, COUNTER, "weft_link_sent_bytes_total", "link", "accepted", "bytes",         \
    WEFT_HELP_LINK_OUT)                                                                            \
  X(FRAME_IN_CONTROL, COUNTER, "weft_frame_received_bytes_total", "for", "control", "bytes",       \
    WEFT_HELP_FRAME_IN)                                                                            \
  X(FRAME_IN_MEMBERS, COUNTER, "weft_frame_received_bytes_total", "for", "members", "bytes",       \
    WEFT_HELP_FRAME_IN)                                                                            \
  X(FRAME_IN_VECTORS, COUNTER, "weft_frame_received_bytes_total", "for", "vectors", "bytes",       \
    WEFT_HELP_FRAME_IN)                                                                            \
  X(FRAME_IN_CHANGES, COUNTER, "weft_frame_received_bytes_total", "for", "changes", "bytes",       \
    WEFT_HELP_FRAME_IN)                                                                            \
  X(FRAME_IN_ACKS, COUNTER, "weft_frame_received_bytes_total", "for", "acks", "bytes",             \
    WEFT_HELP_FRAME_IN)                                                                            \
  X(FRAME_IN_PRESENCE, COUNTER, "weft_frame_received_bytes_total", "for", "presence", "bytes",     \
    WEFT_HELP_FRAME_IN)                                                                            \
  X(FRAME_OUT_CONTROL, COUNTER, "weft_frame_sent_bytes_total", "for", "control", "bytes",          \
    WEFT_HELP_FRAME_OUT)                                                                           \
  X(FRAME_OUT_MEMBERS, COUNTER, "weft_frame_sent_bytes_total", "for", "members", "bytes",          \
    WEFT_HELP_FRAME_OUT)                                                                           \
  X(FRAME_OUT_VECTORS, COUNTER, "weft_frame_sent_bytes_total", "for", "vectors", "bytes",          \
    WEFT_HELP_FRAME_OUT)                                                                           \
  X(FRAME_OUT_CHANGES, COUNTER, "weft_frame_sent_bytes_total", "for", "changes", "bytes",          \
    WEFT_HELP_FRAME_OUT)                                                                           \
  X(FRAME_OUT_ACKS, COUNTER, "weft_frame_sent_bytes_total", "for", "acks", "bytes",                \
    WEFT_HELP_FRAME_OUT)                                                                           \
  X(FRAME_OUT_PRESENCE, COUNTER, "weft_frame_sent_bytes_total", "for", "presence", "bytes",        \
    WEFT_HELP_FRAME_OUT)                                                                           \
  X(DIALS, COUNTER, "weft_dials_total", "", "", "dials", "Connections that this device began")     \
  X(DIALS_FAILED, COUNTER, "weft_failed_dials_total", "", "", "dials",                             \
    "Dials that no link came of")                                                                  \
  X(LINKS_OPENED, COUNTER, "weft_opened_links_total", "", "", "links", "Links to members opened")  \
  X(PEERS_REFUSED, COUNTER, "weft_refused_peers_total", "", "", "connections",                     \
    "Connections turned away: not members, banned, or with a bad ticket")                          \
  X(ACKS, COUNTER, "weft_received_acks_total", "", "", "acknowledgements",                         \
    "Acknowledgements of members that were new here")                                              \
  X(CHANGES_HELD, GAUGE, "weft_changes_held", "", "", "changes", "Changes in the logs")            \
  X(CHANGES_SHOWN, GAUGE, "weft_changes_shown", "", "", "changes", "Changes that are visible")     \
  X(SHOW_LAG, GAUGE, "weft_show_lag_changes", "", "", "changes", "Changes held and not shown")     \
  X(SHOW_LAG_TIME, GAUGE, "weft_show_lag_seconds", "", "", "seconds",                              \
    "How long something has been held and not shown without a pause; 0: everything is shown")      \
  X(STUCK, GAUGE, "weft_stuck_logs", "", "", "logs",                                               \
    "Logs whose next change waits for one that is not held here")                                  \
  X(DOCS, GAUGE, "weft_documents", "", "", "documents", "Documents")                               \
  X(DELETED, GAUGE, "weft_deleted_documents", "", "", "documents", "Deleted documents")            \
  X(CONFLICTS, GAUGE, "weft_conflicts", "", "", "conflicts", "Conflicts that nobody resolved")     \
  X(UNRESOLVED, GAUGE, "weft_blocked_documents", "", "", "documents",                              \
    "Documents with conflicts under the strategy manual")                                          \
  X(LOGS, GAUGE, "weft_logs", "", "", "logs", "Logs held")                                         \
  X(MEMBERS, GAUGE, "weft_members", "", "", "devices", "Members of the space")                     \
  X(PENDING, GAUGE, "weft_pending_changes", "", "", "changes",                                     \
    "Own changes that some member has not acknowledged")                                           \
  X(LINKS, GAUGE, "weft_open_links", "", "", "links", "Links to members that are open")            \
  X(SESSIONS, GAUGE, "weft_presence_sessions", "", "", "sessions",                                 \
    "Sessions that are present, own ones included")                                                \
  X(QUEUE_SESSION, GAUGE, "weft_queue_bytes", "queue", "session", "bytes", WEFT_HELP_QUEUE)        \
  X(QUEUE_URGENT, GAUGE, "weft_queue_bytes", "queue", "urgent", "bytes", WEFT_HELP_QUEUE)          \
  X(QUEUE_STREAM, GAUGE, "weft_queue_bytes", "queue", "stream", "bytes", WEFT_HELP_QUEUE)          \
  X(QUEUE_HOLD, GAUGE, "weft_queue_bytes", "queue", "hold", "bytes", WEFT_HELP_QUEUE)              \
  X(QUEUE_ACTIONS, GAUGE, "weft_queue_actions", "", "", "actions",                                 \
    "Actions that the node waits to have carried out")                                             \
  X(MEMORY, GAUGE, "weft_node_memory_bytes", "", "", "bytes",                                      \
    "Buffers of all links and of what waits to be held")                                           \
  X(COMMIT_TIME, HISTOGRAM, "weft_commit_duration_seconds", "", "", "seconds",                     \
    "A commit, or the end of a group of them, synced")                                             \
  X(HOLD_TIME, HISTOGRAM, "weft_hold_duration_seconds", "", "", "seconds",                         \
    "Checking and holding one batch of received changes, synced")                                  \
  X(SHOW_TIME, HISTOGRAM, "weft_show_duration_seconds", "", "", "seconds",                         \
    "Showing one batch of changes, synced")                                                        \
  X(ACK_TIME, HISTOGRAM, "weft_ack_round_trip_seconds", "", "", "seconds",                         \
    "From an own change to the first acknowledgement of it")                                       \
  X(PING_TIME, HISTOGRAM, "weft_ping_round_trip_seconds", "", "", "seconds",                       \
    "From PING to its PONG")
/* clang-format on */

typedef enum weft_metric {
#define WEFT_METRIC_ENUM(id, kind, name, key, value, unit, help) WEFT_METRIC_##id,
  WEFT_METRICS(WEFT_METRIC_ENUM)
#undef WEFT_METRIC_ENUM
      WEFT_METRIC_COUNT
} weft_metric;

enum {
  WEFT_METRIC_FIRST_GAUGE = WEFT_METRIC_CHANGES_HELD,
  WEFT_METRIC_FIRST_HISTOGRAM = WEFT_METRIC_COMMIT_TIME,
  WEFT_METRIC_HISTOGRAMS = WEFT_METRIC_COUNT - WEFT_METRIC_FIRST_HISTOGRAM,
  WEFT_METRIC_BUCKETS = 16
};

typedef struct weft_histogram {
  uint64_t counts[WEFT_METRIC_BUCKETS + 1];
  uint64_t sum, count;
} weft_histogram;

struct weft_metrics {
  weft_alloc mem;
  uint64_t (*clock_ns)(void *ctx);
  void *ctx;
  uint64_t values[WEFT_METRIC_FIRST_HISTOGRAM];
  bool known[WEFT_METRIC_FIRST_HISTOGRAM];
  weft_histogram histograms[WEFT_METRIC_HISTOGRAMS];
  uint64_t lag_since; /* something is held and not shown since then; 0: nothing */
};

/* Adds to a counter; `m` may be NULL. */
static inline void weft__count(weft_metrics *m, weft_metric id, uint64_t n) {
  if (m) m->values[id] += n;
}

/* Sets a gauge. */
void weft__gauge(weft_metrics *m, weft_metric id, uint64_t value);
/* The clock now, at least 1; 0 without a clock or without `m`. */
uint64_t weft__metrics_clock(const weft_metrics *m);
/* Puts a duration into a histogram; `m` may be NULL. */
void weft__observe(weft_metrics *m, weft_metric id, uint64_t ns);
/* The same from what weft__metrics_clock said before; nothing when that was 0. */
void weft__observe_since(weft_metrics *m, weft_metric id, uint64_t started);
/* What is held, and what of it is shown. */
void weft__metrics_lag(weft_metrics *m, uint64_t held, uint64_t shown);

#ifdef __cplusplus
}
#endif
#endif
