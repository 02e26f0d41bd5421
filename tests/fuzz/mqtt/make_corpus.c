/*
 * Writes the seed corpus: one file for every packet of the unit tests' tables.
 * Run from the root of the tree: make_corpus tests/fuzz/mqtt/corpus
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/mqtt/mqtt.h"
#include "tests/unit/mqtt/notation.h"

enum { CLIENT = 0, SERVER = 1 };

static const struct {
    const char *kind;
    int version;
    int sender;
    const char *notation;
} packets[] = {
#define GOOD(version, sender, notation) {"good", MQTT_##version, sender, notation},
#define MALFORMED(version, sender, notation, error) {#error, MQTT_##version, sender, notation},
#include "tests/unit/mqtt/good.def"
#include "tests/unit/mqtt/malformed.def"
};

static uint8_t bytes[NOTATION_MAX];

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof(packets) / sizeof(packets[0]); i++) {
        char path[4096];
        size_t n = notation_parse(packets[i].notation, bytes);
        if (n > 1000)
            continue; /* large packets slow a fuzzer down and teach it nothing */
        snprintf(path, sizeof(path), "%s/%03zu-%s", argv[1], i, packets[i].kind);
        FILE *file = fopen(path, "w");
        if (file == NULL || fputc(packets[i].version - MQTT_V31 + 3 * packets[i].sender, file) == EOF ||
            fwrite(bytes, 1, n, file) != n || fclose(file) != 0) {
            perror(path);
            return EXIT_FAILURE;
        }
    }
    return argc == 2 ? EXIT_SUCCESS : EXIT_FAILURE;
}
