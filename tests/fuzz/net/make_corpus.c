/* Writes the seed corpus: in every state, the segments that matter there. make_corpus_net FOLDER */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seed {
    uint8_t bytes[512];
    size_t length;
};

static void put(struct seed *seed, const uint8_t *bytes, size_t length)
{
    memcpy(seed->bytes + seed->length, bytes, length);
    seed->length += length;
}

static void put_fields(struct seed *seed, uint8_t flags, uint16_t sequence, uint16_t ack, uint16_t length)
{
    const uint8_t fields[] = {flags,
                              (uint8_t)(sequence >> 8),
                              (uint8_t)sequence,
                              (uint8_t)(ack >> 8),
                              (uint8_t)ack,
                              0x20,
                              0,
                              (uint8_t)(length >> 8),
                              (uint8_t)length,
                              0};

    put(seed, fields, sizeof fields);
}

static void put_segment(struct seed *seed, uint8_t flags, uint16_t sequence, uint16_t ack, uint16_t length)
{
    put(seed, (const uint8_t[]){0}, 1);
    put_fields(seed, flags, sequence, ack, length);
}

static int write_seed(const char *folder, const char *name, const struct seed *seed)
{
    char path[1024];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    return !file || fwrite(seed->bytes, 1, seed->length, file) != seed->length || fclose(file);
}

/* What other seeds do not reach: listener queries, the bound on echo replies, marked fragments, cookies of every age.
 */
static int write_others(const char *folder)
{
    static const uint8_t query[27] = {7, 0, 4, 0x27, 0x10}, echo4[] = {8, 0, 15, 56}, echo6[] = {8, 1, 15, 56};
    static const uint8_t second[] = {4, 4, 0};
    static const uint8_t orders[3][5] = {{9, 0, 13, 3, 2}, {9, 2, 13, 2, 3}, {9, 0, 13, 3, 0}};
    struct seed bounds = {{0, 0}, 2}, marks = {{3, 64 + 7}, 2};
    int failed = 0;

    put(&bounds, query, sizeof query);
    for (unsigned i = 0; i < 2; i++) {
        put(&bounds, echo4, sizeof echo4);
        put(&bounds, query, sizeof query);
        put(&bounds, second, sizeof second);
        put(&bounds, echo6, sizeof echo6);
    }
    failed |= write_seed(folder, "answers", &bounds);
    for (uint16_t i = 0; i < 3; i++) {
        put(&marks, orders[i], sizeof orders[i]);
        put_fields(&marks, 0x18, (uint16_t)(1 + 200 * i), 1, 200);
    }
    failed |= write_seed(folder, "marks", &marks);
    for (unsigned age = 0; age < 4; age++) {
        struct seed cookie = {{2, 8 + 7}, 2};
        char name[32];
        put(&cookie, (const uint8_t[]){10, (uint8_t)(4 * age)}, 2);
        put_segment(&cookie, 0x10, 1, 1, 0);
        put_segment(&cookie, 0x18, 1, 1, 100);
        snprintf(name, sizeof name, "cookie-%u", age);
        failed |= write_seed(folder, name, &cookie);
    }
    return failed;
}

int main(int argc, char **argv)
{
    static const uint8_t send[] = {3, 0, 8, 0}, wait[] = {4, 1, 0}, sack[] = {2, 1, 0, 1, 0x02, 0x59, 0x02, 0x58};
    static const uint8_t bad_option[] = {0, 0x18, 0, 1, 0, 1, 0x20, 0, 0, 5, 1, 1, 1, 8, 0};

    for (unsigned state = 0; argc == 2 && state < 10; state++) {
        for (unsigned options = 0; options < 4; options++) {
            static const uint8_t choices[4] = {0, 7, 15, 19};
            struct seed seed = {{(uint8_t)state, choices[options]}, 2};
            char name[32];
            if (state == 0)
                put_segment(&seed, 0x02, 0, 0, 0);
            if (state == 1)
                put_segment(&seed, 0x12, 0, 1, 0);
            put_segment(&seed, 0x18, 1, 1, 100);
            put(&seed, send, sizeof send);
            put_segment(&seed, 0x10, 201, 1, 100);
            put(&seed, sack, sizeof sack);
            put(&seed, bad_option, sizeof bad_option);
            put(&seed, wait, sizeof wait);
            put_segment(&seed, 0x04, 5, 0, 0);
            put_segment(&seed, 0x11, 101, 2049, 0);
            put_segment(&seed, 0x04, 1, 0, 0);
            snprintf(name, sizeof name, "state-%u-%u", state, options);
            if (write_seed(argv[1], name, &seed))
                return EXIT_FAILURE;
        }
    }
    return argc == 2 && !write_others(argv[1]) ? EXIT_SUCCESS : EXIT_FAILURE;
}
