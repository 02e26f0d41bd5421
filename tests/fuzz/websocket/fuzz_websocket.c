/*
 * Fuzz target of MQTT over WebSocket: any bytes are a request, or frames.
 *
 * The first byte says which: 0: a request, else frames, cut into runs of so many bytes. What comes out of frames must
 * not depend on how they are cut; a request that is taken must have been incomplete up to its last byte, and what it is
 * answered must fit. A violation ends the program, which libFuzzer and the corpus replay both report.
 */
#include <stdlib.h>
#include <string.h>

#include "dataplane/websocket_frame.h"
#include "dataplane/websocket_handshake.h"
#include "tests/fuzz/fuzz.h"

enum { BOUND = 600 };

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* ---- Requests --------------------------------------------------------------------------------------------------- */

static const struct shm_listener listener = {.path = "/mqtt", .origin_count = 1, .origins = {"https://example.org"}};

/* From memory of exactly that size, so that reading beyond it is seen. */
static enum websocket_answer request_read(const uint8_t *data, uint32_t length, struct websocket_request *request)
{
    char *copy = malloc(length > 0 ? length : 1);
    require(copy != NULL);
    memcpy(copy, data, length);
    const enum websocket_answer answer = websocket_request_read(&listener, copy, length, BOUND, request);
    if (answer != WEBSOCKET_INCOMPLETE) {
        char text[WEBSOCKET_ANSWER_MAX];
        require(websocket_answer_write(text, answer, &listener, request) < WEBSOCKET_ANSWER_MAX);
    }
    free(copy);
    return answer;
}

static void request_fuzz(const uint8_t *data, uint32_t size)
{
    struct websocket_request request;
    if (request_read(data, size, &request) != WEBSOCKET_ACCEPTED)
        return;
    const uint32_t whole = request.length;
    require(whole <= size && whole <= BOUND);
    for (uint32_t length = 0; length < whole; length++)
        require(request_read(data, length, &request) == WEBSOCKET_INCOMPLETE);
    require(request_read(data, whole, &request) == WEBSOCKET_ACCEPTED && request.length == whole);
}

/* ---- Frames ----------------------------------------------------------------------------------------------------- */

static uint32_t frames_read(struct websocket_reader *reader, const uint8_t *data, uint32_t size, uint32_t run,
                            uint8_t *payload)
{
    uint32_t kept = 0;
    for (uint32_t at = 0; at < size; at += run) {
        const uint32_t here = size - at < run ? size - at : run;
        uint8_t *copy = malloc(here);
        require(copy != NULL);
        memcpy(copy, data + at, here);
        const uint32_t n = websocket_read(reader, copy, here);
        require(n <= here);
        memcpy(payload + kept, copy, n);
        kept += n;
        free(copy);
    }
    return kept;
}

static void frames_fuzz(const uint8_t *data, uint32_t size, uint32_t run)
{
    struct websocket_reader whole = {.left = 0}, cut = {.left = 0};
    uint8_t *payload = malloc(size + 1), *again = malloc(size + 1);
    require(payload != NULL && again != NULL);
    const uint32_t length = frames_read(&whole, data, size, size, payload);
    require(frames_read(&cut, data, size, run, again) == length && memcmp(payload, again, length) == 0);
    require(whole.fault == cut.fault && whole.ended == cut.ended && whole.pong_due == cut.pong_due &&
            whole.left == cut.left && whole.in_message == cut.in_message &&
            whole.control_length == cut.control_length && whole.control_length <= WEBSOCKET_CONTROL_MAX &&
            memcmp(whole.control, cut.control, whole.control_length) == 0);
    require(!whole.ended || websocket_read(&whole, again, size) == 0);
    require(websocket_fault_code(whole.fault) >= 1000);
    require(!whole.ended || whole.fault != WEBSOCKET_FAULT_NONE || websocket_close_answer(&whole) >= 1000);
    free(payload);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 1 << 20)
        return 0;
    if (data[0] == 0)
        request_fuzz(data + 1, (uint32_t)size - 1);
    else
        frames_fuzz(data + 1, (uint32_t)size - 1, data[0]);
    return 0;
}
