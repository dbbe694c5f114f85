# Sources and public headers of store/.  One file a line, so that changes merge.
set(WEFT_STORE_SOURCES
  store/keys.c
)
set(WEFT_STORE_HEADERS
)
