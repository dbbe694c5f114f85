/* The W1 data: see bench/w1.h.  All sums are modulo 2^32, except where a hash and a count are added
 * before a remainder is taken. */
#include "bench/w1.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { KEY_VALUES = 0x70656572, KEY_UPDATES = 0x6f707331, WORDS = 64, CATEGORIES = 12, LANGS = 16 };

static const char *const words[WORDS] = {
    "alpha",   "amber",   "anchor",  "arrow",  "atlas",   "basil", "beacon",  "birch",
    "bravo",   "cedar",   "cipher",  "cobalt", "copper",  "coral", "delta",   "drift",
    "echo",    "ember",   "falcon",  "fern",   "flint",   "forge", "garnet",  "glacier",
    "harbor",  "hazel",   "indigo",  "iron",   "ivory",   "jade",  "jasper",  "juniper",
    "kestrel", "lagoon",  "lantern", "laurel", "linen",   "lotus", "maple",   "marble",
    "meadow",  "mesa",    "nickel",  "nova",   "oak",     "onyx",  "opal",    "orchid",
    "pearl",   "pine",    "quartz",  "raven",  "ridge",   "river", "saffron", "sage",
    "slate",   "sparrow", "summit",  "tango",  "thistle", "umber", "velvet",  "willow"};

static const char *const categories[CATEGORIES] = {"invoice", "letter", "label",   "report",
                                                   "badge",   "ticket", "receipt", "notice",
                                                   "form",    "card",   "menu",    "poster"};

static const char *const langs[LANGS] = {"en-GB", "en-US", "de-DE", "de-AT", "fr-FR", "fr-CA",
                                         "es-ES", "es-MX", "it-IT", "nl-NL", "pl-PL", "pt-BR",
                                         "sv-SE", "da-DK", "fi-FI", "cs-CZ"};

static const char *const fields[W1_FIELDS] = {"name",    "category", "body",   "author",
                                              "version", "priority", "weight", "updated",
                                              "enabled", "locked",   "lang",   "tags"};

/* --- hashes --- */

static uint32_t mix(uint32_t x) {
  x ^= x >> 16;
  x *= 0x85ebca6bu;
  x ^= x >> 13;
  x *= 0xc2b2ae35u;
  x ^= x >> 16;
  return x;
}

static uint32_t value_hash(w1_place at, uint32_t j) {
  return mix(mix(mix(mix(KEY_VALUES + at.template) + at.field) + at.k) + j);
}

static uint32_t update_hash(uint32_t i, uint32_t j) { return mix(mix(KEY_UPDATES + i) + j); }

