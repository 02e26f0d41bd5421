/* The start-up configuration, as control hands it to the dataplane.
 *
 * Job: one fixed-layout struct with every value that the dataplane needs to start, and the one function that says
 * whether such a struct is acceptable. Control fills it from the operator's file, the dataplane checks it again: it
 * never takes control's word for a length, a count or an enumerator.
 *
 * Who calls: control's main thread, the dataplane's main lcore before any worker runs. Plain memory of the caller.
 *
 * Conventions: strings end with NUL inside their array. A count says how many array elements are used. Times are in the
 * unit that the name says. Names in kebab-case ("mqtt.max-packet-size") are the names operators see. */
#ifndef POLLUX_SHM_CONFIG_H
#define POLLUX_SHM_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "lib/shm/error.h"

#define SHM_WORKERS_MAX 64u
#define SHM_PORTS_MAX 16u
#define SHM_PORT_ADDRESSES_MAX 8u
#define SHM_LISTENERS_MAX 16u
#define SHM_CORE_MAX 1023u /* highest core number */
#define SHM_CORE_AUTO UINT32_MAX
#define SHM_NAME_SIZE 32u         /* bytes of a port's or listener's name, with NUL */
#define SHM_TOPIC_PREFIX_SIZE 64u /* bytes of a topic prefix, with NUL */
#define SHM_PATH_SIZE 64u         /* bytes of a WebSocket listener's path, with NUL */
#define SHM_ORIGIN_SIZE 128u      /* bytes of an origin, with NUL */
#define SHM_ORIGINS_MAX 8u        /* of a listener */
#define SHM_DEVICE_SIZE 256u      /* bytes of DPDK device arguments, with NUL */

enum shm_present { SHM_PRESENT_AT_START = 0, SHM_PRESENT_ON_USE = 1 };
enum shm_idle { SHM_IDLE_ADAPTIVE = 0, SHM_IDLE_BUSY = 1 };
enum shm_hugepages { SHM_HUGEPAGES_AUTO = 0, SHM_HUGEPAGES_ON = 1, SHM_HUGEPAGES_OFF = 2 };
enum shm_protocol { SHM_PROTOCOL_MQTT = 0 };
enum shm_transport { SHM_TRANSPORT_TCP = 0, SHM_TRANSPORT_WEBSOCKET = 1 };
enum shm_ecn { SHM_ECN_ACCEPT = 0, SHM_ECN_NEVER = 1, SHM_ECN_ASK = 2 }; /* as enum net_ecn */
enum shm_syn_cookies { SHM_SYN_COOKIES_AUTO = 0, SHM_SYN_COOKIES_NEVER = 1, SHM_SYN_COOKIES_ALWAYS = 2 };
enum shm_congestion_control { SHM_CONGESTION_CUBIC = 0, SHM_CONGESTION_NEWRENO = 1 };
enum shm_queue_policy {
    SHM_QUEUE_DROP_NEW = 0,   /* the message that does not fit any more is dropped and counted */
    SHM_QUEUE_DROP_OLD = 1,   /* the oldest queued message makes room and is counted */
    SHM_QUEUE_DISCONNECT = 2, /* the subscriber is disconnected with 0x97 (quota exceeded) */
};

/* May clients connect that name neither a user nor an authentication method? */
enum shm_anonymous {
    SHM_ANONYMOUS_AUTO = 0, /* while there are no users */
    SHM_ANONYMOUS_ALLOWED = 1,
    SHM_ANONYMOUS_REFUSED = 2,
};

/* Which member of a shared subscription gets a message. */
enum shm_shared_strategy {
    SHM_SHARED_ROUND_ROBIN = 0,
    SHM_SHARED_STICKY = 1,        /* one member until it leaves */
    SHM_SHARED_HASH_CLIENT = 2,   /* chosen by the publisher */
    SHM_SHARED_HASH_TOPIC = 3,    /* chosen by the topic */
    SHM_SHARED_LEAST_BACKLOG = 4, /* the one with the fewest messages queued and unacknowledged */
};

/* An IPv4 or IPv6 address in network byte order; IPv4 uses the first 4 bytes. */
struct shm_address {
    uint8_t bytes[16];
    uint8_t family; /* 0: none (for a listener: any), 4 or 6 */
    uint8_t prefix; /* prefix length in bits, where the address has one */
    uint8_t reserved[2];
};

struct shm_port {
    char name[SHM_NAME_SIZE];     /* what operators call it */
    char device[SHM_DEVICE_SIZE]; /* DPDK device arguments, such as "net_af_xdp0,iface=eth1" or a PCI address */
    uint32_t queues;              /* queue pairs; workers beyond them are fed by software steering */
    uint32_t mtu;                 /* bytes of IP packet */
    uint8_t mac[6];               /* used when mac_set */
    uint8_t mac_set;              /* 0: the device's own */
    uint8_t address_count;
    struct shm_address addresses[SHM_PORT_ADDRESSES_MAX];
    struct shm_address gateway4; /* family 0: no default route */
    struct shm_address gateway6;
};

