/* Characters of UTF-8 text: reading them, and which of them nobody sees.
 *
 * Hidden is, from the Unicode Character Database, version 14.0.0, what has the property
 * Default_Ignorable_Code_Point (joiners, marks and embeddings of direction, fillers, tags), the
 * annotation marks and the joiners of hieroglyphs of category Cf, and the separators of lines and
 * paragraphs.  A variation selector behind a symbol is no such character: it makes an emoji of it.
 * Control characters (C0, DEL, C1) are none of these: they are looked for by bytes. */
#include "crdt/rune.h"

size_t weft__rune_read(weft_bytes text, size_t at, uint32_t *rune) {
  uint8_t c = text.at[at];
  size_t len = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : 4;
  *rune = '?';
  if (len == 1) {
    *rune = c;
    return 1;
  }
  if (c < 0xc2 || c > 0xf4 || at + len > text.len) return 1;
  uint32_t value = c & (0x7fu >> len);
  for (size_t i = 1; i < len; i++) {
    if ((text.at[at + i] & 0xc0) != 0x80) return 1;
    value = value << 6 | (text.at[at + i] & 0x3f);
  }
  *rune = value;
  return len;
}

static bool is_symbol(uint32_t rune) {
  return (rune >= 0x2190 && rune <= 0x2bff) || (rune >= 0x1f000 && rune <= 0x1faff);
}

bool weft__rune_hidden(uint32_t rune, uint32_t before) {
  static const struct {
    uint32_t first, last;
  } ranges[] = {{0xad, 0xad},       {0x34f, 0x34f},    {0x61c, 0x61c},     {0x115f, 0x1160},
                {0x17b4, 0x17b5},   {0x180b, 0x180f},  {0x200b, 0x200f},   {0x2028, 0x202e},
                {0x2060, 0x206f},   {0x3164, 0x3164},  {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
                {0xffa0, 0xffa0},   {0xfff0, 0xfffb},  {0x13430, 0x13438}, {0x1bca0, 0x1bca3},
                {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}};
  if ((rune == 0xfe0e || rune == 0xfe0f) && is_symbol(before)) return false;
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
    if (rune >= ranges[i].first && rune <= ranges[i].last) return true;
  }
  return false;
}
