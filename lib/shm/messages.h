/* Requests and replies between control and dataplane, over the two rings of a link.
 *
 * Job: the layout of every slot, and the functions that say whether a slot that came from the peer may be used.
 *
 * Protocol. Control pushes a shm_request with an id of its choice and gets replies with the same id: any number with
 * status SHM_REPLY_RECORD, then exactly one that ends the page: SHM_REPLY_END (with the cursor where the next page
 * starts, 0 when there is none) or SHM_REPLY_ERROR (with a text). At most `limit` records make a page, so the work for
 * one request and the room it needs in the reply ring are bounded. A cursor means something only to the dataplane; a
 * walk over many pages sees each object that lives throughout at least once, one that moves meanwhile perhaps twice or
 * never. A dataplane answers requests in order of arrival or not, one page of each at a time. A reply with an unknown
 * id is dropped by control: the request has timed out.
 *
 * Who calls: the dataplane's main lcore and control's main thread. Each copies a slot out of the ring once, calls the
 * check function on the copy and uses only the copy.
 *
 * Units: times in microseconds or in the unit named; "since" is microseconds before the reply was made, so that the two
 * processes need no common clock. Counts are since the object exists. Strings are bytes with a length; whoever prints
 * them makes them printable. */
#ifndef POLLUX_SHM_MESSAGES_H
#define POLLUX_SHM_MESSAGES_H

#include <stdint.h>

#include "lib/shm/capture.h"
#include "lib/shm/config.h"
#include "lib/shm/error.h"

#define SHM_SLOT_SIZE 512u     /* bytes of a slot in both rings */
#define SHM_REQUEST_SLOTS 256u /* slots of the request ring */
#define SHM_REPLY_SLOTS 1024u  /* slots of the reply ring */
#define SHM_PAGE_MAX 256u      /* records that one request may ask for */
#define SHM_CLIENT_ID_MAX 160u /* bytes of a client id in a record; longer ones are cut and flagged */
#define SHM_USERNAME_MAX 64u   /* bytes */
#define SHM_KICK_ID_MAX 256u   /* bytes of a client id in a kick */
#define SHM_REFERENCE_MAX 255u /* bytes of a server reference */
#define SHM_CENSUS_NAME_SIZE 48u
#define SHM_MESSAGE_TEXT 320u

enum shm_request_type {
    SHM_REQUEST_PING = 1,        /* END at once: is the housekeeper alive? */
    SHM_REQUEST_WORKERS = 2,     /* a shm_worker_record for each worker */
    SHM_REQUEST_PORTS = 3,       /* a shm_port_record for each port */
    SHM_REQUEST_LISTENERS = 4,   /* a shm_listener_record for each listener */
    SHM_REQUEST_CLIENTS = 5,     /* a shm_client_record for each session, connected or not */
    SHM_REQUEST_CONNECTIONS = 6, /* a shm_connection_record for each TCP connection */
    SHM_REQUEST_CENSUS = 7,      /* a shm_census_record for each kind of object of each worker */
    SHM_REQUEST_KICK = 8,        /* disconnect clients (MQTT 5: 0x98, administrative action): one shm_kick_record */
    SHM_REQUEST_DRAIN = 9,       /* send clients to another server: one shm_drain_record */
    SHM_REQUEST_CAPTURE = 10,    /* start or stop a capture of packets: one shm_capture_record */
};
#define SHM_REQUEST_TYPE_MAX SHM_REQUEST_CAPTURE

enum shm_reply_status { SHM_REPLY_RECORD = 1, SHM_REPLY_END = 2, SHM_REPLY_ERROR = 3 };

/* ---- requests -------------------------------------------------------------------------------------------------- */

/* Arguments of CLIENTS and CONNECTIONS. A filter narrows, control looks at what it gets again: a dataplane may ignore
 * `id_prefix`. */
struct shm_list_arguments {
    uint32_t worker;           /* only of this worker; SHM_WORKER_ANY */
    uint32_t id_prefix_length; /* bytes, up to SHM_CLIENT_ID_MAX; 0: every client */
    uint8_t id_prefix[SHM_CLIENT_ID_MAX];
};
#define SHM_WORKER_ANY UINT32_MAX

/* Arguments of KICK: by client id, or by handle when `handle` is not 0. */
struct shm_kick_arguments {
    uint64_t handle; /* shm_client_record.handle */
    uint32_t reserved;
    uint32_t id_length; /* bytes */
    uint8_t id[SHM_KICK_ID_MAX];
};

