/* Records as a picture: shares of the limits as bars, what the peers reach beside weft, and the
 * cost of growth as lines. */
#include <math.h>
#include <string.h>

#include "bench/results.h"

enum {
  WIDTH = 860,
  MARGIN = 24,
  LABEL = 300,
  BAR = 14,
  ROW = 22,
  GROWTH_HEIGHT = 300,
  GROWTH_LEFT = 90,
  LEGEND = 170,
  SIZES = 4,
  STAGES_MAX = 8
};

static const char *const colours[STAGES_MAX] = {"#2f6f9f", "#c8553d", "#4d8b57", "#8a5fa8",
                                                "#b8872b", "#5a6b7b", "#a33d6b", "#3d8f8f"};

static void text_put(FILE *out, weft_bytes text) {
  for (size_t i = 0; i < text.len; i++) {
    char c = (char)text.at[i];
    if (c == '<') {
      fputs("&lt;", out);
    } else if (c == '&') {
      fputs("&amp;", out);
    } else {
      fputc(c, out);
    }
  }
}

static bool is(weft_bytes text, const char *word) {
  return weft_bytes_cmp(text, weft_bytes_str(word)) == 0;
}

/* --- shares --- */

/* Up to twice the limit fits; what is better ends in an arrow. */
static double bar_len(double ratio) {
  const double room = WIDTH - 2 * MARGIN - LABEL - 70;
  double share = ratio > 2 ? 2 : ratio;
  return room * share / 2;
}

static size_t share_rows(const results *list) {
  size_t rows = 0;
  for (size_t i = 0; i < list->count; i++) rows += list->at[i].has_limit;
  return rows;
}

/* One bar with its name before it; `beside` is what a peer stands beside. */
static void bar(FILE *out, const result *r, weft_bytes what, double y, double len,
                const char *colour) {
  fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", MARGIN + LABEL - 10, y + BAR - 2);
  text_put(out, r->workload);
  fputc(' ', out);
  text_put(out, r->variant);
  fputs(" <tspan class=\"d\">", out);
  text_put(out, what);
  fputs("</tspan></text>\n", out);
  fprintf(out, "<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" rx=\"2\" fill=\"%s\"/>\n",
          MARGIN + LABEL, y, len < 1 ? 1 : len, BAR, colour);
}

/* A line down all bars, with a word above it; before them, since what they say goes over it. */
static void mark(FILE *out, double x, double top, double end, const char *word) {
  fprintf(out,
          "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#444\" "
          "stroke-dasharray=\"3 3\"/>\n",
          x, top - 6, x, end);
  fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" class=\"d\">%s</text>\n", x,
          top - 10, word);
}

static void shares(FILE *out, const results *list, double top) {
  double y = top;
  mark(out, MARGIN + LABEL + bar_len(1), top, top + (double)share_rows(list) * ROW, "limit");
  for (size_t i = 0; i < list->count; i++) {
    const result *r = &list->at[i];
    if (!r->has_limit) continue;
    double len = bar_len(r->ratio);
    bar(out, r, r->metric, y, len, r->ratio >= 1 ? colours[2] : colours[0]);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"d\">%.0f %%%s</text>\n",
            MARGIN + LABEL + len + 6, y + BAR - 2, r->ratio * 100, r->ratio > 2 ? " &#8594;" : "");
    y += ROW;
  }
}

/* --- peers --- */

/* Logarithmic, from a hundredth of weft's rate to a thousandfold of a peer's. */
static double times_len(double times) {
  const double room = WIDTH - 2 * MARGIN - LABEL - 70;
  double at = (log10(times) + 2) / 5;
  return room * (at < 0 ? 0 : at > 1 ? 1 : at);
}

static size_t peer_rows(const results *list) {
  size_t rows = 0;
  for (size_t i = 0; i < list->count; i++) rows += list->at[i].has_times;
  return rows;
}

static void peers(FILE *out, const results *list, double top) {
  double y = top;
  mark(out, MARGIN + LABEL + times_len(1), top, top + (double)peer_rows(list) * ROW, "as fast");
  for (size_t i = 0; i < list->count; i++) {
    const result *r = &list->at[i];
    if (!r->has_times) continue;
    double len = times_len(r->times);
    bar(out, r, r->beside, y, len, r->times >= 1 ? colours[2] : colours[1]);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"d\">%.3g x</text>\n",
            MARGIN + LABEL + len + 6, y + BAR - 2, r->times);
    y += ROW;
  }
}

/* --- growth --- */

typedef struct growth_line {
  weft_bytes stage;
  double us[SIZES]; /* 0: not measured */
} growth_line;

