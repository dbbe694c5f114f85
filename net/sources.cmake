# Sources and public headers of net/.  One file a line, so that changes merge.
set(WEFT_NET_SOURCES
  net/codec_handshake.c
  net/frame.c
  net/gate.c
  net/noise.c
  net/outbox.c
  net/session.c
)
set(WEFT_NET_HEADERS
)
