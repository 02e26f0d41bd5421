/*
 * The client's half of MQTT over WebSocket, written apart from the router's: a simulated client's bytes are cut into
 * masked frames and fragments of any length with pings between them, and what comes back is held to RFC 6455.
 */
#ifndef TESTS_SIM_ROUTER_WEBSOCKET_H
#define TESTS_SIM_ROUTER_WEBSOCKET_H

#include <stdint.h>

struct connection;

/* The request, as the first thing in connection->out. */
void websocket_ask(struct connection *connection);

/* Appends the bytes in frames to connection->out. */
void websocket_wrap(struct connection *connection, const uint8_t *bytes, uint32_t length);

/* Moves what has come from connection->wire to connection->in. The world fails when it is not what it should be. */
void websocket_unwrap(struct connection *connection);

#endif
