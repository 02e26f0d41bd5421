/* UTF-8 validation, section 1.5.4. */
#include <string.h>

#include "lib/mqtt/utf8.h"

/* Length of the run of bytes 0x01 to 0x7f at the start, as far as whole words tell. */
static uint32_t ascii_run(const uint8_t *bytes, uint32_t n)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint32_t at = 0;
    for (; at + 8 <= n; at += 8) {
        uint64_t word;
        memcpy(&word, bytes + at, 8);
        /* A zero byte borrows into its top bit; so can only a byte behind one, where the answer is no already. */
        if ((word | (word - ones)) & highs)
            break;
    }
    return at;
}

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/*
 * The code point at `bytes`, or -1. `length` becomes its bytes. Surrogates come out as their value, for the caller to
 * name; overlong forms and values above U+10FFFF do not come out.
 */
static int32_t code_point(const uint8_t *bytes, uint32_t n, uint32_t *length)
{
    uint8_t first = bytes[0];
    if (first < 0x80) {
        *length = 1;
        return first;
    }
    if (first >= 0xc2 && first <= 0xdf && n >= 2 && is_continuation(bytes[1])) {
        *length = 2;
        return (first & 0x1f) << 6 | (bytes[1] & 0x3f);
    }
    if ((first & 0xf0) == 0xe0 && n >= 3 && is_continuation(bytes[1]) && is_continuation(bytes[2])) {
        int32_t value = (first & 0x0f) << 12 | (bytes[1] & 0x3f) << 6 | (bytes[2] & 0x3f);
        *length = 3;
        return value >= 0x800 ? value : -1;
    }
    if (first >= 0xf0 && first <= 0xf4 && n >= 4 && is_continuation(bytes[1]) && is_continuation(bytes[2]) &&
        is_continuation(bytes[3])) {
        int32_t value = (first & 0x07) << 18 | (bytes[1] & 0x3f) << 12 | (bytes[2] & 0x3f) << 6 | (bytes[3] & 0x3f);
        *length = 4;
        return value >= 0x10000 && value <= 0x10ffff ? value : -1;
    }
    return -1;
}

/* REQ MQTT-5 [MQTT-1.5.4-1]: strings are well-formed UTF-8 without surrogates [test: primitives/utf8] */
/* REQ MQTT-5 [MQTT-1.5.4-2]: strings do not contain U+0000 [test: primitives/utf8] */
/* REQ MQTT-5 [MQTT-1.5.4-3]: U+FEFF is a character like others and stays [test: primitives/utf8] */
/* REQ MQTT-5 [MQTT-4.7.3-2]: topic names and filters do not contain U+0000 [test: primitives/utf8] */
/* REQ MQTT-3.1.1 [MQTT-1.5.3-1]: strings are well-formed UTF-8 without surrogates [test: primitives/utf8] */
/* REQ MQTT-3.1.1 [MQTT-1.5.3-2]: strings do not contain U+0000 [test: primitives/utf8] */
/* REQ MQTT-3.1.1 [MQTT-1.5.3-3]: U+FEFF is a character like others and stays [test: primitives/utf8] */
enum mqtt_error mqtt_utf8_check(struct mqtt_span text)
{
    uint32_t at = 0;
    while (at < text.length) {
        at += ascii_run(text.data + at, text.length - at);
        /* Then one by one up to the next word: by then the text is ASCII again, or it is not mostly ASCII. */
        for (uint32_t end = at + 8; at < text.length && at < end;) {
            uint32_t length;
            int32_t value = code_point(text.data + at, text.length - at, &length);
            if (value < 0)
                return MQTT_ERROR_UTF8_INVALID;
            if (value == 0)
                return MQTT_ERROR_UTF8_NUL;
            if (value >= 0xd800 && value <= 0xdfff)
                return MQTT_ERROR_UTF8_SURROGATE;
            at += length;
        }
    }
    return MQTT_OK;
}

bool mqtt_utf8_is_discouraged(struct mqtt_span text)
{
    uint32_t length;
    for (uint32_t at = 0; at < text.length; at += length) {
        int32_t value = code_point(text.data + at, text.length - at, &length);
        if (value < 0x20 || (value >= 0x7f && value <= 0x9f))
            return true;
        if ((value >= 0xfdd0 && value <= 0xfdef) || (value & 0xfffe) == 0xfffe)
            return true;
    }
    return false;
}
