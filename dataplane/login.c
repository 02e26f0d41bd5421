/* Logins and re-authentication: what the client says goes to control, what control decides is done. See login.h. */
#include "dataplane/login.h"

#include <string.h>

#include "dataplane/handlers.h"
#include "dataplane/worker.h"

enum { AUTH_ROOM = SHM_LOGIN_NAME_MAX + SHM_LOGIN_DATA_MAX + 64 }; /* bytes of an AUTH packet */

/* ---- What is known of it ------------------------------------------------------------------------------------------
 */

static struct mqtt_span method_of(const struct login *login)
{
    return (struct mqtt_span){login->bytes, login->method_length};
}

static struct mqtt_span user_of(const struct login *login)
{
    return (struct mqtt_span){login->bytes + login->method_length, login->user_length};
}

static bool span_equals(struct mqtt_span a, const uint8_t *bytes, uint32_t length)
{
    return a.length == length && (length == 0 || memcmp(a.data, bytes, length) == 0);
}

struct mqtt_span login_user(const struct client *client)
{
    const struct login *login = client->login;
    return login == NULL || !login->by_method ? (struct mqtt_span){NULL, 0} : user_of(login);
}

static const struct shm_login_verdict *verdict_of(const struct worker *worker, const struct login *login)
{
    return &worker->logins->slots[login->slot].verdict;
}

/* ---- Beginning and end --------------------------------------------------------------------------------------------
 */

static struct login *login_create(struct worker *worker, struct client *client, bool by_method, uint32_t size)
{
    struct login *login = mem_alloc_zero(worker->memory, sizeof(*login));
    if (login == NULL) {
        return NULL;
    }
    login->client = client;
    login->slot = LOGIN_SLOT_NONE;
    login->by_method = by_method;
    login->bytes = mem_alloc(worker->memory, size > 0 ? size : 1);
    timer_init(&login->timer, TIMER_KIND_LOGIN);
    client->login = login;
    return login;
}

/* It is not under way any more. */
static void login_rest(struct worker *worker, struct login *login)
{
    timer_cancel(&worker->wheel, &login->timer);
    if (login->slot != LOGIN_SLOT_NONE) {
        login_desk_close(worker->logins, login->slot);
        login->slot = LOGIN_SLOT_NONE;
    }
    login->stage = LOGIN_IDLE;
    login->answer_waits = false;
}

void login_forget(struct worker *worker, struct client *client)
{
    struct login *login = client->login;
    if (login != NULL) {
        login_rest(worker, login);
        mem_free(worker->memory, login->bytes);
        mem_free(worker->memory, login->connect);
        mem_free(worker->memory, login);
        client->login = NULL;
    }
}

void login_settle(struct worker *worker, struct client *client)
{
    if (client->login != NULL && !client->login->by_method) {
        login_forget(worker, client);
    }
}

/* ---- Asking control -----------------------------------------------------------------------------------------------
 */

/* Takes a slot for it, for as long as it may take. False: all are in use. */
static bool login_start(struct worker *worker, struct login *login)
{
    login->slot = login_desk_open(worker->logins, login);
    if (login->slot == LOGIN_SLOT_NONE) {
        worker->counters.logins_busy++;
        return false;
    }
    timer_set(&worker->wheel, &login->timer,
              worker->now + worker->config->authentication.timeout_s * UINT64_C(1000000));
    return true;
}

static void login_ask(struct worker *worker, struct login *login, enum shm_login_step step, struct mqtt_span name,
                      struct mqtt_span data)
{
    login->stage = LOGIN_ASKED;
    login_desk_ask(worker->logins, login->slot, step, name.data, name.length, data.data, data.length);
}

static struct mqtt_span data_of(const struct mqtt_properties *properties)
{
    return mqtt_property_is_present(properties, MQTT_PROPERTY_AUTHENTICATION_DATA) ? properties->authentication_data
                                                                                   : (struct mqtt_span){NULL, 0};
}

