/* The beginning of a WebSocket. See websocket_handshake.h. */
#include "dataplane/websocket_handshake.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <nettle/base64.h>
#include <nettle/sha1.h>

enum { KEY_LENGTH = 24, ACCEPT_LENGTH = BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE), BODY_MAX = 320 };

struct text {
    const char *at;
    uint32_t length;
};

/* The request's header fields that matter. */
struct fields {
    struct text host, key, version, origin;
    uint32_t hosts, keys, versions, origins;
    bool upgrade, connection; /* the tokens are there */
    bool mqtt, mqtt31;        /* offered */
    bool body;                /* one is announced */
};

/* ---- Text ------------------------------------------------------------------------------------------------------- */

static bool text_is(struct text text, const char *value)
{
    return text.length == strlen(value) && memcmp(text.at, value, text.length) == 0;
}

/* ASCII case does not count. */
static bool text_matches(struct text text, const char *value)
{
    return text.length == strlen(value) && strncasecmp(text.at, value, text.length) == 0;
}

static struct text text_trim(struct text text)
{
    while (text.length > 0 && (text.at[0] == ' ' || text.at[0] == '\t')) {
        text.at++;
        text.length--;
    }
    while (text.length > 0 && (text.at[text.length - 1] == ' ' || text.at[text.length - 1] == '\t')) {
        text.length--;
    }
    return text;
}

/* Takes the part before `separator` off the front, or all of it when there is none. */
static struct text text_split(struct text *rest, char separator)
{
    const char *found = memchr(rest->at, separator, rest->length);
    const struct text part = {rest->at, found == NULL ? rest->length : (uint32_t)(found - rest->at)};
    const uint32_t taken = found == NULL ? part.length : part.length + 1;
    rest->at += taken;
    rest->length -= taken;
    return part;
}

static bool list_has(struct text list, const char *token)
{
    while (list.length > 0) {
        if (text_matches(text_trim(text_split(&list, ',')), token)) {
            return true;
        }
    }
    return false;
}

/* Subprotocols are case-sensitive (RFC 6455 section 11.5 compares them as they are). */
static void protocols_read(struct text list, struct fields *fields)
{
    while (list.length > 0) {
        const struct text one = text_trim(text_split(&list, ','));
        fields->mqtt |= text_is(one, "mqtt");
        fields->mqtt31 |= text_is(one, "mqttv3.1");
    }
}

