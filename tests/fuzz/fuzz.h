/*
 * What every fuzz target defines. With the option fuzz=true it is linked with libFuzzer, otherwise with replay.c, which
 * runs the corpus in the tree once, as a test.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
