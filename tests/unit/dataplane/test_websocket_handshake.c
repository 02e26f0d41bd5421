/* dataplane/websocket_handshake.h: which requests become a WebSocket, and what the others are told. */
#include <stdio.h>
#include <string.h>

#include "dataplane/websocket_handshake.h"
#include "tests/unit/dataplane/support.h"

enum { BOUND = 1024 };

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define REST                                                                                            \
    "Host: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" KEY "Sec-WebSocket-Version: 13\r\n" \
    "Sec-WebSocket-Protocol: mqtt\r\n"

static const struct shm_listener listener = {.name = "web", .path = "/mqtt"};

static enum websocket_answer answer_to(const struct shm_listener *to, const char *request)
{
    struct websocket_request read = {0};
    const enum websocket_answer answer = websocket_request_read(to, request, (uint32_t)strlen(request), BOUND, &read);
    if (answer == WEBSOCKET_ACCEPTED) {
        cr_expect_eq(read.length, strstr(request, "\r\n\r\n") + 4 - request);
    }
    return answer;
}

Test(websocket_handshake, accepted)
{
    static const char request[] = "GET /mqtt HTTP/1.1\r\n" REST "\r\nframes";
    struct websocket_request read;
    char text[WEBSOCKET_ANSWER_MAX];
    cr_assert_eq(websocket_request_read(&listener, request, sizeof(request) - 1, BOUND, &read), WEBSOCKET_ACCEPTED);
    cr_expect_eq(read.length, sizeof(request) - 1 - 6, "what follows is not of the request");
    const uint32_t length = websocket_answer_write(text, WEBSOCKET_ACCEPTED, &listener, &read);
    static const char wanted[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                                 "Sec-WebSocket-Protocol: mqtt\r\n\r\n"; /* of RFC 6455 section 1.3 */
    cr_expect_eq(length, sizeof(wanted) - 1);
    cr_expect_eq(memcmp(text, wanted, length), 0, "%.*s", (int)length, text);
}

Test(websocket_handshake, written_in_other_ways)
{
    static const char *const requests[] = {
        "GET /mqtt?token=x HTTP/1.1\r\n" REST "\r\n",
        "GET http://broker:8083/mqtt HTTP/1.1\r\n" REST "\r\n",
        "GET /mqtt HTTP/1.1\r\nhost:broker\r\nUPGRADE: h2c, WebSocket \r\nconnection: keep-alive,  upgrade\r\n" KEY
        "sec-websocket-version:\t13\r\nSec-WebSocket-Protocol: chat, mqttv3.1\r\nSec-WebSocket-Protocol:mqtt\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\nUser-Agent: caf\xc3\xa9\r\nContent-Length: 0\r\n\r\n",
    };
    for (uint32_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        cr_expect_eq(answer_to(&listener, requests[i]), WEBSOCKET_ACCEPTED, "request %u", i);
    }
}

Test(websocket_handshake, clients_of_mqtt_3_1_get_the_name_they_offer)
{
    static const char request[] = "GET /mqtt HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" KEY
                                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqttv3.1\r\n\r\n";
    struct websocket_request read;
    cr_assert_eq(websocket_request_read(&listener, request, sizeof(request) - 1, BOUND, &read), WEBSOCKET_ACCEPTED);
    cr_expect_str_eq(read.subprotocol, "mqttv3.1");
}

Test(websocket_handshake, incomplete_until_its_last_byte)
{
    static const char request[] = "GET /mqtt HTTP/1.1\r\n" REST "\r\n";
    struct websocket_request read;
    for (uint32_t length = 0; length < sizeof(request) - 1; length++) {
        cr_expect_eq(websocket_request_read(&listener, request, length, BOUND, &read), WEBSOCKET_INCOMPLETE, "%u",
                     length);
    }
    cr_expect_eq(websocket_request_read(&listener, request, sizeof(request) - 1, BOUND, &read), WEBSOCKET_ACCEPTED);
}

#define FIELDS "Host: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
#define LAST "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"

Test(websocket_handshake, refusals)
{
    static const struct {
        const char *request;
        enum websocket_answer answer;
    } cases[] = {
        {"\x10\x0c", WEBSOCKET_REFUSED_request},     /* MQTT itself */
        {"\x16\x03\x01", WEBSOCKET_REFUSED_request}, /* TLS */
        {"GET /mqtt\r\n\r\n", WEBSOCKET_REFUSED_request},
        {"GET /mqtt HTTP/1.1\r\n\r\n", WEBSOCKET_REFUSED_request}, /* no Host */
        {"GET  HTTP/1.1\r\n" REST "\r\n", WEBSOCKET_REFUSED_request},
        {"GET /mqtt HTTP/1.1\r\nHost: other\r\n" REST "\r\n", WEBSOCKET_REFUSED_request},
        {"GET /mqtt HTTP/1.1\r\n" KEY REST "\r\n", WEBSOCKET_REFUSED_request},
        {"GET /mqtt HTTP/1.1\r\nSec-WebSocket-Version: 13\r\n" REST "\r\n", WEBSOCKET_REFUSED_request},
        {"GET /mqtt HTTP/1.1\r\n" REST "Content-Length: 5\r\n\r\n", WEBSOCKET_REFUSED_request},
        {"GET /mqtt HTTP/1.1\r\n" REST "Transfer-Encoding: chunked\r\n\r\n", WEBSOCKET_REFUSED_request},
        {"GET /mqtt HTTP/1.1\r\n" REST " folded\r\n\r\n", WEBSOCKET_REFUSED_request},
        {"GET /mqtt HTTP/1.1\r\n" REST "no colon\r\n\r\n", WEBSOCKET_REFUSED_request},
        {"GET /mqtt HTTP/1.1\r\n" REST "A: bare\nline feed\r\n\r\n", WEBSOCKET_REFUSED_request},
        {"GET /mqtt HTTP/1.1\r\n" REST "A: \x01\r\n\r\n", WEBSOCKET_REFUSED_request},
        {"GET /mqtt HTTP/1.0\r\n" REST "\r\n", WEBSOCKET_REFUSED_version},
        {"POST /mqtt HTTP/1.1\r\n" REST "\r\n", WEBSOCKET_REFUSED_method},
        {"GET / HTTP/1.1\r\n" REST "\r\n", WEBSOCKET_REFUSED_path},
        {"GET /mqtt/ HTTP/1.1\r\n" REST "\r\n", WEBSOCKET_REFUSED_path},
        {"GET http://broker HTTP/1.1\r\n" REST "\r\n", WEBSOCKET_REFUSED_path},
        {"GET /mqtt HTTP/1.1\r\nHost: b\r\n\r\n", WEBSOCKET_REFUSED_upgrade},
        {"GET /mqtt HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\n" KEY LAST, WEBSOCKET_REFUSED_upgrade},
        {"GET /mqtt HTTP/1.1\r\nHost: b\r\nUpgrade: websockets\r\nConnection: Upgrade\r\n" KEY LAST,
         WEBSOCKET_REFUSED_upgrade},
        {"GET /mqtt HTTP/1.1\r\n" FIELDS KEY "Sec-WebSocket-Protocol: mqtt\r\n\r\n",
         WEBSOCKET_REFUSED_protocol_version},
        {"GET /mqtt HTTP/1.1\r\n" FIELDS KEY "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
         WEBSOCKET_REFUSED_protocol_version},
        {"GET /mqtt HTTP/1.1\r\n" FIELDS LAST, WEBSOCKET_REFUSED_key},
        {"GET /mqtt HTTP/1.1\r\n" FIELDS "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n" LAST, WEBSOCKET_REFUSED_key},
        {"GET /mqtt HTTP/1.1\r\n" FIELDS "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q==\r\n" LAST, WEBSOCKET_REFUSED_key},
        {"GET /mqtt HTTP/1.1\r\n" FIELDS "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\r\n" LAST, WEBSOCKET_REFUSED_key},
        {"GET /mqtt HTTP/1.1\r\n" FIELDS KEY "Sec-WebSocket-Version: 13\r\n\r\n", WEBSOCKET_REFUSED_subprotocol},
        {"GET /mqtt HTTP/1.1\r\n" FIELDS KEY "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: MQTT, chat\r\n\r\n",
         WEBSOCKET_REFUSED_subprotocol},
    };
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_expect_eq(answer_to(&listener, cases[i].request), cases[i].answer, "case %u", i);
    }
}

