/*
 * Writes the seed corpus: requests and frames of each kind.
 * Run from the root of the tree: make_corpus tests/fuzz/websocket/corpus
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define FIELDS "Host: b\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
#define REQUEST(line, fields)                              \
    {                                                      \
        line, sizeof(line) - 1, fields, sizeof(fields) - 1 \
    }
#define FRAMES(run, bytes)               \
    {                                    \
        run, 1, bytes, sizeof(bytes) - 1 \
    }

/* A file is `first` and then `rest`; frames begin with the length of the runs. */
static const struct {
    const char *first;
    size_t first_length;
    const char *rest;
    size_t rest_length;
} files[] = {
    REQUEST("\0GET /mqtt HTTP/1.1\r\n", FIELDS KEY "Sec-WebSocket-Protocol: mqtt\r\n\r\n\x82\x80\1\2\3\4"),
    REQUEST("\0GET http://b/mqtt?x HTTP/1.1\r\n", FIELDS KEY "Sec-WebSocket-Protocol: a, mqttv3.1\r\n\r\n"),
    REQUEST("\0GET /mqtt HTTP/1.1\r\n",
            FIELDS KEY "Origin: https://example.org\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"),
    REQUEST("\0GET /mqtt HTTP/1.1\r\n", FIELDS KEY "Origin: https://other.org\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"),
    REQUEST("\0POST /mqtt HTTP/1.1\r\n", FIELDS "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REQUEST("\0GET / HTTP/1.0\r\n", "Host: b\r\n folded\r\n\r\n"),
    REQUEST("\0\x10\x0c", "\0\4MQTT\4\2\0\x3c\0\0"),
    FRAMES("\1", "\x82\x83\1\2\3\4abc"),
    FRAMES("\2", "\2\x82\1\2\3\4ab\x89\x82\4\3\2\1pi\0\x80\0\0\0\0\x80\x81\7\7\7\7c"),
    FRAMES("\7", "\x82\xfe\0\x7e\1\2\3\4abcdefghijklmnopqrstuvwxyz"),
    FRAMES("\3", "\x82\xff\0\0\0\0\0\1\0\0\1\2\3\4abcdefghijklmnopqrstuvwxyz"),
    FRAMES("\5", "\x88\x82\0\0\0\0\3\xe8\x82\x80\1\2\3\4"),
    FRAMES("\5", "\x8a\x83\1\2\3\4abc\x89\x80\1\2\3\4"),
    FRAMES("\1", "\x81\x80\1\2\3\4"),
    FRAMES("\1", "\x82\1a"),
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof(files) / sizeof(files[0]); i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%02zu", argv[1], i);
        FILE *file = fopen(path, "w");
        if (file == NULL || fwrite(files[i].first, 1, files[i].first_length, file) != files[i].first_length ||
            fwrite(files[i].rest, 1, files[i].rest_length, file) != files[i].rest_length || fclose(file) != 0) {
            perror(path);
            return EXIT_FAILURE;
        }
    }
    return argc == 2 ? EXIT_SUCCESS : EXIT_FAILURE;
}
