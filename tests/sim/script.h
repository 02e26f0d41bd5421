/*
 * Packet scripts: one stack, and a peer that the test plays by hand. Time stands still unless the script moves it.
 *
 * Sequence numbers in a script are relative: the peer's first byte is 1 (its SYN is 0), and so is ours. IPv4; the peer
 * is 198.18.0.2 port 4000, the stack 198.18.0.1 port 1883 (or an ephemeral port when it opens).
 */
#ifndef TESTS_SIM_SCRIPT_H
#define TESTS_SIM_SCRIPT_H

#include "lib/net/net.h"
#include "lib/net/tcp_options.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    F = 0x01,
    S = 0x02,
    R = 0x04,
    P = 0x08,
    A = 0x10,
    E = 0x40,
    C = 0x80,
    SCRIPT_MSS = 1000,
    SCRIPT_OUT = 512,
    SCRIPT_FRAMES = 32,
};

/* A frame that the stack sent and that is no TCP over IPv4: the first bytes of it. */
struct script_raw {
    uint32_t length;
    uint8_t bytes[256];
};

/* A segment that the stack sent. */
struct script_segment {
    uint64_t at;
    uint8_t flags;
    uint32_t sequence; /* relative */
    uint32_t ack;      /* relative */
    uint32_t window;   /* as in the header */
    uint32_t length;
    uint32_t raw_sequence;
    uint16_t port;      /* ours */
    uint8_t congestion; /* the two ECN bits */
    struct tcp_options options;
};

struct script {
    uint64_t now;
    struct net_config config;
    struct timer_wheel wheel;
    struct net_stack *stack;
    struct rte_mempool *pool;
    /* Another worker's stack, when script_second() made one: it gets ARP too, and what `stack` redirects. */
    struct net_stack *second;
    struct timer_wheel second_wheel;
    struct rte_mbuf *redirected[16];
    unsigned redirected_count;
    void (*divert)(struct script *s, const uint8_t *frame, uint32_t length); /* takes what the peer sends */
    bool hold_redirected;                                                    /* keep them until script_redirect() */
    /* What goes into the peer's SYN, and into its later segments when timestamps are on. */
    struct tcp_options peer;
    uint32_t peer_initial, our_initial;
    uint16_t our_port;
    uint8_t congestion; /* the two ECN bits of what the peer sends */
    uint32_t timestamp; /* the peer's clock, ms; script_wait() moves it */
    uint32_t timestamp_echo;
    struct script_segment out[SCRIPT_OUT];
    unsigned out_first, out_count;
    unsigned arp_out, icmp_out, other_out;
    struct script_raw frames[SCRIPT_FRAMES]; /* the latest ones */
    unsigned frame_first, frame_count;
    struct script_raw last_tcp;
    bool quiet_arp; /* the peer does not answer ARP */
    bool transmit_full;
    bool port_busy; /* it has not sent yet what it was given */
    /* The application. */
    struct tcp_connection *connection;
    bool accepted, connected, peer_closed, closed;
    unsigned readable_calls, writable_calls;
    enum tcp_close_reason reason;
    enum tcp_trouble trouble;
    unsigned trouble_calls;
    const uint8_t *to_mac; /* of frames made by script_ip4() and script_ip6(); NULL: ours, or the group's */
    bool consume;          /* read at once */
    uint32_t consumed;
    uint8_t last_byte;
    unsigned failures;
    const char *name;
};

/* A script with its name. The groups lie in files of their own and end with {NULL, NULL}; script_test.c runs them. */
struct script_case {
    const char *name;
    void (*run)(struct script *s);
};
#define SCRIPT(name) \
    {                \
#name, name  \
    }
extern const struct script_case congestion_scripts[], network_scripts[], state_scripts[], window_scripts[];

void script_open(struct script *s, const char *name); /* defaults; change s->config, s->peer */
void script_listen(struct script *s);                 /* create the stack, listen */
void script_second(struct script *s);                 /* after script_listen() or script_establish() */
void script_redirect(struct script *s);               /* what was held back reaches the second stack */
void script_establish(struct script *s);              /* three steps, as the listener */
void script_close(struct script *s);                  /* end; checks that no mbuf is missing */
void script_turn(struct script *s);                   /* one iteration without input */
void script_wait(struct script *s, uint64_t us);      /* let time pass, firing timers in order */
void script_send_options(struct script *s, uint8_t flags, uint32_t sequence, uint32_t ack, uint16_t window,
                         uint32_t length, const struct tcp_options *options, const uint8_t *raw, size_t raw_length);
void script_send(struct script *s, uint8_t flags, uint32_t sequence, uint32_t ack, uint16_t window, uint32_t length);
void script_send_sack(struct script *s, uint32_t ack, uint16_t window, unsigned count,
                      const struct tcp_sack_block *blocks);
void script_frame(struct script *s, const uint8_t *frame, uint32_t length); /* anything */
void script_peer_options(struct script *s, bool sack, bool timestamps);
void script_app_send(struct script *s, uint32_t length);
struct script_segment script_connect(struct script *s); /* create the stack, open to the peer; the SYN */
/* An IP packet in a frame for us. IPv6: addresses 2001:db8:18::HOST, or `source` and `destination` whole. */
void script_ip4(struct script *s, const uint8_t source[4], const uint8_t destination[4], uint8_t protocol,
                const uint8_t *payload, uint32_t length);
void script_ip6(struct script *s, const uint8_t source[16], const uint8_t destination[16], uint8_t next,
                uint8_t hop_limit, const uint8_t *payload, uint32_t length);
/* Fills in the checksum at bytes 2 and 3 of `icmp`. */
void script_icmp6(struct script *s, const uint8_t source[16], const uint8_t destination[16], uint8_t hop_limit,
                  uint8_t *icmp, uint32_t length);
void script_use_ip6(struct script *s); /* before script_listen(): the stack is 2001:db8:18::1/64 too */
/* For config.callbacks.troubled. */
void script_troubled(void *arg, struct tcp_connection *connection, enum tcp_trouble trouble);
extern const uint8_t script_our_ip[4], script_peer_ip[4], script_our_ip6[16], script_peer_ip6[16];
/* The next frame out that is no TCP over IPv4, or NULL. */
const struct script_raw *script_next_frame(struct script *s);
/* The next segment out, or NULL. */
struct script_segment *script_next(struct script *s);
uint64_t script_counter(struct script *s, enum net_counter counter);
void script_check(struct script *s, bool good, const char *text, int line);

#define CHECK(s, condition) script_check(s, condition, #condition, __LINE__)
/* The next segment must be exactly this; -1 for a field: any. */
void script_expect(struct script *s, int flags, int64_t sequence, int64_t ack, int64_t length, int line);
#define EXPECT(s, flags, sequence, ack, length) script_expect(s, flags, sequence, ack, length, __LINE__)
#define EXPECT_NOTHING(s) script_check(s, (s)->out_first == (s)->out_count, "nothing is sent", __LINE__)

#endif
