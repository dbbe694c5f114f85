# Sources and public headers of store/.  One file a line, so that changes merge.
set(WEFT_STORE_SOURCES
  store/keys.c
  store/lmdb_check.c
  store/lmdb_open.c
  store/lmdb_store.c
  store/memory_store.c
  store/mirror.c
  store/store.c
)
set(WEFT_STORE_HEADERS
)
