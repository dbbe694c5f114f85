/* A run as a picture: what is shown where, how far each node is behind, and what crosses the
 * network, over one axis of virtual time.  One SVG without scripts, fonts or links. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/scenario.h"

enum {
  width = 1200,
  left = 84,
  right = 1168,
  shown_top = 132,
  shown_bottom = 372,
  lag_top = 428,
  lag_bottom = 692,
  bytes_top = 748,
  bytes_bottom = 852,
  height = 912,
  columns = 360,
  shades = 7
};

/* From "has everything" to "far behind". */
static const char *const shade[shades] = {"#eef4f8", "#cfe3ee", "#9ecae1", "#6baed6",
                                          "#4292c6", "#2171b5", "#084594"};

typedef struct plot {
  const scenario *c;
  const scenario_result *r;
  FILE *to;
  weft_ms end;
} plot;

static void put(plot *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(plot *p, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(p->to, format, args);
  va_end(args);
}

static double x_of(const plot *p, weft_ms at) {
  return left + (double)(right - left) * (double)(at < p->end ? at : p->end) / (double)p->end;
}

static double y_of(int top, int bottom, double value, double most) {
  return most > 0 ? bottom - (bottom - top) * value / most : bottom;
}

static void put_text(plot *p, const char *text) {
  for (; *text; text++) {
    if (*text == '<')
      put(p, "&lt;");
    else if (*text == '&')
      put(p, "&amp;");
    else if ((unsigned char)*text >= ' ')
      put(p, "%c", *text);
  }
}

/* The least of 1, 2, 5, 10, ... that divides `most` into at most `parts`. */
static double step_of(double most, double parts) {
  double step = 1;
  static const double times[] = {2, 2.5, 2};
  for (unsigned i = 0; most / step > parts; i++) step *= times[i % 3];
  return step;
}

static void put_amount(plot *p, double n) {
  if (n >= 1e6)
    put(p, "%g M", n / 1e6);
  else if (n >= 1e4)
    put(p, "%g k", n / 1e3);
  else
    put(p, "%g", n);
}

/* The frame of a panel with its lines and numbers. */
static void panel(plot *p, int top, int bottom, double most, const char *title, bool lines) {
  put(p, "<text x='%d' y='%d' class='h'>%s</text>\n", left, top - 14, title);
  for (double at = 0, step = step_of(most, 5); lines && at <= most; at += step) {
    double y = y_of(top, bottom, at, most);
    put(p, "<path d='M%d %.1fH%d' class='g'/><text x='%d' y='%.1f' class='n e'>", left, y, right,
        left - 10, y + 4);
    put_amount(p, at);
    put(p, "</text>\n");
  }
}

static void time_axis(plot *p) {
  double seconds = (double)p->end / 1000, step = step_of(seconds * 10, 12) / 10;
  for (double at = 0; at <= seconds; at += step) {
    double x = x_of(p, (weft_ms)(at * 1000));
    put(p, "<path d='M%.1f %dv5' class='a'/><text x='%.1f' y='%d' class='n m'>%g s</text>\n", x,
        bytes_bottom, x, bytes_bottom + 21, at);
  }
  put(p, "<path d='M%d %dH%d' class='a'/>\n", left, bytes_bottom, right);
  put(p, "<text x='%d' y='%d' class='n e'>virtual time</text>\n", right, bytes_bottom + 44);
}

/* --- what is shown --- */

typedef double (*measure)(const plot *p, const scenario_sample *x);
static double written_of(const plot *p, const scenario_sample *x) {
  (void)p;
  return (double)x->written;
}
static double least_of(const plot *p, const scenario_sample *x) {
  (void)p;
  return (double)x->least;
}
static double most_of(const plot *p, const scenario_sample *x) {
  (void)p;
  return (double)x->most;
}
static double mean_of(const plot *p, const scenario_sample *x) {
  return (double)x->sum / (double)p->c->nodes;
}

static void line(plot *p, measure of, double most, const char *class) {
  put(p, "<path class='%s' d='M%d %d", class, left, shown_bottom);
  for (size_t i = 0; i < p->r->sample_count; i++) {
    const scenario_sample *x = &p->r->samples[i];
    put(p, "L%.1f %.1f", x_of(p, x->at), y_of(shown_top, shown_bottom, of(p, x), most));
  }
  put(p, "H%d'/>\n", right);
}

static void shown_panel(plot *p, double most) {
  panel(p, shown_top, shown_bottom, most, "Changes shown", true);
  put(p, "<path class='band' d='M%d %d", left, shown_bottom);
  for (size_t i = 0; i < p->r->sample_count; i++) {
    const scenario_sample *x = &p->r->samples[i];
    put(p, "L%.1f %.1f", x_of(p, x->at), y_of(shown_top, shown_bottom, most_of(p, x), most));
  }
  for (size_t i = p->r->sample_count; i-- > 0;) {
    const scenario_sample *x = &p->r->samples[i];
    put(p, "L%.1f %.1f", x_of(p, x->at), y_of(shown_top, shown_bottom, least_of(p, x), most));
  }
  put(p, "Z'/>\n");
  line(p, written_of, most, "written");
  line(p, mean_of, most, "mean");
  line(p, least_of, most, "least");
  static const char *const keys[][2] = {
      {"written", "written"}, {"mean", "shown, mean of nodes"}, {"least", "shown, slowest node"}};
  int x = right - 430;
  for (unsigned i = 0; i < 3; i++) {
    put(p, "<path d='M%d %dh22' class='%s'/><text x='%d' y='%d' class='n'>%s</text>\n", x,
        shown_top - 18, keys[i][0], x + 29, shown_top - 14, keys[i][1]);
    x += i == 0 ? 96 : 176;
  }
}

/* --- how far behind --- */

static unsigned shade_of(uint16_t lag, uint16_t most) {
  if (lag == 0 || most == 0) return 0;
  return 1 + (unsigned)(lag - 1) * (shades - 1) / most;
}

/* The most a row is behind in each column of time. */
static void columns_of(const plot *p, size_t row, uint16_t out[columns]) {
  memset(out, 0, columns * sizeof *out);
  size_t from = 0;
  for (size_t i = 0; i < p->r->sample_count; i++) {
    const scenario_sample *x = &p->r->samples[i];
    size_t to = (size_t)((x->at < p->end ? x->at : p->end) * columns / p->end);
    for (size_t k = from; k <= to && k < columns; k++) {
      if (out[k] < x->lag[row]) out[k] = x->lag[row];
    }
    from = to + (to > from);
  }
}

static void lag_panel(plot *p) {
  uint16_t most = 0, lag[columns];
  size_t rows = p->r->rows;
  for (size_t i = 0; i < p->r->sample_count; i++) {
    for (size_t k = 0; k < rows; k++) {
      if (p->r->samples[i].lag[k] > most) most = p->r->samples[i].lag[k];
    }
  }
  panel(p, lag_top, lag_bottom, 1, "How far each node is behind", false);
  double tall = (double)(lag_bottom - lag_top) / (double)rows;
  double wide = (double)(right - left) / columns;
  put(p,
      "<rect x='%d' y='%d' width='%d' height='%d' fill='%s'/>\n<g shape-rendering='crispEdges'>\n",
      left, lag_top, right - left, lag_bottom - lag_top, shade[0]);
  for (size_t row = 0; row < rows; row++) {
    columns_of(p, row, lag);
    for (size_t k = 0; k < columns;) {
      unsigned of = shade_of(lag[k], most);
      size_t end = k + 1;
      while (end < columns && shade_of(lag[end], most) == of) end++;
      if (of > 0) {
        put(p, "<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill='%s'/>\n",
            left + (double)k * wide, lag_top + (double)row * tall, (double)(end - k) * wide, tall,
            shade[of]);
      }
      k = end;
    }
  }
  put(p,
      "</g>\n<text x='%d' y='%d' class='n e'>node 0</text><text x='%d' y='%d' class='n e'>%zu"
      "</text>\n",
      left - 10, lag_top + 11, left - 10, lag_bottom, p->c->nodes - 1);
  int x = right - 268;
  put(p, "<text x='%d' y='%d' class='n e'>all shown</text>", x - 8, lag_top - 14);
  for (unsigned i = 0; i < shades; i++, x += 18) {
    put(p, "<rect x='%d' y='%d' width='18' height='11' fill='%s'/>", x, lag_top - 24, shade[i]);
  }
  put(p, "<text x='%d' y='%d' class='n'>%u changes behind</text>\n", x + 8, lag_top - 14, most);
}

/* --- the network --- */

static void bytes_panel(plot *p) {
  double rates[columns] = {0}, most = 1;
  double span = (double)p->end / columns / 1000;
  uint64_t before = 0;
  size_t from = 0;
  for (size_t i = 0; i < p->r->sample_count; i++) {
    const scenario_sample *x = &p->r->samples[i];
    size_t to = (size_t)((x->at < p->end ? x->at : p->end) * columns / p->end);
    if (to >= columns) to = columns - 1;
    double share = (double)(x->bytes - before) / (double)(to - from + 1);
    for (size_t k = from; k <= to; k++) rates[k] += share / span;
    before = x->bytes;
    from = to;
  }
  for (size_t k = 0; k < columns; k++) {
    if (rates[k] > most) most = rates[k];
  }
  panel(p, bytes_top, bytes_bottom, most, "Bytes a second on the whole network", true);
  put(p, "<path class='bytes' d='M%d %d", left, bytes_bottom);
  for (size_t k = 0; k < columns; k++) {
    double x = left + (double)(right - left) * (double)k / columns;
    double y = y_of(bytes_top, bytes_bottom, rates[k], most);
    put(p, "L%.1f %.1fH%.1f", x, y, x + (double)(right - left) / columns);
  }
  put(p, "V%dZ'/>\n", bytes_bottom);
}

/* --- what was done to it --- */

static const char *name_of(scenario_do what) {
  switch (what) {
  case SCENARIO_PART: return "parted";
  case SCENARIO_HEAL: return "healed";
  case SCENARIO_CRASH: return "crashed";
  case SCENARIO_VANISH: return "vanished";
  case SCENARIO_CUT: return "in 1000 cut";
  case SCENARIO_SLOW: return "read slowly";
  case SCENARIO_START: return "started";
  }
  return "?";
}

/* Labels stand in three rows by turns, so that neighbours can be read. */
static void mark(plot *p, weft_ms at, const char *text, uint64_t count, unsigned row,
                 const char *class) {
  double x = x_of(p, at);
  bool ends = x > right - 110;
  put(p, "<path d='M%.1f %dV%d' class='%s'/>", x, shown_top - 2, bytes_bottom, class);
  put(p, "<text x='%.1f' y='%d' class='n l %s %st'>", ends ? x - 5 : x + 5,
      shown_bottom - 8 - 16 * (int)(row % 3), ends ? "e" : "", class);
  if (count > 0) put(p, "%llu ", (unsigned long long)count);
  put(p, "%s</text>\n", text);
}

static void marks(plot *p) {
  for (size_t i = 0; i < p->c->action_count; i++) {
    const scenario_action *a = &p->c->actions[i];
    mark(p, a->at, name_of(a->what), a->count, (unsigned)i, "f");
  }
  unsigned row = (unsigned)p->c->action_count;
  mark(p, p->r->last_write, "last write", 0, row, "k");
  mark(p, p->r->agreed, "all agree", 0, row + 1, "k");
}

static void head(plot *p) {
  const scenario_result *r = p->r;
  put(p,
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' height='%d'>\n"
      "<style>text{font-family:'Inter','Helvetica Neue',Helvetica,Arial,sans-serif;fill:#23303a}"
      ".t{font-size:25px;font-weight:600}.s{font-size:14px;fill:#5a6872}"
      ".h{font-size:15px;font-weight:600}.n{font-size:12px;fill:#5a6872}.e{text-anchor:end}"
      ".m{text-anchor:middle}.g{stroke:#e3e8ec;fill:none}.a{stroke:#8795a0;fill:none}"
      ".band{fill:#2171b5;opacity:.13}.written{stroke:#23303a;stroke-width:1.6;fill:none;"
      "stroke-dasharray:5 4}.mean{stroke:#2171b5;stroke-width:2.2;fill:none}"
      ".least{stroke:#d9822b;stroke-width:2;fill:none}.bytes{fill:#7fb3a6}"
      ".f{stroke:#c23b4b;stroke-dasharray:3 3;opacity:.8;fill:none}.n.ft{fill:#c23b4b}"
      ".k{stroke:#8795a0;stroke-dasharray:1 "
      "3;fill:none}.n.kt{fill:#5a6872}.l{paint-order:stroke;stroke:#fff;stroke-width:4px}</style>\n"
      "<rect width='%d' height='%d' fill='#ffffff'/>\n<text x='%d' y='44' class='t'>",
      width, height, width, height, width, height, left);
  put_text(p, p->c->name);
  put(p,
      "</text>\n<text x='%d' y='70' class='s'>%zu nodes, %zu links, seed %llu. All agree %.2f s "
      "after the last write; a change is shown by another node within %llu ms (half), %llu ms "
      "(99 %%).</text>\n",
      left, p->c->nodes, r->links, (unsigned long long)r->seed,
      (double)(r->agreed - r->last_write) / 1000, (unsigned long long)r->shown.p50,
      (unsigned long long)r->shown.p99);
}

void scenario_plot(const scenario *c, const scenario_result *r, FILE *to) {
  plot p = {.c = c, .r = r, .to = to, .end = r->agreed + r->agreed / 32 + 1};
  double most = 1;
  for (size_t i = 0; i < r->sample_count; i++) {
    if ((double)r->samples[i].written > most) most = (double)r->samples[i].written;
  }
  head(&p);
  shown_panel(&p, most);
  lag_panel(&p);
  bytes_panel(&p);
  time_axis(&p);
  marks(&p);
  put(&p, "</svg>\n");
}