Test(websocket_handshake, pages_of_other_origins)
{
    static const struct shm_listener some = {
        .path = "/mqtt", .origin_count = 2, .origins = {"https://example.org", "http://localhost:8000"}};
    static const char none[] = "GET /mqtt HTTP/1.1\r\n" REST "\r\n";
    static const char listed[] = "GET /mqtt HTTP/1.1\r\nOrigin: HTTPS://Example.org\r\n" REST "\r\n";
    static const char other[] = "GET /mqtt HTTP/1.1\r\nOrigin: https://example.org.evil.com\r\n" REST "\r\n";
    cr_expect_eq(answer_to(&some, none), WEBSOCKET_ACCEPTED, "no browser");
    cr_expect_eq(answer_to(&some, listed), WEBSOCKET_ACCEPTED);
    cr_expect_eq(answer_to(&some, other), WEBSOCKET_REFUSED_origin);
    cr_expect_eq(answer_to(&listener, other), WEBSOCKET_ACCEPTED, "a listener without a list");
}

Test(websocket_handshake, a_header_has_a_bound)
{
    static char request[2 * BOUND];
    struct websocket_request read;
    const int start = snprintf(request, sizeof(request), "GET /mqtt HTTP/1.1\r\n" REST "X: ");
    memset(request + start, 'x', sizeof(request) - (size_t)start);
    cr_expect_eq(websocket_request_read(&listener, request, BOUND - 1, BOUND, &read), WEBSOCKET_INCOMPLETE);
    cr_expect_eq(websocket_request_read(&listener, request, BOUND, BOUND, &read), WEBSOCKET_REFUSED_too_large);
    memcpy(request + BOUND - 4, "\r\n\r\n", 4);
    cr_expect_eq(websocket_request_read(&listener, request, BOUND, BOUND, &read), WEBSOCKET_ACCEPTED);
    cr_expect_eq(websocket_request_read(&listener, request, BOUND, BOUND - 1, &read), WEBSOCKET_REFUSED_too_large);
}

/* As browsers and curl read it: status line, headers, a body of the length that is announced. */
Test(websocket_handshake, a_refusal_is_a_whole_answer)
{
    static struct shm_listener longest = {.name = "web"};
    memset(longest.path, 'p', sizeof(longest.path) - 1);
    for (int answer = WEBSOCKET_ACCEPTED + 1; answer < WEBSOCKET_ANSWERS; answer++) {
        char text[WEBSOCKET_ANSWER_MAX];
        const uint32_t length = websocket_answer_write(text, answer, &longest, NULL);
        cr_assert_lt(length, sizeof(text), "answer %d", answer);
        const char *body = strstr(text, "\r\n\r\n"), *announced = strstr(text, "Content-Length: ");
        unsigned body_length = 0;
        cr_assert(body != NULL && announced != NULL && sscanf(announced, "Content-Length: %u", &body_length) == 1);
        cr_expect_eq(strlen(body + 4), body_length, "answer %d", answer);
        cr_expect(strncmp(text, "HTTP/1.1 4", 10) == 0 || strncmp(text, "HTTP/1.1 5", 10) == 0);
        cr_expect_eq(text[length - 1], '\n');
        cr_expect_eq(strchr(text, '%'), NULL);
    }
}
