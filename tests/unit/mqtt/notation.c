/* Reads the notation of packets, and places bytes in front of memory that cannot be touched. */
#include "tests/unit/mqtt/notation.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/mqtt/mqtt.h"

static _Noreturn void give_up(const char *text)
{
    fprintf(stderr, "notation without meaning at: %s\n", text);
    exit(2);
}

static uint8_t *parse_block(const char **text, char close, uint8_t *dst);

static unsigned parse_hex(const char **text)
{
    char digits[3] = {(*text)[0], (*text)[1], 0};
    if (!isxdigit((unsigned char)digits[0]) || !isxdigit((unsigned char)digits[1]))
        give_up(*text);
    *text += 2;
    return (unsigned)strtoul(digits, NULL, 16);
}

static uint8_t *parse_repeat(const char **text, uint8_t *dst)
{
    char *end;
    size_t n = strtoul(*text, &end, 16);
    *text = end + strspn(end, " ");
    memset(dst, (int)parse_hex(text), n);
    if (*(*text)++ != ']')
        give_up(*text);
    return dst + n;
}

/* Parses a block to where its longest prefix would end, then moves it down behind the real one. */
static uint8_t *parse_prefixed(const char **text, char close, uint8_t *dst)
{
    uint8_t *start = dst + 4;
    size_t n = (size_t)(parse_block(text, close, start) - start);
    uint8_t *body = dst;
    if (close == ')') {
        body = mqtt_varint_encode(dst, (uint32_t)n);
    } else {
        *body++ = (uint8_t)(n >> 8);
        *body++ = (uint8_t)n;
    }
    memmove(body, start, n);
    return body + n;
}

static uint8_t *parse_block(const char **text, char close, uint8_t *dst)
{
    while (**text != close) {
        char c = *(*text)++;
        switch (c) {
        case ' ':
            break;
        case '\'':
            while (**text != '\'' && **text != 0)
                *dst++ = (uint8_t) * (*text)++;
            *text += **text == '\'';
            break;
        case '{':
            dst = parse_prefixed(text, '}', dst);
            break;
        case '(':
            dst = parse_prefixed(text, ')', dst);
            break;
        case '[':
            dst = parse_repeat(text, dst);
            break;
        default:
            (*text)--;
            *dst++ = (uint8_t)parse_hex(text);
        }
    }
    *text += close != 0;
    return dst;
}

size_t notation_parse(const char *text, uint8_t *dst)
{
    return (size_t)(parse_block(&text, 0, dst) - dst);
}

uint8_t *notation_guarded(const uint8_t *bytes, size_t n)
{
    static uint8_t *end;
    if (end == NULL) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (NOTATION_MAX + page - 1) / page * page;
        uint8_t *map = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED || mprotect(map + room, page, PROT_NONE) != 0)
            give_up("no guarded memory");
        end = map + room;
    }
    return memcpy(end - n, bytes, n);
}
