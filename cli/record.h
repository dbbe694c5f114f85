/* Building records: small helpers around weft_value for what commands emit and printers read. */
#ifndef WEFT_CLI_RECORD_H
#define WEFT_CLI_RECORD_H

#include "crdt/value.h"
#include "store/replica.h"

/* An object under construction.  After a failed allocation it stays failed, and cli_obj_end gives a
 * null value. */
typedef struct cli_obj {
  weft_arena *arena;
  weft_member *at;
  size_t count, cap;
  bool failed;
} cli_obj;

cli_obj cli_obj_begin(weft_arena *arena);
/* The key is borrowed, as the bytes within values are, until the record is done with. */
void cli_obj_put(cli_obj *o, const char *key, weft_value value);
void cli_obj_add(cli_obj *o, const weft_member *member);
/* Copied, with question marks where it is no UTF-8, as names of files may be; NULL puts null. */
void cli_obj_text(cli_obj *o, const char *key, const char *text);
void cli_obj_bytes(cli_obj *o, const char *key, weft_bytes text); /* borrowed UTF-8 */
void cli_obj_int(cli_obj *o, const char *key, int64_t v);
void cli_obj_bool(cli_obj *o, const char *key, bool v);
/* Lower-case hex of bytes. */
void cli_obj_hex(cli_obj *o, const char *key, const uint8_t *at, size_t len);
/* The member "base": a vector as --base takes it.  WEFT_ELIMIT: that is longer than a text may be
 * (1,795 logs always fit), and nothing was put.  WEFT_ENOMEM. */
weft_err cli_obj_base(cli_obj *o, const weft_vector *base) WEFT_MUST_USE;
/* A 128-bit number as 32 hex digits. */
void cli_obj_digest(cli_obj *o, const char *key, uint64_t high, uint64_t low);
/* A hybrid clock's milliseconds as RFC 3339 UTC with milliseconds. */
void cli_obj_time(cli_obj *o, const char *key, uint64_t hlc);
/* The members "log", "device", "seq" and "ids" of a fork. */
void cli_put_fork(cli_obj *o, const weft_fork *fork);
/* Sorts the members; the value lies in the arena. */
weft_value cli_obj_end(cli_obj *o);

/* As cli_obj_text. */
weft_value cli_text(weft_arena *arena, const char *text);
/* Puts a question mark for every byte that is no part of a whole character: a text that was cut, or
 * that a person typed, then fits a record and a frame. */
void cli_text_mend(char *text, size_t len);
weft_value cli_array(const weft_value *items, size_t count);

/* Reading: the member, or a null value / "" / 0 when it is absent or of another kind. */
const weft_value *cli_member(const weft_value *record, const char *key);
weft_bytes cli_member_text(const weft_value *record, const char *key);
int64_t cli_member_int(const weft_value *record, const char *key);
bool cli_member_bool(const weft_value *record, const char *key);

/* Text of bytes as hex into `out` of 2 * len + 1. */
void cli_hex(char *out, const uint8_t *at, size_t len);
/* Hex of even length, either case, to bytes in the arena.  False when it is not. */
bool cli_unhex(weft_arena *arena, weft_bytes text, weft_bytes *out);
/* Formats milliseconds since 1970 as RFC 3339 into `out`. */
void cli_time_text(char out[32], uint64_t ms);
/* Parses RFC 3339, or a date alone (midnight UTC).  False when it is neither. */
bool cli_time_parse(weft_bytes text, uint64_t *ms);

#endif
