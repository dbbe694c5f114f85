/* A stranger on a local socket, for the scripts beside it.
 *
 *   talk PATH          sends its standard input to the socket PATH, then prints what comes back
 * until the other side closes or is silent for half a second talk --bind PATH   listens on PATH and
 * answers nothing, until it is killed */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int stay(int fd, const struct sockaddr_un *address) {
  if (bind(fd, (const struct sockaddr *)address, sizeof *address) != 0 || listen(fd, 8) != 0) {
    perror("talk");
    return 1;
  }
  for (;;) pause();
}

static int talk(int fd, const struct sockaddr_un *address) {
  char piece[1 << 16];
  if (connect(fd, (const struct sockaddr *)address, sizeof *address) != 0) {
    perror("talk");
    return 1;
  }
  for (ssize_t got; (got = read(STDIN_FILENO, piece, sizeof piece)) > 0;)
    if (send(fd, piece, (size_t)got, MSG_NOSIGNAL) != got) break;
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  while (poll(&wait, 1, 500) > 0) {
    ssize_t got = read(fd, piece, sizeof piece);
    if (got <= 0) break;
    fwrite(piece, 1, (size_t)got, stdout);
  }
  return 0;
}

int main(int argc, char **argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const char *path = argv[argc - 1];
  if (argc < 2 || strlen(path) >= sizeof address.sun_path) return 2;
  memcpy(address.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return 1;
  return argc > 2 && strcmp(argv[1], "--bind") == 0 ? stay(fd, &address) : talk(fd, &address);
}
