/* MQTT over WebSocket, as clients speak it. See websocket.h. */
#include "tests/sim/router/websocket.h"

#include <string.h>

#include "tests/sim/router/device.h"

static const char request[] = "GET /mqtt HTTP/1.1\r\nHost: router\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Protocol: mqtt\r\n\r\n";
static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                             "Sec-WebSocket-Protocol: mqtt\r\n\r\n";

void websocket_ask(struct connection *connection)
{
    memcpy(buffer_grow(&connection->out, sizeof(request) - 1), request, sizeof(request) - 1);
}

static void frame_append(struct connection *connection, uint8_t first, const uint8_t *bytes, uint32_t length)
{
    struct world *world = connection->device->world;
    const uint32_t extension = length < 126 ? 0 : length < 65536 ? 2 : 8, random = (uint32_t)world_random(world);
    uint8_t *at = buffer_grow(&connection->out, 6 + extension + length), mask[4];
    memcpy(mask, &random, sizeof(mask));
    *at++ = first;
    *at++ = (uint8_t)(0x80 | (extension == 0 ? length : extension == 2 ? 126 : 127));
    for (uint32_t i = extension; i > 0; i--) {
        *at++ = (uint8_t)((uint64_t)length >> (8 * (i - 1)));
    }
    memcpy(at, mask, sizeof(mask));
    for (uint32_t i = 0; i < length; i++) {
        at[4 + i] = bytes[i] ^ mask[i % 4];
    }
}

static uint32_t part_length(struct world *world, uint32_t left)
{
    const uint32_t bound = world_chance(world, 30) ? 8 : world_chance(world, 50) ? 300 : UINT32_MAX;
    return world_below(world, left < bound ? left + 1 : bound);
}

void websocket_wrap(struct connection *connection, const uint8_t *bytes, uint32_t length)
{
    struct world *world = connection->device->world;
    bool in_message = false;
    while (length > 0 || in_message) {
        const uint32_t part = world_chance(world, 60) ? length : part_length(world, length);
        const bool last = part == length || world_chance(world, 50);
        frame_append(connection, (uint8_t)((last ? 0x80 : 0) | (in_message ? 0 : 2)), bytes, part);
        in_message = !last;
        bytes += part;
        length -= part;
        if (world_chance(world, 3)) {
            frame_append(connection, 0x89, (const uint8_t *)request, world_below(world, 126));
            connection->pings++;
        }
    }
}

/* Of one whole frame of the router's; what it has in front of its payload. 0: it is not whole yet. */
static uint32_t frame_header(struct connection *connection, const uint8_t *at, uint32_t have, uint64_t *length)
{
    if (have < 2) {
        return 0;
    }
    const uint32_t extension = at[1] == 127 ? 8 : at[1] == 126 ? 2 : 0;
    if (have < 2 + extension) {
        return 0;
    }
    *length = extension == 0 ? at[1] : 0;
    for (uint32_t i = 0; i < extension; i++) {
        *length = *length << 8 | at[2 + i];
    }
    if (at[1] >= 0x80 || (extension == 2 && *length < 126) || (extension == 8 && *length < 65536)) {
        world_fail(connection->device->world, "%s: a frame with a mask, or of a length in a longer form than it needs",
                   connection->device->id);
        return 0;
    }
    return have - 2 - extension < *length ? 0 : 2 + extension;
}

static void frame_received(struct connection *connection, uint8_t first, const uint8_t *payload, uint32_t length)
{
    struct device *device = connection->device;
    if (connection->close_code != 0) {
        world_fail(device->world, "%s: a frame behind the close frame", device->id);
    } else if (first == 0x82 && length > 0) {
        memcpy(buffer_grow(&connection->in, length), payload, length);
        connection->frames++;
    } else if (first == 0x8a && length < 126 && connection->pings > 0 && memcmp(payload, request, length) == 0) {
        connection->pings--;
    } else if (first == 0x88 && length >= 2) {
        connection->close_code = (uint16_t)(payload[0] << 8 | payload[1]);
    } else {
        world_fail(device->world, "%s: a frame %02x of %u bytes", device->id, first, length);
    }
}

/* The request did not arrive in time, since packets were lost: what is left of the connection is its end. */
static bool is_late(const struct connection *connection)
{
    static const char late[] = "HTTP/1.1 408 ";
    const struct world *world = connection->device->world;
    return connection->wire.length >= sizeof(late) - 1 && memcmp(connection->wire.data, late, sizeof(late) - 1) == 0 &&
           world->now - connection->opened_at >= world->config.mqtt.connect_timeout_s * UINT64_C(1000000);
}

static bool answer_take(struct connection *connection)
{
    if (is_late(connection)) {
        return false;
    }
    const uint32_t length = sizeof(answer) - 1;
    const uint32_t have = connection->wire.length < length ? connection->wire.length : length;
    if (memcmp(connection->wire.data, answer, have) != 0) {
        world_fail(connection->device->world, "%s: the router answers with %.*s", connection->device->id, (int)have,
                   (const char *)connection->wire.data);
        return false;
    }
    if (have < length) {
        return false;
    }
    connection->upgraded = true;
    buffer_cut(&connection->wire, length);
    return true;
}

void websocket_unwrap(struct connection *connection)
{
    uint64_t length;
    uint32_t used = 0, header;
    if (connection->wire.length == 0 || (!connection->upgraded && !answer_take(connection))) {
        return;
    }
    while ((header = frame_header(connection, connection->wire.data + used, connection->wire.length - used, &length)) !=
           0) {
        const uint8_t *at = connection->wire.data + used;
        frame_received(connection, at[0], at + header, (uint32_t)length);
        used += header + (uint32_t)length;
    }
    buffer_cut(&connection->wire, used);
}
