/*
 * A simulated MQTT client with a session of its own: what a good client library does, on a connection of the world's
 * client stack. Resends with DUP after a reconnect, answers what it gets, keeps to Receive Maximum.
 *
 * A device may have several connections with the same client identifier, to see how they take the session over from
 * each other. It obeys the one that took the session last, in the router's order, and ignores what still comes on
 * older ones, as a client does that has given up a connection. That order is read out of the workers
 * (devices_observe): it is all a device knows that a client could not.
 */
#ifndef TESTS_SIM_ROUTER_DEVICE_H
#define TESTS_SIM_ROUTER_DEVICE_H

#include "lib/mqtt/mqtt.h"
#include "lib/mqtt/packets.h"
#include "lib/mqtt/publish.h"
#include "lib/net/tcp.h"
#include "tests/sim/router/world.h"

struct worker;

#define DEVICE_READS_NOTHING UINT32_MAX

enum {
    DEVICE_CONNECTIONS = 16,
    DEVICE_FILTERS = 8,
    DEVICE_TOPIC_MAX = 288, /* 128 levels of two bytes, and some */
    DEVICE_RAW_IDS = 60000, /* packet identifiers from here on are the scenario's own, for packets that it encodes */
};

struct buffer {
    uint8_t *data;
    uint32_t length, room;
};

enum connection_state { CONNECTION_OPENING, CONNECTION_WAITING, CONNECTION_READY, CONNECTION_GONE };

struct connection {
    struct device *device; /* NULL: free */
    struct tcp_connection *tcp;
    enum connection_state state;
    uint16_t port;
    uint32_t rank;    /* in the order in which the router gave them the session; 0: it has not */
    bool established; /* TCP's handshake is done */
    bool session_present;
    bool raw;                    /* the scenario speaks for itself: no CONNECT, nothing is answered */
    bool ignored;                /* given up by the device: nothing more is read */
    uint8_t reason;              /* of the router's DISCONNECT; 0: none came */
    uint8_t connack;             /* reason code */
    uint64_t opened_at, gone_at; /* microseconds */
    struct buffer in, out;
    bool websocket;         /* MQTT goes in frames, see websocket.h */
    bool upgraded;          /* the router has agreed */
    struct buffer wire;     /* what came of frames */
    uint32_t frames, pings; /* received with MQTT in them; sent and not answered */
    uint16_t close_code;    /* of the router's close frame; 0: none came */
};

/* A message on its way out. */
struct sending {
    struct sending *next;
    uint16_t packet_id; /* 0: not sent yet */
    bool released;      /* PUBREC came */
    uint8_t qos;
    bool retain;
    uint32_t expiry_s; /* MQTT 5.0; 0: none */
    char topic[DEVICE_TOPIC_MAX];
    uint32_t length;
    uint8_t payload[];
};

struct subscription {
    char filter[64];
    uint8_t qos;
    uint8_t options; /* retain handling << 4 | retain as published << 3 | no local << 2 */
    uint32_t identifier;
    uint16_t packet_id; /* 0: not asked yet in this session */
    bool live;          /* SUBACK came */
};

struct device {
    struct world *world;
    uint32_t index;
    char id[32];
    enum mqtt_version version;
    bool websocket; /* connects to the router's WebSocket listener */
    bool clean_start;
    uint32_t expiry_s; /* MQTT 5.0 */
    uint16_t keepalive_s;
    uint16_t receive_maximum; /* what it takes at once; 0: the default */
    uint32_t read_limit;      /* bytes per turn; 0: as they come */
    bool has_will;
    char will_topic[64];
    uint8_t will_qos;
    bool will_retain;
    uint32_t will_delay_s;
    uint8_t will_payload[64];
    uint32_t will_length;

    bool wanted;       /* keep a connection */
    uint64_t retry_at; /* not before */
    bool watchful;     /* gives a connection up that answers no PINGREQ */
    bool silent;       /* sends no PINGREQ */
    uint64_t last_sent, last_received, connected_at;
    struct connection connections[DEVICE_CONNECTIONS];
    struct connection *current;        /* obeyed; NULL: none */
    struct connection *router_current; /* as the router has it */
    uint32_t ranks;
    uint32_t obeyed;  /* highest rank of a connection whose CONNACK has come */
    bool has_session; /* the router has promised to keep it */
    uint16_t next_packet_id;
    struct sending *first, *last; /* in order; sent ones first */
    uint32_t in_flight;
    uint8_t received[65536 / 8]; /* QoS 2 identifiers, not released */
    struct subscription subscriptions[DEVICE_FILTERS];
    uint32_t subscription_count;

    /* For the checks of scenarios. */
    uint32_t connects, losses, refusals, takeovers, publishes_received, pings;
    uint32_t raw_filters; /* in SUBACKs of SUBSCRIBE packets that the scenario encoded */
    uint32_t unsubacks, raw_packets;
    uint32_t lost_sessions; /* CONNACK without the session that should be there */
    void (*received_publish)(struct device *device, const struct mqtt_publish *publish);
    void (*subscribed)(struct device *device, struct subscription *subscription, uint8_t reason);
    void (*gone)(struct device *device, struct connection *connection);
    void *user;
};

extern const struct tcp_callbacks device_callbacks;

/* Room for `length` more bytes at the end; the first `length` bytes go. */
uint8_t *buffer_grow(struct buffer *buffer, uint32_t length);
void buffer_cut(struct buffer *buffer, uint32_t length);

struct device *device_create(struct world *world, const char *id, enum mqtt_version version);
void devices_free(struct world *world);

/* After a worker's iteration: which connections have the sessions now. */
void devices_observe(struct world *world, struct worker *worker);
void device_observe(struct device *device, struct worker *worker);

/* The port of the connection that has the device's session on this worker; 0: none. */
uint16_t device_session_port(const struct device *device, struct worker *worker);

/* Opens one more connection, to this worker (UINT32_MAX: any). NULL: as many as there may be. */
struct connection *device_open(struct device *device, uint32_t worker);

/* The device's turn: reconnects if it wants to, sends what it may. Returns when it wants the next. */
uint64_t device_poll(struct device *device);

void device_subscribe(struct device *device, const char *filter, uint8_t qos, uint8_t options, uint32_t identifier);

/* Queues a message; returns its payload, to be filled before the next step. */
uint8_t *device_publish(struct device *device, const char *topic, uint8_t qos, bool retain, uint32_t length);

/* A SUBSCRIBE or UNSUBSCRIBE with many filters at once, as "PREFIX/N/SUFFIX" for N from `first`; QoS 1. */
void device_change_filters(struct device *device, bool subscribe, const char *format, uint32_t first, uint32_t count);

/* Ways to lose the current connection. */
void device_disconnect(struct device *device, uint8_t reason); /* DISCONNECT and FIN */
void device_disconnect_expiry(struct device *device, uint32_t expiry_s);
void device_shut(struct device *device);   /* FIN without a DISCONNECT */
void device_abort(struct device *device);  /* RST */
void device_vanish(struct device *device); /* nothing: the router hears no more of it */

/* Everything sent is acknowledged, every subscription live, and a connection is there. */
bool device_is_settled(const struct device *device);
bool device_has_live_subscriptions(const struct device *device);
bool device_is_connected(const struct device *device);
uint32_t device_open_connections(const struct device *device);

/* Raw bytes on a connection. */
void connection_send(struct connection *connection, const void *bytes, uint32_t length);

/* Topic filters against topic names, MQTT 5.0 section 4.7: the tests' own. */
bool filter_matches(const char *filter, const char *topic);

#endif
