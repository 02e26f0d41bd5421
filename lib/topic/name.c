/*
 * Topic names and filters: see name.h.
 */
#include "lib/topic/generation.h"
#include "lib/topic/name.h"

#include <string.h>

#define TOPIC_LENGTH_MAX 65535u

/* ---- SipHash-1-3 (Aumasson, Bernstein 2012): one round a word, three at the end ---- */

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

/* The last 0 .. 7 bytes and the length, as one word. */
static inline uint64_t sip_tail(const uint8_t *bytes, size_t length)
{
    uint64_t word = (uint64_t)length << 56;
    for (size_t i = 0; i < length % 8; i++) {
        word |= (uint64_t)bytes[i] << (8 * i);
    }
    return word;
}

uint64_t topic_hash(const struct topic_seed *seed, const void *bytes, size_t length)
{
    struct sip s = {
        .v0 = seed->key[0] ^ 0x736f6d6570736575ull,
        .v1 = seed->key[1] ^ 0x646f72616e646f6dull,
        .v2 = seed->key[0] ^ 0x6c7967656e657261ull,
        .v3 = seed->key[1] ^ 0x7465646279746573ull,
    };
    const uint8_t *at = bytes;
    for (const uint8_t *end = at + length / 8 * 8; at != end; at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        sip_word(&s, word);
    }
    sip_word(&s, sip_tail(at, length));
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return (s.v0 ^ s.v1 ^ s.v2 ^ s.v3) & ~seed->weaken;
}

uint64_t topic_group_id(const struct topic_seed *seed, const struct topic_filter_name *parsed)
{
    /* The group's name has no '/', so chaining the two hashes keeps (name, filter) apart without joining the texts. */
    struct topic_seed inner = {.key = {topic_hash(seed, parsed->group, parsed->group_length), seed->key[0]}};
    return topic_hash(&inner, parsed->filter, parsed->filter_length);
}

/* ---- topic names ---- */

enum topic_status topic_name_set(struct topic_name *name, const struct topic_seed *seed,
                                 const struct topic_limits *limits, const char *text, size_t length)
{
    size_t length_max = limits->length != 0 ? limits->length : TOPIC_LENGTH_MAX;
    unsigned levels_max = limits->levels != 0 && limits->levels < TOPIC_LEVELS_MAX ? limits->levels : TOPIC_LEVELS_MAX;
    unsigned levels = 0;
    if (length == 0 || length > length_max) {
        return length == 0 ? TOPIC_INVALID : TOPIC_TOO_LONG;
    }
    name->starts[0] = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        /* REQ MQTT-5 [MQTT-4.7.0-1]: no wildcards in a topic name [test: topic/name_rules] */
        /* REQ MQTT-5 [MQTT-4.7.3-2]: no null character in names and filters [test: topic/name_rules] */
        if (c == '+' || c == '#' || c == '\0') {
            return TOPIC_INVALID;
        }
        if (c == '/') {
            if (++levels == levels_max) {
                return TOPIC_TOO_DEEP;
            }
            name->starts[levels] = (uint16_t)(i + 1);
        }
    }
    name->levels = (uint16_t)(levels + 1);
    /* One more start than levels, as if a '/' followed: 65,536 wraps to 0 and level lengths still come out right. */
    name->starts[levels + 1] = (uint16_t)(length + 1);
    name->text = text;
    name->length = (uint32_t)length;
    name->tokens_hashed = 0;
    name->seed = *seed;
    name->hash = topic_hash(seed, text, length);
    return TOPIC_OK;
}

uint64_t topic_name_token(struct topic_name *name, unsigned level)
{
    for (; name->tokens_hashed <= level; name->tokens_hashed++) {
        uint16_t start = name->starts[name->tokens_hashed];
        uint16_t length = (uint16_t)(name->starts[name->tokens_hashed + 1] - 1 - start);
        name->tokens[name->tokens_hashed] = topic_hash(&name->seed, name->text + start, length);
    }
    return name->tokens[level];
}

/* ---- filters ---- */