/* Printable, and lines end in CR LF: nothing that a proxy on the way could have read differently. */
static bool is_clean(const char *bytes, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        const uint8_t byte = (uint8_t)bytes[i];
        if (byte == '\r' && i + 1 < length && bytes[i + 1] == '\n') {
            i++;
        } else if ((byte < ' ' && byte != '\t') || byte == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool is_token(struct text text)
{
    for (uint32_t i = 0; i < text.length; i++) {
        const uint8_t byte = (uint8_t)text.at[i];
        if (byte <= ' ' || byte >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", byte) != NULL) {
            return false;
        }
    }
    return text.length > 0;
}

/* ---- Header fields ---------------------------------------------------------------------------------------------- */

static void field_read(struct text name, struct text value, struct fields *fields)
{
    if (text_matches(name, "host")) {
        fields->host = value;
        fields->hosts++;
    } else if (text_matches(name, "upgrade")) {
        fields->upgrade |= list_has(value, "websocket");
    } else if (text_matches(name, "connection")) {
        fields->connection |= list_has(value, "upgrade");
    } else if (text_matches(name, "sec-websocket-key")) {
        fields->key = value;
        fields->keys++;
    } else if (text_matches(name, "sec-websocket-version")) {
        fields->version = value;
        fields->versions++;
    } else if (text_matches(name, "sec-websocket-protocol")) {
        protocols_read(value, fields);
    } else if (text_matches(name, "origin")) {
        fields->origin = value;
        fields->origins++;
    } else if (text_matches(name, "transfer-encoding")) {
        fields->body = true;
    } else if (text_matches(name, "content-length")) {
        fields->body |= !text_is(value, "0");
    }
}

/* `rest`: the lines after the first, each with its end. False: not what RFC 9112 calls a header. */
static bool fields_read(struct text rest, struct fields *fields)
{
    while (rest.length > 0) {
        struct text line = text_split(&rest, '\n');
        line.length--; /* CR */
        const struct text name = text_split(&line, ':');
        if (name.at + name.length == line.at || !is_token(name)) {
            return false; /* no colon, or a line that continues another */
        }
        field_read(name, text_trim(line), fields);
    }
    return fields->hosts == 1 && fields->host.length > 0 && fields->keys <= 1 && fields->versions <= 1 &&
           fields->origins <= 1 && !fields->body;
}

/* ---- The request ------------------------------------------------------------------------------------------------ */

static bool http_version_is_one(struct text version)
{
    return version.length == 8 && memcmp(version.at, "HTTP/", 5) == 0;
}

/* The path of the target, which a proxy may be given in its absolute form (RFC 9112 section 3.2.2). */
static struct text path_of(struct text target)
{
    const char *authority =
        target.length > 0 && target.at[0] != '/' ? memmem(target.at, target.length, "://", 3) : NULL;
    if (authority != NULL) {
        target.length -= (uint32_t)(authority + 3 - target.at);
        target.at = authority + 3;
        const char *path = memchr(target.at, '/', target.length);
        target =
            path == NULL ? (struct text){"/", 1} : (struct text){path, target.length - (uint32_t)(path - target.at)};
    }
    return text_split(&target, '?');
}

static bool key_is_valid(struct text key)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (key.length != KEY_LENGTH || key.at[KEY_LENGTH - 2] != '=' || key.at[KEY_LENGTH - 1] != '=') {
        return false;
    }
    for (uint32_t i = 0; i < KEY_LENGTH - 2; i++) {
        if (memchr(alphabet, key.at[i], sizeof(alphabet) - 1) == NULL) {
            return false;
        }
    }
    return true;
}

/* A browser says whose page connects; other clients need not. Scheme and host have no case (RFC 6454 section 4). */
static bool origin_is_allowed(const struct shm_listener *listener, const struct fields *fields)
{
    for (uint32_t i = 0; i < listener->origin_count; i++) {
        if (text_matches(fields->origin, listener->origins[i])) {
            return true;
        }
    }
    return listener->origin_count == 0 || fields->origins == 0;
}

/* REQ MQTT-5 [MQTT-6.0.0-3]: a client that does not offer mqtt is refused [test: websocket_handshake/refusals] */
/* REQ MQTT-3.1.1 [MQTT-6.0.0-3]: a client that does not offer mqtt is refused [test: websocket_handshake/refusals] */
static enum websocket_answer fields_judge(const struct shm_listener *listener, const struct fields *fields)
{
    if (!fields->upgrade || !fields->connection) {
        return WEBSOCKET_REFUSED_upgrade;
    }
    if (!text_is(fields->version, "13")) {
        return WEBSOCKET_REFUSED_protocol_version;
    }
    if (!key_is_valid(fields->key)) {
        return WEBSOCKET_REFUSED_key;
    }
    if (!origin_is_allowed(listener, fields)) {
        return WEBSOCKET_REFUSED_origin;
    }
    return fields->mqtt || fields->mqtt31 ? WEBSOCKET_ACCEPTED : WEBSOCKET_REFUSED_subprotocol;
}

/* `whole`: request line and header fields, without the empty line. */
/* REQ MQTT-5 [MQTT-6.0.0-4]: of what the client offers, mqtt is chosen [test: websocket_handshake/accepted] */
/* REQ MQTT-3.1.1 [MQTT-6.0.0-4]: of what the client offers, mqtt is chosen [test: websocket_handshake/accepted] */
static enum websocket_answer request_judge(const struct shm_listener *listener, struct text whole,
                                           struct websocket_request *request)
{
    struct fields fields = {0};
    struct text line = text_split(&whole, '\n');
    line.length--; /* CR */
    const struct text method = text_split(&line, ' '), target = text_split(&line, ' ');
    if (!is_token(method) || target.length == 0 || !http_version_is_one(line)) {
        return WEBSOCKET_REFUSED_request;
    }
    if (!text_is(line, "HTTP/1.1")) {
        return WEBSOCKET_REFUSED_version;
    }
    if (!fields_read(whole, &fields)) {
        return WEBSOCKET_REFUSED_request;
    }
    if (!text_is(method, "GET")) {
        return WEBSOCKET_REFUSED_method;
    }
    if (!text_is(path_of(target), listener->path)) {
        return WEBSOCKET_REFUSED_path;
    }
    request->key = fields.key.at;
    request->subprotocol = fields.mqtt ? "mqtt" : "mqttv3.1"; /* what clients of MQTT 3.1 offer */
    return fields_judge(listener, &fields);
}

enum websocket_answer websocket_request_read(const struct shm_listener *listener, const char *bytes, uint32_t length,
                                             uint32_t bound, struct websocket_request *request)
{
    const char *end = memmem(bytes, length < bound ? length : bound, "\r\n\r\n", 4);
    if (end == NULL) {
        /* Whoever speaks something else, MQTT itself most of all, is told at once. */
        const bool begins = length == 0 || (bytes[0] >= 'A' && bytes[0] <= 'Z');
        return !begins           ? WEBSOCKET_REFUSED_request
               : length >= bound ? WEBSOCKET_REFUSED_too_large
                                 : WEBSOCKET_INCOMPLETE;
    }
    const uint32_t header = (uint32_t)(end - bytes) + 2; /* with the end of its last line */
    request->length = header + 2;
    return is_clean(bytes, header) ? request_judge(listener, (struct text){bytes, header}, request)
                                   : WEBSOCKET_REFUSED_request;
}

/* ---- The answer ------------------------------------------------------------------------------------------------- */

static uint32_t accept_write(char to[WEBSOCKET_ANSWER_MAX], const struct websocket_request *request)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    struct sha1_ctx hash;
    uint8_t digest[SHA1_DIGEST_SIZE];
    char accept[ACCEPT_LENGTH];
    sha1_init(&hash);
    sha1_update(&hash, KEY_LENGTH, (const uint8_t *)request->key);
    sha1_update(&hash, sizeof(guid) - 1, (const uint8_t *)guid);
    sha1_digest(&hash, sizeof(digest), digest);
    base64_encode_raw(accept, sizeof(digest), digest);
    return (uint32_t)snprintf(to, WEBSOCKET_ANSWER_MAX,
                              "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: %.*s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
                              ACCEPT_LENGTH, accept, request->subprotocol);
}

