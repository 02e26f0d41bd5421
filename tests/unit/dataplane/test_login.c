/* Logins in virtual time: a client's bytes in, the router's bytes out, and the test in control's place. */
#include <string.h>

#include "dataplane/login.h"
#include "dataplane/worker.h"
#include "tests/sim/router/device.h"
#include "tests/sim/router/scenario.h"
#include "tests/unit/dataplane/support.h"

TestSuite(login, .timeout = 60);

static struct world world;
static struct connection *connection;

/* CONNECT of MQTT 5.0: nobody, user "u" with password "p", and the method "M" with data "d". */
static const uint8_t anonymous[] = "\x10\x0e\0\4MQTT\5\2\0\x3c\0\0\1a";
static const uint8_t password[] = "\x10\x14\0\4MQTT\5\xc2\0\x3c\0\0\1a\0\1u\0\1p";
static const uint8_t method[] = "\x10\x16\0\4MQTT\5\2\0\x3c\x08\x15\0\1M\x16\0\1d\0\1a";
static const uint8_t ping[] = "\xc0";

static void router_begin(uint32_t users, uint32_t allow_anonymous)
{
    static bool made; /* once for a process */
    if (!made) {
        world_environment(1);
    }
    made = true;
    world_init(&world, 1, 1, 0);
    world.config.authentication = (struct shm_authentication_config){.users = users, .max_logins = 4, .timeout_s = 3};
    world.config.mqtt.allow_anonymous = allow_anonymous;
    world.poll = scenario_poll;
    world_begin(&world);
    device_create(&world, "raw", MQTT_V5);
}

static void bytes_send(const uint8_t *bytes, uint32_t length)
{
    connection_send(connection, bytes, length);
    world_run_for(&world, 100000);
}

static void client_connect(const uint8_t *bytes, uint32_t length)
{
    connection = device_open(world.devices[0], 0);
    connection->raw = true;
    bytes_send(bytes, length);
}

/* The reason code of the CONNACK that came; -1: none has, -2: it is not what came first. */
static int connack(void)
{
    if (connection->in.length < 4) {
        return -1;
    }
    return connection->in.data[0] == 0x20 ? connection->in.data[3] : -2;
}

/* What the worker asks control. */
static const struct shm_login_question *question(uint32_t *slot)
{
    struct login_desk *desk = world.dataplane.workers[0]->logins;
    cr_assert_eq(mailbox_pending(desk->asked), 1);
    *slot = mailbox_at(desk->asked, 0)->number;
    mailbox_done(desk->asked, 1);
    return &desk->slots[*slot].question;
}

static void verdict(uint32_t slot, uint16_t result, const char *user, const char *data)
{
    struct login_desk *desk = world.dataplane.workers[0]->logins;
    const uint64_t login = desk->slots[slot].question.login;
    struct shm_login_verdict *said = &desk->slots[slot].verdict;
    memset(said, 0, sizeof(*said));
    said->login = login;
    said->result = result;
    said->user_length = (uint16_t)strlen(user);
    said->data_length = (uint16_t)strlen(data);
    memcpy(said->user, user, said->user_length);
    memcpy(said->data, data, said->data_length);
    login_desk_answer(desk, slot);
    world_run_for(&world, 100000);
}

static uint32_t slots_free(void)
{
    return world.dataplane.workers[0]->logins->free_count;
}

static int answer_without_control(uint32_t users, uint32_t allowed, const uint8_t *bytes, uint32_t length)
{
    router_begin(users, allowed);
    client_connect(bytes, length);
    const int code = connack();
    world_end(&world);
    return code;
}

