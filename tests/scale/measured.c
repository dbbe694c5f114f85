#include "tests/scale/measured.h"

int scale_measured(void (*run)(work *w), work *w) {
  run(w);
  return 0;
}
