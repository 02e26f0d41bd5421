/*
 * One handler for each packet that a client may send: CONNECT in connect.c, AUTH in login.c, PUBLISH and its
 * acknowledgements in publish.c, SUBSCRIBE and UNSUBSCRIBE in subscribe.c. `body` has header->remaining_length bytes.
 * Called by client.c on the worker that owns the connection; enum packet_result says what became of the packet.
 */
#ifndef POLLUX_DATAPLANE_HANDLERS_H
#define POLLUX_DATAPLANE_HANDLERS_H

#include "dataplane/client.h"
#include "dataplane/directory.h"

enum packet_result connect_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                  const uint8_t *body);
/* CONNACK with a reason code (before 5.0: the return code nearest to it), and the end. Returns PACKET_CLOSED. */
enum packet_result connect_refuse(struct worker *worker, struct client *client, uint8_t reason);
/* The same for a client whose claim to its identifier was not granted, DIRECTORY_FULL or DIRECTORY_BUSY; counted. */
enum packet_result connect_refuse_claim(struct worker *worker, struct client *client, enum directory_answer answer);
enum packet_result disconnect_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                     const uint8_t *body);
enum packet_result auth_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                               const uint8_t *body);
enum packet_result publish_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                  const uint8_t *body);
/* A run of `count` PUBLISH packets, of which this is the first (run.h). */
enum packet_result publish_handle_run(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                      const uint8_t *body, uint32_t count);
enum packet_result puback_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                 const uint8_t *body);
enum packet_result pubrec_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                 const uint8_t *body);
enum packet_result pubrel_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                 const uint8_t *body);
enum packet_result pubcomp_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                  const uint8_t *body);
enum packet_result subscribe_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                    const uint8_t *body);
enum packet_result unsubscribe_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                      const uint8_t *body);

#endif
