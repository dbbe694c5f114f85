#include "crdt/err.h"

const char *weft_err_str(int err) {
  switch (err) {
#define WEFT_ERR_TEXT(name, number, text)                                                          \
  case number: return text;
    WEFT_ERRORS(WEFT_ERR_TEXT)
#undef WEFT_ERR_TEXT
  default: return "unknown error";
  }
}

const char *weft_err_name(int err) {
  switch (err) {
#define WEFT_ERR_NAME(name, number, text)                                                          \
  case number: return #name;
    WEFT_ERRORS(WEFT_ERR_NAME)
#undef WEFT_ERR_NAME
  default: return "WEFT_?";
  }
}
