#include "tests/support/prometheus.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { name_max = 100, families_max = 200, line_max = 400 };

typedef struct reader {
  const char *at;
  char line[line_max];
  size_t number;
  char families[families_max][name_max];
  size_t family_count;
  char kind[16];
  char samples[64][line_max]; /* of the family: what stands before the value */
  size_t sample_count, total;
  /* histogram */
  double le, bucket;
  bool ended, summed, counted;
  char *why;
} reader;

static bool wrong(reader *r, const char *what) {
  snprintf(r->why, TEST_PROMETHEUS_WHY, "line %zu: %s: %.60s", r->number, what, r->line);
  return false;
}

static bool next_line(reader *r) {
  const char *end = strchr(r->at, '\n');
  r->number++;
  r->line[0] = 0;
  if (!end || end == r->at || (size_t)(end - r->at) >= sizeof r->line) {
    return wrong(r, "no line, an empty or an endless one");
  }
  memcpy(r->line, r->at, (size_t)(end - r->at));
  r->line[end - r->at] = 0;
  r->at = end + 1;
  return true;
}

static size_t name_len(const char *at) {
  static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:";
  static const char later[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:0123456789";
  return *at && strchr(first, *at) ? strspn(at, later) : 0;
}

static bool ends_with(const char *text, const char *end) {
  size_t len = strlen(text), end_len = strlen(end);
  return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* {name="value",...}; gives what follows, or NULL. */
static const char *labels(const char *at) {
  do {
    at++;
    size_t len = name_len(at);
    if (len == 0 || memchr(at, ':', len) || strncmp(at + len, "=\"", 2) != 0) return NULL;
    at += len + 2;
    for (; *at != '"'; at++) {
      if (!*at || (*at == '\\' && !strchr("\\\"n", at[1]))) return NULL;
      if (*at == '\\') at++;
    }
    at++;
  } while (*at == ',');
  return *at == '}' ? at + 1 : NULL;
}

static bool number(const char *at, double *out) {
  char *end;
  if (strcmp(at, "+Inf") == 0) {
    *out = 1e300;
    return true;
  }
  if (!*at || strspn(at, "0123456789.") != strlen(at)) return false;
  *out = strtod(at, &end);
  return *end == 0;
}

static bool bucket(reader *r, const char *labels_at, double value) {
  char le[32];
  double bound;
  if (sscanf(labels_at, "{le=\"%31[^\"]\"}", le) != 1 || !number(le, &bound)) {
    return wrong(r, "a bucket without le");
  }
  if (bound <= r->le || value < r->bucket || r->summed) return wrong(r, "buckets do not ascend");
  r->le = bound;
  r->bucket = value;
  r->ended = strcmp(le, "+Inf") == 0;
  return true;
}

static bool histogram(reader *r, const char *suffix, const char *labels_at, double value) {
  if (strncmp(suffix, "_bucket{", 8) == 0) return bucket(r, labels_at, value);
  if (strncmp(suffix, "_sum ", 5) == 0 && r->ended && !r->summed) return r->summed = true;
  bool last = strncmp(suffix, "_count ", 7) == 0 && r->summed && !r->counted;
  if (!last) return wrong(r, "no sample of a histogram");
  r->counted = true;
  return value == r->bucket ? true : wrong(r, "the count differs from the last bucket");
}

static bool sample(reader *r) {
  const char *name = r->families[r->family_count - 1];
  size_t len = name_len(r->line), own = strlen(name);
  double value;
  if (len == 0 || strncmp(r->line, name, own) != 0) return wrong(r, "a sample of another family");
  const char *after = r->line[len] == '{' ? labels(r->line + len) : r->line + len;
  if (!after || *after != ' ' || !number(after + 1, &value)) return wrong(r, "no sample");
  size_t key = (size_t)(after - r->line);
  for (size_t i = 0; i < r->sample_count; i++) {
    bool same = strlen(r->samples[i]) == key && memcmp(r->samples[i], r->line, key) == 0;
    if (same) return wrong(r, "a sample twice");
  }
  if (r->sample_count == sizeof r->samples / sizeof *r->samples) return wrong(r, "too many");
  memcpy(r->samples[r->sample_count], r->line, key);
  r->samples[r->sample_count++][key] = 0;
  r->total++;
  if (strcmp(r->kind, "histogram") == 0) return histogram(r, r->line + own, r->line + len, value);
  return len == own ? true : wrong(r, "a sample of another family");
}

/* HELP and TYPE of the next family. */
static bool head(reader *r) {
  char name[name_max], text[line_max];
  if (!next_line(r)) return false;
  if (sscanf(r->line, "# HELP %99s %399[^\n]", name, text) != 2) return wrong(r, "no HELP");
  if (name_len(name) != strlen(name) || strncmp(name, "weft_", 5) != 0) return wrong(r, "a name");
  for (size_t i = 0; i < r->family_count; i++) {
    if (strcmp(r->families[i], name) == 0) return wrong(r, "a family twice");
  }
  if (r->family_count == families_max) return wrong(r, "too many families");
  snprintf(r->families[r->family_count++], name_max, "%s", name);
  if (!next_line(r)) return false;
  if (sscanf(r->line, "# TYPE %99s %15s", text, r->kind) != 2 || strcmp(text, name) != 0) {
    return wrong(r, "no TYPE of it");
  }
  bool counter = strcmp(r->kind, "counter") == 0;
  bool known = counter || strcmp(r->kind, "gauge") == 0 || strcmp(r->kind, "histogram") == 0;
  if (!known) return wrong(r, "a kind that is none");
  return counter == ends_with(name, "_total") ? true : wrong(r, "_total is for counters alone");
}

static bool family(reader *r) {
  if (!head(r)) return false;
  r->sample_count = 0;
  r->le = r->bucket = -1;
  r->ended = r->summed = r->counted = false;
  while (*r->at && *r->at != '#') {
    if (!next_line(r) || !sample(r)) return false;
  }
  if (r->sample_count == 0) return wrong(r, "a family without samples");
  bool whole = strcmp(r->kind, "histogram") != 0 || r->counted;
  return whole ? true : wrong(r, "half a histogram");
}

size_t test_prometheus_check(const char *text, char why[TEST_PROMETHEUS_WHY]) {
  reader *r = calloc(1, sizeof *r);
  if (!r) abort();
  r->at = text;
  r->why = why;
  why[0] = 0;
  bool ok = *text != 0;
  while (ok && *r->at) ok = family(r);
  size_t total = ok ? r->total : 0;
  free(r);
  return total;
}
