/* The libuv edge without descriptors to spare: it does not spin, links that stand go on, and when
 * there are descriptors again, whoever waits is let in. */
#include <setjmp.h>
#include <stdarg.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/disk/edge.h"

enum { CROWD = 40, TURNS_MAX = 100 /* a second */ };

/* A process that connects again and again and says nothing, until it is killed. */
static pid_t crowd_start(const char *address, const struct rlimit *many) {
  int ready[2];
  char one;
  struct rlimit few;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &few), 0);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, many), 0);
  assert_int_equal(pipe(ready), 0);
  pid_t pid = fork();
  if (pid == 0) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (setrlimit(RLIMIT_NOFILE, many) != 0) _exit(1);
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    for (int i = 0; i < CROWD; i++) {
      int fd = socket(AF_INET, SOCK_STREAM, 0);
      if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) _exit(1);
    }
    if (write(ready[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  close(ready[1]);
  assert_int_equal(read(ready[0], &one, 1), 1);
  close(ready[0]);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
  return pid;
}

/* Leaves the process two descriptors more than it has. */
static void descriptors_take(struct rlimit *old) {
  assert_int_equal(getrlimit(RLIMIT_NOFILE, old), 0);
  int next = open("/dev/null", O_RDONLY);
  close(next);
  struct rlimit few = {(rlim_t)next + 2, old->rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
}

static void set_and_tell(edge *e, const char *json) {
  assert_int_equal(test_set(e->replica, "t/a", "/x", json), WEFT_OK);
  weft_uv_node_changed(e->node);
}

static void test_no_descriptors(void **state) {
  (void)state;
  test_space s;
  uv_loop_t loop;
  edge edges[3];
  weft_replica *replicas[3];
  struct rlimit old;
  char address[64];
  test_space_make(&s, 3, 9);
  assert_int_equal(uv_loop_init(&loop), 0);
  for (size_t i = 0; i < 3; i++) replicas[i] = test_space_memory(&s, i);
  assert_int_equal(edge_start(&edges[0], &loop, &s, 0, replicas[0], NULL, NULL, NULL), WEFT_OK);
  edge_address(&edges[0], address);
  assert_int_equal(edge_start(&edges[1], &loop, &s, 1, replicas[1], NULL, NULL, address), WEFT_OK);
  set_and_tell(&edges[0], "1");
  assert_true(edge_in_step(&edges[0], &edges[1], 5000));

  descriptors_take(&old);
  pid_t crowd = crowd_start(address, &old);
  edge_turn(&loop, 300); /* the first of them are let in, and sent away later */
  clock_t before = clock();
  unsigned turns = edge_turn(&loop, 1000);
  double cpu = (double)(clock() - before) / CLOCKS_PER_SEC;
  print_message("%u turns and %.3f s of CPU in a second without descriptors\n", turns, cpu);
  assert_true(turns <= TURNS_MAX);
  assert_true(cpu < 0.5);
  set_and_tell(&edges[0], "2");
  assert_true(edge_in_step(&edges[0], &edges[1], 5000));

  assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
  kill(crowd, SIGKILL);
  assert_int_equal(waitpid(crowd, NULL, 0), crowd);
  assert_int_equal(edge_start(&edges[2], &loop, &s, 2, replicas[2], NULL, NULL, address), WEFT_OK);
  set_and_tell(&edges[0], "3");
  assert_true(edge_in_step(&edges[0], &edges[2], 10000));
  for (size_t i = 0; i < 3; i++) edge_end(&edges[i]);
  while (uv_run(&loop, UV_RUN_DEFAULT) != 0) continue;
  assert_int_equal(uv_loop_close(&loop), 0);
  for (size_t i = 0; i < 3; i++) weft_replica_free(replicas[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_descriptors)};
  signal(SIGPIPE, SIG_IGN);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
