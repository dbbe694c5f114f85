/* A node of a test space on real sockets of the loopback, on a loop that the test turns. */
#ifndef WEFT_TESTS_EDGE_H
#define WEFT_TESTS_EDGE_H

#include <uv.h>

#include "net/uv_node.h"
#include "tests/support/space.h"

typedef struct edge {
  uv_loop_t *loop;
  weft_replica *replica; /* the caller's */
  weft_uv_node *node;
  bool stopped;
  weft_err failed; /* storage failed, and with what */
} edge;

/* Starts a node of device `idx` that listens on a port of its own, or at `listen`, and, if
 * `connect` is not NULL, dials that address.  On error edge_end is still due. */
weft_err edge_start(edge *e, uv_loop_t *loop, test_space *s, size_t idx, weft_replica *replica,
                    const weft_alloc *mem, const char *listen, const char *connect);
/* The address it listens on. */
const char *edge_address(const edge *e, char out[64]);
/* Stops it, turns the loop until it is gone, and frees it. */
void edge_end(edge *e);
/* Turns the loop until both hold the same, at most so long; whether they do. */
bool edge_in_step(const edge *a, const edge *b, unsigned ms);
/* Turns the loop for so long; gives how often it went round. */
unsigned edge_turn(uv_loop_t *loop, unsigned ms);

#endif
