/* What the outcome of one step means to the step around it.  Each takes any error and passes on
 * those that it does not name, WEFT_OK among them. */
#ifndef WEFT_STORE_OUTCOME_H
#define WEFT_STORE_OUTCOME_H

#include "../crdt/err.h"

/* A walk that came to its end is done. */
static inline weft_err weft__walked(weft_err err) { return err == WEFT_EDONE ? WEFT_OK : err; }

/* What may be missing. */
static inline weft_err weft__if_any(weft_err err) { return err == WEFT_ENOTFOUND ? WEFT_OK : err; }

/* What another row promises is there: without it the store is damaged. */
static inline weft_err weft__promised(weft_err err) {
  return err == WEFT_ENOTFOUND || err == WEFT_EDONE ? WEFT_ECORRUPT : err;
}

/* What was stored was whole, so what does not parse now was damaged. */
static inline weft_err weft__was_whole(weft_err err) {
  return err == WEFT_EMALFORMED ? WEFT_ECORRUPT : err;
}

#endif