/* Cut "$share/name/" off. False when the text begins so but breaks the rules. */
static bool filter_split_share(struct topic_filter_name *parsed, const char *text, size_t length)
{
    static const char prefix[] = "$share/";
    const size_t prefix_length = sizeof(prefix) - 1;
    *parsed = (struct topic_filter_name){.filter = text, .filter_length = (uint16_t)length};
    if (length < prefix_length || memcmp(text, prefix, prefix_length) != 0) {
        return true;
    }
    const char *group = text + prefix_length;
    const char *slash = memchr(group, '/', length - prefix_length);
    /* REQ MQTT-5 [MQTT-4.8.2-1]: "$share/", a name of at least one character, "/" [test: topic/filter_rules] */
    if (slash == NULL || slash == group || slash + 1 == text + length) {
        return false;
    }
    parsed->group = group;
    parsed->group_length = (uint16_t)(slash - group);
    parsed->filter = slash + 1;
    parsed->filter_length = (uint16_t)(text + length - parsed->filter);
    /* REQ MQTT-5 [MQTT-4.8.2-2]: no "/", "+" or "#" in the name, a filter after it [test: topic/filter_rules] */
    return memchr(group, '+', parsed->group_length) == NULL && memchr(group, '#', parsed->group_length) == NULL &&
           memchr(group, '\0', parsed->group_length) == NULL;
}

/* Wildcards stand alone in their level, '#' in the last one. */
static bool filter_wildcards_valid(struct topic_filter_name *parsed)
{
    const char *text = parsed->filter;
    size_t length = parsed->filter_length;
    for (size_t i = 0; i < length; i++) {
        bool level_ends = i + 1 == length || text[i + 1] == '/';
        bool level_begins = i == 0 || text[i - 1] == '/';
        switch (text[i]) {
        case '\0':
            return false;
        case '#':
            /* REQ MQTT-5 [MQTT-4.7.1-1]: '#' alone in its level, and the last character [test: topic/filter_rules] */
            if (!level_begins || i + 1 != length) {
                return false;
            }
            parsed->wildcard = true;
            break;
        case '+':
            /* REQ MQTT-5 [MQTT-4.7.1-2]: '+' occupies an entire level [test: topic/filter_rules] */
            if (!level_begins || !level_ends) {
                return false;
            }
            parsed->wildcard = true;
            break;
        case '/':
            parsed->levels++;
            break;
        default:
            break;
        }
    }
    parsed->levels++;
    return true;
}

enum topic_status topic_filter_parse(struct topic_filter_name *parsed, const struct topic_limits *limits,
                                     const char *text, size_t length)
{
    size_t length_max = limits->length != 0 ? limits->length : TOPIC_LENGTH_MAX;
    unsigned levels_max = limits->levels != 0 && limits->levels < TOPIC_LEVELS_MAX ? limits->levels : TOPIC_LEVELS_MAX;
    /* REQ MQTT-5 [MQTT-4.7.3-1]: names and filters have at least one character [test: topic/filter_rules] */
    if (length == 0 || length > TOPIC_LENGTH_MAX) {
        return length == 0 ? TOPIC_INVALID : TOPIC_TOO_LONG;
    }
    if (!filter_split_share(parsed, text, length) || !filter_wildcards_valid(parsed)) {
        return TOPIC_INVALID;
    }
    if (parsed->filter_length > length_max || parsed->group_length > length_max) {
        return TOPIC_TOO_LONG;
    }
    return parsed->levels > levels_max ? TOPIC_TOO_DEEP : TOPIC_OK;
}

unsigned topic_filter_stripe(const struct topic_seed *seed, const struct topic_filter_name *filter)
{
    if (filter->filter[0] == '+' || filter->filter[0] == '#') {
        return TOPIC_STRIPE_ALL;
    }
    return topic_stripe(seed, filter->filter, filter->filter_length);
}

/* Length of the level that begins at `text`. */
static size_t level_length(const char *text, const char *end)
{
    const char *slash = memchr(text, '/', (size_t)(end - text));
    return (size_t)((slash != NULL ? slash : end) - text);
}

bool topic_filter_matches(const char *filter, size_t filter_length, const char *topic, size_t topic_length)
{
    const char *filter_end = filter + filter_length, *topic_end = topic + topic_length;
    if (topic_length > 0 && topic[0] == '$' && (filter[0] == '+' || filter[0] == '#')) {
        return false;
    }
    for (;;) {
        size_t wanted = level_length(filter, filter_end), given = level_length(topic, topic_end);
        if (wanted == 1 && *filter == '#') {
            return true;
        }
        if (!(wanted == 1 && *filter == '+') && !(wanted == given && memcmp(filter, topic, given) == 0)) {
            return false;
        }
        filter += wanted;
        topic += given;
        if (topic == topic_end) {
            /* "sport/#" matches "sport" too. */
            return filter == filter_end || (filter_end - filter == 2 && filter[1] == '#');
        }
        if (filter == filter_end) {
            return false;
        }
        filter++;
        topic++;
    }
}