enum shm_drain_action {
    SHM_DRAIN_SHOW = 0,
    SHM_DRAIN_START = 1, /* also changes what is under way */
    SHM_DRAIN_STOP = 2,
};
#define SHM_DRAIN_RATE_MAX 1000000u

/* Arguments of DRAIN; all but `action` only for START. */
struct shm_drain_arguments {
    uint32_t action;           /* enum shm_drain_action */
    uint32_t permanent;        /* 0: 0x9C, use another server; 1: 0x9D, server moved */
    uint32_t rate;             /* connected clients that are sent away a second, 1..SHM_DRAIN_RATE_MAX */
    uint32_t reference_length; /* bytes, 1..SHM_REFERENCE_MAX */
    uint8_t reference[SHM_REFERENCE_MAX + 1];
};

enum shm_capture_action {
    SHM_CAPTURE_START = 1, /* ends one that is under way */
    SHM_CAPTURE_STOP = 2,
};

/* Arguments of CAPTURE; all but `action` only for START. What is set of id, address, port must hold of a packet for it
 * to be captured. */
struct shm_capture_arguments {
    uint32_t action;      /* enum shm_capture_action */
    uint32_t direction;   /* enum shm_capture_direction */
    uint32_t snap_length; /* bytes of a packet, 1..SHM_CAPTURE_SNAP_MAX */
    uint32_t time_s;      /* it ends by itself after so long, whatever became of control; at least 1 */
    uint32_t port;        /* TCP or UDP port at either end; 0: any */
    uint32_t id_length;   /* bytes; 0: any client, and what belongs to none */
    uint64_t reserved;
    struct shm_address address; /* at either end, with its prefix length; family 0: any */
    uint8_t id[SHM_KICK_ID_MAX];
};

struct shm_request {
    uint32_t id; /* never 0 */
    uint16_t type;
    uint16_t reserved;
    uint64_t cursor; /* 0: from the start */
    uint32_t limit;  /* records of this page, 1..SHM_PAGE_MAX */
    uint32_t reserved2;
    union {
        struct shm_list_arguments list;
        struct shm_kick_arguments kick;
        struct shm_drain_arguments drain;
        struct shm_capture_arguments capture;
        uint8_t bytes[SHM_SLOT_SIZE - 24];
    };
};

/* ---- records --------------------------------------------------------------------------------------------------- */

/* An address and port of a peer. */
struct shm_endpoint {
    struct shm_address address; /* family 4 or 6; 0 where there is none */
    uint16_t port;
    uint16_t reserved[3];
};

enum shm_client_flags {
    SHM_CLIENT_CONNECTED = 1u << 0,    /* else the session is offline and waits for its client */
    SHM_CLIENT_ID_CUT = 1u << 1,       /* the id is longer than the record holds */
    SHM_CLIENT_CLEAN_START = 1u << 2,  /* of the CONNECT (3.1.1: clean session) */
    SHM_CLIENT_WILL = 1u << 3,         /* a will message is set */
    SHM_CLIENT_USERNAME_CUT = 1u << 4, /* the user name is longer than the record holds */
    SHM_CLIENT_LIMITED = 1u << 5,      /* held back now: it is above one of its limits */
};
#define SHM_CLIENT_FLAGS_ALL 0x3fu

/* An MQTT session. */
struct shm_client_record {
    uint64_t handle;           /* names this session to KICK while it lives; never 0 */
    uint32_t worker;           /* index of the worker that owns the session */
    uint32_t flags;            /* enum shm_client_flags */
    struct shm_endpoint peer;  /* family 0 when offline */
    uint64_t since_us;         /* microseconds that it is connected, or offline */
    uint32_t protocol;         /* level of the CONNECT: 3 (MQTT 3.1), 4 (3.1.1), 5 */
    uint32_t keepalive_s;      /* agreed value; 0: none */
    uint32_t session_expiry_s; /* UINT32_MAX: never */
    uint32_t subscriptions;
    uint32_t inflight_in;  /* QoS 2 publishes of the client that await their PUBREL */
    uint32_t inflight_out; /* publishes to the client that await their acknowledgement */
    uint32_t queued_messages;
    uint32_t transport; /* enum shm_transport */
    uint64_t queued_bytes;
    uint64_t dropped; /* messages for this client that a bound has cost */
    uint64_t messages_in;
    uint64_t messages_out;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint16_t id_length;
    uint16_t username_length;
    uint8_t id[SHM_CLIENT_ID_MAX];
    uint8_t username[SHM_USERNAME_MAX];
};