struct shm_listener {
    char name[SHM_NAME_SIZE];
    struct shm_address address; /* family 0: every address of every port */
    uint32_t port;              /* TCP port */
    uint32_t protocol;          /* enum shm_protocol */
    uint32_t max_connections;   /* in all workers together */
    uint32_t transport;         /* enum shm_transport */
    uint32_t max_header_size;   /* WebSocket: bytes of the HTTP request */
    uint32_t origin_count;      /* 0: pages of any origin may connect */
    char path[SHM_PATH_SIZE];   /* WebSocket */
    char origins[SHM_ORIGINS_MAX][SHM_ORIGIN_SIZE];
};

struct shm_dataplane_config {
    uint32_t workers;
    uint32_t core_count;             /* 0: choose; else `workers` entries of cores[] */
    uint32_t cores[SHM_WORKERS_MAX]; /* core of worker i */
    uint32_t main_core;              /* of the housekeeper, SHM_CORE_AUTO: choose */
    uint32_t idle;                   /* enum shm_idle */
    uint32_t hugepages;              /* enum shm_hugepages */
    uint32_t packet_buffers;         /* mbufs in all */
    uint32_t statistics_interval_ms; /* how often workers copy their counters to the segment */
    uint32_t memory_present;         /* enum shm_present: when memory_per_worker is taken from the machine */
    uint32_t match_cache_topics;     /* topics that a worker remembers the route of; 0: by its memory */
    uint32_t reserved;
    uint64_t memory_per_worker; /* bytes: sessions, queues, connections of one worker */
};

struct shm_tcp_config {
    uint64_t receive_buffer;   /* bytes: largest receive window of a connection */
    uint64_t send_buffer;      /* bytes: most that waits unsent or unacknowledged on a connection */
    uint32_t max_connections;  /* per worker */
    uint32_t keepalive_time_s; /* idle seconds before the first probe; 0: off */
    uint32_t keepalive_interval_s;
    uint32_t keepalive_probes;     /* unanswered probes that end a connection */
    uint32_t user_timeout_s;       /* seconds that sent data may stay unacknowledged (RFC 5482) */
    uint32_t time_wait_s;          /* RFC 9293: 2 MSL */
    uint32_t delayed_ack_ms;       /* RFC 9293 MUST-40: below 500 */
    uint32_t congestion_control;   /* enum shm_congestion_control */
    uint32_t syn_cookies;          /* enum shm_syn_cookies */
    uint32_t max_half_open;        /* per worker: connections between SYN and handshake's end */
    uint32_t max_held_buffers;     /* per worker and direction: packet buffers that connections hold; 0: half of all */
    uint32_t ecn;                  /* enum shm_ecn, RFC 3168 */
    uint32_t echo_replies;         /* ICMP answers, errors included, per worker and second */
    uint32_t hop_limit;            /* of what is sent: time to live of IPv4, hop limit of IPv6 */
    uint32_t dscp;                 /* Diffserv code point of what is sent */
    uint32_t address_probes;       /* how often an address is asked for before it is used; 0: used at once */
    uint32_t user_timeout_option;  /* 1: RFC 5482's option is sent and heard */
    uint32_t user_timeout_limit_s; /* longest that a peer may ask for by it */
};

