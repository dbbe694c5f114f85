/* A strict reader of the Prometheus text format (version 0.0.4), stricter than servers are: every
 * family has HELP, TYPE and samples together, once; names and labels are well-formed; counters end
 * in _total; histograms are cumulative, end in +Inf and agree with their count. */
#ifndef WEFT_TESTS_PROMETHEUS_H
#define WEFT_TESTS_PROMETHEUS_H

#include <stddef.h>

enum { TEST_PROMETHEUS_WHY = 160 };

/* Counts the samples of `text`.  0 when it breaks a rule: `why` says which, with the line. */
size_t test_prometheus_check(const char *text, char why[TEST_PROMETHEUS_WHY]);

#endif