/* States of RFC 9293 section 3.3.2, in the order a connection usually passes through. */
enum shm_tcp_state {
    SHM_TCP_LISTEN = 0,
    SHM_TCP_SYN_SENT,
    SHM_TCP_SYN_RECEIVED,
    SHM_TCP_ESTABLISHED,
    SHM_TCP_FIN_WAIT_1,
    SHM_TCP_FIN_WAIT_2,
    SHM_TCP_CLOSE_WAIT,
    SHM_TCP_CLOSING,
    SHM_TCP_LAST_ACK,
    SHM_TCP_TIME_WAIT,
    SHM_TCP_CLOSED,
};
#define SHM_TCP_STATE_MAX SHM_TCP_CLOSED

/* A TCP connection. Zero where the stack does not keep a figure in that state. */
struct shm_connection_record {
    struct shm_endpoint local;
    struct shm_endpoint remote;
    uint32_t worker;
    uint32_t state; /* enum shm_tcp_state */
    uint64_t since_us;
    uint32_t cwnd;           /* bytes */
    uint32_t ssthresh;       /* bytes; UINT32_MAX: not reached yet */
    uint32_t srtt_us;        /* smoothed round trip, RFC 6298 */
    uint32_t rttvar_us;      /* its variation */
    uint32_t rto_us;         /* retransmission timeout */
    uint32_t mss;            /* bytes: of segments sent */
    uint32_t inflight;       /* bytes sent and not acknowledged */
    uint32_t send_window;    /* bytes: the peer's */
    uint32_t receive_window; /* bytes: ours */
    uint32_t transport;      /* enum shm_transport */
    uint64_t send_queue;     /* bytes that wait to be sent */
    uint64_t receive_queue;  /* bytes that wait to be read or for a gap to close */
    uint64_t retransmits;    /* segments */
    uint64_t bytes_in;       /* payload */
    uint64_t bytes_out;
    uint16_t client_id_length; /* of the MQTT session on it, 0 before its CONNECT */
    uint16_t reserved2[3];
    uint8_t client_id[SHM_CLIENT_ID_MAX];
};

/* Offloads of a port in use. */
enum shm_port_offloads {
    SHM_OFFLOAD_RX_CHECKSUM = 1u << 0,
    SHM_OFFLOAD_TX_IP_CHECKSUM = 1u << 1,
    SHM_OFFLOAD_TX_TCP_CHECKSUM = 1u << 2,
    SHM_OFFLOAD_TSO = 1u << 3,
    SHM_OFFLOAD_RSS = 1u << 4,
    SHM_OFFLOAD_MULTI_SEGMENT = 1u << 5,
    SHM_OFFLOAD_LRO = 1u << 6,
    SHM_OFFLOAD_VLAN = 1u << 7,
};
#define SHM_OFFLOADS_ALL 0xffu

/* Unknown: the kernel's end of a TAP device that was moved to another network namespace cannot be asked from here. */
enum shm_link { SHM_LINK_DOWN, SHM_LINK_UP, SHM_LINK_UNKNOWN };

struct shm_port_record {
    char name[SHM_NAME_SIZE];
    char driver[SHM_NAME_SIZE];
    char device[96]; /* start of the device arguments */
    uint8_t mac[6];
    uint8_t link; /* enum shm_link */
    uint8_t address_count;
    uint32_t link_speed_mbps; /* 0: not known */
    uint32_t mtu;
    uint32_t rx_queues;
    uint32_t tx_queues;
    uint32_t offloads; /* enum shm_port_offloads */
    uint32_t reserved;
    uint64_t rx_packets;
    uint64_t rx_bytes;
    uint64_t rx_errors;
    uint64_t rx_missed;  /* the device had no room to place them */
    uint64_t rx_no_mbuf; /* no packet buffer was free */
    uint64_t tx_packets;
    uint64_t tx_bytes;
    uint64_t tx_errors;
    uint64_t tx_dropped; /* the device's ring stayed full */
    struct shm_address addresses[SHM_PORT_ADDRESSES_MAX];
};

struct shm_listener_record {
    char name[SHM_NAME_SIZE];
    struct shm_endpoint local;
    uint32_t protocol; /* enum shm_protocol */
    uint32_t max_connections;
    uint64_t connections; /* open now */
    uint64_t accepted;
    uint64_t refused;   /* for a bound */
    uint32_t transport; /* enum shm_transport */
    uint32_t reserved;
};

