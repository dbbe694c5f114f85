# Sources and public headers of net/.  One file a line, so that changes merge.
set(WEFT_NET_SOURCES
  net/noise.c
)
set(WEFT_NET_HEADERS
)
