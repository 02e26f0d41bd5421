/*
 * Logins: a client between its CONNECT and what control says about it, and re-authentication later (MQTT 5.0 section
 * 4.12). The dataplane compares no passwords: it hands on what the client says and does what control decides.
 *
 *      CONNECT                login_begin: a copy of the packet is kept, control is asked    CLIENT_ASKED
 *        challenge            AUTH 0x18 goes out                                             CLIENT_CHALLENGED
 *        AUTH 0x18 comes      control is asked again                                         CLIENT_ASKED
 *        accepted             the kept CONNECT is handled once more, and goes through        CLIENT_NEW
 *        refused, too late    CONNACK with the reason, closed
 *
 * In CLIENT_ASKED nothing is read: what the client has sent behind its CONNECT waits in the connection. A connection
 * that logged in with an authentication method may do so again while its traffic goes on (CLIENT_CONNECTED throughout).
 *
 * The worker that owns the connection calls; memory is from its region.
 */
#ifndef POLLUX_DATAPLANE_LOGIN_H
#define POLLUX_DATAPLANE_LOGIN_H

#include "dataplane/client.h"
#include "dataplane/login_desk.h"
#include "lib/mqtt/packets.h"

enum login_stage {
    LOGIN_IDLE,       /* accepted; nothing under way */
    LOGIN_ASKED,      /* control has it */
    LOGIN_CHALLENGED, /* the client has it */
};

struct login {
    struct client *client;
    struct timer timer; /* while it is under way: authentication.timeout */
    uint32_t slot;      /* at the desk; LOGIN_SLOT_NONE when it is not under way */
    uint8_t stage;      /* enum login_stage */
    bool by_method;     /* else by user name and password */
    bool answer_waits;  /* control's verdict is in the slot, and waits for room to be passed on */
    uint16_t method_length;
    uint16_t user_length;           /* 0: not known yet */
    uint16_t data_length;           /* the method's last of the first login, for CONNACK */
    uint8_t *bytes;                 /* of method, user and data, in this order */
    struct partial_packet *connect; /* until it is accepted */
};

/* Must this CONNECT be checked by control, and was it not yet? */
bool login_is_due(const struct worker *worker, const struct client *client, const struct mqtt_connect *connect);

/*
 * Asks control about a CONNECT, of which a copy is kept. Returns 0: the client is in CLIENT_ASKED, the packet is done
 * with for now; or the reason code to refuse it with.
 */
uint8_t login_begin(struct worker *worker, struct client *client, const struct mqtt_connect *connect,
                    const struct mqtt_header *header, const uint8_t *body);

/* The method and its last data, for CONNACK. */
void login_describe(const struct client *client, struct mqtt_properties *connack);

/* The client has its session: only what re-authentication needs is kept. */
void login_settle(struct worker *worker, struct client *client);

/* The user that a client has logged in as by an authentication method; of length 0: none. */
struct mqtt_span login_user(const struct client *client);

/* A packet in CLIENT_CHALLENGED. */
enum packet_result login_packet(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                const uint8_t *body);

/* Once per iteration: what control has decided. Returns how much was done. */
uint32_t logins_progress(struct worker *worker);

/* The connection takes data again: goes on with an answer that waited for that. */
void login_writable(struct worker *worker, struct client *client);

/* A login that was accepted goes with the connection to another worker: bytes it takes, writing and reading them. */
uint32_t login_packed_size(const struct client *client);
void login_pack(const struct client *client, uint8_t *to);
bool login_unpack(struct worker *worker, struct client *client, const uint8_t *from, uint32_t length);

/* The connection ends or moves: lets go of everything. */
void login_forget(struct worker *worker, struct client *client);

/* Timer handler: a login takes too long. */
void login_timer(void *worker, struct timer *timer, uint64_t now);

#endif
