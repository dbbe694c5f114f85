/* The W1 data: made-up templates and updates that any language can make to the byte, so that
 * figures of different programs compare (docs/benchmarks.md says how).
 *
 * N templates of 12 fields, then an endless row of updates, each a new value of one field.  Nothing
 * is stored: every value is a function of (template, field, how often it was written before).  The
 * only memory is how often each field was written.  Nothing here does I/O. */
#ifndef WEFT_BENCH_W1_H
#define WEFT_BENCH_W1_H

#include "crdt/value.h"

enum {
  W1_FIELDS = 12,
  W1_TEXT_LEN_MAX = 256, /* the longest body has 24 words of at most 8 letters */
  W1_NAME_LEN_MAX = 32,
  W1_DEVICES = 8, /* who take turns with the updates */
  W1_BLOCK = 100, /* updates of a turn */
  W1_TEMPLATES_MAX = 1000000
};

/* Which value: the `k`-th ever written to `field` of `template`, from 0. */
typedef struct w1_place {
  uint32_t template;
  uint32_t field;
  uint32_t k;
} w1_place;

typedef struct w1_value {
  weft_value value; /* a string is a view of `text` */
  char text[W1_TEXT_LEN_MAX];
} w1_value;

/* Makes one value; `at.field` is below W1_FIELDS.  `out` must not be moved afterwards. */
void w1_value_of(w1_value *out, w1_place at);

/* The name of a field, static; and of a template as a weft document. */
const char *w1_field(uint32_t field);
void w1_document(char out[W1_NAME_LEN_MAX], uint32_t template);

/* Makes the line of the check text for one value: id, field and value with tabs between, and a
 * line feed.  Gives its length. */
size_t w1_line(char out[W1_TEXT_LEN_MAX + W1_NAME_LEN_MAX * 2], w1_place at);

typedef struct w1_updates {
  weft_alloc mem;
  uint32_t templates;
  uint32_t next;     /* number of the next update */
  uint32_t *written; /* how often each field was, by template * W1_FIELDS + field */
} w1_updates;

/* Prepares the row of updates for that many templates (1..W1_TEMPLATES_MAX), all just inserted.
 * WEFT_ENOMEM.  Ended by w1_updates_free. */
weft_err w1_updates_init(w1_updates *u, const weft_alloc *mem, uint32_t templates) WEFT_MUST_USE;
void w1_updates_free(w1_updates *u);
/* Gives the next update. */
w1_place w1_updates_next(w1_updates *u);

/* The device whose turn update `i` is. */
unsigned w1_device(uint32_t i);

/* Physical time in microseconds since 1970 when template `t` is imported; when the first update's
 * clock starts, after `templates` of them; and how much it moves before update `i`, when a program
 * writes and when people do. */
uint64_t w1_import_us(uint32_t t);
uint64_t w1_updates_us(uint32_t templates);
uint64_t w1_step_us(uint32_t i);
uint64_t w1_human_step_us(uint32_t i);

#endif
