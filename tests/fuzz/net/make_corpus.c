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

static void put_segment(struct seed *seed, uint8_t flags, uint16_t sequence, uint16_t ack, uint16_t length)
{
    const uint8_t record[] = {0,
                              flags,
                              (uint8_t)(sequence >> 8),
                              (uint8_t)sequence,
                              (uint8_t)(ack >> 8),
                              (uint8_t)ack,
                              0x20,
                              0,
                              (uint8_t)(length >> 8),
                              (uint8_t)length,
                              0};

    put(seed, record, sizeof record);
}

int main(int argc, char **argv)
{
    static const uint8_t send[] = {3, 0, 8, 0}, wait[] = {4, 1, 0}, sack[] = {2, 1, 0, 1, 0x02, 0x59, 0x02, 0x58};
    static const uint8_t bad_option[] = {0, 0x18, 0, 1, 0, 1, 0x20, 0, 0, 5, 1, 1, 1, 8, 0};

    for (unsigned state = 0; argc == 2 && state < 10; state++) {
        for (unsigned options = 0; options < 4; options++) {
            static const uint8_t choices[4] = {0, 7, 15, 19};
            struct seed seed = {{(uint8_t)state, choices[options]}, 2};
            char path[1024];
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
            snprintf(path, sizeof path, "%s/state-%u-%u", argv[1], state, options);
            FILE *file = fopen(path, "wb");
            if (!file || fwrite(seed.bytes, 1, seed.length, file) != seed.length || fclose(file))
                return EXIT_FAILURE;
        }
    }
    return argc == 2 ? EXIT_SUCCESS : EXIT_FAILURE;
}