static size_t growth_lines(const results *list, growth_line lines[STAGES_MAX], double *most) {
  static const char *const sizes[SIZES] = {"1e4", "1e5", "1e6", "1e7"};
  size_t count = 0;
  for (size_t i = 0; i < list->count; i++) {
    const result *r = &list->at[i];
    size_t size = 0;
    size_t line = 0;
    if (!is(r->workload, "W11")) continue;
    while (size < SIZES && !is(r->variant, sizes[size])) size++;
    while (line < count && weft_bytes_cmp(lines[line].stage, r->metric) != 0) line++;
    if (size == SIZES || line == STAGES_MAX) continue;
    if (line == count) lines[count++] = (growth_line){.stage = r->metric};
    lines[line].us[size] = r->value;
    if (r->value > *most) *most = r->value;
  }
  return count;
}

/* Logarithmic from 0.1 microseconds up. */
static double growth_y(double us, double top, double most) {
  double decades = ceil(log10(most)) + 1;
  double at = (log10(us < 0.1 ? 0.1 : us) + 1) / (decades < 1 ? 1 : decades);
  return top + (GROWTH_HEIGHT - 40) * (1 - at);
}

static double growth_x(size_t size) {
  return GROWTH_LEFT + (double)size * (WIDTH - GROWTH_LEFT - LEGEND - MARGIN) / (SIZES - 1);
}

static void growth_axes(FILE *out, double top, double most) {
  for (double us = 0.1; us <= pow(10, ceil(log10(most))) * 1.001; us *= 10) {
    double y = growth_y(us, top, most);
    fprintf(out,
            "<line x1=\"%d\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n"
            "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" class=\"d\">%g us</text>\n",
            GROWTH_LEFT, y, growth_x(SIZES - 1), y, GROWTH_LEFT - 8, y + 4, us);
  }
  for (size_t i = 0; i < SIZES; i++) {
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" class=\"d\">10^%zu</text>\n",
            growth_x(i), top + GROWTH_HEIGHT - 18, i + 4);
  }
  fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" class=\"d\">fields</text>\n",
          (growth_x(0) + growth_x(SIZES - 1)) / 2, top + GROWTH_HEIGHT);
}

static void growth(FILE *out, const growth_line *lines, size_t count, double top, double most) {
  growth_axes(out, top, most);
  for (size_t i = 0; i < count; i++) {
    fprintf(out, "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"%s\" points=\"", colours[i]);
    for (size_t k = 0; k < SIZES; k++) {
      if (lines[i].us[k] > 0) {
        fprintf(out, "%.1f,%.1f ", growth_x(k), growth_y(lines[i].us[k], top, most));
      }
    }
    fprintf(out, "\"/>\n<text x=\"%.1f\" y=\"%.1f\" style=\"fill:%s\">", growth_x(SIZES - 1) + 14,
            top + 16 + (double)i * ROW, colours[i]);
    text_put(out, lines[i].stage);
    fputs("</text>\n", out);
  }
}

/* --- all --- */

static void draw(FILE *out, const results *list) {
  growth_line lines[STAGES_MAX];
  double most = 1;
  size_t count = growth_lines(list, lines, &most);
  double shares_top = 96;
  double peers_top = shares_top + (double)share_rows(list) * ROW + 70;
  size_t peer_count = peer_rows(list);
  double growth_top = peers_top - 10;
  if (peer_count > 0) growth_top += (double)peer_count * ROW + 70;
  double height = growth_top + (count > 0 ? GROWTH_HEIGHT + MARGIN : 0);
  fprintf(out,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" "
          "height=\"%.0f\">\n<style>text{font:13px sans-serif;fill:#222}.d{fill:#666;"
          "font-size:11px;paint-order:stroke;stroke:#fff;stroke-width:3px}.h{font-size:16px;font-"
          "weight:bold}</style>\n"
          "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
          WIDTH, height, WIDTH, height);
  fprintf(out, "<text x=\"%d\" y=\"34\" class=\"h\">Share of the limit that was reached</text>\n",
          MARGIN);
  fprintf(out, "<text x=\"%d\" y=\"54\" class=\"d\">", MARGIN);
  text_put(out, list->machine);
  fputs("</text>\n", out);
  shares(out, list, shares_top);
  if (peer_count > 0) {
    fprintf(out, "<text x=\"%d\" y=\"%.1f\" class=\"h\">How many times as fast weft is</text>\n",
            MARGIN, peers_top - 34);
    peers(out, list, peers_top);
  }
  if (count > 0) {
    fprintf(out,
            "<text x=\"%d\" y=\"%.1f\" class=\"h\">Cost of a field as the store grows</text>\n",
            MARGIN, growth_top - 20);
    growth(out, lines, count, growth_top, most);
  }
  fputs("</svg>\n", out);
}

weft_err bench_plot(bench *b, const char *path, FILE *out) {
  weft_arena arena;
  results list;
  weft__arena_init(&arena, &b->mem);
  weft_err err = results_read(b, &arena, path, &list);
  if (err == WEFT_OK) draw(out, &list);
  weft__arena_free(&arena);
  return err;
}
