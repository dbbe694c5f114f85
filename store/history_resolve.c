/* Settling conflicts by rule.
 *
 * A rule looks only at what was listed, and its choice is written like any other, so that it covers
 * exactly the siblings that were listed.  Failure modes: a rule may not decide; then nobody has. */
#include "store/history_internal.h"

static bool newer(const weft_conflict_value *a, const weft_conflict_value *b) {
  if (a->change.hlc != b->change.hlc) return a->change.hlc > b->change.hlc;
  int order = weft_id_cmp(&a->change.log, &b->change.log);
  return order != 0 ? order > 0 : a->change.seq > b->change.seq;
}

/* True when `v` is to be preferred to `best`, which may be NULL. */
static bool prefer(const weft_conflict_value *v, const weft_conflict_value *best, weft_rule rule) {
  weft_sort_key x, y;
  if (!best) return true;
  switch (rule) {
  case WEFT_RULE_NEWEST:
  case WEFT_RULE_MINE: return newer(v, best);
  case WEFT_RULE_OLDEST: return newer(best, v);
  case WEFT_RULE_MAX:
  case WEFT_RULE_MIN: break;
  }
  weft__sort_key(&v->value, &x);
  weft__sort_key(&best->value, &y);
  int order = weft_bytes_cmp(weft__sort_key_view(&x), weft__sort_key_view(&y));
  if (order == 0) return newer(v, best);
  return rule == WEFT_RULE_MAX ? order > 0 : order < 0;
}

const weft_conflict_value *weft_conflict_pick(const weft_replica *r,
                                              const weft_conflict_entry *conflict, weft_rule rule) {
  const weft_conflict_value *best = NULL;
  bool sized = rule == WEFT_RULE_MAX || rule == WEFT_RULE_MIN;
  for (size_t i = 0; i < conflict->value_count; i++) {
    const weft_conflict_value *v = &conflict->values[i];
    bool mine = weft_id_cmp(&v->change.device, &r->identity.device) == 0;
    if (rule == WEFT_RULE_MINE && !mine) continue;
    if (sized && v->shape != WEFT_SHAPE_SCALAR) continue;
    if (prefer(v, best, rule)) best = v;
  }
  return best;
}

weft_err weft_edit_keep(weft_edit *e, const weft_conflict_entry *conflict,
                        const weft_conflict_value *value) {
  bool shown_container = value->winner && value->shape != WEFT_SHAPE_SCALAR;
  if (value->shape == WEFT_SHAPE_NONE) {
    return weft_edit_remove_path(e, conflict->doc, conflict->path);
  }
  return weft_edit_resolve(e, conflict->doc, conflict->path,
                           shown_container ? NULL : &value->value);
}