/* One worker's run time, over the time since the last answer to WORKERS or since it started, as `interval_us` says. */
struct shm_worker_record {
    uint32_t worker;
    uint32_t core;
    uint64_t interval_us;       /* what the shares and averages below cover */
    uint64_t iterations;        /* since start */
    uint32_t busy_permille;     /* share of cycles spent in iterations that found work */
    uint32_t sleeping_permille; /* share of time asleep (idle: adaptive) */
    uint32_t loop_p50_ns;       /* time of an iteration that found work */
    uint32_t loop_p99_ns;
    uint32_t loop_p999_ns;
    uint32_t loop_max_ns;
    uint32_t rx_burst_x100; /* mean packets of a burst that was not empty, times 100 */
    uint32_t tx_burst_x100;
    uint64_t rx_packets;
    uint64_t tx_packets;
    uint64_t connections; /* now */
    uint64_t sessions;    /* now, connected or not */
    uint64_t messages_in; /* publishes received */
    uint64_t messages_out;
    uint64_t bytes_in; /* MQTT bytes */
    uint64_t bytes_out;
    uint64_t dropped;     /* messages, for any cause */
    uint64_t memory_used; /* bytes of the worker's region */
    uint64_t memory_size;
    uint64_t packet_buffers_free; /* of the pool this worker takes from */
    uint64_t packet_buffers;
    uint64_t cycles_per_second; /* of the worker's time stamp counter */
    uint64_t last_iteration_us; /* microseconds since its last iteration began: large when a worker is stuck */
};

/* How many objects of one kind a worker (or, with SHM_WORKER_ANY, the whole process) holds. */
struct shm_census_record {
    uint32_t worker;
    uint32_t reserved;
    char name[SHM_CENSUS_NAME_SIZE]; /* "sessions", "mbufs", "messages" */
    uint64_t count;
    uint64_t bytes; /* 0: not counted */
};

struct shm_kick_record {
    uint64_t disconnected; /* clients; 0: none of that name was connected */
};

/* How draining stands; zeros but for `connected` when it is not active. */
struct shm_drain_record {
    uint32_t active; /* 0 or 1 */
    uint32_t permanent;
    uint32_t rate;
    uint32_t reference_length;
    uint64_t since_us;
    uint64_t disconnected; /* clients that were sent away */
    uint64_t refused;      /* CONNECTs that were */
    uint64_t connected;    /* clients that are still here */
    uint8_t reference[SHM_REFERENCE_MAX + 1];
};

/* Of the capture that was started, or of the one that was stopped. */
struct shm_capture_record {
    uint32_t workers; /* that capture, each into its ring */
    uint32_t slots;   /* of each ring */
    uint64_t packets; /* in the rings so far */
    uint64_t dropped; /* packets that matched and found no room */
};

struct shm_reply {
    uint32_t id;     /* of the request */
    uint16_t type;   /* of the request */
    uint16_t status; /* enum shm_reply_status */
    uint64_t cursor; /* END: where the next page starts, 0: nowhere */
    union {
        struct shm_worker_record worker;
        struct shm_port_record port;
        struct shm_listener_record listener;
        struct shm_client_record client;
        struct shm_connection_record connection;
        struct shm_census_record census;
        struct shm_kick_record kick;
        struct shm_drain_record drain;
        struct shm_capture_record capture;
        char text[SHM_MESSAGE_TEXT]; /* ERROR: a sentence for the operator, NUL-terminated */
        uint8_t bytes[SHM_SLOT_SIZE - 16];
    };
};

_Static_assert(sizeof(struct shm_request) == SHM_SLOT_SIZE, "a request fills a slot");
_Static_assert(sizeof(struct shm_reply) == SHM_SLOT_SIZE, "a reply fills a slot");

/* ---- checks ---------------------------------------------------------------------------------------------------- */

/* May this copy of a slot be used? Every type, length, enumerator and flag is in its range, every string terminated.
 * Return 0, or -1 with what is wrong in `error` (which may be NULL). */
int shm_request_check(const struct shm_request *request, struct shm_error *error);
int shm_reply_check(const struct shm_reply *reply, struct shm_error *error);

/* The parts, for tests and for who holds a record alone. */
int shm_address_check(const struct shm_address *address, struct shm_error *error);
int shm_worker_record_check(const struct shm_worker_record *record, struct shm_error *error);
int shm_port_record_check(const struct shm_port_record *record, struct shm_error *error);
int shm_listener_record_check(const struct shm_listener_record *record, struct shm_error *error);
int shm_client_record_check(const struct shm_client_record *record, struct shm_error *error);
int shm_connection_record_check(const struct shm_connection_record *record, struct shm_error *error);
int shm_census_record_check(const struct shm_census_record *record, struct shm_error *error);
int shm_drain_record_check(const struct shm_drain_record *record, struct shm_error *error);
int shm_capture_record_check(const struct shm_capture_record *record, struct shm_error *error);

#endif
