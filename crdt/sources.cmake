# Sources and public headers of crdt/.  One file a line, so that changes merge.
set(WEFT_CRDT_SOURCES
  crdt/alloc.c
  crdt/assert.c
  crdt/base.c
  crdt/buf.c
  crdt/crypto_sodium.c
  crdt/err.c
  crdt/identity.c
)
set(WEFT_CRDT_HEADERS
  crdt/alloc.h
  crdt/assert.h
  crdt/base.h
  crdt/crypto.h
  crdt/err.h
)