struct refusal {
    const char *status, *headers, *text;
};

static const struct refusal refusals[WEBSOCKET_ANSWERS] = {
#define WEBSOCKET_REFUSAL(name, status, headers, text) [WEBSOCKET_REFUSED_##name] = {status, headers, text},
#include "dataplane/websocket_refusals.def"
#undef WEBSOCKET_REFUSAL
};

static uint32_t refusal_write(char to[WEBSOCKET_ANSWER_MAX], const struct refusal *refusal, const char *path)
{
    char body[BODY_MAX];
    const char *place = strstr(refusal->text, "%s");
    const int before = place == NULL ? (int)strlen(refusal->text) : (int)(place - refusal->text);
    const int length = snprintf(body, sizeof(body), "%.*s%s%s", before, refusal->text, place == NULL ? "" : path,
                                place == NULL ? "" : place + 2);
    return (uint32_t)snprintf(to, WEBSOCKET_ANSWER_MAX,
                              "HTTP/1.1 %s\r\n%sConnection: close\r\nContent-Type: text/plain\r\n"
                              "Content-Length: %d\r\n\r\n%s",
                              refusal->status, refusal->headers, length, body);
}

uint32_t websocket_answer_write(char to[WEBSOCKET_ANSWER_MAX], enum websocket_answer answer,
                                const struct shm_listener *listener, const struct websocket_request *request)
{
    return answer == WEBSOCKET_ACCEPTED ? accept_write(to, request)
                                        : refusal_write(to, &refusals[answer], listener->path);
}