struct shm_mqtt_config {
    uint64_t limit_bytes_in; /* a second, of one client; 0: no limit */
    uint64_t limit_bytes_out;
    uint64_t max_queued_bytes;     /* per session */
    uint64_t max_retained_bytes;   /* in all */
    uint32_t max_packet_size;      /* bytes of a whole packet, both ways */
    uint32_t receive_maximum;      /* unacknowledged QoS 1 and 2 publishes that a client may have towards the router */
    uint32_t max_inflight;         /* the same towards a client; its own Receive Maximum may lower it */
    uint32_t topic_alias_maximum;  /* aliases a client may use towards the router; 0: none */
    uint32_t max_qos;              /* 0, 1 or 2 */
    uint32_t retain_available;     /* 0 or 1 */
    uint32_t wildcard_available;   /* 0 or 1 */
    uint32_t shared_available;     /* 0 or 1 */
    uint32_t keepalive_default_s;  /* sent as Server Keep Alive to an MQTT 5 client that asks for none; 0: none */
    uint32_t keepalive_max_s;      /* most a client may ask for; MQTT 5 clients are told the lower value; 0: no bound */
    uint32_t session_expiry_max_s; /* longest time that a session outlives its connection */
    uint32_t max_queued_messages;  /* per session */
    uint32_t queue_full;           /* enum shm_queue_policy */
    uint32_t max_sessions;         /* in all workers together, connected or not */
    uint32_t max_subscriptions;    /* per session */
    uint32_t max_topic_levels;
    uint32_t max_topic_length;      /* bytes */
    uint32_t max_retained_messages; /* in all */
    uint32_t sys_interval_s;        /* $SYS topics are published this often; 0: never */
    uint32_t allow_anonymous;       /* enum shm_anonymous */
    uint32_t connect_timeout_s;     /* a connection without a CONNECT is closed after this */
    uint32_t shared_strategy;       /* enum shm_shared_strategy */
    uint32_t limit_messages_in;     /* a second, of one client; 0, here and below: no limit */
    uint32_t limit_messages_out;
    uint32_t payload_format_check; /* 0 or 1: payloads that say so must be UTF-8 */
    uint32_t overload_memory;  /* percent of a worker's memory in use, above which nobody new is let in; 100: never */
    uint32_t overload_buffers; /* percent of the packet buffers in use, likewise */
    uint32_t overload_loop_ms; /* an iteration that took longer, likewise for a second; 0: never */
    char response_topic_prefix[SHM_TOPIC_PREFIX_SIZE]; /* of Response Information; empty: there is none */
    uint32_t topic_alias_out; /* aliases that the router uses towards a client that allows them; 0: none */
};

/* Control checks user names, passwords and authentication data; the dataplane asks it (shm/login.h). */
struct shm_authentication_config {
    uint32_t users;      /* 0: control knows no users, nothing is checked; 1: it does */
    uint32_t max_logins; /* under way at the same time, in all workers together */
    uint32_t timeout_s;  /* a login that takes longer is given up */
    uint32_t reserved;
};

/* Bounds of a capture of packets (shm/capture.h), and what one gets that names none. */
struct shm_capture_config {
    uint64_t buffer;    /* bytes of the ring between a worker and control */
    uint64_t bytes;     /* of the file, unless said otherwise */
    uint64_t max_bytes; /* at most */
    uint32_t packets;
    uint32_t max_packets;
    uint32_t time_s;
    uint32_t max_time_s;
    uint32_t snap_length; /* bytes of a packet */
    uint32_t max_snap_length;
};

struct shm_config {
    uint64_t generation;  /* counts up with each configuration that control hands out; never 0 */
    uint64_t fingerprint; /* shm_config_fingerprint of the rest: tells whether two configurations are the same */
    uint8_t seed[32]; /* random, secret: keys of hash tables, of initial sequence numbers (RFC 6528) and SYN cookies */
    struct shm_dataplane_config dataplane;
    struct shm_tcp_config tcp;
    struct shm_mqtt_config mqtt;
    struct shm_authentication_config authentication;
    struct shm_capture_config capture;
    uint32_t port_count;
    uint32_t listener_count;
    struct shm_port ports[SHM_PORTS_MAX];
    struct shm_listener listeners[SHM_LISTENERS_MAX];
};

/* Where a number with a range lives. */
enum shm_config_scope {
    SHM_SCOPE_ROOT,     /* offset into struct shm_config */
    SHM_SCOPE_PORT,     /* offset into struct shm_port */
    SHM_SCOPE_LISTENER, /* offset into struct shm_listener */
};

/* One number, truth value or enumerator: the one place where its range stands. control/schema.c adds type, default and
 * help under the same path. */
struct shm_config_field {
    const char *path; /* "mqtt.max-packet-size", "ports.mtu" */
    enum shm_config_scope scope;
    uint32_t offset; /* bytes */
    uint32_t width;  /* 4 or 8 bytes, unsigned */
    uint64_t minimum;
    uint64_t maximum;
};

extern const struct shm_config_field shm_config_fields[];
extern const size_t shm_config_field_count;

/* The field with that path, or NULL. */
const struct shm_config_field *shm_config_field_find(const char *path);

/* Read or write a field; `base` is the struct that its scope names. */
uint64_t shm_config_field_get(const struct shm_config_field *field, const void *base);
void shm_config_field_set(const struct shm_config_field *field, void *base, uint64_t value);

/* A hash of everything but generation, fingerprint and seed. Not cryptographic: it answers whether the dataplane runs
 * what control's file says. The struct must have been zeroed before it was filled (it has no padding that matters
 * then). */
uint64_t shm_config_fingerprint(const struct shm_config *config);

/* Is this configuration acceptable, by itself (no look at the machine)? Every number in its range, every string
 * terminated and printable, names unique, addresses well-formed and unique, gateways on a port's own network, at least
 * one port and one listener, no two listeners on one address and port. Returns 0, or -1 with a text that names the
 * setting and what is allowed. */
int shm_config_validate(const struct shm_config *config, struct shm_error *error);

#endif
