/* What one replica has and another one lacks. */
#include "bench/transfer.h"

enum { SPANS_MAX = 65536, LOGS_MAX = 64 };

/* How much of a log has been sent: a chunk goes further than the span that it was read for. */
typedef struct sent {
  weft_id log;
  uint64_t last;
} sent;

typedef struct transfer {
  bench *b;
  weft_replica *from;
  transfer_sink sink;
  void *ctx;
  weft_buf chunk;
  sent logs[LOGS_MAX];
  size_t log_count;
} transfer;

static sent *sent_of(transfer *t, const weft_id *log) {
  for (size_t i = 0; i < t->log_count; i++) {
    if (weft_id_cmp(&t->logs[i].log, log) == 0) return &t->logs[i];
  }
  if (t->log_count == LOGS_MAX) return NULL;
  t->logs[t->log_count] = (sent){.log = *log};
  return &t->logs[t->log_count++];
}

static weft_err send_span(transfer *t, const weft_span *span) {
  sent *log = sent_of(t, &span->log);
  if (!log) return bench_fail(t->b, WEFT_ELIMIT, "too many logs");
  uint64_t at = log->last < span->from ? span->from : log->last + 1;
  while (at <= span->to) {
    uint64_t last = 0;
    weft__buf_reset(&t->chunk);
    weft_err err =
        weft_replica_read_chunk(t->from, &span->log, span->branch, at, span->to, &t->chunk, &last);
    WEFT_TRY(bench_fail(t->b, err, "reading a chunk"));
    WEFT_TRY(t->sink(t->ctx, weft__buf_view(&t->chunk)));
    at = last + 1;
    log->last = last;
  }
  return WEFT_OK;
}

weft_err transfer_all(bench *b, weft_replica *from, weft_replica *to, transfer_sink sink,
                      void *ctx) {
  weft_arena arena;
  weft_span *spans;
  size_t count = 0;
  const weft_vector nothing = {0};
  const weft_vector *held = to ? weft_replica_held(to) : &nothing;
  transfer t = {.b = b, .from = from, .sink = sink, .ctx = ctx};
  weft__arena_init(&arena, &b->mem);
  weft__buf_init(&t.chunk, &b->mem, SIZE_MAX);
  weft_err err = weft_replica_missing(from, &arena, held, SPANS_MAX, &spans, &count);
  for (size_t i = 0; i < count && err == WEFT_OK; i++) err = send_span(&t, &spans[i]);
  weft__buf_free(&t.chunk);
  weft__arena_free(&arena);
  return err;
}
