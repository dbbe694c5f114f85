/* An encrypted connection with nothing on top of it: two threads, TCP on the loopback, sealed
 * records of a fixed length, in a stream or one at a time. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/probe.h"

enum { RECORD_LEN = 64 << 10, SEALED_LEN = RECORD_LEN + crypto_aead_chacha20poly1305_ietf_ABYTES };

typedef struct pipe_end {
  int fd;
  uint64_t records;
  bool failed;
} pipe_end;

static void nonce_of(uint8_t nonce[12], uint64_t n) {
  memset(nonce, 0, 12);
  for (unsigned k = 0; k < 8; k++) nonce[4 + k] = (uint8_t)(n >> (8 * k));
}

static bool send_all(int fd, const uint8_t *at, size_t len) {
  while (len > 0) {
    ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
    if (n <= 0) return false;
    at += n;
    len -= (size_t)n;
  }
  return true;
}

static void *send_records(void *arg) {
  pipe_end *end = arg;
  uint8_t key[32] = {1};
  uint8_t nonce[12];
  static const uint8_t plain[RECORD_LEN] = {0};
  uint8_t sealed[SEALED_LEN];
  for (uint64_t i = 0; i < end->records && !end->failed; i++) {
    nonce_of(nonce, i);
    crypto_aead_chacha20poly1305_ietf_encrypt(sealed, NULL, plain, RECORD_LEN, NULL, 0, NULL, nonce,
                                              key);
    end->failed = !send_all(end->fd, sealed, sizeof sealed);
  }
  shutdown(end->fd, SHUT_WR);
  return NULL;
}

static bool receive_records(int fd, uint64_t records) {
  uint8_t key[32] = {1};
  uint8_t nonce[12];
  uint8_t sealed[SEALED_LEN];
  uint8_t plain[RECORD_LEN];
  for (uint64_t i = 0; i < records; i++) {
    size_t have = 0;
    while (have < sizeof sealed) {
      ssize_t n = recv(fd, sealed + have, sizeof sealed - have, 0);
      if (n <= 0) return false;
      have += (size_t)n;
    }
    nonce_of(nonce, i);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL, sealed, sizeof sealed, NULL, 0,
                                                  nonce, key) != 0) {
      return false;
    }
  }
  return true;
}

/* Makes two connected sockets; -1 where there is none. */
static bool connect_pair(int fds[2]) {
  struct sockaddr_in at = {.sin_family = AF_INET};
  socklen_t len = sizeof at;
  int one = 1;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  fds[0] = socket(AF_INET, SOCK_STREAM, 0);
  bool ok = listener >= 0 && fds[0] >= 0 &&
            bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 1) == 0 &&
            getsockname(listener, (struct sockaddr *)&at, &len) == 0 &&
            connect(fds[0], (struct sockaddr *)&at, sizeof at) == 0;
  if (ok) fds[1] = accept(listener, NULL, NULL);
  if (ok) setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (listener >= 0) close(listener);
  return ok && fds[1] >= 0;
}

weft_err probe_loopback(bench *b, uint64_t len, double *seconds) {
  int fds[2] = {-1, -1};
  pthread_t thread;
  bool ok = connect_pair(fds);
  pipe_end end = {fds[0], (len + RECORD_LEN - 1) / RECORD_LEN, false};
  double start = bench_now();
  if (ok) ok = pthread_create(&thread, NULL, send_records, &end) == 0;
  if (ok) {
    ok = receive_records(fds[1], end.records);
    if (!ok) shutdown(fds[1], SHUT_RDWR);
    pthread_join(thread, NULL);
  }
  *seconds = bench_now() - start;
  for (unsigned i = 0; i < 2; i++) {
    if (fds[i] >= 0) close(fds[i]);
  }
  return ok ? WEFT_OK : bench_fail(b, WEFT_EIO, "the loopback connection failed");
}

/* --- one message at a time --- */

enum { MESSAGE_LEN = 96, MESSAGE_SEALED = MESSAGE_LEN + crypto_aead_chacha20poly1305_ietf_ABYTES };

struct probe_line {
  int fds[2];
  pthread_t thread;
  uint64_t count; /* messages sent so far */
};

static bool message_send(int fd, uint64_t number, const uint8_t plain[MESSAGE_LEN]) {
  uint8_t key[32] = {1};
  uint8_t nonce[12];
  uint8_t sealed[MESSAGE_SEALED];
  nonce_of(nonce, number);
  crypto_aead_chacha20poly1305_ietf_encrypt(sealed, NULL, plain, MESSAGE_LEN, NULL, 0, NULL, nonce,
                                            key);
  return send_all(fd, sealed, sizeof sealed);
}

static bool message_receive(int fd, uint64_t number, uint8_t plain[MESSAGE_LEN]) {
  uint8_t key[32] = {1};
  uint8_t nonce[12];
  uint8_t sealed[MESSAGE_SEALED];
  nonce_of(nonce, number);
  return recv(fd, sealed, sizeof sealed, MSG_WAITALL) == (ssize_t)sizeof sealed &&
         crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL, sealed, sizeof sealed, NULL,
                                                   0, nonce, key) == 0;
}

/* Sends every message back, until the other end is shut. */
static void *echo(void *arg) {
  int fd = *(int *)arg;
  uint8_t plain[MESSAGE_LEN];
  for (uint64_t i = 0; message_receive(fd, i, plain) && message_send(fd, i, plain); i++) continue;
  return NULL;
}

weft_err probe_line_open(probe_line **out, bench *b) {
  int one = 1;
  probe_line *p = b->mem.alloc(b->mem.ctx, sizeof *p);
  *out = NULL;
  if (!p) return WEFT_ENOMEM;
  *p = (probe_line){.fds = {-1, -1}};
  bool ok = connect_pair(p->fds);
  if (ok) setsockopt(p->fds[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (ok) ok = pthread_create(&p->thread, NULL, echo, &p->fds[1]) == 0;
  if (ok) {
    *out = p;
    return WEFT_OK;
  }
  for (unsigned i = 0; i < 2; i++) {
    if (p->fds[i] >= 0) close(p->fds[i]);
  }
  b->mem.free(b->mem.ctx, p);
  return bench_fail(b, WEFT_EIO, "the loopback connection failed");
}

void probe_line_close(probe_line *p, bench *b) {
  if (!p) return;
  shutdown(p->fds[0], SHUT_RDWR);
  pthread_join(p->thread, NULL);
  close(p->fds[0]);
  close(p->fds[1]);
  b->mem.free(b->mem.ctx, p);
}

weft_err probe_line_message(probe_line *p, bench *b, double *seconds) {
  uint8_t plain[MESSAGE_LEN] = {0};
  double start = bench_now();
  bool ok = message_send(p->fds[0], p->count, plain) && message_receive(p->fds[0], p->count, plain);
  *seconds += (bench_now() - start) / 2;
  p->count++;
  return ok ? WEFT_OK : bench_fail(b, WEFT_EIO, "the loopback connection failed");
}