#define REASON(name) ((int)MQTT_REASON_##name)
#define ANSWER(users, allowed, packet) \
    answer_without_control(users, SHM_ANONYMOUS_##allowed, packet, sizeof(packet) - 1)

Test(login, without_users_everybody_is_anonymous)
{
    cr_expect_eq(ANSWER(0, AUTO, anonymous), 0);
    cr_expect_eq(ANSWER(0, AUTO, password), 0);
    cr_expect_eq(ANSWER(0, ALLOWED, password), 0);
    cr_expect_eq(ANSWER(0, REFUSED, anonymous), REASON(NOT_AUTHORIZED));
    cr_expect_eq(ANSWER(0, REFUSED, password), REASON(NOT_AUTHORIZED), "a name that nobody checks is none");
    cr_expect_eq(ANSWER(0, AUTO, method), REASON(BAD_AUTHENTICATION_METHOD));
}

Test(login, with_users_who_says_nothing_needs_leave)
{
    cr_expect_eq(ANSWER(1, AUTO, anonymous), REASON(NOT_AUTHORIZED));
    cr_expect_eq(ANSWER(1, REFUSED, anonymous), REASON(NOT_AUTHORIZED));
    cr_expect_eq(ANSWER(1, ALLOWED, anonymous), 0);
    cr_expect_eq(ANSWER(1, ALLOWED, password), -1, "who says something is checked all the same");
}

Test(login, a_password_goes_to_control_and_what_follows_waits)
{
    uint32_t slot;
    router_begin(1, SHM_ANONYMOUS_AUTO);
    client_connect(password, sizeof(password) - 1);
    bytes_send(ping, 2);
    const struct shm_login_question *asked = question(&slot);
    cr_assert_eq(asked->step, SHM_LOGIN_PASSWORD);
    cr_assert(asked->name_length == 1 && asked->name[0] == 'u' && asked->data_length == 1 && asked->data[0] == 'p');
    cr_assert_eq(connack(), -1);
    verdict(slot, SHM_LOGIN_ACCEPTED, "u", "");
    cr_assert_eq(connack(), 0);
    cr_assert_eq(connection->in.data[connection->in.length - 2], 0xd0, "PINGRESP");
    cr_assert_eq(slots_free(), 4);
    cr_assert_null(world.dataplane.workers[0]->to_housekeeper);
    world_end(&world);
}

Test(login, refusals)
{
    static const struct {
        uint16_t result;
        int password_code, method_code;
    } cases[] = {
        {SHM_LOGIN_DENIED, MQTT_REASON_BAD_USER_NAME_OR_PASSWORD, MQTT_REASON_NOT_AUTHORIZED},
        {SHM_LOGIN_METHOD, MQTT_REASON_BAD_AUTHENTICATION_METHOD, MQTT_REASON_BAD_AUTHENTICATION_METHOD},
        {SHM_LOGIN_UNAVAILABLE, MQTT_REASON_SERVER_UNAVAILABLE, MQTT_REASON_SERVER_UNAVAILABLE},
    };
    uint32_t slot;
    router_begin(1, SHM_ANONYMOUS_AUTO);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        client_connect(password, sizeof(password) - 1);
        question(&slot);
        verdict(slot, cases[i].result, "", "");
        cr_expect_eq(connack(), cases[i].password_code, "password, %u", cases[i].result);
        client_connect(method, sizeof(method) - 1);
        question(&slot);
        verdict(slot, cases[i].result, "", "");
        cr_expect_eq(connack(), cases[i].method_code, "method, %u", cases[i].result);
        cr_expect_eq(slots_free(), 4);
    }
    client_connect(password, sizeof(password) - 1);
    question(&slot);
    verdict(slot, SHM_LOGIN_CHALLENGE, "", "what?");
    cr_expect_eq(connack(), REASON(BAD_USER_NAME_OR_PASSWORD), "nobody challenges a password");
    world_end(&world);
}

Test(login, a_method_in_two_steps)
{
    static const uint8_t go_on[] = "\xf0\x0a\x18\x08\x15\0\1M\x16\0\1e";
    static const uint8_t challenge[] = "\xf0\x0b\x18\x09\x15\0\1M\x16\0\2?!";
    uint32_t slot;
    router_begin(1, SHM_ANONYMOUS_AUTO);
    client_connect(method, sizeof(method) - 1);
    const struct shm_login_question *asked = question(&slot);
    cr_assert(asked->step == SHM_LOGIN_BEGIN && asked->name[0] == 'M' && asked->data[0] == 'd');
    const uint64_t login = asked->login;
    verdict(slot, SHM_LOGIN_CHALLENGE, "", "?!");
    cr_assert_eq(connection->in.length, sizeof(challenge) - 1);
    cr_assert_eq(memcmp(connection->in.data, challenge, sizeof(challenge) - 1), 0);
    connection->in.length = 0;
    bytes_send(go_on, sizeof(go_on) - 1);
    asked = question(&slot);
    cr_assert(asked->step == SHM_LOGIN_CONTINUE && asked->login == login && asked->data[0] == 'e');
    verdict(slot, SHM_LOGIN_ACCEPTED, "someone", "ok");
    cr_assert_eq(connack(), 0);
    const struct session *session =
        session_find(world.dataplane.workers[0]->sessions, (struct mqtt_span){(const uint8_t *)"a", 1});
    cr_assert_eq(session->user_name_length, 7);
    cr_assert_eq(memcmp(session->user_name, "someone", 7), 0);
    cr_assert_eq(slots_free(), 4);
    world_end(&world);
}

Test(login, time_runs_out)
{
    uint32_t slot;
    router_begin(1, SHM_ANONYMOUS_AUTO);
    client_connect(password, sizeof(password) - 1);
    question(&slot);
    world_run_for(&world, 2500000);
    cr_assert_eq(connack(), -1);
    world_run_for(&world, 1000000);
    cr_assert_eq(connack(), REASON(SERVER_UNAVAILABLE), "control is late");
    cr_assert_eq(slots_free(), 3, "the housekeeper has the slot still");
    verdict(slot, SHM_LOGIN_ACCEPTED, "u", "");
    cr_assert_eq(slots_free(), 4);
    client_connect(method, sizeof(method) - 1);
    question(&slot);
    verdict(slot, SHM_LOGIN_CHALLENGE, "", "?");
    connection->in.length = 0;
    world_run_for(&world, 3500000);
    cr_assert_eq(connack(), REASON(NOT_AUTHORIZED), "the client is late");
    cr_assert_eq(slots_free(), 4);
    world_end(&world);
}
