/* Comparing two looks at the interfaces: both lists are sorted, and are walked side by side.
 *
 * Invariants: lists ascend strictly; text ends between addresses when it grows too long.
 * Failure modes: none. */
#include "net/interfaces.h"

#include <string.h>

static int interface_cmp(const weft_interface *a, const weft_interface *b) {
  int order = strcmp(a->name, b->name);
  return order != 0 ? order : strcmp(a->address, b->address);
}

void weft__interfaces_add(weft_interfaces *list, weft_bytes name, weft_bytes address) {
  weft_interface one = {{0}, {0}};
  if (name.len == 0 || name.len > WEFT_INTERFACE_NAME_MAX) return;
  if (address.len == 0 || address.len > WEFT_INTERFACE_ADDRESS_MAX) return;
  if (list->count == WEFT_INTERFACES_MAX) return;
  memcpy(one.name, name.at, name.len);
  memcpy(one.address, address.at, address.len);
  size_t i = list->count;
  while (i > 0 && interface_cmp(&list->at[i - 1], &one) > 0) i--;
  if (i > 0 && interface_cmp(&list->at[i - 1], &one) == 0) return;
  memmove(&list->at[i + 1], &list->at[i], (list->count - i) * sizeof one);
  list->at[i] = one;
  list->count++;
}

/* The end of the addresses of the interface at `from`. */
static size_t group_end(const weft_interfaces *list, size_t from) {
  size_t to = from;
  while (to < list->count && strcmp(list->at[to].name, list->at[from].name) == 0) to++;
  return to;
}

static bool text_add(weft_interface_change *out, const char *text, bool space) {
  size_t len = strlen(text);
  if (out->len + len + space > sizeof out->text) return false;
  if (space) out->text[out->len++] = ' ';
  memcpy(out->text + out->len, text, len);
  out->len += len;
  return true;
}

static void tell(weft_interface_change *out, weft_event_type type, const weft_interfaces *list,
                 size_t from, size_t to) {
  memset(out, 0, sizeof *out);
  out->type = type;
  (void)!text_add(out, list->at[from].name, false);
  while (from < to && text_add(out, list->at[from].address, true)) from++;
}

static bool same_group(const weft_interface *a, size_t a_count, const weft_interface *b,
                       size_t b_count) {
  if (a_count != b_count) return false;
  for (size_t i = 0; i < a_count; i++) {
    if (interface_cmp(&a[i], &b[i]) != 0) return false;
  }
  return true;
}

bool weft__interfaces_next(const weft_interfaces *before, const weft_interfaces *after,
                           weft_interfaces_at *at, weft_interface_change *out) {
  while (at->before < before->count || at->after < after->count) {
    size_t was = at->before, is = at->after;
    bool old = was < before->count, fresh = is < after->count;
    int order = !old ? 1 : !fresh ? -1 : strcmp(before->at[was].name, after->at[is].name);
    if (order <= 0) at->before = group_end(before, was);
    if (order >= 0) at->after = group_end(after, is);
    if (order < 0) {
      tell(out, WEFT_EVENT_NETWORK_DOWN, before, was, at->before);
      return true;
    }
    if (order > 0) {
      tell(out, WEFT_EVENT_NETWORK_UP, after, is, at->after);
      return true;
    }
    if (same_group(&before->at[was], at->before - was, &after->at[is], at->after - is)) continue;
    tell(out, WEFT_EVENT_NETWORK_CHANGED, after, is, at->after);
    return true;
  }
  return false;
}