bool login_is_due(const struct worker *worker, const struct client *client, const struct mqtt_connect *connect)
{
    return worker->logins != NULL && client->login == NULL && !client->claim_granted &&
           (connect->has_user_name || connect->has_password ||
            mqtt_property_is_present(&connect->properties, MQTT_PROPERTY_AUTHENTICATION_METHOD));
}

/* The packet waits in memory of its own, with zeros for its password: AUTH packets come behind it. False: there is no
 * memory. */
static bool connect_keep(struct worker *worker, struct login *login, const struct mqtt_connect *connect,
                         const struct mqtt_header *header, const uint8_t *body)
{
    const uint32_t length = header->length + header->remaining_length;
    login->connect = mem_alloc(worker->memory, sizeof(*login->connect) + length);
    if (login->connect == NULL) {
        return false;
    }
    login->connect->length = login->connect->have = length;
    memcpy(login->connect->bytes, body - header->length, length);
    if (connect->password.length > 0) {
        memset(login->connect->bytes + header->length + (connect->password.data - body), 0, connect->password.length);
    }
    return true;
}

/* REQ MQTT-5 [MQTT-4.12.0-1]: unknown methods are refused with 0x8C [test: authentication/unknown_method] */
uint8_t login_begin(struct worker *worker, struct client *client, const struct mqtt_connect *connect,
                    const struct mqtt_header *header, const uint8_t *body)
{
    const struct mqtt_properties *properties = &connect->properties;
    const bool by_method = mqtt_property_is_present(properties, MQTT_PROPERTY_AUTHENTICATION_METHOD);
    const struct mqtt_span name = by_method ? properties->authentication_method : connect->user_name;
    const struct mqtt_span data = by_method ? data_of(properties) : connect->password;
    /* What is longer than a question can hold is nobody's. */
    if (name.length > SHM_LOGIN_NAME_MAX || data.length > SHM_LOGIN_DATA_MAX) {
        worker->counters.logins_denied++;
        return !by_method                         ? MQTT_REASON_BAD_USER_NAME_OR_PASSWORD
               : name.length > SHM_LOGIN_NAME_MAX ? MQTT_REASON_BAD_AUTHENTICATION_METHOD
                                                  : MQTT_REASON_NOT_AUTHORIZED;
    }
    struct login *login = login_create(worker, client, by_method, name.length);
    if (login == NULL || login->bytes == NULL || !connect_keep(worker, login, connect, header, body)) {
        worker->counters.closed_no_memory++;
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    if (!login_start(worker, login)) {
        return MQTT_REASON_SERVER_BUSY;
    }
    if (by_method) {
        memcpy(login->bytes, name.data, name.length);
        login->method_length = (uint16_t)name.length;
    }
    timer_cancel(&worker->wheel, &client->timer);
    client->state = CLIENT_ASKED;
    login_ask(worker, login, by_method ? SHM_LOGIN_BEGIN : SHM_LOGIN_PASSWORD, name, data);
    return MQTT_REASON_SUCCESS;
}

/* ---- AUTH to the client -------------------------------------------------------------------------------------------
 */

static void authentication_set(const struct login *login, struct mqtt_span data, struct mqtt_properties *properties)
{
    properties->authentication_method = method_of(login);
    mqtt_property_set(properties, MQTT_PROPERTY_AUTHENTICATION_METHOD);
    if (data.length > 0) {
        properties->authentication_data = data;
        mqtt_property_set(properties, MQTT_PROPERTY_AUTHENTICATION_DATA);
    }
}

/* REQ MQTT-5 [MQTT-4.12.0-5]: CONNACK carries the method of CONNECT [test: authentication/scram] */
void login_describe(const struct client *client, struct mqtt_properties *connack)
{
    const struct login *login = client->login;
    if (login != NULL && login->by_method) {
        const uint8_t *data = login->bytes + login->method_length + login->user_length;
        authentication_set(login, (struct mqtt_span){data, login->data_length}, connack);
    }
}

/* REQ MQTT-5 [MQTT-4.12.0-2]: the router asks for more by AUTH with 0x18 [test: authentication/scram] */
/* REQ MQTT-5 [MQTT-4.12.0-5]: AUTH carries the method of CONNECT [test: authentication/scram] */
/* REQ MQTT-5 [MQTT-3.15.2-2], [MQTT-3.15.2-3]: AUTH has neither reason string nor user properties [test: authentication/scram] */
/* False: the client does not read now. */
static bool auth_send(struct worker *worker, struct login *login, uint8_t reason)
{
    uint8_t packet[AUTH_ROOM];
    const struct shm_login_verdict *verdict = verdict_of(worker, login);
    struct mqtt_disconnect auth = {.reason = reason};
    authentication_set(login, (struct mqtt_span){verdict->data, verdict->data_length}, &auth.properties);
    const size_t size = mqtt_auth_size(&auth);
    if (!client_can_answer(worker, login->client, (uint32_t)size)) {
        login->answer_waits = true;
        return false;
    }
    login->answer_waits = false;
    mqtt_auth_encode(packet, &auth);
    client_send(worker, login->client, packet, size);
    return true;
}

/* ---- What control has decided -------------------------------------------------------------------------------------
 */

/* The reason code of a refusal, counted. */
static uint8_t refusal_of(struct worker *worker, const struct login *login, uint16_t result)
{
    if (result == SHM_LOGIN_UNAVAILABLE) {
        worker->counters.logins_unavailable++;
        return MQTT_REASON_SERVER_UNAVAILABLE;
    }
    worker->counters.logins_denied++;
    if (result == SHM_LOGIN_METHOD) {
        return MQTT_REASON_BAD_AUTHENTICATION_METHOD;
    }
    return login->by_method ? MQTT_REASON_NOT_AUTHORIZED : MQTT_REASON_BAD_USER_NAME_OR_PASSWORD;
}

/* Keeps who it is and the method's last data. False: no memory. */
static bool login_learn(struct worker *worker, struct login *login)
{
    const struct shm_login_verdict *verdict = verdict_of(worker, login);
    const uint32_t size = login->method_length + verdict->user_length + verdict->data_length;
    uint8_t *bytes = mem_resize(worker->memory, login->bytes, size > 0 ? size : 1);
    if (bytes == NULL) {
        return false;
    }
    login->bytes = bytes;
    login->user_length = verdict->user_length;
    login->data_length = verdict->data_length;
    memcpy(bytes + login->method_length, verdict->user, verdict->user_length);
    memcpy(bytes + login->method_length + verdict->user_length, verdict->data, verdict->data_length);
    return true;
}

/* The CONNECT that was kept is handled again, and what came behind it. */
static void connect_resume(struct worker *worker, struct login *login)
{
    struct client *client = login->client;
    if (!login_learn(worker, login)) {
        worker->counters.closed_no_memory++;
        connect_refuse(worker, client, MQTT_REASON_QUOTA_EXCEEDED);
        return;
    }
    worker->counters.logins_accepted++;
    login_rest(worker, login);
    client->partial = login->connect;
    login->connect = NULL;
    client->state = CLIENT_NEW;
    timer_set(&worker->wheel, &client->timer, worker->now + worker->config->mqtt.connect_timeout_s * UINT64_C(1000000));
    client_read(worker, client);
}

/* REQ MQTT-5 [MQTT-4.12.0-4]: refused by CONNACK with a reason, then closed [test: authentication/wrong_password] */
static void first_decided(struct worker *worker, struct login *login)
{
    struct client *client = login->client;
    const uint16_t result = verdict_of(worker, login)->result;
    if (result == SHM_LOGIN_ACCEPTED) {
        connect_resume(worker, login);
    } else if (result == SHM_LOGIN_CHALLENGE && login->by_method) {
        if (auth_send(worker, login, MQTT_REASON_CONTINUE_AUTHENTICATION)) {
            login->stage = LOGIN_CHALLENGED;
            client->state = CLIENT_CHALLENGED;
            client_read(worker, client);
        }
    } else {
        connect_refuse(worker, client, refusal_of(worker, login, result));
    }
}

/* DISCONNECT can not say that a server is unavailable. */
/* REQ MQTT-5 [MQTT-4.12.1-2]: re-authentication that fails ends the connection [test: authentication/renewal_fails] */
static void renewal_refuse(struct worker *worker, struct login *login, uint16_t result)
{
    const uint8_t reason = refusal_of(worker, login, result);
    client_disconnect(worker, login->client,
                      reason == MQTT_REASON_SERVER_UNAVAILABLE ? MQTT_REASON_SERVER_BUSY : reason);
}

/* A client may prove again who it is, not become somebody else. */
static void renewal_decided(struct worker *worker, struct login *login)
{
    const struct shm_login_verdict *verdict = verdict_of(worker, login);
    if (verdict->result == SHM_LOGIN_CHALLENGE) {
        if (auth_send(worker, login, MQTT_REASON_CONTINUE_AUTHENTICATION)) {
            login->stage = LOGIN_CHALLENGED;
        }
    } else if (verdict->result == SHM_LOGIN_ACCEPTED &&
               span_equals(user_of(login), verdict->user, verdict->user_length)) {
        if (auth_send(worker, login, MQTT_REASON_SUCCESS)) {
            worker->counters.logins_accepted++;
            login_rest(worker, login);
        }
    } else {
        renewal_refuse(worker, login,
                       verdict->result == SHM_LOGIN_ACCEPTED ? (uint16_t)SHM_LOGIN_DENIED : verdict->result);
    }
}

static void login_decided(struct worker *worker, struct login *login)
{
    if (login->client->state == CLIENT_CONNECTED) {
        renewal_decided(worker, login);
    } else {
        first_decided(worker, login);
    }
}

uint32_t logins_progress(struct worker *worker)
{
    uint32_t work = 0;
    struct login *login;
    while ((login = login_desk_take(worker->logins)) != NULL) {
        login_decided(worker, login);
        work++;
    }
    return work;
}

void login_writable(struct worker *worker, struct client *client)
{
    if (client->login->answer_waits) {
        login_decided(worker, client->login);
    }
}

/* ---- AUTH from the client -----------------------------------------------------------------------------------------
 */

/* The reason code of what is wrong with an AUTH packet, 0: nothing. */
/* REQ MQTT-5 [MQTT-4.12.0-3]: a client goes on by AUTH with 0x18 [test: authentication/out_of_turn] */
static uint8_t auth_check(struct worker *worker, const struct login *login, const struct mqtt_disconnect *auth)
{
    const struct mqtt_span method = auth->properties.authentication_method;
    const bool begins = auth->reason == MQTT_REASON_REAUTHENTICATE;
    if (!mqtt_property_is_present(&auth->properties, MQTT_PROPERTY_AUTHENTICATION_METHOD) ||
        !span_equals(method_of(login), method.data, method.length) ||
        login->stage != (begins ? LOGIN_IDLE : LOGIN_CHALLENGED)) {
        worker->counters.violated_authentication++;
        worker->counters.closed_malformed++;
        return MQTT_REASON_PROTOCOL_ERROR;
    }
    if (data_of(&auth->properties).length > SHM_LOGIN_DATA_MAX) {
        worker->counters.logins_denied++;
        return MQTT_REASON_NOT_AUTHORIZED;
    }
    return MQTT_REASON_SUCCESS;
}

/* REQ MQTT-5 [MQTT-3.1.2-30]: only AUTH and DISCONNECT come before CONNACK [test: authentication/out_of_turn] */
enum packet_result login_packet(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                const uint8_t *body)
{
    struct mqtt_disconnect packet;
    if (header->type == MQTT_DISCONNECT) {
        return client_drop(worker, client, MQTT_REASON_SUCCESS);
    }
    if (header->type != MQTT_AUTH) {
        worker->counters.violated_authentication++;
        worker->counters.closed_malformed++;
        return connect_refuse(worker, client, MQTT_REASON_PROTOCOL_ERROR);
    }
    const enum mqtt_error error = mqtt_auth_decode(client->version, MQTT_FROM_CLIENT, header, body, &packet);
    if (error != MQTT_OK) {
        worker->codec_errors[error]++;
        worker->counters.closed_malformed++;
        return connect_refuse(worker, client, mqtt_error_reason(error));
    }
    const uint8_t wrong = auth_check(worker, client->login, &packet);
    if (wrong != MQTT_REASON_SUCCESS) {
        return connect_refuse(worker, client, wrong);
    }
    client->state = CLIENT_ASKED;
    login_ask(worker, client->login, SHM_LOGIN_CONTINUE, (struct mqtt_span){NULL, 0}, data_of(&packet.properties));
    return PACKET_DONE;
}

/* REQ MQTT-5 [MQTT-4.12.0-7]: AUTH without a method in CONNECT is an error [test: wire/malformed_packet] */
/* REQ MQTT-5 [MQTT-4.12.1-1]: with the method of CONNECT, and no other [test: authentication/out_of_turn] */
enum packet_result auth_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                               const uint8_t *body)
{
    struct mqtt_disconnect auth;
    struct login *login = client->login;
    const enum mqtt_error error = mqtt_auth_decode(client->version, MQTT_FROM_CLIENT, header, body, &auth);
    if (error != MQTT_OK) {
        return client_malformed(worker, client, error);
    }
    if (login == NULL) {
        return client_violation(worker, client, &worker->counters.violated_authentication, MQTT_REASON_PROTOCOL_ERROR);
    }
    const uint8_t wrong = auth_check(worker, login, &auth);
    if (wrong != MQTT_REASON_SUCCESS) {
        return client_disconnect(worker, client, wrong);
    }
    const bool begins = auth.reason == MQTT_REASON_REAUTHENTICATE;
    if (begins && !login_start(worker, login)) {
        return client_disconnect(worker, client, MQTT_REASON_SERVER_BUSY);
    }
    login_ask(worker, login, begins ? SHM_LOGIN_BEGIN : SHM_LOGIN_CONTINUE,
              begins ? method_of(login) : (struct mqtt_span){NULL, 0}, data_of(&auth.properties));
    return PACKET_DONE;
}

