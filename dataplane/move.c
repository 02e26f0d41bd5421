/* Handing connections from worker to worker. See move.h. */
#include "dataplane/move.h"

#include <string.h>

#include "dataplane/client.h"
#include "dataplane/directory.h"
#include "dataplane/login.h"
#include "dataplane/worker.h"

bool client_move(struct worker *worker, struct client *client, uint32_t to, const struct client_id_key *id)
{
    const uint32_t partial_length = client->partial == NULL ? 0 : client->partial->length;
    const uint32_t login_length = login_packed_size(client);
    struct moved_client *moved = mem_alloc(worker->memory, sizeof(*moved) + partial_length + login_length);
    if (moved == NULL) {
        return false;
    }
    *moved = (struct moved_client){
        .listener = client->listener,
        .id = *id,
        .from = worker->index,
        .partial_length = partial_length,
        .login_length = login_length,
    };
    if (client->over_websocket) {
        moved->websocket = client->websocket[0];
    }
    login_pack(client, moved->partial + partial_length);
    if (partial_length > 0) {
        memcpy(moved->partial, client->partial->bytes, partial_length);
    }
    /* Room first: once the connection has left the stack there is no way back. */
    if (!mailbox_has_room(worker->to[to], 1) || !tcp_move_away(client->tcp, to, &moved->tcp)) {
        mem_free(worker->memory, moved);
        return false;
    }
    tcp_set_user(client->tcp, NULL); /* its `closed` callback is nobody's business any more */
    mailbox_put(worker->to[to], (struct mail){.type = MAIL_CONNECTION, .block = moved});
    worker->counters.connections_moved++;
    client_forget(worker, client);
    return true;
}

/* A CONNECT that was collected on the other worker. False: no memory. */
static bool partial_arrive(struct worker *worker, struct client *client, const struct moved_client *moved)
{
    const uint32_t length = moved->partial_length;
    if (length > 0) {
        client->partial = mem_alloc(worker->memory, sizeof(*client->partial) + length);
        if (client->partial == NULL) {
            return false;
        }
        client->partial->length = client->partial->have = length;
        memcpy(client->partial->bytes, moved->partial, length);
    }
    return true;
}

void client_arrive(struct worker *worker, const struct moved_client *moved)
{
    struct tcp_connection *tcp = tcp_move_here(worker->net, &moved->tcp, worker->now);
    if (tcp == NULL) {
        worker->counters.closed_limit++;
        directory_disown(worker, &moved->id, 1);
        client_moved_end(worker, moved->from, tcp_moved_flow(&moved->tcp), TCP_CLOSE_ABORTED);
        return;
    }
    struct client *client = client_create(worker, tcp, &worker->listeners[moved->listener], true);
    if (client == NULL) {
        directory_disown(worker, &moved->id, 1);
        client_moved_end(worker, moved->from, tcp_moved_flow(&moved->tcp), TCP_CLOSE_ABORTED);
        return;
    }
    client->moved_from = (uint8_t)(moved->from + 1);
    if (client->over_websocket) {
        client->websocket[0] = moved->websocket;
        client->websocket->frame_end = NULL; /* all that was sent there is acknowledged */
    }
    if (!partial_arrive(worker, client, moved) ||
        !login_unpack(worker, client, moved->partial + moved->partial_length, moved->login_length)) {
        worker->counters.closed_no_memory++;
        directory_disown(worker, &moved->id, 1);
        client_drop(worker, client, MQTT_REASON_QUOTA_EXCEEDED);
        return;
    }
    client->claim_granted = true;
    client_read(worker, client);
}

void client_moved_end(struct worker *worker, uint32_t from, const struct net_flow *flow, enum tcp_close_reason reason)
{
    struct moved_end *block = mem_alloc(worker->memory, sizeof(*block));
    if (block == NULL) {
        return; /* the other worker's record stays, one of as many as it has connections */
    }
    *block = (struct moved_end){.flow = *flow, .reason = reason};
    if (!mailbox_post(worker->to[from], worker->memory, (struct mail){.type = MAIL_CONNECTION_END, .block = block})) {
        mem_free(worker->memory, block);
    }
}
