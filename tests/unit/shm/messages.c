/* Messages between the processes: each field that could lead astray is refused. */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/shm/messages.h"

TestSuite(messages, .timeout = 10);

static struct shm_reply record(uint16_t type)
{
    struct shm_reply reply = {.id = 1, .type = type, .status = SHM_REPLY_RECORD};
    if (type == SHM_REQUEST_CLIENTS) {
        reply.client.handle = 1;
        reply.client.protocol = 4;
    }
    if (type == SHM_REQUEST_CAPTURE)
        reply.capture = (struct shm_capture_record){.workers = 2, .slots = 1024};
    return reply;
}

#define EXPECT_REPLY(type, statement)                                               \
    do {                                                                            \
        struct shm_reply reply = record(type);                                      \
        cr_assert_eq(shm_reply_check(&reply, NULL), 0);                             \
        statement;                                                                  \
        struct shm_error error = {""};                                              \
        cr_assert_eq(shm_reply_check(&reply, &error), -1, "accepted: " #statement); \
        cr_assert(error.text[0] != '\0');                                           \
    } while (0)

Test(messages, refuses_replies_that_can_not_be)
{
    EXPECT_REPLY(SHM_REQUEST_CLIENTS, reply.id = 0);
    EXPECT_REPLY(SHM_REQUEST_CLIENTS, reply.type = SHM_REQUEST_TYPE_MAX + 1);
    EXPECT_REPLY(SHM_REQUEST_CLIENTS, reply.type = SHM_REQUEST_PING);
    EXPECT_REPLY(SHM_REQUEST_CLIENTS, reply.status = 0);
    EXPECT_REPLY(SHM_REQUEST_CLIENTS, reply.status = 4);
    EXPECT_REPLY(SHM_REQUEST_CLIENTS, reply.client.id_length = SHM_CLIENT_ID_MAX + 1);
    EXPECT_REPLY(SHM_REQUEST_CLIENTS, reply.client.username_length = UINT16_MAX);
    EXPECT_REPLY(SHM_REQUEST_CLIENTS, reply.client.flags = 1u << 31);
    EXPECT_REPLY(SHM_REQUEST_CLIENTS, reply.client.handle = 0);
    EXPECT_REPLY(SHM_REQUEST_CLIENTS, reply.client.protocol = 6);
    EXPECT_REPLY(SHM_REQUEST_CLIENTS, reply.client.worker = SHM_WORKERS_MAX);
    EXPECT_REPLY(SHM_REQUEST_CLIENTS, reply.client.peer.address.family = 5);
    EXPECT_REPLY(SHM_REQUEST_CONNECTIONS, reply.connection.state = SHM_TCP_STATE_MAX + 1);
    EXPECT_REPLY(SHM_REQUEST_CONNECTIONS, reply.connection.client_id_length = SHM_CLIENT_ID_MAX + 1);
    EXPECT_REPLY(SHM_REQUEST_CONNECTIONS, reply.connection.local.address.family = 1);
    EXPECT_REPLY(SHM_REQUEST_CONNECTIONS, reply.connection.remote.address.prefix = 129);
    EXPECT_REPLY(SHM_REQUEST_PORTS, reply.port.address_count = SHM_PORT_ADDRESSES_MAX + 1);
    EXPECT_REPLY(SHM_REQUEST_PORTS, reply.port.link = 3);
    EXPECT_REPLY(SHM_REQUEST_PORTS, reply.port.offloads = SHM_OFFLOADS_ALL + 1);
    EXPECT_REPLY(SHM_REQUEST_PORTS, memset(reply.port.name, 'x', sizeof reply.port.name));
    EXPECT_REPLY(SHM_REQUEST_PORTS, memset(reply.port.device, 'x', sizeof reply.port.device));
    EXPECT_REPLY(SHM_REQUEST_PORTS, reply.port.driver[0] = '\x1b');
    EXPECT_REPLY(SHM_REQUEST_LISTENERS, reply.listener.protocol = 9);
    EXPECT_REPLY(SHM_REQUEST_LISTENERS, memset(reply.listener.name, 'x', sizeof reply.listener.name));
    EXPECT_REPLY(SHM_REQUEST_WORKERS, reply.worker.worker = SHM_WORKERS_MAX);
    EXPECT_REPLY(SHM_REQUEST_WORKERS, reply.worker.busy_permille = 1001);
    EXPECT_REPLY(SHM_REQUEST_WORKERS, reply.worker.core = SHM_CORE_MAX + 1);
    EXPECT_REPLY(SHM_REQUEST_CAPTURE, reply.capture.workers = 0);
    EXPECT_REPLY(SHM_REQUEST_CAPTURE, reply.capture.workers = SHM_WORKERS_MAX + 1);
    EXPECT_REPLY(SHM_REQUEST_CAPTURE, reply.capture.slots = 0);
    EXPECT_REPLY(SHM_REQUEST_CAPTURE, reply.capture.slots = 3);
    EXPECT_REPLY(SHM_REQUEST_CAPTURE, reply.capture.slots = SHM_RING_SLOTS_MAX * 2);
    EXPECT_REPLY(SHM_REQUEST_CENSUS, memset(reply.census.name, 'x', sizeof reply.census.name));
    EXPECT_REPLY(SHM_REQUEST_CENSUS, reply.census.worker = 64);
}

Test(messages, error_texts_are_terminated)
{
    struct shm_reply reply = {.id = 1, .type = SHM_REQUEST_KICK, .status = SHM_REPLY_ERROR};
    cr_assert_eq(shm_reply_check(&reply, NULL), 0);
    memset(reply.bytes, 'x', sizeof reply.bytes);
    cr_assert_eq(shm_reply_check(&reply, NULL), -1);
}

#define EXPECT_REQUEST(request_type, statement)                                                             \
    do {                                                                                                    \
        struct shm_request request = {.id = 1, .type = request_type, .limit = 1};                           \
        if (request_type == SHM_REQUEST_KICK)                                                               \
            request.kick.handle = 1;                                                                        \
        if (request_type == SHM_REQUEST_CAPTURE)                                                            \
            request.capture = (struct shm_capture_arguments){                                               \
                .action = SHM_CAPTURE_START, .direction = SHM_CAPTURE_BOTH, .snap_length = 1, .time_s = 1}; \
        cr_assert_eq(shm_request_check(&request, NULL), 0);                                                 \
        statement;                                                                                          \
        cr_assert_eq(shm_request_check(&request, NULL), -1, "accepted: " #statement);                       \
    } while (0)

Test(messages, refuses_requests_that_can_not_be)
{
    EXPECT_REQUEST(SHM_REQUEST_CLIENTS, request.id = 0);
    EXPECT_REQUEST(SHM_REQUEST_CLIENTS, request.type = 0);
    EXPECT_REQUEST(SHM_REQUEST_CLIENTS, request.type = SHM_REQUEST_TYPE_MAX + 1);
    EXPECT_REQUEST(SHM_REQUEST_CLIENTS, request.limit = 0);
    EXPECT_REQUEST(SHM_REQUEST_CLIENTS, request.limit = SHM_PAGE_MAX + 1);
    EXPECT_REQUEST(SHM_REQUEST_CLIENTS, request.list.id_prefix_length = SHM_CLIENT_ID_MAX + 1);
    EXPECT_REQUEST(SHM_REQUEST_CLIENTS, request.list.worker = SHM_WORKERS_MAX);
    EXPECT_REQUEST(SHM_REQUEST_KICK, request.kick.id_length = SHM_KICK_ID_MAX + 1);
    EXPECT_REQUEST(SHM_REQUEST_KICK, request.kick.handle = 0);
    EXPECT_REQUEST(SHM_REQUEST_CAPTURE, request.capture.action = 0);
    EXPECT_REQUEST(SHM_REQUEST_CAPTURE, request.capture.action = SHM_CAPTURE_STOP + 1);
    EXPECT_REQUEST(SHM_REQUEST_CAPTURE, request.capture.direction = 0);
    EXPECT_REQUEST(SHM_REQUEST_CAPTURE, request.capture.direction = SHM_CAPTURE_BOTH + 1);
    EXPECT_REQUEST(SHM_REQUEST_CAPTURE, request.capture.snap_length = 0);
    EXPECT_REQUEST(SHM_REQUEST_CAPTURE, request.capture.snap_length = SHM_CAPTURE_SNAP_MAX + 1);
    EXPECT_REQUEST(SHM_REQUEST_CAPTURE, request.capture.time_s = 0);
    EXPECT_REQUEST(SHM_REQUEST_CAPTURE, request.capture.port = 65536);
    EXPECT_REQUEST(SHM_REQUEST_CAPTURE, request.capture.id_length = SHM_KICK_ID_MAX + 1);
    EXPECT_REQUEST(SHM_REQUEST_CAPTURE, request.capture.address.family = 5);
    EXPECT_REQUEST(SHM_REQUEST_CAPTURE, (request.capture.address.family = 4, request.capture.address.prefix = 33));
}