/* ---- Time ---------------------------------------------------------------------------------------------------------
 */

void login_timer(void *arg, struct timer *timer, uint64_t now)
{
    struct worker *worker = arg;
    struct login *login = (struct login *)((char *)timer - offsetof(struct login, timer));
    const bool late = login->stage == LOGIN_CHALLENGED;
    worker->counters.logins_late += late;
    worker->counters.logins_unavailable += !late;
    if (login->client->state == CLIENT_CONNECTED) {
        client_disconnect(worker, login->client, late ? MQTT_REASON_NOT_AUTHORIZED : MQTT_REASON_SERVER_BUSY);
    } else {
        connect_refuse(worker, login->client, late ? MQTT_REASON_NOT_AUTHORIZED : MQTT_REASON_SERVER_UNAVAILABLE);
    }
}

/* ---- To another worker --------------------------------------------------------------------------------------------
 */

struct packed {
    uint16_t method_length, user_length, data_length;
};

uint32_t login_packed_size(const struct client *client)
{
    const struct login *login = client->login;
    return login == NULL || !login->by_method
               ? 0
               : (uint32_t)sizeof(struct packed) + login->method_length + login->user_length + login->data_length;
}

void login_pack(const struct client *client, uint8_t *to)
{
    const uint32_t size = login_packed_size(client);
    if (size > 0) {
        const struct login *login = client->login;
        const struct packed packed = {login->method_length, login->user_length, login->data_length};
        memcpy(to, &packed, sizeof(packed));
        memcpy(to + sizeof(packed), login->bytes, size - sizeof(packed));
    }
}

bool login_unpack(struct worker *worker, struct client *client, const uint8_t *from, uint32_t length)
{
    struct packed packed;
    if (length == 0) {
        return true;
    }
    struct login *login = login_create(worker, client, true, length - (uint32_t)sizeof(packed));
    if (login == NULL || login->bytes == NULL) {
        return false;
    }
    memcpy(&packed, from, sizeof(packed));
    memcpy(login->bytes, from + sizeof(packed), length - sizeof(packed));
    login->method_length = packed.method_length;
    login->user_length = packed.user_length;
    login->data_length = packed.data_length;
    return true;
}