static uint64_t mix64(uint64_t i) {
  uint64_t z = i + 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static const char *word(w1_place at, uint32_t j) { return words[value_hash(at, j) % WORDS]; }

/* The hash that stays the same over all values of a field, and the count on top of it. */
static uint64_t stable(w1_place at) {
  w1_place first = {at.template, at.field, 0};
  return value_hash(first, 0);
}

static uint64_t counted(w1_place at) { return stable(at) + at.k; }

/* --- values --- */

static void text_body(char out[W1_TEXT_LEN_MAX], w1_place at) {
  uint32_t count = 8 + value_hash(at, 0) % 17;
  int len = snprintf(out, W1_TEXT_LEN_MAX, "rev %" PRIu32 ":", at.k);
  for (uint32_t j = 1; j <= count; j++) {
    len += snprintf(out + len, W1_TEXT_LEN_MAX - (size_t)len, " %s", word(at, j));
  }
}

/* Writes the text of a field that holds one. */
static void text_of(char out[W1_TEXT_LEN_MAX], w1_place at) {
  switch (at.field) {
  case 0:
    snprintf(out, W1_TEXT_LEN_MAX, "%s-%s rev %" PRIu32, word(at, 0), word(at, 1), at.k);
    return;
  case 1: snprintf(out, W1_TEXT_LEN_MAX, "%s", categories[counted(at) % CATEGORIES]); return;
  case 2: text_body(out, at); return;
  case 3: snprintf(out, W1_TEXT_LEN_MAX, "user-%04u", (unsigned)(counted(at) % 5000)); return;
  case 10: snprintf(out, W1_TEXT_LEN_MAX, "%s", langs[counted(at) % LANGS]); return;
  default:
    snprintf(out, W1_TEXT_LEN_MAX, "%s,%s,%s,#%" PRIu32, word(at, 0), word(at, 1), word(at, 2),
             at.k);
    return;
  }
}

static void set_int(w1_value *out, uint64_t v) {
  out->value = (weft_value){.kind = WEFT_INT, .as.integer = (int64_t)v};
}

void w1_value_of(w1_value *out, w1_place at) {
  out->text[0] = 0;
  switch (at.field) {
  case 4: set_int(out, stable(at) % 1000 + at.k); return;
  case 5: set_int(out, counted(at) % 10); return;
  case 6:
    out->value =
        (weft_value){.kind = WEFT_DOUBLE, .as.real = (double)(stable(at) % 100000 + at.k) / 1000.0};
    return;
  case 7: set_int(out, 1700000000000u + stable(at) % 1000000000 + 1000u * (uint64_t)at.k); return;
  case 8:
  case 9:
    out->value = (weft_value){.kind = WEFT_BOOL, .as.boolean = (counted(at) & 1) == 1};
    return;
  default:
    text_of(out->text, at);
    out->value = (weft_value){.kind = WEFT_STRING, .as.bytes = weft_bytes_str(out->text)};
    return;
  }
}

const char *w1_field(uint32_t field) { return fields[field]; }

void w1_document(char out[W1_NAME_LEN_MAX], uint32_t template) {
  snprintf(out, W1_NAME_LEN_MAX, "templates/tpl-%06" PRIu32, template);
}

size_t w1_line(char out[W1_TEXT_LEN_MAX + W1_NAME_LEN_MAX * 2], w1_place at) {
  const size_t cap = W1_TEXT_LEN_MAX + W1_NAME_LEN_MAX * 2;
  w1_value v;
  w1_value_of(&v, at);
  size_t len = (size_t)snprintf(out, cap, "tpl-%06" PRIu32 "\t%s\t", at.template, fields[at.field]);
  char *to = out + len;
  size_t left = cap - len;
  if (v.value.kind == WEFT_INT) {
    len += (size_t)snprintf(to, left, "%" PRId64 "\n", v.value.as.integer);
  } else if (v.value.kind == WEFT_DOUBLE) {
    len += (size_t)snprintf(to, left, "%.3f\n", v.value.as.real);
  } else if (v.value.kind == WEFT_BOOL) {
    len += (size_t)snprintf(to, left, "%s\n", v.value.as.boolean ? "true" : "false");
  } else {
    len += (size_t)snprintf(to, left, "%s\n", v.text);
  }
  return len;
}

/* --- updates --- */

weft_err w1_updates_init(w1_updates *u, const weft_alloc *mem, uint32_t templates) {
  *u = (w1_updates){*mem, templates, 0, NULL};
  size_t len = (size_t)templates * W1_FIELDS * sizeof *u->written;
  u->written = mem->alloc(mem->ctx, len);
  if (!u->written) return WEFT_ENOMEM;
  memset(u->written, 0, len);
  return WEFT_OK;
}

void w1_updates_free(w1_updates *u) {
  u->mem.free(u->mem.ctx, u->written);
  u->written = NULL;
}

w1_place w1_updates_next(w1_updates *u) {
  uint32_t i = u->next++;
  w1_place at = {update_hash(i, 0) % u->templates, update_hash(i, 1) % W1_FIELDS, 0};
  at.k = ++u->written[(size_t)at.template * W1_FIELDS + at.field];
  return at;
}

unsigned w1_device(uint32_t i) { return i / W1_BLOCK % W1_DEVICES; }

/* --- clock --- */

uint64_t w1_import_us(uint32_t t) { return 1750000000000000u + (uint64_t)t * 12; }

uint64_t w1_updates_us(uint32_t templates) { return w1_import_us(templates) + 60000000; }

uint64_t w1_step_us(uint32_t i) { return 150 + mix64(i) % 200; }

uint64_t w1_human_step_us(uint32_t i) { return 150 + mix64(i) % 30000000; }
